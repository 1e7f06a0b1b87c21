# amaranth: UnusedElaboratable=no
"""Requantizing pipeline and its multiplier, against hw.spec.numerics."""

import random
from collections.abc import Iterator

import pytest

from hw.rtl.requantizer import Requantizer
from hw.rtl.wide_multiplier import WideMultiplier
from hw.spec.numerics import INT32_MAX, INT32_MIN, MULTIPLIER_ONE, requantize
from sim.testing import simulate

EXTREME_SUMS = (INT32_MIN, INT32_MIN + 1, -(1 << 24) - 1, -(1 << 24), 1 - (1 << 24), -1, 0, 1,
                (1 << 24) - 1, 1 << 24, (1 << 24) + 1, INT32_MAX)
MULTIPLIERS = (0, 1, MULTIPLIER_ONE - 1, MULTIPLIER_ONE, MULTIPLIER_ONE + 1, (1 << 24) - 1)


def corner_requests() -> Iterator[tuple[int, int, int]]:
    for acc in EXTREME_SUMS:
        for multiplier in MULTIPLIERS:
            for shift in (0, 1, 7, 8, 16, 23, 24, 30, 31):
                yield acc, multiplier, shift


def requests_near_ties(rng: random.Random, count: int) -> Iterator[tuple[int, int, int]]:
    """Sums whose scaled value is as close to k + 1/2 as their scale allows, and neighbours."""
    for _ in range(count):
        shift = rng.randrange(32)
        multiplier = rng.choice((MULTIPLIER_ONE, rng.randrange(MULTIPLIER_ONE, 1 << 24)))
        k = rng.choice((0, 1, 2, 127, 128, 254, 255, 256, rng.randrange(300)))
        acc = ((2 * k + 1) << (22 + shift)) // multiplier + rng.randrange(-1, 3)
        yield rng.choice((-1, 1)) * min(acc, INT32_MAX), multiplier, shift


def requests_at_zone_edges(rng: random.Random, count: int) -> Iterator[tuple[int, int, int]]:
    """Products that lie exactly h below or above k + 1/2, or a bit that is shifted out beside."""
    while count:
        shift, bits_of_k = rng.randrange(3, 9), rng.randrange(9)
        h = 2 << bits_of_k
        fraction = (1 << 25) + rng.choice((-h, h))  # unit 2**-26
        multiplier = rng.randrange(1, 1 << min(24, shift + bits_of_k), 2)
        modulus = 1 << (23 + shift)
        product = (fraction << (shift - 3)) + rng.choice((-1, 0, 0, 1))
        acc = product * pow(multiplier, -1, modulus) % modulus
        if acc <= 1 << 24 and (acc * multiplier // modulus).bit_length() == bits_of_k:
            yield rng.choice((-1, 1)) * acc, multiplier, shift
            count -= 1


def check(requests: list[tuple[int, int, int]], zero_point: int, odd: int, **options) -> None:
    dut = Requantizer(**options)

    async def bench(ctx):
        ctx.set(dut.zero_point, zero_point)
        ctx.set(dut.odd, odd)
        for i in range(len(requests) + Requantizer.LATENCY):
            if i < len(requests):
                acc, multiplier, shift = requests[i]
                ctx.set(dut.i, {"acc": acc, "multiplier": multiplier, "shift": shift})
            if i >= Requantizer.LATENCY:
                acc, multiplier, shift = requests[i - Requantizer.LATENCY]
                assert ctx.get(dut.o) == requantize(
                    acc, multiplier=multiplier, shift=shift, zero_point=zero_point, odd=odd
                ), f"{acc=} {multiplier=} {shift=} {zero_point=} {odd=}"
            await ctx.tick()

    simulate(dut, bench)


@pytest.mark.parametrize(("zero_point", "odd"), [(0, 0), (0, 1), (-128, 1), (127, 0)])
def test_extreme_requests_are_requantized(zero_point: int, odd: int) -> None:
    check(list(corner_requests()), zero_point, odd)


@pytest.mark.parametrize("odd", (0, 1))
@pytest.mark.parametrize("zero_point", (0, -128, 127, 53))
def test_requests_near_ties_are_requantized(zero_point: int, odd: int) -> None:
    check(list(requests_near_ties(random.Random(zero_point), 400)), zero_point, odd)


@pytest.mark.parametrize("odd", (0, 1))
def test_requests_at_the_edge_of_a_tie_zone_are_requantized(odd: int) -> None:
    check(list(requests_at_zone_edges(random.Random(odd), 400)), 0, odd)


@pytest.mark.parametrize("seed", range(2))
def test_random_requests_are_requantized(seed: int) -> None:
    rng = random.Random(seed)
    requests = [(rng.randrange(INT32_MIN, INT32_MAX + 1) >> rng.randrange(32),
                 rng.randrange(1 << 24), rng.randrange(32)) for _ in range(600)]
    check(requests, rng.randrange(-128, 128), rng.randrange(2))


def test_few_dsp_blocks_give_the_same_results() -> None:
    rng = random.Random(1)
    check(list(corner_requests())[::5] + list(requests_near_ties(rng, 200)), -7, 0, few_dsp=True)


@pytest.mark.parametrize("few_dsp", (False, True))
@pytest.mark.parametrize(("a_bits", "b_bits", "half_bits"),
                         [(25, 24, 18), (25, 24, 16), (19, 36, 18), (36, 36, 18)])
def test_multiplier_gives_whole_products(a_bits: int, b_bits: int, half_bits: int,
                                         few_dsp: bool) -> None:
    rng = random.Random(a_bits)
    dut = WideMultiplier(a_bits, b_bits, half_bits=half_bits, few_dsp=few_dsp)
    largest = (1 << a_bits) - 1, (1 << b_bits) - 1
    pairs = [(0, largest[1]), largest, (1 << (a_bits - 1), 1 << (b_bits - 1))]
    pairs += [(rng.randint(0, largest[0]), rng.randint(0, largest[1])) for _ in range(50)]

    async def bench(ctx):
        for i in range(len(pairs) + WideMultiplier.LATENCY):
            if i < len(pairs):
                ctx.set(dut.a, pairs[i][0])
                ctx.set(dut.b, pairs[i][1])
            if i >= WideMultiplier.LATENCY:
                a, b = pairs[i - WideMultiplier.LATENCY]
                assert ctx.get(dut.product) == a * b
            await ctx.tick()

    simulate(dut, bench)


@pytest.mark.parametrize(("widths", "name"), [((18, 24), "a_bits"), ((25, 37), "b_bits")])
def test_multiplier_refuses_widths_that_four_products_cannot_cover(
        widths: tuple[int, int], name: str) -> None:
    bits = widths[name == "b_bits"]
    with pytest.raises(ValueError, match=rf"^{name} must be in 19\.\.36, not {bits}$"):
        WideMultiplier(*widths)
