"""From codes of the lanes to words of the scratchpad."""

from amaranth import Cat, Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.fifo import SyncFIFOBuffered
from amaranth.lib.wiring import In, Out

from hw.rtl.drain import BLOCK
from hw.spec.config import ArrayConfig, bits_for

__all__ = ["Assembler"]


class Assembler(wiring.Component):
    """Puts groups of codes together to words, and keeps them until they are taken.

    Timing: a group, or a word, per cycle comes in; a word leaves three cycles after its last
    group came. Nothing that comes in can be delayed: no more words may be begun than `depth`
    beyond those taken.

    Parameters
    ----------
    config : ArrayConfig
    depth : int
        Words that are kept.

    Members
    -------
    blocks : In(1)
        Four groups at a time are those of a 2x2 block; their maximum counts.
    part : In(1)
        Where C < R: a word is complete with the columns of one lane group,
    lane_group : In
        which is this one. Other lanes are unspecified.
    i_valid, i : In
        Groups of codes. `blocks`, `part` and `lane_group` must not change within a word.
    i_word_valid, i_word : In
        A whole word, not within others.
    o : Out(stream)
        Words, in order.
    """

    def __init__(self, config: ArrayConfig, *, depth: int) -> None:
        self.config = config
        self.depth = depth
        word = data.ArrayLayout(8, config.rows)
        super().__init__({
            "blocks": In(1), "part": In(1), "lane_group": In(bits_for(config.lane_groups - 1)),
            "i_valid": In(1), "i": In(data.ArrayLayout(8, config.post_lanes)),
            "i_word_valid": In(1), "i_word": In(word), "o": Out(stream.Signature(word))})

    def elaborate(self, platform):
        m = Module()
        rows, columns, lanes = self.config.rows, self.config.columns, self.config.post_lanes

        # Maxima of blocks.
        position = Signal(range(BLOCK))
        best = Signal.like(self.i, reset_less=True)
        maximum = Signal.like(self.i)
        complete = Signal()
        for new, old, larger in zip(self.i, best, maximum):
            m.d.comb += larger.eq(Mux((position == 0) | (new.as_signed() > old.as_signed()),
                                      new, old))
        m.d.comb += complete.eq(self.i_valid & (~self.blocks | (position == BLOCK - 1)))
        with m.If(self.i_valid):
            m.d.sync += [best.eq(maximum), position.eq(Mux(self.blocks, position + 1, 0))]

        # Place of the group in the word: of a part, the upper bits are the lane group.
        groups = rows // lanes
        group, place, ends = (Signal(range(groups), name=n) for n in ("group", "place", "ends"))
        last = Signal()
        part_bits = (min(rows, columns) // lanes - 1).bit_length()
        m.d.comb += [
            place.eq(group), ends.eq(groups - 1),
            last.eq((group & ends) == ends),
        ]
        with m.If(self.part):
            m.d.comb += [place.eq(Cat(group[:part_bits], self.lane_group)),
                         ends.eq((1 << part_bits) - 1)]
        with m.If(complete):
            m.d.sync += group.eq(Mux(last, 0, group + 1))

        word = Signal.like(self.i_word, reset_less=True)
        word_valid = Signal()
        m.d.sync += word_valid.eq((complete & last) | self.i_word_valid)
        with m.If(self.i_word_valid):
            m.d.sync += word.eq(self.i_word)
        with m.If(complete):
            for index in range(groups):
                with m.If(place == index):
                    m.d.sync += word.as_value().word_select(index, 8 * lanes).eq(maximum)

        # Buffer.
        m.submodules.fifo = fifo = SyncFIFOBuffered(width=8 * rows, depth=self.depth)
        m.d.comb += [
            fifo.w_en.eq(word_valid), fifo.w_data.eq(word),
            self.o.valid.eq(fifo.r_rdy), self.o.payload.eq(fifo.r_data),
            fifo.r_en.eq(self.o.ready),
        ]
        return m
