"""Sums as tables; ONNX Runtime is the oracle."""

import time

import numpy as np
import pytest
from onnx import helper

from codegen.exact import add
from codegen.exact.add import SHIFTS, TABLE_LIMIT, qlinear_add, qlinear_add_tables
from codegen.exact.reference import all_codes, run_nodes, to_storage
from codegen.exact.requant import ProofError, ScaleError
from hw.spec.numerics import MULTIPLIER_ONE, add_front, requantize

KINDS = ["random", "residual", "equal", "ties", "wide"]


def parameters(kind, seed, unsigned):
    rng = np.random.default_rng([seed, KINDS.index(kind), unsigned])
    low = 0 if unsigned else -128
    za, zb, zy = (int(z) for z in rng.integers(low, low + 256, 3))
    sa, sb = 2.0 ** rng.uniform(-7, 0, 2)
    sy = (sa + sb) * 2.0 ** rng.uniform(-1, 0.5)
    if kind == "residual":
        za = zb = zy = low
    elif kind == "equal":
        sb, sy = sa, sa * 2.0 ** rng.uniform(-1, 1)
    elif kind == "ties":
        sa = sb = 2.0**-4
        sy = 2.0**-4 * rng.choice([0.5, 1, 2, 4])
    elif kind == "wide":
        sa, sb, sy = 2.0 ** rng.uniform(-9, 0, 3)
    return float(np.float32(sa)), za, float(np.float32(sb)), zb, float(np.float32(sy)), zy


def run_add(p, unsigned, a_shape, b_shape, exchanged=False):
    """All pairs in ONNX Runtime: storage codes [256, 256] by storage bytes of (a, b)."""
    dtype = np.uint8 if unsigned else np.int8
    names = ["as", "az", "bs", "bz", "ys", "yz"]
    constants = {n: (dtype if n[1] == "z" else np.float32)(v) for n, v in zip(names, p)}
    inputs = ["a", "as", "az", "b", "bs", "bz", "ys", "yz"]
    node = helper.make_node("QLinearAdd", inputs, ["y"], domain="com.microsoft")
    codes = all_codes(unsigned=unsigned)
    a = np.repeat(codes, 256) if np.prod(a_shape) > 256 else codes
    b = np.tile(codes, 256) if np.prod(b_shape) > 256 else codes
    if exchanged:  # b is broadcast along the last dimension, so a runs fastest
        a = np.tile(codes, 256)
    feed = {"a": a.reshape(a_shape), "b": b.reshape(b_shape)}
    [y] = run_nodes([node], [feed], "y", initializers=constants)
    y = to_storage(y).reshape(256, 256)
    return y.T if exchanged else y


@pytest.mark.parametrize("unsigned", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_formula_equals_onnx_runtime(kind, unsigned):
    for seed in range(25):
        p = parameters(kind, seed, unsigned)
        want = qlinear_add(*p, unsigned=unsigned)
        assert np.array_equal(want, run_add(p, unsigned, [65536], [65536])), p
        # Broadcast rows change nothing: both operands are vectors.
        assert np.array_equal(want, run_add(p, unsigned, [256, 256], [256])), p
        # A second operand that is one element per run changes nothing.
        got = run_add(p, unsigned, [1, 256, 256], [1, 256, 1], exchanged=True)
        assert np.array_equal(want, got), p
        # A first operand that is one element per run does.
        want = qlinear_add(*p, unsigned=unsigned, a_is_scalar=True)
        assert np.array_equal(want, run_add(p, unsigned, [1, 256, 1], [1, 256, 256])), p


def test_scalar_first_operand_matters():
    # If this never differed, the parameter would be untested.
    differing = 0
    for seed in range(60):
        p = parameters("random", seed, False)
        differing += np.any(qlinear_add(*p) != qlinear_add(*p, a_is_scalar=True))
    assert differing > 0


@pytest.mark.parametrize("unsigned", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_tables_are_exact(kind, unsigned):
    for seed in range(10):
        p = parameters(kind, seed, unsigned)
        tables = qlinear_add_tables(*p, unsigned=unsigned, a_is_scalar=bool(seed % 2))
        assert tables.table_a.dtype == tables.table_b.dtype == np.int32
        assert max(np.abs(tables.table_a).max(), np.abs(tables.table_b).max()) < TABLE_LIMIT
        assert tables.shift in SHIFTS
        # With plain integers, as the contract is written.
        la, lb = tables.table_a.tolist(), tables.table_b.tolist()
        want = qlinear_add(*p, unsigned=unsigned, a_is_scalar=bool(seed % 2))
        rng = np.random.default_rng(seed)
        for a, b in rng.integers(-128, 128, (200, 2)).tolist():
            x = add_front(a, b, la, lb)
            y = requantize(x, multiplier=MULTIPLIER_ONE, shift=tables.shift, zero_point=0)
            assert y == want[a & 255, b & 255], (p, a, b)


def test_smallest_shift_is_chosen():
    p = parameters("random", 1, False)
    shift = qlinear_add_tables(*p).shift
    assert shift > SHIFTS[0]
    want = qlinear_add(*p)
    zeros = np.zeros(256)
    # From an arbitrary start: nothing but the constraints decides.
    assert add._solve(want, shift - 1, zeros, zeros) is None
    assert add._solve(want, shift, zeros, zeros) is not None


def test_is_fast_enough():
    start = time.process_time()
    for seed in range(18):
        qlinear_add_tables(*parameters("random", seed, False))
    assert time.process_time() - start < 18 * 0.1


def test_refuses_what_is_not_a_sum(monkeypatch):
    def product(*_, **__):
        codes = all_codes(unsigned=False).astype(np.int64)
        return np.clip(np.multiply.outer(codes, codes) // 64, -128, 127)

    monkeypatch.setattr(add, "qlinear_add", product)
    with pytest.raises(ProofError) as error:
        qlinear_add_tables(0.5, 0, 0.25, 0, 0.5, 0)
    assert str(error.value) == (
        "sum must have exact tables with a shift of 4..12, not the scales 0.5 + 0.25 -> 0.5"
    )


def test_notices_one_wrong_pair(monkeypatch):
    right = add.qlinear_add

    def off(*args, **kwargs):
        codes = right(*args, **kwargs)
        codes[10, 20] += 1
        return codes

    monkeypatch.setattr(add, "qlinear_add", off)
    with pytest.raises(ProofError):
        qlinear_add_tables(2.0**-4, 0, 2.0**-4, 0, 2.0**-3, 0)


def test_refuses_ratios_that_are_not_finite():
    with pytest.raises(ScaleError) as error:
        qlinear_add_tables(1e30, 0, 1.0, 0, 1e-30, 0)
    assert str(error.value) == (
        "ratio of an addend's scale to the sum's must be positive, not inf"
    )
