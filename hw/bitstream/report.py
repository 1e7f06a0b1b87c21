"""What a bitstream takes and reaches: ``hardware.json`` and tables."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from rich.table import Table

from hw.bitstream.boards import Board
from hw.bitstream.place import Placed, TimingPath
from hw.bitstream.tools import Used

__all__ = ["Attempt", "component", "component_table", "describe", "frames", "summary", "tables"]


@dataclass(frozen=True)
class Attempt:
    """What came of a seed.

    Parameters
    ----------
    placed
    macros_tiles, macros_random_tiles
        Length of the wires between macros, and of those of a random assignment.
    macros_took
    """

    placed: Placed
    macros_tiles: float
    macros_random_tiles: float
    macros_took: Used


def component(cell: str, components: Mapping[str, str]) -> str:
    """The component that a cell is part of, of those of a board."""
    prefix = next(p for p in sorted(components, key=len, reverse=True) if cell.startswith(p))
    return components[prefix]


def describe(board: Board, fastest: Attempt, runs: Sequence[Attempt],
             by_component: Mapping[str, Counter[str]]) -> dict[str, Any]:
    """The part of ``hardware.json`` that comes out of the tools.

    Components have LUTs before packing, which nextpnr shares and adds to; the rest is exact.
    """
    best = fastest.placed
    return {
        "seed": best.seed,
        "resources": {name: {"used": best.used[cell], "available": best.available[cell]}
                      for cell, name in board.device.resources.items()},
        "components": {component: {name: sum(n * cells[cell] for cell, n in kinds.items())
                                   for name, kinds in board.device.cells.items()}
                       for component, cells in by_component.items()},
        "paths": [_path(path, board.components) for path in best.paths],
        "seeds": [_seed(run) for run in runs],
    }


def _seed(run: Attempt) -> dict[str, Any]:
    placed = run.placed
    return {"seed": placed.seed, "reached": placed.reached,
            "clocks": {p.start: p.reached_mhz for p in placed.paths if p.start == p.end},
            "macros": {"tiles": round(run.macros_tiles), "random": round(run.macros_random_tiles)},
            **asdict(placed.took)}


def _path(path: TimingPath, components: Mapping[str, str]) -> dict[str, Any]:
    return {"start": path.start, "end": path.end, "asked_mhz": path.asked_mhz,
            "reached_mhz": path.reached_mhz,
            "segments": [{"kind": s.kind, "component": component(s.cell, components),
                          "cell": s.cell, "nanoseconds": s.nanoseconds} for s in path.segments]}


def component_table(found: Mapping[str, Any]) -> tuple[tuple[str, ...], list[tuple[Any, ...]]]:
    """Headings and rows of what each component takes, from ``hardware.json``."""
    components = found["components"]
    kinds = tuple(next(iter(components.values())))
    return (("component", *kinds),
            [(name, *cells.values()) for name, cells in components.items() if any(cells.values())])


def frames(found: Mapping[str, Any], run: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """Frames per second, with the cycles that a run of the RTL took.

    The clock is what the bitstream was made for, or what it reaches if that is less.
    """
    if run is None:
        return None
    clock_hz = min(found["clock_hz"], found["reached_hz"])
    return {**run, "clock_hz": clock_hz, "per_second": clock_hz / run["cycles"]}


def summary(found: Mapping[str, Any]) -> Iterator[str]:
    """What matters, in sentences."""
    asked, reached = found["clock_hz"] / 1e6, found["reached_hz"] / 1e6
    if found["reached_hz"] >= found["clock_hz"]:
        yield f"timing: asked for {asked:g} MHz, reaches {reached:.1f} MHz"
    else:
        yield (f"timing MISSED: asked for {asked:g} MHz, reaches {reached:.1f} MHz; the bitstream "
               f"runs at {asked:g} MHz and may compute wrong results: try other --seeds, or "
               f"--clock-mhz {int(reached * 2) / 2:g}")
    if run := found["frames"]:
        yield (f"{run['network']}: {run['per_second']:.2f} frames per second = "
               f"{run['clock_hz'] / 1e6:.1f} MHz / {run['cycles']:,} cycles ({run['engine']})")


def tables(found: Mapping[str, Any]) -> Iterator[Table]:
    """All about a bitstream, from ``hardware.json``."""
    yield _table("Resources", ("", "used", "available", "share"), (
        (name, n["used"], n["available"], f"{n['used'] / n['available']:.0%}")
        for name, n in found["resources"].items()))
    yield _table("Components, as synthesized", *component_table(found))
    timing = _table(f"Slowest paths, seed {found['seed']}",
                    ("clocks", "asked MHz", "MHz", "logic ns", "routing ns"), ())
    timing.add_column("through")
    for path in found["paths"]:
        timing.add_row(*map(str, _timing(path)))
    yield timing
    if len(found["seeds"]) > 1:
        clocks = list(found["seeds"][0]["clocks"])
        yield _table("Seeds", ("seed", "of what was asked", *(f"{c} MHz" for c in clocks),
                               "CPU s"), (
            (run["seed"], f"{run['reached']:.1%}", *(f"{run['clocks'][c]:.1f}" for c in clocks),
             f"{run['seconds']:.0f}") for run in found["seeds"]))
    yield _table("Cost", ("", "CPU s", "MB"), (
        (name, f"{used['seconds']:.0f}", f"{used['megabytes']:.0f}")
        for name, used in found["took"].items()))


def _table(title: str, headings: Sequence[str], rows: Any) -> Table:
    table = Table(title=title, title_justify="left")
    for n, heading in enumerate(headings):
        table.add_column(heading, justify="right" if n else "left", overflow="fold")
    for row in rows:
        table.add_row(*map(str, row))
    return table


def _timing(path: Mapping[str, Any]) -> tuple[str, ...]:
    """A row: the components that a path goes through at the end."""
    segments = path["segments"]
    routing = sum(s["nanoseconds"] for s in segments if s["kind"] == "routing")
    way: list[str] = []
    for segment in segments:
        if not way or way[-1] != segment["component"]:
            way.append(segment["component"])
    clocks = path["start"] if path["start"] == path["end"] else f"{path['start']} > {path['end']}"
    return (clocks, f"{path['asked_mhz']:g}", f"{path['reached_mhz']:.1f}",
            f"{sum(s['nanoseconds'] for s in segments) - routing:.1f}", f"{routing:.1f}",
            " > ".join(way))
