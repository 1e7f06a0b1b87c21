"""``python -m sim evaluate BUILD|MODEL.onnx --images DIR --annotations FILE``."""

import argparse
import json
import os
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from sim.commands.detection import add_options
from sim.commands.shared import at_least_one, make_console, progress_bar, write_whole
from sim.detect.detector import network_heads
from sim.detect.network import choose_engines, open_network
from sim.errors import SimError
from sim.evaluate.annotations import read_annotations
from sim.evaluate.evaluate import Evaluation, evaluate

__all__ = ["add_parser", "run"]

_LISTED = 20
"""Names that are printed; all are in the JSON file."""


def add_parser(commands: Any) -> None:
    """Add the command to argparse's subparsers."""
    e = commands.add_parser("evaluate", help="average precision on annotated pictures")
    e.add_argument("network", type=Path, metavar="BUILD|MODEL",
                   help="folder made by codegen build, or .onnx file")
    e.add_argument("--images", type=Path, required=True, metavar="DIR", help="the pictures")
    e.add_argument("--annotations", type=Path, required=True, metavar="FILE",
                   help="boxes in COCO's format, such as instances_val2017.json")
    e.add_argument("--engine", action="append", choices=("ort", "iss"),
                   help="what runs; may be repeated, and all must then agree exactly (default: "
                        "iss for a build, ort for a .onnx file)")
    e.add_argument("--jobs", type=at_least_one, default=os.cpu_count() or 1, metavar="N",
                   help="processes on this machine (default: one for each core)")
    e.add_argument("--scheduler", metavar="ADDRESS",
                   help="address of a Dask scheduler, tcp://HOST:PORT, whose workers are used "
                        "instead")
    e.add_argument("--results", type=Path, default=Path("build/evaluate"), metavar="DIR",
                   help="where results are kept for each picture; an evaluation that was "
                        "interrupted continues from there (default: build/evaluate)")
    e.add_argument("--json", type=Path, metavar="OUT", help="also write the figures here")
    add_options(e)
    e.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Run the command; returns the exit status: 1 if engines differ."""
    network = open_network(args.network)
    engines = choose_engines(network, args.engine)
    heads = network_heads(network, file=args.heads, fit=args.fit)
    annotations = read_annotations(args.annotations)
    try:
        with progress_bar() as progress:
            result = evaluate(network, engines, heads, annotations, images=args.images,
                              results=args.results, jobs=args.jobs, scheduler=args.scheduler,
                              progress=progress)
    except KeyboardInterrupt as error:
        raise SimError("interrupted; what was done is kept: run the same command again to "
                       "continue.") from error
    if args.json:
        write_whole(args.json, json.dumps(_to_json(result), indent=1) + "\n")
    _print(make_console(), network.name, result)
    return 1 if result.differing else 0


def _print(console: Console, name: str, result: Evaluation) -> None:
    table = Table(title=f"{escape(name)}, average precision", title_justify="left")
    table.add_column("engine")
    for heading in ("AP", "AP50", "AP75", "small", "medium", "large", "pictures", "new",
                    "pictures/s per core"):
        table.add_column(heading, justify="right")
    for engine, one in result.engines.items():
        table.add_row(engine, *("-" if value is None else f"{value:.4f}"
                                for value in asdict(one.metrics).values()),
                      str(len(one.records)), str(one.computed), f"{one.images_per_second:.2f}")
    console.print(table)
    for engine, one in result.engines.items():
        console.print(f"{engine}: results kept in {one.results}", markup=False, soft_wrap=True)
    if result.absent:
        console.print(f"[yellow]{len(result.absent)} annotated pictures are not in the folder, "
                      "and not counted[/]")
    _list(console, "yellow", f"{len(result.unreadable)} pictures could not be used, and are not "
                             "counted", list(result.unreadable.values()))
    if len(result.engines) > 1:
        engines = " and ".join(result.engines)
        count = max(len(one.records) for one in result.engines.values())
        _list(console, "red", f"{engines} differ in {len(result.differing)} of {count} pictures",
              [f"{image}: {what}" for image, what in result.differing.items()])
        if not result.differing:
            console.print(f"[green]{engines} agree in every element of the heads and in every box "
                          f"of {count} pictures[/]")


def _list(console: Console, colour: str, heading: str, lines: list[str]) -> None:
    if not lines:
        return
    console.print(f"[{colour}]{heading}:[/]")
    for line in lines[:_LISTED]:
        console.print(f"  {line}", markup=False, soft_wrap=True)
    if len(lines) > _LISTED:
        console.print(f"  and {len(lines) - _LISTED} more (--json lists all)")


def _to_json(result: Evaluation) -> dict[str, Any]:
    return {
        "engines": {engine: asdict(one.metrics) | {
            "pictures": len(one.records), "computed": one.computed,
            "pictures_per_cpu_second": one.images_per_second, "results": str(one.results)}
            for engine, one in result.engines.items()},
        "absent": result.absent, "unreadable": result.unreadable, "differing": result.differing}
