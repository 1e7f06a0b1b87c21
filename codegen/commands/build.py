"""``python -m codegen build [MODEL]``."""

import argparse
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from codegen.commands.shared import make_console, model_path, positive, progress_line
from codegen.compiler import compile_model
from codegen.emit.files import write_build
from codegen.emit.report import print_summary
from codegen.errors import BuildError
from codegen.frontend.load import model_bytes
from codegen.headers.generate import write_headers
from codegen.zoo import models
from hw.spec.boards import BOARDS, missing
from hw.spec.config import PRESETS, ArrayConfig

__all__ = ["add_parser", "run"]

_DEFAULT_TARGET = "ulx3s-85f"


def add_parser(commands: Any) -> None:
    """Add the command to argparse's subparsers."""
    b = commands.add_parser("build", help="compile a model into a program for the array")
    b.add_argument("model", nargs="?", metavar="MODEL",
                   help=f"QOperator .onnx file, or a zoo model (default: {models.DEFAULT}): "
                        + ", ".join(models.NAMES))
    b.add_argument("--target", choices=PRESETS, default=_DEFAULT_TARGET,
                   help=f"named configuration (default: {_DEFAULT_TARGET})")
    b.add_argument("-o", "--output", type=Path, metavar="DIR",
                   help="output folder (default: build/<model>-<target>)")
    b.add_argument("--keep-tensors", action="store_true",
                   help="debug build: every named tensor is visible in memory")
    b.add_argument("--dram-bytes-per-cycle", type=positive, metavar="B",
                   help="memory bandwidth to schedule for (default: bus width)")
    b.add_argument("--dram-latency", type=int, default=20, metavar="L",
                   help="memory latency in cycles (default: 20)")
    b.add_argument("--headers", type=Path, metavar="DIR",
                   help="also write the C headers there, as codegen header does")
    b.add_argument("--quiet", action="store_true", help="print totals only")
    sizes = b.add_argument_group("array", "parameters that replace those of the target; with "
                                          "--rows or --columns the memories keep their bytes")
    for f in fields(ArrayConfig):
        sizes.add_argument(f"--{f.name.replace('_', '-')}", type=int, metavar="N")
    sizes.add_argument("--any-size", action="store_true",
                       help="also compile for an array that does not fit the board of the target, "
                            "for simulation")
    b.set_defaults(run=run)


def run(args: argparse.Namespace) -> None:
    """Run the command."""
    config, target = _config(args)
    if not args.any_size:
        _check_size(args.target, config)
    with progress_line() as progress:
        path = model_path(args.model, progress)
        folder = args.output or Path("build") / f"{path.stem}-{target}"
        model = model_bytes(path)
        result = compile_model(path, config, target=target, keep_tensors=args.keep_tensors,
                               bytes_per_cycle=args.dram_bytes_per_cycle,
                               latency=args.dram_latency, progress=progress)
        write_build(result, model, folder)
        if args.headers:
            write_headers(folder, args.headers)
    print_summary(result.report, make_console(), layers=not args.quiet)
    print(f"written to {folder}" + (f", headers to {args.headers}" if args.headers else ""))


def _check_size(target: str, config: ArrayConfig) -> None:
    """Refuse an array that does not fit the board of the target, if that is one's.

    Raises
    ------
    BuildError
        It does not; the message has the numbers.
    """
    if target in BOARDS and (reasons := missing(target, config)):
        rule = (f"an array of {config.rows}x{config.columns} must fit the "
                f"{BOARDS[target].fpga.name} of the board {target!r}, and this one does not:")
        raise BuildError("\n  ".join((rule, *reasons, "For simulation alone, add --any-size.")))


def _config(args: argparse.Namespace) -> tuple[ArrayConfig, str]:
    """The configuration that the options ask for, and its name."""
    config, name = PRESETS[args.target], args.target
    if args.rows or args.columns:
        config = config.with_size(args.rows, args.columns)
        name += f"-{config.rows}x{config.columns}"
    given = {f.name: getattr(args, f.name) for f in fields(ArrayConfig)
             if f.name not in ("rows", "columns") and getattr(args, f.name) is not None}
    if given:
        config = replace(config, **given)
        name += "".join(f"-{key.replace('_', '')}{value}" for key, value in given.items())
    return config, name
