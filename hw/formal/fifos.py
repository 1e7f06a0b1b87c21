"""FIFOs: nothing is lost, doubled or reordered, and what is inside comes out."""

from amaranth import Elaboratable, Module, Mux, Signal, Value
from amaranth.hdl import Assert, Cover
from amaranth.lib import wiring
from amaranth.lib.fifo import SyncFIFO, SyncFIFOBuffered
from amaranth.lib.wiring import In

from hw.formal.probe import Probe
from hw.formal.proof import Proof, implies

__all__ = ["PROOFS", "FifoOrder", "Marked", "words_inside"]


class Marked(Elaboratable):
    """Follows one word, any, through a FIFO of words: the invariant of :class:`FifoOrder`.

    Parameters
    ----------
    probe : Probe
        Contains a SyncFIFO, or a SyncFIFOBuffered of depth 2 or more, at `path`.
    mark : Signal
        Follow the word that is written in this cycle, unless one is followed already.

    Attributes
    ----------
    inside, ahead, value
        The word is in the FIFO; so many are in front of it; its contents.
    leaves
        It is taken out in this cycle.
    """

    def __init__(self, probe: Probe, mark, *, path: str = "") -> None:
        self.fifo = fifo = probe.component(path)
        self.mark = mark
        self.buffered = isinstance(fifo, SyncFIFOBuffered)
        self.consume = probe.signal(f"{path}.consume".lstrip("."))
        self.at = Signal.like(self.consume)
        self.word = probe.word(f"{path}.storage".lstrip("."), self.at)
        self.inside, self.ahead = Signal(), Signal(range(fifo.depth + 1))
        self.value, self.leaves = Signal(fifo.width), Signal()

    def elaborate(self, platform):
        m = Module()
        fifo = self.fifo
        write, read = fifo.w_en & fifo.w_rdy, fifo.r_en & fifo.r_rdy
        m.d.comb += self.leaves.eq(self.inside & read & (self.ahead == 0))
        with m.If(self.inside & read):
            m.d.sync += [self.ahead.eq(self.ahead - 1), self.inside.eq(~self.leaves)]
        with m.If(~self.inside & self.mark & write):
            m.d.sync += [self.inside.eq(1), self.ahead.eq(fifo.level - read),
                         self.value.eq(fifo.w_data)]

        # Where it is: in the output register, or so far behind the word that is read next.
        registered = fifo.r_rdy if self.buffered else 0
        depth = fifo.depth - 1 if self.buffered else fifo.depth
        place = Signal(range(2 * fifo.depth))
        m.d.comb += [place.eq(self.consume + self.ahead - registered),
                     self.at.eq(Mux(place >= depth, place - depth, place))]
        out = fifo.r_rdy & (self.ahead == 0)
        m.d.comb += [
            Assert(implies(self.inside, self.ahead < fifo.level)),
            Assert(implies(self.inside, Mux(out, fifo.r_data, self.word) == self.value)),
        ]
        return m


def words_inside(m: Module, probe: Probe, path: str) -> list[tuple[Value, Value]]:
    """Return every word in a FIFO, oldest first: whether it is there, and its contents."""
    fifo, consume = probe.component(path), probe.signal(f"{path}.consume")
    buffered = isinstance(fifo, SyncFIFOBuffered)
    depth, registered = fifo.depth - buffered, fifo.r_rdy if buffered else 0
    words = [(fifo.r_rdy, fifo.r_data)] if buffered else []
    for i in range(depth):
        at, place = Signal.like(consume), consume + i
        m.d.comb += at.eq(Mux(place >= depth, place - depth, place))
        words.append((fifo.level > i + registered, probe.word(f"{path}.storage", at)))
    return words


class FifoOrder(wiring.Component):
    """What comes out is what went in, in order; and it is offered without delay.

    Parameters
    ----------
    kind
        SyncFIFO or SyncFIFOBuffered.
    depths
        One FIFO for each. They see the same inputs.
    """

    def __init__(self, kind: type, depths: tuple[int, ...], *, width: int = 4) -> None:
        self.kind, self.depths, self.width = kind, depths, width
        super().__init__({"write": In(1), "data": In(width), "read": In(1), "mark": In(1)})

    def elaborate(self, platform):
        m = Module()
        for depth in self.depths:
            fifo = self.kind(width=self.width, depth=depth)
            probe = m.submodules[f"fifo_{depth}"] = Probe(fifo)
            m.d.comb += [fifo.w_en.eq(self.write), fifo.w_data.eq(self.data),
                         fifo.r_en.eq(self.read)]
            marked = m.submodules[f"marked_{depth}"] = Marked(probe, self.mark)

            # It fills to its depth, and never gets stuck.
            level, offered = Signal(range(depth + 1)), Signal()
            m.d.sync += [
                level.eq(level + (fifo.w_en & fifo.w_rdy) - (fifo.r_en & fifo.r_rdy)),
                offered.eq((fifo.level != 0) & ~fifo.r_rdy),
            ]
            m.d.comb += [
                Assert(fifo.level == level), Assert(level <= depth),
                Assert(implies(~fifo.w_rdy, level >= depth - marked.buffered)),
                Assert(implies(level != 0, fifo.r_rdy | (~offered if marked.buffered else 0))),
                Cover(marked.leaves & (marked.value != 0) & (marked.ahead == 0)),
                Cover(level == min(depth, 6)),
            ]
        return m


PROOFS = (
    Proof(name="fifo.order", harness=lambda: FifoOrder(SyncFIFO, (1, 2, 3, 8, 15, 16)),
          claim="FIFOs keep every word, once, in order, fill to their depth and offer at once; "
                "depths 1, 2, 3, 8, 15, 16; words of 4 bits"),
    Proof(name="fifo.buffered", harness=lambda: FifoOrder(SyncFIFOBuffered, (2, 8, 9, 65, 129)),
          claim="likewise FIFOs in block RAM, a cycle later; depths 2, 8, 9, 65, 129"),
)
