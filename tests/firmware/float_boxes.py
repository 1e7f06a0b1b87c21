"""firmware/yolo.c in NumPy: float32, the same operations in the same order, so the same bits."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from hw.spec.heads import Head, Heads

__all__ = ["Boxes", "Place", "locate"]

Floats = npt.NDArray[np.float32]

_MAX_EXPONENT = 30.0


@dataclass(frozen=True)
class Place:
    """Where a picture of a size lies in the input; scales are float32."""

    scale: tuple[np.float32, np.float32]
    origin: tuple[int, int]
    size: tuple[int, int]


@dataclass(frozen=True)
class Boxes:
    """float32[N, 4] as x0, y0, x1, y1; float32[N]; int64[N]; best score first."""

    boxes: Floats
    scores: Floats
    classes: npt.NDArray[np.int64]


def locate(heads: Heads, tensors: Mapping[str, Floats], place: Place, *, score: float,
           overlap: float, capacity: int) -> Boxes:
    """Decode all heads, keep the best `capacity` candidates, suppress, clip."""
    threshold, limit = np.float32(score), np.float32(overlap)
    parts = [_decode(head, tensors[head.output], place, threshold) for head in heads.heads]
    boxes, scores, classes = (np.concatenate(part) for part in zip(*parts))
    ranked = np.argsort(-scores, kind="stable")[:capacity]
    kept = list[int]()
    for n in ranked:
        if all(classes[m] != classes[n] or not _overlap(boxes[m], boxes[n]) > limit for m in kept):
            kept.append(int(n))
    picture = np.array(place.size * 2, np.float32)
    clipped = np.clip(boxes[kept], np.float32(0), picture)
    visible = (clipped[:, 2] > clipped[:, 0]) & (clipped[:, 3] > clipped[:, 1])
    return Boxes(clipped[visible], scores[kept][visible], classes[kept][visible])


def _decode(head: Head, tensor: Floats, place: Place, threshold: np.float32
            ) -> tuple[Floats, Floats, npt.NDArray[np.int64]]:
    anchors, classes = len(head.anchors), head.classes
    t = tensor.reshape(anchors, 5 + classes, *tensor.shape[2:]).transpose(0, 2, 3, 1)
    anchor, row, column = np.nonzero(_sigmoid(t[..., 4]) > threshold)
    t = t[anchor, row, column]
    scores = _sigmoid(t[:, 4:5]) * _sigmoid(t[:, 5:])
    cell, class_index = np.nonzero(scores > threshold)
    s, one, two = np.float32(head.scale_x_y), np.float32(1), np.float32(2)
    ends = list[Floats]()
    for axis, index in enumerate((column, row)):
        shift = s * _sigmoid(t[:, axis])
        centre = (index.astype(np.float32) + shift - (s - one) / two) * np.float32(head.stride)
        sizes = np.array(head.anchors, np.float32)[anchor, axis]
        half = sizes * _exponential(t[:, 2 + axis]) / two
        origin, scale = np.float32(place.origin[axis]), place.scale[axis]
        ends += [(centre - half - origin) / scale, (centre + half - origin) / scale]
    boxes = np.stack([ends[0], ends[2], ends[1], ends[3]], 1)
    assert boxes.dtype == np.float32 and scores.dtype == np.float32
    return boxes[cell], scores[cell, class_index], class_index


def _sigmoid(x: Floats) -> Floats:
    """A table in C: computed exactly, then rounded."""
    return (1 / (1 + np.exp(-np.maximum(x.astype(np.float64), -500)))).astype(np.float32)


def _exponential(x: Floats) -> Floats:
    return np.exp(np.minimum(x.astype(np.float64), _MAX_EXPONENT)).astype(np.float32)


def _overlap(a: Floats, b: Floats) -> np.float32:
    zero = np.float32(0)
    low, high = np.maximum(a[:2], b[:2]), np.minimum(a[2:], b[2:])
    common = np.prod(np.maximum(high - low, zero))
    areas = [np.prod(np.maximum(box[2:] - box[:2], zero)) for box in (a, b)]
    both = areas[0] + areas[1] - common
    return np.float32(common / both) if both > 0 else zero
