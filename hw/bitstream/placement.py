"""A placed design, as nextpnr-ecp5 writes it, as arrays for the annealer, and back.

The netlist with places is nextpnr's JSON, delays of cells are its SDF. What must stay together, and
what may be in a tile together, is what nextpnr checks (isBelLocationValid): nothing else knows it.

Ref: Lattice, ECP5 and ECP5-5G Family Data Sheet, FPGA-DS-02012, section 2.2, slices.
"""

import json
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hw.bitstream.boards import Device
from hw.bitstream.replicate import MEMORY_MODES, replicate

__all__ = ["GLOBAL", "PlacedDesign", "read_placed", "write_routed"]

#: What nextpnr-ecp5 adds to the name of a net that goes everywhere.
GLOBAL = "$glbnet$"

#: Kinds of cells, besides those of macros, which are numbered from 2: annealer/design.h.
_LUT, _FF, _FIRST_MACRO, _WRITE_PORT, _FIXED = 0, 1, 2, 254, 255
_NO_LOGIC, _LOGIC, _MEMORY = 0, 1, 2
#: Setup time of what does not end a path, picoseconds.
_NO_END = -1e9
#: What drives nets that reach everything by wires of their own.
_CLOCK_DRIVERS = {"DCCA", "EHXPLLL"}

_BEL = re.compile(r"X(\d+)/Y(\d+)/(?:SLICE([A-D])\.(?:K|FF)([01])$)?")
_SDF_INSTANCE = re.compile(r"\(INSTANCE (\S+)\)")
_SDF_PATH = re.compile(r"\(IOPATH (\S+) (\S+) \(-?\d+:-?\d+:(-?\d+)\)")
_SDF_SETUP = re.compile(r"\(SETUPHOLD \(\w+ (\S+)\) \(\w+ (\S+)\) \(-?\d+:-?\d+:(-?\d+)\)")
_SDF_ESCAPE = re.compile(r"\\(.)")


@dataclass
class _Delays:
    """Of the cells, picoseconds, by name of the cell."""

    #: From an input, to an output.
    paths: dict[str, list[tuple[str, str, int]]] = field(
        default_factory=lambda: defaultdict(list))
    #: Of an input.
    setups: dict[str, dict[str, int]] = field(default_factory=lambda: defaultdict(dict))
    #: Inputs that are clocks.
    clocks: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))

    def copy(self, cell: str, to: str) -> None:
        """Take those of a cell for another one. A register's input then comes over a wire."""
        self.paths[to], self.clocks[to] = self.paths[cell], self.clocks[cell]
        setups = self.setups.get(cell)
        if setups:
            wire = next((of["M"] for of in self.setups.values() if "M" in of), None)
            self.setups[to] = setups if wire is None else {"M": wire} | setups


@dataclass(frozen=True)
class PlacedDesign:
    """What was placed.

    Parameters
    ----------
    design
        nextpnr's JSON.
    names
        Of the cells, in the order of the arrays.
    arrays
        As annealer/design.h wants them.
    device
    """

    design: dict[str, Any]
    names: tuple[str, ...]
    arrays: tuple[NDArray[np.int32] | NDArray[np.float32], ...]
    device: Device

    def write_arrays(self, path: Path) -> None:
        """Write what the annealer reads."""
        with open(path, "wb") as file:
            for array in self.arrays:
                file.write(np.int64(len(array)).tobytes() + array.tobytes())

    def write_moved(self, places: NDArray[np.int32], path: Path) -> int:
        """Write the design with other places, for nextpnr to route.

        Parameters
        ----------
        places
            Column, row and place of each cell, what the annealer wrote. [3, cells]

        Returns
        -------
        How many cells have another place.
        """
        cells = _module(self.design)["cells"]
        sites = [site.bel for sites in self.device.sites.values() for site in sites]
        moved = 0
        for name, x, y, place in zip(self.names, *places.tolist()):
            cell = cells[name]
            match cell["type"]:
                case "TRELLIS_COMB":
                    bel = f"X{x}/Y{y}/SLICE{'ABCD'[place // 2]}.K{place % 2}"
                case "TRELLIS_FF":
                    bel = f"X{x}/Y{y}/SLICE{'ABCD'[place // 2]}.FF{place % 2}"
                case "TRELLIS_RAMW":
                    bel = f"X{x}/Y{y}/SLICEC.RAMW"
                case kind if kind in self.device.sites:
                    bel = sites[place]
                case _:
                    continue
            moved += bel != cell["attributes"]["NEXTPNR_BEL"]
            cell["attributes"]["NEXTPNR_BEL"] = bel
        _write(self.design, path)
        return moved


def read_placed(netlist: Path, delays: Path, device: Device) -> PlacedDesign:
    """Read what nextpnr placed, and add copies of cells that drive too much.

    Parameters
    ----------
    netlist
        What it wrote with ``--write``.
    delays
        And with ``--sdf``.
    device
        With its sites and logic tiles.
    """
    design = json.loads(netlist.read_text())
    cells = _module(design)["cells"]
    took = _read_delays(delays)
    for copy, cell in replicate(_module(design), device).items():
        took.copy(cell, copy)
    names = tuple(cells)
    where = _Places(cells, device)
    nets = _Nets(cells, took)
    integers, floats = np.int32, np.float32

    def array(values: ArrayLike, kind: type) -> Any:
        return np.asarray(values, kind)

    sites = [(kind, site.x, site.y)
             for kind, sites in enumerate(device.sites.values(), _FIRST_MACRO) for site in sites]
    columns = list(zip(*sites)) or [(), (), ()]
    return PlacedDesign(design, names, (
        array(device.tiles, integers), array(where.tile_kind, integers),
        *(array(values, integers) for values in (
            where.kind, where.x, where.y, where.place, _blocks(cells, nets, where), where.carry,
            where.tile_control, where.slice_control, *columns, nets.driver)),
        array(nets.clock_to_net, floats),
        *(array(values, integers) for values in (nets.first_sink, nets.sink_cell, nets.direct)),
        array(nets.setup, floats), array(nets.first_way, integers), array(nets.way_net, integers),
        array(nets.way_delay, floats), array(device.wire_delays, floats),
        array(device.wire_capacity, floats)), device)


def write_routed(routed: Path, path: Path) -> None:
    """Write what nextpnr routed, for it to go on from there."""
    design = json.loads(routed.read_text())
    for name, net in _module(design)["netnames"].items():
        # Clocks are routed anew, and what has no wires must not say so.
        if name.startswith(GLOBAL) or not net["attributes"].get("ROUTING"):
            net["attributes"].pop("ROUTING", None)
    _write(design, path)


def _write(design: Mapping[str, Any], path: Path) -> None:
    """Write a design without the settings that would count more than those of the command line."""
    module = _module(design)
    module["settings"] = {
        name: value for name, value in module["settings"].items()
        if name not in ("seed", "target_freq") and not name.startswith("router")}
    path.write_text(json.dumps(design))


def _module(design: Mapping[str, Any]) -> Any:
    (module,) = design["modules"].values()
    return module


class _Places:
    """Where cells are, and what they must have in common with others there."""

    def __init__(self, cells: Mapping[str, Any], device: Device) -> None:
        size, (width, height) = len(cells), device.tiles
        self.tile_kind = [_NO_LOGIC] * (width * height)
        for x, y in device.logic:
            self.tile_kind[y * width + x] = _LOGIC
        self.kind, self.x, self.y = [_FIXED] * size, [0] * size, [0] * size
        self.place, self.carry = [0] * size, [0] * size
        self.tile_control, self.slice_control = [0] * size, [0] * size
        kinds = {name: n for n, name in enumerate(device.sites, _FIRST_MACRO)}
        sites = {site.bel: n for n, site in enumerate(
            site for sites in device.sites.values() for site in sites)}
        tile_controls: dict[object, int] = {}
        slice_controls: dict[object, int] = {}
        for n, cell in enumerate(cells.values()):
            kind, bel = cell["type"], cell["attributes"]["NEXTPNR_BEL"]
            found = _BEL.match(bel)
            assert found, bel
            self.x[n], self.y[n] = x, y = int(found[1]), int(found[2])
            has, wired = cell["parameters"], cell["connections"]
            if found[3]:
                self.place[n] = 2 * "ABCD".index(found[3]) + int(found[4])
            if kind == "TRELLIS_FF":
                self.kind[n] = _FF
                self.tile_control[n] = tile_controls.setdefault(
                    (*map(_bit(wired), ("CLK", "LSR")), has.get("CLKMUX"), has.get("LSRMUX"),
                     has.get("SRMODE") == "ASYNC"), len(tile_controls))
                self.slice_control[n] = slice_controls.setdefault(
                    (_bit(wired)("CE"), has.get("CEMUX"), has.get("GSR")), len(slice_controls))
            elif kind == "TRELLIS_COMB":
                self.kind[n] = _LUT
                self.carry[n] = has.get("MODE") == "CCU2"
                if has.get("MODE") in MEMORY_MODES:
                    self.tile_kind[y * width + x] = _MEMORY
            elif kind == "TRELLIS_RAMW":
                self.kind[n] = _WRITE_PORT
                self.tile_kind[y * width + x] = _MEMORY
            elif kind in kinds and not _shares(cell):
                self.kind[n], self.place[n] = kinds[kind], sites[bel]


def _shares(cell: Mapping[str, Any]) -> bool:
    """Whether it is a DSP with clock, enable or reset, of which its neighbours have the same."""
    return cell["type"] == "MULT18X18D" and any(
        bits for port, bits in cell["connections"].items()
        if port.startswith(("CLK", "CE", "RST")))


def _bit(wired: Mapping[str, list[Any]]) -> Any:
    """The net at a port of one bit, by its name."""
    return lambda port: (wired.get(port) or [None])[0]


class _Nets:
    """Nets with their sinks, and the ways that go on from a sink."""

    def __init__(self, cells: Mapping[str, Any], delays: _Delays) -> None:
        number = {name: n for n, name in enumerate(cells)}
        net_of_bit: dict[int, int] = {}
        net_of_pin: dict[tuple[int, str], int] = {}
        drivers: list[tuple[str, str]] = []
        for (name, port), bit in _pins(cells, "output"):
            if bit not in net_of_bit:
                net_of_bit[bit] = net_of_pin[number[name], port] = len(drivers)
                drivers.append((name, port))
        sinks: list[list[tuple[str, str]]] = [[] for _ in drivers]
        for pin, bit in _pins(cells, "input"):
            if bit in net_of_bit:
                sinks[net_of_bit[bit]].append(pin)
        self.driver = [-1 if cells[name]["type"] in _CLOCK_DRIVERS else number[name]
                       for name, _ in drivers]
        self.clock_to_net = [-1] * len(drivers)
        ways = defaultdict[tuple[int, str], list[tuple[int, int]]](list)
        for name, paths in delays.paths.items():
            for start, end, delay in paths:
                net = net_of_pin.get((number[name], end))
                if net is None:
                    continue
                if start in delays.clocks[name]:
                    self.clock_to_net[net] = max(self.clock_to_net[net], delay)
                else:
                    ways[number[name], start].append((net, delay))
        self.first_sink = [0, *accumulate(map(len, sinks))]
        self.sink_cell: list[int] = []
        self.direct: list[int] = []
        self.setup: list[float] = []
        self.first_way = [0]
        self.way_net: list[int] = []
        self.way_delay: list[int] = []
        for (_, out), pins in zip(drivers, sinks):
            for name, port in pins:
                self.sink_cell.append(number[name])
                self.direct.append((out, port) in (("FCO", "FCI"), ("F", "DI"))
                                   or port in ("FXA", "FXB"))
                self.setup.append(delays.setups.get(name, {}).get(port, _NO_END))
                for net, delay in ways.get((number[name], port), ()):
                    self.way_net.append(net)
                    self.way_delay.append(delay)
                self.first_way.append(len(self.way_net))


def _pins(cells: Mapping[str, Any], direction: str) -> Iterator[tuple[tuple[str, str], int]]:
    """Cells' pins of a direction with their nets; what goes both ways is an output."""
    for name, cell in cells.items():
        for port, bits in cell["connections"].items():
            way = cell["port_directions"][port]
            if bits and isinstance(bits[0], int) and (way == "input") == (direction == "input"):
                yield (name, port), bits[0]


def _blocks(cells: Mapping[str, Any], nets: _Nets, where: _Places) -> list[int]:
    """Number cells so that those that must stay together have the same number."""
    above = list(range(len(cells)))

    def top(cell: int) -> int:
        while above[cell] != cell:
            above[cell] = above[above[cell]]
            cell = above[cell]
        return cell

    for net, driver in enumerate(nets.driver):
        for sink in range(nets.first_sink[net], nets.first_sink[net + 1]):
            if nets.direct[sink] and driver >= 0:
                above[top(nets.sink_cell[sink])] = top(driver)
    # The two halves of a carry slice, which need no wire between them at the end of a chain.
    slices: dict[tuple[int, int, int], int] = {}
    for cell, carry in enumerate(where.carry):
        if carry:
            first = slices.setdefault((where.x[cell], where.y[cell], where.place[cell] // 2), cell)
            above[top(cell)] = top(first)
    numbers: dict[int, int] = {}
    return [numbers.setdefault(top(cell), len(numbers)) for cell in range(len(cells))]


def _read_delays(path: Path) -> _Delays:
    """Read the delays of cells; those of wires will be others."""
    delays = _Delays()
    name = ""
    with open(path, errors="replace") as lines:  # a hundred megabytes
        for line in lines:
            if found := _SDF_PATH.search(line):
                delays.paths[name].append((_plain(found[1]), _plain(found[2]), int(found[3])))
            elif found := _SDF_SETUP.search(line):
                delays.setups[name][_plain(found[1])] = int(found[3])
                delays.clocks[name].add(_plain(found[2]))
            elif found := _SDF_INSTANCE.search(line):
                name = _plain(found[1])
    # An output's clock, where no input is checked against it.
    for cell, paths in delays.paths.items():
        delays.clocks[cell] |= {start for start, _, _ in paths
                                if start.startswith(("CLK", "WCK", "SCLK", "ECLK"))}
    return delays


def _plain(name: str) -> str:
    return _SDF_ESCAPE.sub(r"\1", name)
