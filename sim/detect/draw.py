"""Pictures with boxes and names drawn on them, side by side."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TypeAlias

import numpy as np
from PIL import Image, ImageColor, ImageDraw, ImageFont

from sim.detect.decode import Detections

__all__ = ["Panel", "draw", "tile"]

LONGEST = 960
"""Pixels of a panel's longer side; larger pictures are drawn smaller."""

_Box: TypeAlias = tuple[int, int, int, int]
_GAP = 6
_TITLE = 22


@dataclass(frozen=True)
class Panel:
    """One picture with what was found in it."""

    title: str
    image: Image.Image


def draw(image: Image.Image, found: Detections, names: Sequence[str], *,
         longest: int = LONGEST) -> Image.Image:
    """Draw boxes with names and scores on a copy of a picture.

    Parameters
    ----------
    names
        Of all classes.
    longest
        The result's longer side has at most so many pixels.
    """
    scale = min(1.0, longest / max(image.size))
    size = (max(round(image.width * scale), 1), max(round(image.height * scale), 1))
    canvas = image.convert("RGB").resize(size, Image.Resampling.LANCZOS)
    pen = ImageDraw.Draw(canvas)
    factors = np.array([size[0] / image.width, size[1] / image.height] * 2)
    line = max(round(max(size) / 300), 1)
    font = _font(max(round(max(size) / 60), 10))
    boxes = (np.rint(found.boxes * factors).astype(int) - np.array([0, 0, 1, 1])).tolist()
    colours = [_colour(int(index)) for index in found.classes]
    for (x0, y0, x1, y1), colour in zip(boxes[::-1], colours[::-1]):  # the best ones on top
        pen.rectangle((x0, y0, max(x0, x1), max(y0, y1)), outline=colour, width=line)
    taken = list[_Box]()
    for box, colour, index, score in zip(boxes, colours, found.classes, found.scores):
        text = f"{names[index]} {score:.2f}"
        left, top, right, bottom = pen.textbbox((0, 0), text, font=font)
        label = _place_label(box, (int(right - left) + 4, int(bottom - top) + 4), size, taken)
        taken.append(label)
        pen.rectangle(label, fill=colour)
        pen.text((label[0] + 2 - left, label[1] + 2 - top), text, font=font, fill=_ink(colour))
    return canvas


def _place_label(box: _Box, label: tuple[int, int], size: tuple[int, int],
                 taken: Sequence[_Box]) -> _Box:
    """Where a label of a width and height goes: above its box, or where it covers others least."""
    x0, y0, _, y1 = box
    wide, high = label
    x = max(min(x0, size[0] - wide), 0)
    places = [(x, y, x + wide - 1, y + high - 1) for y in (y0 - high, y0, y1 - high + 1, y1 + 1)
              if 0 <= y <= size[1] - high]
    return min(places or [(x, 0, x + wide - 1, high - 1)],
               key=lambda place: sum(_common(place, other) for other in taken))


def _common(a: _Box, b: _Box) -> int:
    """Pixels that two rectangles, edges included, share."""
    return (max(min(a[2], b[2]) - max(a[0], b[0]) + 1, 0)
            * max(min(a[3], b[3]) - max(a[1], b[1]) + 1, 0))


def tile(rows: Sequence[Sequence[Panel]]) -> Image.Image:
    """Put panels side by side, rows below one another, each under its title."""
    width = max(sum(p.image.width + _GAP for p in row) for row in rows) + _GAP
    height = sum(max(p.image.height for p in row) + _TITLE + _GAP for row in rows) + _GAP
    sheet = Image.new("RGB", (int(width), int(height)), "white")
    pen = ImageDraw.Draw(sheet)
    y = _GAP
    for row in rows:
        x = _GAP
        for panel in row:
            pen.text((x, y), _shorten(panel.title, panel.image.width), font=_font(14),
                     fill="black")
            sheet.paste(panel.image, (x, y + _TITLE))
            x += panel.image.width + _GAP
        y += max(p.image.height for p in row) + _TITLE + _GAP
    return sheet


def _shorten(text: str, width: int) -> str:
    """As much of a text as fits."""
    while len(text) > 1 and _font(14).getlength(text) > width:
        text = text[:-2] + "\N{HORIZONTAL ELLIPSIS}"
    return text


@lru_cache
def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)


def _colour(index: int) -> tuple[int, int, int]:
    """A colour for a class; those of neighbours differ."""
    # Steps of the golden angle spread hues evenly, however many there are.
    hue = index * 137.508 % 360
    return ImageColor.getrgb(f"hsl({hue:.0f}, 85%, {(45, 60)[index % 2]}%)")[:3]


def _ink(colour: tuple[int, int, int]) -> str:
    """Black or white, whichever can be read on a colour."""
    red, green, blue = colour
    return "black" if 299 * red + 587 * green + 114 * blue > 140_000 else "white"
