"""Average precision of COCO, by pycocotools."""

import contextlib
import io
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sim.detect.decode import Detections
from sim.errors import SimError
from sim.evaluate.annotations import Annotations

__all__ = ["LIMIT", "SCORE", "Metrics", "average_precision", "require_pycocotools"]

SCORE = 0.001
"""What a score must exceed to be counted: low, so that the curve of precision has its end."""

LIMIT = 100
"""Boxes for each picture."""


@dataclass(frozen=True)
class Metrics:
    """Average precision, 0..1; None where nothing of that size is annotated.

    Parameters
    ----------
    ap, ap50, ap75
        Mean over overlaps 0.50, 0.55 .. 0.95, and at 0.50 and 0.75.
    small, medium, large
        ``ap`` of objects below 32 x 32 pixels, below 96 x 96 pixels, and above.
    """

    ap: float | None
    ap50: float | None
    ap75: float | None
    small: float | None
    medium: float | None
    large: float | None


def require_pycocotools() -> tuple[Any, Any]:
    """The classes COCO and COCOeval.

    Raises
    ------
    SimError
        It is not installed.
    """
    try:
        from pycocotools.coco import COCO
        from pycocotools.cocoeval import COCOeval
    except ImportError as error:
        raise SimError("pycocotools must be installed for an evaluation: "
                       "pip install 'macrame[evaluate]'.") from error
    return COCO, COCOeval


def average_precision(annotations: Annotations, found: Mapping[int, Detections]) -> Metrics:
    """Compare boxes with annotations.

    Parameters
    ----------
    annotations
        What is there.
    found
        What was found, by id of the picture. Pictures that are not listed do not count at all.

    Raises
    ------
    SimError
        pycocotools is not installed.
    """
    coco, coco_eval = require_pycocotools()
    ids = [identity for identity, _ in annotations.categories]
    boxes = [{"image_id": picture, "category_id": ids[index], "score": float(score),
              "bbox": [x0, y0, x1 - x0, y1 - y0], "area": (x1 - x0) * (y1 - y0)}
             for picture, d in found.items()
             for (x0, y0, x1, y1), score, index in zip(d.boxes.tolist(), d.scores, d.classes)]
    with contextlib.redirect_stdout(io.StringIO()):
        evaluation = coco_eval(
            _indexed(coco(), annotations, annotations.dataset["annotations"]),
            _indexed(coco(), annotations, boxes), "bbox")
        evaluation.params.imgIds = sorted(found)
        evaluation.params.maxDets = [1, 10, LIMIT]
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return Metrics(*(None if value < 0 else float(value) for value in evaluation.stats[:6]))


def _indexed(coco: Any, annotations: Annotations, marks: list[dict[str, Any]]) -> Any:
    """Fill an empty COCO object with these boxes."""
    # Numbered from 1: COCOeval takes the id 0 of a match for "no match".
    coco.dataset = {**{key: annotations.dataset[key] for key in ("images", "categories")},
                    "annotations": [{"iscrowd": 0, **mark, "id": n}
                                    for n, mark in enumerate(marks, start=1)]}
    coco.createIndex()
    return coco
