"""Run a build and compare every tensor with ONNX Runtime, element by element.

Three witnesses: ONNX Runtime with every intermediate exposed, exact integers
(:mod:`sim.integer`), and the machine. A difference between the first two is this host's
ONNX Runtime leaving the exact integers; it is told apart from a difference of the machine.
"""

import resource
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import numpy as np

from hw.spec.isa import Isa
from hw.spec.timing import simulate
from sim.build import BuildFolder, TensorPlace
from sim.compare_tensors import compare_tensors
from sim.errors import SimError
from sim.golden import Golden
from sim.hostcheck import check_nodes
from sim.model import Machine, MachineFault
from sim.results import RtlResult, Verification
from sim.slices.parts import Selection
from sim.tensors import Array, host_outputs, quantize, read_tensors, write_inputs
from sim.verify_frame import verify_frame
from sim.verify_layers import verify_layers

__all__ = ["Selection", "Verification", "host_outputs", "predicted_cycles", "quantize",
           "read_tensors", "run", "verify", "write_inputs"]


def verify(build: BuildFolder, feeds: Mapping[str, Array], *, shuffles: Sequence[int] = (),
           races: bool = False, bytes_per_cycle: float | None = None, latency: int = 20,
           engine: Literal["iss", "rtl"] = "iss", selection: Selection | None = None,
           stall_seed: int | None = None,
           progress: Callable[[str, int, int], None] | None = None) -> Verification:
    """Run `build` on `feeds` and compare.

    The simulator runs in any case; with engine "rtl", what is compared with ONNX Runtime comes
    from the RTL, and memory is compared with the simulator's as well.

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
    selection
        RTL: run these layers by themselves, instead of the whole frame at once; without shuffles
        and races, which are about the whole program.
    stall_seed
        RTL: random stalls of the memory.
    progress
        Called with stage, done, total.

    Raises
    ------
    SimError
        The machine stopped with a fault, or an input does not fit.
    """
    say = progress or (lambda *_: None)
    seconds = _Stopwatch()
    golden = Golden(build.model)
    say("ONNX Runtime", 0, 1)
    expected = golden.run(feeds)
    seconds.stop("onnxruntime")
    say("integer reference", 0, 1)
    host = {c.output: c.differing for c in check_nodes(golden.model, expected)}
    seconds.stop("integer_reference")

    memory = {"bytes_per_cycle": bytes_per_cycle, "latency": latency, "stall_seed": stall_seed}
    differing, race_count = dict[int, int](), None
    measured: RtlResult | None = None
    absent = dict[str, str]()
    if selection is not None:
        if engine != "rtl" or shuffles or races:
            raise ValueError("layers can run by themselves only in RTL, without shuffles and races")
        measured, found = verify_layers(build, feeds, expected, selection, say, **memory)
        predicted = sum(layer.cycles_predicted for layer in measured.layers)
        absent = {name: "skipped" if place.entry["complete_at"] >= 0 else "input"
                  for name, place in build.tensors.items()
                  if place.in_memory and name not in found}
        seconds.stop("simulator_and_rtl")
    else:
        machine = Machine(build.image)
        total = build.image.instructions
        seconds.stop("load")
        found = run(build, machine, feeds, progress=lambda i: say("simulator", i + 1, total))
        seconds.stop("simulator")
        for n, seed in enumerate(shuffles):
            say("shuffled", n, len(shuffles))
            other = Machine(build.image)
            run(build, other, feeds, order=seed)
            differing[seed] = int(np.count_nonzero(other.activations != machine.activations))
        if races:
            say("races", 0, 1)
            race_count = len(machine.races())
        predicted = predicted_cycles(build, bytes_per_cycle, latency)
        seconds.stop("order_and_prediction")
        if engine == "rtl":
            at_end = read_tensors(build, machine.activations)
            absent = {name: "reused" for name, value in at_end.items()
                      if not np.array_equal(value, found[name])}
            measured, found = verify_frame(build, feeds, expected, machine, absent, predicted, say,
                                           **memory)
            seconds.stop("rtl")

    for entry in build.manifest["outputs"]:  # what the host dequantizes goes with its tensor
        if entry["tensor"] in absent:
            absent[entry["name"]] = absent[entry["tensor"]]
    results = compare_tensors(build, expected, found, host, absent)
    compared = [r for r in results if r.mismatches is not None]
    return Verification(
        engine=engine, tensors=results,
        total_mismatches=sum(r.mismatches or 0 for r in compared), compared=len(compared),
        compared_elements=sum(r.elements for r in compared), cycles_predicted=predicted,
        macs_per_cycle=build.image.config.macs_per_cycle, instructions=build.image.instructions,
        seconds=seconds.stages, shuffles=differing, races=race_count, rtl=measured)


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
    return found if order != "program" else found | host_outputs(build, found)


def predicted_cycles(build: BuildFolder, bytes_per_cycle: float | None, latency: int) -> int:
    """What the cycle model says about the image."""
    isa = Isa(build.image.config)
    step = isa.instruction_bytes
    program = [isa.decode(build.image.program[i:i + step])
               for i in range(0, len(build.image.program), step)]
    return simulate(program, build.image.config, latency=latency, instruction_bytes=step,
                    bytes_per_cycle=bytes_per_cycle or build.image.config.bus_bytes).cycles


class _Stopwatch:
    """CPU time by stage, of this process and of those it waited for."""

    def __init__(self) -> None:
        self.stages = dict[str, float]()
        self._last = self._now()

    def stop(self, stage: str) -> None:
        """The time since the last stage was this one's."""
        now = self._now()
        self.stages[stage], self._last = now - self._last, now

    def _now(self) -> float:
        children = resource.getrusage(resource.RUSAGE_CHILDREN)
        return time.process_time() + children.ru_utime + children.ru_stime
