"""Requantization of whole tiles in float32, equal to hw.spec.numerics bit for bit."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from hw.spec import numerics

__all__ = ["requantize", "scale_of"]

_SATURATION = float(1 << numerics.ACC_SATURATION_LOG2)
#: Distance from a tie, in float32 products, beyond which rounding is not in doubt.
_TIE_BAND = 2.0 ** -15


def scale_of(multiplier: Any, shift: Any) -> NDArray[np.float32]:
    """Return ``multiplier * 2**-(23 + shift)``, which float32 represents exactly."""
    exponent = -(numerics.MULTIPLIER_BITS - 1) - np.asarray(shift, np.int32)
    return np.ldexp(np.asarray(multiplier, np.float32), exponent)


def requantize(acc: NDArray[np.int32], *, multiplier: Any, shift: Any, zero_point: int,
               odd: int) -> NDArray[np.int8]:
    """Compute :func:`hw.spec.numerics.requantize` of every element.

    Parameters
    ----------
    acc : int32[..., C]
        Accumulators, bias included.
    multiplier, shift : int or int64[C]
        Of each channel.
    zero_point, odd : int
        Of all.

    Notes
    -----
    Let ``a`` be the saturated accumulator and ``x = a * scale`` the exact product. Every ``a``
    is an integer of at most 2**24 and every scale has 24 significant bits and an exponent far
    from float32's limits, so both are float32 numbers and their float32 product ``r`` is ``x``
    rounded once. (Converting an accumulator above 2**24 may round it, but never below 2**24,
    where it then saturates.)

    The steps of the definition compare ``|x|`` with ``k + 1/2 - h`` or ``k + 1/2 + h``, where
    ``h`` is half a float32 ulp at ``k + 1/2``. For ``odd = 0`` that is how ``rint(r)`` rounds:
    ``|x|`` within ``h`` of the tie gives ``r = k + 1/2``, because its significand is even, and
    then the even neighbour; outside, ``r`` stays on the side of ``x``. Below 1/2 the ulp is
    smaller, but ``k = 0`` is even, so the whole zone and everything below it gives 0.

    For ``odd = 1`` only results near a tie differ. ``h <= 2**-16`` for ``k <= 256`` and ``r``
    is at most 2**-16 from ``x`` below 512, so a result whose ``r`` is more than 2**-15 from a tie
    is not near one; the others go through the definition itself. Above 512 all is clamped.
    """
    r = acc.astype(np.float32)
    np.clip(r, -_SATURATION, _SATURATION, out=r)
    r *= scale_of(multiplier, shift)
    result = np.rint(r)
    near = None
    if odd:
        near = np.flatnonzero(np.abs(np.abs(r - result) - np.float32(0.5)) <= _TIE_BAND)
    result += np.float32(zero_point)
    np.clip(result, numerics.QMIN, numerics.QMAX, out=result)
    codes = result.astype(np.int8)
    if near is not None and len(near):
        codes.flat[near] = numerics.requantize(
            acc.reshape(-1)[near].astype(np.int64),
            multiplier=np.broadcast_to(multiplier, acc.shape).reshape(-1)[near].astype(np.int64),
            shift=np.broadcast_to(shift, acc.shape).reshape(-1)[near].astype(np.int64),
            zero_point=zero_point, odd=odd)
    return codes
