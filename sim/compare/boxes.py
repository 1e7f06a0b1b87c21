"""Which boxes of two networks mean the same object."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from sim.detect.decode import Detections
from sim.detect.nms import iou

__all__ = ["SAME", "Agreement", "Match", "agreement", "match"]

SAME = 0.5
"""Boxes of a class that overlap by at least so much mean the same object."""


@dataclass(frozen=True)
class Match:
    """Two boxes that mean the same object: their indices, overlap, and scores."""

    a: int
    b: int
    overlap: float
    score_a: float
    score_b: float


@dataclass(frozen=True)
class Agreement:
    """Summary over all pictures.

    Parameters
    ----------
    matched, only_a, only_b
        How many boxes.
    score_difference
        Mean of |score_a - score_b| over matches; None without any.
    largest_difference
        The largest of them.
    overlap
        Mean over matches.
    """

    matched: int
    only_a: int
    only_b: int
    score_difference: float | None
    largest_difference: float | None
    overlap: float | None


def match(a: Detections, b: Detections) -> list[Match]:
    """Pair boxes of a class, those that overlap most first; each box at most once."""
    overlaps = iou(a.boxes, b.boxes)
    overlaps[a.classes[:, None] != b.classes[None]] = 0
    matches = list[Match]()
    while overlaps.size and overlaps.max() >= SAME:
        i, j = map(int, np.unravel_index(np.argmax(overlaps), overlaps.shape))
        matches.append(Match(i, j, float(overlaps[i, j]), float(a.scores[i]), float(b.scores[j])))
        overlaps[i], overlaps[:, j] = 0, 0
    return sorted(matches, key=lambda m: m.a)


def agreement(pictures: Iterable[tuple[Detections, Detections, list[Match]]]) -> Agreement:
    """Sum up the matches of all pictures."""
    matched, only_a, only_b = list[Match](), 0, 0
    for a, b, matches in pictures:
        matched += matches
        only_a += len(a) - len(matches)
        only_b += len(b) - len(matches)
    if not matched:
        return Agreement(0, only_a, only_b, None, None, None)
    differences = [abs(m.score_a - m.score_b) for m in matched]
    return Agreement(len(matched), only_a, only_b, float(np.mean(differences)), max(differences),
                     float(np.mean([m.overlap for m in matched])))
