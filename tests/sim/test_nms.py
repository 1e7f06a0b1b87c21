"""sim.detect.nms: properties, and the same as the definition in plain loops."""

import numpy as np
import pytest
from hypothesis import given, strategies as st

from sim.detect.nms import OVERLAP, iou, suppress

# Few distinct values, so that equal scores, equal boxes and overlaps on the threshold occur.
BOXES = st.lists(st.tuples(st.integers(0, 20), st.integers(0, 20), st.integers(0, 12),
                           st.integers(0, 12), st.integers(0, 6), st.integers(0, 2)), max_size=25)


def arrays(drawn: list[tuple[int, ...]]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    table = np.array(drawn, np.float64).reshape(-1, 6)
    boxes = np.concatenate([table[:, :2], table[:, :2] + table[:, 2:4]], 1)
    return boxes, table[:, 4] / 6, table[:, 5].astype(np.int64)


def plain_iou(a: np.ndarray, b: np.ndarray) -> float:
    """One pair, step by step."""
    wide = min(a[2], b[2]) - max(a[0], b[0])
    high = min(a[3], b[3]) - max(a[1], b[1])
    common = wide * high if wide > 0 and high > 0 else 0.0
    union = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - common
    return common / union if union > 0 else 0.0


def plain_suppress(boxes: np.ndarray, scores: np.ndarray, classes: np.ndarray) -> list[int]:
    """As darknet does: from the best to the worst, kill what overlaps."""
    order = sorted(range(len(scores)), key=lambda i: -scores[i])
    alive = dict.fromkeys(order, True)
    for n, i in enumerate(order):
        for j in order[n + 1:]:
            if alive[i] and classes[i] == classes[j] and plain_iou(boxes[i], boxes[j]) > OVERLAP:
                alive[j] = False
    return [i for i in order if alive[i]]


@given(BOXES)
def test_equals_plain_loops(drawn: list) -> None:
    boxes, scores, classes = arrays(drawn)
    assert suppress(boxes, scores, classes).tolist() == plain_suppress(boxes, scores, classes)


@given(BOXES)
def test_what_stays_overlaps_little_and_what_goes_overlaps_something_better(drawn: list) -> None:
    boxes, scores, classes = arrays(drawn)
    kept = suppress(boxes, scores, classes)
    overlaps = iou(boxes, boxes)
    for n, i in enumerate(kept):
        for j in kept[n + 1:]:
            assert classes[i] != classes[j] or overlaps[i, j] <= OVERLAP
            assert scores[i] >= scores[j]
    for gone in set(range(len(scores))) - set(kept.tolist()):
        assert any(classes[i] == classes[gone] and scores[i] >= scores[gone]
                   and overlaps[i, gone] > OVERLAP for i in kept)


@given(BOXES, st.integers(1, 100))
def test_moving_and_scaling_changes_nothing(drawn: list, factor: int) -> None:
    boxes, scores, classes = arrays(drawn)
    assert np.array_equal(suppress(boxes, scores, classes),
                          suppress(boxes * factor + 64, scores, classes))


@given(BOXES, BOXES)
def test_overlap_is_symmetric_and_at_most_one(first: list, second: list) -> None:
    a, b = arrays(first)[0], arrays(second)[0]
    overlaps = iou(a, b)
    assert np.array_equal(overlaps, iou(b, a).T)
    assert ((overlaps >= 0) & (overlaps <= 1)).all()
    assert overlaps.tolist() == [[plain_iou(x, y) for y in b] for x in a]
    solid = (a[:, 2] > a[:, 0]) & (a[:, 3] > a[:, 1])
    assert np.array_equal(np.diag(iou(a, a)), solid.astype(float))


def test_overlap_is_what_pycocotools_computes() -> None:
    mask = pytest.importorskip("pycocotools.mask", reason="needs the extra evaluate")
    rng = np.random.default_rng(0)
    boxes = rng.uniform(0, 100, (40, 4))
    boxes[:, 2:] += boxes[:, :2]
    widths = np.concatenate([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], 1)
    assert iou(boxes[:20], boxes[20:]) == pytest.approx(
        np.array(mask.iou(widths[:20], widths[20:], [0] * 20)), rel=1e-12)


def test_a_box_at_the_threshold_stays() -> None:
    boxes = np.array([[0, 0, 100, 1], [0, 0, 45, 1], [0, 0, 46, 1]], np.float64)
    scores = np.array([0.9, 0.8, 0.7])
    assert suppress(boxes[:2], scores[:2], np.zeros(2, np.int64)).tolist() == [0, 1]
    assert suppress(boxes[::2], scores[::2], np.zeros(2, np.int64)).tolist() == [0]
