"""What ELEMENTWISE reads: words of one or two surfaces, in turns."""

from amaranth import Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from hw.rtl.interfaces import FaultReport
from hw.rtl.layout import instruction_layout
from hw.rtl.loop_nest import LoopNest
from hw.rtl.surface_walker import SurfaceWalker, surface_of
from hw.rtl.word_reader import WordRequest
from hw.spec.config import ArrayConfig
from hw.spec.isa import Elementwise, Opcode
from hw.spec.regs import Fault

__all__ = ["ElementwiseReads"]


class _Repeat(wiring.Component):
    """An index that advances with every `count`-th step, the first one `count` steps after home.

    Members
    -------
    count : In
        Not 0.
    step, home : In(1)
        `home` goes back to index 0, whatever `step` says.
    advance : Out(1)
        This step goes to the next index.
    """

    def __init__(self, count_bits: int) -> None:
        super().__init__({"count": In(count_bits), "step": In(1), "home": In(1),
                          "advance": Out(1)})

    def elaborate(self, platform):
        m = Module()
        done = Signal.like(self.count)
        after, end = done + 1, Signal()
        with m.If(self.home | (self.step & end)):
            m.d.sync += [done.eq(0), end.eq(self.count == 1)]
        with m.Elif(self.step):
            m.d.sync += [done.eq(after), end.eq(after + 1 == self.count)]
        m.d.comb += self.advance.eq(self.step & end)
        return m


class ElementwiseReads(wiring.Component):
    """Requests for the operands of an ELEMENTWISE: of each result a, then b if it is used.

    A word outside the scratchpad is a fault, and ends the stream before it.

    Timing: the first request two cycles after `start`, then one per cycle.

    Members
    -------
    start : In(1)
        Begin; `fields` must not change from now on.
    fields : In(instruction)
    legal : Out(1)
        The surfaces that are used keep their rules; one cycle behind `fields`.
    o : Out(stream)
        Of :class:`~hw.rtl.word_reader.WordRequest`.
    fault : Out(FaultReport)
    """

    def __init__(self, config: ArrayConfig) -> None:
        self.config = config
        super().__init__({
            "start": In(1), "fields": In(instruction_layout(config, Opcode.ELEMENTWISE)),
            "legal": Out(1), "o": Out(stream.Signature(WordRequest(config))),
            "fault": Out(FaultReport())})

    def elaborate(self, platform):
        m = Module()
        f = self.fields
        step, active = Signal(), Signal()
        two = f.operation != Elementwise.MAP

        # Position in the result, and in the surfaces.
        m.submodules.loops = loops = LoopNest(
            operand=2, columns=len(f.columns), rows=len(f.rows), planes=len(f.planes))
        m.submodules.a = a = SurfaceWalker(self.config)
        m.submodules.b = b = SurfaceWalker(self.config)
        m.submodules.repeat_x = repeat_x = _Repeat(len(f.repeat_x))
        m.submodules.repeat_y = repeat_y = _Repeat(len(f.repeat_y))
        a_x = Signal.like(f.columns, reset_less=True)
        row_ends, plane_ends = step & loops.ends.columns, step & loops.ends.rows
        m.d.comb += [
            loops.step.eq(step), loops.counts.operand.eq(1 + two),
            loops.counts.columns.eq(f.columns), loops.counts.rows.eq(f.rows),
            loops.counts.planes.eq(f.planes),
            repeat_x.count.eq(f.repeat_x), repeat_x.step.eq(step & loops.ends.operand),
            repeat_x.home.eq(self.start | row_ends),
            repeat_y.count.eq(f.repeat_y), repeat_y.step.eq(row_ends),
            repeat_y.home.eq(self.start | plane_ends),
            a.surface.eq(surface_of(self.config, f, "a")), a.x.eq(a_x),
            a.step_row.eq(repeat_y.advance),
            b.surface.eq(surface_of(self.config, f, "b")),
            b.x.eq(Mux(f.b_broadcast, 0, loops.indices.columns)),
            b.step_row.eq(row_ends),
            self.legal.eq(a.legal & (~two | b.legal)),
        ]
        for walker in (a, b):
            m.d.comb += [walker.home_row.eq(self.start | plane_ends),
                         walker.home_plane.eq(self.start), walker.step_plane.eq(plane_ends)]
        with m.If(self.start | row_ends):
            m.d.sync += a_x.eq(0)
        with m.Elif(repeat_x.advance):
            m.d.sync += a_x.eq(a_x + 1)

        # Output register. A word outside stays in it, as the fault, and no other follows.
        second = loops.indices.operand[0]
        beyond = Mux(second, b.outside, a.outside)
        address = Signal.like(a.address, reset_less=True)
        request = Signal(WordRequest(self.config), reset_less=True)
        full, outside = Signal(), Signal(reset_less=True)
        m.d.comb += [
            step.eq(active & (~full | self.o.ready)),
            self.o.valid.eq(full & ~outside),
            self.o.payload.eq(request), self.o.payload.address.eq(address),
            self.fault.valid.eq(full & outside), self.fault.address.eq(address),
            self.fault.cause.eq(Fault.ON_CHIP_RANGE),
        ]
        with m.If(self.start):
            m.d.sync += active.eq(1)
        with m.If(self.o.valid & self.o.ready):
            m.d.sync += full.eq(0)
        with m.If(step):
            m.d.sync += [
                full.eq(1), active.eq(~loops.last & ~beyond),
                address.eq(Mux(second, b.address, a.address)), outside.eq(beyond),
                request.read.eq(1), request.first.eq(~second),
                request.last.eq(loops.ends.operand)]
        return m
