"""Conversion of int32 sums to int8 codes."""

from amaranth import Cat, Module, Mux, Signal, signed, unsigned
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from hw.rtl.wide_multiplier import WideMultiplier
from hw.spec.numerics import (
    ACC_SATURATION_LOG2,
    FRACTION_BITS,
    MULTIPLIER_BITS,
    QMAX,
    QMIN,
    SHIFT_BITS,
)

__all__ = ["Request", "Requantizer"]

#: Zero bits below the product that make FRACTION_BITS of it a fraction at shift 0.
_PRODUCT_SHIFT = FRACTION_BITS - MULTIPLIER_BITS + 1
#: Width of a magnitude before the zero point, saturation excepted.
_CODE_BITS = 8


class Request(data.Struct):
    """A sum and its scale, as in :func:`hw.spec.numerics.requantize`."""

    acc: signed(32)
    multiplier: unsigned(MULTIPLIER_BITS)
    shift: unsigned(SHIFT_BITS)


class Requantizer(wiring.Component):
    """Requantizing pipeline of one lane.

    Computes :func:`hw.spec.numerics.requantize`, bit for bit, for every value of its arguments.

    Timing: latency :attr:`LATENCY` = 6 cycles, one result per cycle, no stalls and no enable:
    what has to travel along is the user's. Stages: magnitude; partial products; product; shift;
    round; sign, zero point and saturation.

    Parameters
    ----------
    few_dsp : bool
        As in :class:`~hw.rtl.wide_multiplier.WideMultiplier`.

    Members
    -------
    i : In(Request)
    zero_point, odd : In(signed(8)), In(1)
        Must not change while a request is under way.
    o : Out(signed(8))
    """

    LATENCY = 4 + WideMultiplier.LATENCY

    def __init__(self, *, few_dsp: bool = False) -> None:
        self.few_dsp = few_dsp
        super().__init__({"i": In(Request), "zero_point": In(signed(8)), "odd": In(1),
                          "o": Out(signed(8))})

    def elaborate(self, platform):
        m = Module()
        shift, negative = self.i.shift, self.i.acc < 0

        # 1: magnitude, saturated.
        magnitude = Signal(unsigned(32))
        a = Signal(ACC_SATURATION_LOG2 + 1, reset_less=True)
        multiplier = Signal(MULTIPLIER_BITS, reset_less=True)
        m.d.comb += magnitude.eq(Mux(negative, -self.i.acc, self.i.acc))
        m.d.sync += [
            a.eq(Mux(magnitude[ACC_SATURATION_LOG2:].any(), 1 << ACC_SATURATION_LOG2, magnitude)),
            multiplier.eq(self.i.multiplier),
        ]

        # 2, 3: product.
        m.submodules.multiplier = product = WideMultiplier(
            len(a), MULTIPLIER_BITS, few_dsp=self.few_dsp)
        m.d.comb += [product.a.eq(a), product.b.eq(multiplier)]
        for stage in range(1 + WideMultiplier.LATENCY):
            shift, negative = (_registered(m, x, f"{name}_{stage + 1}") for x, name in
                               ((shift, "shift"), (negative, "negative")))

        # 4: fixed point; whatever is lost below it is sticky, and above it saturates. Large shifts
        # first: what those that follow cannot bring down into the code need not be shifted again.
        fixed = product.product << _PRODUCT_SHIFT
        sticky = high = 0
        for i, bit in reversed(list(enumerate(shift))):
            step = 1 << i
            sticky |= bit & fixed[:step].any()
            fixed = Mux(bit, fixed >> step, fixed)
            kept = FRACTION_BITS + _CODE_BITS + step - 1
            high |= fixed[kept:].any()
            fixed = fixed[:kept]
        k = Signal(_CODE_BITS, reset_less=True)
        fraction = Signal(FRACTION_BITS + 1, reset_less=True)
        saturated = Signal(reset_less=True)
        m.d.sync += [
            k.eq(fixed[FRACTION_BITS:]),
            fraction.eq(Cat(sticky, fixed[:FRACTION_BITS])),
            saturated.eq(high),
        ]
        negative = _registered(m, negative, "negative_4")

        # 5: round up from 1/2 - h on, or from above 1/2 + h. `below_h` is h - 1, all ones.
        # Each bit of h is the first 0 of it.
        below_h = Signal(_CODE_BITS + 1)
        m.d.comb += below_h.eq(Cat(1, (k[i:].any() for i in range(_CODE_BITS))))
        h = Cat(0, (below_h[i] & ~below_h[i + 1] for i in range(_CODE_BITS)), below_h[-1])
        half = 1 << FRACTION_BITS
        threshold = Mux(k[0] ^ self.odd, (half - 1) ^ below_h, half | h | 1)
        q = Signal(_CODE_BITS + 1, reset_less=True)
        m.d.sync += q.eq(Mux(saturated, 1 << _CODE_BITS,
                             Mux(fraction >= threshold, k + 1, k)))
        negative = _registered(m, negative, "negative_5")

        # 6: sign, zero point, saturation.
        y = Signal(signed(_CODE_BITS + 3))
        o = Signal(signed(8), reset_less=True)
        m.d.comb += [y.eq(Mux(negative, -q, q) + self.zero_point), self.o.eq(o)]
        m.d.sync += o.eq(Mux(y > QMAX, QMAX, Mux(y < QMIN, QMIN, y)))
        return m


def _registered(m: Module, value, name: str) -> Signal:
    register = Signal(value.shape(), name=name, reset_less=True)
    m.d.sync += register.eq(value)
    return register
