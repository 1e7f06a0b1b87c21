"""Options that the commands about objects in pictures share."""

import argparse
import math
from pathlib import Path

from hw.spec.heads import SIDECAR

__all__ = ["SCORE", "add_box_options", "add_options", "score"]

SCORE = 0.25


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add what says how a network is fed, and what its outputs mean: heads, fit."""
    parser.add_argument("--heads", type=Path, metavar="FILE",
                        help="what the outputs mean, see docs/accuracy.md (default: the model's "
                             f"metadata, else {SIDECAR} beside it)")
    parser.add_argument("--fit", choices=("letterbox", "stretch"),
                        help="how a picture fills the input (default: what the heads say, else "
                             "letterbox)")


def add_box_options(parser: argparse.ArgumentParser) -> None:
    """Add what says which boxes are shown, and how: score, names."""
    parser.add_argument("--score", type=score, default=SCORE, metavar="S",
                        help=f"leave out boxes with a score of S or less (default: {SCORE})")
    parser.add_argument("--names", type=Path, metavar="FILE",
                        help="class names, one a line (default: COCO's, for 80 classes)")


def score(text: str) -> float:
    """A score in 0..1."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if 0 <= value <= 1:
        return value
    raise argparse.ArgumentTypeError(f"must be a number from 0 to 1, not {text!r}")
