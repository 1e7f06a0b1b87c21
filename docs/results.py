"""The page about recorded bitstreams: docs/results/NAME.json is a ``hardware.json``."""

import json
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

from hw.bitstream.report import component_table, summary
from hw.spec.config import ArrayConfig, ConfigError

__all__ = ["FOLDER", "result_parts"]

FOLDER = Path(__file__).resolve().parent / "results"


def result_parts(table: Any) -> Iterator[str]:
    """Paragraphs about all results; `table` makes a table of a heading and rows."""
    paths = sorted(FOLDER.glob("*.json"))
    if not paths:
        yield "Nothing is recorded yet."
    for path in paths:
        found = json.loads(path.read_text(encoding="utf-8"))
        yield f"## {path.stem}"
        yield _origin(found)
        yield "\n".join(f"- {line}" for line in summary(found))
        yield table(("", "used", "available", "share"), (
            (name, n["used"], n["available"], f"{n['used'] / n['available']:.0%}")
            for name, n in found["resources"].items()))
        yield "As synthesized, by component; nextpnr shares lookup tables, and adds some."
        yield table(*component_table(found))
        yield "Slowest paths, and each seed that was tried; 100 % is what was asked for."
        yield table(("clocks", "asked MHz", "MHz"), (
            (p["start"] if p["start"] == p["end"] else f"{p['start']} to {p['end']}",
             f"{p['asked_mhz']:g}", f"{p['reached_mhz']:.1f}") for p in found["paths"]))
        yield table(("seed", "reached"), (
            (run["seed"], f"{run['reached']:.1%}") for run in found["seeds"]))
        yield "What it took, with " + ", ".join(found["tools"]) + ":"
        yield table(("step", "CPU s", "MB"), (
            (step, f"{used['seconds']:.0f}", f"{used['megabytes']:.0f}")
            for step, used in found["took"].items()))


def _origin(found: dict[str, Any]) -> str:
    """What it was made by, and whether it would be the same today."""
    made, config = found["made"], found["config"]
    text = (f"{config['rows']}x{config['columns']} system on {found['device']}, made on "
            f"{made['on']} from commit {made['from'] or 'unknown'} by `{made['by']}`.")
    if _digest(found["board"], tuple(config.items()), found["clock_hz"],
               found["sdram_rate"]) == found["sources_sha256"]:
        return f"{text} It is what the present sources give."
    return (f"{text} **The hardware has changed since:** these figures are of that commit, not of "
            "the present sources.")


@cache
def _digest(board: str, config: tuple[tuple[str, int], ...], clock_hz: int,
            sdram_rate: int) -> str | None:
    """Digest of what would be synthesized today; None if there is no such core any more."""
    # Takes seconds.
    from hw.bitstream.flow import sources, sources_digest
    try:
        core = ArrayConfig(**dict(config))
    except (ConfigError, TypeError):
        return None
    return sources_digest(sources(board, core, clock_hz=clock_hz, sdram_rate=sdram_rate,
                                  boot=b""))
