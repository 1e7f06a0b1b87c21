"""Command line of the hardware, ``python -m hw --help``."""

import argparse
import os
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from hw.formal.errors import FormalError
from hw.soc.firmware import FirmwareError, build_firmware
from hw.soc.write import BOARDS, MOST_CLOCK_HZ, ROM_BYTES, ROM_FILE, rom_words, soc_files
from hw.spec.config import PRESETS, ConfigError

__all__ = ["main", "parser"]


class FileError(Exception):
    """A file cannot be written; the message says which."""


def generate_command(args: argparse.Namespace) -> int:
    """``python -m hw generate``."""
    # The generator takes seconds to load, the help does not need it.
    from hw.generate import core_verilog
    config = PRESETS[args.target]
    config = config.with_size(args.rows, args.columns)
    _write({args.output: core_verilog(config)})
    return 0


def formal_command(args: argparse.Namespace) -> int:
    """``python -m hw formal``."""
    # Likewise.
    from hw.formal import catalogue, report
    proofs = catalogue.select(args.names, fast=args.fast)
    if args.list:
        report.print_proofs(proofs)
        return 0
    results = report.run_with_progress(proofs, jobs=args.jobs)
    report.print_results(results)
    if args.json:
        _write({args.json: report.to_json(results)})
    return int(any(result.failures for result in results))


def soc_command(args: argparse.Namespace) -> int:
    """``python -m hw soc``."""
    from hw.generate import MODULE, core_verilog
    try:
        boot = args.rom.read_bytes() if args.rom else b""
    except OSError as error:
        raise FileError(f"file {str(args.rom)!r} must be readable; {error.strerror}") from error
    if len(boot) > ROM_BYTES:
        raise FileError(f"boot code must have at most the {ROM_BYTES} bytes of the ROM, not "
                        f"{len(boot)}")
    config = PRESETS[args.target]
    files = soc_files(args.board, config, clock_hz=args.clock_hz)
    files |= {f"{MODULE}.v": core_verilog(config), ROM_FILE: rom_words(boot)}
    _write({args.output / name: text for name, text in files.items()})
    print(f"written to {args.output}: {', '.join(sorted(files))}")
    return 0


def firmware_command(args: argparse.Namespace) -> int:
    """``python -m hw firmware``."""
    system = soc_files(args.board, PRESETS[args.target], clock_hz=args.clock_hz)
    made = build_firmware(args.headers, system)
    _write({args.output / "firmware.elf": made.elf,
            args.output / "firmware.bin": made.program.binary,
            args.output / "boot.bin": made.boot.binary})
    rows = [*made.table(), ("firmware.bin, for the SDRAM", len(made.program.binary))]
    width = max(len(name) for name, _ in rows)
    for name, size in rows:
        print(f"{name:{width}}  {size:12,} bytes")
    print(f"written to {args.output}: boot.bin, firmware.bin, firmware.elf")
    return 0


def _write(files: Mapping[Path, str | bytes]) -> None:
    """Write files, each whole, or none of them."""
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


def _positive(text: str) -> int:
    if not text.isdecimal() or not int(text):
        raise argparse.ArgumentTypeError(f"must be a positive number, not {text!r}")
    return int(text)


def _megahertz(text: str) -> int:
    try:
        if 1 <= (value := float(text)) <= MOST_CLOCK_HZ / 1e6:
            return round(value * 1e6)
    except ValueError:
        pass
    raise argparse.ArgumentTypeError(f"must be a number from 1 to {MOST_CLOCK_HZ / 1e6:g}, not "
                                     f"{text!r}; the SDRAM has twice as much")


def _add_target(command: argparse.ArgumentParser) -> None:
    command.add_argument("--target", choices=sorted(PRESETS), default="ulx3s-85f",
                         help="named configuration (default: ulx3s-85f)")


def _add_system(command: argparse.ArgumentParser) -> None:
    _add_target(command)
    command.add_argument("--board", choices=BOARDS, default=BOARDS[0],
                         help=f"what is around the system (default: {BOARDS[0]})")
    command.add_argument("--clock-mhz", type=_megahertz, default=50_000_000, metavar="MHZ",
                         dest="clock_hz", help="of the system; the SDRAM has twice as much "
                                               "(default: 50)")


def parser() -> argparse.ArgumentParser:
    """The command line."""
    top = argparse.ArgumentParser(prog="python -m hw", description=__doc__)
    commands = top.add_subparsers(required=True, metavar="COMMAND")
    g = commands.add_parser("generate", help="write the core as Verilog")
    _add_target(g)
    for name, what in (("rows", "height"), ("columns", "width")):
        g.add_argument(f"--{name}", type=_positive, metavar="N",
                       help=f"another {what}; memories keep their bytes")
    g.add_argument("-o", "--output", type=Path, required=True, metavar="FILE",
                   help="Verilog file to write")
    g.set_defaults(run=generate_command)
    f = commands.add_parser("formal", help="prove properties of the core's components")
    f.add_argument("names", nargs="*", metavar="NAME",
                   help="proofs, or components whose proofs to run (default: all)")
    f.add_argument("--list", action="store_true", help="say what would be proved, and how")
    f.add_argument("--fast", action="store_true", help="only those that take seconds, as CI does")
    f.add_argument("--jobs", type=_positive, default=1, metavar="N",
                   help="how many proofs to run side by side (default: 1)")
    f.add_argument("--json", type=Path, metavar="FILE", help="also write the results here")
    f.set_defaults(run=formal_command)

    s = commands.add_parser("soc", help="write a system around the core: processor, UART, SDRAM "
                                        "controller, as Verilog with its addresses")
    _add_system(s)
    s.add_argument("--rom", type=Path, metavar="FILE",
                   help="boot code for the ROM: boot.bin of `python -m hw firmware`")
    s.add_argument("-o", "--output", type=Path, required=True, metavar="DIR",
                   help="folder to write to")
    s.set_defaults(run=soc_command)

    f = commands.add_parser("firmware", help="compile the firmware of a system with the headers of "
                                             "a build, and print what takes how many bytes")
    f.add_argument("headers", type=Path, metavar="HEADERS",
                   help="folder made by codegen header")
    _add_system(f)
    f.add_argument("-o", "--output", type=Path, required=True, metavar="DIR",
                   help="folder to write to")
    f.set_defaults(run=firmware_command)
    return top


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit status."""
    args = parser().parse_args(argv)
    try:
        return int(args.run(args))
    except (ConfigError, FileError, FirmwareError, FormalError) as error:
        print(f"error: {error}.", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
