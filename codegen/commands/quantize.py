"""``python -m codegen quantize FLOAT.onnx --images DIR``."""

import argparse
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from codegen.commands.shared import (
    check_output,
    make_console,
    progress_bar,
    progress_line,
    write_model,
)
from codegen.errors import CodegenError, QuantizeError
from codegen.frontend.importer import import_model
from codegen.quantize.ranges import METHODS
from codegen.quantize.run import Quantization, quantize_file
from codegen.quantize.static import Variant

__all__ = ["add_parser", "run"]

_WEAKEST = 5
_NAMED = 5


def add_parser(commands: Any) -> None:
    """Add the command to argparse's subparsers."""
    q = commands.add_parser("quantize", help="quantize a float ONNX model to INT8 with pictures")
    q.add_argument("model", type=Path, metavar="FLOAT.onnx",
                   help="float model whose input is one picture, 0..1, red first")
    q.add_argument("--images", type=Path, required=True, metavar="DIR",
                   help="folder of pictures to calibrate with")
    q.add_argument("--count", type=_count, default=1000, metavar="N",
                   help="calibrate with N pictures of the folder (default: 1000)")
    q.add_argument("--seed", type=int, default=42, help="which pictures (default: 42)")
    q.add_argument("--per-channel", action="store_true",
                   help="a weight scale for each output channel instead of one for each layer")
    q.add_argument("--activations", choices=("s8", "u8"), default="s8",
                   help="type of activations: int8 or uint8 (default: s8)")
    q.add_argument("--method", choices=METHODS, default="minmax",
                   help="where ranges of activations end (default: minmax)")
    q.add_argument("--fit", choices=("letterbox", "stretch"),
                   help="how a picture fills the input (default: as the model's metadata say, "
                        "else letterbox)")
    q.add_argument("--evaluation", type=Path, metavar="DIR",
                   help="warn if calibration pictures are in this folder of evaluation pictures")
    q.add_argument("-o", "--output", type=Path, required=True, metavar="OUT.onnx",
                   help="quantized model to write")
    q.add_argument("--quiet", action="store_true", help="do not list every tensor")
    q.set_defaults(run=run)


def run(args: argparse.Namespace) -> None:
    """Run the command."""
    check_output(args.output, args.model)
    variant = Variant(per_channel=args.per_channel, unsigned_activations=args.activations == "u8")
    with progress_bar() as progress:
        result = quantize_file(
            args.model, args.images, count=args.count, seed=args.seed, variant=variant,
            method=args.method, fit=args.fit, evaluation=args.evaluation, progress=progress)
    write_model(result.model, args.output)
    console = make_console()
    _print_pictures(console, result, args)
    _print_noise(console, result, every=not args.quiet)
    console.print(f"written to {args.output}", soft_wrap=True)
    try:
        with progress_line() as line:
            import_model(args.output, line)
    except CodegenError as error:
        raise QuantizeError(f"{str(args.output)!r} is written, but `python -m codegen build` "
                            f"refuses it:\n{error}") from error
    console.print("accepted by the compiler")


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"must be a positive integer, not {text!r}")
    return int(text)


def _print_pictures(console: Console, result: Quantization, args: argparse.Namespace) -> None:
    """What was calibrated with, and what is odd about it."""
    pictures = result.pictures
    used = len(pictures) - len(pictures.unreadable)
    console.print(f"calibrated with {used} pictures of {args.images}: {args.method}, "
                  f"{pictures.fit} to {pictures.shape[3]}x{pictures.shape[2]}, "
                  f"seed {args.seed}", soft_wrap=True)
    if len(pictures) < args.count:
        console.print(f"that is all of the folder; --count asks for {args.count}")
    if pictures.unreadable:
        console.print(f"[yellow]{len(pictures.unreadable)} of {len(pictures)} pictures cannot be "
                      "read and are left out:[/]")
        for reason in pictures.unreadable.values():
            console.print(f"  {reason}", soft_wrap=True, markup=False)
    if result.overlap and result.overlap.names:
        names = result.overlap.names
        more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
        console.print(
            f"[yellow]warning:[/] {len(names)} of the {len(pictures)} calibration pictures are "
            f"evaluation pictures too ({result.overlap.same_content} with the same bytes, the "
            f"others by name): {', '.join(names[:_NAMED])}{more}. Accuracy measured with them "
            "comes out too high.", soft_wrap=True)


def _print_noise(console: Console, result: Quantization, *, every: bool) -> None:
    if every:
        table = Table(title=f"signal over quantization noise in {result.compared} of the pictures",
                      title_justify="left")
        table.add_column("tensor")
        table.add_column("operator")
        for heading in ("range", "SQNR dB", "layer alone dB"):
            table.add_column(heading, justify="right")
        for row in result.noise:
            table.add_row(row.name, row.operator, f"{row.low:.4g}..{row.high:.4g}",
                          f"{row.sqnr:.1f}", "" if row.alone is None else f"{row.alone:.1f}")
        console.print(table)
    weakest = sorted((row.alone, row.name) for row in result.noise if row.alone is not None)
    console.print("losing most by themselves: " + ", ".join(
        f"{name} {alone:.1f} dB" for alone, name in weakest[:_WEAKEST]))
    outputs = {value.name for value in result.model.graph.output}
    console.print("outputs: " + ", ".join(f"{row.name} {row.sqnr:.1f} dB"
                                          for row in result.noise if row.name in outputs))
