"""Command line of the hardware, ``python -m hw --help``."""

import argparse
import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from hw.spec.config import PRESETS, ConfigError

__all__ = ["main", "parser"]


class FileError(Exception):
    """A file cannot be written; the message says which."""


def generate_command(args: argparse.Namespace) -> int:
    """``python -m hw generate``."""
    # The generator takes seconds to load, the help does not need it.
    from hw.generate import core_verilog
    config = PRESETS[args.target]
    config = config.with_size(args.rows, args.columns)
    _write(args.output, core_verilog(config))
    return 0


def _write(path: Path, text: str) -> None:
    """Write a file whole or not at all."""
    temporary = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile("w", dir=path.parent, delete=False) as file:
            temporary = file.name
            file.write(text)
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except OSError as error:
        if temporary:
            Path(temporary).unlink(missing_ok=True)
        raise FileError(f"file {str(path)!r} must be writable; {error.strerror}") from error


def _positive(text: str) -> int:
    if not text.isdecimal() or not int(text):
        raise argparse.ArgumentTypeError(f"must be a positive number, not {text!r}")
    return int(text)


def parser() -> argparse.ArgumentParser:
    """The command line."""
    top = argparse.ArgumentParser(prog="python -m hw", description=__doc__)
    commands = top.add_subparsers(required=True, metavar="COMMAND")
    g = commands.add_parser("generate", help="write the core as Verilog")
    g.add_argument("--target", choices=sorted(PRESETS), default="ulx3s-85f",
                   help="named configuration (default: ulx3s-85f)")
    for name, what in (("rows", "height"), ("columns", "width")):
        g.add_argument(f"--{name}", type=_positive, metavar="N",
                       help=f"another {what}; memories keep their bytes")
    g.add_argument("-o", "--output", type=Path, required=True, metavar="FILE",
                   help="Verilog file to write")
    g.set_defaults(run=generate_command)
    return top


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit status."""
    args = parser().parse_args(argv)
    try:
        return int(args.run(args))
    except (ConfigError, FileError) as error:
        print(f"error: {error}.", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
