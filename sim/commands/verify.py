"""``python -m sim verify BUILD``."""

import argparse
import json
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from sim.build import BuildFolder, read_build
from sim.commands.shared import make_console, positive, progress_bar, seeds, write_whole
from sim.errors import SimError
from sim.golden import Golden
from sim.inputs import load_input
from sim.verify import RtlResult, TensorResult, Verification, verify

__all__ = ["add_parser", "run"]


def add_parser(commands: Any) -> None:
    """Add the command to argparse's subparsers."""
    v = commands.add_parser("verify", help="run a build and compare every tensor with ONNX Runtime")
    v.add_argument("build", type=Path, metavar="BUILD", help="folder made by codegen build")
    source = v.add_mutually_exclusive_group()
    source.add_argument("--input", type=Path, metavar="FILE",
                        help="picture (letterboxed) or .npy for the first input")
    source.add_argument("--seed", type=int, help="draw the input at random (default: seed 0)")
    v.add_argument("--fit", choices=("letterbox", "stretch"), default="letterbox",
                   help="how a picture fills the input")
    v.add_argument("--json", type=Path, metavar="OUT", help="also write the results here")
    v.add_argument("--quiet", action="store_true", help="list only tensors that differ")
    v.add_argument("--shuffle", type=seeds, default=(), metavar="SEED|FIRST..LAST",
                   help="also run random legal interleavings of the queues")
    v.add_argument("--races", action="store_true",
                   help="prove that no interleaving can change the result")
    v.add_argument("--engine", choices=("iss", "rtl"), default="iss",
                   help="what is compared: the instruction-set simulator, or the generated Verilog "
                        "(default: iss)")
    v.add_argument("--stall-seed", type=int, metavar="SEED",
                   help="rtl: the memory pauses at random")
    v.add_argument("--trace", type=Path, metavar="FILE",
                   help="rtl: write waveforms (VCD, some hundred MB per million cycles)")
    v.add_argument("--dram-bytes-per-cycle", type=positive, metavar="B",
                   help="memory bandwidth for predicted cycles and rtl (default: bus width)")
    v.add_argument("--dram-latency", type=int, default=20, metavar="L",
                   help="memory latency in cycles (default: 20)")
    v.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Run the command; returns the exit status."""
    build = read_build(args.build)
    feeds = {}
    for n, item in enumerate(Golden(build.model).inputs):
        if any(size is None for size in item.shape):
            raise SimError(f"input {item.name!r} must have a fixed shape, not {item.shape}.")
        shape = tuple(size or 0 for size in item.shape)
        # the file feeds the first input; further ones are drawn
        file = args.input if n == 0 else None
        feeds[item.name] = load_input(file, seed=None if file else (args.seed or 0) + n,
                                      shape=shape, dtype=item.dtype, fit=args.fit)
    with progress_bar() as progress:
        result = verify(build, feeds, shuffles=args.shuffle, races=args.races,
                        bytes_per_cycle=args.dram_bytes_per_cycle, latency=args.dram_latency,
                        engine=args.engine, stall_seed=args.stall_seed, trace=args.trace,
                        progress=progress)
    if args.json:
        write_whole(args.json, json.dumps(result.to_json(), indent=1) + "\n")
    _print(result, build, quiet=args.quiet)
    return 0 if result.passed else 1


def _print(result: Verification, build: BuildFolder, *, quiet: bool) -> None:
    console = make_console()
    table = Table(title=f"{build.manifest['name']} on {build.manifest['target']} "
                        f"({build.image.config.rows}x{build.image.config.columns}), "
                        f"{'RTL' if result.rtl else 'simulator'} against ONNX Runtime",
                  title_justify="left")
    for heading, justify in (("tensor", "left"), ("shape", "left"), ("elements", "right"),
                             ("mismatches", "right"), ("max |diff|", "right"), ("note", "left")):
        table.add_column(heading, justify=justify, overflow="fold")  # type: ignore[arg-type]
    for t in result.tensors:
        if quiet and not t.mismatches and not t.host_differs:
            continue
        table.add_row(t.name, "x".join(map(str, t.shape)), str(t.elements),
                      "-" if t.mismatches is None else str(t.mismatches),
                      "-" if t.mismatches is None else f"{t.max_abs_diff:g}", _note(t))
    console.print(table)
    console.print(f"{result.compared} tensors, {result.compared_elements} elements compared; "
                  f"{result.instructions} instructions; {result.cycles_predicted} cycles "
                  f"predicted")
    console.print("CPU seconds: " + ", ".join(f"{k.replace('_', ' ')} {v:.2f}"
                                              for k, v in result.seconds.items()))
    if result.rtl:
        _print_rtl(console, result.rtl)
    if result.shuffles:
        bad = {seed: n for seed, n in result.shuffles.items() if n}
        console.print(f"{len(result.shuffles)} random interleavings: " + (
            f"[red]bytes of memory that differ, by seed: {bad}[/]" if bad
            else "same memory contents"))
    if result.races is not None:
        console.print(f"races: {result.races}")
    if any(t.host_differs for t in result.tensors):
        console.print("[yellow]this host's ONNX Runtime leaves the exact integers (see the notes); "
                      "run `python -m sim doctor`[/]")
    colour = "red" if result.total_mismatches else "green"
    console.print(f"[{colour}]total mismatches: {result.total_mismatches}[/]")


def _print_rtl(console: Console, rtl: RtlResult) -> None:
    utilization = "" if rtl.utilization is None else f", {rtl.utilization:.1%} of the array used"
    console.print(f"{rtl.cycles} cycles measured (prediction {rtl.error:+.1%}){utilization}; "
                  f"{rtl.read_bytes} bytes read, {rtl.written_bytes} written; "
                  f"{rtl.cycles_per_second / 1e3:.0f} kcycles/s")
    table = Table(title="cycles by queue", title_justify="left")
    for heading in ("queue", "busy", "waited for tokens", "stalled"):
        table.add_column(heading, justify="left" if heading == "queue" else "right")
    for name, spent in rtl.queues.items():
        table.add_row(name, *(str(spent[kind]) for kind in ("busy", "wait", "stall")))
    console.print(table)
    if rtl.memory_differs:
        console.print(f"[red]bytes of memory in which RTL and simulator differ: "
                      f"{rtl.memory_differs}[/]")
    for violation in rtl.violations:
        console.print(f"[red]{violation}[/]")


def _note(t: TensorResult) -> str:
    notes = {"memory": "", "host": "dequantized by the host", "input": "fed to both",
             "table": "inside a table", "fused": "not kept (--keep-tensors)",
             "reused": "memory reused (--keep-tensors)"}[t.where]
    if t.first:
        at, expected, found = t.first
        notes += f" first at {list(at)}: expected {expected:g}, got {found:g}"
    if t.host_differs:
        notes += f" [yellow]ONNX Runtime differs from exact integers in {t.host_differs}[/]"
    return notes.strip()
