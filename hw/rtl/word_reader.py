"""Reads scratchpad words, and keeps what is known about each beside it."""

from amaranth import Module
from amaranth.lib import data, stream, wiring
from amaranth.lib.fifo import SyncFIFOBuffered
from amaranth.lib.wiring import In, Out

from hw.spec.config import ArrayConfig, bits_for
from hw.spec.numerics import QMIN

__all__ = ["ReadWord", "WordReader", "WordRequest"]

#: Words on their way; enough that a scratchpad which never waits gives one per cycle.
_DEPTH = 8


class WordRequest(data.StructLayout):
    """A word to read, or padding where `read` is 0; first or last of those for one result."""

    def __init__(self, config: ArrayConfig) -> None:
        super().__init__({"address": bits_for(config.scratchpad_words - 1), "read": 1,
                          "first": 1, "last": 1})


class ReadWord(data.StructLayout):
    """What was read, or R times -128; first or last of those for one result."""

    def __init__(self, config: ArrayConfig) -> None:
        super().__init__({"word": data.ArrayLayout(8, config.rows), "first": 1, "last": 1})


class WordReader(wiring.Component):
    """Turns requests into words, in order. Padding is not read.

    Timing: a word per cycle; an answer leaves two cycles after it came. A slow user of `o` stops
    the requests before their answers have no room.

    Members
    -------
    i : In(stream)
        Of :class:`WordRequest`.
    request : Out(stream)
        Address of a word to read.
    answer_valid, answer : In
        Its contents, in order, any number of cycles later.
    o : Out(stream)
        Of :class:`ReadWord`.
    """

    def __init__(self, config: ArrayConfig) -> None:
        self.config = config
        word = data.ArrayLayout(8, config.rows)
        super().__init__({
            "i": In(stream.Signature(WordRequest(config))),
            "request": Out(stream.Signature(bits_for(config.scratchpad_words - 1))),
            "answer_valid": In(1), "answer": In(word),
            "o": Out(stream.Signature(ReadWord(config)))})

    def elaborate(self, platform):
        m = Module()
        layout = data.StructLayout({"read": 1, "first": 1, "last": 1})
        m.submodules.tags = tags = SyncFIFOBuffered(width=layout.size, depth=_DEPTH)
        m.submodules.words = words = SyncFIFOBuffered(width=8 * self.config.rows, depth=_DEPTH)
        incoming, tag = data.View(layout, tags.w_data), data.View(layout, tags.r_data)

        # A request goes out with its tag; one without a read needs the tag only.
        request = self.i.payload
        m.d.comb += [
            self.request.payload.eq(request.address),
            self.request.valid.eq(self.i.valid & request.read & tags.w_rdy),
            self.i.ready.eq(tags.w_rdy & (~request.read | self.request.ready)),
            tags.w_en.eq(self.i.valid & self.i.ready),
            incoming.read.eq(request.read), incoming.first.eq(request.first),
            incoming.last.eq(request.last),
            words.w_en.eq(self.answer_valid), words.w_data.eq(self.answer),
        ]

        # Tag and answer meet. There is room for every answer, since it has no tag else.
        m.d.comb += [
            self.o.valid.eq(tags.r_rdy & (~tag.read | words.r_rdy)),
            self.o.payload.first.eq(tag.first), self.o.payload.last.eq(tag.last),
            tags.r_en.eq(self.o.valid & self.o.ready),
            words.r_en.eq(tags.r_en & tag.read),
        ]
        for byte, read in zip(self.o.payload.word, data.View(self.answer.shape(), words.r_data)):
            m.d.comb += byte.eq(QMIN & 0xFF)
            with m.If(tag.read):
                m.d.comb += byte.eq(read)
        return m
