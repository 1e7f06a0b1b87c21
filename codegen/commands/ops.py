"""``python -m codegen ops [MODEL]``."""

import argparse
from typing import Any

from codegen.commands.shared import make_console, model_path, progress_line
from codegen.frontend.report import print_mapping, print_rules

__all__ = ["add_parser", "run"]


def add_parser(commands: Any) -> None:
    """Add the command to argparse's subparsers."""
    o = commands.add_parser("ops", help="print the supported operators, or how a model maps")
    o.add_argument("model", nargs="?", metavar="MODEL", help=".onnx file or zoo model")
    o.add_argument("--markdown", action="store_true", help="print for the manual")
    o.set_defaults(run=run)


def run(args: argparse.Namespace) -> None:
    """Run the command."""
    if args.model is None:
        print_rules(make_console(), markdown=args.markdown)
    else:
        with progress_line() as progress:
            path = model_path(args.model, progress)
        print_mapping(path, make_console())
