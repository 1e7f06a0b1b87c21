"""The requantizer equals the function that defines it, for every value of its arguments.

The reference is :func:`hw.spec.numerics.requantize` itself: it is written with operators only, so
it can be called with Amaranth's values, which have as many bits as they need, and then it is the
logic that it describes. Only the product is too hard for a solver. It is cut out of both sides, and
proved by itself, as far as that goes.

All these are pipelines without feedback, and nothing in them is reset: a result depends on its
request alone, so that what holds for the first results holds for all.
"""

from amaranth import Module, Signal, Value, ValueCastable
from amaranth.asserts import AnyConst
from amaranth.hdl import Assert, Assume, Cover
from amaranth.lib import wiring

from hw.formal.probe import Probe, free_inputs
from hw.formal.proof import Method, Proof, implies
from hw.rtl.requantizer import Requantizer
from hw.rtl.wide_multiplier import WideMultiplier
from hw.spec.numerics import (
    ACC_SATURATION_LOG2,
    FRACTION_BITS,
    MULTIPLIER_BITS,
    QMAX,
    QMIN,
    requantize,
)

__all__ = ["PROOFS", "AroundTheProduct", "NarrowProduct", "PartialProducts"]


def _delayed(m: Module, value, cycles: int, name: str) -> Value:
    """Return `value` as it was so many cycles ago, as registers without reset have it."""
    value = Value.cast(value)
    for i in range(cycles):
        register = Signal(value.shape(), name=f"{name}_{i + 1}", reset_less=True)
        m.d.sync += register.eq(value)
        value = register
    return value


class _Factor(ValueCastable):
    """Stands for a multiplier: its product with anything is `product`, and is remembered."""

    def __init__(self, product: Value) -> None:
        self.product = product
        self.other = None

    def shape(self):
        return self.product.shape()

    def as_value(self):
        raise TypeError("a factor can only be multiplied")

    def __rmul__(self, other):
        self.other = other
        return self.product


class AroundTheProduct(wiring.Component):
    """The pipeline, a request per cycle, with a multiplier that gives any 49 bits."""

    def __init__(self) -> None:
        super().__init__({})

    def elaborate(self, platform):
        m = Module()
        dut = Requantizer()
        probe = m.submodules.dut = Probe(dut)
        probe.cut("multiplier")
        free_inputs(m, dut)
        for held in (dut.zero_point, dut.odd):
            m.d.comb += Assume(held == AnyConst(held.shape()))
        multiplier = probe.component("multiplier")
        age = Signal(range(dut.LATENCY + 1))
        m.d.sync += age.eq(age + (age != dut.LATENCY))

        # A cycle after the request: operands.
        request = dut.i
        operand = _Factor(multiplier.product)
        requantize(request.acc, multiplier=operand, shift=request.shift,
                   zero_point=dut.zero_point, odd=dut.odd)
        m.d.comb += Assert(implies(age >= 1, multiplier.a == _delayed(m, operand.other, 1, "a")))
        m.d.comb += Assert(implies(age >= 1,
                                   multiplier.b == _delayed(m, request.multiplier, 1, "b")))

        # When the product is there: what the result must be, and on the way to it, the shift.
        product, arrival = multiplier.product, 1 + multiplier.LATENCY
        acc, shift = (_delayed(m, value, arrival, name) for value, name in
                      ((request.acc, "acc"), (request.shift, "shift")))
        expected, wide = Signal.like(dut.o), product << (FRACTION_BITS - MULTIPLIER_BITS + 1)
        m.d.comb += expected.eq(requantize(acc, multiplier=_Factor(product), shift=shift,
                                           zero_point=dut.zero_point, odd=dut.odd))
        fixed = wide >> shift
        lost = (fixed << shift) != wide
        fixed, lost = _delayed(m, fixed, 1, "fixed"), _delayed(m, lost, 1, "lost")
        shifted, integer = age == arrival + 1, fixed >> FRACTION_BITS
        m.d.comb += [
            Assert(implies(shifted, probe.signal("saturated") == (integer > QMAX - QMIN))),
            Assert(implies(shifted, probe.signal("k") == integer[:8])),
            Assert(implies(shifted, probe.signal("fraction") == (
                (fixed[:FRACTION_BITS] << 1) | lost))),
        ]

        # The result.
        over = age == dut.LATENCY
        m.d.comb += [
            Assert(implies(over, dut.o == _delayed(m, expected, dut.LATENCY - arrival, "result"))),
            Cover(over & (dut.o == -77) & (dut.zero_point == 3) & dut.odd),
        ]
        return m


class PartialProducts(wiring.Component):
    """The requantizer's multiplier, and the sum of the four products of its operands' halves."""

    def __init__(self) -> None:
        super().__init__({})

    def elaborate(self, platform):
        m = Module()
        dut = WideMultiplier(ACC_SATURATION_LOG2 + 1, MULTIPLIER_BITS)
        probe = m.submodules.dut = Probe(dut)
        free_inputs(m, dut)
        half = dut.half_bits
        a, b = (dut.a[:half], dut.a[half:]), (dut.b[:half], dut.b[half:])
        low, middle_a, middle_b, high = partial = [
            _delayed(m, a[i] * b[j], 1, name) for i, j, name in
            ((0, 0, "low"), (1, 0, "middle_a"), (0, 1, "middle_b"), (1, 1, "high"))]
        for value, name in zip(partial, ("low", "middle_a", "middle_b", "high")):
            m.d.comb += Assert(probe.signal(name) == value)
        total = (low + ((middle_a + middle_b) << half) + (high << 2 * half))[:len(dut.product)]
        m.d.comb += [Assert(dut.product == _delayed(m, total, 1, "total")),
                     Cover(dut.product == 0x1_2345 * 0x6_789A)]
        return m


class NarrowProduct(wiring.Component):
    """The same multiplier with operands so short that a solver can multiply them."""

    def __init__(self, a_bits: int, b_bits: int, half_bits: int) -> None:
        self.a_bits, self.b_bits, self.half_bits = a_bits, b_bits, half_bits
        super().__init__({})

    def elaborate(self, platform):
        m = Module()
        for few_dsp in (False, True):
            dut = WideMultiplier(self.a_bits, self.b_bits, half_bits=self.half_bits,
                                 few_dsp=few_dsp)
            m.submodules += dut
            free_inputs(m, dut)
            m.d.comb += [
                Assert(dut.product == _delayed(m, dut.a * dut.b, dut.LATENCY, "product")),
                Cover(dut.product == ((1 << self.a_bits) - 1) * ((1 << self.b_bits) - 1)),
            ]
        return m


PROOFS = (
    Proof(name="requantizer.rounding", harness=AroundTheProduct, method=Method.BOUNDED, depth=7,
          claim="operands of the multiplier, and of its product, whatever it is, the result, are "
                "those of hw.spec.numerics.requantize: all accumulators, multipliers, shifts and "
                "zero points, odd or not (a pipeline of 6 cycles without feedback)"),
    Proof(name="requantizer.partial_products", method=Method.BOUNDED, depth=3, fast=False,
          harness=PartialProducts,
          claim="the 25 by 24 bit multiplier gives the sum of the four products of its operands' "
                "halves, shifted to their places"),
    Proof(name="requantizer.product", method=Method.BOUNDED, depth=3, fast=False,
          harness=lambda: NarrowProduct(8, 7, 4),
          claim="the multiplier gives the product; operands of 8 and 7 bits, with and without "
                "few_dsp"),
)
