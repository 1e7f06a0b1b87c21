"""``python -m sim detect BUILD|MODEL.onnx IMAGE...``."""

import argparse
import io
import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from rich.markup import escape
from rich.table import Table

from sim.commands.detection import add_box_options, add_options
from sim.commands.shared import make_console, progress_bar, write_whole
from sim.detect.decode import Detections
from sim.detect.detector import Detector, Runner, network_heads
from sim.detect.draw import Panel, draw, tile
from sim.detect.engines import ENGINES, Progress, Tensors
from sim.detect.names import class_names
from sim.detect.network import choose_engines, open_network
from sim.errors import SimError
from sim.inputs import read_picture
from sim.pictures.read import SUFFIXES

__all__ = ["add_parser", "run"]


@dataclass(frozen=True)
class Column:
    """One network on one engine."""

    detector: Detector
    names: tuple[str, ...]

    @property
    def runner(self) -> Runner:
        """Which."""
        return self.detector.runner

    @property
    def title(self) -> str:
        """For headings."""
        return f"{self.runner.network.name} ({self.runner.engine})"


@dataclass(frozen=True)
class Found:
    """What a column found in a picture, with the tensors of the heads."""

    column: Column
    detections: Detections
    heads: Tensors


def add_parser(commands: Any) -> None:
    """Add the command to argparse's subparsers."""
    d = commands.add_parser("detect", help="find objects in pictures")
    d.add_argument("network", type=Path, metavar="BUILD|MODEL",
                   help="folder made by codegen build, or .onnx file")
    d.add_argument("images", type=Path, nargs="+", metavar="IMAGE", help="picture")
    d.add_argument("--engine", action="append", choices=ENGINES,
                   help="what runs a build; may be repeated (default: iss; a .onnx file always "
                        "runs with ort)")
    d.add_argument("--beside", type=Path, action="append", default=[], metavar="BUILD|MODEL",
                   help="another network to run on the same pictures; may be repeated")
    d.add_argument("-o", "--output", type=Path, metavar="OUT",
                   help="write the pictures with their boxes there: a row for each picture, a "
                        "column for each network and engine")
    d.add_argument("--json", type=Path, metavar="OUT", help="also write the boxes here")
    add_options(d)
    add_box_options(d)
    d.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Run the command; returns the exit status: 1 if a picture failed or engines differ."""
    if args.output and args.output.suffix.lower() not in SUFFIXES:
        raise SimError(f"output {str(args.output)!r} must be a picture, its name ending in "
                       f"{', '.join(SUFFIXES)}.")
    rows, results, bad = list[list[Panel]](), list[dict[str, Any]](), 0
    printed = list[Table | str]()  # when the progress bar is gone
    console = make_console()
    with progress_bar() as progress:
        columns = _columns(args, progress)
        for done, path in enumerate(args.images):
            progress("pictures", done, len(args.images))
            try:
                image = read_picture(path)
            except SimError as error:
                print(f"error: {error}", file=sys.stderr)
                bad += 1
                continue
            found = [_detect(column, image) for column in columns]
            printed.append(_table(path, found))
            for text, agree in _agreements(found):
                printed.append(text)
                bad += not agree
            results.append(_to_json(path, image, found))
            if args.output:
                rows.append([Panel(f"{path.name}: {one.column.title}",
                                   draw(image, one.detections, one.column.names))
                             for one in found])
    for item in printed:
        console.print(item)
    if args.json:
        write_whole(args.json, json.dumps(results, indent=1) + "\n")
    if args.output and rows:
        write_whole(args.output, _encode(tile(rows), args.output))
        print(f"written to {args.output}")
    return 1 if bad else 0


def _columns(args: argparse.Namespace, progress: Progress) -> list[Column]:
    columns = []
    for path in (args.network, *args.beside):
        network = open_network(path)
        heads = network_heads(network, file=args.heads, fit=args.fit)
        names = class_names(heads.classes, args.names)
        # An engine that was asked for is meant for the builds.
        wanted = args.engine if network.build or path == args.network else None
        columns += [Column(Detector(Runner(network, engine, progress), heads, score=args.score),
                           names) for engine in choose_engines(network, wanted)]
    return columns


def _detect(column: Column, image: Image.Image) -> Found:
    detections, tensors = column.detector.detect(image)
    return Found(column, detections, {head.output: tensors[head.output]
                                      for head in column.detector.heads.heads})


def _table(path: Path, found: Sequence[Found]) -> Table:
    """The boxes in one picture."""
    table = Table(title=escape(str(path)), title_justify="left")
    for heading in ("network", "class"):
        table.add_column(heading, overflow="fold")
    for heading in ("score", "x0", "y0", "x1", "y1"):
        table.add_column(heading, justify="right")
    for one in found:
        d = one.detections
        for box, score, index in zip(d.boxes, d.scores, d.classes):
            table.add_row(escape(one.column.title), escape(one.column.names[index]),
                          f"{score:.3f}", *(f"{side:.1f}" for side in box))
        if not len(d):
            table.add_row(escape(one.column.title), "nothing found")
    return table


def _agreements(found: Sequence[Found]) -> Iterator[tuple[str, bool]]:
    """For every further engine of a network: whether it agrees with the first, in words too."""
    first = dict[Path, Found]()
    for one in found:
        runner = one.column.runner
        other = first.setdefault(runner.network.path, one)
        if other is one:
            continue
        count = sum(tensor.size for tensor in one.heads.values())
        differing = sum(int(np.count_nonzero(other.heads[name] != one.heads[name]))
                        for name in one.heads)
        what = (f"[red]differ in {differing} of {count} elements of the heads[/]" if differing
                else f"agree in all {count} elements of the heads")
        engines = f"{runner.engine} and {other.column.runner.engine}"
        yield f"{escape(runner.network.name)}: {engines} {what}", not differing


def _to_json(path: Path, image: Image.Image, found: Sequence[Found]) -> dict[str, Any]:
    return {"image": str(path), "width": image.width, "height": image.height, "results": [
        {"network": str(one.column.runner.network.path), "engine": one.column.runner.engine,
         "boxes": [{"class": int(index), "name": one.column.names[index], "score": float(score),
                    "box": box.tolist()}
                   for box, score, index in zip(one.detections.boxes, one.detections.scores,
                                                one.detections.classes)]}
        for one in found]}


def _encode(sheet: Image.Image, path: Path) -> bytes:
    kind = Image.registered_extensions()[path.suffix.lower()]
    buffer = io.BytesIO()
    try:
        sheet.save(buffer, kind)
    except (OSError, ValueError) as error:
        raise SimError(f"output {str(path)!r} must hold {sheet.width}x{sheet.height} pixels; "
                       f"{kind} cannot ({error}). Name a .png file, or give fewer pictures."
                       ) from error
    return buffer.getvalue()
