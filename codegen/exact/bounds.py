"""Reach of accumulators, from the weights alone."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from hw.spec.numerics import INT32_MAX, INT32_MIN, QMAX, QMIN

__all__ = ["Bounds", "accumulator_bounds"]

Int64 = npt.NDArray[np.int64]


@dataclass(frozen=True, kw_only=True, eq=False)
class Bounds:
    """Reach of an accumulator, per output channel.

    Parameters
    ----------
    lo, hi : int64[OC]
        Smallest and largest final accumulator. Both are attained by some input.
    partial_lo, partial_hi : int64[OC]
        Bounds of every intermediate sum: any terms in any order, zero point subtracted from the
        input or folded into the bias, bias first or last. They include `lo` and `hi`.
    """

    lo: Int64
    hi: Int64
    partial_lo: Int64
    partial_hi: Int64

    @property
    def fits_int32(self) -> bool:
        """No intermediate sum of any channel leaves int32."""
        return bool(
            np.all(self.partial_lo >= INT32_MIN) and np.all(self.partial_hi <= INT32_MAX)
        )


def accumulator_bounds(
    weights: npt.NDArray[np.int16],
    bias: npt.ArrayLike | None,
    x_zero_point: int,
    *,
    x_lo: int = QMIN,
    x_hi: int = QMAX,
) -> Bounds:
    """Bound the accumulators ``bias + sum((x - x_zero_point) * weights)`` exactly.

    Parameters
    ----------
    weights : int16[OC, ...]
        Zero point subtracted.
    bias : int[OC] or None
        In accumulator units; None is zero.
    x_zero_point : int
        Storage domain; also what padding contributes.
    x_lo, x_hi : int
        Range of the input's storage codes. It must contain `x_zero_point`, so that padding is
        a value like every other.
    """
    if not x_lo <= x_zero_point <= x_hi:
        raise ValueError(f"x_zero_point must be in {x_lo}..{x_hi}, not {x_zero_point!r}")
    w = np.asarray(weights).reshape(len(weights), -1)
    pos = np.maximum(w, 0).sum(axis=1, dtype=np.int64)  # [OC]
    neg = np.minimum(w, 0).sum(axis=1, dtype=np.int64)  # [OC]
    b = np.zeros(len(w), np.int64) if bias is None else np.asarray(bias, np.int64)
    # Terms as (x - zero point) * w, and as x * w with the zero point folded into the bias.
    down = pos * (x_lo - x_zero_point) + neg * (x_hi - x_zero_point)
    up = pos * (x_hi - x_zero_point) + neg * (x_lo - x_zero_point)
    folded = b - x_zero_point * (pos + neg)
    raw_down = pos * min(x_lo, 0) + neg * max(x_hi, 0)
    raw_up = pos * max(x_hi, 0) + neg * min(x_lo, 0)
    return Bounds(
        lo=b + down,
        hi=b + up,
        partial_lo=np.minimum(down + np.minimum(b, 0), raw_down + np.minimum(folded, 0)),
        partial_hi=np.maximum(up + np.maximum(b, 0), raw_up + np.maximum(folded, 0)),
    )
