"""Scales of requantizations: how ONNX Runtime computes them, how the array stores them.

Ref: ONNX Runtime 1.31.1, core/providers/cpu/quantization/qlinearconv.cc.
"""

import numpy as np
import numpy.typing as npt

from codegen.errors import CodegenError
from hw.spec.numerics import MULTIPLIER_BITS, MULTIPLIER_ONE, SHIFT_BITS

__all__ = ["ScaleError", "conv_scale", "split_scale"]

Float32 = npt.NDArray[np.float32]
Int64 = npt.NDArray[np.int64]

_EXPONENT_ONE = 127
"""Biased exponent of 1.0 in float32."""


class ScaleError(CodegenError, ValueError):
    """A scale is not a positive normal float32 below 2."""


def conv_scale(
    x_scale: npt.ArrayLike, w_scale: npt.ArrayLike, y_scale: npt.ArrayLike
) -> Float32:
    """Return the factor QLinearConv multiplies accumulators with.

    Returns
    -------
    ``float32``, broadcast: ``fl(fl(x_scale * w_scale) / y_scale)``. Overflow gives infinity,
    which :func:`split_scale` refuses.
    """
    with np.errstate(all="ignore"):
        product = np.asarray(x_scale, np.float32) * np.asarray(w_scale, np.float32)
        return np.asarray(product / np.asarray(y_scale, np.float32), np.float32)


def split_scale(scale: npt.ArrayLike) -> tuple[Int64, Int64]:
    """Split float32 scales into the array's multiplier and shift, exactly.

    Returns
    -------
    multiplier, shift : int64, shaped like `scale`
        ``scale == multiplier * 2**-(23 + shift)``; the multiplier is ``2**23..2**24 - 1``, the
        shift ``0..31``. Scales below ``2**-31`` give (0, 0).

    Raises
    ------
    ScaleError
        A scale is not a positive normal float32 below 2.
    """
    scale = np.asarray(scale, np.float32)
    bits = scale.view(np.uint32).astype(np.int64)
    exponent = bits >> (MULTIPLIER_BITS - 1)  # with the sign above: a negative one is > 254
    bad = (exponent < 1) | (exponent > _EXPONENT_ONE)
    if np.any(bad):
        channel = int(np.argmax(bad))
        raise ScaleError(
            f"scale of channel {channel} must be a positive normal float32 below 2, "
            f"not {float(scale.reshape(-1)[channel])!r}"
        )
    shift = _EXPONENT_ONE - exponent
    small = shift >= 1 << SHIFT_BITS
    multiplier = (bits & (MULTIPLIER_ONE - 1)) | MULTIPLIER_ONE
    return np.where(small, 0, multiplier), np.where(small, 0, shift)
