"""From the tensors of YOLO heads to boxes in the picture.

Ref: AlexeyAB/darknet, src/yolo_layer.c (get_yolo_box, get_yolo_detections).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from hw.spec.heads import Head, Heads
from sim.detect.nms import suppress
from sim.errors import SimError
from sim.pictures.fit import Placement

__all__ = ["Detections", "decode", "head_tensor", "locate"]

Floats = npt.NDArray[np.float64]

_MAX_EXPONENT = 100.0
"""exp() of it is wider than any picture, and its square is finite."""


@dataclass(frozen=True)
class Detections:
    """What was found in a picture, best score first.

    Parameters
    ----------
    boxes
        float64[N, 4]: x0, y0, x1, y1 in pixels of the picture, inside it, x0 < x1, y0 < y1.
    scores
        float64[N], 0..1.
    classes
        int64[N], from 0.
    """

    boxes: Floats
    scores: Floats
    classes: npt.NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.scores)


def locate(heads: Heads, tensors: Mapping[str, npt.NDArray[Any]], *, input_size: tuple[int, int],
           placement: Placement, picture_size: tuple[int, int], score: float,
           limit: int | None = None) -> Detections:
    """Decode all heads, suppress, and clip to the picture.

    Every class whose score exceeds the threshold gives a box of its own, as in darknet.

    Parameters
    ----------
    heads
        Of the network.
    tensors
        Those that the heads name, and perhaps others.
    input_size
        Height and width of the network's input.
    placement
        Where the picture lies in it.
    picture_size
        Width and height of the picture.
    score
        Boxes with a score above it count.
    limit
        Keep the best ones only.

    Raises
    ------
    SimError
        A tensor does not fit its head.
    """
    parts = [decode(head, head_tensor(head, tensors, input_size), score=score)
             for head in heads.heads]
    boxes, scores, classes = (np.concatenate(part) for part in zip(*parts))
    boxes = placement.to_picture(boxes)
    kept = suppress(boxes, scores, classes)
    limits = np.array(picture_size * 2, np.float64)
    clipped = np.clip(boxes[kept], 0, limits)
    visible = (clipped[:, 2] > clipped[:, 0]) & (clipped[:, 3] > clipped[:, 1])
    kept = kept[visible][:limit]
    return Detections(clipped[visible][:limit], scores[kept], classes[kept])


def decode(head: Head, tensor: npt.NDArray[np.float32], *, score: float,
           ) -> tuple[Floats, Floats, npt.NDArray[np.int64]]:
    """Decode one head.

    With the five numbers and the class numbers t of an anchor (width w, height h) in the cell of
    column i and row j, and s for ``scale_x_y``, the box has its centre at
    ``stride * (i + s * sigmoid(t0) - (s - 1) / 2)``, likewise in y, the width ``w * exp(t2)`` and
    the height ``h * exp(t3)``. The score of class c is ``sigmoid(t4) * sigmoid(t[5 + c])``.

    Parameters
    ----------
    tensor
        As ``head_tensor`` returns it.
    score
        What a score must exceed.

    Returns
    -------
    Boxes float64[N, 4] in pixels of the network's input, scores float64[N], classes int64[N]; in
    the order anchor, row, column, class.
    """
    a, c = len(head.anchors), head.classes
    grid = tensor.reshape(a, 5 + c, *tensor.shape[2:]).transpose(0, 2, 3, 1)  # [A, H, W, 5 + C]
    anchor, row, column = np.nonzero(_sigmoid(grid[..., 4]) > score)  # a class scores no more
    t = grid[anchor, row, column].astype(np.float64)
    scores = _sigmoid(t[:, 4:5]) * _sigmoid(t[:, 5:])
    cell, classes = np.nonzero(scores > score)
    s = head.scale_x_y
    centre = (np.stack([column, row], 1) + s * _sigmoid(t[:, 0:2]) - (s - 1) / 2) * head.stride
    half = np.array(head.anchors)[anchor] * np.exp(np.minimum(t[:, 2:4], _MAX_EXPONENT)) / 2
    boxes = np.concatenate([centre - half, centre + half], 1)
    return boxes[cell], scores[cell, classes], classes.astype(np.int64)


def head_tensor(head: Head, tensors: Mapping[str, npt.NDArray[Any]],
                input_size: tuple[int, int]) -> npt.NDArray[np.float32]:
    """The tensor of a head, checked.

    Raises
    ------
    SimError
        It has another type or shape, or is not finite.
    """
    tensor = tensors[head.output]
    if tensor.dtype != np.float32:
        raise SimError(f"head {head.output!r} must be a float32 tensor, not {tensor.dtype}; name "
                       f"the dequantized output.")
    rows, columns = (size / head.stride for size in input_size)
    if tensor.shape != (1, head.channels, rows, columns):
        raise SimError(
            f"head {head.output!r} must have the shape [1, {head.channels}, {rows:g}, {columns:g}] "
            f"({len(head.anchors)} anchors of 5 + {head.classes} channels, stride {head.stride} on "
            f"an input of {input_size[0]}x{input_size[1]}), not {list(tensor.shape)}; correct the "
            f"heads.")
    if not np.isfinite(tensor).all():
        raise SimError(f"head {head.output!r} must be finite, not infinite or NaN in "
                       f"{np.count_nonzero(~np.isfinite(tensor))} elements.")
    return tensor


def _sigmoid(x: npt.NDArray[Any]) -> Floats:
    return 1 / (1 + np.exp(-np.clip(x.astype(np.float64), -500, 500)))
