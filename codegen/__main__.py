"""Command line of the compiler: ``python -m codegen --help``."""

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import fields, replace
from pathlib import Path

from rich.console import Console
from rich.table import Table

from codegen.compiler import compile_model
from codegen.emit.files import write_build
from codegen.emit.report import print_summary
from codegen.errors import CodegenError
from codegen.frontend.load import model_bytes
from codegen.frontend.report import print_mapping, print_rules
from codegen.zoo import models
from hw.spec.config import PRESETS, ArrayConfig, ConfigError

__all__ = ["main"]

DEFAULT_TARGET = "ulx3s-85f"
_ZOO_FOLDER = Path("build/zoo")


def build(args: argparse.Namespace) -> None:
    """``python -m codegen build [MODEL]``."""
    config, target = _config(args)
    with _progress() as progress:
        path = _model_path(args.model, progress)
        folder = args.output or Path("build") / f"{path.stem}-{target}"
        model = model_bytes(path)
        result = compile_model(path, config, target=target, keep_tensors=args.keep_tensors,
                               bytes_per_cycle=args.dram_bytes_per_cycle,
                               latency=args.dram_latency, progress=progress)
        write_build(result, model, folder)
    print_summary(result.report, _console(), layers=not args.quiet)
    print(f"written to {folder}")


def ops(args: argparse.Namespace) -> None:
    """``python -m codegen ops [MODEL]``."""
    if args.model is None:
        print_rules(_console(), markdown=args.markdown)
    else:
        with _progress() as progress:
            path = _model_path(args.model, progress)
        print_mapping(path, _console())


def targets(_: argparse.Namespace) -> None:
    """``python -m codegen targets``."""
    table = Table(title="Named configurations", title_justify="left")
    table.add_column("name")
    for heading in ("array", "MAC/cycle", "scratchpad", "weights", "accumulators", "on chip",
                    "bus"):
        table.add_column(heading, justify="right")
    for name, c in PRESETS.items():
        table.add_row(name, f"{c.rows}x{c.columns}", str(c.macs_per_cycle),
                      *(f"{size / 1024:g} KB" for size in (
                          c.scratchpad_bytes, c.weight_bytes, c.accumulator_bytes,
                          c.on_chip_bytes)), f"{c.bus_bytes * 8} bit")
    _console().print(table)


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


def _model_path(model: str | None, progress: Callable[[str], None]) -> Path:
    """A file as it stands; a zoo model's name is built first."""
    if model is None or (model in models.NAMES and not Path(model).exists()):
        return models.build(model or models.DEFAULT, _ZOO_FOLDER, progress=progress)
    return Path(model)


def _console() -> Console:
    return Console(width=None if sys.stdout.isatty() else 150, highlight=False)


@contextmanager
def _progress() -> Iterator[Callable[[str], None]]:
    """What is being done, on one line of standard error; nothing when that is not a terminal."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield lambda _: None
        return
    with console.status("") as status:
        yield status.update


def _positive(text: str) -> float:
    try:
        if (value := float(text)) > 0:
            return value
    except ValueError:
        pass
    raise argparse.ArgumentTypeError(f"must be a positive number, not {text!r}")


def parser() -> argparse.ArgumentParser:
    """The command line."""
    top = argparse.ArgumentParser(prog="python -m codegen", description=__doc__)
    commands = top.add_subparsers(required=True, metavar="COMMAND")

    b = commands.add_parser("build", help="compile a model into a program for the array")
    b.add_argument("model", nargs="?", metavar="MODEL",
                   help=f"QOperator .onnx file, or a zoo model (default: {models.DEFAULT}): "
                        + ", ".join(models.NAMES))
    b.add_argument("--target", choices=PRESETS, default=DEFAULT_TARGET,
                   help=f"named configuration (default: {DEFAULT_TARGET})")
    b.add_argument("-o", "--output", type=Path, metavar="DIR",
                   help="output folder (default: build/<model>-<target>)")
    b.add_argument("--keep-tensors", action="store_true",
                   help="debug build: every named tensor is visible in memory")
    b.add_argument("--dram-bytes-per-cycle", type=_positive, metavar="B",
                   help="memory bandwidth to schedule for (default: bus width)")
    b.add_argument("--dram-latency", type=int, default=20, metavar="L",
                   help="memory latency in cycles (default: 20)")
    b.add_argument("--quiet", action="store_true", help="print totals only")
    sizes = b.add_argument_group("array", "parameters that replace those of the target; with "
                                          "--rows or --columns the memories keep their bytes")
    for f in fields(ArrayConfig):
        sizes.add_argument(f"--{f.name.replace('_', '-')}", type=int, metavar="N")
    b.set_defaults(run=build)

    o = commands.add_parser("ops", help="print the supported operators, or how a model maps")
    o.add_argument("model", nargs="?", metavar="MODEL", help=".onnx file or zoo model")
    o.add_argument("--markdown", action="store_true", help="print for the manual")
    o.set_defaults(run=ops)

    t = commands.add_parser("targets", help="print the named configurations")
    t.set_defaults(run=targets)
    return top


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit status."""
    args = parser().parse_args(argv)
    try:
        args.run(args)
    except (CodegenError, ConfigError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
