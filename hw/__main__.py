"""Command line of the hardware: ``python -m hw --help``; a file per command in hw/commands."""

import argparse
import sys
from collections.abc import Sequence

from hw.bitstream.tools import ToolError
from hw.commands import bitstream, firmware, formal, generate, soc
from hw.commands.shared import FileError
from hw.formal.errors import FormalError
from hw.soc.firmware import FirmwareError
from hw.soc.write import ClockError
from hw.spec.config import ConfigError

__all__ = ["main", "parser"]


def parser() -> argparse.ArgumentParser:
    """The command line."""
    top = argparse.ArgumentParser(
        prog="python -m hw", description="Generate, prove and build the hardware.")
    commands = top.add_subparsers(required=True, metavar="COMMAND")
    for command in (generate, formal, soc, firmware, bitstream):
        command.add_parser(commands)
    return top


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit status."""
    args = parser().parse_args(argv)
    try:
        return int(args.run(args))
    except (ClockError, ConfigError, FileError, FirmwareError, FormalError,
            ToolError) as error:
        print(f"error: {error}.", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
