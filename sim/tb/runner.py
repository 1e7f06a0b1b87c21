"""Run programs on the core's RTL: Verilator, cocotb, and a modelled memory."""

import json
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from cocotb_tools.runner import get_runner

from hw.spec.config import ArrayConfig
from hw.spec.image import Image
from hw.spec.isa import Queue
from hw.spec.regs import Fault
from hw.spec.timing import QueueCycles
from sim.errors import SimError
from sim.tb.memory import WINDOWS, BusError, Bytes, Memory
from sim.tb.toolchain import CACHE, Simulation, build_simulation, cached_verilog

__all__ = ["BusError", "CoreRun", "Progress", "RtlRun", "build_core", "follow", "run_core",
           "run_rtl", "simulate"]

Progress = Callable[[int, float], None]

#: Cycles without progress after which a run is a failure; more than any stall of the memory.
_WATCHDOG = 20_000


@dataclass(frozen=True, kw_only=True)
class CoreRun:
    """One run of the core, from start to END or to a fault.

    Parameters
    ----------
    cycles, instructions, queues
        The core's own counters.
    fault, instruction, address
        Why it stopped, Fault.NONE if it did not; the index of the instruction, and the address.
    read_bytes, written_bytes
        What the memory moved.
    violations
        What the memory found wrong with the core's accesses; empty if all was well.
    seconds
        On the wall.
    """

    cycles: int
    instructions: int
    queues: dict[Queue, QueueCycles]
    fault: Fault
    instruction: int
    address: int
    read_bytes: int
    written_bytes: int
    violations: tuple[str, ...]
    seconds: float


@dataclass(frozen=True, kw_only=True)
class RtlRun(CoreRun):
    """What the run of a whole program left behind.

    Parameters
    ----------
    activations
        The activations window at the end.
    build_seconds
        On the wall, to generate and build the simulation.
    """

    activations: Bytes
    build_seconds: float


def run_rtl(image: Image, activations: Bytes, *, watchdog: int = _WATCHDOG,
            trace: Path | None = None, cache: Path = CACHE, simulation: Simulation | None = None,
            **options: Any) -> RtlRun:
    """Run a program from start to END, or to its first fault.

    Parameters
    ----------
    image
        What to run; its configuration is the core's.
    activations
        The activations window at the start; not changed.
    watchdog, trace, options
        As for :func:`run_core`.
    cache
        Folder of finished simulations.
    simulation
        Something that was built of the same configuration, in place of the generated Verilog.

    Raises
    ------
    SimError
        A tool failed, or the simulation ended without a result.
    """
    if len(activations) != image.activation_bytes or activations.dtype != np.uint8:
        raise ValueError(f"activations must be uint8[{image.activation_bytes}], not "
                         f"{activations.dtype}{list(activations.shape)}")
    if simulation is None:
        simulation = build_core(image.config, trace=trace is not None, cache=cache)
    parts = dict(zip(WINDOWS, (image.program, image.constants, activations.tobytes())))
    (run,), after = run_core(simulation, image.config, parts, [dict(zip(WINDOWS, WINDOWS))],
                             watchdog=watchdog, trace=trace, **options)
    return RtlRun(**vars(run), activations=after["ACTIVATIONS"], build_seconds=simulation.seconds)


def build_core(config: ArrayConfig, *, trace: bool = False, cache: Path = CACHE) -> Simulation:
    """Generate and build the simulation of a core, or find it in the cache."""
    start = time.perf_counter()
    found = build_simulation(cached_verilog(config, cache=cache), bus_bytes=config.bus_bytes,
                             trace=trace, cache=cache)
    return Simulation(found.folder, time.perf_counter() - start)


def run_core(simulation: Simulation, config: ArrayConfig, parts: Mapping[str, bytes],
             runs: Sequence[Mapping[str, str]], *, bytes_per_cycle: float | None = None,
             latency: int = 20, stall_seed: int | None = None, trace: Path | None = None,
             traced_run: int = 0, stop_after: int | None = None, errors: Sequence[BusError] = (),
             watchdog: int = _WATCHDOG, progress: Progress | None = None
             ) -> tuple[list[CoreRun], dict[str, Bytes]]:
    """Start the core once or several times; its on-chip memories keep their contents.

    Parameters
    ----------
    simulation
        Made by :func:`build_core` for `config`.
    parts
        Contents of the memory, by names of your choice.
    runs
        For each run, which part is which of the :data:`~sim.tb.memory.WINDOWS`.
    bytes_per_cycle
        Memory bandwidth, reads and writes together; the bus width if not given.
    latency
        Cycles from a request to its first data.
    stall_seed
        Makes the memory pause at random on every channel.
    trace, traced_run
        Write waveforms of that run there (FST). The simulation must have been built for it.
    stop_after
        Abort each run after as many cycles; the fault is then ABORTED.
    errors
        Accesses that the memory answers with an error.
    watchdog
        Value of the WATCHDOG register.
    progress
        Called now and then with the cycles so far and cycles per second.

    Returns
    -------
    The runs, fewer than asked for if one ended with a fault, and the parts afterwards.

    Raises
    ------
    SimError
        The simulation ended without a result.
    """
    with tempfile.TemporaryDirectory(prefix="macrame-") as name:
        folder = Path(name)
        memory = Memory(folder, parts)
        settings = memory.write_settings(
            runs, bus_bytes=config.bus_bytes, latency=latency, stall_seed=stall_seed,
            bytes_per_cycle=bytes_per_cycle or config.bus_bytes, errors=errors, traced=traced_run)
        job = {"config": [word & 0xffffffff for word in config.words()],
               "runs": [memory.registers(windows) | {"WATCHDOG": watchdog} for windows in runs],
               "stop_after": stop_after,
               "progress": str(folder / "progress"), "result": str(folder / "result.json")}
        (folder / "job.json").write_text(json.dumps(job))
        with follow(folder / "progress", progress):
            simulate(simulation.folder, folder, "sim.tb.core_tests", "tb", trace,
                     memory=settings, job=folder / "job.json")
        results = json.loads((folder / "result.json").read_text())
        after = memory.read()
        beats, violations = memory.log()
    if results[-1]["registers"]["STATUS"] & 1:
        raise SimError("the core must stop when its bus is idle; it is still busy a million cycles "
                       "after its interrupt.")
    return [_core_run(result["registers"], result["seconds"], moved, found, config.bus_bytes)
            for result, moved, found in zip(results, beats, violations)], after


def _core_run(r: dict[str, int], seconds: float, beats: tuple[int, int], violations: list[str],
              bus_bytes: int) -> CoreRun:
    return CoreRun(
        cycles=r["CYCLES"] | r["CYCLES_HIGH"] << 32, instructions=r["INSTRUCTIONS"],
        queues={q: QueueCycles(busy=r[f"{q.name}_BUSY"], wait=r[f"{q.name}_WAIT"],
                               stall=r[f"{q.name}_STALL"]) for q in Queue},
        fault=Fault(r["FAULT"]), instruction=r["FAULT_INSTRUCTION"], address=r["FAULT_ADDRESS"],
        read_bytes=beats[0] * bus_bytes, written_bytes=beats[1] * bus_bytes,
        violations=tuple(violations), seconds=seconds)


def simulate(simulation: Path, folder: Path, module: str, top: str, trace: Path | None = None,
             **files: Path) -> None:
    """Run a simulation with the cocotb tests of `module`, which write ``result.json``.

    Parameters
    ----------
    simulation
        Folder of the executable.
    folder
        Where it runs.
    top
        The testbench's module.
    files
        What the testbench and the tests are given as ``+NAME=FILE``.

    Raises
    ------
    SimError
        It ended without a result.
    """
    log = folder / "simulation.log"
    runner = get_runner("verilator")
    status: object = None
    try:
        runner.test(test_module=module, hdl_toplevel=top,
                    hdl_toplevel_lang="verilog", build_dir=str(simulation), test_dir=str(folder),
                    results_xml=str(folder / "results.xml"), log_file=str(log),
                    test_args=["--trace", "--trace-file", str(trace.absolute())] if trace else [],
                    plusargs=[f"+{name}={path}" for name, path in files.items()])
    except (RuntimeError, SystemExit) as error:
        status = error
    if not (folder / "result.json").exists():
        said = "\n".join(log.read_text(errors="replace").splitlines()[-15:])
        raise SimError(f"the simulation must end with a result ({status}); it said:\n{said}")


@contextmanager
def follow(path: Path, progress: Progress | None) -> Iterator[None]:
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
