"""Elementwise products as a requantized integer product.

The array computes ``requantize((a - a_zero_point) * (b - b_zero_point))``.

Ref: ONNX Runtime 1.31.1, mlas/lib/qlmul.cpp, MlasQLinearMulVectorS16.
"""

import numpy as np
import numpy.typing as npt

from codegen.exact.reference import all_codes
from codegen.exact.requant import ProofError, StepFit, conv_scale, fit_step

__all__ = ["ort_mul", "qlinear_mul"]

Int64 = npt.NDArray[np.int64]


def ort_mul(product: Int64, ratio: np.float32, y_zero_point: int, *, unsigned: bool) -> Int64:
    """Requantize integer products as ONNX Runtime does; returns storage codes.

    ``clamp(rint(fl(fl(product * ratio) + y_zero_point)))``: unlike in a convolution the zero
    point, the one of the ONNX type, is added before rounding.
    """
    low = 0 if unsigned else -128
    value = product.astype(np.float32) * ratio + np.float32(y_zero_point)
    return np.asarray(np.clip(np.rint(value), low, low + 255).astype(np.int64) - (low + 128))


def qlinear_mul(
    a_scale: float,
    a_zero_point: int,
    b_scale: float,
    b_zero_point: int,
    y_scale: float,
    y_zero_point: int,
    *,
    unsigned: bool = False,
) -> StepFit:
    """Find the requantization of a QLinearMul and prove it on all 65,536 pairs of codes.

    Parameters
    ----------
    a_scale, a_zero_point, b_scale, b_zero_point, y_scale, y_zero_point
        As in the ONNX node.
    unsigned
        All three tensors are uint8, not int8.

    Returns
    -------
    Parameters for :func:`hw.spec.numerics.requantize`; its zero point is in the storage domain.
    The product is that of :func:`hw.spec.numerics.mul_front`.

    Raises
    ------
    ScaleError
        ``fl(fl(a_scale * b_scale) / y_scale)`` is not a positive normal float32 below 2.
    ProofError
        No multiplier is exact for all products.
    """
    codes = all_codes(unsigned=unsigned).astype(np.int64)
    products = np.unique(np.multiply.outer(codes - a_zero_point, codes - b_zero_point))
    ratio = np.float32(conv_scale(a_scale, b_scale, y_scale))
    fit = fit_step(
        lambda product: ort_mul(product, ratio, y_zero_point, unsigned=unsigned),
        products,
        scale=float(ratio),
        zero_point=y_zero_point - (128 if unsigned else 0),
    )
    if fit is None:
        raise ProofError(
            f"product must have an exact multiplier, not the scales {a_scale!r} * {b_scale!r} -> "
            f"{y_scale!r} with zero points {a_zero_point}, {b_zero_point}, {y_zero_point}",
            scale=float(ratio),
        )
    return fit
