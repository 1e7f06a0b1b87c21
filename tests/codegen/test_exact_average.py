"""Average pools as requantized sums; ONNX Runtime is the oracle."""

import itertools

import numpy as np
import pytest
from onnx import helper

from codegen.exact import average
from codegen.exact.average import (
    WindowError,
    average_pool,
    float_sum_bounds,
    global_average_pool,
)
from codegen.exact.reference import run_nodes, to_storage
from codegen.exact.requant import ProofError
from hw.spec.numerics import requantize


def parameters(seed, unsigned, spread=(-1, 0.5)):
    rng = np.random.default_rng([seed, unsigned])
    low = 0 if unsigned else -128
    xs = np.float32(2.0 ** rng.uniform(-7, 0))
    ys = np.float32(xs * 2.0 ** rng.uniform(*spread))
    xz, yz = (int(z) for z in rng.integers(low, low + 256, 2))
    return float(xs), xz, float(ys), yz


def run_pool(op, x, p, **attributes):
    """x: ONNX codes [1, C, H, W]; returns storage codes."""
    dtype = x.dtype.type
    constants = {"xs": np.float32(p[0]), "xz": dtype(p[1]), "ys": np.float32(p[2]),
                 "yz": dtype(p[3])}
    node = helper.make_node(op, ["x", *constants], ["y"], domain="com.microsoft", **attributes)
    [y] = run_nodes([node], [{"x": x}], "y", initializers=constants)
    return to_storage(y)


def windows(rng, channels, size, unsigned):
    """Codes [channels, size] whose sums cover the range, ends included."""
    low = 0 if unsigned else -128
    middle = rng.integers(low, low + 256, (channels, 1))
    width = rng.integers(0, 256, (channels, 1))
    codes = middle + np.rint(rng.uniform(-1, 1, (channels, size)) * width).astype(np.int64)
    codes[0], codes[1] = low, low + 255
    return np.clip(codes, low, low + 255).astype(np.uint8 if unsigned else np.int8)


def apply(proof, sums):
    return requantize(sums, multiplier=proof.multiplier, shift=proof.shift,
                      zero_point=proof.zero_point, odd=proof.odd)


@pytest.mark.parametrize("unsigned", [False, True])
def test_global_average_equals_onnx_runtime(unsigned):
    rng = np.random.default_rng(1)
    for seed in range(40):
        p = parameters(seed, unsigned, (-0.9, 0.5))
        rows, columns = (int(n) for n in rng.integers(1, 14, 2))
        proof = global_average_pool(*p, size=rows * columns, unsigned=unsigned)
        x = windows(rng, 400, rows * columns, unsigned)
        sums = (x.astype(np.int64) - p[1]).sum(axis=1)
        assert proof.lo[0] == sums.min()
        assert proof.hi[0] == sums.max()
        image = x.reshape(1, 400, rows, columns)
        want = run_pool("QLinearGlobalAveragePool", image, p).reshape(-1)
        assert np.array_equal(apply(proof, sums), want), p
        # A window as large as the image goes the same way.
        want = run_pool("QLinearAveragePool", image, p, kernel_shape=[rows, columns]).reshape(-1)
        assert np.array_equal(apply(proof, sums), want), p


@pytest.mark.parametrize("unsigned", [False, True])
@pytest.mark.parametrize("kernel", [(2, 2), (3, 3), (2, 3), (4, 4)])
def test_average_equals_onnx_runtime(kernel, unsigned):
    rng = np.random.default_rng(2)
    size, channels, proved = kernel[0] * kernel[1], 3000, 0
    for seed in range(10):
        p = parameters(seed, unsigned)
        try:
            proof = average_pool(*p, size=size, unsigned=unsigned)
        except ProofError:
            continue
        proved += 1
        x = windows(rng, 2 * channels, size, unsigned)
        # Two windows side by side: one alone would be a global average.
        image = x.reshape(channels, 2, *kernel).transpose(0, 2, 1, 3)
        image = np.ascontiguousarray(image.reshape(1, channels, kernel[0], 2 * kernel[1]))
        want = run_pool("QLinearAveragePool", image, p, kernel_shape=kernel, strides=kernel)
        sums = (x.astype(np.int64) - p[1]).sum(axis=1)
        assert np.array_equal(apply(proof, sums), want.reshape(-1)), p
    assert proved >= 7


@pytest.mark.parametrize("unsigned", [False, True])
def test_padding_that_counts_equals_onnx_runtime(unsigned):
    rng = np.random.default_rng(3)
    proved = 0
    for seed in range(8):
        p = parameters(seed, unsigned)
        try:
            proof = average_pool(*p, size=9, present=(4, 6), unsigned=unsigned)
        except ProofError:
            continue
        proved += 1
        x = windows(rng, 300, 64, unsigned).reshape(1, 300, 8, 8)
        want = run_pool("QLinearAveragePool", x, p, kernel_shape=[3, 3], pads=[1, 1, 1, 1],
                        count_include_pad=1)
        centred = np.pad(x.astype(np.int64) - p[1], ((0, 0), (0, 0), (1, 1), (1, 1)))
        sums = np.lib.stride_tricks.sliding_window_view(centred, (3, 3), (2, 3)).sum((-1, -2))
        assert np.array_equal(apply(proof, sums), want), p
    assert proved >= 5


def test_float_sum_bounds_equal_enumeration(monkeypatch):
    monkeypatch.setattr(average, "QMIN", -3)
    monkeypatch.setattr(average, "QMAX", 3)
    scale, zero_point = 0.1, 1
    for counts in ([4], [2, 4]):
        smallest, largest = float_sum_bounds(scale, zero_point, counts, unsigned=False)
        found = {}
        for n in counts:
            for codes in itertools.product(range(-3, 4), repeat=n):
                total = np.float32(0)
                for code in codes:
                    total = total + np.float32(code - zero_point) * np.float32(scale)
                found.setdefault(sum(codes) - n * zero_point, []).append(total)
        first = min(found)
        assert len(smallest) == max(found) - first + 1
        for s, totals in found.items():
            assert smallest[s - first] == min(totals)
            assert largest[s - first] == max(totals)


def test_every_sum_in_the_range_is_possible():
    smallest, largest = float_sum_bounds(0.5, -128, [1, 3], unsigned=False)
    assert len(smallest) == 3 * 255 + 1
    assert np.all(smallest <= largest)


def test_refuses_averages_that_depend_on_the_order():
    # Equal scales and 2x2: a quarter of the sums are ties, which rounding in float32 decides.
    with pytest.raises(ProofError) as error:
        average_pool(0.1, 0, 0.1, 0, size=4)
    e = error.value
    assert str(e).startswith(
        "average of 4 elements must depend on their integer sum alone, not be "
    )
    assert f"for the sum {e.acc}, depending on the order" in str(e)


def test_notices_a_wrong_formula(monkeypatch):
    right = average.ort_average

    def off(sums, *args, **kwargs):
        return np.where(np.abs(sums) < 0.3, 77, right(sums, *args, **kwargs))

    monkeypatch.setattr(average, "ort_average", off)
    with pytest.raises(ProofError, match="average of 4 elements must have an exact multiplier"):
        average_pool(0.25, 0, 0.25, 0, size=4)


def test_bounds_the_window():
    with pytest.raises(WindowError) as error:
        average_pool(0.1, 0, 0.1, 0, size=14 * 14 + 1)
    assert str(error.value) == "window must have 1..196 elements, not 197"
    with pytest.raises(ValueError, match=r"present must be numbers in 1..4, not \[5\]"):
        average_pool(0.1, 0, 0.1, 0, size=4, present=(5,))


def test_large_windows_are_analysed():
    proof = average_pool(0.25, -128, 0.25, -128, size=13 * 13)
    assert proof.hi[0] == 255 * 169
