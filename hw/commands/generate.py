"""``python -m hw generate -o FILE``."""

import argparse
from pathlib import Path
from typing import Any

from hw.commands.shared import add_target, positive, write_files
from hw.spec.config import PRESETS

__all__ = ["add_parser", "run"]


def add_parser(commands: Any) -> None:
    """Add the command to argparse's subparsers."""
    g = commands.add_parser("generate", help="write the core as Verilog")
    add_target(g)
    for name, what in (("rows", "height"), ("columns", "width")):
        g.add_argument(f"--{name}", type=positive, metavar="N",
                       help=f"another {what}; memories keep their bytes")
    g.add_argument("-o", "--output", type=Path, required=True, metavar="FILE",
                   help="Verilog file to write")
    g.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Run the command."""
    # The generator takes seconds to load, the help does not need it.
    from hw.generate import core_verilog
    config = PRESETS[args.target].with_size(args.rows, args.columns)
    write_files({args.output: core_verilog(config)})
    return 0
