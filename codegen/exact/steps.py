"""Fitting the requantizer to a step function.

The result of :func:`hw.spec.numerics.requantize` is monotone in the accumulator and, for one
accumulator, monotone in the multiplier. The first says where to look (around the steps), the
second makes the search for a multiplier an intersection of intervals.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from codegen.exact.scales import split_scale
from hw.spec.numerics import MULTIPLIER_BITS, SHIFT_BITS, requantize

__all__ = ["StepFit", "fit_step", "nearest_multiplier"]

Int64 = npt.NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class StepFit:
    """Parameters of :func:`hw.spec.numerics.requantize` that reproduce a step function."""

    multiplier: int
    shift: int
    zero_point: int
    odd: int


def fit_step(
    reference: Callable[[Int64], npt.ArrayLike],
    points: npt.ArrayLike,
    *,
    scale: float,
    zero_point: int,
) -> StepFit | None:
    """Find requantizer parameters that equal a step function on all given points.

    The search is complete in the multiplier, for the shift of `scale` and its two neighbours and
    both values of `odd`: the multipliers that are right for one point are an interval, and the
    intervals of all points are intersected.

    Parameters
    ----------
    reference
        Maps int64[n] to stored codes [n] (``-128..127``).
    points : int[n]
        int32; sorted and without repetitions.
    scale : float
        Approximate slope. Its significand is tried first, and the nearest multiplier that works
        is returned.
    zero_point : int
        Stored code for 0.

    Returns
    -------
    Parameters, verified on every point, or None if there are none.

    Raises
    ------
    ScaleError
        See :func:`split_scale`.
    """
    acc = np.asarray(points, np.int64)
    if acc.ndim != 1 or acc.size == 0 or np.any(np.diff(acc) <= 0):
        raise ValueError("points must be a sorted, non-empty vector without repetitions")
    want = np.asarray(reference(acc), np.int64)
    # The requantizer is monotone: it matches everywhere if it matches around every step.
    steps = np.diff(want)
    if np.any(steps < 0):
        return None
    around = np.zeros(acc.size, bool)
    around[[0, -1]] = True
    around[:-1] |= steps > 0
    around[1:] |= steps > 0
    natural, shift = (int(a) for a in split_scale(scale))
    fit = nearest_multiplier(acc[around], want[around], (natural, shift), zero_point)
    if fit is not None:
        got = requantize(acc, multiplier=fit.multiplier, shift=fit.shift, zero_point=zero_point,
                         odd=fit.odd)
        assert np.array_equal(got, want), "the requantizer must be monotone"
    return fit


def nearest_multiplier(
    acc: Int64,
    want: Int64,
    natural: tuple[int, int],
    zero_point: int,
    parities: tuple[int, ...] = (0, 1),
) -> StepFit | None:
    """Return the parameters nearest to `natural` that map all of `acc` to `want`, or None."""
    multiplier, shift = natural

    def result(multipliers: Int64 | int, shift: int, odd: int) -> Int64:
        return np.asarray(requantize(acc, multiplier=multipliers, shift=shift,
                                     zero_point=zero_point, odd=odd))

    for odd in parities:
        if np.array_equal(result(multiplier, shift, odd), want):
            return StepFit(multiplier=multiplier, shift=shift, zero_point=zero_point, odd=odd)
    # For a point the result moves away from the zero point as the multiplier grows.
    sign = np.sign(acc)
    top = 1 << MULTIPLIER_BITS
    for near in (shift, shift + 1, shift - 1):
        if not 0 <= near < 1 << SHIFT_BITS:
            continue
        for odd in parities:
            ends = []
            for strict in (0, 1):
                # Smallest multiplier that reaches (passes) the wanted code; `top` if none does.
                below, above = np.full(acc.shape, -1), np.full(acc.shape, top)
                while np.any(above - below > 1):
                    middle = (below + above) >> 1
                    reached = sign * (result(middle, near, odd) - want) >= strict
                    above = np.where(reached, middle, above)
                    below = np.where(reached, below, middle)
                ends.append(above)
            first, last = int(ends[0].max()), int(ends[1].min()) - 1
            if first <= last and first < top:
                aim = (multiplier << near) >> shift
                best = min(max(aim, first), last)
                if np.array_equal(result(best, near, odd), want):
                    return StepFit(multiplier=best, shift=near, zero_point=zero_point, odd=odd)
    return None
