"""What POOL reads: the words of a window that slides over a surface."""

from amaranth import Module, Signal, signed
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from hw.rtl.interfaces import FaultReport
from hw.rtl.layout import instruction_layout
from hw.rtl.loop_nest import LoopNest
from hw.rtl.surface_walker import SurfaceWalker, surface_of
from hw.rtl.word_reader import WordRequest
from hw.spec.config import MAX_STRIDE, ArrayConfig, bits_for
from hw.spec.isa import Opcode
from hw.spec.regs import Fault

__all__ = ["PoolReads"]


class PoolReads(wiring.Component):
    """Requests for the windows of a POOL: row by row, padding included, one window a result.

    A word outside the scratchpad is a fault, and ends the stream before it.

    Timing: the first request two cycles after `start`, then one per cycle; ``stride_y + 1``
    cycles more from a row of results to the next.

    Members
    -------
    start : In(1)
        Begin; `fields` must not change from now on.
    fields : In(instruction)
    legal : Out(1)
        The source keeps the rules of a surface; one cycle behind `fields`.
    o : Out(stream)
        Of :class:`~hw.rtl.word_reader.WordRequest`.
    fault : Out(FaultReport)
    """

    def __init__(self, config: ArrayConfig) -> None:
        self.config = config
        super().__init__({
            "start": In(1), "fields": In(instruction_layout(config, Opcode.POOL)),
            "legal": Out(1), "o": Out(stream.Signature(WordRequest(config))),
            "fault": Out(FaultReport())})

    def elaborate(self, platform):
        m = Module()
        f = self.fields
        step, active = Signal(), Signal()

        # Position of the tap and, as `top` and `left`, of its window's first one, in the input.
        place = signed(bits_for(MAX_STRIDE << len(f.rows)) + 1)
        iy, ix, top, left = (Signal(place, name=name, reset_less=True)
                             for name in ("iy", "ix", "top", "left"))
        m.submodules.loops = loops = LoopNest(
            kernel_columns=len(f.kernel_columns), kernel_rows=len(f.kernel_rows),
            columns=len(f.columns), rows=len(f.rows), planes=len(f.planes))
        for name in loops.widths:
            m.d.comb += loops.counts[name].eq(f[name])
        m.submodules.walker = walker = SurfaceWalker(self.config)
        m.d.comb += [
            loops.step.eq(step), walker.surface.eq(surface_of(self.config, f, "src")),
            walker.x.eq(ix), self.legal.eq(walker.legal), walker.home_plane.eq(self.start),
        ]

        # From tap to tap, window to window, plane to plane. Rows above the input count as row 0:
        # going down from them does not move in the ring.
        down, descend = Signal(), Signal()
        m.d.comb += walker.step_row.eq(down & (iy >= 0))
        with m.If(down):
            m.d.sync += iy.eq(iy + 1)
        with m.If(step):
            m.d.sync += ix.eq(ix + 1)
            with m.If(loops.ends.kernel_columns):
                m.d.sync += ix.eq(left)
                m.d.comb += down.eq(1)
            with m.If(loops.ends.kernel_rows):
                m.d.sync += [left.eq(left + f.stride_x), ix.eq(left + f.stride_x), iy.eq(top)]
                m.d.comb += walker.return_row.eq(1)
            with m.If(loops.ends.columns):
                m.d.sync += [left.eq(f.x0), ix.eq(f.x0)]
            with m.If(loops.ends.rows):
                m.d.sync += [top.eq(f.y0), iy.eq(f.y0)]
                m.d.comb += [walker.home_row.eq(1), walker.step_plane.eq(1)]
        with m.If(self.start):
            m.d.sync += [iy.eq(f.y0), top.eq(f.y0), ix.eq(f.x0), left.eq(f.x0), active.eq(1)]
            m.d.comb += walker.home_row.eq(1)

        # To the next row of windows, down a row at a time.
        below = Signal(range(MAX_STRIDE + 1))
        with m.If(step & loops.ends.columns & ~loops.ends.rows):
            m.d.sync += [descend.eq(1), below.eq(f.stride_y)]
        with m.If(descend):
            m.d.comb += down.eq(below != 0)
            m.d.sync += below.eq(below - 1)
            with m.If(below == 0):
                m.d.sync += [descend.eq(0), top.eq(iy)]
                m.d.comb += walker.mark_row.eq(1)

        # Output register. A word outside stays in it, as the fault, and no other follows.
        inside = (iy >= 0) & (iy < f.src_rows) & (ix >= 0) & (ix < f.src_columns)
        beyond = inside & walker.outside
        address = Signal.like(walker.address, reset_less=True)
        request = Signal(WordRequest(self.config), reset_less=True)
        full, outside = Signal(), Signal(reset_less=True)
        m.d.comb += [
            step.eq(active & ~descend & (~full | self.o.ready)),
            self.o.valid.eq(full & ~outside),
            self.o.payload.eq(request), self.o.payload.address.eq(address),
            self.fault.valid.eq(full & outside), self.fault.address.eq(address),
            self.fault.cause.eq(Fault.ON_CHIP_RANGE),
        ]
        with m.If(self.o.valid & self.o.ready):
            m.d.sync += full.eq(0)
        with m.If(step):
            m.d.sync += [
                full.eq(1), active.eq(~loops.last & ~beyond),
                address.eq(walker.address), outside.eq(beyond),
                request.read.eq(inside),
                request.first.eq((loops.indices.kernel_columns == 0)
                                 & (loops.indices.kernel_rows == 0)),
                request.last.eq(loops.ends.kernel_rows)]
        return m
