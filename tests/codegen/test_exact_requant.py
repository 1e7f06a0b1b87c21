"""Scales, bounds and proofs of requantization; ONNX Runtime is the oracle."""

import time

import numpy as np
import pytest
from onnx import helper

from codegen.errors import CodegenError
from codegen.exact import requant
from codegen.exact.reference import run_nodes, to_storage
from codegen.exact.requant import (
    ProofError,
    ScaleError,
    accumulator_bounds,
    certify,
    conv_scale,
    fit_step,
    ort_requantize,
    split_scale,
)
from hw.spec.numerics import INT32_MAX, INT32_MIN, MULTIPLIER_ONE, requantize


def run_conv(acc, x_scale, w_scale, y_scale, y_zero_point, unsigned):
    """Let QLinearConv requantize accumulators: one channel each, zero weights, a bias."""
    dtype = np.uint8 if unsigned else np.int8
    constants = {
        "xs": np.float32(x_scale), "xz": dtype(3),
        "w": np.zeros((len(acc), 1, 1, 1), np.int8),
        "ws": np.broadcast_to(np.float32(w_scale), len(acc)).copy(),
        "wz": np.zeros(len(acc), np.int8),
        "ys": np.float32(y_scale), "yz": dtype(y_zero_point + (128 if unsigned else 0)),
        "b": acc.astype(np.int32),
    }
    node = helper.make_node("QLinearConv", ["x", *constants], ["y"])
    feed = {"x": np.full((1, 1, 1, 1), 3, dtype)}
    [y] = run_nodes([node], [feed], "y", initializers=constants)
    return to_storage(y).reshape(-1)


@pytest.mark.parametrize("unsigned", [False, True])
def test_certificates_hold_in_onnx_runtime(unsigned):
    rng = np.random.default_rng(3)
    for _ in range(30):
        xs, ys = (np.float32(2.0 ** rng.uniform(-8, 0)) for _ in range(2))
        ws = np.float32(2.0 ** rng.uniform(-9, -2))
        if rng.random() < 0.3:
            xs, ws, ys = (np.float32(2.0**-e) for e in (4, rng.integers(2, 7), 3))
        zp = int(rng.integers(-128, 128))
        scale = conv_scale(xs, ws, ys)
        reach = int(rng.integers(100, 12_000_000))
        proof = certify(scale, zp, -reach, reach)
        points = requant._step_points(proof.scale, zp, proof.lo, proof.hi)[0]
        points = np.concatenate([points, rng.integers(-reach, reach, 100)])
        got = requantize(points, multiplier=int(proof.multiplier[0]), shift=int(proof.shift[0]),
                         zero_point=zp)
        assert np.array_equal(got, run_conv(points, xs, ws, ys, zp, unsigned))
        assert np.array_equal(got, ort_requantize(points, scale, zp))


def test_certifies_a_large_network_in_time():
    rng = np.random.default_rng(4)
    n = 3614
    scale = (2.0 ** rng.uniform(-15.9, 0.9, n)).astype(np.float32)
    start = time.process_time()
    proof = certify(scale, -128, np.full(n, INT32_MIN), np.full(n, INT32_MAX))
    assert time.process_time() - start < 1.5
    assert proof.channels == n
    assert proof.points == n * 512
    assert proof.adjusted == ()
    assert np.array_equal(proof.multiplier * 2.0 ** -(23 + proof.shift), scale)


def test_proof_covers_all_accumulators_of_small_intervals():
    rng = np.random.default_rng(5)
    for _ in range(20):
        scale = np.float32(2.0 ** rng.uniform(-12, 0.9))
        lo = int(rng.integers(-70_000, 60_000))
        hi = lo + int(rng.integers(0, 60_000))
        zp = int(rng.integers(-128, 128))
        proof = certify(scale, zp, lo, hi)
        acc = np.arange(lo, hi + 1)
        got = requantize(acc, multiplier=proof.multiplier, shift=proof.shift, zero_point=zp)
        assert np.array_equal(got, ort_requantize(acc, scale, zp))


def test_report_counts():
    report = certify(np.float32([0.5, 0.25]), 0, [-10, -20], [10, 30]).report()
    assert report == {
        "proved": "equal to ONNX Runtime for every accumulator in the interval",
        "channels": 2, "points": 1024, "accumulators": 21 + 51, "lo": -20, "hi": 30, "odd": 0,
        "adjusted_channels": [],
    }


def test_broadcast_repeats_one_channel():
    proof = certify(0.5, 0, -10, 10).broadcast(3)
    assert proof.channels == 3
    assert proof.multiplier.tolist() == [MULTIPLIER_ONE] * 3
    assert proof.shift.tolist() == [1] * 3
    with pytest.raises(ValueError, match="must have 1 channel, not 3"):
        proof.broadcast(2)


def test_names_the_counter_example_where_no_multiplier_is_exact():
    # Accumulators beyond 2**24 with a scale below 2**-16: the saturated datapath cannot know.
    scale = np.float32(2.0**-18)
    with pytest.raises(ProofError) as error:
        certify([0.5, scale], 0, [0, 0], [10, 1 << 26])
    e = error.value
    assert str(e) == (
        f"channel 1 must requantize every accumulator in 0..67108864 as ONNX Runtime does, not "
        f"{e.acc} with scale 3.814697265625e-06 to 64 instead of 65"
    )
    assert (e.channel, e.scale, e.expected, e.got) == (1, float(scale), 65, 64)
    assert ort_requantize(e.acc, scale, 0) == 65
    assert isinstance(e, CodegenError)


def test_notices_a_wrong_multiplier(monkeypatch):
    def off(scale):
        multiplier, shift = split_scale(scale)
        return multiplier + 3000, shift

    scale, lo, hi = np.float32(0.003), -100_000, 100_000
    monkeypatch.setattr(requant, "split_scale", off)
    proof = certify(scale, 5, lo, hi)
    assert proof.adjusted == (0,)
    acc = np.arange(lo, hi + 1)
    got = requantize(acc, multiplier=proof.multiplier, shift=proof.shift, zero_point=5)
    assert np.array_equal(got, ort_requantize(acc, scale, 5))
    monkeypatch.setattr(requant, "nearest_multiplier", lambda *_, **__: None)
    with pytest.raises(ProofError, match=r"channel 0 must requantize every accumulator"):
        certify(scale, 5, lo, hi)


def test_notices_a_wrong_rounding_rule(monkeypatch):
    def half_up(acc, *, multiplier, shift, zero_point, odd=0):
        bits = 23 + shift
        return np.clip((acc * multiplier + (1 << (bits - 1)) >> bits) + zero_point, -128, 127)

    monkeypatch.setattr(requant, "requantize", half_up)
    with pytest.raises(ProofError):
        certify(0.5, 0, -100, 100)


def test_refuses_accumulators_beyond_int32():
    with pytest.raises(ProofError) as error:
        certify([0.5, 0.5], 0, [0, 0], [1, 1 << 31])
    assert str(error.value) == "accumulator of channel 1 must fit int32, not reach 0..2147483648"


def test_split_scale_is_exact():
    rng = np.random.default_rng(6)
    scale = (2.0 ** rng.uniform(-31, 1, 1000)).astype(np.float32)
    scale = np.concatenate([scale, np.float32([2.0**-31, 1, np.nextafter(np.float32(2), 0)])])
    multiplier, shift = split_scale(scale)
    assert np.array_equal(np.ldexp(multiplier, -(23 + shift)).astype(np.float32), scale)
    assert multiplier.min() >= MULTIPLIER_ONE
    assert multiplier.max() < 1 << 24
    assert shift.min() >= 0
    assert shift.max() <= 31


def test_split_scale_rounds_tiny_scales_to_zero():
    multiplier, shift = split_scale(np.float32([2.0**-32, 2.0**-126]))
    assert multiplier.tolist() == [0, 0]
    assert shift.tolist() == [0, 0]


@pytest.mark.parametrize("scale", [2.0, -0.5, 0.0, 1e-45, np.inf, np.nan, -np.inf])
def test_split_scale_refuses(scale):
    with pytest.raises(ScaleError) as error:
        split_scale(np.float32([0.5, scale]))
    assert str(error.value) == (
        "scale of channel 1 must be a positive normal float32 below 2, "
        f"not {float(np.float32(scale))!r}"
    )
    assert isinstance(error.value, ValueError)


def test_conv_scale_multiplies_first_in_float32():
    x, w, y = np.float32(0.1), np.float32([0.3, 0.7]), np.float32(0.9)
    assert conv_scale(x, w, y).tolist() == [float(x * w[0] / y), float(x * w[1] / y)]
    assert conv_scale(x, w, y).dtype == np.float32


def test_bounds_are_attained_and_cover_partial_sums():
    rng = np.random.default_rng(7)
    for _ in range(20):
        weights = rng.integers(-255, 256, (4, 3, 2)).astype(np.int16)
        bias = rng.integers(-5000, 5000, 4)
        zp = int(rng.integers(-128, 128))
        bounds = accumulator_bounds(weights, bias, zp)
        w = weights.reshape(4, -1).astype(np.int64)
        for channel in range(4):
            extremes = [
                bias[channel] + (np.where(w[channel] > 0, hi, lo) - zp) @ w[channel]
                for lo, hi in ((127, -128), (-128, 127))
            ]
            assert extremes == [bounds.lo[channel], bounds.hi[channel]]
            x = rng.choice([-128, 127, zp], 6)
            order = rng.permutation(6)
            folded = bias[channel] - zp * w[channel].sum()
            for first, terms in ((bias[channel], (x - zp) * w[channel]), (folded, x * w[channel])):
                for steps in ([first, *terms[order]], [*terms[order], first]):
                    partial = np.cumsum(steps)
                    assert partial.min() >= bounds.partial_lo[channel]
                    assert partial.max() <= bounds.partial_hi[channel]


def test_bounds_check_int32():
    weights = np.full((1, 1), 255, np.int16)
    assert accumulator_bounds(weights, [INT32_MAX - 255 * 255], -128).fits_int32
    assert not accumulator_bounds(weights, [INT32_MAX - 255 * 255 + 1], -128).fits_int32


def test_fit_step_finds_perturbed_multipliers():
    # A step function of a slope slightly off the guess, with odd ties.
    points = np.arange(-3000, 3001)

    def reference(acc):
        return requantize(acc, multiplier=9_000_000, shift=4, zero_point=7, odd=1)

    fit = fit_step(reference, points, scale=8_999_000 * 2.0**-27, zero_point=7)
    assert fit is not None
    got = requantize(points, multiplier=fit.multiplier, shift=fit.shift, zero_point=7, odd=fit.odd)
    assert np.array_equal(got, reference(points))


def test_fit_step_renormalizes_across_powers_of_two():
    points = np.arange(-(1 << 20), 1 << 20, 37)
    for true, guess in ((1.0000001, 0.9999999), (0.9999999, 1.0000001)):
        reference = np.clip(np.rint(points * (2.0**-12 * true)), -128, 127).astype(np.int64)
        fit = fit_step(lambda _, r=reference: r, points, scale=2.0**-12 * guess, zero_point=0)
        assert fit is not None


def test_fit_step_gives_up():
    points = np.arange(-100, 101)
    assert fit_step(lambda acc: -acc, points, scale=0.5, zero_point=0) is None
    assert fit_step(lambda acc: np.where(acc > 3, 90, 0), points, scale=0.5, zero_point=0) is None
    with pytest.raises(ValueError, match="sorted"):
        fit_step(lambda acc: acc, [3, 2], scale=0.5, zero_point=0)
