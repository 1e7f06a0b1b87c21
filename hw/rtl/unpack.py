"""Beats of memory become words: the data path of the LOAD queue."""

from amaranth import Cat, Module, Mux, Signal, Value
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from hw.rtl.axi_read import read_beat
from hw.rtl.interfaces import ScratchpadClient, ScratchpadOp
from hw.rtl.skid import SkidBuffer
from hw.rtl.transfer import CheckedTransfer, linear_elements
from hw.rtl.walk import SurfaceWalk
from hw.spec.config import ArrayConfig, bits_for

__all__ = ["ByteBuffer", "Unpacker", "UnpackedWord"]

#: Beats of a byte buffer: a power of two. Three would do.
_BEATS = 4


class ByteBuffer(wiring.Component):
    """Beats in, any number of bytes up to a beat out: the bytes of all requests without gaps.

    A ring of bytes: where the next beat goes does not depend on what is taken, and neither does
    `i.ready`, which leaves room for what a beat per cycle takes.

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
            "head": Out(data.ArrayLayout(8, bus_bytes)),
            "count": Out(range(_BEATS * bus_bytes + 1)), "take": In(range(bus_bytes + 1))})

    def elaborate(self, platform):
        m = Module()
        beat, size = self.i.payload, self.bus_bytes
        length = _BEATS * size
        ring = Signal(data.ArrayLayout(8, length), reset_less=True)
        first, free = Signal(range(length)), Signal(range(length))
        accept = self.i.valid & self.i.ready
        m.d.comb += self.i.ready.eq((self.count <= length - size) & ~beat.error)
        m.d.sync += [first.eq(first + self.take), free.eq(free + Mux(accept, beat.bytes, 0)),
                     self.count.eq(self.count - self.take + Mux(accept, beat.bytes, 0))]

        # In: every lane of the ring's beats gets the byte that would go there.
        aligned = Signal(data.ArrayLayout(8, size))
        lanes = aligned.as_value()
        m.d.comb += aligned.eq(beat.data.as_value() >> (beat.start << 3))
        for level, bit in enumerate(free[:bits_for(size - 1)]):
            lanes = Mux(bit, lanes.rotate_left(8 << level), lanes)
        for position in range(length):
            behind = Signal(range(length), name=f"behind_{position}")  # the first new byte
            m.d.comb += behind.eq(position - free)
            with m.If(accept & (behind < beat.bytes)):
                m.d.sync += ring[position].eq(lanes.word_select(position % size, 8))

        # Out: in steps from half the ring to one byte, of what can still be asked for.
        head = Cat(ring, ring.as_value()[:8 * (size - 1)])
        for level, bit in reversed(list(enumerate(first))):
            head = Mux(bit, head[8 << level:], head)[:8 * (size - 1 + (1 << level))]
        m.d.comb += self.head.eq(head)
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
    cycle, but none behind the end of a word, and not fill and memory in the same cycle. A byte
    enters two cycles after its beat came, or a cycle later where fewer than a word's follow it; a
    word leaves two cycles after its last byte entered. A word thus takes
    ``max(1, ceil(word_step / bus_bytes))`` cycles, and one more where fill begins or ends inside.
    A cycle between transfers. `o.ready` stops everything, a word later.

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
    want, stall : Out(1)
        Bytes of memory are missing; none enters, because they are or just were.
    """

    def __init__(self, config: ArrayConfig) -> None:
        self.config = config
        super().__init__({
            "i": In(stream.Signature(CheckedTransfer(config))),
            "beats": In(stream.Signature(read_beat(config.bus_bytes))),
            "o": Out(stream.Signature(UnpackedWord(config))), "want": Out(1), "stall": Out(1)})

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

        # How many bytes enter: not beyond the word's end, not beyond a change of source. It takes
        # long to find out, and as long to make use of it: what enters next is in registers.
        m.submodules.leaving = leaving = SkidBuffer(UnpackedWord(self.config))
        wiring.connect(m, leaving.o, wiring.flipped(self.o))
        run = ~leaving.i.valid | leaving.i.ready
        amount = Signal(range(bus + 1), reset_less=True)
        completes, from_head, from_memory = (Signal(name=name, reset_less=True)
                                             for name in ("completes", "from_head", "from_memory"))
        # Also whether so much is here. How much enters behind what enters now, and in a new
        # transfer, is not known yet: at most a beat, or the bytes of a word.
        most = _capped(f.lane_count | f.word_step, bus)
        here, enter, complete = Signal(), Signal(), Signal()
        starved = buffer.count < amount
        enough = buffer.count >= most + Mux(walk.o.valid, amount, 0)
        m.d.sync += here.eq(Mux(walk.o.valid & ~enter, ~starved, enough))
        m.d.comb += [
            enter.eq(walk.o.valid & run & (here | ~from_memory)),
            complete.eq(enter & completes),
            walk.o.ready.eq(complete),
            buffer.take.eq(Mux(enter & from_memory, amount, 0)),
            self.want.eq(walk.o.valid & from_memory & starved),
            self.stall.eq(walk.o.valid & from_memory & ~here),
        ]

        # The row goes on, or a new word or row begins. First fill enters, then memory, then fill.
        # What is left beyond a few beats does not matter to what can enter next.
        step = enter | ~walk.o.valid
        new_row = ~walk.o.valid | (completes & walk.o.payload.row_end)
        lefts = []
        for name, renewed, start, used in (
                ("missing", new_row | completes, Mux(new_row, f.lane_count, f.word_step), 1),
                ("head_left", new_row, transfer.head_bytes, from_head),
                ("memory_left", new_row, transfer.memory_bytes, from_memory)):
            left = Signal(len(start), name=name, reset_less=True)
            with m.If(step):
                m.d.sync += left.eq(Mux(renewed, start, Mux(used, left - amount, left)))
            lefts.append(Mux(renewed, start, Mux(used, _reduced(left, amount, 4 * bus - 1), left)))
        missing, head, memory = (_capped(left, bus) for left in lefts)
        offered = Mux(head != 0, head, Mux(memory != 0, memory, bus))
        with m.If(step):
            m.d.sync += [
                amount.eq(Mux(missing <= offered, missing, offered)),
                completes.eq((lefts[0] <= bus) & (missing <= offered)),
                from_head.eq(head != 0), from_memory.eq((head == 0) & (memory != 0)),
            ]

        # The window: newest byte at its end.
        width = max(rows, self.config.columns, 8)
        window = Signal(8 * width, reset_less=True)
        entering = Signal(8 * bus)
        m.d.comb += entering.eq(Mux(from_memory, buffer.head, Cat(f.fill for _ in range(bus))))
        with m.If(enter):
            m.d.sync += window.eq(Cat(window, entering) >> (amount << 3))

        # A complete word's destination goes along, then both are brought into shape.
        word = Signal.like(self.o.payload, reset_less=True)
        turn = Signal(range(rows), reset_less=True)
        place = Signal(len(f.address), reset_less=True)
        with m.If(~walk.o.valid):
            m.d.sync += place.eq(f.address)
        with m.Elif(complete):
            m.d.sync += place.eq(place + 8)
        lanes = Cat(lane < f.lane_count for lane in range(rows))
        with m.If(run):
            m.d.sync += [
                leaving.i.valid.eq(complete), word.linear.eq(f.linear), word.target.eq(f.target),
                word.index.eq(walk.o.payload.address), word.end.eq(walk.o.payload.end),
                word.place.eq(place),
                word.request.address.eq(walk.o.payload.address),
                word.request.op.eq(ScratchpadOp.WRITE),
                word.request.mask.eq(lanes << f.lane_first),
                turn.eq(f.lane_first + f.lane_count),
            ]
        shaped = leaving.i.payload
        m.d.comb += [shaped.eq(word),
                     shaped.request.data.eq(_turned(window[8 * (width - rows):], turn))]
        with m.Switch(word.target):
            for target, element in linear_elements(self.config).items():
                with m.Case(target):
                    m.d.comb += shaped.element.eq(window[8 * (width - element.size_bytes):])
        return m


def _capped(value: Value, most: int) -> Value:
    """Return the smaller of `value` and `most`, a power of two."""
    bits = bits_for(most) - 1
    return Mux(value[bits:].any(), most, value[:bits]) if len(value) > bits else value


def _reduced(value: Value, amount: Value, few: int) -> Value:
    """Return ``value - amount``, or some number above half of `few` if that is more than `few`.

    `few` is all ones, and `amount` at most a quarter of it, rounded up. Without a carry from the
    upper bits.
    """
    bits = bits_for(few)
    if len(value) <= bits:
        return (value - amount)[:len(value)]
    return Mux(value[bits:].any(), few, (value[:bits] - amount)[:bits])


def _turned(word: Value, lanes: Value) -> Value:
    """Rotate the bytes of `word` by `lanes` towards its end."""
    for level, bit in enumerate(lanes):
        word = Mux(bit, word.rotate_left(8 << level), word)
    return word
