"""Greedy non-maximum suppression, class by class, and the overlap that it is about."""

import numpy as np
import numpy.typing as npt

__all__ = ["OVERLAP", "iou", "suppress"]

OVERLAP = 0.45
"""Of two boxes of a class that overlap by more, the worse one goes."""


def iou(a: npt.NDArray[np.float64], b: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Intersection over union of every box of ``a`` with every box of ``b``.

    Parameters
    ----------
    a, b
        float64[M, 4] and float64[N, 4]: x0, y0, x1, y1. A box without area overlaps nothing.

    Returns
    -------
    float64[M, N], 0..1.
    """
    low = np.maximum(a[:, None, :2], b[None, :, :2])
    high = np.minimum(a[:, None, 2:], b[None, :, 2:])
    common = np.prod(np.maximum(high - low, 0), axis=2)
    union = _areas(a)[:, None] + _areas(b)[None] - common
    return np.asarray(np.divide(common, union, out=np.zeros_like(common), where=union > 0))


def suppress(boxes: npt.NDArray[np.float64], scores: npt.NDArray[np.float64],
             classes: npt.NDArray[np.int64], *, overlap: float = OVERLAP) -> npt.NDArray[np.int64]:
    """Choose the boxes that stay.

    The best box of a class stays, and all of that class that overlap it by more than ``overlap``
    go; so on with the best of the rest. Equal scores count in the order given.

    Parameters
    ----------
    boxes, scores, classes
        float64[N, 4] as in ``iou``, float64[N], int64[N].

    Returns
    -------
    Indices, best score first.
    """
    ranked = np.argsort(-scores, kind="stable")
    stays = np.zeros(len(scores), np.bool_)
    for one in np.unique(classes):
        rest = ranked[classes[ranked] == one]
        while rest.size:
            best, rest = rest[0], rest[1:]
            stays[best] = True
            rest = rest[iou(boxes[best:best + 1], boxes[rest])[0] <= overlap]
    return np.asarray(ranked[stays[ranked]])


def _areas(boxes: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    return np.asarray(np.prod(np.maximum(boxes[:, 2:] - boxes[:, :2], 0), axis=1))
