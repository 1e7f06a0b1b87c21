"""Beats of memory become words: the data path of the LOAD queue."""

from amaranth import Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from hw.rtl.axi_read import read_beat
from hw.rtl.interfaces import ScratchpadClient, ScratchpadOp
from hw.rtl.transfer import CheckedTransfer, linear_elements
from hw.rtl.walk import SurfaceWalk
from hw.spec.config import ArrayConfig, bits_for

__all__ = ["ByteBuffer", "Unpacker", "UnpackedWord"]


class ByteBuffer(wiring.Component):
    """Beats in, any number of bytes up to a beat out: the bytes of all requests without gaps.

    Timing: bytes can be taken in the cycle after their beat came. A beat per cycle, wherever
    requests begin and end.

    Members
    -------
    i : In(stream)
        :func:`hw.rtl.axi_read.read_beat`. Beats with `error` are not taken.
    head : Out(ArrayLayout(8, bus_bytes))
        The next bytes.
    count : Out
        How many bytes are here.
    take : In
        How many bytes of `head` leave in this cycle: at most `count`.
    """

    def __init__(self, bus_bytes: int) -> None:
        self.bus_bytes = bus_bytes
        super().__init__({
            "i": In(stream.Signature(read_beat(bus_bytes))),
            "head": Out(data.ArrayLayout(8, bus_bytes)), "count": Out(range(2 * bus_bytes + 1)),
            "take": In(range(bus_bytes + 1))})

    def elaborate(self, platform):
        m = Module()
        beat, size = self.i.payload, self.bus_bytes
        held = Signal(data.ArrayLayout(8, 2 * size), reset_less=True)
        kept = Signal(range(2 * size + 1))
        m.d.comb += [
            self.head.eq(held.as_value()[:8 * size]),
            kept.eq(self.count - self.take),
            self.i.ready.eq((kept <= size) & ~beat.error),
        ]

        # Bytes that stay move to the front, new ones stand behind them.
        stay, new = (Signal(data.ArrayLayout(8, 2 * size), name=name) for name in ("stay", "new"))
        m.d.comb += [
            stay.eq(held.as_value() >> (self.take << 3)),
            new.eq((beat.data.as_value() >> (beat.start << 3)) << (kept[:len(beat.bytes)] << 3)),
        ]
        m.d.sync += self.count.eq(kept + Mux(self.i.valid & self.i.ready, beat.bytes, 0))
        for position in range(2 * size):
            m.d.sync += held[position].eq(Mux(position < kept, stay[position], new[position]))
        return m


class UnpackedWord(data.StructLayout):
    """A word with its destination: see :class:`Unpacker`."""

    def __init__(self, config: ArrayConfig) -> None:
        request = ScratchpadClient(config).members["i"].signature.members["payload"].shape
        fields = CheckedTransfer(config)["fields"].shape
        super().__init__({
            "linear": 1, "target": fields["target"].shape, "index": fields["base"].shape,
            "element": data.ArrayLayout(8, max(config.columns, 8)),
            "place": fields["address"].shape, "request": request, "end": 1})


class Unpacker(wiring.Component):
    """Assembles the words of checked transfers from fill bytes and the bytes of memory.

    A transfer is accepted together with its last word.

    Timing: a memory row is a sequence of bytes, of which up to `bus_bytes` enter a window per
    cycle, but none behind the end of a word, and not fill and memory in the same cycle. A word
    leaves two cycles after its last byte entered. A word thus takes
    ``max(1, ceil(word_step / bus_bytes))`` cycles, and one more where fill begins or ends inside.
    A cycle between transfers. `o.ready` stops everything, combinationally.

    Members
    -------
    i : In(stream)
        :class:`~hw.rtl.transfer.CheckedTransfer`, without those that have a fault.
    beats : In(stream)
        From the read master.
    o : Out(stream)
        Words: the scratchpad's `request`; or, if `linear`, `element`, `index` and `target` as in
        :class:`~hw.rtl.interfaces.LinearWrite`, and for 8-byte elements the `place` in the
        constants window. `end`: the last one of its transfer.
    want : Out(1)
        Bytes of memory are missing.
    """

    def __init__(self, config: ArrayConfig) -> None:
        self.config = config
        super().__init__({
            "i": In(stream.Signature(CheckedTransfer(config))),
            "beats": In(stream.Signature(read_beat(config.bus_bytes))),
            "o": Out(stream.Signature(UnpackedWord(config))), "want": Out(1)})

    def elaborate(self, platform):
        m = Module()
        transfer, f = self.i.payload, self.i.payload.fields
        bus, rows = self.config.bus_bytes, self.config.rows
        m.submodules.bytes = buffer = ByteBuffer(bus)
        m.submodules.walk = walk = SurfaceWalk(CheckedTransfer(self.config)["fields"].shape)
        wiring.connect(m, wiring.flipped(self.beats), buffer.i)
        m.d.comb += [walk.i.payload[name].eq(f[name]) for name in
                     walk.i.payload.shape().members]
        m.d.comb += [walk.i.valid.eq(self.i.valid), self.i.ready.eq(walk.i.ready)]

        # How many bytes enter: not beyond the word's end, not beyond a change of source.
        run = ~self.o.valid | self.o.ready
        missing = Signal(len(f.word_step), reset_less=True)  # to the word's end
        head_left = Signal(len(transfer.head_bytes), reset_less=True)
        memory_left = Signal(len(transfer.memory_bytes), reset_less=True)
        from_head = head_left != 0
        from_memory = ~from_head & (memory_left != 0)
        amount = Signal(range(bus + 1))
        m.d.comb += amount.eq(_least(
            bus, missing, Mux(from_head, head_left, Mux(from_memory, memory_left, bus))))
        starved = from_memory & (amount > buffer.count)
        enter, complete = Signal(), Signal()
        m.d.comb += [
            enter.eq(walk.o.valid & run & ~starved),
            complete.eq(enter & (amount == missing)),
            walk.o.ready.eq(complete),
            buffer.take.eq(Mux(enter & from_memory, amount, 0)),
            self.want.eq(walk.o.valid & starved),
        ]

        # The row goes on, or a new row begins.
        with m.If(enter):
            m.d.sync += missing.eq(Mux(complete, f.word_step, missing - amount))
            with m.If(from_head):
                m.d.sync += head_left.eq(head_left - amount)
            with m.If(from_memory):
                m.d.sync += memory_left.eq(memory_left - amount)
        with m.If(~walk.o.valid | (complete & walk.o.payload.row_end)):
            m.d.sync += [missing.eq(f.lane_count), head_left.eq(transfer.head_bytes),
                         memory_left.eq(transfer.memory_bytes)]

        # The window: newest byte at its end.
        width = max(rows, self.config.columns, 8)
        window = Signal(8 * width, reset_less=True)
        entering = Signal(8 * bus)
        m.d.comb += entering.eq(Mux(from_memory, buffer.head, Cat(f.fill for _ in range(bus))))
        with m.If(enter):
            m.d.sync += window.eq(Cat(window, entering) >> (amount << 3))

        # A complete word's destination goes along, then both are brought into shape.
        word = Signal.like(self.o.payload, reset_less=True)
        word_valid, turn = Signal(), Signal(range(rows), reset_less=True)
        place = Signal(len(f.address), reset_less=True)
        with m.If(~walk.o.valid):
            m.d.sync += place.eq(f.address)
        with m.Elif(complete):
            m.d.sync += place.eq(place + 8)
        lanes = Cat(lane < f.lane_count for lane in range(rows))
        with m.If(run):
            m.d.sync += [
                word_valid.eq(complete), word.linear.eq(f.linear), word.target.eq(f.target),
                word.index.eq(walk.o.payload.address), word.end.eq(walk.o.payload.end),
                word.place.eq(place),
                word.request.address.eq(walk.o.payload.address),
                word.request.op.eq(ScratchpadOp.WRITE),
                word.request.mask.eq(lanes << f.lane_first),
                turn.eq(f.lane_first + f.lane_count),
                self.o.valid.eq(word_valid), self.o.payload.eq(word),
                self.o.payload.request.data.eq(_turned(window[8 * (width - rows):], turn)),
            ]
            with m.Switch(word.target):
                for target, element in linear_elements(self.config).items():
                    with m.Case(target):
                        m.d.sync += self.o.payload.element.eq(
                            window[8 * (width - element.size_bytes):])
        return m


def _least(most: int, *values: Value) -> Value:
    """Return the least of `values` and `most`, a power of two."""
    bits = bits_for(most) - 1
    least = Const(most)
    for value in values:
        capped = Mux(value[bits:].any(), most, value[:bits])
        least = Mux(capped < least, capped, least)
    return least


def _turned(word: Value, lanes: Value) -> Value:
    """Rotate the bytes of `word` by `lanes` towards its end."""
    for level, bit in enumerate(lanes):
        word = Mux(bit, word.rotate_left(8 << level), word)
    return word
