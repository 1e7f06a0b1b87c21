"""Where the POST unit writes: the words of an instruction's result, in the order they are made."""

from amaranth import Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from hw.rtl.interfaces import FaultReport
from hw.rtl.layout import instruction_layout
from hw.rtl.loop_nest import LoopNest
from hw.rtl.skid import SkidBuffer
from hw.rtl.surface_walker import SurfaceLayout, SurfaceWalker
from hw.spec.config import ArrayConfig, bits_for
from hw.spec.isa import Opcode
from hw.spec.regs import Fault

__all__ = ["Destination", "Place", "ResultSize"]


class ResultSize(data.StructLayout):
    """How many words a result has: ``planes`` of ``rows`` of ``columns``."""

    def __init__(self, config: ArrayConfig) -> None:
        fields = instruction_layout(config, Opcode.ELEMENTWISE)
        super().__init__({name: fields[name].shape for name in ("columns", "rows", "planes")})


class Place(data.StructLayout):
    """A word of the scratchpad, and whether it is the last of its instruction."""

    def __init__(self, config: ArrayConfig) -> None:
        super().__init__({"address": bits_for(config.scratchpad_words - 1), "last": 1})


class Destination(wiring.Component):
    """Addresses of a surface that is written: planes of rows of columns.

    With `interleaved`, which is how a drain of a wide array comes, the planes of a pixel follow
    each other instead. A word outside the scratchpad, or a row more than the ring holds, is a
    fault, and ends the stream before it.

    Timing: the first address three cycles after `start`, then one per cycle.

    Members
    -------
    start : In(1)
        Begin; the other inputs must not change from now on.
    surface : In(SurfaceLayout)
    size : In(ResultSize)
    interleaved : In(1)
        The result has :attr:`ArrayConfig.planes_per_drain` planes, whatever `size` says.
    legal : Out(1)
        As in :class:`~hw.rtl.surface_walker.SurfaceWalker`.
    o : Out(stream)
        Of :class:`Place`.
    fault : Out(FaultReport)
        ON_CHIP_RANGE or ILLEGAL_INSTRUCTION, when all places before have been taken.
    """

    def __init__(self, config: ArrayConfig) -> None:
        self.config = config
        super().__init__({
            "start": In(1), "surface": In(SurfaceLayout(config)), "size": In(ResultSize(config)),
            "interleaved": In(1), "legal": Out(1), "o": Out(stream.Signature(Place(config))),
            "fault": Out(FaultReport())})

    def elaborate(self, platform):
        m = Module()
        surface, size = self.surface, ResultSize(self.config)
        step, active = Signal(), Signal()

        # Position. Without planes inside there is one loop less.
        inside = self.config.planes_per_drain
        m.submodules.loops = loops = LoopNest(
            inner=inside.bit_length() if inside > 1 else 0,
            columns=size["columns"].shape, rows=size["rows"].shape,
            planes=size["planes"].shape)
        m.submodules.walker = walker = SurfaceWalker(self.config)
        interleaved = self.interleaved & (inside > 1)
        m.d.comb += [
            loops.step.eq(step),
            loops.counts.inner.eq(Mux(interleaved, inside, 1)),
            loops.counts.columns.eq(self.size.columns), loops.counts.rows.eq(self.size.rows),
            loops.counts.planes.eq(Mux(self.interleaved, 1, self.size.planes)),
            walker.surface.eq(surface), self.legal.eq(walker.legal),
            walker.x.eq(loops.indices.columns),
            walker.home_row.eq(self.start | loops.ends.rows),
            walker.step_row.eq(loops.ends.columns),
            walker.home_plane.eq(self.start | (interleaved & loops.ends.inner)),
            walker.step_plane.eq(interleaved | loops.ends.rows),
            walker.move.eq(self.start | step),
        ]

        # Ring words that the rows up to the present one take.
        used = Signal(len(surface.ring_words) + 1, reset_less=True)
        with m.If(walker.move):
            with m.If(walker.home_row):
                m.d.sync += used.eq(surface.row_stride)
            with m.Elif(walker.step_row):
                m.d.sync += used.eq(used + surface.row_stride)

        # Output register. A word that must not be written stays in it, as the fault, and no other
        # follows.
        above = used > surface.ring_words
        address = Signal.like(walker.address, reset_less=True)
        last = Signal(reset_less=True)
        full, outside, too_many = Signal(), Signal(reset_less=True), Signal(reset_less=True)
        m.submodules.leaving = leaving = SkidBuffer(Place(self.config))
        wiring.connect(m, leaving.o, wiring.flipped(self.o))
        m.d.comb += [
            step.eq(active & (~full | leaving.i.ready)),
            leaving.i.valid.eq(full & ~outside & ~too_many),
            leaving.i.payload.address.eq(address), leaving.i.payload.last.eq(last),
            self.fault.valid.eq(full & (outside | too_many) & ~self.o.valid),
            self.fault.cause.eq(Mux(too_many, Fault.ILLEGAL_INSTRUCTION, Fault.ON_CHIP_RANGE)),
            self.fault.address.eq(Mux(too_many, 0, address)),
        ]
        with m.If(self.start):
            m.d.sync += active.eq(1)
        with m.If(leaving.i.valid & leaving.i.ready):
            m.d.sync += full.eq(0)
        with m.If(step):
            m.d.sync += [
                full.eq(1), active.eq(~loops.last & ~walker.outside & ~above),
                address.eq(walker.address), last.eq(loops.last),
                outside.eq(walker.outside), too_many.eq(above)]
        return m
