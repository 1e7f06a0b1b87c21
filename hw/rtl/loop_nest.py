"""Counters of nested loops."""

from amaranth import Const, Module, Mux, Signal
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

__all__ = ["LoopNest"]


class LoopNest(wiring.Component):
    """Loops inside each other, each from 0 to a count that is not 0.

    After the last step all indices are 0 again. Loops of width 0 run once and cost nothing.

    Timing: `step` acts at the end of its cycle; all outputs belong to the present position.

    Parameters
    ----------
    widths : dict
        Name to the width of its count, innermost loop first.

    Members
    -------
    counts : In
        Repetitions, by name; must not change between the cycle before the first step and the last
        step.
    step : In(1)
    indices : Out
        By name.
    ends : Out
        By name: this and all loops inside are at their last index.
    last : Out(1)
        Every loop is.
    """

    def __init__(self, **widths: int) -> None:
        self.widths = widths
        super().__init__({
            "counts": In(data.StructLayout(widths)), "step": In(1),
            "indices": Out(data.StructLayout(widths)),
            "ends": Out(data.StructLayout(dict.fromkeys(widths, 1))), "last": Out(1)})

    def elaborate(self, platform):
        m = Module()
        end = Const(1, 1)
        for name, width in self.widths.items():
            if width:
                index = Signal(width, name=name)
                at_last = Signal(name=f"{name}_at_last")
                count = self.counts[name]
                # The index ahead of the last one: known early, so that no step waits for a sum.
                ahead = Signal(width, name=f"{name}_ahead", reset_less=True)
                m.d.sync += ahead.eq(count - 2)
                with m.If(self.step & end):
                    m.d.sync += [index.eq(Mux(at_last, 0, index + 1)),
                                 at_last.eq(Mux(at_last, count == 1, index == ahead))]
                with m.Elif(index == 0):
                    m.d.sync += at_last.eq(count == 1)
                m.d.comb += self.indices[name].eq(index)
                end &= at_last
            m.d.comb += self.ends[name].eq(end)
        m.d.comb += self.last.eq(end)
        return m
