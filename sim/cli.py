"""Command line of the simulator, ``python -m sim --help``; a file per command in sim/commands."""

import argparse
import sys
from collections.abc import Sequence

from sim.commands import compare, detect, doctor, evaluate, soc, upload, verify
from sim.errors import SimError
from sim.model import RaceError

__all__ = ["main", "parser"]


def parser() -> argparse.ArgumentParser:
    """The command line."""
    top = argparse.ArgumentParser(prog="python -m sim",
                                  description="Run and check what the compiler made.")
    commands = top.add_subparsers(required=True, metavar="COMMAND")
    for command in (verify, soc, upload, detect, evaluate, compare, doctor):
        command.add_parser(commands)
    return top


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit status."""
    args = parser().parse_args(argv)
    try:
        return int(args.run(args))
    except (SimError, RaceError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
