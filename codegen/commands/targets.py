"""``python -m codegen targets``."""

import argparse
from typing import Any

from rich.table import Table

from codegen.commands.shared import make_console
from hw.spec.config import PRESETS

__all__ = ["add_parser", "run"]


def add_parser(commands: Any) -> None:
    """Add the command to argparse's subparsers."""
    t = commands.add_parser("targets", help="print the named configurations")
    t.set_defaults(run=run)


def run(_: argparse.Namespace) -> None:
    """Run the command."""
    table = Table(title="Named configurations", title_justify="left")
    table.add_column("name")
    for heading in ("array", "MAC/cycle", "scratchpad", "weights", "accumulators", "on chip",
                    "bus"):
        table.add_column(heading, justify="right")
    for name, c in PRESETS.items():
        table.add_row(name, f"{c.rows}x{c.columns}", str(c.macs_per_cycle),
                      *(f"{size / 1024:g} KB" for size in (
                          c.scratchpad_bytes, c.weight_bytes, c.accumulator_bytes,
                          c.on_chip_bytes)), f"{c.bus_bytes * 8} bit")
    make_console().print(table)
