"""Scratchpad addresses of a surface, step by step and without multipliers."""

from amaranth import Cat, Module, Signal
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from hw.rtl.layout import instruction_layout
from hw.rtl.walk import next_row
from hw.spec.config import MAX_IMAGE_SIDE, ArrayConfig, bits_for
from hw.spec.isa import SURFACE_FIELDS, Opcode

__all__ = ["SurfaceLayout", "SurfaceWalker", "surface_of"]


class SurfaceLayout(data.StructLayout):
    """The five fields of a surface, as instructions have them."""

    def __init__(self, config: ArrayConfig) -> None:
        fields = instruction_layout(config, Opcode.STORE)
        super().__init__({name: fields[f"src_{name}"].shape for name in SURFACE_FIELDS})


def surface_of(config: ArrayConfig, fields: data.View, prefix: str) -> data.View:
    """Take the surface `prefix` out of an instruction."""
    return data.View(SurfaceLayout(config),
                     Cat(fields[f"{prefix}_{name}"] for name in SURFACE_FIELDS))


class SurfaceWalker(wiring.Component):
    """Address of word (plane, row, x) of a surface.

    ``base + plane * plane_stride + (ring_start + row * row_stride) % ring_words + x``: plane and
    row move by one step at a time or go home to 0; x is given. A row can be marked, to return to
    it. Of several commands for the row, the later one of the list below counts; likewise for the
    plane. Which ones there are can be said early, and late whether it is time for them.

    Timing: commands act at the end of their cycle; `address` and `outside` follow `x` in the same
    cycle. Nothing stalls.

    Members
    -------
    surface : In(SurfaceLayout)
        Must be `legal` and not change after `home`.
    legal : Out(1)
        The surface keeps the rules of docs/isa_semantics.md: ring not empty, row stride and ring
        start within it. One cycle behind `surface`.
    x : In
        Column.
    step_row, return_row, home_row : In(1)
        To the next row, the marked row, row 0. `home_row` marks row 0, too.
    mark_row : In(1)
        Mark the present row.
    step_plane, home_plane : In(1)
        To the next plane, to plane 0.
    move : In(1)
        Commands count in this cycle; 1 if it is not connected.
    address : Out
        May be beyond the scratchpad.
    outside : Out(1)
        It is.
    """

    def __init__(self, config: ArrayConfig) -> None:
        self.config = config
        x = bits_for(MAX_IMAGE_SIDE)
        # Users stop at the first word outside, so that a plane is at most one stride behind it.
        plane = bits_for(config.scratchpad_words) + 1
        super().__init__({
            "surface": In(SurfaceLayout(config)), "legal": Out(1), "x": In(x),
            **{name: In(1) for name in ("step_row", "return_row", "home_row", "mark_row",
                                        "step_plane", "home_plane")},
            "move": In(1, init=1),
            "address": Out(max(x, plane) + 2), "outside": Out(1)})

    def elaborate(self, platform):
        m = Module()
        surface = self.surface
        m.d.sync += self.legal.eq((surface.ring_start < surface.ring_words)
                                  & (surface.row_stride <= surface.ring_words))

        row = Signal.like(surface.ring_words, reset_less=True)
        marked = Signal.like(row, reset_less=True)
        plane = Signal(bits_for(self.config.scratchpad_words) + 1, reset_less=True)
        with m.If(self.move):
            with m.If(self.mark_row):
                m.d.sync += marked.eq(row)
            with m.If(self.home_row):
                m.d.sync += [row.eq(surface.ring_start), marked.eq(surface.ring_start)]
            with m.Elif(self.return_row):
                m.d.sync += row.eq(marked)
            with m.Elif(self.step_row):
                m.d.sync += row.eq(next_row(row, surface))
            with m.If(self.home_plane):
                m.d.sync += plane.eq(surface.base)
            with m.Elif(self.step_plane):
                m.d.sync += plane.eq(plane + surface.plane_stride)

        m.d.comb += [
            self.address.eq(plane + row + self.x),
            self.outside.eq(self.address >= self.config.scratchpad_words),
        ]
        return m
