"""``python -m hw firmware HEADERS -o DIR``."""

import argparse
import json
from pathlib import Path
from typing import Any

from hw.commands.shared import add_folder, add_system, chosen, write_files
from hw.small.firmware import SmallFirmware, build_small_firmware
from hw.soc.firmware import Firmware, build_firmware
from hw.soc.write import soc_files
from hw.spec.small import SMALL

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
    system = chosen(args)
    made: Firmware | SmallFirmware
    if args.board in SMALL:
        made, memory = build_small_firmware(args.headers, clock_hz=system.clock_hz), "flash"
        boot = {}
    else:
        made, memory = build_firmware(args.headers, soc_files(
            args.board, system.config, clock_hz=system.clock_hz,
            sdram_rate=system.sdram_rate)), "SDRAM"
        boot = {"boot.bin": made.boot.binary}
    files = {"firmware.bin": made.program.binary, "firmware.elf": made.elf,
             "firmware.json": json.dumps(made.places(), indent=1) + "\n"}
    write_files({args.output / name: content for name, content in (boot | files).items()})
    rows = [*made.table(), (f"firmware.bin, for the {memory}", len(made.program.binary))]
    width = max(len(name) for name, _ in rows)
    for name, size in rows:
        print(f"{name:{width}}  {size:12,} bytes")
    print(f"written to {args.output}: {', '.join(boot | files)}")
    return 0
