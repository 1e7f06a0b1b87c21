"""``python -m sim soc BUILD``."""

import argparse
import json
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from hw.spec.small import CLOCK_HZ, SMALL
from sim.build import read_build
from sim.commands.detection import SCORE, score
from sim.commands.shared import add_input, make_console, progress_bar, read_feeds, write_whole
from sim.errors import SimError
from sim.golden import Golden
from sim.results import TensorResult
from sim.small import SmallResult, verify_small
from sim.soc import SocResult, verify_soc

BOARDS = ("ulx3s-85f", *SMALL)

__all__ = ["add_parser", "run"]

#: What an SDRAM of the board takes.
_MOST_CLOCK_MHZ = 133


def add_parser(commands: Any) -> None:
    """Add the command to argparse's subparsers."""
    s = commands.add_parser(
        "soc", help="simulate the whole system of a board, processor and memory included: boot the "
                    "firmware of a build, run a frame, compare outputs and boxes")
    s.add_argument("build", type=Path, metavar="BUILD", help="folder made by codegen build")
    s.add_argument("--headers", type=Path, required=True, metavar="DIR",
                   help="folder that codegen header made of it")
    add_input(s)
    s.add_argument("--heads", type=Path, metavar="FILE",
                   help="what the outputs mean, if the model does not say it; codegen header must "
                        "have been given the same")
    s.add_argument("--score", type=score, default=SCORE, metavar="S",
                   help=f"leave out boxes with a score of S or less (default: {SCORE})")
    s.add_argument("--no-checksum", action="store_true",
                   help="the firmware does not verify the image, which takes some cycles a byte")
    s.add_argument("--board", choices=BOARDS, default=BOARDS[0],
                   help=f"whose system (default: {BOARDS[0]}); that of {', '.join(SMALL)} has no "
                        "SDRAM, and its processor does all but the MACs")
    s.add_argument("--clock-mhz", type=_megahertz, metavar="MHZ", dest="clock_hz",
                   help="what the system is made for: the faster, the more cycles the SDRAM takes "
                        "(default: 50)")
    s.add_argument("--sdram-rate", type=int, choices=(1, 2),
                   help="clocks of the SDRAM per clock of the system (default: 2)")
    s.add_argument("--json", type=Path, metavar="OUT", help="also write the results here")
    s.set_defaults(run=run)


def _megahertz(text: str) -> int:
    try:
        if 1 <= (value := float(text)) <= _MOST_CLOCK_MHZ:
            return round(value * 1e6)
    except ValueError:
        pass
    raise argparse.ArgumentTypeError(f"must be a number from 1 to {_MOST_CLOCK_MHZ}, not {text!r}")


def run(args: argparse.Namespace) -> int:
    """Run the command; returns the exit status."""
    build = read_build(args.build)
    feeds = read_feeds(Golden(build.model).inputs, args)
    small = args.board in SMALL
    if small and (args.sdram_rate or args.clock_hz):
        raise SimError(f"clock and SDRAM rate of {args.board!r} must not be set, for it has one "
                       "clock and no SDRAM; leave --clock-mhz and --sdram-rate out.")
    result: SocResult | SmallResult
    with progress_bar() as progress:
        if small:
            result = verify_small(build, args.headers, feeds, heads_file=args.heads,
                                  score=args.score, checksum=not args.no_checksum, say=progress)
        else:
            result = verify_soc(build, args.headers, feeds, heads_file=args.heads,
                                score=args.score, checksum=not args.no_checksum,
                                clock_hz=args.clock_hz, sdram_rate=args.sdram_rate or 2,
                                say=progress)
    if args.json:
        write_whole(args.json, json.dumps(build.identity | result.to_json(), indent=1) + "\n")
    console = make_console()
    _print_outputs(console, result.text, result.tensors, "RAM" if small else "SDRAM")
    if isinstance(result, SmallResult):
        _print_small(console, result)
    else:
        _print_soc(console, result)
    _print_verdict(console, result)
    return 0 if result.passed else 1


def _print_outputs(console: Console, text: str, tensors: list[TensorResult], memory: str) -> None:
    console.print("the firmware said:")
    for line in text.splitlines():
        console.print(f"  | {escape(line)}")
    table = Table(title=f"outputs in {memory} against ONNX Runtime", title_justify="left")
    for heading in ("tensor", "shape", "elements", "mismatches"):
        table.add_column(heading, justify="left" if heading in ("tensor", "shape") else "right")
    for t in tensors:
        table.add_row(escape(t.name), "x".join(map(str, t.shape)), str(t.elements),
                      str(t.mismatches))
    console.print(table)


def _print_small(console: Console, result: SmallResult) -> None:
    used = "" if result.utilization is None else f", {result.utilization:.1%} of it used"
    console.print(f"{result.cycles} cycles for the frame, {result.seconds:.2f} s at "
                  f"{CLOCK_HZ / 1e6:g} MHz; the array was at work in {result.array_cycles}{used}")
    console.print(f"{result.system_cycles} cycles from configuration to the end, simulated at "
                  f"{result.cycles_per_second / 1e3:.0f} kcycles/s")
    if result.checksums_differ:
        console.print(f"[red]checksums: {escape(result.checksums_differ)}[/]")


def _print_soc(console: Console, result: SocResult) -> None:
    moved = result.read_bytes + result.written_bytes
    used = "" if result.utilization is None else f", {result.utilization:.1%} of the array used"
    console.print(f"{result.cycles} cycles for the frame, {result.cycles_predicted} predicted for "
                  f"a memory that never pauses{used}")
    console.print(f"{result.read_bytes} bytes read, {result.written_bytes} written; a transfer was "
                  f"under way in {result.bus_cycles} cycles, which moved "
                  f"{moved / result.bus_cycles:.2f} bytes each")
    console.print(f"{result.system_cycles} cycles from reset to the end, simulated at "
                  f"{result.cycles_per_second / 1e3:.0f} kcycles/s")


def _print_verdict(console: Console, result: SocResult | SmallResult) -> None:
    console.print("memory as in the simulator" if not result.memory_differs else
                  f"[red]bytes of memory that differ from the simulator's: "
                  f"{result.memory_differs}[/]")
    if result.boxes_differ:
        console.print(f"[red]boxes: {escape(result.boxes_differ)}[/]")
    elif result.boxes is not None:
        console.print(f"boxes as on the host: {result.boxes}")
    colour = "green" if result.passed else "red"
    hint = "; failed, see above" if not (result.total_mismatches or result.passed) else ""
    console.print(f"[{colour}]total mismatches: {result.total_mismatches}{hint}[/]")
