"""``python -m hw firmware``: the program of the soft core, cross-compiled."""

import subprocess
from pathlib import Path

import pytest

from codegen.headers.generate import write_headers
from hw.__main__ import main
from hw.soc.elf import read_elf
from hw.soc.firmware import Firmware, FirmwareError, build_firmware, compilers
from hw.soc.write import ROM_BYTES, soc_files
from hw.spec.config import PRESETS
from tests.builds import build_folder, zoo_model

#: What the code may take, constants included.
CODE_BYTES = 24 << 10


@pytest.fixture(scope="module")
def system() -> dict[str, str]:
    return soc_files("simulation", PRESETS["test-4x4"], clock_hz=50_000_000)


@pytest.fixture(scope="module")
def headers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("firmware")
    build = build_folder(zoo_model("yolov4-tiny-quarter-96"), folder / "build", "test-4x4")
    write_headers(build.path, folder / "headers", form="incbin")
    return folder / "headers"


@pytest.fixture(scope="module", params=sorted(compilers()))
def firmware(request: pytest.FixtureRequest, headers: Path, system: dict[str, str]) -> Firmware:
    return build_firmware(headers, system, compiler=compilers()[request.param])


def test_code_and_constants_are_small(firmware: Firmware) -> None:
    assert 4096 < firmware.code_bytes <= CODE_BYTES
    assert 256 < len(firmware.boot.binary) <= ROM_BYTES


def test_boot_code_has_no_variables(firmware: Firmware) -> None:
    assert firmware.boot.start == 0 and not firmware.boot.sections.get(".data")


def test_the_program_begins_the_memory_with_its_mark(firmware: Firmware) -> None:
    assert firmware.program.start == 0x4000_0000
    assert firmware.program.binary[4:8] == b"MACF"
    assert firmware.program.symbols["_start"][0] == 0x4000_0000


def test_image_and_activations_are_where_the_core_can_use_them(firmware: Firmware,
                                                               headers: Path) -> None:
    address, size = firmware.program.symbols["macrame_image"]
    assert address % 16 == 0 and firmware.image == (headers / "macrame_image.bin").read_bytes()
    activations, window = firmware.program.symbols["activations"]
    assert activations % 16 == 0 and window == firmware.program.sections[".activations"]
    assert activations >= 0x4000_0000 + len(firmware.program.binary)


def test_sizes_add_up(firmware: Firmware) -> None:
    sizes = dict(firmware.table())
    loaded = sizes["code"] + sizes["constants without the image"] + sizes[
        "image: program and weights"]
    assert 0 <= len(firmware.program.binary) - loaded < 64  # alignment


def test_elf_is_read_as_objcopy_does(firmware: Firmware, tmp_path: Path) -> None:
    """With that of GNU binutils, without which there is no g++ either."""
    (tmp_path / "firmware.elf").write_bytes(firmware.elf)
    subprocess.run(["objcopy", "-I", "elf32-little", "-O", "binary", tmp_path / "firmware.elf",
                    tmp_path / "firmware.bin"], check=True)
    assert read_elf(firmware.elf).binary == (tmp_path / "firmware.bin").read_bytes()


def test_command_writes_files_and_prints_sizes(headers: Path, tmp_path: Path,
                                               capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["firmware", str(headers), "-o", str(tmp_path / "out")]) == 0
    files = {path.name: path.stat().st_size for path in (tmp_path / "out").iterdir()}
    assert set(files) == {"boot.bin", "firmware.bin", "firmware.elf", "firmware.json"}
    printed = capsys.readouterr().out
    assert f"{files['firmware.bin']:,} bytes" in printed and "boot ROM" in printed


def test_folders_without_headers_are_refused(tmp_path: Path,
                                             capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["firmware", str(tmp_path), "-o", str(tmp_path / "out")]) == 1
    assert capsys.readouterr().err == (
        f"error: headers {str(tmp_path)!r} must be a folder made by `python -m codegen header`; "
        "there is no macrame_regs.h.\n")
    assert not list(tmp_path.iterdir())


def test_what_does_not_fit_the_memory_is_refused(headers: Path, system: dict[str, str]) -> None:
    small = system | {"soc.ld": system["soc.ld"].replace("0x2000000", "0x8000")}
    with pytest.raises(FirmwareError, match="firmware must compile and fit its memory") as error:
        build_firmware(headers, small)
    assert "main_ram" in str(error.value)
