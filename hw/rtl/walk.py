"""Walks over the planes, rows and columns of a transfer: of its memory, and of its surface."""

from amaranth import Module, Mux, Shape, Signal, Value
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from hw.rtl.axi_burst import REQUEST
from hw.spec.config import MEMORY_BYTES, ArrayConfig, bits_for
from hw.spec.isa import SURFACE_FIELDS, Isa, Opcode

__all__ = ["RunLayout", "RunWalk", "SurfaceLayout", "SurfaceWalk", "WordLayout", "next_row"]


def next_row(row: Value, surface: data.View) -> Value:
    """Return the ring offset of the row behind `row`. No row is longer than its ring."""
    from_wrap = row - (surface.ring_words - surface.row_stride)
    return Mux(from_wrap < 0, row + surface.row_stride, from_wrap)[:len(row)]


class RunLayout(data.StructLayout):
    """What a transfer moves in memory: `bytes` from bus address `address`, likewise of every row
    of every plane.
    """

    def __init__(self, config: ArrayConfig) -> None:
        widths = {f.name: f.width for f in Isa(config).formats[Opcode.LOAD].fields}
        super().__init__({
            "address": 32, "bytes": bits_for(MEMORY_BYTES),
            **{name: widths[name] for name in ("memory_plane_stride", "memory_row_stride",
                                               "planes", "rows")}})


class RunWalk(wiring.Component):
    """Makes one request per memory row; none at all where `bytes` is 0.

    Timing: latency 1 cycle; then a request per cycle, and a cycle between transfers.

    Members
    -------
    i : In(stream)
        :class:`RunLayout`.
    o : Out(stream)
        :data:`hw.rtl.axi_burst.REQUEST`; `last` marks the last one of a transfer.
    """

    def __init__(self, config: ArrayConfig) -> None:
        self.config = config
        super().__init__({"i": In(stream.Signature(RunLayout(config))),
                          "o": Out(stream.Signature(REQUEST))})

    def elaborate(self, platform):
        m = Module()
        f = Signal(RunLayout(self.config), reset_less=True)
        row = Signal(32, reset_less=True)
        rows = Signal.like(f.rows, reset_less=True)
        plane = f.address + f.memory_plane_stride
        m.d.comb += [
            self.o.payload.address.eq(row), self.o.payload.bytes.eq(f.bytes),
            self.o.payload.last.eq((rows == 1) & (f.planes == 1)),
            self.i.ready.eq(~self.o.valid),
        ]
        with m.If(self.o.valid & self.o.ready):
            m.d.sync += [row.eq(row + f.memory_row_stride), rows.eq(rows - 1)]
            with m.If(rows == 1):
                m.d.sync += [row.eq(plane), f.address.eq(plane), rows.eq(f.rows),
                             f.planes.eq(f.planes - 1), self.o.valid.eq(f.planes != 1)]
        with m.If(self.i.ready):
            m.d.sync += [f.eq(self.i.payload), row.eq(self.i.payload.address),
                         rows.eq(self.i.payload.rows),
                         self.o.valid.eq(self.i.valid & (self.i.payload.bytes != 0))]
        return m


class SurfaceLayout(data.StructLayout):
    """Words of a surface: its upper left corner, `planes` by `rows` by `columns`.

    Takes the shapes of its fields from `fields`, which has them all.
    """

    def __init__(self, fields: data.StructLayout) -> None:
        super().__init__({name: fields[name].shape
                          for name in ("planes", "rows", "columns", *SURFACE_FIELDS)})


class WordLayout(data.StructLayout):
    """A word of a surface: its address; whether it is the last of its row, plane, surface."""

    def __init__(self, address_bits: int) -> None:
        super().__init__({"address": address_bits, "row_end": 1, "plane_end": 1, "end": 1})


class SurfaceWalk(wiring.Component):
    """Visits the words of a surface: planes, in them rows, in them columns.

    The surface is used in place: it is accepted together with its last word.

    Timing: latency 1 cycle; then a word per cycle, and a cycle between surfaces.

    Members
    -------
    i : In(stream)
        :class:`SurfaceLayout`.
    o : Out(stream)
        :class:`WordLayout`.
    """

    def __init__(self, fields: data.StructLayout) -> None:
        self.fields = fields
        super().__init__({
            "i": In(stream.Signature(SurfaceLayout(fields))),
            "o": Out(stream.Signature(WordLayout(Shape.cast(fields["base"].shape).width)))})

    def elaborate(self, platform):
        m = Module()
        f = self.i.payload
        word, plane = (Signal(len(f.base), name=name, reset_less=True)
                       for name in ("word", "plane"))
        row = Signal(len(f.ring_start), reset_less=True)  # ring offset of the row behind
        columns, rows, planes = (Signal(len(f[name]), name=name, reset_less=True)
                                 for name in ("columns", "rows", "planes"))
        # Whether a count is 1 is asked by everybody: known in registers beside them.
        row_end, plane_end, end = (Signal(name=name, reset_less=True)
                                   for name in ("row_end", "plane_end", "end"))
        m.d.comb += [
            self.o.payload.address.eq(word), self.o.payload.row_end.eq(row_end),
            self.o.payload.plane_end.eq(row_end & plane_end),
            self.o.payload.end.eq(row_end & plane_end & end),
            self.i.ready.eq(self.o.valid & self.o.ready & self.o.payload.end),
        ]

        # What is next does not depend on whether it is time for it. A row begins, or a plane.
        plane_begins = ~self.o.valid | (row_end & plane_end)
        row_begins = ~self.o.valid | row_end
        base = Mux(self.o.valid, plane + f.plane_stride, f.base)
        first = Mux(plane_begins, f.ring_start, row)
        planes_left = Mux(self.o.valid, planes - 1, f.planes)
        with m.If(Mux(self.o.valid, self.o.ready, self.i.valid)):
            m.d.sync += [
                word.eq(Mux(plane_begins, base + f.ring_start,
                            Mux(row_begins, plane + row, word + 1))),
                columns.eq(Mux(row_begins, f.columns, columns - 1)),
                row_end.eq(Mux(row_begins, f.columns == 1, columns == 2)),
                self.o.valid.eq(~self.o.payload.end | ~self.o.valid),
            ]
            with m.If(row_begins):
                m.d.sync += [row.eq(next_row(first, f)),
                             rows.eq(Mux(plane_begins, f.rows, rows - 1)),
                             plane_end.eq(Mux(plane_begins, f.rows == 1, rows == 2))]
            with m.If(plane_begins):
                m.d.sync += [plane.eq(base), planes.eq(planes_left), end.eq(planes_left == 1)]
        return m
