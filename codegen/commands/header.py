"""``python -m codegen header BUILD -o DIR``."""

import argparse
from pathlib import Path
from typing import Any

from codegen.headers.generate import write_headers
from codegen.headers.weights import FORMATS

__all__ = ["add_parser", "run"]


def add_parser(commands: Any) -> None:
    """Add the command to argparse's subparsers."""
    h = commands.add_parser("header", help="write the C headers of a build for firmware")
    h.add_argument("build", type=Path, metavar="BUILD", help="folder made by codegen build")
    h.add_argument("-o", "--output", type=Path, required=True, metavar="DIR",
                   help="folder to write to")
    h.add_argument("--format", choices=FORMATS,
                   help="weights as a C array, or as a file that the assembler includes (default: "
                        "array up to 1 MB)")
    h.add_argument("--heads", type=Path, metavar="FILE",
                   help="what the outputs mean, in JSON (default: as the model's metadata say, "
                        "else meta.json in the folder)")
    h.set_defaults(run=run)


def run(args: argparse.Namespace) -> None:
    """Run the command."""
    names = write_headers(args.build, args.output, form=args.format, heads=args.heads)
    print(f"written to {args.output}: {', '.join(names)}")
