"""What the outputs of a YOLO network mean: the contract between the converter, which puts it into a
model's metadata, and those who look for boxes: simulator and firmware headers.

Two notations are read. Macrame's own, which ``codegen darknet`` also puts into the model's
metadata under the key ``macrame.heads``::

    {"heads": [{"output": "conv29_out", "stride": 32, "anchors": [[81, 82], [135, 169], [344, 319]],
                "classes": 80, "scale_x_y": 1.05}, ...],
     "fit": "letterbox"}

And a list as darknet's converters write it, an entry for each ``[yolo]`` section: ``tensor``,
``stride``, ``classes``, ``scale_x_y``, ``anchors`` of all heads in one list of numbers, and
``mask``, which of these anchors are the head's.
"""

import json
import math
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

__all__ = ["Fit", "Head", "Heads", "HeadsError", "METADATA_KEY", "SIDECAR", "parse_heads"]

Fit: TypeAlias = Literal["letterbox", "stretch"]
"""How a picture fills the input of a network."""

METADATA_KEY = "macrame.heads"
"""Of ``metadata_props``."""

SIDECAR = "meta.json"
"""File that is looked for beside a model."""


class HeadsError(ValueError):
    """A text that does not describe heads; the message says what is wrong and where."""


@dataclass(frozen=True)
class Head:
    """One output: for every cell of a grid and every anchor a box, and scores of all classes.

    Parameters
    ----------
    output
        Name of the tensor, float32[1, anchors * (5 + classes), H, W].
    stride
        Pixels of the network's input per cell.
    anchors
        Width and height of each anchor, in pixels of the network's input.
    classes
        How many classes there are.
    scale_x_y
        By how much a centre can leave its cell; 1 if it cannot.
    """

    output: str
    stride: int
    anchors: tuple[tuple[float, float], ...]
    classes: int
    scale_x_y: float = 1.0

    def __post_init__(self) -> None:
        if not isinstance(self.output, str) or not self.output:
            raise ValueError(f"output must be the name of a tensor, not {self.output!r}")
        for name, value in (("stride", self.stride), ("classes", self.classes)):
            if type(value) is not int or value < 1:
                raise ValueError(f"{name} must be a positive integer, not {value!r}")
        if not self.anchors or not all(_is_positive(side) for pair in self.anchors
                                       for side in pair):
            raise ValueError("anchors must be pairs of positive numbers, at least one, not "
                             f"{self.anchors!r}")
        if not _is_positive(self.scale_x_y):
            raise ValueError(f"scale_x_y must be a positive number, not {self.scale_x_y!r}")

    @property
    def channels(self) -> int:
        """Of the tensor."""
        return len(self.anchors) * (5 + self.classes)


@dataclass(frozen=True)
class Heads:
    """All outputs of a network.

    Parameters
    ----------
    heads
        At least one, all with the same classes.
    fit
        How a picture fills the network's input.
    """

    heads: tuple[Head, ...]
    fit: Fit = "letterbox"

    def __post_init__(self) -> None:
        if len({head.classes for head in self.heads}) != 1:
            raise ValueError("heads must be a list of at least one, all with the same number of "
                             f"classes, not {[head.classes for head in self.heads]}")
        if self.fit not in ("letterbox", "stretch"):
            raise ValueError(f"fit must be 'letterbox' or 'stretch', not {self.fit!r}")

    @property
    def classes(self) -> int:
        """How many classes there are."""
        return self.heads[0].classes


def parse_heads(text: str, where: str) -> Heads:
    """Read either notation, JSON both.

    Raises
    ------
    HeadsError
        It is neither; the message begins with `where`.
    """
    try:
        found = json.loads(text)
        if isinstance(found, list):
            return Heads(tuple(_from_darknet(entry) for entry in found))
        return Heads(tuple(_from_own(entry) for entry in found["heads"]),
                     found.get("fit", "letterbox"))
    except KeyError as error:
        raise HeadsError(f"{where} must describe heads; it has no {error}. See docs/accuracy.md."
                       ) from error
    except (ValueError, TypeError, AttributeError, IndexError, RecursionError) as error:
        raise HeadsError(f"{where} must describe heads; {error}. See docs/accuracy.md.") from error


def _from_own(entry: dict[str, Any]) -> Head:
    return Head(entry["output"], entry["stride"], tuple((w, h) for w, h in entry["anchors"]),
                entry["classes"], entry.get("scale_x_y", 1.0))


def _from_darknet(entry: dict[str, Any]) -> Head:
    numbers = entry["anchors"]
    pairs = list(zip(numbers[::2], numbers[1::2], strict=True))
    if not all(type(i) is int and 0 <= i < len(pairs) for i in entry["mask"]):
        raise ValueError(f"mask must be indices of {len(pairs)} anchors, not {entry['mask']!r}")
    return Head(entry["tensor"], entry["stride"], tuple(pairs[i] for i in entry["mask"]),
                entry["classes"], entry.get("scale_x_y", 1.0))


def _is_positive(value: object) -> bool:
    return type(value) in (int, float) and 0 < value < math.inf  # type: ignore[operator]
