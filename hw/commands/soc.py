"""``python -m hw soc -o DIR``."""

import argparse
from typing import Any

from hw.commands.shared import (
    add_boot,
    add_folder,
    add_system,
    boot_code,
    chosen,
    write_files,
)
from hw.soc.write import ROM_FILE, rom_words, soc_files
from hw.spec.small import SMALL

__all__ = ["add_parser", "run"]


def add_parser(commands: Any) -> None:
    """Add the command to argparse's subparsers."""
    s = commands.add_parser("soc", help="write a system around the core: processor, UART, SDRAM "
                                        "controller, as Verilog with its addresses")
    add_system(s)
    add_boot(s)
    add_folder(s)
    s.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Run the command."""
    # The generator takes seconds to load, the help does not need it.
    from hw.generate import MODULE, core_verilog
    system, boot = chosen(args), boot_code(args.rom)
    if args.board in SMALL:
        from hw.small.write import small_files
        files = small_files(system.config, clock_hz=system.clock_hz)
    else:
        files = soc_files(args.board, system.config, clock_hz=system.clock_hz,
                          sdram_rate=system.sdram_rate)
        files |= {f"{MODULE}.v": core_verilog(system.config), ROM_FILE: rom_words(boot)}
    write_files({args.output / name: text for name, text in files.items()})
    print(f"written to {args.output}: {', '.join(sorted(files))}")
    return 0
