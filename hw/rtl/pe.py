"""Processing elements: what holds the weights of a column and multiplies."""

from amaranth import Cat, Module, Signal, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from hw.rtl.multiplier import Multiplier, MultiplierStyle

__all__ = ["ProcessingElements"]


class ProcessingElements(wiring.Component):
    """The R processing elements of a column, or of two columns that share their multipliers.

    Each has an active weight, a weight in the shadow, and a multiplier (or half of one). The
    shadows of a column are one shift register, and its active weights one register.

    Timing: products follow the activations by ``style.latency`` cycles. `swap` makes the shadow
    weights active from the next cycle on, and may come together with the first `shift` of the next
    weights: it takes the old ones. No stalls.

    Parameters
    ----------
    rows : int
        R.
    style : MultiplierStyle
        Packed means two columns.

    Members
    -------
    activation : In(signed(8)[R])
    shift : In(1)
        Take `weight` into the shadows. The first of R weights that are shifted in is for row 0.
    weight : In(signed(8)[columns])
        One per column.
    swap : In(1)
        Use the weights in the shadows from now on.
    products : Out(signed(16)[columns][R])
    """

    def __init__(self, rows: int, style: MultiplierStyle | str = MultiplierStyle.INFERRED) -> None:
        self.rows = rows
        self.style = MultiplierStyle(style)
        columns = self.style.weights
        super().__init__({
            "activation": In(data.ArrayLayout(signed(8), rows)),
            "shift": In(1), "weight": In(data.ArrayLayout(signed(8), columns)), "swap": In(1),
            "products": Out(data.ArrayLayout(data.ArrayLayout(signed(16), rows), columns))})

    def elaborate(self, platform):
        m = Module()
        tile = data.ArrayLayout(signed(8), self.rows)
        columns = range(self.style.weights)

        # Wide registers rather than one per row: they simulate faster.
        active = [Signal(tile, name=f"active_{c}", reset_less=True) for c in columns]
        for c in columns:
            shadow = Signal(8 * self.rows, name=f"shadow_{c}", reset_less=True)
            with m.If(self.shift):
                m.d.sync += shadow.eq(Cat(shadow[8:], self.weight[c]))
            if self.style.keeps:
                m.d.comb += active[c].eq(shadow)
            else:
                with m.If(self.swap):
                    m.d.sync += active[c].eq(shadow)

        multipliers = []
        for r in range(self.rows):
            m.submodules[f"multiplier_{r}"] = multiplier = Multiplier(self.style)
            m.d.comb += multiplier.activation.eq(self.activation[r])
            m.d.comb += [multiplier.weights[c].eq(active[c][r]) for c in columns]
            if self.style.keeps:
                m.d.comb += multiplier.take.eq(self.swap)
            multipliers.append(multiplier)
        m.d.comb += [self.products[c].eq(Cat(x.products[c] for x in multipliers))
                     for c in columns]
        return m
