"""Run firmware on the whole system: Verilator, cocotb, and a modelled SDRAM."""

import json
import re
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hw.soc.firmware import Firmware, FirmwareError, build_firmware
from hw.soc.write import ROM_FILE, ClockError, rom_words, soc_files
from hw.spec.config import ArrayConfig
from sim.errors import SimError
from sim.tb.memory import Bytes
from sim.tb.runner import Progress, follow, simulate
from sim.tb.toolchain import CACHE, Simulation, Testbench, build_simulation, cached_verilog

__all__ = ["CLOCK_HZ", "SocRun", "System", "build_system", "run_system"]

#: Of the system.
CLOCK_HZ = 50_000_000
_SDRAM_BYTES = 32 << 20
_HERE = Path(__file__).parent


@dataclass(frozen=True)
class System:
    """A system with its firmware, ready to run.

    Parameters
    ----------
    firmware
        Compiled for it.
    simulation
        Of the hardware; the same for all firmware.
    bus_bytes
        Of the core's memory bus.
    """

    firmware: Firmware
    simulation: Simulation
    bus_bytes: int


@dataclass(frozen=True, kw_only=True)
class SocRun:
    """What a run of the system left behind.

    Parameters
    ----------
    text
        What the firmware said, without the bytes that end it.
    activations
        The activations window in the SDRAM at the end.
    finished
        The firmware said so often that all is well; else it stopped, or ran out of cycles.
    cycles
        From reset to the end.
    read_bytes, written_bytes
        Moved by the core, in whole beats of its bus.
    bus_cycles
        In which the core had a transfer under way.
    seconds
        On the wall.
    """

    text: str
    activations: Bytes
    finished: bool
    cycles: int
    read_bytes: int
    written_bytes: int
    bus_cycles: int
    seconds: float


def build_system(config: ArrayConfig, headers: Path, *, definitions: Sequence[str] = (),
                 clock_hz: int = CLOCK_HZ, sdram_rate: int = 2, cache: Path = CACHE) -> System:
    """Build the hardware's simulation, or find it in the cache, and compile the firmware.

    Parameters
    ----------
    config
        Of the core.
    headers
        Folder made by ``python -m codegen header``.
    definitions
        Macros of firmware/main.c.
    clock_hz
        What it is made for: the SDRAM's times are so many cycles of it.
    sdram_rate
        Clocks of the SDRAM per clock of the system: 1 or 2.

    Raises
    ------
    SimError
        A tool failed, the firmware cannot be compiled, or the SDRAM would be too fast.
    """
    start = time.perf_counter()
    try:
        files = soc_files("simulation", config, clock_hz=clock_hz, sdram_rate=sdram_rate)
    except ClockError as error:
        raise SimError(f"{error}.") from error
    try:
        firmware = build_firmware(headers, files, definitions=definitions)
    except FirmwareError as error:
        raise SimError(f"{error}.") from error
    bench = Testbench(
        top="soc_tb", cpp=(_HERE / "sdram.cpp",),
        verilog=tuple(_HERE / name for name in ("soc_tb.vlt", "soc_tb.sv", "sdram.sv",
                                                "axi_checker.sv")),
        options=("--x-assign", "fast", "--x-initial", "fast",
                 f"-GSDRAM_RATE={sdram_rate}",
                 f"-GPERIOD_PS={10**12 // (sdram_rate * clock_hz)}"))
    verilog = files["soc.v"] + cached_verilog(config, cache=cache) + files["VexRiscv.v"]
    built = build_simulation(verilog, bus_bytes=None, bench=bench, cache=cache)
    return System(firmware, Simulation(built.folder, time.perf_counter() - start),
                  config.bus_bytes)


def run_system(system: System, activations: Bytes, *, most_cycles: int, serial: bytes = b"",
               frames: int = 1, progress: Progress | None = None) -> SocRun:
    """Boot the firmware and let it run.

    The SDRAM contains what a boot loader would have left there: the firmware from its first byte
    on, and the activations window.

    Parameters
    ----------
    serial
        What is sent to the UART, as fast as it takes it.
    frames
        How often the firmware is to finish; it goes back to the boot code each time.
    activations
        The activations window at the start, with the input; not changed.
    most_cycles
        After which the run ends in any case.
    progress
        Called now and then with the cycles so far and cycles per second.

    Raises
    ------
    SimError
        The simulation ended without a result: the SDRAM or the bus found a rule broken.
    """
    program = system.firmware.program
    address, size = program.symbols["activations"]
    if len(activations) != size or activations.dtype != np.uint8:
        raise ValueError(f"activations must be uint8[{size}], not {activations.dtype}"
                         f"{list(activations.shape)}")
    with tempfile.TemporaryDirectory(prefix="macrame-") as name:
        folder = Path(name)
        memory = np.memmap(folder / "sdram.bin", np.uint8, "w+", shape=(_SDRAM_BYTES,))
        memory[:len(program.binary)] = np.frombuffer(program.binary, np.uint8)
        window = slice(address - program.start, address - program.start + size)
        memory[window] = activations
        memory.flush()
        (folder / "serial.bin").write_bytes(serial)
        (folder / ROM_FILE).write_text(rom_words(system.firmware.boot.binary))
        (folder / "job.json").write_text(json.dumps({
            "most_cycles": most_cycles, "frames": frames, "progress": str(folder / "progress"),
            "result": str(folder / "result.json")}))
        with follow(folder / "progress", progress):
            simulate(system.simulation.folder, folder, "sim.tb.soc_tests", "soc_tb",
                     memory=folder / "sdram.bin", uart=folder / "uart.txt",
                     serial=folder / "serial.bin",
                     job=folder / "job.json")
        result = json.loads((folder / "result.json").read_text())
        text = (folder / "uart.txt").read_bytes().decode(errors="replace")
        found = np.array(memory[window])
        del memory
    return SocRun(
        text=re.sub("[\r\x04\x18]", "", text), activations=found,
        finished=result["finished"] == frames and not result["stopped"], cycles=result["cycles"],
        read_bytes=result["read_beats"] * system.bus_bytes,
        written_bytes=result["write_beats"] * system.bus_bytes,
        bus_cycles=result["bus_cycles"], seconds=result["seconds"])
