"""Multiplier of the requantizer: wider than a DSP block, and registered inside."""

from amaranth import Module, Mux, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

__all__ = ["WideMultiplier"]


class WideMultiplier(wiring.Component):
    """Product of two unsigned numbers of up to 36 bits, from four products of at most 18 by 18.

    Alone in its component so that the products map to DSP blocks, without logic between them and
    their registers. Low halves have `half_bits`; the product of these is always left to
    synthesis, which takes one DSP block if they fit. The three others are shorter, and can be
    built from LUTs instead where DSP blocks are scarce.

    Timing: latency :attr:`LATENCY` = 2 cycles, one product per cycle, no stalls.

    Parameters
    ----------
    a_bits, b_bits : int
        Widths of the operands, above `half_bits`.
    half_bits : int
        Widest operand of a DSP block: 18 for ECP5, 16 for iCE40.
    few_dsp : bool
        Build the products of high halves from LUTs.

    Members
    -------
    a, b : In(a_bits), In(b_bits)
    product : Out(a_bits + b_bits)
    """

    LATENCY = 2

    def __init__(self, a_bits: int, b_bits: int, *, half_bits: int = 18,
                 few_dsp: bool = False) -> None:
        for name, bits in (("a_bits", a_bits), ("b_bits", b_bits)):
            if not half_bits < bits <= 2 * half_bits:
                raise ValueError(f"{name} must be in {half_bits + 1}..{2 * half_bits}, not {bits}")
        self.half_bits = half_bits
        self.few_dsp = few_dsp
        super().__init__({"a": In(a_bits), "b": In(b_bits), "product": Out(a_bits + b_bits)})

    def elaborate(self, platform):
        m = Module()
        half = self.half_bits
        a, b = (self.a[:half], self.a[half:]), (self.b[:half], self.b[half:])

        # 1: partial products.
        def partial(x: Value, y: Value, name: str, *, dsp: bool) -> Signal:
            result = Signal(len(x) + len(y), name=name, reset_less=True)
            m.d.sync += result.eq(x * y if dsp else _shift_add(x, y))
            return result

        low = partial(a[0], b[0], "low", dsp=True)
        middle_a = partial(a[1], b[0], "middle_a", dsp=not self.few_dsp)
        middle_b = partial(a[0], b[1], "middle_b", dsp=not self.few_dsp)
        high = partial(a[1], b[1], "high", dsp=not self.few_dsp)

        # 2: their sum.
        product = Signal.like(self.product, reset_less=True)
        m.d.sync += product.eq(low + ((middle_a + middle_b) << half) + (high << 2 * half))
        m.d.comb += self.product.eq(product)
        return m


def _shift_add(x: Value, y: Value) -> Value:
    """Return the product as a tree of additions, a term per bit of the shorter operand."""
    long, short = (x, y) if len(x) >= len(y) else (y, x)
    terms = [Mux(bit, long, 0) << i for i, bit in enumerate(short)]
    while len(terms) > 1:
        terms = [sum(terms[i:i + 2][1:], terms[i]) for i in range(0, len(terms), 2)]
    return terms[0]
