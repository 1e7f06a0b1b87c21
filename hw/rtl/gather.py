"""From words that were read to operands of the lanes."""

from amaranth import Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from hw.rtl.word_reader import ReadWord
from hw.spec.config import ArrayConfig

__all__ = ["Gather", "Operands"]


class Operands(data.StructLayout):
    """Codes a and b of `count` lanes."""

    def __init__(self, count: int) -> None:
        super().__init__({"a": data.ArrayLayout(8, count), "b": data.ArrayLayout(8, count)})


class Gather(wiring.Component):
    """Folds the words of one result, and hands them out in groups of `post_lanes` bytes.

    Of the words from a `first` to the next `last` one, the lane-wise maximum becomes operand a;
    with `pairs`, a is the first word and b the last.

    Timing: a word per cycle comes in, a group per cycle goes out; the first group leaves two
    cycles after its last word came. Groups cannot be delayed: they need a credit for their word.

    Members
    -------
    i : In(stream)
        Of :class:`~hw.rtl.word_reader.ReadWord`.
    pairs : In(1)
        There are two operands.
    whole : In(1)
        Hand out operand a as a word, and no groups.
    credit : In(1)
        There is room for another word of results.
    take : Out(1)
        In this cycle a credit is used.
    o_valid, o : Out(1), Out(Operands)
        A group.
    o_word_valid, o_word : Out(1), Out
        A word.
    """

    def __init__(self, config: ArrayConfig) -> None:
        self.config = config
        super().__init__({
            "i": In(stream.Signature(ReadWord(config))), "pairs": In(1), "whole": In(1),
            "credit": In(1), "take": Out(1),
            "o_valid": Out(1), "o": Out(Operands(config.post_lanes)),
            "o_word_valid": Out(1), "o_word": Out(data.ArrayLayout(8, config.rows))})

    def elaborate(self, platform):
        m = Module()
        rows, lanes = self.config.rows, self.config.post_lanes
        word, first = self.i.payload.word, self.i.payload.first

        # Fold.
        held = Signal(data.ArrayLayout(8, rows), reset_less=True)
        operands = Signal(Operands(rows), reset_less=True)
        full, free = Signal(), Signal()
        m.d.comb += self.i.ready.eq(~self.i.payload.last | free)
        with m.If(self.i.valid & self.i.ready):
            for new, old, a, b in zip(word, held, operands.a, operands.b):
                larger = Mux(first | (new.as_signed() > old.as_signed()), new, old)
                m.d.sync += old.eq(larger)
                with m.If(self.i.payload.last):
                    m.d.sync += [a.eq(Mux(self.pairs, old, larger)), b.eq(new)]
        m.d.sync += full.eq((full & ~free) | (self.i.valid & self.i.ready & self.i.payload.last))

        # Hand out, by group or whole.
        group = Signal(range(rows // lanes))
        begin, end = Signal(), Signal()
        m.d.comb += [
            begin.eq(full & (group == 0)),
            end.eq(self.whole | (group == rows // lanes - 1)),
            self.take.eq(begin & self.credit),
            self.o_valid.eq(full & (self.credit | ~begin) & ~self.whole),
            self.o_word_valid.eq(self.take & self.whole),
            free.eq(~full | ((self.o_valid | self.o_word_valid) & end)),
            self.o_word.eq(operands.a),
        ]
        with m.If(self.o_valid):
            m.d.sync += group.eq(group + 1)
        for out, source in ((self.o.a, operands.a), (self.o.b, operands.b)):
            for lane, code in enumerate(out):
                m.d.comb += code.eq(source.as_value().word_select(
                    group * lanes + lane if rows > lanes else lane, 8))
        return m
