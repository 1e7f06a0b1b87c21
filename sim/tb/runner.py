"""Run a program image on the core's RTL: Verilator, cocotb, and a modelled memory."""

import json
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from cocotb_tools.runner import get_runner

from hw.spec.image import Image
from hw.spec.isa import Queue
from hw.spec.regs import Fault
from hw.spec.timing import QueueCycles
from sim.errors import SimError
from sim.tb.toolchain import CACHE, build_simulation, cached_verilog

__all__ = ["BusError", "RtlRun", "run_rtl"]

Bytes = npt.NDArray[np.uint8]

#: The windows begin somewhere inside a page, and have nothing around them.
_FIRST_ADDRESS = 0x8000_0000
_OFFSETS = {"PROGRAM": 0x30, "CONSTANTS": 0xFD0, "ACTIVATIONS": 0x410}
_GAP = 4096
#: Cycles without progress after which a run is a failure; more than any stall of the memory.
_WATCHDOG = 20_000


@dataclass(frozen=True, kw_only=True)
class BusError:
    """An answer that the memory is to give.

    Parameters
    ----------
    write
        To a write, or else to a read.
    window
        "PROGRAM", "CONSTANTS" or "ACTIVATIONS".
    offset
        Which byte of it: every beat with that byte fails.
    """

    write: bool
    window: str
    offset: int


@dataclass(frozen=True, kw_only=True)
class RtlRun:
    """What a run left behind.

    Parameters
    ----------
    activations
        The activations window at the end.
    cycles, instructions, queues
        The core's own counters.
    fault, instruction, address
        Why it stopped, Fault.NONE if it did not; the index of the instruction, and the address.
    read_bytes, written_bytes
        What the memory moved.
    violations
        What the memory found wrong with the core's accesses; empty if all was well.
    build_seconds, seconds
        On the wall: to generate and build the simulation, and to run it.
    """

    activations: Bytes
    cycles: int
    instructions: int
    queues: dict[Queue, QueueCycles]
    fault: Fault
    instruction: int
    address: int
    read_bytes: int
    written_bytes: int
    violations: tuple[str, ...]
    build_seconds: float
    seconds: float


def run_rtl(image: Image, activations: Bytes, *, bytes_per_cycle: float | None = None,
            latency: int = 20, stall_seed: int | None = None, trace: Path | None = None,
            stop_after: int | None = None, errors: Sequence[BusError] = (),
            watchdog: int = _WATCHDOG, cache: Path = CACHE,
            progress: Callable[[int, float], None] | None = None) -> RtlRun:
    """Run a program from start to END, or to its first fault.

    Parameters
    ----------
    image
        What to run; its configuration is the core's.
    activations
        The activations window at the start; not changed.
    bytes_per_cycle
        Memory bandwidth, reads and writes together; the bus width if not given.
    latency
        Cycles from a request to its first data.
    stall_seed
        Makes the memory pause at random on every channel.
    trace
        Write waveforms of the whole run there (VCD; some hundred MB per million cycles).
    stop_after
        Abort after as many cycles; the fault is then ABORTED.
    errors
        Accesses that the memory answers with an error.
    watchdog
        Value of the WATCHDOG register.
    cache
        Folder of finished simulations.
    progress
        Called now and then with the cycles so far and cycles per second.

    Raises
    ------
    SimError
        A tool failed, or the simulation ended without a result.
    """
    if len(activations) != image.activation_bytes or activations.dtype != np.uint8:
        raise ValueError(f"activations must be uint8[{image.activation_bytes}], not "
                         f"{activations.dtype}{list(activations.shape)}")
    start = time.perf_counter()
    simulation = build_simulation(cached_verilog(image.config, cache=cache),
                                  bus_bytes=image.config.bus_bytes,
                                  trace=trace is not None, cache=cache)
    build_seconds = time.perf_counter() - start
    with tempfile.TemporaryDirectory(prefix="macrame-") as name:
        folder = Path(name)
        parts = {"PROGRAM": image.program, "CONSTANTS": image.constants,
                 "ACTIVATIONS": activations.tobytes()}
        bases, size = _place(parts)
        memory = folder / "memory.bin"
        with memory.open("wb") as file:
            file.truncate(size)
            for window, content in parts.items():
                file.seek(bases[window] - _FIRST_ADDRESS)
                file.write(content)
        _write_settings(folder, image, bases, parts, size, errors,
                        bytes_per_cycle or image.config.bus_bytes, latency, stall_seed)
        registers = {f"{window}_{what}": value for window, content in parts.items()
                     for what, value in (("BASE", bases[window]), ("BYTES", len(content)))}
        job = {"config": [word & 0xffffffff for word in image.config.words()],
               "registers": {**registers, "WATCHDOG": watchdog}, "stop_after": stop_after,
               "progress": str(folder / "progress"), "result": str(folder / "result.json")}
        (folder / "job.json").write_text(json.dumps(job))
        with _follow(folder / "progress", progress):
            _simulate(simulation.folder, folder, trace)
        result = json.loads((folder / "result.json").read_text())
        found = np.fromfile(memory, np.uint8)[bases["ACTIVATIONS"] - _FIRST_ADDRESS:]
        log = (folder / "memory.log").read_text().splitlines()
    if result["registers"]["STATUS"] & 1:
        raise SimError("the core must stop when its bus is idle; it is still busy a million cycles "
                       "after its interrupt.")
    moved = dict(line.split() for line in log if not line.startswith("violation "))
    r = result["registers"]
    return RtlRun(
        activations=found[:len(activations)].copy(),
        cycles=r["CYCLES"] | r["CYCLES_HIGH"] << 32, instructions=r["INSTRUCTIONS"],
        queues={q: QueueCycles(busy=r[f"{q.name}_BUSY"], wait=r[f"{q.name}_WAIT"],
                               stall=r[f"{q.name}_STALL"]) for q in Queue},
        fault=Fault(r["FAULT"]), instruction=r["FAULT_INSTRUCTION"], address=r["FAULT_ADDRESS"],
        read_bytes=int(moved["read_beats"]) * image.config.bus_bytes,
        written_bytes=int(moved["write_beats"]) * image.config.bus_bytes,
        violations=tuple(line for line in log if line.startswith("violation ")),
        build_seconds=build_seconds, seconds=result["seconds"])


def _place(parts: dict[str, bytes]) -> tuple[dict[str, int], int]:
    """Address of every window, and the size of the memory."""
    bases, end = dict[str, int](), _FIRST_ADDRESS
    for name, content in parts.items():
        bases[name] = -(-(end + _GAP) // 4096) * 4096 + _OFFSETS[name]
        end = bases[name] + len(content)
    return bases, end + _GAP - _FIRST_ADDRESS


def _write_settings(folder: Path, image: Image, bases: dict[str, int], parts: dict[str, bytes],
                    size: int, errors: Sequence[BusError], bytes_per_cycle: float, latency: int,
                    stall_seed: int | None) -> None:
    """Write what memory.cpp reads."""
    # xorshift needs a seed with bits all over
    seed = 0 if stall_seed is None else (stall_seed + 1) * 0x9E3779B97F4A7C15 % 2**64 | 1
    lines = [f"file {folder / 'memory.bin'} {size} {_FIRST_ADDRESS}",
             f"log {folder / 'memory.log'}", f"bus {image.config.bus_bytes}",
             f"bandwidth {bytes_per_cycle}", f"latency {latency}", f"seed {seed}"]
    lines += [f"window {'write' if window == 'ACTIVATIONS' else 'read'} {bases[window]} "
              f"{len(content)}" for window, content in parts.items()]
    lines += [f"error {'write' if e.write else 'read'} {bases[e.window] + e.offset}"
              for e in errors]
    (folder / "memory.txt").write_text("\n".join(lines) + "\n")


def _simulate(simulation: Path, folder: Path, trace: Path | None) -> None:
    log = folder / "simulation.log"
    runner = get_runner("verilator")
    status: object = None
    try:
        runner.test(test_module="sim.tb.core_tests", hdl_toplevel="tb",
                    hdl_toplevel_lang="verilog", build_dir=str(simulation), test_dir=str(folder),
                    results_xml=str(folder / "results.xml"), log_file=str(log),
                    test_args=["--trace", "--trace-file", str(trace.absolute())] if trace else [],
                    plusargs=[f"+memory={folder / 'memory.txt'}", f"+job={folder / 'job.json'}"])
    except (RuntimeError, SystemExit) as error:
        status = error
    if not (folder / "result.json").exists():
        said = "\n".join(log.read_text(errors="replace").splitlines()[-15:])
        raise SimError(f"the simulation must end with a result ({status}); it said:\n{said}")


@contextmanager
def _follow(path: Path, progress: Callable[[int, float], None] | None) -> Any:
    """Report what the simulation writes to `path` while it runs."""
    stop = threading.Event()

    def follow() -> None:
        while not stop.wait(0.2):
            lines = path.read_text().split("\n")[:-1] if path.exists() else []
            if lines and progress is not None:
                cycles, seconds = lines[-1].split()
                progress(int(cycles), int(cycles) / max(float(seconds), 1e-9))

    thread = threading.Thread(target=follow, daemon=True)
    if progress is not None:
        thread.start()
    try:
        yield
    finally:
        stop.set()
        if progress is not None:
            thread.join()
