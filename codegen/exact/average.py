"""Average pools as requantized integer sums.

QLinearGlobalAveragePool sums in integers, so its result is a requantization by definition.
QLinearAveragePool sums dequantized float32 values in window order. Whether its result depends on
the integer sum alone is decided exactly: float32 addition is monotone, so for each partial sum of
integers the smallest and largest float32 partial sum follow from those one element earlier.

Ref: ONNX Runtime 1.31.1, mlas/lib/qlgavgpool.cpp, contrib_ops/cpu/quantization/qlinear_pool.cc,
qlinear_global_average_pool.cc.
"""

from collections.abc import Collection

import numpy as np
import numpy.typing as npt

from codegen.errors import CodegenError
from codegen.exact.requant import Certificate, ProofError, certify, fit_step
from hw.spec.numerics import QMAX, QMIN

__all__ = [
    "MAX_WINDOW",
    "WindowError",
    "average_pool",
    "float_sum_bounds",
    "global_average_pool",
    "ort_average",
]

Float32 = npt.NDArray[np.float32]
Int64 = npt.NDArray[np.int64]

MAX_WINDOW = 196
"""Elements of the largest window that is analysed; the analysis grows with its square."""


class WindowError(CodegenError):
    """A pooling window is too large to be analysed."""


def global_average_pool(
    x_scale: float,
    x_zero_point: int,
    y_scale: float,
    y_zero_point: int,
    *,
    size: int,
    unsigned: bool = False,
) -> Certificate:
    """Prove the requantization of a QLinearGlobalAveragePool.

    It also stands for a QLinearAveragePool without padding whose window is the whole image: ONNX
    Runtime then calls the same kernel.

    Parameters
    ----------
    x_scale, x_zero_point, y_scale, y_zero_point
        As in the ONNX node.
    size
        Elements of the image, rows times columns.
    unsigned
        Input and output are uint8, not int8.

    Returns
    -------
    Certificate of one channel, for the accumulator ``sum(x - x_zero_point)`` and the scale
    ``fl(x_scale / fl(y_scale * size))``.

    Raises
    ------
    ScaleError, ProofError
        See :func:`codegen.exact.requant.certify`.
    """
    low = 0 if unsigned else QMIN
    with np.errstate(all="ignore"):
        scale = np.float32(x_scale) / (np.float32(y_scale) * np.float32(size))
    lo, hi = size * (low - x_zero_point), size * (low + 255 - x_zero_point)
    return certify(np.asarray(scale), y_zero_point + QMIN - low, lo, hi)


def average_pool(
    x_scale: float,
    x_zero_point: int,
    y_scale: float,
    y_zero_point: int,
    *,
    size: int,
    present: Collection[int] = (),
    unsigned: bool = False,
) -> Certificate:
    """Prove the requantization of a QLinearAveragePool that divides every sum by `size`.

    Parameters
    ----------
    x_scale, x_zero_point, y_scale, y_zero_point
        As in the ONNX node.
    size
        Elements of a window, 1..MAX_WINDOW, and the divisor.
    present
        With padding that counts (``count_include_pad``), the numbers of elements that windows at
        the edge contain. Full windows are always covered. Padding that does not count changes
        the divisor and must be refused by the caller.
    unsigned
        Input and output are uint8, not int8.

    Returns
    -------
    Certificate of one channel, for the accumulator ``sum(x - x_zero_point)``. Its `odd` may be 1.

    Raises
    ------
    WindowError
        The window has more than MAX_WINDOW elements.
    ScaleError
        See :func:`codegen.exact.requant.split_scale`.
    ProofError
        The result is not a function of the integer sum, or no multiplier is exact for all sums.
    """
    if not 1 <= size <= MAX_WINDOW:
        raise WindowError(f"window must have 1..{MAX_WINDOW} elements, not {size!r}")
    counts = {size, *present}
    if not all(1 <= n <= size for n in counts):
        raise ValueError(f"present must be numbers in 1..{size}, not {sorted(present)!r}")
    low = 0 if unsigned else QMIN
    least = low - x_zero_point  # one element, centred
    smallest, largest = float_sum_bounds(x_scale, x_zero_point, counts, unsigned=unsigned)
    first = min(n * least for n in counts)
    sums = first + np.arange(len(smallest))
    reachable = smallest <= largest
    sums = sums[reachable]
    below, above = (
        ort_average(s[reachable], size, y_scale, y_zero_point, unsigned=unsigned)
        for s in (smallest, largest)
    )
    scale = np.float32(x_scale) / (np.float32(y_scale) * np.float32(size))
    if np.any(below != above):
        i = int(np.argmax(below != above))
        raise ProofError(
            f"average of {size} elements must depend on their integer sum alone, not be {below[i]} "
            f"or {above[i]} for the sum {sums[i]}, depending on the order of the elements",
            scale=float(scale),
            acc=int(sums[i]),
        )
    zero_point = y_zero_point + QMIN - low
    fit = fit_step(lambda _: below, sums, scale=float(scale), zero_point=zero_point)
    if fit is None:
        raise ProofError(
            f"average of {size} elements must have an exact multiplier, not the scales "
            f"{x_scale!r} -> {y_scale!r} with zero points {x_zero_point}, {y_zero_point}",
            scale=float(scale),
        )
    return Certificate(
        scale=np.asarray([scale]),
        zero_point=zero_point,
        multiplier=np.asarray([fit.multiplier], np.int64),
        shift=np.asarray([fit.shift], np.int64),
        odd=fit.odd,
        lo=sums[:1],
        hi=sums[-1:],
        points=len(sums),
    )


def ort_average(
    sums: Float32, size: int, y_scale: float, y_zero_point: int, *, unsigned: bool
) -> Int64:
    """Finish float32 sums as QLinearAveragePool does; returns storage codes.

    ``clamp(rint(fl(fl(fl(sum / size) / y_scale) + y_zero_point)))``.
    """
    low = 0 if unsigned else QMIN
    value = sums / np.float32(size) / np.float32(y_scale) + np.float32(y_zero_point)
    return np.asarray(np.clip(np.rint(value), low, low + 255).astype(np.int64) - (low - QMIN))


def float_sum_bounds(
    x_scale: float, x_zero_point: int, counts: Collection[int], *, unsigned: bool
) -> tuple[Float32, Float32]:
    """Bound the float32 sums of dequantized codes, for every integer sum.

    Parameters
    ----------
    x_scale, x_zero_point
        As in the ONNX node.
    unsigned
        The codes are uint8, not int8.
    counts
        Numbers of elements summed, one after the other, from the first; not empty.

    Returns
    -------
    smallest, largest : float32[n]
        Attained bounds over all sequences of codes, for the integer sums ``sum(x - x_zero_point)``
        from the smallest possible one upwards. An impossible sum has ``smallest > largest``.
    """
    low = 0 if unsigned else QMIN
    least, step = low - x_zero_point, QMAX - QMIN
    values = np.arange(least, least + step + 1).astype(np.float32) * np.float32(x_scale)
    first = min(n * least for n in counts)
    total = max(n * (least + step) for n in counts) - first + 1
    smallest = np.full(total, np.inf, np.float32)
    largest = np.full(total, -np.inf, np.float32)
    lo = hi = values
    for n in range(1, max(counts) + 1):
        if n > 1:
            lo = _append(lo, values, np.minimum)
            hi = _append(hi, values, np.maximum)
        if n in counts:
            at = n * least - first
            window = slice(at, at + len(lo))
            smallest[window] = np.minimum(smallest[window], lo)
            largest[window] = np.maximum(largest[window], hi)
    return smallest, largest


def _append(sums: Float32, values: Float32, best: np.ufunc) -> Float32:
    """Return the best of ``fl(sums[s - i] + values[i])`` over i, for every s."""
    longer = np.full(len(sums) + len(values) - 1, np.nan, np.float32)
    longer[: len(sums)] = sums + values[0]
    longer[len(sums) :] = sums[-1] + values[1:]
    candidate = np.empty_like(sums)
    for i in range(1, len(values)):
        window = longer[i : i + len(sums)]
        np.add(sums, values[i], out=candidate)
        best(window, candidate, out=window)
    return longer
