"""From a netlist to a bitstream: place, refine, route, time, pack."""

import json
import os
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from hw.bitstream.boards import Device
from hw.bitstream.placement import GLOBAL, write_routed
from hw.bitstream.refine import refine
from hw.bitstream.tools import Stopped, Tool, ToolError, Used, find

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
#: Times that a refined placement is routed at most.
_ROUTES = 6
#: How much more than what was reached is asked for the next time, as a share. Asked for more than a
#: placement allows, nextpnr goes on without end: no wire is used twice, but paths are always late.
_STEP = 0.08
#: Iterations after which that is taken to be the case; where it came to an end it took up to 194.
_MOST_ITERATIONS = 200
#: If the first time does not come to an end, what is late stays late, and so many times the clock
#: is asked for: otherwise wires that are estimated to be in time may go anywhere.
_HURRY = 1.5
#: A clock whose frequency follows from that of a pin.
_DERIVED = re.compile(r"Derived frequency constraint of ([\d.]+) MHz for net (\S+)")


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
    nextpnr = _Nextpnr(device, folder, clock_hz, seed, say)
    pins: Sequence[str] = ("--out-of-context",) if constraints is None else (
        device.pins[0], constraints.name, *device.pins[1:])
    placed, moved, delays = (folder / f"{name}.{kind}" for kind in ("placed", "moved", "sdf"))
    log = f"{name}.log" if annealer is None else f"{name}.place.log"
    try:
        if annealer is None:
            found, design = nextpnr.route(name, "--json", netlist.name, *pins)
            design.unlink()
            return found
        took = nextpnr.run(log, "--json", netlist.name, *pins, "--no-route",
                           "--write", placed.name, "--sdf", delays.name)
    except ToolError as error:
        if _TOO_LARGE.search(str(error)):
            used = _utilisation((folder / log).read_text(errors="replace"))
            raise ToolError(f"{error}\n{device.too_large(used)}") from error
        raise
    took += refine(annealer, placed, delays, moved, device, clock_hz=clock_hz, seed=seed, say=say)
    placed.unlink()
    delays.unlink()
    found = _route(nextpnr, name, moved, _DERIVED.findall(
        (folder / log).read_text(errors="replace")))
    return replace(found, took=took + found.took)


@dataclass(frozen=True)
class _Nextpnr:
    """nextpnr for a device, with a folder of files, a clock and a seed."""

    device: Device
    folder: Path
    clock_hz: int
    seed: int
    say: Callable[[str], None]

    def run(self, log: str, *more: str, asked: float = 1,
            hopeless: Callable[[str], bool] = lambda _: False) -> Used:
        """Run it, for `asked` times the clock."""
        program, *options = self.device.place
        return find(program).run(
            *options, *more, "--freq", f"{asked * self.clock_hz / 1e6:.9g}",
            "--seed", str(self.seed), "--timing-allow-fail", folder=self.folder, log=log,
            follow=lambda end: self.say(_phase(end)), hopeless=hopeless)

    def route(self, name: str, *more: str, asked: float = 1,
              hopeless: Callable[[str], bool] = lambda _: False) -> tuple[Placed, Path]:
        """Run it to the end: what comes out, and the design with all its wires."""
        config, report, design = (
            self.folder / f"{name}.{kind}" for kind in ("config", "json", "routed"))
        took = self.run(f"{name}.log", *more, self.device.text, config.name,
                        "--report", report.name, "--write", design.name, asked=asked,
                        hopeless=hopeless)
        found = json.loads(report.read_text())
        counts = found["utilization"]
        return Placed(
            seed=self.seed, paths=tuple(_paths(found, asked)), took=took,
            used={cell: n["used"] for cell, n in counts.items()},
            available={cell: n["available"] for cell, n in counts.items()},
            config=config, bels=dict(_bels(design))), design


def _route(nextpnr: _Nextpnr, name: str, moved: Path, clocks: Sequence[tuple[str, str]]) -> Placed:
    """Route a placement; then again what is late of it, as long as that makes it faster.

    Parameters
    ----------
    moved
        The placement; deleted.
    clocks
        Megahertz and nets, as nextpnr derived them when it packed the design; a run that only
        routes does not.
    """
    constraints, source = nextpnr.folder / f"{name}.sdc", nextpnr.folder / f"{name}.source"

    def route(n: int, source: Path, *, asked: float, late_again: bool = True
              ) -> tuple[Placed, Path]:
        constraints.write_text("".join(
            f"create_clock -period {1e3 / (asked * float(megahertz)):.7f} "
            f"[get_nets {GLOBAL}{net}]\n" for megahertz, net in clocks))
        return nextpnr.route(
            f"{name}.route-{n}", "--json", source.name, "--sdc", constraints.name, "--no-pack",
            "--no-place", *(["--tmg-ripup"] if late_again else []), asked=asked,
            hopeless=lambda log: late_again and _iteration(log) > _MOST_ITERATIONS)

    took = Used(0, 0)
    try:
        best, design = route(1, moved, asked=1)
    except Stopped as stopped:
        took += stopped.used
        best, design = route(1, moved, asked=_HURRY, late_again=False)
    took += best.took
    moved.unlink()
    asked = best.reached * (1 + _STEP)
    for n in range(2, _ROUTES + 1):
        if best.reached >= 1:
            break
        write_routed(design, source)
        asked = min(asked, 1)
        try:
            found, routed = route(n, source, asked=asked)
        except Stopped as stopped:
            took += stopped.used
            asked = (best.reached + asked) / 2
            continue
        took += found.took
        if found.reached > best.reached:
            best, found, design, routed = found, best, routed, design
            asked = best.reached * (1 + _STEP)
        else:
            asked = (best.reached + asked) / 2
        for slower in (found.config, routed):
            slower.unlink()
    for temporary in (source, constraints, design):
        temporary.unlink(missing_ok=True)
    config = nextpnr.folder / f"{name}.config"
    os.replace(best.config, config)
    return replace(best, took=took, config=config)


def _utilisation(log: str) -> list[tuple[str, int, int]]:
    """Types of cells, how many are used and how many there are, as nextpnr counted them."""
    kinds = dict.fromkeys(found.groups() for found in _UTILISATION.finditer(log))
    return [(kind, int(n), int(most)) for kind, n, most in kinds]


def _phase(log: str) -> str:
    """What nextpnr is doing, from the end of its log."""
    phases = list(_PHASE.finditer(log))
    if not phases:
        return ""
    iteration = _iteration(log[phases[-1].end():])
    return phases[-1][1] + (f", iteration {iteration}" if iteration else "")


def _iteration(log: str) -> int:
    """The last iteration; 0 if there is none."""
    return int((_ITERATION.findall(log) or [0])[-1])


def _paths(report: dict[str, Any], asked: float) -> Iterator[TimingPath]:
    """Paths from clocks to clocks; nextpnr was asked for `asked` times the clocks."""
    clocks = report["fmax"]
    for path in report["critical_paths"]:
        (first, start), (last, end) = (path[at].rpartition(" ")[::2] for at in ("from", "to"))
        if start not in clocks or end not in clocks:
            continue  # from or to a pin
        segments = tuple(Segment(s["type"], s["to"]["cell"], s["delay"]) for s in path["path"])
        wanted = max(clocks[start]["constraint"], clocks[end]["constraint"]) / asked
        if start == end:
            reached = clocks[start]["achieved"]
        else:
            reached = 1e3 / sum(s.nanoseconds for s in segments) / (1 if first == last else 2)
        yield TimingPath(_clock(start), _clock(end), wanted, reached, segments)


def _clock(net: str) -> str:
    return net.removeprefix(GLOBAL).removesuffix("$SB_IO_IN_$glb_clk")


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
