"""Registers and lookup tables that many cells hang on, once more for each region that these are in.

A net with a thousand sinks is routed as one tree; its last branches are as late as all of a path
should be. Copies of its driver, each beside those that it drives, have short nets.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from copy import deepcopy
from typing import Any

from hw.bitstream.boards import Device

__all__ = ["MEMORY_MODES", "replicate"]

#: Lookup tables that are memory, or make room for its write port.
MEMORY_MODES = ("DPRAM", "RAMW_BLOCK")

#: Sinks of a cell, at most; more only inside of one tile.
_MOST_SINKS = 128
#: What can be copied: its output, and where in a tile a copy goes.
_KINDS = {"TRELLIS_FF": ("Q", "SLICEA.FF0"), "TRELLIS_COMB": ("F", "SLICEA.K0")}

_TILE = re.compile(r"X(\d+)/Y(\d+)/")

Tile = tuple[int, int]
Pin = tuple[str, str]


def replicate(module: dict[str, Any], device: Device, *, most: int = _MOST_SINKS) -> dict[str, str]:
    """Add copies of cells to a placed design, and divide their sinks among them.

    All sinks in a tile stay with one cell, since the registers of a tile have the same reset, and
    those of a slice the same enable. A register's copy is put into the nearest logic tile without
    any register, a lookup table's where the first slice is without any; both where there is no
    memory. Registers with an asynchronous reset are left alone: two would not leave it in the same
    cycle.

    Parameters
    ----------
    module
        Of nextpnr's JSON, with places; changed.
    device
        With its logic tiles.
    most
        Sinks of a cell from which on it gets copies.

    Returns
    -------
    Which cell each new one is a copy of.
    """
    cells = module["cells"]
    sinks: dict[int, list[Pin]] = defaultdict(list)
    free = {kind: set(device.logic) for kind in _KINDS}
    highest = 0
    for name, cell in cells.items():
        tile, bel = _tile(cell), cell["attributes"]["NEXTPNR_BEL"]
        if (cell["type"] == "TRELLIS_RAMW"
                or cell["parameters"].get("MODE") in MEMORY_MODES):
            for tiles in free.values():
                tiles.discard(tile)
        elif cell["type"] == "TRELLIS_FF" or "/SLICEA.K" in bel:
            free[cell["type"]].discard(tile)
        for port, bits in cell["connections"].items():
            highest = max([highest, *(bit for bit in bits if isinstance(bit, int))])
            # What goes to DI comes from the lookup table beside it.
            if bits and port != "DI" and cell["port_directions"][port] == "input":
                sinks[bits[0]].append((name, port))
    copies: dict[str, str] = {}
    for name, cell in list(cells.items()):
        kind, has = cell["type"], cell["parameters"]
        if (kind not in _KINDS or has.get("SRMODE") == "ASYNC"
                or has.get("MODE", "LOGIC") != "LOGIC"):
            continue
        output, place = _KINDS[kind]
        [bit] = cell["connections"].get(output) or [None]
        if len(sinks[bit]) <= most:
            continue
        regions = sorted(_regions(cells, sinks[bit], most),
                         key=lambda pins: _distance(_middle(cells, pins), _tile(cell)))
        for n, pins in enumerate(regions[1:], 1):  # the cell itself keeps the nearest
            if not free[kind]:
                break
            middle = _middle(cells, pins)
            x, y = min(free[kind], key=lambda tile: (_distance(tile, middle), tile))
            free[kind].discard((x, y))
            highest += 1
            copy = f"{name}$copy_{n}"
            cells[copy] = _copy(cell, output, highest, f"X{x}/Y{y}/{place}")
            module["netnames"][copy] = {"hide_name": 1, "bits": [highest], "attributes": {}}
            copies[copy] = name
            for sink, port in pins:
                cells[sink]["connections"][port] = [highest]
    return copies


def _copy(cell: Mapping[str, Any], output: str, bit: int, bel: str) -> dict[str, Any]:
    """The cell with another output, elsewhere: a register's input comes over a wire."""
    made = deepcopy(dict(cell))
    wired, ways = made["connections"], made["port_directions"]
    wired[output] = [bit]
    if wired.get("DI"):
        wired["M"], ways["M"] = wired.pop("DI"), ways.pop("DI")
        made["parameters"]["SD"] = "0 "
    made["attributes"]["NEXTPNR_BEL"] = bel
    return made


def _regions(cells: Mapping[str, Any], pins: Sequence[Pin], most: int) -> list[list[Pin]]:
    """Halve the pins along the longer side of the area that they are in, until they are few."""
    tiles = Counter(_tile(cells[name]) for name, _ in pins)
    if len(pins) <= most or len(tiles) == 1:
        return [list(pins)]
    spans = [max(along) - min(along) for along in zip(*tiles)]
    axis = spans.index(max(spans))
    ordered = sorted(tiles, key=lambda tile: (tile[axis], tile[1 - axis]))
    half, count = 0, 0
    while half < len(ordered) - 1 and (not half or 2 * count < len(pins)):
        count += tiles[ordered[half]]
        half += 1
    low = set(ordered[:half])
    parts: tuple[list[Pin], list[Pin]] = ([], [])
    for pin in pins:
        parts[_tile(cells[pin[0]]) not in low].append(pin)
    return [region for part in parts for region in _regions(cells, part, most)]


def _middle(cells: Mapping[str, Any], pins: Sequence[Pin]) -> Tile:
    xs, ys = zip(*(_tile(cells[name]) for name, _ in pins))
    return sum(xs) // len(xs), sum(ys) // len(ys)


def _distance(one: Tile, other: Tile) -> int:
    return abs(one[0] - other[0]) + abs(one[1] - other[1])


def _tile(cell: Mapping[str, Any]) -> Tile:
    found = _TILE.match(cell["attributes"]["NEXTPNR_BEL"])
    assert found, cell["attributes"]["NEXTPNR_BEL"]
    return int(found[1]), int(found[2])
