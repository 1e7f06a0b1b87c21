"""Procedurally drawn pictures, so that models are calibrated and tested without any photograph.

Integer arithmetic only: the pixels are the same on every machine and with every release of NumPy.
"""

from dataclasses import dataclass
from enum import Enum

import numpy as np
import numpy.typing as npt

from codegen.zoo.draws import Draws

__all__ = ["Box", "Scene", "Shape", "scene", "scene_with_boxes"]

_STREAM = 0x5CE4E5  # keeps the streams of scenes apart from those of weights


class Shape(Enum):
    """Outline of an object."""

    RECTANGLE = "rectangle"
    ELLIPSE = "ellipse"


@dataclass(frozen=True, kw_only=True)
class Box:
    """Bounding box of a drawn object: pixel columns x0..x1-1 and rows y0..y1-1."""

    shape: Shape
    x0: int
    y0: int
    x1: int
    y1: int


@dataclass(frozen=True, kw_only=True)
class Scene:
    """A picture and what was drawn on it.

    Parameters
    ----------
    pixels : uint8[size, size, 3]
        Rows from the top, RGB.
    boxes : tuple[Box, ...]
        4..9 objects in the order they were drawn; a later one can cover an earlier one.
    """

    pixels: npt.NDArray[np.uint8]
    boxes: tuple[Box, ...]


def scene(seed: int, size: int) -> npt.NDArray[np.uint8]:
    """Draw a picture; the same as ``scene_with_boxes(seed, size).pixels``."""
    return scene_with_boxes(seed, size).pixels


def scene_with_boxes(seed: int, size: int) -> Scene:
    """Draw rectangles and ellipses with stripes and checks on a blotchy gradient, with noise.

    Parameters
    ----------
    seed : int
        >= 0; selects the picture. Another size gives another picture, not a scaled one.
    size : int
        Height and width in pixels, >= 16.

    Raises
    ------
    ValueError
        If seed or size is out of range.
    """
    if seed < 0:
        raise ValueError(f"seed must be at least 0, not {seed}")
    if size < 16:
        raise ValueError(f"size must be at least 16 pixels, not {size}")
    draws = Draws(_STREAM, seed, size)
    canvas = _background(draws, size)
    boxes = tuple(_object(draws, canvas) for _ in range(draws.integer(4, 9)))
    noise = draws.octets(size, size, 3).astype(np.int32) >> 4
    pixels = np.clip(canvas + noise - 8, 0, 255).astype(np.uint8)
    return Scene(pixels=pixels, boxes=boxes)


def _color(draws: Draws) -> npt.NDArray[np.int32]:
    return draws.octets(3).astype(np.int32)


def _background(draws: Draws, size: int) -> npt.NDArray[np.int32]:
    """A gradient between four corner colors plus a grid of blotches, int32[size, size, 3]."""
    corners = [_color(draws) for _ in range(4)]
    step = np.arange(size, dtype=np.int32)[:, None]  # [size, 1]
    rest = size - 1 - step
    left = (rest * corners[0] + step * corners[1]) // (size - 1)  # [size, 3], top to bottom
    right = (rest * corners[2] + step * corners[3]) // (size - 1)
    canvas = (rest[None] * left[:, None] + step[None] * right[:, None]) // (size - 1)
    cell = max(size // draws.integer(6, 16), 2)
    count = -(-size // cell)
    blotches = draws.octets(count, count, 3).astype(np.int32) >> 2
    spread = blotches.repeat(cell, axis=0).repeat(cell, axis=1)[:size, :size]
    result: npt.NDArray[np.int32] = canvas + spread - 32
    return result


def _object(draws: Draws, canvas: npt.NDArray[np.int32]) -> Box:
    """Draw one object on the canvas, int32[size, size, 3], entirely inside it."""
    size = canvas.shape[0]
    width, height = (draws.integer(size // 10 + 2, size // 2) for _ in range(2))
    x0, y0 = draws.integer(0, size - width), draws.integer(0, size - height)
    # Twice the distance of each pixel from the center, so that it is an integer.
    dx = 2 * np.arange(width)[None, :] - (width - 1)
    dy = 2 * np.arange(height)[:, None] - (height - 1)
    shape = Shape.ELLIPSE if draws.integer(0, 1) else Shape.RECTANGLE
    if shape is Shape.ELLIPSE:
        inside = dx * dx * height * height + dy * dy * width * width <= (width * height) ** 2
    else:
        inside = np.ones((height, width), dtype=np.bool_)
    period = draws.integer(2, max(size // 16, 2))
    stripes = ((dx + width) // (2 * period) * draws.integer(0, 1)
               + (dy + height) // (2 * period) * draws.integer(0, 1)) % 2
    colors = np.stack([_color(draws), _color(draws)])
    patch = canvas[y0 : y0 + height, x0 : x0 + width]
    patch[inside] = colors[stripes][inside]
    return Box(shape=shape, x0=x0, y0=y0, x1=x0 + width, y1=y0 + height)
