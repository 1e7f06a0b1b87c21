"""Elementwise sums as two tables and a shift.

The array computes ``round_half_even((table_a[a] + table_b[b]) * 2**-shift)``, clamped. For given
results that is a system of difference constraints on the 512 entries, which Bellman-Ford solves
or refutes exactly. Started at the real solution it settles after few sweeps.

Ref: ONNX Runtime 1.31.1, mlas/lib/intrinsics/avx2/qladd_avx2.cpp (MlasQLinearAddKernelAvx2Helper),
contrib_ops/cpu/quantization/qlinear_binary_op.cc; which products the compiler fused was found by
experiment (docs/numerics.md).
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from codegen.exact.reference import all_codes
from codegen.exact.requant import ProofError, ScaleError
from hw.spec.numerics import MULTIPLIER_ONE, QMAX, QMIN, add_front, requantize

__all__ = ["AddTables", "SHIFTS", "TABLE_LIMIT", "qlinear_add", "qlinear_add_tables"]

Int32 = npt.NDArray[np.int32]
Int64 = npt.NDArray[np.int64]
Float32 = npt.NDArray[np.float32]

SHIFTS = range(4, 13)
"""Shifts tried, in this order."""

TABLE_LIMIT = 1 << 23
"""Entries are smaller than this in magnitude, so that no sum saturates in the requantizer."""

_OPEN = 1 << 28
"""Bound where the result is clamped: no sum of entries can reach it."""

_SWEEPS = 513
"""Bellman-Ford over 512 nodes settles within this many sweeps or never."""

_SWEEPS_PER_CHECK = 8
"""How often to look for a proof that it never will; most solvable sums settle before."""


@dataclass(frozen=True, kw_only=True, eq=False)
class AddTables:
    """A proved sum: ``requantize(table_a[a] + table_b[b])`` with scale ``2**-shift``.

    Parameters
    ----------
    table_a, table_b : int32[256]
        Indexed by the raw byte of a storage code.
    shift : int
        4..12.
    """

    table_a: Int32
    table_b: Int32
    shift: int


def qlinear_add(
    a_scale: float,
    a_zero_point: int,
    b_scale: float,
    b_zero_point: int,
    y_scale: float,
    y_zero_point: int,
    *,
    unsigned: bool = False,
    a_is_scalar: bool = False,
) -> Int64:
    """Return QLinearAdd of all pairs of codes, as ONNX Runtime computes it with AVX2 and FMA.

    With ``ra = fl(a_scale / y_scale)`` and ``rb`` likewise, all in float32 ::

        fixed = fl(y_zero_point - fma(ra, a_zero_point, fl(rb * b_zero_point)))
        y     = clamp(rint(fma(a, ra, fma(b, rb, fixed))))

    Parameters
    ----------
    a_scale, a_zero_point, b_scale, b_zero_point, y_scale, y_zero_point
        As in the ONNX node.
    unsigned
        All three tensors are uint8, not int8.
    a_is_scalar
        The kernel sees the operands exchanged. ONNX Runtime does that where the first operand is
        one element for a whole run of the second: where its last dimension is broadcast, as in
        [C, 1, 1] + [C, H, W]. A broadcast second operand changes nothing. Not covered: runs of
        one element on both sides, that is, outputs of one element.

    Returns
    -------
    Storage codes, int64[256, 256], indexed by the raw bytes of the storage codes of a and b.
    """
    if a_is_scalar:
        return qlinear_add(
            b_scale, b_zero_point, a_scale, a_zero_point, y_scale, y_zero_point, unsigned=unsigned
        ).T
    ra, rb = _ratios(a_scale, b_scale, y_scale)
    inner = _fma(np.asarray(a_zero_point), ra, np.asarray(rb * np.float32(b_zero_point)))
    fixed = np.float32(y_zero_point) - inner
    codes = all_codes(unsigned=unsigned).astype(np.int64)
    sums = _fma(codes[:, None], ra, _fma(codes, rb, fixed)[None, :])
    low = 0 if unsigned else QMIN
    return np.clip(np.rint(sums), low, low + 255).astype(np.int64) + (QMIN - low)


def qlinear_add_tables(
    a_scale: float,
    a_zero_point: int,
    b_scale: float,
    b_zero_point: int,
    y_scale: float,
    y_zero_point: int,
    *,
    unsigned: bool = False,
    a_is_scalar: bool = False,
) -> AddTables:
    """Find the tables of a QLinearAdd, with the smallest shift possible.

    Parameters are those of :func:`qlinear_add`. A constant operand is not special.

    Returns
    -------
    Tables, verified with :func:`hw.spec.numerics.requantize` on all 65,536 pairs.

    Raises
    ------
    ScaleError
        A ratio of scales is not a positive finite float32.
    ProofError
        No tables of the permitted size are exact.
    """
    ra, rb = (float(r) for r in _ratios(a_scale, b_scale, y_scale))
    want = qlinear_add(
        a_scale, a_zero_point, b_scale, b_zero_point, y_scale, y_zero_point,
        unsigned=unsigned, a_is_scalar=a_is_scalar,
    )
    codes = all_codes(unsigned=unsigned).astype(np.float64)
    y_zero_stored = y_zero_point - (128 if unsigned else 0)
    start_a = (codes - a_zero_point) * ra + y_zero_stored / 2
    start_b = (codes - b_zero_point) * rb + y_zero_stored / 2
    for shift in SHIFTS:
        tables = _solve(want, shift, start_a, start_b)
        if tables is None:
            continue
        table_a, table_b = tables
        bytes_ = np.arange(256)
        sums = add_front(bytes_[:, None], bytes_, table_a.astype(np.int64), table_b)
        got = requantize(sums, multiplier=MULTIPLIER_ONE, shift=shift, zero_point=0)
        assert np.array_equal(got, want), "the solver and the contract must agree on rounding"
        return AddTables(table_a=table_a, table_b=table_b, shift=shift)
    raise ProofError(
        f"sum must have exact tables with a shift of {SHIFTS[0]}..{SHIFTS[-1]}, not the scales "
        f"{a_scale!r} + {b_scale!r} -> {y_scale!r}",
        scale=ra,
    )


def _solve(
    want: Int64, shift: int, start_a: npt.NDArray[np.float64], start_b: npt.NDArray[np.float64]
) -> tuple[Int32, Int32] | None:
    """Solve ``round_half_even((x[i] + y[j]) / 2**shift) == want[i, j]`` for integers.

    `start_a` and `start_b` are real solutions up to rounding. None if there is no solution, or
    none within TABLE_LIMIT was found.
    """
    one, half = 1 << shift, 1 << (shift - 1)
    # An even code owns the ties on both of its sides, an odd one none.
    lower = want * one - half + (want & 1)
    upper = want * one + half - (want & 1)
    # Both as bounds from above, on x - (-y) and on (-y) - x, contiguous along the minimum.
    up = np.where(want == QMAX, _OPEN, upper).astype(np.int32)
    down = np.ascontiguousarray(np.where(want == QMIN, _OPEN, -lower).astype(np.int32).T)
    limit = TABLE_LIMIT - 1
    x = np.clip(np.rint(start_a * one), -limit, limit).astype(np.int32)
    y = -np.clip(np.rint(start_b * one), -limit, limit).astype(np.int32)
    scratch = np.empty((256, 256), np.int32)
    for sweep in range(1, _SWEEPS + 1):
        new_x = np.minimum(x, np.add(up, y, out=scratch).min(axis=1))
        new_y = np.minimum(y, np.add(down, new_x, out=scratch).min(axis=1))
        if np.array_equal(new_x, x) and np.array_equal(new_y, y):
            if max(np.abs(x).max(), np.abs(y).max()) > limit:
                return None
            return x, -y
        x, y = new_x, new_y
        if sweep % _SWEEPS_PER_CHECK == 0 and _is_refuted(up, down, x, y):
            return None
    return None


def _is_refuted(up: Int32, down: Int32, x: Int32, y: Int32) -> bool:
    """Say whether the bounds that are tightest now contain a cycle of negative length.

    Such a cycle says ``x[i] <= x[i] - n`` and proves that there is no solution.
    """
    via = np.argmin(up + y, axis=1)  # the y that bounds each x
    back = np.argmin(down + x, axis=1)  # the x that bounds each y
    rows = np.arange(256)
    following = back[via].tolist()
    length = (up[rows, via] + down[via, back[via]]).tolist()
    visited_from = [-1] * 256
    for start in range(256):
        node = start
        while visited_from[node] < 0:
            visited_from[node] = start
            node = following[node]
        if visited_from[node] != start:
            continue  # ran into a walk that was followed before
        total, first = length[node], node
        while (node := following[node]) != first:
            total += length[node]
        if total < 0:
            return True
    return False


def _ratios(a_scale: float, b_scale: float, y_scale: float) -> tuple[np.float32, np.float32]:
    """Return ``fl(a_scale / y_scale)`` and ``fl(b_scale / y_scale)``."""
    with np.errstate(all="ignore"):
        ra = np.float32(a_scale) / np.float32(y_scale)
        rb = np.float32(b_scale) / np.float32(y_scale)
    for ratio in (ra, rb):
        if not (np.isfinite(ratio) and ratio > 0):
            raise ScaleError(
                f"ratio of an addend's scale to the sum's must be positive, not {float(ratio)!r}"
            )
    return ra, rb


def _fma(a: npt.NDArray[np.int64], b: np.float32, c: npt.ArrayLike) -> Float32:
    """Return ``fl(a * b + c)`` with one rounding; |a| <= 256, b and c float32.

    The product is exact in float64. The sum is rounded to odd there, which makes the second
    rounding, to float32, the only one that counts.
    """
    product = a * np.float64(b)
    addend = np.asarray(c, np.float64)
    total = np.asarray(product + addend)
    back = total - product
    error = (product - (total - back)) + (addend - back)
    even = (total.view(np.int64) & 1) == 0
    toward = np.where(error > 0, np.inf, -np.inf)
    odd = np.where((error != 0) & even, np.nextafter(total, toward), total)
    return odd.astype(np.float32)
