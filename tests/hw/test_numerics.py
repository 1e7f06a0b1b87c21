"""The arithmetic contract: against float32, against itself, and at its corners."""

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from hw.spec.numerics import (
    ACC_SATURATION_LOG2,
    INT32_MAX,
    INT32_MIN,
    MULTIPLIER_BITS,
    MULTIPLIER_ONE,
    QMAX,
    QMIN,
    SHIFT_BITS,
    add_front,
    mul_front,
    requantize,
    wrap32,
)

int32 = st.integers(INT32_MIN, INT32_MAX)
small = st.integers(-(1 << 24), 1 << 24)
int8 = st.integers(QMIN, QMAX)
parameters = st.fixed_dictionaries({
    "multiplier": st.integers(0, (1 << MULTIPLIER_BITS) - 1),
    "shift": st.integers(0, (1 << SHIFT_BITS) - 1),
    "zero_point": int8,
    "odd": st.integers(0, 1),
})


def float_requantize(acc, *, multiplier, shift, zero_point):
    """What float32 hardware computes."""
    scale = np.float32(multiplier * 2.0 ** -(23 + shift))
    product = np.clip(np.asarray(acc).astype(np.float32) * scale, -1024, 1024)
    return np.clip(np.rint(product).astype(np.int64) + zero_point, QMIN, QMAX)


@settings(deadline=None)
@given(acc=st.one_of(int32, small), p=parameters)
def test_integers_and_arrays_agree(acc, p):
    scalar = requantize(acc, **p)
    array = requantize(np.array([acc, 0, -acc], np.int64), **p)
    assert type(scalar) is int
    assert array.dtype == np.int64
    assert array.tolist() == [scalar, requantize(0, **p), requantize(-acc, **p)]


@settings(deadline=None)
@given(a=st.one_of(int32, small), b=st.one_of(int32, small), p=parameters)
def test_requantize_never_decreases(a, b, p):
    low, high = sorted((a, b))
    assert QMIN <= requantize(low, **p) <= requantize(high, **p) <= QMAX


@settings(deadline=None)
@given(acc=small, step=st.integers(1, 3), p=parameters)
def test_requantize_never_decreases_between_neighbours(acc, step, p):
    assert requantize(acc, **p) <= requantize(acc + step, **p)


@settings(deadline=None)
@given(acc=st.one_of(int32, small), p=parameters)
def test_parameters_broadcast(acc, p):
    arrays = {k: np.full((2, 1), v) for k, v in p.items()}
    assert requantize(np.full(3, acc), **arrays).tolist() == [[requantize(acc, **p)] * 3] * 2


def test_equals_float32_next_to_every_tie():
    rng = np.random.default_rng(1)
    for _ in range(200):
        shift = int(rng.integers(0, 17))
        low = MULTIPLIER_ONE if shift < 16 else MULTIPLIER_ONE - 1
        multiplier = int(rng.choice([MULTIPLIER_ONE, rng.integers(low, 1 << 24)]))
        if shift == 16:
            multiplier = MULTIPLIER_ONE
        codes = rng.integers(-300, 300, 300) + 0.5
        acc = np.rint(codes * 2.0 ** (23 + shift) / multiplier).astype(np.int64)
        acc = np.concatenate([acc + rng.integers(-2, 3, 300), [INT32_MIN, INT32_MAX, 0, 1, -1]])
        acc = np.clip(acc, INT32_MIN, INT32_MAX)
        p = {"multiplier": multiplier, "shift": shift, "zero_point": int(rng.integers(-128, 128))}
        assert np.array_equal(requantize(acc, **p), float_requantize(acc, **p)), p


def test_emulates_rounding_of_the_product_onto_a_tie():
    # Found by search: the exact product is not a tie, its float32 rounding is.
    rng = np.random.default_rng(2)
    acc = rng.integers(1 << 20, 1 << 24, 400_000)
    multiplier = rng.integers(1 << 23, 1 << 24, 400_000)
    product = acc * multiplier
    distance = (product & ((1 << 40) - 1)) - (1 << 39)  # shift 17: 40 fraction bits
    close = (np.abs(distance) < 1 << 22) & (distance != 0)
    assert np.count_nonzero(close) >= 1
    for a, m in zip(acc[close].tolist(), multiplier[close].tolist()):
        p = {"multiplier": m, "shift": 17, "zero_point": 0}
        k = a * m >> 40
        assert requantize(a, **p) == min(k + (k & 1), QMAX) == float_requantize(a, **p)
        assert requantize(a, **p, odd=1) == min(k + (~k & 1), QMAX)


def test_tie_zone_includes_its_ends():
    """Products that lie exactly half a float32 ulp from a tie: ``k + 1/2 -+ 2**(L - 25)``."""
    tried = 0
    for k in range(1, 127):
        bits = k.bit_length()
        for side in (-1, 1):
            product = ((2 * k + 1) << (24 - bits)) + side  # odd, times 2**(bits - 25)
            divisor = next((d for d in range(3, 4000, 2) if product % d == 0), None)
            if divisor is None:
                continue
            up = MULTIPLIER_BITS - divisor.bit_length()
            p = {"multiplier": divisor << up, "shift": up - bits + 2, "zero_point": 0}
            acc = product // divisor
            assert acc * p["multiplier"] * 2.0 ** -(23 + p["shift"]) == (
                k + 0.5 + side * 2.0 ** (bits - 25)
            )
            assert requantize(acc, **p) == k + (k & 1) == float_requantize(acc, **p), (k, side)
            assert requantize(-acc, **p) == -(k + (k & 1)), (k, side)
            assert requantize(acc, **p, odd=1) == k + (~k & 1), (k, side)
            tried += 1
    assert tried > 100


@settings(deadline=None)
@given(x=st.integers(-(1 << 24) + 1, (1 << 24) - 1), shift=st.integers(0, 31))
def test_multiplier_one_rounds_half_to_even(x, shift):
    # Python rounds fractions half to even, too.
    want = max(QMIN, min(QMAX, round(x / (1 << shift))))
    assert requantize(x, multiplier=MULTIPLIER_ONE, shift=shift, zero_point=0) == want


@pytest.mark.parametrize("shift", range(4, 13))
def test_multiplier_one_rounds_every_tie_to_even(shift):
    k = np.arange(-300, 300)
    ties = (k << shift) + (1 << (shift - 1))
    x = np.concatenate([ties - 1, ties, ties + 1])
    got = requantize(x, multiplier=MULTIPLIER_ONE, shift=shift, zero_point=0)
    assert np.array_equal(got, np.clip(np.rint(x / (1 << shift)), QMIN, QMAX))


@pytest.mark.parametrize("acc", [INT32_MIN, -1, 0, 1, INT32_MAX])
def test_multiplier_zero_gives_the_zero_point(acc):
    for odd in (0, 1):
        assert requantize(acc, multiplier=0, shift=0, zero_point=-7, odd=odd) == -7


def test_accumulators_saturate():
    limit = 1 << ACC_SATURATION_LOG2
    p = {"multiplier": MULTIPLIER_ONE, "shift": 20, "zero_point": 0}
    assert requantize(limit, **p) == requantize(INT32_MAX, **p) == 16
    assert requantize(-limit, **p) == requantize(INT32_MIN, **p) == -16


@pytest.mark.parametrize("zero_point", [QMIN, 0, QMAX])
def test_large_products_clamp(zero_point):
    p = {"multiplier": (1 << 24) - 1, "shift": 0, "zero_point": zero_point}
    assert requantize(INT32_MAX, **p) == QMAX
    assert requantize(INT32_MIN, **p) == QMIN


@given(x=st.integers(-(1 << 40), 1 << 40))
def test_wrap32_is_two_s_complement(x):
    assert wrap32(x) == int(np.array(x, np.int64).astype(np.int32))
    assert wrap32(np.array([x])).tolist() == [wrap32(x)]


def test_fronts_take_integers_and_arrays():
    table_a, table_b = list(range(0, 2560, 10)), np.arange(256, dtype=np.int64)
    assert add_front(-1, 3, table_a, table_b) == 2553
    assert add_front(np.array([-1]), np.array([-128]), table_b, table_b).tolist() == [383]
    assert mul_front(-128, 127, 127, -128) == -65025
    assert mul_front(np.array([5, -3]), 2, -1, 4).tolist() == [-12, 4]
