"""A picture of where the components are on the FPGA."""

import os
import re
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from hw.bitstream.report import component

__all__ = ["draw_floorplan"]

#: Pixels of a tile, with a pixel between two; of the frame; of a line of the legend.
_TILE, _FRAME, _LINE = 9, 12, 22
#: Of a line of the legend, two beside each other.
_LEGEND = 250
_BACKGROUND, _EMPTY, _TEXT = "white", "#eeeeee", "black"
_COLOURS = ("#1f77b4", "#ff7f0e", "#2ca02c", "#d62728", "#9467bd", "#8c564b", "#e377c2", "#bcbd22",
            "#17becf", "#111111", "#999999")
_PLACE = re.compile(r"X(\d+)/Y(\d+)/(.*)")
#: Lookup tables and flip-flops; a tile has eight of each.
_SLICE = re.compile(r"SLICE([A-D])\.(K|FF)([01])")
#: The eight logic cells of a tile of an iCE40.
_LOGIC_CELL = re.compile(r"lc([0-7])")
#: Part of a tile whose lookup tables are memory.
_WRITE_PORT = ".RAMW"


def draw_floorplan(bels: Mapping[str, str], tiles: tuple[int, int], components: Mapping[str, str],
                   picture: Path) -> None:
    """Draw where cells are, whole or not at all.

    A tile has eight lookup tables above eight flip-flops, or eight logic cells; block RAMs,
    multipliers and pins fill theirs.

    Parameters
    ----------
    bels
        Cells by nextpnr's names of places.
    tiles
        Columns and rows of the grid that the names count in.
    components
        Beginnings of cells' names, and the component that they are part of.
    picture
        File to write, a PNG.
    """
    names = list(dict.fromkeys(components.values()))
    colours = dict(zip(names, _COLOURS))
    placed = [(int(found[1]), int(found[2]), found[3], component(cell, components))
              for bel, cell in bels.items() if not bel.endswith(_WRITE_PORT)
              and (found := _PLACE.fullmatch(bel))]
    columns, rows = tiles
    width = max(columns * _TILE, 2 * _LEGEND) + 2 * _FRAME
    legend = _FRAME + rows * _TILE + _FRAME
    count = Counter(name for *_, name in placed)
    present = [name for name in names if count[name]]
    lines = -(-len(present) // 2)
    image = Image.new("RGB", (width, legend + lines * _LINE + _FRAME), _BACKGROUND)
    draw = ImageDraw.Draw(image)
    draw.rectangle((_FRAME - 1, _FRAME - 1, _FRAME + columns * _TILE, legend - _FRAME), _EMPTY)
    for x, y, site, name in placed:
        draw.rectangle(_cell(_FRAME + x * _TILE, _FRAME + y * _TILE, site), colours[name])
    font = ImageFont.load_default(14)
    for n, name in enumerate(present):
        left, top = _FRAME + n // lines * (width // 2), legend + n % lines * _LINE
        draw.rectangle((left, top + 3, left + 12, top + 15), colours[name])
        draw.text((left + 20, top), f"{name} ({count[name]:,} cells)", _TEXT, font)
    temporary = picture.with_suffix(".tmp")
    image.save(temporary, "PNG")
    os.replace(temporary, picture)


def _cell(left: int, top: int, site: str) -> tuple[int, int, int, int]:
    """A cell's rectangle in its tile; both corners are inside."""
    if found := _SLICE.fullmatch(site):
        x = left + 2 * "ABCD".index(found[1])
        y = top + 2 * (int(found[3]) + 2 * (found[2] == "FF"))
        return x, y, x + 1, y + 1
    if found := _LOGIC_CELL.fullmatch(site):
        x, y = left + 2 * (int(found[1]) % 4), top + 4 * (int(found[1]) // 4)
        return x, y, x + 1, y + 3
    return left, top, left + _TILE - 2, top + _TILE - 2
