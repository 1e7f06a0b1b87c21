"""What the commands share: output files, boot code, types of arguments, targets and boards."""

import argparse
import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from hw.soc.write import BOARDS, ROM_BYTES, ClockError
from hw.spec.config import PRESETS, ArrayConfig, ConfigError
from hw.spec.small import CLOCK_HZ, SMALL, check_small

__all__ = ["Chosen", "FileError", "add_boot", "add_clock", "add_folder", "add_system", "add_target",
           "boot_code", "chosen", "positive", "write_files"]

#: What the clock generators of FPGAs can make, and more than any system here reaches.
_MOST_CLOCK_MHZ = 400


class FileError(Exception):
    """A file cannot be read or written; the message says which."""


def write_files(files: Mapping[Path, str | bytes]) -> None:
    """Write files, each whole, or none of them.

    Raises
    ------
    FileError
        One cannot be written.
    """
    temporary = dict[Path, str]()
    try:
        for path, content in files.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as file:
                temporary[path] = file.name
                file.write(content.encode() if isinstance(content, str) else content)
            os.chmod(temporary[path], 0o644)
        for path, name in temporary.items():
            os.replace(name, path)
    except OSError as error:
        for name in temporary.values():
            Path(name).unlink(missing_ok=True)
        raise FileError(f"file {str(path)!r} must be writable; {error.strerror}") from error


def boot_code(path: Path | None) -> bytes:
    """What goes into the boot ROM; nothing if no file is named.

    Raises
    ------
    FileError
        It cannot be read, or does not fit.
    """
    try:
        code = path.read_bytes() if path else b""
    except OSError as error:
        raise FileError(f"file {str(path)!r} must be readable; {error.strerror}") from error
    if len(code) > ROM_BYTES:
        raise FileError(f"boot code must have at most the {ROM_BYTES} bytes of the ROM, not "
                        f"{len(code)}")
    return code


def positive(text: str) -> int:
    """Type of an argument: 1, 2, 3, ..."""
    if not text.isdecimal() or not int(text):
        raise argparse.ArgumentTypeError(f"must be a positive number, not {text!r}")
    return int(text)


def _megahertz(text: str) -> int:
    try:
        if 1 <= (value := float(text)) <= _MOST_CLOCK_MHZ:
            return round(value * 1e6)
    except ValueError:
        pass
    raise argparse.ArgumentTypeError(f"must be a number from 1 to {_MOST_CLOCK_MHZ}, not {text!r}")


def add_target(command: argparse.ArgumentParser) -> None:
    """Add ``--target``."""
    command.add_argument("--target", choices=sorted(PRESETS), default="ulx3s-85f",
                         help="named configuration (default: ulx3s-85f)")


def add_system(command: argparse.ArgumentParser) -> None:
    """Add ``--target``, ``--board``, ``--clock-mhz`` and ``--sdram-rate``."""
    command.add_argument("--target", choices=sorted(PRESETS),
                         help="named configuration (default: the board's, else ulx3s-85f)")
    command.add_argument("--board", choices=(*BOARDS, *SMALL), default=BOARDS[0],
                         help=f"what is around the system (default: {BOARDS[0]})")
    add_clock(command)


def add_clock(command: argparse.ArgumentParser) -> None:
    """Add ``--clock-mhz``, as `clock_hz`, and ``--sdram-rate``."""
    command.add_argument("--clock-mhz", type=_megahertz, metavar="MHZ", dest="clock_hz",
                         help=f"of the system (default: 50; {', '.join(SMALL)}: "
                              f"{CLOCK_HZ / 1e6:g}, and no other)")
    command.add_argument("--sdram-rate", type=int, choices=(1, 2),
                         help="clocks of the SDRAM per clock of the system; the SDRAM takes "
                              "133 MHz (default: 2)")


@dataclass(frozen=True, kw_only=True)
class Chosen:
    """The system that a command line asks for.

    Parameters
    ----------
    target, config
        Of the array.
    clock_hz
    sdram_rate
        None where there is no SDRAM.
    """

    target: str
    config: ArrayConfig
    clock_hz: int
    sdram_rate: int | None


def chosen(args: argparse.Namespace) -> Chosen:
    """What :func:`add_clock`, ``--board`` and ``--target`` say, with the board's own where they
    say nothing.

    Raises
    ------
    ClockError, ConfigError
        The board does not have that.
    """
    board = args.board
    target = args.target or (board if board in PRESETS else "ulx3s-85f")
    if board not in SMALL:
        return Chosen(target=target, config=PRESETS[target],
                      clock_hz=args.clock_hz or 50_000_000, sdram_rate=args.sdram_rate or 2)
    if args.clock_hz not in (None, CLOCK_HZ):
        raise ClockError(f"the clock of {board!r} must be its oscillator's {CLOCK_HZ / 1e6:g} MHz, "
                         f"not {args.clock_hz / 1e6:g}; leave --clock-mhz out")
    if args.sdram_rate is not None:
        raise ConfigError(f"the SDRAM rate of {board!r} must not be set, for it has no SDRAM; "
                          "leave --sdram-rate out")
    if getattr(args, "rom", None) is not None:
        raise ConfigError(f"the boot ROM of {board!r} must not be filled, for it starts from its "
                          "flash; leave --rom out")
    check_small(PRESETS[target])
    return Chosen(target=target, config=PRESETS[target], clock_hz=CLOCK_HZ, sdram_rate=None)


def add_boot(command: argparse.ArgumentParser) -> None:
    """Add ``--rom``."""
    command.add_argument("--rom", type=Path, metavar="FILE",
                         help="boot code for the ROM: boot.bin of `python -m hw firmware`")


def add_folder(command: argparse.ArgumentParser) -> None:
    """Add ``--output DIR``."""
    command.add_argument("-o", "--output", type=Path, required=True, metavar="DIR",
                         help="folder to write to")
