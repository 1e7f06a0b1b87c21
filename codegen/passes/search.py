"""Choose how convolutions are cut, and which of them run together: every candidate is scheduled by
itself, and its time taken by the cycle model.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product

from codegen.errors import BuildError
from codegen.lowered import Buffer, ConvKernel, Kernel, Lowered
from codegen.passes.allocate import allocate
from codegen.passes.cascade import Cascade, cascades_of
from codegen.passes.footprint import Footprints
from codegen.passes.hoist import hoist
from codegen.passes.pack import ConstantPool, Fold, pack
from codegen.passes.schedule import schedule
from codegen.passes.synchronize import synchronize
from codegen.passes.tile import Planned, plan_conv
from codegen.passes.upsample import merge_upsampling
from hw.spec.config import ArrayConfig
from hw.spec.isa import QUEUE_OF, Isa, Queue
from hw.spec.timing import simulate

__all__ = ["Choice", "choose", "plan"]

#: Kernels that a cascade can have; a limit for the search.
_MOST_STAGES = 6
#: Candidates whose estimate is so much worse than that of the kernels alone are not looked at.
_HOPELESS = 1.05
#: A cycle of memory costs so many cycles where it takes no time: others may want the bandwidth.
_TRAFFIC_WEIGHT = 0.1


@dataclass(frozen=True, kw_only=True)
class Choice:
    """Consecutive kernels that run together, or one alone.

    Parameters
    ----------
    start, stop : int
        Which kernels.
    merged : bool
        The first, an upsampling, is done by the second: see :mod:`codegen.passes.upsample`.
    divisor : int
        Of a cascade: see :func:`codegen.passes.cascade.cascades_of`; 0 if it is none.
    folds : tuple[Fold, ...]
        Of each kernel.
    cycles : float
        What it costs, in the search's terms.
    runner_up : (tuple[str, ...], float) or None
        The next best way to do the network up to here: the kernels of its last group, and how much
        more all of it costs.
    """

    start: int
    stop: int
    merged: bool = False
    divisor: int = 0
    folds: tuple[Fold, ...]
    cycles: float
    runner_up: tuple[tuple[str, ...], float] | None = None


def plan(lowered: Lowered, config: ArrayConfig, constants: ConstantPool,
         folds: Mapping[str, Fold], *, bytes_per_cycle: float) -> dict[str, Planned]:
    """Pack every convolution into `constants`, and plan it as if it were alone; by name."""
    planned = {}
    for kernel in lowered.kernels:
        if isinstance(kernel, ConvKernel):
            packed = pack(kernel, config, constants, folds.get(kernel.name, Fold.NONE))
            planned[kernel.name] = Planned(packed=packed, plan=plan_conv(
                kernel, packed, config, bytes_per_cycle=bytes_per_cycle))
    return planned


def choose(lowered: Lowered, config: ArrayConfig, *, bytes_per_cycle: float, latency: int,
           progress: Callable[[str], None] | None = None) -> tuple[Lowered, list[Choice]]:
    """The cuts of the network into cascades and single kernels that take least time.

    Returns
    -------
    Lowered
        With upsamplings merged into the convolutions that read them, where that is better.
    list[Choice]
        For the kernels of that one.
    """
    kernels = lowered.kernels
    constants = ConstantPool()
    plans = {fold: plan(lowered, config, constants, {
        k.name: fold for k in kernels if isinstance(k, ConvKernel) and k.folded},
        bytes_per_cycle=bytes_per_cycle) for fold in (Fold.ROW, Fold.WINDOW)}
    trial = _Trial(lowered, config, bytes_per_cycle, latency)
    best: list[tuple[float, Choice | None]] = [(0.0, None)]
    for stop in range(1, len(kernels) + 1):
        if progress:
            progress(kernels[stop - 1].name)
        options = []
        for start in range(stop - 1, max(-1, stop - 1 - _MOST_STAGES), -1):
            group = kernels[start:stop]
            if len(group) == 2 and (cycles := trial.merged(start)) is not None:
                options.append(Choice(start=start, stop=stop, merged=True, folds=(Fold.NONE,),
                                      cycles=cycles))
            if len(group) > 1 and not all(isinstance(k, ConvKernel) for k in group):
                break
            for folds in product(*map(_folds, group)):
                planned = {k.name: plans[f if f in plans else Fold.ROW][k.name]
                           for k, f in zip(group, folds) if isinstance(k, ConvKernel)}
                for cascade in _ways(lowered, group, planned, config, bytes_per_cycle):
                    cycles = trial.cycles(group, planned, cascade)
                    options.append(Choice(
                        start=start, stop=stop, folds=folds, cycles=cycles,
                        divisor=cascade.divisor if cascade else 0))
        ranked = sorted(options, key=lambda o: best[o.start][0] + o.cycles)
        total = [best[o.start][0] + o.cycles for o in ranked[:2]]
        runner_up = (tuple(k.name for k in kernels[ranked[1].start:stop]),
                     total[1] - total[0]) if len(ranked) > 1 else None
        best.append((total[0], replace(ranked[0], runner_up=runner_up)))
    chosen: list[Choice] = []
    stop = len(kernels)
    while stop:
        choice = best[stop][1]
        assert choice is not None
        chosen.insert(0, choice)
        stop = choice.start
    return _merged(lowered, chosen)


def _merged(lowered: Lowered, chosen: Sequence[Choice]) -> tuple[Lowered, list[Choice]]:
    """Do the merges; the choices for the kernels that there are then."""
    found: list[Choice] = []
    for choice in chosen:
        start = found[-1].stop if found else 0
        stop = start + len(choice.folds)
        if choice.merged:
            after = merge_upsampling(lowered, start)
            assert after is not None
            lowered = after
        found.append(replace(choice, start=start, stop=stop))
    return lowered, found


def _folds(kernel: Kernel) -> tuple[Fold, ...]:
    """Which kernel taps can be lanes: more of them save passes, and cost loads."""
    if isinstance(kernel, ConvKernel) and kernel.folded:
        return Fold.ROW, Fold.WINDOW
    return (Fold.NONE,)


def _ways(lowered: Lowered, group: Sequence[Kernel], planned: Mapping[str, Planned],
          config: ArrayConfig, bytes_per_cycle: float) -> list[Cascade | None]:
    """Ways to run a group that are worth a trial; None: its only kernel by itself."""
    if len(group) == 1:
        return [None]
    alone = sum(planned[k.name].plan.cost for k in group)
    return [c for c in cascades_of(lowered, group, planned, config,
                                   bytes_per_cycle=bytes_per_cycle)
            if c.cost < _HOPELESS * alone]


class _Trial:
    """Schedules a few kernels as if they were the whole network."""

    def __init__(self, lowered: Lowered, config: ArrayConfig, bytes_per_cycle: float,
                 latency: int) -> None:
        self.lowered, self.config = lowered, config
        self.bytes_per_cycle, self.latency = bytes_per_cycle, latency
        self.addresses: dict[Buffer, int]
        self.addresses, size = allocate(lowered, config)
        self.footprints = Footprints(config, size)

    def merged(self, start: int) -> float | None:
        """Cycles of kernels `start` and the next one as a single one; None if they cannot be."""
        after = merge_upsampling(self.lowered, start)
        if after is None:
            return None
        group = after.kernels[start:start + 1]
        try:
            planned = plan(replace(after, kernels=group), self.config, ConstantPool(), {},
                           bytes_per_cycle=self.bytes_per_cycle)
        except BuildError:  # not enough room
            return None
        return self.cycles(group, planned, None)

    def cycles(self, group: Sequence[Kernel], planned: Mapping[str, Planned],
               cascade: Cascade | None) -> float:
        """From the first multiplication to the last result: loads ahead of it can overlap with
        the group before; but at least what memory takes, and a little more for traffic.
        """
        kernels = tuple(group) if cascade is None else tuple(s.kernel for s in cascade.stages)
        alone = replace(self.lowered, kernels=kernels, groups=(kernels,))
        program, _ = schedule(alone, self.addresses, self.config, ConstantPool(), planned,
                              {kernels[0].name: cascade} if cascade else {})
        program = hoist(program, self.footprints, self.config)
        synchronize(program, self.footprints)
        step = Isa(self.config).instruction_bytes
        p = simulate([(i.opcode, i.fields) for i in program], self.config, latency=self.latency,
                     bytes_per_cycle=self.bytes_per_cycle, instruction_bytes=step)
        at_work = [i for i, ins in enumerate(program[:-1])
                   if QUEUE_OF[ins.opcode] in (Queue.MAC, Queue.POST)]
        busy = max(p.ends[i] for i in at_work) - min(p.starts[i] for i in at_work)
        memory = (p.read_bytes + p.written_bytes) / self.bytes_per_cycle
        return max(busy, memory) + _TRAFFIC_WEIGHT * memory
