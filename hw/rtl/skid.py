"""A place to wait, between what decides late and what must know early."""

from amaranth import Array, Module, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

__all__ = ["SkidBuffer"]


class SkidBuffer(wiring.Component):
    """Two payloads, first come, first served.

    Timing: latency 1 cycle, one per cycle. `i.ready` and `o.valid` are registers: neither depends
    on anything that happens in the same cycle, so that no path goes through.

    Members
    -------
    i, o : stream of `shape`
    """

    def __init__(self, shape) -> None:
        self.shape = shape
        super().__init__({"i": In(stream.Signature(shape)), "o": Out(stream.Signature(shape))})

    def elaborate(self, platform):
        m = Module()
        places = Array(Signal(self.shape, name=f"place_{n}", reset_less=True) for n in range(2))
        newest, oldest, some, full = (Signal(name=n) for n in ("newest", "oldest", "some", "full"))
        enter, leave = self.i.valid & self.i.ready, self.o.valid & self.o.ready
        m.d.comb += [self.i.ready.eq(~full), self.o.valid.eq(some),
                     self.o.payload.eq(places[oldest])]
        m.d.sync += [newest.eq(newest ^ enter), oldest.eq(oldest ^ leave),
                     some.eq(enter | full | (some & ~leave)),
                     full.eq((full | (some & enter)) & ~leave)]
        with m.If(enter):
            m.d.sync += places[newest].eq(self.i.payload)
        return m
