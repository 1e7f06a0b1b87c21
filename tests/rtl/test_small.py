"""The small system: whole frames in RTL, its netlist, its DSP blocks, and whether it fits."""

import json
import subprocess
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from amaranth.back import verilog

from codegen.headers.generate import write_headers
from hw.bitstream.boards import BOARDS as BITSTREAM_BOARDS
from hw.bitstream.synthesize import Netlist, synthesize
from hw.bitstream.tools import find
from hw.commands.bitstream import read_run
from hw.rtl.ice40 import Ice40
from hw.rtl.multiplier import Multiplier
from hw.small.write import CONSTRAINTS, SMALL_MODULE, small_sources
from hw.spec.boards import BOARDS
from hw.spec.config import PRESETS
from hw.spec.regs import Fault
from hw.spec.small import CLOCK_HZ
from sim.build import BuildFolder, read_build
from sim.cli import main
from sim.model import Machine
from sim.tb.small_runner import (
    BENCH,
    SmallBuild,
    SmallRun,
    build_small,
    cell_models,
    run_small,
)
from sim.tb.toolchain import build_simulation
from tests import onnx_nodes as n
from tests.builds import build_folder
from tests.hw.test_rtl_multiplier import compile_harness
from tests.sim.squares import example, write

pytestmark = pytest.mark.rtl

CONFIG = PRESETS["icebreaker-up5k"]
BOARD = BITSTREAM_BOARDS["icebreaker-up5k"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pictures, a build of the network of squares, and its headers."""
    path = tmp_path_factory.mktemp("small")
    write(path)
    build_folder(path / "int8.onnx", path / "build", "icebreaker-up5k")
    write_headers(path / "build", path / "headers")
    return path


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A build of a single convolution, of a few thousand cycles, and its headers."""
    path = tmp_path_factory.mktemp("tiny")
    rng = np.random.default_rng(3)
    weights = rng.integers(-128, 128, (6, 5, 3, 3)).astype(np.int8)
    onnx.save(n.conv((1, 5, 7, 6), weights, rng=rng), path / "m.onnx")
    build_folder(path / "m.onnx", path / "build", "icebreaker-up5k")
    write_headers(path / "build", path / "headers")
    return path


def noise(build: BuildFolder) -> tuple[np.ndarray, np.ndarray]:
    """An activations window, and what the simulator makes of it."""
    machine = Machine(build.image)
    machine.activations[:] = np.random.default_rng(1).integers(0, 256, len(machine.activations))
    before = machine.activations.copy()
    machine.run()
    return before, machine.activations


def run(system: SmallBuild, build: BuildFolder) -> SmallRun:
    return run_small(system, noise(build)[0], most_cycles=30_000_000)


def with_program(system: SmallBuild, binary: bytes) -> SmallBuild:
    """The system with other bytes in its flash."""
    firmware = system.firmware
    return replace(system, firmware=replace(
        firmware, program=replace(firmware.program, binary=binary)))


def test_prints_the_boxes_of_a_picture(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = folder / "out.json"
    assert main(["soc", str(folder / "build"), "--headers", str(folder / "headers"), "--board",
                 "icebreaker-up5k", "--input", str(folder / "a.png"), "--json", str(out)]) == 0
    found = json.loads(out.read_text())
    assert read_run(out, CONFIG, 12_000_000, None) == {
        "network": "squares", "cycles": found["cycles"],
        "engine": "whole small system in RTL, with its flash"}
    assert found["passed"] and found["memory_differs"] == 0
    assert found["boxes_differ"] is None and found["checksums_differ"] is None
    assert found["boxes"] == len(example()[1]) == found["text"].count("\nbox ")
    assert [t["mismatches"] for t in found["tensors"]] == [0]
    assert 0.3 < found["utilization"] < 1
    assert f"frame: {found['cycles']} cycles" in found["text"]
    printed = capsys.readouterr().out
    assert "total mismatches: 0" in printed and "| Macrame: squares for icebreaker-up5k" in printed


def test_refuses_a_build_that_is_for_another_system(
        folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    build_folder(folder / "int8.onnx", tmp_path / "build", "test-8x4")
    arguments = ["soc", str(tmp_path / "build"), "--headers", str(folder / "headers"), "--board",
                 "icebreaker-up5k"]
    assert main(arguments) == 1
    assert capsys.readouterr().err == ("error: rows must be 4, bytes of a word of the processor, "
                                       "in a small system, not 8.\n")
    assert main([*arguments, "--sdram-rate", "1"]) == 1
    assert "for it has one clock and no SDRAM" in capsys.readouterr().err


def test_a_damaged_image_is_not_run(tiny: Path) -> None:
    build = read_build(tiny / "build")
    system = build_small(CONFIG, tiny / "headers")
    address, size = system.firmware.program.symbols["macrame_image"]
    binary = bytearray(system.firmware.program.binary)
    binary[address + size - 17 - system.firmware.program.start] ^= 1
    found = run(with_program(system, bytes(binary)), build)
    assert not found.finished and found.mac_cycles == 0
    assert found.text.splitlines()[-1] == (
        "error: image: it was changed or damaged: its checksum is wrong")


@pytest.mark.parametrize("at", ["mac", "other"])
def test_a_fault_is_named_with_its_instruction(tiny: Path, at: str) -> None:
    """Of an instruction that the hardware refuses, and of one that the firmware does."""
    build = read_build(tiny / "build")
    system = build_small(CONFIG, tiny / "headers", definitions=["MACRAME_SKIP_CHECKSUM"])
    step = len(build.image.program) // build.image.instructions
    codes = [build.image.program[n * step] & 15 for n in range(build.image.instructions)]
    index = codes.index(3) if at == "mac" else next(i for i, code in enumerate(codes) if code != 3)
    binary = bytearray(system.firmware.program.binary)
    first = binary.index(build.image.program) + index * step
    if at == "mac":  # no row and no column of a kernel is legal for whoever looks
        bad = int.from_bytes(binary[first:first + step], "little")
        fields = {f.name: f for f in mac_fields()}
        bad &= ~(fields["kernel_rows"].mask | fields["kernel_columns"].mask)
        binary[first:first + step] = bad.to_bytes(step, "little")
    else:
        binary[first + step - 1] = 0x80
    found = run(with_program(system, bytes(binary)), build)
    assert not found.finished
    assert found.text.splitlines()[-2:] == [
        f"fault: {int(Fault.ILLEGAL_INSTRUCTION)} (instruction {index}, address 0x00000000)",
        "error: the program stopped with a fault"]


def mac_fields():
    from hw.spec.isa import Isa, Opcode
    return Isa(CONFIG).formats[Opcode.MAC].fields


@pytest.fixture(scope="module")
def netlist(tmp_path_factory: pytest.TempPathFactory) -> Netlist:
    """The system of the board as Yosys makes it of cells, by the script of a bitstream."""
    files = small_sources(CONFIG, clock_hz=CLOCK_HZ)
    return synthesize(tmp_path_factory.mktemp("netlist"), files, top=SMALL_MODULE,
                      synth=BOARD.device.synth)


def test_netlist_and_verilog_do_the_same(netlist: Netlist, tiny: Path) -> None:
    """From the flash's first byte to the last one of the UART, in as many cycles."""
    build = read_build(tiny / "build")
    work = netlist.path.parent
    (work / "verilog.ys").write_text("""\
read_json netlist.json
select -set hidden */w:* */c:* */t:SB_SPRAM256KA %d
rename -hide @hidden
write_verilog -noattr -noexpr netlist.v
""")
    find("yosys").run("-q", "-s", "verilog.ys", folder=work, log="verilog.log")
    text = (work / "netlist.v").read_text()
    cells = json.loads(netlist.path.read_text())["modules"][SMALL_MODULE]["cells"]
    kinds = sorted({cell["type"] for cell in cells.values()} - {"$scopeinfo"})
    bench = replace(BENCH, optimize="-O0", options=(*BENCH.options, "-DNETLIST"))
    simulation = build_simulation(text + cell_models(*kinds), bus_bytes=None, bench=bench)

    system = build_small(CONFIG, tiny / "headers", definitions=["MACRAME_SKIP_CHECKSUM"])
    before, after = noise(build)
    expected = run(system, build)
    assert expected.finished and np.array_equal(expected.activations, after)
    found = run_small(replace(system, simulation=simulation), before, most_cycles=30_000_000)
    assert found.finished and np.array_equal(found.activations, after)
    assert (found.text, found.cycles) == (expected.text, expected.cycles)


def test_fits_and_takes_what_the_model_says(netlist: Netlist) -> None:
    """As nextpnr packs it; to route it takes minutes, see docs/results.md."""
    work, device = netlist.path.parent, BOARD.device
    (work / CONSTRAINTS).write_text(small_sources(CONFIG, clock_hz=CLOCK_HZ)[CONSTRAINTS])
    program, *options = device.place
    find(program).run(*options, "--json", netlist.path.name, device.pins[0], CONSTRAINTS,
                      "--pack-only", folder=work, log="pack.log")
    cells = Counter(cell["type"] for cell in json.loads(
        netlist.path.read_text())["modules"][SMALL_MODULE]["cells"].values())
    board = BOARDS["icebreaker-up5k"]
    whole = board.core(CONFIG) + board.system
    assert (cells["SB_MAC16"], cells["SB_RAM40_4K"], cells["SB_SPRAM256KA"]) == (
        whole.dsp, whole.ebr, whole.spram)
    ff = sum(count for name, count in cells.items() if name in device.cells["FF"])
    assert sum(count for name, count in cells.items() if name.startswith("SB_DFF")) == ff
    assert abs(whole.ff / ff - 1) < 0.02


DUAL_HARNESS = r"""
#include "Vmultiplier.h"
#include <cstdio>
int main() {
    Vmultiplier t;
    int checked = 0;
    for (int w = 0; w < 256 * 256; w++) {
        int w0 = w % 256 - 128, w1 = w / 256 - 128, a = 0, before = 0;
        t.weights = (w0 & 255) | (w1 & 255) << 8; t.take = 1;
        t.clk = 0; t.eval(); t.clk = 1; t.eval();
        t.weights = 0x5a5a; t.take = 0;  // which it does not look at any more
        for (int n = 0; n <= 256; n++, before = a) {
            a = n % 256 - 128; t.activation = a;
            t.clk = 0; t.eval();
            if (n > 0) {
                if ((short)t.products != before * w0 || (short)(t.products >> 16) != before * w1)
                    return 1;
                checked++;
            }
            t.clk = 1; t.eval();
        }
    }
    std::printf("%d", checked);
}
"""


def test_dsp_blocks_multiply_all_triples(tmp_path: Path) -> None:
    """By Yosys' model of a SB_MAC16."""
    text = verilog.convert(Multiplier("dual"), name="multiplier", platform=Ice40())
    program = compile_harness(tmp_path, text + cell_models("SB_MAC16"), DUAL_HARNESS)
    ran = subprocess.run([program], capture_output=True, text=True)
    assert (ran.returncode, ran.stdout) == (0, str(1 << 24))
