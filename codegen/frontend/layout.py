"""Where the elements of an ONNX tensor stand in memory.

The array holds every tensor as (C, H, W). A tensor of rank 4 is [1, C, H, W]. In tensors of lower
rank the last dimension is the channels, which is what a matrix product sums over, and the others
are rows and columns: [K] is (K, 1, 1), [M, K] is (K, 1, M) and [B, M, K] is (K, B, M).
"""

import math

import numpy as np
import numpy.typing as npt

from codegen.ir import Tensor

__all__ = ["Box", "box_of", "channel_axis", "is_natural", "is_plain", "natural", "normalized",
           "positions", "to_chw"]

Int64 = npt.NDArray[np.int64]

Box = tuple[range, range, range]
"""Channels, rows and columns of a part of a tensor."""

_AXES = {1: (0,), 2: (2, 0), 3: (1, 2, 0), 4: (None, 0, 1, 2)}


def to_chw(rank: int) -> tuple[int | None, ...]:
    """Say which of (C, H, W) each ONNX dimension is in the natural layout; None for the batch."""
    return _AXES[rank]


def channel_axis(rank: int) -> int:
    """Return the ONNX dimension that is the channels in the natural layout."""
    return 1 if rank == 4 else rank - 1


def normalized(gather: Int64) -> Int64 | None:
    """Return a permutation flat, or None if it is the identity."""
    flat = gather.reshape(-1)
    return None if np.array_equal(flat, np.arange(flat.size)) else flat


def natural(shape: tuple[int, ...]) -> tuple[tuple[int, int, int], Int64 | None]:
    """Return `chw` and `gather` of a tensor that is not an alias.

    Rank at most 4; the batch of rank 4 is 1.
    """
    match shape:
        case ():
            return (1, 1, 1), None
        case (k,):
            return (k, 1, 1), None
        case (m, k):
            return (k, 1, m), _channels_last(k, m)
        case (b, m, k):
            return (k, b, m), _channels_last(k, b * m)
        case (1, c, h, w):
            return (c, h, w), None
    raise ValueError(f"shape must have a rank of at most 4 and batch 1, not {shape!r}")


def _channels_last(channels: int, pixels: int) -> Int64 | None:
    if channels == 1 or pixels == 1:
        return None
    return np.arange(channels * pixels).reshape(channels, pixels).T.reshape(-1)


def is_plain(tensor: Tensor) -> bool:
    """Say whether a tensor is [1, C, H, W] and its data stands in that order."""
    return tensor.gather is None and tensor.shape == (1, *tensor.chw)


def is_natural(tensor: Tensor) -> bool:
    """Say whether a tensor, alias or not, has the layout its shape would have by itself."""
    if len(tensor.shape) > 4 or (len(tensor.shape) == 4 and tensor.shape[0] != 1):
        return False
    if tensor.chw != (natural_chw := natural_shape(tensor.shape)):
        return False
    if tensor.gather is None:
        return natural_chw[0] == 1 or math.prod(natural_chw[1:]) == 1 or len(tensor.shape) == 4
    gather = natural(tensor.shape)[1]
    return gather is not None and np.array_equal(gather, tensor.gather)


def natural_shape(shape: tuple[int, ...]) -> tuple[int, int, int]:
    """Return the `chw` of :func:`natural` without its permutation."""
    chw = [1, 1, 1]
    if shape:
        for size, axis in zip(shape, to_chw(len(shape))):
            if axis is not None:
                chw[axis] = size
    return chw[0], chw[1], chw[2]


def positions(tensor: Tensor) -> Int64:
    """Return where each element stands in the (C, H, W) order of the data: int64[shape]."""
    size = math.prod(tensor.shape)
    flat = np.arange(size) if tensor.gather is None else tensor.gather
    return flat.reshape(tensor.shape)


def box_of(part: Int64, chw: tuple[int, int, int]) -> tuple[Box, Int64] | None:
    """Find the channels, rows and columns that are exactly the given positions.

    Parameters
    ----------
    part : int64[...]
        Positions in (C, H, W) order, each at most once.
    chw : tuple of int

    Returns
    -------
    The box and, flat, where each position stands in it; None if the positions are not a box.
    """
    ranges, local = [], np.zeros(part.size, np.int64)
    for coordinates in np.unravel_index(part.reshape(-1), chw):
        values, index = np.unique(coordinates, return_inverse=True)
        step = int(values[1] - values[0]) if values.size > 1 else 1
        if np.any(np.diff(values) != step):
            return None
        ranges.append(range(int(values[0]), int(values[-1]) + 1, step))
        local = local * values.size + index
    if math.prod(map(len, ranges)) != part.size:
        return None
    return (ranges[0], ranges[1], ranges[2]), local
