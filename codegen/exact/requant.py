"""Requantization parameters, and the proof that they do what ONNX Runtime does.

ONNX Runtime scales an accumulator in float32; the array does it in integers
(:func:`hw.spec.numerics.requantize`). Both are non-decreasing functions of the accumulator, so
they are equal on an interval as soon as they are equal on both sides of every step of one of them
and at the ends of the interval. That is a proof, not a sample, and takes at most 512 evaluations
per channel.

Ref: docs/numerics.md; ONNX Runtime 1.31.1, mlas/lib/quantize.cpp (MlasRequantizeOutput),
core/providers/cpu/quantization/qlinearconv.cc.
"""

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from codegen.errors import CodegenError
from codegen.exact.bounds import Bounds, accumulator_bounds
from codegen.exact.scales import ScaleError, conv_scale, split_scale
from codegen.exact.steps import StepFit, fit_step, nearest_multiplier
from hw.spec.numerics import INT32_MAX, INT32_MIN, QMAX, QMIN, requantize

__all__ = [
    "Bounds",
    "Certificate",
    "ProofError",
    "ScaleError",
    "StepFit",
    "accumulator_bounds",
    "certify",
    "conv_scale",
    "fit_step",
    "ort_requantize",
    "split_scale",
]

Float32 = npt.NDArray[np.float32]
Int64 = npt.NDArray[np.int64]

_CHANNELS_AT_ONCE = 64
"""Channels proved together: their temporaries fit a cache of the second level."""


class ProofError(CodegenError):
    """The array cannot reproduce ONNX Runtime here.

    Parameters
    ----------
    message : str
        What could not be proved, complete.
    channel : int or None
        Output channel, if the operator has several.
    scale : float
        The float32 scale in question.
    acc : int or None
        First counter-example, in accumulator units.
    expected, got : int or None
        Stored code of ONNX Runtime and of the array for that accumulator.
    """

    def __init__(
        self,
        message: str,
        *,
        scale: float,
        channel: int | None = None,
        acc: int | None = None,
        expected: int | None = None,
        got: int | None = None,
    ) -> None:
        self.channel, self.scale = channel, scale
        self.acc, self.expected, self.got = acc, expected, got
        super().__init__(message)


@dataclass(frozen=True, kw_only=True, eq=False)
class Certificate:
    """Proved parameters of a requantization, per output channel.

    Parameters
    ----------
    scale : float32[OC]
        What ONNX Runtime multiplies with.
    zero_point : int
        Of the output, storage domain.
    multiplier, shift : int64[OC]
        What the array uses instead.
    odd : int
        0 or 1, see :func:`hw.spec.numerics.requantize`.
    lo, hi : int64[OC]
        Interval of accumulators for which the two are equal.
    points : int
        Accumulators at which both were evaluated.
    adjusted : tuple of int
        Channels that needed a multiplier other than the significand of their scale.
    """

    scale: Float32
    zero_point: int
    multiplier: Int64
    shift: Int64
    odd: int = 0
    lo: Int64
    hi: Int64
    points: int
    adjusted: tuple[int, ...] = field(default=())

    @property
    def channels(self) -> int:
        """Number of output channels."""
        return len(self.scale)

    def broadcast(self, channels: int) -> "Certificate":
        """Repeat the certificate of one channel for several."""
        if self.channels != 1:
            raise ValueError(f"a certificate to repeat must have 1 channel, not {self.channels!r}")
        return replace(
            self,
            scale=np.repeat(self.scale, channels),
            multiplier=np.repeat(self.multiplier, channels),
            shift=np.repeat(self.shift, channels),
            lo=np.repeat(self.lo, channels),
            hi=np.repeat(self.hi, channels),
            adjusted=tuple(range(channels)) if self.adjusted else (),
        )

    def report(self) -> dict[str, Any]:
        """Summarize for the build report: JSON types only."""
        return {
            "proved": "equal to ONNX Runtime for every accumulator in the interval",
            "channels": self.channels,
            "points": self.points,
            "accumulators": int(np.sum(self.hi - self.lo + 1)),
            "lo": int(self.lo.min(initial=0)),
            "hi": int(self.hi.max(initial=0)),
            "odd": self.odd,
            "adjusted_channels": list(self.adjusted),
        }


def ort_requantize(acc: npt.ArrayLike, scale: npt.ArrayLike, zero_point: int) -> Int64:
    """Requantize int32 accumulators as ONNX Runtime does, in float32.

    ``zero_point + rint(clamp(fl(fl(acc) * scale)))``; storage domain, broadcast.

    Ref: mlas/lib/quantize.cpp, MlasRequantizeOutput.
    """
    product = np.asarray(acc).astype(np.float32) * np.asarray(scale, np.float32)
    clamped = np.clip(product, np.float32(QMIN - zero_point), np.float32(QMAX - zero_point))
    return np.asarray(np.rint(clamped).astype(np.int64) + zero_point)


def certify(
    scale: npt.ArrayLike, zero_point: int, lo: npt.ArrayLike, hi: npt.ArrayLike
) -> Certificate:
    """Prove that the array requantizes every accumulator in ``lo..hi`` as ONNX Runtime does.

    A channel for which the significand of the scale does not work gets the nearest multiplier
    that does, proved likewise.

    Parameters
    ----------
    scale : float32[OC] or float
        See :func:`conv_scale`.
    zero_point : int
        Of the output, storage domain.
    lo, hi : int[OC] or int
        Reachable accumulators, see :func:`accumulator_bounds`.

    Raises
    ------
    ScaleError
        See :func:`split_scale`.
    ProofError
        A channel's accumulator leaves int32, or no multiplier is exact for all of them.
    """
    if not QMIN <= zero_point <= QMAX:
        raise ValueError(f"zero_point must be in {QMIN}..{QMAX}, not {zero_point!r}")
    scales, los, his = np.broadcast_arrays(
        np.atleast_1d(np.asarray(scale, np.float32)),
        np.asarray(lo, np.int64),
        np.asarray(hi, np.int64),
    )
    if np.any(los > his):
        raise ValueError("lo must not exceed hi in any channel")
    outside = (los < INT32_MIN) | (his > INT32_MAX)
    if np.any(outside):
        channel = int(np.argmax(outside))
        raise ProofError(
            f"accumulator of channel {channel} must fit int32, "
            f"not reach {los[channel]}..{his[channel]}",
            scale=float(scales[channel]),
            channel=channel,
        )
    multiplier, shift = (np.array(a) for a in split_scale(scales))
    points = 0
    adjusted: list[int] = []
    for start in range(0, len(scales), _CHANNELS_AT_ONCE):
        part = slice(start, start + _CHANNELS_AT_ONCE)
        acc = _step_points(scales[part], zero_point, los[part], his[part])
        want = ort_requantize(acc, scales[part, None], zero_point)
        got = requantize(acc, multiplier=multiplier[part, None], shift=shift[part, None],
                         zero_point=zero_point)
        points += acc.size
        for row in np.flatnonzero(np.any(got != want, axis=1)):
            channel = start + int(row)
            natural = (int(multiplier[channel]), int(shift[channel]))
            fit = nearest_multiplier(acc[row], want[row], natural, zero_point, parities=(0,))
            if fit is None or not np.array_equal(
                requantize(acc[row], multiplier=fit.multiplier, shift=fit.shift,
                           zero_point=zero_point),
                want[row],
            ):
                i = int(np.argmax(got[row] != want[row]))
                raise ProofError(
                    f"channel {channel} must requantize every accumulator in "
                    f"{los[channel]}..{his[channel]} as ONNX Runtime does, not {acc[row, i]} with "
                    f"scale {float(scales[channel])!r} to {got[row, i]} instead of {want[row, i]}",
                    scale=float(scales[channel]),
                    channel=channel,
                    acc=int(acc[row, i]),
                    expected=int(want[row, i]),
                    got=int(got[row, i]),
                )
            multiplier[channel], shift[channel] = fit.multiplier, fit.shift
            adjusted.append(channel)
    return Certificate(
        scale=np.array(scales),
        zero_point=zero_point,
        multiplier=multiplier,
        shift=shift,
        lo=np.array(los),
        hi=np.array(his),
        points=points,
        adjusted=tuple(adjusted),
    )


def _step_points(scale: Float32, zero_point: int, lo: Int64, hi: Int64) -> Int64:
    """Return int64[C, 512]: ``lo``, ``hi`` and both sides of all steps of ONNX Runtime's result.

    Steps outside the interval are replaced by its ends. By bisection on the float32 formula, from
    a bracket that is checked.
    """
    codes = np.arange(QMIN - zero_point + 1, QMAX - zero_point + 1)  # [255]
    s, first, last = scale[:, None], lo[:, None], hi[:, None]
    guess = (codes - 0.5) / s.astype(np.float64)
    reach = np.abs(guess) * 2.0**-22 + 4
    limits = float(INT32_MIN) - 8, float(INT32_MAX) + 8
    below = np.clip(np.floor(guess - reach), *limits).astype(np.int64)
    above = np.clip(np.ceil(guess + reach), *limits).astype(np.int64)
    # ``first - 1`` counts as below every step, ``last + 1`` as above.
    below = np.clip(below, first - 1, last)
    above = np.clip(above, first, last + 1)

    def reached(acc: Int64) -> npt.NDArray[np.bool_]:
        return np.asarray(np.rint(acc.astype(np.float32) * s) >= codes)

    assert np.all((below < first) | ~reached(below)), "bracket must lie below the step"
    assert np.all((above > last) | reached(above)), "bracket must lie above the step"
    while np.any(above - below > 1):
        middle = (below + above) >> 1
        is_reached = reached(middle)
        above = np.where(is_reached, middle, above)
        below = np.where(is_reached, below, middle)
    points = np.concatenate([first, above - 1, above, last], axis=1)
    return np.asarray(np.clip(points, first, last), np.int64)
