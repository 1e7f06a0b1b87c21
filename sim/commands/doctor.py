"""``python -m sim doctor``."""

import argparse
from pathlib import Path
from typing import Any

from sim.commands.shared import make_console
from sim.doctor import run_doctor

__all__ = ["add_parser", "run"]


def add_parser(commands: Any) -> None:
    """Add the command to argparse's subparsers."""
    d = commands.add_parser("doctor", help="is this host's ONNX Runtime a valid reference?")
    d.add_argument("--json", type=Path, metavar="OUT", help="also write the findings here")
    d.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Run the command; returns the exit status."""
    return run_doctor(make_console(), args.json)
