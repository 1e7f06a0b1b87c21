"""What DRAIN reads: the accumulators of a tile."""

from amaranth import Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from hw.rtl.interfaces import AccumulatorRead, FaultReport
from hw.rtl.layout import instruction_layout
from hw.rtl.loop_nest import LoopNest
from hw.spec.config import ArrayConfig
from hw.spec.isa import Opcode
from hw.spec.regs import Fault

__all__ = ["BLOCK", "DrainReads"]

#: Pixels of a 2x2 block.
BLOCK = 4


class DrainReads(wiring.Component):
    """Requests for the accumulators of a DRAIN.

    For every pixel, groups 0 and up of its columns. With `pool` the pixels are taken in 2x2
    blocks, and their four sums of a group follow each other, so that a maximum needs a register
    for the lanes and no more. A word beyond the accumulators is a fault, and ends the stream
    before it.

    Timing: the first request two cycles after `start`, then one per cycle.

    Members
    -------
    start : In(1)
        Begin; `fields` must not change from now on.
    fields : In(instruction)
    credit : In(1)
        There is room for another word of results.
    take : Out(1)
        In this cycle a credit is used.
    o : Out(stream)
        Requests as :class:`~hw.rtl.interfaces.AccumulatorRead` takes them.
    fault : Out(FaultReport)
    """

    def __init__(self, config: ArrayConfig) -> None:
        self.config = config
        request = AccumulatorRead(config).members["i"].signature
        super().__init__({
            "start": In(1), "fields": In(instruction_layout(config, Opcode.DRAIN)),
            "credit": In(1), "take": Out(1), "o": Out(request.flip()),
            "fault": Out(FaultReport())})

    def elaborate(self, platform):
        m = Module()
        config, f = self.config, self.fields
        step, active = Signal(), Signal()

        # Position: pixel or block, group, pixel of the block.
        m.submodules.loops = loops = LoopNest(
            block=BLOCK.bit_length(),
            group=_count_bits(config.columns // config.post_lanes),
            columns=len(f.columns), rows=len(f.rows))
        m.d.comb += [
            loops.step.eq(step),
            loops.counts.block.eq(Mux(f.pool, BLOCK, 1)),
            loops.counts.group.eq(config.columns // config.post_lanes),
            loops.counts.columns.eq(f.columns >> f.pool), loops.counts.rows.eq(f.rows >> f.pool),
        ]

        # Accumulators of the block's left pixels. At the end of a row of blocks the upper pointer
        # has come to where the lower one started, and the lower one to the next row.
        pointer = max(len(f.accumulator), len(f.columns)) + 2
        upper, lower = (Signal(pointer, name=n, reset_less=True) for n in ("upper", "lower"))
        upper_after, lower_after = upper + 1 + f.pool, lower + 2
        with m.If(self.start):
            m.d.sync += [upper.eq(f.accumulator), lower.eq(f.accumulator + f.columns)]
        with m.Elif(step & loops.ends.group):
            m.d.sync += [upper.eq(upper_after), lower.eq(lower_after)]
            with m.If(loops.ends.columns & f.pool):
                m.d.sync += [upper.eq(lower_after), lower.eq(lower_after + f.columns)]
        block = loops.indices.block
        address = Signal(pointer)
        m.d.comb += address.eq(Mux(block[1], lower, upper) + block[0])

        # Output register. The first request of a word needs a credit. A word outside stays in the
        # register, as the fault, and no other follows.
        group = loops.indices.group
        per_word = min(config.rows, config.columns) // config.post_lanes
        beyond = address >= config.accumulator_words
        new_word = (block == 0) & ((group & (per_word - 1)) == 0)
        request = Signal.like(self.o.payload, reset_less=True)
        requested = Signal.like(address, reset_less=True)
        full, outside = Signal(), Signal(reset_less=True)
        m.d.comb += [
            step.eq(active & (~full | self.o.ready) & (self.credit | ~new_word)),
            self.take.eq(step & new_word), self.o.valid.eq(full & ~outside),
            self.o.payload.eq(request), self.o.payload.address.eq(requested),
            self.fault.valid.eq(full & outside), self.fault.address.eq(requested),
            self.fault.cause.eq(Fault.ON_CHIP_RANGE),
        ]
        with m.If(self.start):
            m.d.sync += active.eq(1)
        with m.If(self.o.valid & self.o.ready):
            m.d.sync += full.eq(0)
        with m.If(step):
            m.d.sync += [
                full.eq(1), active.eq(~loops.last & ~beyond), requested.eq(address),
                outside.eq(beyond), request.group.eq(group)]
        return m


def _count_bits(count: int) -> int:
    """Width of a loop that runs a constant number of times."""
    return count.bit_length() if count > 1 else 0
