"""The whole frame on the core's RTL, at once."""

import json
from collections.abc import Callable, Container, Mapping
from dataclasses import asdict
from typing import Any

import numpy as np

from hw.spec.regs import Fault
from sim.build import BuildFolder
from sim.model import Machine
from sim.results import RtlResult
from sim.slices.locate import Locator
from sim.tensors import Array, host_outputs, read_tensors, write_inputs

__all__ = ["ideal_cycles", "stage", "verify_frame"]


def verify_frame(build: BuildFolder, feeds: Mapping[str, Array], expected: Mapping[str, Array],
                 machine: Machine, absent: Container[str], predicted: int,
                 say: Callable[[str, int, int], None], **memory: Any
                 ) -> tuple[RtlResult, dict[str, Array]]:
    """Run the RTL; what it measured, and the tensors that it left behind.

    Parameters
    ----------
    expected
        ONNX Runtime's tensors.
    machine
        The simulator after the same frame.
    absent
        Tensors whose memory is written again before the end.
    predicted
        Cycles.
    say
        Called with stage, done, total.
    memory
        As for :func:`sim.tb.runner.run_rtl`.

    Raises
    ------
    SimError
        The core stopped with a fault, or the simulation could not be built.
    """
    # The hardware's generator and cocotb are needed for this engine only.
    from sim.tb.runner import run_rtl
    activations = np.zeros(build.image.activation_bytes, np.uint8)
    write_inputs(build, activations, feeds)
    say("building the RTL", 0, 1)
    result = run_rtl(
        build.image, activations, **memory,
        progress=lambda cycles, speed: say(stage(cycles, predicted, speed), cycles, predicted))
    locator = Locator(build, machine.program)
    if result.fault != Fault.NONE:
        raise locator.fault(result.fault, result.instruction, result.address)
    found = {name: value for name, value in read_tensors(build, result.activations).items()
             if name not in absent}
    span = 0, build.image.instructions
    pairs = {name: (expected[name], value) for name, value in found.items()}
    mismatch = locator.activations(span, machine.activations, result.activations) \
        or locator.tensors(span, pairs, machine.activations, result.activations)
    ideal = ideal_cycles(build)
    return RtlResult(
        cycles=result.cycles, error=predicted / result.cycles - 1,
        utilization=None if ideal is None else sum(ideal) / result.cycles,
        queues={queue.name: asdict(spent) for queue, spent in result.queues.items()},
        read_bytes=result.read_bytes, written_bytes=result.written_bytes,
        memory_differs=int(np.count_nonzero(result.activations != machine.activations)),
        violations=list(result.violations), mismatch=mismatch,
        cycles_per_second=result.cycles / result.seconds), found | host_outputs(build, found)


def stage(cycles: int, total: int, speed: float) -> str:
    """What a progress bar says of `cycles`, simulated with `speed` per second."""
    return f"RTL, {cycles / 1e6:.1f} of {total / 1e6:.1f} M cycles, {speed / 1e3:.0f} kcycles/s"


def ideal_cycles(build: BuildFolder) -> list[float] | None:
    """What the array needs at least, by layer; None without a report."""
    report = build.path / "report.json"
    if not report.exists():
        return None
    return [layer["ideal_cycles"] for layer in json.loads(report.read_text())["layers"]]
