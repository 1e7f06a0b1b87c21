"""Layers of a network on the core's RTL, each by itself, side by side."""

import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from hw.spec.isa import Queue
from hw.spec.regs import Fault
from sim.build import BuildFolder
from sim.errors import SimError
from sim.model import Machine
from sim.results import LayerResult, RtlResult
from sim.slices.locate import Locator
from sim.slices.parts import Part, Selection, choose_parts
from sim.slices.reference import Reference, States
from sim.tensors import Array, host_outputs, write_inputs
from sim.verify_frame import ideal_cycles, stage

if TYPE_CHECKING:
    from sim.tb.slice_run import SliceRun

__all__ = ["verify_layers"]

#: What a part's run showed, the tensors that were complete behind it, and the cycles of all its
#: programs. Its memories are not kept: those of all layers are too many.
_Checked: TypeAlias = tuple[LayerResult, dict[str, Array], int]


def verify_layers(build: BuildFolder, feeds: Mapping[str, Array], expected: Mapping[str, Array],
                  selection: Selection, say: Callable[[str, int, int], None],
                  **memory: Any) -> tuple[RtlResult, dict[str, Array]]:
    """Run layers in RTL, each from the state that the simulator has before it.

    Tensors in memory are ONNX Runtime's, so that an earlier layer that is wrong does not matter.
    Afterwards activations window and scratchpad are compared with the simulator's.

    Parameters
    ----------
    expected
        ONNX Runtime's tensors.
    say
        Called with stage, done, total.
    memory
        As for :func:`sim.tb.runner.run_core`.

    Returns
    -------
    What was measured, and the tensors that were complete after one of the layers.

    Raises
    ------
    SimError
        There is no such layer or tile; the core stopped with a fault; or the simulation could not
        be built.
    """
    # The hardware's generator and cocotb are needed for this engine only.
    from sim.tb.runner import build_core
    from sim.tb.slice_run import run_slice
    machine = Machine(build.image)
    write_inputs(build, machine.activations, feeds)
    parts = choose_parts(build, machine.program, selection, latency=memory["latency"],
                         bytes_per_cycle=memory["bytes_per_cycle"])
    reference = Reference(build, machine, expected)
    say("building the RTL", 0, 1)
    simulation = build_core(build.image.config, trace=selection.waves is not None)
    locator = Locator(build, machine.program)

    def check(part: Part, states: States, trace: Path | None,
              progress: Callable[[int, float], None]) -> _Checked:
        ran = run_slice(simulation, part.programs, build.image.constants, states.before,
                        trace=trace, progress=progress, **memory)
        if ran.run.fault != Fault.NONE:
            raise locator.fault(ran.run.fault, part.span[0] + ran.run.instruction, ran.run.address)
        tensors = {place.name: place.read(ran.after.activations) for place in states.complete}
        return _result(build, locator, expected, part, states, ran, tensors), tensors, ran.cycles
    start = time.perf_counter()
    with _written_whole(selection.waves) as trace:
        checked = _run_all(parts, reference, selection.jobs, say,
                           lambda part, states, progress: check(part, states, trace, progress))
    seconds = time.perf_counter() - start
    results, tensors, cycles = zip(*checked)
    found = {name: value for some in tensors for name, value in some.items()}
    return (_sum(results, sum(cycles) / seconds, selection.waves),
            found | host_outputs(build, found))


def _run_all(parts: Sequence[Part], reference: Reference, jobs: int,
             say: Callable[[str, int, int], None],
             check: Callable[[Part, States, Callable[[int, float], None]], _Checked]
             ) -> list[_Checked]:
    """Run and check all parts, `jobs` at a time."""
    cycles, start = [0] * len(parts), time.perf_counter()
    total = sum(part.predicted_in_all for part in parts)

    def report(n: int, done: int) -> None:
        cycles[n] = min(done, parts[n].predicted_in_all)
        speed = sum(cycles) / (time.perf_counter() - start)
        say(stage(sum(cycles), total, speed), sum(cycles), total)

    def one(n: int, states: States) -> _Checked:
        result = check(parts[n], states, lambda done, _: report(n, done))
        report(n, parts[n].predicted_in_all)
        return result

    futures: list[Future[_Checked]] = []
    with ThreadPoolExecutor(jobs) as pool:
        for n, part in enumerate(parts):
            # Parts that wait need memory; and after a fault none has to start.
            while len(unfinished := [f for f in futures if not f.done()]) > jobs:
                wait(unfinished, return_when=FIRST_COMPLETED)
            if any(f.done() and f.exception() for f in futures):
                break
            futures.append(pool.submit(one, n, reference.states(part.span)))
        return [future.result() for future in futures]


def _result(build: BuildFolder, locator: Locator, expected: Mapping[str, Array], part: Part,
            states: States, ran: "SliceRun", tensors: Mapping[str, Array]) -> LayerResult:
    after, found, run = states.after, ran.after, ran.run
    windows = after.activations, found.activations
    pairs = {name: (expected[name], value) for name, value in tensors.items()}
    mismatch = (locator.activations(part.span, *windows)
                or locator.scratchpad(part.span, after.scratchpad, found.scratchpad)
                or locator.tensors(part.span, pairs, *windows))
    by_layer = ideal_cycles(build) if part.tile is None else None
    ideal = None if by_layer is None else by_layer[part.layer.number - 1]
    return LayerResult(
        layer=part.layer.number, name=part.layer.name, tile=part.tile, instructions=part.span,
        cycles=run.cycles, cycles_predicted=part.predicted, error=part.predicted / run.cycles - 1,
        ideal_cycles=ideal, utilization=None if ideal is None else ideal / run.cycles,
        queues={queue.name: asdict(spent) for queue, spent in run.queues.items()},
        read_bytes=run.read_bytes, written_bytes=run.written_bytes,
        memory_differs=int(np.count_nonzero(windows[0] != windows[1])),
        scratchpad_differs=int(np.count_nonzero(after.scratchpad != found.scratchpad)),
        violations=list(ran.violations), mismatch=mismatch)


def _sum(results: Sequence[LayerResult], cycles_per_second: float, waves: Path | None) -> RtlResult:
    cycles = sum(r.cycles for r in results)
    ideal = [r.ideal_cycles for r in results if r.ideal_cycles is not None]
    return RtlResult(
        cycles=cycles, error=sum(r.cycles_predicted for r in results) / cycles - 1,
        utilization=sum(ideal) / cycles if len(ideal) == len(results) else None,
        queues={q.name: {kind: sum(r.queues[q.name][kind] for r in results)
                         for kind in ("busy", "wait", "stall")} for q in Queue},
        read_bytes=sum(r.read_bytes for r in results),
        written_bytes=sum(r.written_bytes for r in results),
        memory_differs=sum(r.memory_differs + r.scratchpad_differs for r in results),
        violations=[violation for r in results for violation in r.violations],
        mismatch=next((r.mismatch for r in results if r.mismatch), None),
        cycles_per_second=cycles_per_second, layers=list(results),
        waves=None if waves is None else str(waves))


@contextmanager
def _written_whole(path: Path | None) -> Iterator[Path | None]:
    """Where to write so that `path` is there at the end, even of a fault, and never half of it."""
    if path is None:
        yield None
        return
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            yield partial
        finally:
            if partial.exists():
                os.replace(partial, path)
    except OSError as error:
        raise SimError(f"file {str(path)!r} must be writable; {error.strerror}.") from error
