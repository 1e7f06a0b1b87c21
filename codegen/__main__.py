"""Command line of the compiler: ``python -m codegen --help``; a file per command in
codegen/commands.
"""

import argparse
import sys
from collections.abc import Sequence

from codegen.commands import build, darknet, header, ops, quantize, targets
from codegen.errors import CodegenError
from hw.spec.config import ConfigError

__all__ = ["main", "parser"]


def parser() -> argparse.ArgumentParser:
    """The command line."""
    top = argparse.ArgumentParser(prog="python -m codegen",
                                  description="Compiler for the array.")
    commands = top.add_subparsers(required=True, metavar="COMMAND")
    for command in (build, header, ops, targets, darknet, quantize):
        command.add_parser(commands)
    return top


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit status."""
    args = parser().parse_args(argv)
    try:
        args.run(args)
    except (CodegenError, ConfigError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
