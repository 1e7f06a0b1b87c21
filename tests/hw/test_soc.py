"""``python -m hw soc``: files of the system, and that they agree with one another."""

import json
import logging
import re
from pathlib import Path

import pytest

from hw.__main__ import main
from hw.soc.write import BOARDS, rom_words, soc_files
from hw.spec.config import PRESETS
from tests.firmware.compilers import GCC, compile_c

CONFIG = PRESETS["test-4x4"]


@pytest.fixture(scope="module", params=BOARDS)
def files(request: pytest.FixtureRequest) -> dict[str, str]:
    return soc_files(request.param, CONFIG, clock_hz=50_000_000)


def test_the_same_system_gives_the_same_bytes(files: dict[str, str]) -> None:
    board = "ulx3s-85f" if "soc.lpf" in files else "simulation"
    assert soc_files(board, CONFIG, clock_hz=50_000_000) == files


def test_header_and_json_agree(files: dict[str, str]) -> None:
    stated = dict(re.findall(r"^#define SOC_(\w+) 0x([0-9a-f]+)u$", files["soc.h"], re.M))
    described = json.loads(files["soc.json"])
    for name, region in described["memories"].items():
        assert int(stated.pop(f"{name.upper()}_BASE"), 16) == region["base"]
        assert int(stated.pop(f"{name.upper()}_BYTES"), 16) == region["size"]
    for name, register in described["csr_registers"].items():
        assert int(stated.pop(name.upper()), 16) == register["addr"]
    assert list(stated) == ["SDRAM_CONTROL_HARDWARE"]


def test_firmware_finds_what_it_needs_whatever_is_around(files: dict[str, str]) -> None:
    other = soc_files("simulation", PRESETS["test-4x8"], clock_hz=50_000_000)
    assert {name: other[name] for name in ("soc.h", "soc.ld")} == \
        {name: files[name] for name in ("soc.h", "soc.ld")}


def test_the_header_compiles_without_warnings(files: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "soc.h").write_text(files["soc.h"])
    source = tmp_path / "use.c"
    source.write_text("""#include "soc.h"
#include "soc.h"
#define STEP(bits, address, bank, cycles) + (int)(bits + address + bank + cycles)
int sum(void);
int sum(void) { return 0 SOC_SDRAM_INIT(STEP, STEP); }
""")
    compile_c([source], tmp_path / "use.o", include=[tmp_path], compiler=GCC)


def test_registers_of_core_and_peripherals_are_not_cached(files: dict[str, str]) -> None:
    memories = json.loads(files["soc.json"])["memories"]
    assert memories["macrame"]["base"] >= 1 << 31 and memories["csr"]["base"] >= 1 << 31
    assert memories["main_ram"]["base"] + memories["main_ram"]["size"] < 1 << 31
    assert memories["main_ram"]["size"] == 32 << 20


def test_all_ports_of_the_core_are_connected(files: dict[str, str]) -> None:
    instance = re.search(r"^macrame macrame\((.*?)^\);", files["soc.v"], re.M | re.S)
    assert instance
    connections = dict(re.findall(r"\.(\w+)\s*\(([^)]*)\)", instance[1]))
    assert len(connections) == 3 + 29 + 19 and all(connections.values())


def test_a_board_has_pins_and_a_clock() -> None:
    files = soc_files("ulx3s-85f", CONFIG, clock_hz=62_500_000)
    assert 'FREQUENCY PORT "clk25" 25.0 MHz;' in files["soc.lpf"]
    pins = re.findall(r'^LOCATE COMP "(\w+)(?:\[\d+\])?" SITE', files["soc.lpf"], re.M)
    header = re.search(r"^module soc \((.*?)\);", files["soc.v"], re.M | re.S)
    assert header
    assert set(pins) == set(re.findall(r"(\w+),?$", header[1], re.M))
    assert pins.count("sdram_dq") == 16 and pins.count("sdram_a") == 13
    assert "SOC_CLOCK_HZ 62500000u" in files["soc.h"]


def test_generating_leaves_logging_alone(capfd: pytest.CaptureFixture[str]) -> None:
    before = logging.root.level, list(logging.root.handlers), logging.root.manager.disable
    soc_files("simulation", CONFIG, clock_hz=50_000_000)
    assert (logging.root.level, logging.root.handlers, logging.root.manager.disable) == before
    assert capfd.readouterr() == ("", "")


def test_boot_code_becomes_words() -> None:
    assert rom_words(b"\x13\x00\x00\x00\x6f") == "00000013\n0000006f\n"


def test_command_writes_the_core_and_the_boot_code(tmp_path: Path) -> None:
    (tmp_path / "boot.bin").write_bytes(bytes(range(8)))
    out = tmp_path / "out"
    assert main(["soc", "--target", "test-4x4", "--rom", str(tmp_path / "boot.bin"),
                 "-o", str(out)]) == 0
    assert {path.name for path in out.iterdir()} == {
        "soc.v", "macrame.v", "VexRiscv.v", "soc.json", "soc.h", "soc.ld", "soc.lpf",
        "soc_rom.init"}
    assert (out / "soc_rom.init").read_text() == "03020100\n07060504\n"
    assert re.search(r"^module macrame\b", (out / "macrame.v").read_text(), re.M)


def test_boot_code_must_fit_its_memory(tmp_path: Path,
                                       capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "boot.bin").write_bytes(bytes(4097))
    assert main(["soc", "--rom", str(tmp_path / "boot.bin"), "-o", str(tmp_path / "out")]) == 1
    assert capsys.readouterr().err == (
        "error: boot code must have at most the 4096 bytes of the ROM, not 4097.\n")
    assert main(["soc", "--rom", str(tmp_path / "none"), "-o", str(tmp_path / "out")]) == 1
    assert "must be readable; No such file" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("value", ["0", "401", "x", "nan"])
def test_the_clock_must_be_a_sensible_number(value: str, tmp_path: Path) -> None:
    with pytest.raises(SystemExit) as error:
        main(["soc", "--clock-mhz", value, "-o", str(tmp_path)])
    assert error.value.code == 2
