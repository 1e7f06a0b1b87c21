"""``python -m sim compare A B --images DIR``."""

import argparse
import json
import math
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from hw.spec.heads import Heads
from sim.commands.detection import add_box_options, add_options
from sim.commands.shared import make_console, progress_bar, write_whole
from sim.compare.compare import Comparison, compare
from sim.compare.layers import Likeness
from sim.compare.page import page
from sim.detect.detector import check_outputs
from sim.detect.heads import find_heads
from sim.detect.names import class_names
from sim.detect.network import Network, open_network
from sim.errors import SimError
from sim.pictures.read import PictureError, list_pictures

__all__ = ["add_parser", "run"]

_WORST = 5
"""Tensors that are pointed out."""


def add_parser(commands: Any) -> None:
    """Add the command to argparse's subparsers."""
    c = commands.add_parser("compare", help="a network against its quantized form, per tensor and "
                                            "in what they find")
    c.add_argument("a", type=Path, metavar="A",
                   help="the reference: .onnx file, or a build, whose model is meant")
    c.add_argument("b", type=Path, metavar="B", help="what is measured against it, likewise")
    c.add_argument("--images", type=Path, required=True, metavar="DIR",
                   help="folder of pictures; all of them are used")
    c.add_argument("-o", "--output", type=Path, metavar="OUT.html",
                   help="write a page with tables and pictures there")
    c.add_argument("--json", type=Path, metavar="OUT", help="also write the figures here")
    add_options(c)
    add_box_options(c)
    c.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Run the command; returns the exit status."""
    a, b = open_network(args.a), open_network(args.b)
    heads = _heads(a, b, args.heads)
    fit = args.fit or (heads.fit if heads else "letterbox")
    names = class_names(heads.classes, args.names) if heads else ()
    try:
        files = list_pictures(args.images)
    except PictureError as error:
        raise SimError(str(error)) from error
    with progress_bar() as progress:
        result = compare(a, b, heads, files, fit=fit, score=args.score, progress=progress)
        worst = sorted((one for one in result.layers if one.sqnr < math.inf),
                       key=lambda one: one.sqnr)[:_WORST]
        if args.output:
            progress("page", 0, 1)
            write_whole(args.output, page(result, names, worst))
    if args.json:
        write_whole(args.json, json.dumps(_to_json(result), indent=1) + "\n")
    _print(make_console(), result, worst)
    if args.output:
        print(f"written to {args.output}")
    return 0


def _heads(a: Network, b: Network, file: Path | None) -> Heads | None:
    """The heads of both networks, from the one that knows them; None if neither does."""
    for network in (a, b):
        heads = find_heads(network.model, network.folder, file)
        if heads is not None:
            check_outputs(a, heads)
            check_outputs(b, heads)
            return heads
    return None


def _print(console: Console, result: Comparison, worst: Sequence[Likeness]) -> None:
    table = Table(title=escape(f"{result.b} against {result.a}"), title_justify="left")
    for heading in ("tensor", "shape"):
        table.add_column(heading, overflow="fold")
    for heading in ("SQNR, dB", "cosine"):
        table.add_column(heading, justify="right")
    for one in result.layers:
        table.add_row(escape(one.name), "x".join(map(str, one.shape)), one.decibels,
                      f"{one.cosine:.5f}", style="red" if one in worst else None)
    console.print(table)
    if worst:
        console.print(f"lowest: {', '.join(f'{one.name} {one.decibels} dB' for one in worst)}",
                      markup=False)
    found = result.agreement
    if found is None:
        console.print("no heads are known (see --heads): boxes were not compared")
    else:
        console.print(f"boxes in {len(result.pictures)} pictures: {found.matched} in both, "
                      f"{found.only_a} only in {result.a}, {found.only_b} only in {result.b}",
                      markup=False)
        if found.matched:
            console.print(f"of those in both, scores differ by {found.score_difference:.3f} on "
                          f"average, {found.largest_difference:.3f} at most; mean overlap "
                          f"{found.overlap:.3f}")
    if result.unreadable:
        console.print(f"[yellow]{len(result.unreadable)} pictures could not be used:[/]")
        for why in result.unreadable.values():
            console.print(f"  {why}", markup=False, soft_wrap=True)


def _to_json(result: Comparison) -> dict[str, Any]:
    return {
        "a": result.a, "b": result.b,
        "tensors": [asdict(one) | {"sqnr": one.sqnr if math.isfinite(one.sqnr) else None}
                    for one in result.layers],
        "boxes": asdict(result.agreement) if result.agreement else None,
        "pictures": [{"image": str(p.path), "matches": [asdict(m) for m in p.matches],
                      "only_a": len(p.a) - len(p.matches), "only_b": len(p.b) - len(p.matches)}
                     for p in result.pictures],
        "unreadable": {str(path): why for path, why in result.unreadable.items()}}
