"""Multipliers of the array: int8 activations by int8 weights, in four ways to spend an FPGA."""

from amaranth import Cat, Const, Module, Mux, Signal, Value, signed
from amaranth.lib import data, enum, wiring
from amaranth.lib.wiring import In, Out

__all__ = ["Multiplier", "MultiplierStyle"]

#: Where the second weight of a packed pair starts in the shared operand.
_PACK_SHIFT = 10


class MultiplierStyle(enum.Enum):
    """What a product is made of.

    ===========  ==================================================  =======  =======
    style        logic                                               weights  latency
    ===========  ==================================================  =======  =======
    INFERRED     a product, left to synthesis: a DSP block           1        1
    LUT          a tree of shifted additions: no DSP block           1        1
    PACKED       one 18x18 product and a correction, two products    2        2
    DUAL         two products, of the iCE40 UltraPlus a DSP block    2        1
    ===========  ==================================================  =======  =======
    """

    INFERRED = "inferred"
    LUT = "lut"
    PACKED = "packed"
    DUAL = "dual"

    @property
    def weights(self) -> int:
        """Weights that one multiplier takes, all for the same activation."""
        return 2 if self in (MultiplierStyle.PACKED, MultiplierStyle.DUAL) else 1

    @property
    def keeps(self) -> bool:
        """Whether a multiplier has registers for its weights, those of the DSP block."""
        return self is MultiplierStyle.DUAL

    @property
    def latency(self) -> int:
        """Cycles from operands to products."""
        return 2 if self is MultiplierStyle.PACKED else 1

    @property
    def weight_min(self) -> int:
        """Smallest weight; -128 in a packed pair gives a wrong product."""
        return -127 if self is MultiplierStyle.PACKED else -128


class Multiplier(wiring.Component):
    """Products of an activation with one weight, or with two if packed.

    Alone in its component so that it maps to one DSP block, or to none.

    Timing: latency ``style.latency`` cycles, fully pipelined, no stalls.

    Members
    -------
    activation : In(signed(8))
    weights : In(signed(8)[style.weights])
        From ``style.weight_min`` up.
    take : In(1)
        With `style.keeps`: the products are of these weights from the next cycle on, and else of
        those taken before.
    products : Out(signed(16)[style.weights])
    """

    def __init__(self, style: MultiplierStyle | str = MultiplierStyle.INFERRED) -> None:
        self.style = MultiplierStyle(style)
        super().__init__({
            "activation": In(signed(8)),
            "weights": In(data.ArrayLayout(signed(8), self.style.weights)),
            **({"take": In(1)} if self.style.keeps else {}),
            "products": Out(data.ArrayLayout(signed(16), self.style.weights))})

    def elaborate(self, platform):
        if self.style is MultiplierStyle.DUAL and hasattr(platform, "dual_multiplier"):
            return platform.dual_multiplier(self)
        m = Module()
        if self.style is MultiplierStyle.PACKED:
            self._packed(m)
            return m
        if self.style is MultiplierStyle.DUAL:
            kept = Signal.like(self.weights, reset_less=True)
            with m.If(self.take):
                m.d.sync += kept.eq(self.weights)
            products = Signal(self.products.shape(), reset_less=True)
            m.d.sync += [products[c].eq(self.activation * kept[c]) for c in range(2)]
            m.d.comb += self.products.eq(products)
            return m
        product = Signal(signed(16), reset_less=True)
        if self.style is MultiplierStyle.LUT:
            m.d.sync += product.eq(_shift_add(self.activation, self.weights[0]))
        else:
            m.d.sync += product.eq(self.activation * self.weights[0])
        m.d.comb += self.products[0].eq(product)
        return m

    def _packed(self, m: Module) -> None:
        """Take ``a * w0`` and ``a * w1`` out of ``a * (w1 * 1024 + w0)``.

        Bits 15..10 of the product are those of ``a * w0`` plus the low ones of ``a * w1``, which
        six bits of each operand give.
        """
        a, (w0, w1) = self.activation, self.weights
        # 1: w1 * 1024 + w0 is a decrement of w1 where w0 is negative.
        operand = Signal(signed(18))
        m.d.comb += operand.eq(Cat(w0.as_unsigned(), w0[7].replicate(2), (w1 - w0[7])[:8]))
        both = Signal(signed(36), reset_less=True)
        low = Signal(6, reset_less=True)
        m.d.sync += [both.eq(a * operand), low.eq(_low_product(a, w1))]
        # 2: what is left of each when the other is taken away.
        high = Signal(signed(6))
        products = Signal(32, reset_less=True)
        m.d.comb += high.eq(both[10:16] - low)
        m.d.sync += products.eq(Cat(both[:10], high, (both[10:26].as_signed() - high)[:16]))
        m.d.comb += self.products.eq(products)


def _low_product(a: Signal, w: Signal):
    """Low six bits of a product; from LUTs, never from a DSP block."""
    terms = [Mux(w[i], Cat(Const(0, i), a[:6 - i]), 0) for i in range(6)]
    return sum(terms[1:], terms[0])[:6]


def _shift_add(a: Signal, w: Signal):
    """Product of two signed(8): four rows of two bits of the weight each, added in pairs.

    The top bit of the weight counts negative. Every sum has just the bits that it needs, its
    lowest ones are those of the lower addend: 133 LUT4 of an ECP5, carry chains included.
    """
    rows = []
    for bit in range(0, 8, 2):
        low, high = Mux(w[bit], a, 0), Mux(w[bit + 1], a, 0) << 1
        rows.append(low + high if bit < 6 else low - high)

    def joined(low: Value, high: Value, shift: int, bits: int) -> Value:
        """``low + (high << shift)``, in `bits` bits."""
        return Cat(low[:shift], low[shift:].as_signed() + high)[:bits].as_signed()

    rows = [row[:10].as_signed() for row in rows]
    return joined(joined(rows[0], rows[1], 2, 12), joined(rows[2], rows[3], 2, 12), 4, 16)
