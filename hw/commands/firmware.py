"""``python -m hw firmware HEADERS -o DIR``."""

import argparse
import json
from pathlib import Path
from typing import Any

from hw.commands.shared import add_folder, add_system, write_files
from hw.soc.firmware import build_firmware
from hw.soc.write import soc_files
from hw.spec.config import PRESETS

__all__ = ["add_parser", "run"]


def add_parser(commands: Any) -> None:
    """Add the command to argparse's subparsers."""
    f = commands.add_parser("firmware", help="compile the firmware of a system with the headers of "
                                             "a build, and print what takes how many bytes")
    f.add_argument("headers", type=Path, metavar="HEADERS",
                   help="folder made by codegen header")
    add_system(f)
    add_folder(f)
    f.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Run the command."""
    system = soc_files(args.board, PRESETS[args.target], clock_hz=args.clock_hz,
                      sdram_rate=args.sdram_rate)
    made = build_firmware(args.headers, system)
    write_files({args.output / "firmware.elf": made.elf,
                 args.output / "firmware.bin": made.program.binary,
                 args.output / "boot.bin": made.boot.binary,
                 args.output / "firmware.json": json.dumps(made.places(), indent=1) + "\n"})
    rows = [*made.table(), ("firmware.bin, for the SDRAM", len(made.program.binary))]
    width = max(len(name) for name, _ in rows)
    for name, size in rows:
        print(f"{name:{width}}  {size:12,} bytes")
    print(f"written to {args.output}: boot.bin, firmware.bin, firmware.elf, firmware.json")
    return 0
