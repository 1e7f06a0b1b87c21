"""Token bank: the counters that order the queues, one from every queue to every other."""

from amaranth import Cat, Module, Signal
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from hw.spec.isa import TOKEN_BITS, Queue

__all__ = ["Pairs", "Tokens"]

_COUNT = len(Queue)
#: One bit for every pair of queues, by own queue and then by the other one.
Pairs = data.ArrayLayout(_COUNT, _COUNT)


class Tokens(wiring.Component):
    """Twelve counters, zero after reset.

    Timing: ``available`` shows a token in the cycle after it was given. A counter can be given and
    taken from in the same cycle. Nothing stalls.

    Parameters
    ----------
    bits : int
        Width of each counter. Other than the default only in tests.

    Members
    -------
    available : Out(Pairs)
        ``available[own][q]``: there is a token from q to own.
    take : In(Pairs)
        ``take[own][q]``: own takes a token of q. It must be available.
    give : In(Pairs)
        ``give[own][q]``: own gives q a token.
    overflow : Out(4)
        Bit own: a counter cannot hold what own gives in this very cycle, and keeps its value.
    """

    available: Out(Pairs)
    take: In(Pairs)
    give: In(Pairs)
    overflow: Out(_COUNT)

    def __init__(self, *, bits: int = TOKEN_BITS) -> None:
        self.bits = bits
        super().__init__()

    def elaborate(self, platform):
        m = Module()
        overflows = {q: [] for q in Queue}
        for giver in Queue:
            for taker in Queue:
                if giver == taker:
                    continue
                counter = Signal(self.bits, name=f"from_{giver.name}_to_{taker.name}".lower())
                given, taken = self.give[giver][taker], self.take[taker][giver]
                overflow = given & ~taken & counter.all()
                overflows[giver].append(overflow)
                # From here it is far, through a queue to its unit: not also through the counter.
                some = Signal(name=f"some_{giver.name}_to_{taker.name}".lower())
                m.d.comb += self.available[taker][giver].eq(some)
                # One adder: of 1, or of all ones.
                with m.If((given ^ taken) & ~overflow):
                    m.d.sync += [counter.eq(counter + Cat(1, taken.replicate(self.bits - 1))),
                                 some.eq(given | counter[1:].any())]
        for giver, found in overflows.items():
            m.d.comb += self.overflow[giver].eq(Cat(found).any())
        return m
