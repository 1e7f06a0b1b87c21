"""Products as one requantization; ONNX Runtime is the oracle."""

import numpy as np
import pytest
from onnx import helper

from codegen.exact import mul
from codegen.exact.mul import ort_mul, qlinear_mul
from codegen.exact.reference import all_codes, run_nodes, to_storage
from codegen.exact.requant import ProofError, ScaleError
from hw.spec.numerics import mul_front, requantize


def parameters(seed, unsigned, ties):
    rng = np.random.default_rng([seed, unsigned, ties])
    low = 0 if unsigned else -128
    za, zb, zy = (int(z) for z in rng.integers(low, low + 256, 3))
    sa, sb = np.float32(2.0 ** rng.uniform(-7, 0, 2))
    sy = np.float32(sa * sb * 2.0 ** rng.uniform(5, 9))
    if ties:
        sa = sb = np.float32(2.0**-4)
        sy = np.float32(2.0 ** -int(rng.integers(0, 4)))
    return float(sa), za, float(sb), zb, float(sy), zy


def run_mul(p, unsigned, a_shape=(65536,), b_shape=(65536,)):
    dtype = np.uint8 if unsigned else np.int8
    names = ["as", "az", "bs", "bz", "ys", "yz"]
    constants = {n: (dtype if n[1] == "z" else np.float32)(v) for n, v in zip(names, p)}
    inputs = ["a", "as", "az", "b", "bs", "bz", "ys", "yz"]
    node = helper.make_node("QLinearMul", inputs, ["y"], domain="com.microsoft")
    codes = all_codes(unsigned=unsigned)
    a = (np.repeat(codes, 256) if len(a_shape) == 1 else codes).reshape(a_shape)
    b = np.tile(codes, 256).reshape(b_shape)
    [y] = run_nodes([node], [{"a": a, "b": b}], "y", initializers=constants)
    return to_storage(y).reshape(256, 256)


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("unsigned", [False, True])
def test_products_equal_onnx_runtime(unsigned, ties):
    proved = 0
    stored = np.arange(256, dtype=np.uint8).view(np.int8).astype(np.int64)
    for seed in range(60):
        p = parameters(seed, unsigned, ties)
        want = run_mul(p, unsigned)
        offset = 128 if unsigned else 0
        products = mul_front(stored[:, None], stored, p[1] - offset, p[3] - offset)
        formula = ort_mul(products, np.float32(p[0]) * np.float32(p[2]) / np.float32(p[4]), p[5],
                          unsigned=unsigned)
        assert np.array_equal(formula, want), p
        assert np.array_equal(run_mul(p, unsigned, (256, 1), (256, 256)), want), p
        try:
            fit = qlinear_mul(*p, unsigned=unsigned)
        except ProofError:
            continue
        proved += 1
        got = requantize(products, multiplier=fit.multiplier, shift=fit.shift,
                         zero_point=fit.zero_point, odd=fit.odd)
        assert np.array_equal(got, want), p
        if ties:
            assert fit.odd == p[5] & 1
    assert proved >= (60 if ties else 57)


def test_refuses_a_product_without_exact_multiplier():
    # -299 and 299 give -2.499997 and 2.499997: below a tie, by less than half an ulp of 81.5. So
    # float32 rounds away from the zero point, on both sides, and the multiplier would have to
    # grow by more than other products permit.
    with pytest.raises(ProofError) as error:
        qlinear_mul(0.008361193351447582, 67, 1.0, -18, 1.0, 79)
    assert str(error.value) == (
        "product must have an exact multiplier, not the scales 0.008361193351447582 * 1.0 -> 1.0 "
        "with zero points 67, -18, 79"
    )


def test_notices_a_wrong_formula(monkeypatch):
    def truncated(product, ratio, y_zero_point, *, unsigned):
        return np.clip(np.trunc(product * ratio) + y_zero_point, -128, 127).astype(np.int64)

    monkeypatch.setattr(mul, "ort_mul", truncated)
    with pytest.raises(ProofError):
        qlinear_mul(2.0**-4, 0, 2.0**-4, 0, 2.0**-2, 0)


def test_refuses_scales_of_two_and_more():
    with pytest.raises(ScaleError, match="below 2, not 4.0"):
        qlinear_mul(2.0, 0, 2.0, 0, 1.0, 0)
