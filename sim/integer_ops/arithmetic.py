"""The fp32 steps around integer sums, in the order ONNX Runtime's x86-64 kernels take them.

``fl`` is rounding to float32, to nearest, ties to even: every NumPy operation on float32 below is
one such rounding. Integer sums are exact, whatever computes them.

Ref: docs/numerics.md; ONNX Runtime 1.31.1, mlas/lib/quantize.cpp (MlasQuantizeLinear,
MlasRequantizeOutput), mlas/lib/intrinsics/avx2/qladd_avx2.cpp.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from sim.integer_ops.call import Tensor

__all__ = ["all_codes", "dequantize", "exact_float", "fused_multiply_add", "look_up", "quantize",
           "requantize", "saturate"]

F32 = np.float32


def quantize(x: Tensor, scale: Any, zero_point: Any, dtype: npt.DTypeLike) -> Tensor:
    """Quantize float32 values.

    ``zp + rint(clamp(fl(x / scale), qmin - zp, qmax - zp))``, with a true division.

    Parameters
    ----------
    x
        float32 array.
    scale, zero_point
        Numbers, or arrays that broadcast against ``x``.
    dtype
        int8 or uint8.
    """
    limits = np.iinfo(dtype)
    zero = np.asarray(zero_point, np.int32)
    with np.errstate(over="ignore"):
        scaled = np.asarray(x, F32) / np.asarray(scale, F32)
    return _round(scaled, zero, limits, dtype)


def requantize(accumulators: Tensor, scale: Any, zero_point: Any, dtype: npt.DTypeLike) -> Tensor:
    """Scale int32 accumulators to codes.

    ``zp + rint(clamp(fl(fl(acc) * scale), qmin - zp, qmax - zp))``. Accumulators outside of int32
    wrap, as they do in the kernels.
    """
    limits = np.iinfo(dtype)
    wrapped = accumulators.astype(np.int32)
    with np.errstate(over="ignore"):
        scaled = wrapped.astype(F32) * np.asarray(scale, F32)
    return _round(scaled, np.asarray(zero_point, np.int32), limits, dtype)


def _round(x: Tensor, zero: Tensor, limits: "np.iinfo[Any]", dtype: npt.DTypeLike) -> Tensor:
    low, high = (limits.min - zero).astype(F32), (limits.max - zero).astype(F32)
    rounded = np.rint(np.minimum(np.maximum(x, low), high)).astype(np.int32)
    return np.asarray(rounded + zero).astype(dtype)


def saturate(x: Tensor, dtype: npt.DTypeLike) -> Tensor:
    """Round float32 values that already contain the zero point, ties to even, and clamp."""
    limits = np.iinfo(dtype)
    return np.clip(np.rint(x), limits.min, limits.max).astype(dtype)


def dequantize(codes: Tensor, scale: Any, zero_point: Any) -> Tensor:
    """Return ``fl((q - zp) * scale)``, float32."""
    difference = codes.astype(np.int32) - np.asarray(zero_point, np.int32)
    return np.asarray(difference.astype(F32) * np.asarray(scale, F32))


def all_codes(dtype: npt.DTypeLike) -> Tensor:
    """All 256 codes in the order of a lookup table: entry ``i`` is the code whose byte is ``i``."""
    return np.arange(256, dtype=np.uint8).view(dtype)


def look_up(table: Tensor, codes: Tensor) -> Tensor:
    """Replace each code by the entry of its byte in ``table``, [256]."""
    return table[np.ascontiguousarray(codes).view(np.uint8)].reshape(codes.shape)


def fused_multiply_add(a: Any, b: Any, c: Any) -> Tensor:
    """Return ``fl(a * b + c)`` with one rounding.

    Parameters
    ----------
    a
        Integers, at most 24 bits; so that ``a * b`` is exact in float64.
    b, c
        float32.

    Notes
    -----
    The float64 sum may be inexact and its second rounding, to float32, would then be wrong next to
    a tie. It is therefore rounded to odd first: if inexact and the last bit is 0, one step towards
    the exact sum. The error comes from Knuth's TwoSum.
    """
    product = np.asarray(a, np.float64) * np.asarray(b, np.float64)
    addend = np.asarray(c, np.float64)
    total = np.asarray(product + addend)
    part = total - product
    error = (product - (total - part)) + (addend - part)
    even = (total.view(np.int64) & 1) == 0
    odd = np.nextafter(total, np.where(error > 0, np.inf, -np.inf))
    return np.asarray(np.where((error != 0) & even, odd, total)).astype(F32)


def exact_float(bound: int) -> "np.dtype[Any]":
    """Return the float type in which integer sums of magnitudes up to ``bound`` are exact."""
    assert bound < 2**53, f"sum of products may reach {bound}, which no float holds exactly"
    return np.dtype(np.float32 if bound < 2**24 else np.float64)
