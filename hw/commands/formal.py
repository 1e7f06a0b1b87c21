"""``python -m hw formal [NAME...]``."""

import argparse
from pathlib import Path
from typing import Any

from hw.commands.shared import positive, write_files

__all__ = ["add_parser", "run"]


def add_parser(commands: Any) -> None:
    """Add the command to argparse's subparsers."""
    f = commands.add_parser("formal", help="prove properties of the core's components")
    f.add_argument("names", nargs="*", metavar="NAME",
                   help="proofs, or components whose proofs to run (default: all)")
    f.add_argument("--list", action="store_true", help="say what would be proved, and how")
    f.add_argument("--fast", action="store_true", help="only those that take seconds, as CI does")
    f.add_argument("--jobs", type=positive, default=1, metavar="N",
                   help="how many proofs to run side by side (default: 1)")
    f.add_argument("--json", type=Path, metavar="FILE", help="also write the results here")
    f.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Run the command; 1 if a proof fails."""
    # The proofs load the gateware, which takes seconds; the help does not need it.
    from hw.formal import catalogue, report
    proofs = catalogue.select(args.names, fast=args.fast)
    if args.list:
        report.print_proofs(proofs)
        return 0
    results = report.run_with_progress(proofs, jobs=args.jobs)
    report.print_results(results)
    if args.json:
        write_files({args.json: report.to_json(results)})
    return int(any(result.failures for result in results))
