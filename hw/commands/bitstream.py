"""``python -m hw bitstream --board NAME -o DIR``."""

import argparse
import json
import shlex
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from hw.bitstream.boards import BOARDS
from hw.bitstream.flow import FLOORPLAN, REPORT, make_bitstream
from hw.bitstream.report import summary, tables
from hw.commands.shared import (
    FileError,
    add_boot,
    add_clock,
    add_folder,
    boot_code,
    chosen,
    positive,
)
from hw.spec.config import PRESETS, ArrayConfig
from hw.spec.small import SMALL

__all__ = ["add_parser", "run"]


def add_parser(commands: Any) -> None:
    """Add the command to argparse's subparsers."""
    b = commands.add_parser("bitstream", help="synthesize, place and route a system for a board "
                                              "(minutes for a small one), and say what it takes "
                                              "and reaches")
    b.add_argument("--board", choices=sorted(BOARDS), default="ulx3s-85f",
                   help="board (default: ulx3s-85f)")
    b.add_argument("--target", choices=sorted(PRESETS),
                   help="named configuration of the core (default: the board's)")
    add_clock(b)
    add_boot(b)
    b.add_argument("--seeds", type=positive, nargs="+", default=[1], metavar="N",
                   help="place and route with each, keep the fastest (default: 1)")
    b.add_argument("--jobs", type=positive, default=1, metavar="N",
                   help="seeds at a time; each needs a core and 2 GB (default: 1)")
    b.add_argument("--cycles-from", type=Path, metavar="FILE",
                   help="a run of the RTL, for frames per second: what sim soc, or sim verify "
                        "with --engine rtl, wrote with --json")
    add_folder(b)
    b.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Run the command."""
    system, seeds = chosen(args), list(dict.fromkeys(args.seeds))
    config, boot = system.config, boot_code(args.rom)
    measured = None
    if args.cycles_from:
        measured = read_run(args.cycles_from, config, system.clock_hz, system.sdram_rate)
    rate = () if system.sdram_rate is None else ("--sdram-rate", str(system.sdram_rate))
    command = ["python", "-m", "hw", "bitstream", "--board", args.board, "--target", system.target,
               "--clock-mhz", f"{system.clock_hz / 1e6:g}", *rate,
               "--seeds", *map(str, seeds), *(("--rom", str(args.rom)) if args.rom else ()),
               "-o", str(args.output)]
    try:
        with _steps() as step:
            found = make_bitstream(
                args.board, config, args.output, clock_hz=system.clock_hz,
                sdram_rate=system.sdram_rate, seeds=seeds, boot=boot, step=step,
                command=shlex.join(command), jobs=args.jobs, run=measured)
    except OSError as error:
        raise FileError(f"folder {str(args.output)!r} must be writable; {error}") from error
    console = Console(width=None if sys.stdout.isatty() else 150, highlight=False)
    for table in tables(found):
        console.print(table)
    for line in summary(found):
        print(line)
    bitstream = BOARDS[args.board].device.bitstream
    print(f"written to {args.output}: {bitstream}, {REPORT}, {FLOORPLAN}")
    if not boot and args.board not in SMALL:
        print("the boot ROM is empty: name its contents with --rom, or use `make bitstream`")
    return 0


def read_run(path: Path, config: ArrayConfig, clock_hz: int, sdram_rate: int | None
             ) -> dict[str, Any]:
    """Network, cycles and engine of a run of the RTL.

    Raises
    ------
    FileError
        The file is none, or the run failed, was not a whole frame in RTL, of another core, or with
        another clock or SDRAM.
    """
    try:
        found = json.loads(path.read_text())
    except OSError as error:
        raise FileError(f"file {str(path)!r} must be readable; {error.strerror}") from error
    except ValueError as error:
        raise FileError(f"file {str(path)!r} must be JSON; {error}") from error
    whole = "a whole frame in RTL, as `python -m sim soc --json` writes it"
    if not isinstance(found, dict) or not {"network", "config", "passed"} <= set(found):
        raise FileError(f"file {str(path)!r} must be about {whole}")
    if "array_cycles" in found:
        engine, cycles = "whole small system in RTL, with its flash", found["cycles"]
    elif "system_cycles" in found:
        engine, cycles = "whole system in RTL, with its SDRAM", found["cycles"]
    elif (rtl := found.get("rtl")) and not rtl["layers"] and found["engine"] == "rtl":
        engine, cycles = "core in RTL, with a memory that never pauses", rtl["cycles"]
    else:
        raise FileError(f"file {str(path)!r} must be about {whole}, not about single layers or the "
                        "simulator")
    if not found["passed"]:
        raise FileError(f"the run in {str(path)!r} must have passed, and has not")
    if found["config"] != asdict(config):
        wrong = [name for name, value in asdict(config).items()
                 if found["config"].get(name) != value]
        raise FileError(f"the run in {str(path)!r} must be of the same core; "
                        f"{', '.join(wrong) or 'its configuration'} differs")
    for name, ours, option in (("clock_hz", clock_hz, f"--clock-mhz {clock_hz / 1e6:g}"),
                               ("sdram_rate", sdram_rate, f"--sdram-rate {sdram_rate}")):
        if found.get(name, ours) != ours:
            raise FileError(f"the run in {str(path)!r} must be of the same system, `sim soc "
                            f"{option}`; its {name} is {found[name]}")
    return {"network": found["network"], "cycles": cycles, "engine": engine}


@contextmanager
def _steps() -> Iterator[Callable[[str], Any]]:
    """Steps with their times on standard error; nothing when that is not a terminal."""
    columns = (SpinnerColumn(finished_text="✓"), TextColumn("{task.description}"),
               TimeElapsedColumn(), TextColumn("{task.fields[doing]}"))
    with Progress(*columns, console=Console(stderr=True), disable=not sys.stderr.isatty()) as bar:
        lock = threading.Lock()

        @contextmanager
        def step(name: str) -> Iterator[Callable[[str], None]]:
            with lock:
                task = bar.add_task(name, total=1, doing="")
            yield lambda doing: bar.update(task, doing=doing)
            bar.update(task, completed=1, doing="")

        yield step
