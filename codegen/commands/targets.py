"""``python -m codegen targets``."""

import argparse
from typing import Any

from rich.table import Table

from codegen.commands.shared import make_console
from hw.spec.boards import BOARDS
from hw.spec.config import PRESETS

__all__ = ["add_parser", "run"]


def add_parser(commands: Any) -> None:
    """Add the command to argparse's subparsers."""
    t = commands.add_parser("targets", help="print the named configurations, and what they take "
                                            "of their boards")
    t.set_defaults(run=run)


def run(_: argparse.Namespace) -> None:
    """Run the command."""
    console = make_console()
    console.print(_configurations())
    console.print(_boards())


def _configurations() -> Table:
    """All presets."""
    table = _table("Named configurations", "name", "array", "MAC/cycle", "scratchpad", "weights",
                   "accumulators", "on chip", "bus")
    for name, c in PRESETS.items():
        table.add_row(name, f"{c.rows}x{c.columns}", str(c.macs_per_cycle),
                      *(f"{size / 1024:g} KB" for size in (
                          c.scratchpad_bytes, c.weight_bytes, c.accumulator_bytes,
                          c.on_chip_bytes)), f"{c.bus_bytes * 8} bit")
    return table


def _boards() -> Table:
    """What the presets that are for a board take of it."""
    table = _table("Boards: what is taken by the core, and by the system around it",
                   "name", "FPGA", "resource", "core", "system", "available", "taken")
    for name, board in BOARDS.items():
        fpga, core = board.fpga, board.core(PRESETS[name])
        first = (name, fpga.name)
        for key, what in fpga.names.items():
            has = getattr(fpga.has, key)
            about = "~ " if key in ("lut4", "ff") else ""
            of_core, of_system = getattr(core, key), getattr(board.system, key)
            table.add_row(*first, what, f"{about}{of_core:,}", f"{of_system:,}", f"{has:,}",
                          f"{(of_core + of_system) / has:.0%}")
            first = ("", "")
        table.add_section()
    return table


def _table(title: str, *headings: str) -> Table:
    """Numbers to the right, what comes before them to the left."""
    table = Table(title=title, title_justify="left")
    for heading in headings:
        left = heading in ("name", "FPGA", "resource")
        table.add_column(heading, justify="left" if left else "right")
    return table
