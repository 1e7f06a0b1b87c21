"""sim.detect.draw: boxes and labels are where they should be."""

import numpy as np
import pytest
from PIL import Image

from sim.detect.decode import Detections
from sim.detect.draw import Panel, draw, tile


def found(*boxes: tuple[float, ...]) -> Detections:
    """x0, y0, x1, y1, score, class of each."""
    table = np.array(boxes, np.float64).reshape(-1, 6)
    return Detections(table[:, :4], table[:, 4], table[:, 5].astype(np.int64))


def test_edges_lie_on_the_outermost_pixels_of_the_box() -> None:
    grey = Image.new("RGB", (200, 100), (90, 90, 90))
    drawn = np.asarray(draw(grey, found((50, 40, 150, 80, 0.9, 0)), ["a"]))
    changed = (drawn != 90).any(axis=2)
    assert changed[79, 50:150].all() and changed[40:80, 50].all() and changed[40:80, 149].all()
    assert not changed[80:].any() and not changed[:, :50].any() and not changed[:, 150:].any()
    assert not changed[50:70, 60:140].any()
    assert np.asarray(grey).max() == 90


@pytest.mark.parametrize("box", [(0, 0, 200, 100), (199, 99, 200, 100), (0, 0, 1, 1),
                                 (150, 0, 200, 5), (0.2, 0.2, 0.3, 0.3)])
def test_boxes_at_the_border_have_labels_inside(box: tuple[float, ...]) -> None:
    drawn = draw(Image.new("RGB", (200, 100)), found((*box, 0.5, 3)), list("abcd"))
    assert drawn.size == (200, 100)
    assert (np.asarray(drawn) > 0).any(axis=2).sum() > 100  # the label at least


def test_labels_of_equal_boxes_do_not_cover_each_other() -> None:
    black = Image.new("RGB", (400, 300))
    names = ["zebra", "giraffe"]
    one = np.asarray(draw(black, found((100, 100, 300, 200, 0.9, 0)), names))
    two = np.asarray(draw(black, found((100, 100, 300, 200, 0.9, 0), (100, 100, 300, 200, 0.8, 1)),
                          names))
    label = np.nonzero((one[:100] > 0).any(axis=2))
    assert len(label[0]) > 100
    assert np.array_equal(one[label], two[label])


def test_large_pictures_are_drawn_smaller() -> None:
    drawn = draw(Image.new("RGB", (4000, 2000)), found((0, 0, 4000, 2000, 0.9, 0)), ["a"])
    assert drawn.size == (960, 480)
    assert (np.asarray(drawn)[-1, 5:-5] > 0).any(axis=1).all()
    assert draw(Image.new("L", (5000, 1)), found(), []).size == (960, 1)


def test_panels_stand_in_rows_and_columns() -> None:
    colours = [(255, 0, 0), (0, 255, 0), (0, 0, 255)]
    panels = [Panel("a title that is much too long for its picture" * 3,
                    Image.new("RGB", (50, 40), colour)) for colour in colours]
    sheet = np.asarray(tile([panels[:2], panels[2:]]))
    for colour, (row, column) in zip(colours, ((0, 0), (0, 1), (1, 0))):
        rows, columns = np.nonzero((sheet == colour).all(axis=2))
        assert (np.ptp(rows), np.ptp(columns)) == (39, 49)
        assert rows.min() // (sheet.shape[0] // 2) == row
        assert columns.min() // (sheet.shape[1] // 2) == column
