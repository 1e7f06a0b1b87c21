"""Beats of memory become words: the data path of the LOAD queue."""

from amaranth import Cat, Module, Mux, Signal, Value
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from hw.rtl.axi_read import read_beat
from hw.rtl.skid import SkidBuffer
from hw.rtl.transfer import CheckedTransfer
from hw.rtl.walk import SurfaceWalk
from hw.spec.config import ArrayConfig, bits_for

__all__ = ["ByteBuffer", "Entering", "RowStart", "UnpackJob", "UnpackedWord", "Unpacker",
           "row_start"]

#: Beats of a byte buffer: a power of two. Three would do.
_BEATS = 4
#: What is left of something is only known to be so many beats, if it is more: a power of two.
_FEW = 4


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
        How many bytes of `head` leave if `taken`: at most `count`.
    taken : In(1)
    """

    def __init__(self, bus_bytes: int) -> None:
        self.bus_bytes = bus_bytes
        super().__init__({
            "i": In(stream.Signature(read_beat(bus_bytes))),
            "head": Out(data.ArrayLayout(8, bus_bytes)),
            "count": Out(range(_BEATS * bus_bytes + 1)), "take": In(range(bus_bytes + 1)),
            "taken": In(1)})

    def elaborate(self, platform):
        m = Module()
        beat, size = self.i.payload, self.bus_bytes
        length = _BEATS * size
        ring = Signal(data.ArrayLayout(8, length), reset_less=True)
        first, free = Signal(range(length)), Signal(range(length))
        accept = self.i.valid & self.i.ready
        filled = self.count + Mux(accept, beat.bytes, 0)
        m.d.comb += self.i.ready.eq((self.count <= length - size) & ~beat.error)
        m.d.sync += [free.eq(free + Mux(accept, beat.bytes, 0)),
                     self.count.eq(Mux(self.taken, filled - self.take, filled))]
        with m.If(self.taken):
            m.d.sync += first.eq(first + self.take)

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


class Entering(data.StructLayout):
    """Bytes that enter a word in a cycle: `amount`, all of them fill or all from memory.

    `of_head`, `of_memory`: the same if they are what a row begins with, or its memory; else 0.
    `from_memory`: they are the latter. `completes`: the last ones of their word.
    """

    def __init__(self, bus_bytes: int) -> None:
        amount = range(bus_bytes + 1)
        super().__init__({"amount": amount, "of_head": amount, "of_memory": amount,
                          "from_memory": 1, "completes": 1})


class RowStart(data.StructLayout):
    """What enters `first` in each row of a transfer, and how much at `most` at a time."""

    def __init__(self, bus_bytes: int) -> None:
        super().__init__({"first": Entering(bus_bytes), "most": range(bus_bytes + 1)})


def row_start(config: ArrayConfig, transfer: data.View) -> Value:
    """Return the :class:`RowStart` of a :class:`~hw.rtl.transfer.CheckedTransfer`."""
    f, bus = transfer.fields, config.bus_bytes
    return Cat(_entering(bus, f.lane_count, transfer.head_bytes, transfer.memory_bytes),
               _capped(f.lane_count | f.word_step, bus))


class UnpackJob(data.StructLayout):
    """A checked transfer and the start of its rows."""

    def __init__(self, config: ArrayConfig) -> None:
        super().__init__({"transfer": CheckedTransfer(config),
                          "start": RowStart(config.bus_bytes)})


class UnpackedWord(data.StructLayout):
    """A word with its destination: see :class:`Unpacker`."""

    def __init__(self, config: ArrayConfig) -> None:
        fields = CheckedTransfer(config)["fields"].shape
        super().__init__({
            "linear": 1, "target": fields["target"].shape, "address": fields["base"].shape,
            "data": data.ArrayLayout(8, max(config.rows, config.columns, 8)),
            "mask": config.rows, "place": fields["address"].shape, "end": 1})


class Unpacker(wiring.Component):
    """Assembles the words of checked transfers from fill bytes and the bytes of memory.

    A transfer is accepted together with its last word.

    Timing: a memory row is a sequence of bytes, of which up to `bus_bytes` enter a window per
    cycle, but none behind the end of a word, and not fill and memory in the same cycle. A byte
    enters two cycles after its beat came, or a cycle later where fewer than a word's follow it; a
    word leaves three cycles after its last byte entered. A word thus takes
    ``max(1, ceil(word_step / bus_bytes))`` cycles, and one more where fill begins or ends inside.
    A cycle between transfers. `o.ready` stops everything, a word later.

    Members
    -------
    i : In(stream)
        :class:`UnpackJob`, without those that have a fault.
    beats : In(stream)
        From the read master.
    o : Out(stream)
        Words, `address`, `mask` and `data` as in
        :class:`~hw.rtl.interfaces.ScratchpadClient`; or elements, if `linear`, the address their
        index in `target` as in :class:`~hw.rtl.interfaces.LinearWrite`, and for 8-byte elements
        the `place` in the constants window. `end`: the last one of its transfer.
    want, stall : Out(1)
        Bytes of memory are missing; none enters, because they are or just were.
    """

    def __init__(self, config: ArrayConfig) -> None:
        self.config = config
        super().__init__({
            "i": In(stream.Signature(UnpackJob(config))),
            "beats": In(stream.Signature(read_beat(config.bus_bytes))),
            "o": Out(stream.Signature(UnpackedWord(config))), "want": Out(1), "stall": Out(1)})

    def elaborate(self, platform):
        m = Module()
        transfer, f = self.i.payload.transfer, self.i.payload.transfer.fields
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
        now = Signal(Entering(bus), reset_less=True, attrs={"keep": 1})
        # Also whether so much is here. How much enters behind what enters now, and in a new
        # transfer, is not known yet: at most a beat, or the bytes of a word.
        here, enter, complete = Signal(), Signal(), Signal()
        starved = buffer.count < now.amount
        enough = buffer.count >= self.i.payload.start.most + Mux(walk.o.valid, now.amount, 0)
        m.d.sync += here.eq(Mux(walk.o.valid & ~enter, ~starved, enough))
        m.d.comb += [
            enter.eq(walk.o.valid & run & (here | ~now.from_memory)),
            complete.eq(enter & now.completes),
            walk.o.ready.eq(complete),
            buffer.take.eq(now.of_memory), buffer.taken.eq(enter),
            self.want.eq(walk.o.valid & now.from_memory & starved),
            self.stall.eq(walk.o.valid & now.from_memory & ~here),
        ]

        # The row goes on, or a new word or row begins. First fill enters, then memory, then fill.
        # Whether there are more than a few beats of something left is known a step late: then it is
        # still more than a beat, and the exact number does not matter to what can enter next.
        step = enter | ~walk.o.valid
        new_row = ~walk.o.valid | (now.completes & walk.o.payload.row_end)
        new_word = new_row | now.completes
        few = _FEW * bus - 1
        lefts = []
        for name, renewed, start, amount in (
                ("missing", new_word, Mux(new_row, f.lane_count, f.word_step), now.amount),
                ("head_left", new_row, transfer.head_bytes, now.of_head),
                ("memory_left", new_row, transfer.memory_bytes, now.of_memory)):
            left = Signal(len(start), name=name, reset_less=True)
            many = Signal(name=f"{name}_many", reset_less=True)
            with m.If(step):
                m.d.sync += [left.eq(Mux(renewed, start, left - amount)),
                             many.eq(Mux(renewed, start > few, left > few))]
            lefts.append(Mux(many, few, (left - amount)[:bits_for(few)]))
        missing, head, memory = lefts
        following = Signal(now.shape())
        m.d.comb += following.eq(Mux(new_row, self.i.payload.start.first, _entering(
            bus, Mux(now.completes, f.word_step, missing), head, memory)))
        # A copy of the amount for the window alone, which is wide.
        shift = Signal(now.amount.shape(), reset_less=True, attrs={"keep": 1})
        with m.If(step):
            m.d.sync += [now.eq(following), shift.eq(following.amount)]

        # The bytes, a cycle later, and by how much they push the others, in registers: the window,
        # newest byte at its end, is wide.
        width = max(rows, self.config.columns, 8)
        window = Signal(8 * width, reset_less=True)
        entered, completed = Signal(), Signal()
        entering = Signal(8 * bus, reset_less=True)
        pushed = Signal.like(shift, reset_less=True)
        with m.If(run):
            m.d.sync += [
                entered.eq(enter), completed.eq(complete), pushed.eq(shift),
                entering.eq(Mux(now.from_memory, buffer.head, Cat(f.fill for _ in range(bus)))),
            ]
            with m.If(entered):
                m.d.sync += window.eq(Cat(window, entering) >> (pushed << 3))

        # A complete word's destination goes along, then both are brought into shape.
        coming = Signal.like(self.o.payload, reset_less=True)
        word = Signal.like(self.o.payload, reset_less=True)
        mask = Signal(rows, reset_less=True)
        turn = Signal(range(width), reset_less=True)
        turn_coming = Signal.like(turn)
        turned = Signal.like(turn)
        place = Signal(len(f.address), reset_less=True)
        with m.If(~walk.o.valid):
            m.d.sync += place.eq(f.address)
        with m.Elif(complete):
            m.d.sync += place.eq(place + 8)
        behind = f.lane_first + f.lane_count
        m.d.sync += [mask.eq(Cat((lane >= f.lane_first) & (lane < behind) for lane in range(rows))),
                     turn.eq(behind)]
        with m.If(run):
            m.d.sync += [
                coming.linear.eq(f.linear), coming.target.eq(f.target),
                coming.address.eq(walk.o.payload.address), coming.end.eq(walk.o.payload.end),
                coming.place.eq(place), coming.mask.eq(mask), turn_coming.eq(turn),
                leaving.i.valid.eq(completed), word.eq(coming), turned.eq(turn_coming),
            ]
        m.d.comb += [leaving.i.payload.eq(word), leaving.i.payload.data.eq(_turned(window, turned))]
        return m


def _capped(value: Value, most: int) -> Value:
    """Return the smaller of `value` and `most`, a power of two."""
    bits = bits_for(most) - 1
    return Mux(value[bits:].any(), most, value[:bits]) if len(value) > bits else value


def _entering(bus_bytes: int, missing: Value, head: Value, memory: Value) -> Value:
    """Return the :class:`Entering` of a word that lacks so many bytes, where so much fill and so
    much memory is left of its row.
    """
    needed, head, memory = (_capped(value, bus_bytes) for value in (missing, head, memory))
    from_head, from_memory = head != 0, (head == 0) & (memory != 0)
    offered = Mux(from_head, head, Mux(from_memory, memory, bus_bytes))
    completes = needed <= offered
    amount = Mux(completes, needed, offered)
    return Cat(amount, Mux(from_head, amount, 0), Mux(from_memory, amount, 0), from_memory,
               completes & (missing <= bus_bytes))


def _turned(word: Value, lanes: Value) -> Value:
    """Rotate the bytes of `word` by `lanes` towards its end."""
    for level, bit in enumerate(lanes):
        word = Mux(bit, word.rotate_left(8 << level), word)
    return word
