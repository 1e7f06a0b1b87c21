"""Run a build and compare every tensor with ONNX Runtime, element by element.

Three witnesses: ONNX Runtime with every intermediate exposed, exact integers
(:mod:`sim.integer`), and the machine. A difference between the first two is this host's
ONNX Runtime leaving the exact integers; it is told apart from a difference of the machine.
"""

import json
import resource
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from hw.spec.isa import Isa
from hw.spec.regs import Fault
from hw.spec.timing import simulate
from sim.build import BuildFolder, TensorPlace
from sim.errors import SimError
from sim.golden import Golden
from sim.hostcheck import check_nodes
from sim.model import Machine, MachineFault

__all__ = ["RtlResult", "TensorResult", "Verification", "verify"]

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class TensorResult:
    """Comparison of one tensor.

    Parameters
    ----------
    name, shape, elements
        As in the model.
    mismatches
        Elements in which the engine differs from ONNX Runtime; None if it was not compared.
    max_abs_diff
        Largest difference.
    first
        Index of the first difference, expected and found value.
    where
        "memory", "host" (dequantized by the host), "input" (what was fed), "table" (a float tensor
        that only exists inside a table), "fused" (not kept; build with --keep-tensors) or "reused"
        (RTL only: its memory is written again before the end; likewise).
    host_differs
        Elements in which ONNX Runtime differs from exact integers computed from ONNX Runtime's
        own inputs of that node.
    """

    name: str
    shape: tuple[int, ...]
    elements: int
    mismatches: int | None
    max_abs_diff: float
    first: tuple[tuple[int, ...], float, float] | None
    where: str
    host_differs: int = 0


@dataclass
class RtlResult:
    """What only a run of the RTL tells.

    Parameters
    ----------
    cycles
        Measured by the core.
    error
        Of the prediction: predicted / measured - 1.
    utilization
        Ideal cycles / measured; None if the build has no report.
    queues
        By name: cycles busy, waiting for tokens, and stalled by memory or other units.
    read_bytes, written_bytes
        On the bus.
    memory_differs
        Bytes of the activations window in which RTL and simulator differ at the end.
    violations
        Accesses that break the bus protocol or leave their window.
    cycles_per_second
        Speed of the simulation.
    """

    cycles: int
    error: float
    utilization: float | None
    queues: dict[str, dict[str, int]]
    read_bytes: int
    written_bytes: int
    memory_differs: int
    violations: list[str]
    cycles_per_second: float


@dataclass
class Verification:
    """All results of one run."""

    engine: str
    tensors: list[TensorResult]
    total_mismatches: int
    compared: int
    compared_elements: int
    cycles_predicted: int
    macs_per_cycle: int
    instructions: int
    seconds: dict[str, float]
    shuffles: dict[int, int] = field(default_factory=dict)
    races: int | None = None
    rtl: RtlResult | None = None

    @property
    def passed(self) -> bool:
        """Something was compared; no mismatch, no race, the same memory in every interleaving
        and engine, no violation.
        """
        failed = (self.total_mismatches or any(self.shuffles.values()) or self.races
                  or self.rtl and (self.rtl.memory_differs or self.rtl.violations))
        return bool(self.compared) and not failed

    def to_json(self) -> dict[str, Any]:
        """As ``--json`` writes it."""
        return asdict(self) | {"passed": self.passed}


def verify(build: BuildFolder, feeds: Mapping[str, Array], *, shuffles: Sequence[int] = (),
           races: bool = False, bytes_per_cycle: float | None = None, latency: int = 20,
           engine: Literal["iss", "rtl"] = "iss", stall_seed: int | None = None,
           trace: Path | None = None,
           progress: Callable[[str, int, int], None] | None = None) -> Verification:
    """Run `build` on `feeds` and compare.

    The simulator runs in any case; with engine "rtl", what is compared with ONNX Runtime comes
    from the RTL, and all memory at the end is compared with the simulator's.

    Parameters
    ----------
    feeds
        One array per graph input, as ONNX Runtime takes it.
    shuffles
        Seeds of random interleavings of the queues whose memory must equal that of the program
        order.
    races
        Also prove that no interleaving can give another result.
    bytes_per_cycle, latency
        Memory for the cycle prediction, and of the RTL; the bus width if not given.
    engine
        "iss", the simulator, or "rtl", the generated Verilog.
    stall_seed, trace
        RTL: random stalls of the memory; file for waveforms. See :func:`sim.tb.runner.run_rtl`.
    progress
        Called with stage, done, total.

    Raises
    ------
    SimError
        The machine stopped with a fault, or an input does not fit.
    """
    say = progress or (lambda *_: None)
    seconds = dict[str, float]()
    golden = Golden(build.model)
    say("ONNX Runtime", 0, 1)
    start = time.process_time()
    expected = golden.run(feeds)
    seconds["onnxruntime"] = time.process_time() - start

    say("integer reference", 0, 1)
    start = time.process_time()
    host = {c.output: c.differing for c in check_nodes(golden.model, expected)}
    seconds["integer_reference"] = time.process_time() - start

    start = time.process_time()
    machine = Machine(build.image)
    total = build.image.instructions
    seconds["load"] = time.process_time() - start
    start = time.process_time()
    found = run(build, machine, feeds, progress=lambda i: say("simulator", i + 1, total))
    seconds["simulator"] = time.process_time() - start
    memory = machine.activations.copy()

    differing = dict[int, int]()
    for n, seed in enumerate(shuffles):
        say("shuffled", n, len(shuffles))
        other = Machine(build.image)
        run(build, other, feeds, order=seed)
        differing[seed] = int(np.count_nonzero(other.activations != memory))
    race_count = None
    if races:
        say("races", 0, 1)
        race_count = len(machine.races())

    predicted = predicted_cycles(build, bytes_per_cycle, latency)
    measured = None
    reused = set[str]()
    if engine == "rtl":
        at_end = read_tensors(build, memory)
        reused = {name for name, value in at_end.items() if not np.array_equal(value, found[name])}
        measured, found = _run_rtl(build, feeds, memory, seconds, predicted,
                                   bytes_per_cycle=bytes_per_cycle, latency=latency,
                                   stall_seed=stall_seed, trace=trace, say=say)
        found = {name: value for name, value in found.items() if name not in reused}

    results = [_compare(name, value, found.get(name),
                        "reused" if name in reused else _where(build, name), host.get(name, 0))
               for name, value in expected.items()]
    compared = [r for r in results if r.mismatches is not None]
    return Verification(
        engine=engine, tensors=results,
        total_mismatches=sum(r.mismatches or 0 for r in compared), compared=len(compared),
        compared_elements=sum(r.elements for r in compared),
        cycles_predicted=predicted,
        macs_per_cycle=build.image.config.macs_per_cycle, instructions=total, seconds=seconds,
        shuffles=differing, races=race_count, rtl=measured)


def run(build: BuildFolder, machine: Machine, feeds: Mapping[str, Array], *,
        order: Any = "program", progress: Callable[[int], None] | None = None
        ) -> dict[str, Array]:
    """Write the inputs, run, and in program order read every tensor that reaches memory.

    Raises
    ------
    SimError
        An input does not fit, or the machine stopped with a fault.
    """
    found = dict[str, Array]()
    write_inputs(build, machine.activations, feeds)
    complete = dict[int, list[TensorPlace]]()
    for place in build.tensors.values():
        if place.in_memory:
            complete.setdefault(place.entry["complete_at"], []).append(place)

    def step(index: int) -> None:
        # memory may be reused later, so tensors are read when they are complete
        for place in complete.get(index, ()):
            found[place.name] = place.read(machine.activations)
        if progress:
            progress(index)
    step(-1)
    try:
        machine.run(order, progress=step if order == "program" else None)
    except MachineFault as fault:
        raise SimError(f"program of {str(build.path)!r} must run to its end; it stopped: "
                       f"{fault}.") from fault
    return found if order != "program" else found | _host_outputs(build, found)


def write_inputs(build: BuildFolder, activations: Array, feeds: Mapping[str, Array]) -> None:
    """Put the inputs where the program expects them, quantized if the host has to do that."""
    for entry in build.manifest["inputs"]:
        codes = feeds[entry["name"]]
        if entry["quantize"]:
            codes = quantize(codes, **entry["quantize"], dtype=build.tensors[entry["tensor"]].dtype)
        build.tensors[entry["tensor"]].write(activations, codes)


def read_tensors(build: BuildFolder, activations: Array) -> dict[str, Array]:
    """Read every tensor that reaches memory, whether or not it was overwritten since."""
    return {place.name: place.read(activations) for place in build.tensors.values()
            if place.in_memory}


def _host_outputs(build: BuildFolder, found: Mapping[str, Array]) -> dict[str, Array]:
    """Dequantize the outputs that the host has to."""
    outputs = dict[str, Array]()
    for entry in build.manifest["outputs"]:
        if entry["dequantize"]:
            codes = found[entry["tensor"]].astype(np.int32)
            scale, zero = entry["dequantize"]["scale"], entry["dequantize"]["zero_point"]
            outputs[entry["name"]] = (codes - zero).astype(np.float32) * np.float32(scale)
    return outputs


def _run_rtl(build: BuildFolder, feeds: Mapping[str, Array], expected: Array,
             seconds: dict[str, float], predicted: int, *, bytes_per_cycle: float | None,
             latency: int, stall_seed: int | None, trace: Path | None,
             say: Callable[[str, int, int], None]) -> tuple[RtlResult, dict[str, Array]]:
    """Run the RTL; what it measured, and every tensor in memory at its end.

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
    start = _cpu_seconds()
    result = run_rtl(
        build.image, activations, bytes_per_cycle=bytes_per_cycle, latency=latency,
        stall_seed=stall_seed, trace=trace,
        progress=lambda cycles, speed: say(f"RTL, {speed / 1e3:.0f} kcycles/s", cycles, predicted))
    seconds["rtl"] = _cpu_seconds() - start
    if result.fault != Fault.NONE:
        raise SimError(f"program of {str(build.path)!r} must run to its end in RTL; it stopped "
                       f"after {result.cycles} cycles: {result.fault.name} at instruction "
                       f"{result.instruction}, address {result.address:#x}.")
    report = build.path / "report.json"
    ideal = None
    if report.exists():
        ideal = json.loads(report.read_text())["macs"] / build.image.config.macs_per_cycle
    found = read_tensors(build, result.activations)
    return RtlResult(
        cycles=result.cycles, error=predicted / result.cycles - 1,
        utilization=None if ideal is None else ideal / result.cycles,
        queues={queue.name: asdict(spent) for queue, spent in result.queues.items()},
        read_bytes=result.read_bytes, written_bytes=result.written_bytes,
        memory_differs=int(np.count_nonzero(result.activations != expected)),
        violations=list(result.violations), cycles_per_second=result.cycles / result.seconds,
    ), found | _host_outputs(build, found)


def quantize(values: Array, *, scale: float, zero_point: int, dtype: "np.dtype[Any]") -> Array:
    """QuantizeLinear as the host computes it: true float32 division, half to even, saturated."""
    limits = np.iinfo(dtype)
    with np.errstate(over="ignore"):
        steps = np.rint(values.astype(np.float32) / np.float32(scale))
    codes = np.clip(steps, limits.min - zero_point, limits.max - zero_point) + zero_point
    return np.asarray(codes.astype(dtype))


def predicted_cycles(build: BuildFolder, bytes_per_cycle: float | None, latency: int) -> int:
    """What the cycle model says about the image."""
    isa = Isa(build.image.config)
    step = isa.instruction_bytes
    program = [isa.decode(build.image.program[i:i + step])
               for i in range(0, len(build.image.program), step)]
    return simulate(program, build.image.config, latency=latency, instruction_bytes=step,
                    bytes_per_cycle=bytes_per_cycle or build.image.config.bus_bytes).cycles


def _cpu_seconds() -> float:
    """CPU time of this process and of those it waited for."""
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + children.ru_utime + children.ru_stime


def _where(build: BuildFolder, name: str) -> str:
    if name in build.manifest["folded"]:
        return "table"
    if name in build.tensors:
        return "memory" if build.tensors[name].in_memory else "fused"
    return "input" if any(i["name"] == name for i in build.manifest["inputs"]) else "host"


def _compare(name: str, expected: Array, found: Array | None, where: str,
             host: int) -> TensorResult:
    shape = tuple(expected.shape)
    if found is None:
        return TensorResult(name, shape, expected.size, None, 0.0, None, where, host)
    differs = expected.reshape(-1) != found.reshape(-1) if shape == found.shape \
        else np.ones(expected.size, bool)
    count = int(np.count_nonzero(differs))
    if not count:
        return TensorResult(name, shape, expected.size, 0, 0.0, None, where, host)
    at = int(np.argmax(differs))
    a, b = (v.reshape(-1).astype(np.float64) for v in (expected, found))
    return TensorResult(
        name, shape, expected.size, count, float(np.abs(a - b).max()),
        (tuple(int(i) for i in np.unravel_index(at, shape)), float(a[at]), float(b[at])), where,
        host)
