"""What the firmware printed against what the host finds, and bad options of ``sim soc``."""

from pathlib import Path

import numpy as np
import pytest

from sim.cli import main
from sim.detect.decode import Detections
from sim.soc import compare_boxes

BOXES = Detections(boxes=np.array([[0.0, 1.002, 20.125, 30.5], [5.0, 6.0, 415.98765, 8.0]]),
                   scores=np.array([0.99994, 0.25003]), classes=np.array([1, 79]))
TEXT = """Macrame: net for test-4x4
frame: 10 cycles, 3 instructions
boxes: 2
box 1 0.9999 0.00 1.00 20.13 30.50
box 79 0.2500 5.00 6.00 415.99 8.00
"""


def test_rounded_numbers_are_the_same() -> None:
    assert compare_boxes(TEXT, BOXES) is None
    assert compare_boxes(TEXT.replace("20.13", "20.12"), BOXES) is None  # a tie


@pytest.mark.parametrize("old, new, message", [
    ("0.9999", "1.0000", ("box 1 of the firmware is 1 1.0000 0.00 1.00 20.13 30.50, the host's 1 "
                          "0.999940 0.000000 1.002000 20.125000 30.500000")),
    ("1.00 ", "1.01 ", "box 1 of the firmware is"),
    ("415.99", "415.98", "box 2 of the firmware is"),
    ("8.00", "-8.00", "box 2 of the firmware is"),
    ("box 79", "box 78", "box 2 of the firmware is 78"),
    ("boxes: 2", "boxes: 3", "the firmware must print as many boxes as it states, not 2"),
    ("boxes: 2", "boxes 2", "the firmware must print as many boxes as it states, not 2"),
    ("boxes: 2", "boxes: 2 (more candidates than room)",
     "the firmware says: more candidates than room"),
])
def test_what_differs_is_named(old: str, new: str, message: str) -> None:
    assert old in TEXT
    found = compare_boxes(TEXT.replace(old, new), BOXES)
    assert found is not None and found.startswith(message)


def test_missing_boxes_are_named() -> None:
    text = TEXT.replace("boxes: 2", "boxes: 1").rsplit("box ", 1)[0]
    assert compare_boxes(text, BOXES) == "the firmware found 1 boxes, the host 2"


def test_order_counts() -> None:
    lines = TEXT.splitlines()
    swapped = "\n".join([*lines[:3], lines[4], lines[3]])
    assert compare_boxes(swapped, BOXES) is not None


def test_needs_a_build(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["soc", str(tmp_path / "none"), "--headers", str(tmp_path)]) == 1
    assert "must be a folder made by `python -m codegen build`" in capsys.readouterr().err
