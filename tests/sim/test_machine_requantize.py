"""The float32 requantization of tiles against the definition, mostly on and beside ties."""

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from hw.spec import numerics
from sim.machine.requantize import requantize, scale_of

INT32 = st.integers(numerics.INT32_MIN, numerics.INT32_MAX)
MULTIPLIERS = st.one_of(
    st.integers(numerics.MULTIPLIER_ONE, 2 * numerics.MULTIPLIER_ONE - 1),
    st.sampled_from([numerics.MULTIPLIER_ONE, numerics.MULTIPLIER_ONE + 1,
                     2 * numerics.MULTIPLIER_ONE - 1, numerics.MULTIPLIER_ONE * 3 // 2]),
    st.integers(0, 2 * numerics.MULTIPLIER_ONE - 1))


def near_ties(multiplier: int, shift: int) -> list[int]:
    """Accumulators whose products lie next to k + 1/2, for k up to beyond saturation."""
    if not multiplier:
        return []
    step = 1 << numerics.MULTIPLIER_BITS - 1 + shift
    centres = [(2 * k + 1) * step // (2 * multiplier) for k in (*range(20), *range(100, 260, 7))]
    found = [sign * (c + d) for c in centres for d in (-2, -1, 0, 1, 2) for sign in (-1, 1)]
    return [f for f in found if numerics.INT32_MIN <= f <= numerics.INT32_MAX]


def compare(acc: list[int], multiplier: int, shift: int, zero_point: int, odd: int) -> None:
    values = np.array(acc, np.int32)
    fast = requantize(values, multiplier=multiplier, shift=shift, zero_point=zero_point, odd=odd)
    exact = numerics.requantize(values.astype(np.int64), multiplier=multiplier, shift=shift,
                                zero_point=zero_point, odd=odd)
    assert np.array_equal(fast, exact), [
        (a, f, e) for a, f, e in zip(acc, fast.tolist(), exact.tolist()) if f != e][:5]


@given(acc=st.lists(INT32, min_size=1, max_size=20), multiplier=MULTIPLIERS,
       shift=st.integers(0, 31), zero_point=st.integers(-128, 127), odd=st.integers(0, 1))
@settings(max_examples=600, deadline=None)
def test_equals_the_definition(acc: list[int], multiplier: int, shift: int, zero_point: int,
                               odd: int) -> None:
    edges = [0, 1, -1, 1 << 24, (1 << 24) + 1, -(1 << 24) - 1, numerics.INT32_MAX,
             numerics.INT32_MIN]
    compare(acc + edges + near_ties(multiplier, shift), multiplier, shift, zero_point, odd)


@pytest.mark.parametrize("odd", [0, 1])
def test_every_accumulator_of_exact_halves_is_exact(odd: int) -> None:
    """A power of two: half of all products are ties at shift 1, all are near ones further on."""
    for shift in (0, 1, 2, 5, 9):
        compare(list(range(-3000, 3001)), numerics.MULTIPLIER_ONE, shift, 3, odd)


@pytest.mark.parametrize("odd", [0, 1])
def test_products_that_float32_rounds_onto_a_tie(odd: int) -> None:
    """Inexact ties: accumulators of 17 to 24 bits whose product misses a tie by less than h."""
    rng = np.random.default_rng(11)
    hit = 0
    for _ in range(300):
        multiplier = int(rng.integers(1 << 23, 1 << 24))
        shift = int(rng.integers(9, 20))
        acc = np.array(near_ties(multiplier, shift), np.int64)
        product = acc * multiplier / 2.0 ** (23 + shift)
        rounded = product.astype(np.float32).astype(np.float64)
        hit += int(np.count_nonzero((rounded != product) & (rounded % 1 == 0.5)
                                    & (abs(acc) < 1 << 24)))
        compare(acc.tolist(), multiplier, shift, int(rng.integers(-128, 128)), odd)
    assert hit > 20, "the test must contain what it is about"


def test_channels_have_their_own_scale() -> None:
    rng = np.random.default_rng(2)
    acc = rng.integers(-1 << 31, 1 << 31, (50, 4), np.int32) >> rng.integers(0, 24, (50, 4))
    multiplier, shift = rng.integers(1 << 23, 1 << 24, 4), rng.integers(0, 32, 4)
    for odd in (0, 1):
        fast = requantize(acc.astype(np.int32), multiplier=multiplier, shift=shift, zero_point=-5,
                          odd=odd)
        assert np.array_equal(fast, numerics.requantize(
            acc.astype(np.int64), multiplier=multiplier, shift=shift, zero_point=-5, odd=odd))


def test_scales_are_exact() -> None:
    for multiplier in (1, (1 << 23) + 1, (1 << 24) - 1):
        for shift in range(32):
            assert float(scale_of(multiplier, shift)) == multiplier * 2.0 ** -(23 + shift)
