"""``python -m sim upload BUILD``."""

import argparse
from pathlib import Path
from typing import Any

from hw.spec.small import ACTIVATIONS_OFFSET
from sim.build import read_build
from sim.commands.shared import add_input, read_feeds, write_whole
from sim.errors import SimError
from sim.golden import Golden
from sim.upload import ALL, NEXT, WINDOW, make_upload

__all__ = ["add_parser", "run"]


def add_parser(commands: Any) -> None:
    """Add the command to argparse's subparsers."""
    u = commands.add_parser("upload", help="write what a board is sent: an input, and for "
                                           "litex_term lists of files with their addresses")
    u.add_argument("build", type=Path, metavar="BUILD", help="folder made by codegen build")
    u.add_argument("--firmware", type=Path, required=True, metavar="DIR",
                   help="folder that hw firmware made for it")
    add_input(u)
    u.add_argument("-o", "--output", type=Path, required=True, metavar="DIR",
                   help="folder to write to")
    u.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Run the command; returns the exit status."""
    build = read_build(args.build)
    feeds = read_feeds(Golden(build.model).inputs, args)
    files = make_upload(build, args.firmware, feeds, args.output)
    try:
        args.output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SimError(f"folder {str(args.output)!r} must be writable; "
                       f"{error.strerror}.") from error
    for name, content in files.items():  # the lists last: they name the others
        write_whole(args.output / name, content)
    print(f"written to {args.output}: {', '.join(files)}")
    if WINDOW in files:
        place = args.output / WINDOW
        print(f"into the flash: iceprog -o {ACTIVATIONS_OFFSET >> 20}M {place}")
        return 0
    print(f"first picture:  litex_term --speed 1000000 --images {args.output / ALL} /dev/ttyUSB0")
    print(f"next ones:      litex_term --speed 1000000 --images {args.output / NEXT} /dev/ttyUSB0")
    return 0
