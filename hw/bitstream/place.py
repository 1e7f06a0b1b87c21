"""From a netlist to a bitstream: place, refine, route, time, pack."""

import json
import os
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hw.bitstream.boards import Device
from hw.bitstream.refine import refine
from hw.bitstream.tools import Tool, ToolError, Used, find

__all__ = ["Placed", "Segment", "TimingPath", "pack", "place"]

#: What nextpnr says where a design is too large.
_TOO_LARGE = re.compile(r"no Bels remaining|unable to find legal placement|unable to place|"
                        r"utilisation limit|failed to expand region", re.I)
_UTILISATION = re.compile(r"^Info:\s+(\w+): +(\d+)/ *(\d+) +\d+%$", re.M)
#: Where nextpnr is, in its log.
_PHASE = re.compile(r"^Info: (Packing|Running main analytical placer|Running simulated annealing|"
                    r"Routing globals|Running router\d)", re.M)
_ITERATION = re.compile(r"(?:iteration #|iter=)(\d+)")
_CELL = re.compile(r'\s+"(.*)": \{$')
_BEL = re.compile(r'\s+"NEXTPNR_BEL": "(.*)",?$')
#: The router of a refined placement is asked for so much more than the clock. To it, a path that is
#: estimated to be in time does not matter, and its wires go where others leave room: a wire of 11
#: tiles took 4.4 ns, and the design 14.7 instead of the 13.8 that were estimated.
_HURRY = 1.5
#: A clock whose frequency follows from that of a pin.
_DERIVED = re.compile(r"Derived frequency constraint of ([\d.]+) MHz for net (\S+)")
#: What nextpnr-ecp5 adds to the name of a net that goes everywhere.
_GLOBAL = "$glbnet$"


@dataclass(frozen=True)
class Segment:
    """A piece of a path: a cell, or a wire to the next one.

    Parameters
    ----------
    kind
        ``logic``, ``routing``, ``setup`` or ``clk-to-q``.
    cell
        Where it ends.
    nanoseconds
    """

    kind: str
    cell: str
    nanoseconds: float


@dataclass(frozen=True)
class TimingPath:
    """The slowest path between two clocks, or from one to itself.

    Parameters
    ----------
    start, end
        The clocks.
    asked_mhz, reached_mhz
        How often in a microsecond something has to go through, and can. Clocks of a board come from
        one oscillator and rise together, so what goes from one to another has a period of the
        faster one. nextpnr does not check that.
    segments
        From register to register.
    """

    start: str
    end: str
    asked_mhz: float
    reached_mhz: float
    segments: tuple[Segment, ...]


@dataclass(frozen=True)
class Placed:
    """A placed and routed design.

    Parameters
    ----------
    seed
    paths
        Of each pair of clocks that has any.
    used, available
        Cells by nextpnr's name.
    took
    config
        The design as text, for the packer.
    bels
        Where cells are: names of cells by nextpnr's names of places.
    """

    seed: int
    paths: tuple[TimingPath, ...]
    used: dict[str, int]
    available: dict[str, int]
    took: Used
    config: Path
    bels: dict[str, str]

    @property
    def reached(self) -> float:
        """What all clocks can be multiplied by at most; less than 1 is too slow."""
        return min(path.reached_mhz / path.asked_mhz for path in self.paths)


def place(netlist: Path, device: Device, constraints: Path | None, *, clock_hz: int, seed: int,
          annealer: Tool | None = None, say: Callable[[str], None] = lambda _: None) -> Placed:
    """Place and route `netlist`, with files beside it.

    A design that is slower than `clock_hz` is no error: the result says what it reaches.

    Parameters
    ----------
    constraints
        Pins and clocks; None for a core by itself, which gets no pins.
    clock_hz
        Of clocks that the constraints do not name.
    annealer
        Moves what was placed, see :mod:`hw.bitstream.refine`; None leaves it where it is.
    say
        Called with what the tools are doing.

    Raises
    ------
    ToolError
        A tool is missing or fails, for example because the design does not fit.
    """
    folder, name = netlist.parent, f"seed-{seed}"
    program, *options = device.place
    pins: Sequence[str] = ("--out-of-context",) if constraints is None else (
        device.pins[0], constraints.name, *device.pins[1:])
    results = (device.text, f"{name}.config", "--report", f"{name}.json", "--write",
               f"{name}.cells")

    def run(log: str, *more: str, hurry: float = 1) -> Used:
        return find(program).run(
            *options, *more, "--freq", f"{hurry * clock_hz / 1e6:g}", "--seed", str(seed),
            "--timing-allow-fail", folder=folder, log=log, follow=lambda log: say(_phase(log)))

    first = f"{name}.log" if annealer is None else f"{name}.place.log"
    placed, moved, delays = (folder / f"{name}.{kind}" for kind in ("placed", "moved", "sdf"))
    try:
        took = run(first, "--json", netlist.name, *pins, *(
            results if annealer is None
            else ("--no-route", "--write", placed.name, "--sdf", delays.name)))
    except ToolError as error:
        if _TOO_LARGE.search(str(error)):
            used = _utilisation((folder / first).read_text(errors="replace"))
            raise ToolError(f"{error}\n{device.too_large(used)}") from error
        raise
    if annealer is not None:
        took += refine(annealer, placed, delays, moved, device, clock_hz=clock_hz, seed=seed,
                       say=say)
        clocks = folder / f"{name}.sdc"
        clocks.write_text("".join(_clocks((folder / first).read_text(errors="replace"))))
        took += run(f"{name}.log", "--json", moved.name, "--sdc", clocks.name, "--no-pack",
                    "--no-place", *results, hurry=_HURRY)
        for temporary in (placed, delays, moved, clocks):
            temporary.unlink()
    report = json.loads((folder / f"{name}.json").read_text())
    cells = folder / f"{name}.cells"
    bels = dict(_bels(cells))
    cells.unlink()
    return Placed(
        seed=seed, paths=tuple(_paths(report, 1 if annealer is None else _HURRY)), took=took,
        used={cell: n["used"] for cell, n in report["utilization"].items()},
        available={cell: n["available"] for cell, n in report["utilization"].items()},
        config=folder / f"{name}.config", bels=bels)


def _clocks(log: str) -> Iterator[str]:
    """Clocks, as nextpnr derived them when it packed the design, for a run that only routes."""
    for megahertz, net in _DERIVED.findall(log):
        period = 1e3 / float(megahertz) / _HURRY
        yield f"create_clock -period {period:.7f} [get_nets {_GLOBAL}{net}]\n"


def _utilisation(log: str) -> list[tuple[str, int, int]]:
    """Types of cells, how many are used and how many there are, as nextpnr counted them."""
    kinds = dict.fromkeys(found.groups() for found in _UTILISATION.finditer(log))
    return [(kind, int(n), int(most)) for kind, n, most in kinds]


def _phase(log: str) -> str:
    """What nextpnr is doing, from the end of its log."""
    phases = list(_PHASE.finditer(log))
    if not phases:
        return ""
    iterations = _ITERATION.findall(log, phases[-1].end())
    return phases[-1][1] + (f", iteration {iterations[-1]}" if iterations else "")


def _paths(report: dict[str, Any], hurry: float) -> Iterator[TimingPath]:
    """Paths from clocks to clocks; the router was asked for `hurry` times the clocks."""
    clocks = report["fmax"]
    for path in report["critical_paths"]:
        (first, start), (last, end) = (path[at].rpartition(" ")[::2] for at in ("from", "to"))
        if start not in clocks or end not in clocks:
            continue  # from or to a pin
        segments = tuple(Segment(s["type"], s["to"]["cell"], s["delay"]) for s in path["path"])
        asked = max(clocks[start]["constraint"], clocks[end]["constraint"]) / hurry
        if start == end:
            reached = clocks[start]["achieved"]
        else:
            reached = 1e3 / sum(s.nanoseconds for s in segments) / (1 if first == last else 2)
        yield TimingPath(_clock(start), _clock(end), asked, reached, segments)


def _clock(net: str) -> str:
    return net.removeprefix(_GLOBAL).removesuffix("$SB_IO_IN_$glb_clk")


def _bels(design: Path) -> Iterator[tuple[str, str]]:
    """Places and cells of a design that nextpnr wrote; line by line, for it is large."""
    cell = ""
    with open(design, errors="replace") as lines:
        for line in lines:
            if found := _CELL.match(line):
                cell = found[1] if found[1] not in ("attributes", "parameters") else cell
            elif found := _BEL.match(line):
                yield found[1], cell.replace("\\", "")


def pack(placed: Placed, device: Device, bitstream: Path) -> Used:
    """Write the bitstream; whole or not at all.

    Raises
    ------
    ToolError
        The packer is missing or fails.
    """
    folder, temporary = placed.config.parent, bitstream.with_suffix(".tmp")
    program, *options = device.pack
    used = find(program).run(*options, placed.config.name, temporary.name, folder=folder,
                             log="pack.log")
    os.replace(temporary, bitstream)
    return used
