"""The system as files: Verilog, constraints, addresses."""

import contextlib
import logging
import re
from collections.abc import Iterator
from pathlib import Path

from hw.spec.config import ArrayConfig

__all__ = ["BOARDS", "ClockError", "ROM_BYTES", "ROM_FILE", "SOC_MODULE", "rom_words",
           "soc_files"]

#: What can be around the system; the first one is a board.
BOARDS = ("ulx3s-85f", "simulation")
#: The SDRAM takes as much at CAS latency 2, the only one that LiteDRAM's half-rate PHY reads
#: correctly (tried in simulation).
_MOST_SDRAM_HZ = 133_000_000
#: Name of the top module.
SOC_MODULE = "soc"
#: The boot code's block RAM.
ROM_BYTES = 4096
#: Contents of the boot ROM, which the Verilog reads.
ROM_FILE = f"{SOC_MODULE}_rom.init"

#: Where VexRiscv halts an access until the bus takes it.
_HALT = re.compile(r"(assign when_DBusSimplePlugin_\w+ = .*?\(! dBus_cmd_ready\)\))"
                   r" && \(! execute_DBusSimplePlugin_skipCmd\)")


class ClockError(ValueError):
    """A clock is too fast; the message says which, and what to do."""


def soc_files(board_name: str, config: ArrayConfig, *, clock_hz: int,
              sdram_rate: int = 2) -> dict[str, str]:
    """Generate what is around the core.

    Parameters
    ----------
    board_name
        One of :data:`BOARDS`.
    config
        Of the core.
    clock_hz
        Of everything but the SDRAM.
    sdram_rate
        Clocks of the SDRAM per clock of the system: 1, or 2 for twice the bandwidth.

    Returns
    -------
    Contents by name of file: ``soc.v`` (module ``soc``), ``VexRiscv.v``, ``soc.json``, ``soc.h``,
    ``soc.ld``, and for a board ``soc.lpf``. Not among them are the core,
    :func:`hw.generate.core_verilog`, and ``soc_rom.init``, which the Verilog reads:
    :func:`rom_words`.

    Raises
    ------
    ClockError
        The SDRAM would be clocked with more than 133 MHz.
    """
    if sdram_rate * clock_hz > _MOST_SDRAM_HZ:
        raise ClockError(
            f"clock times SDRAM rate must be at most {_MOST_SDRAM_HZ / 1e6:g} MHz, not "
            f"{clock_hz / 1e6:g} x {sdram_rate}; take a slower clock or SDRAM rate 1")
    with _litex():
        # LiteX takes a second to load, and configures logging.
        from hw.soc.boards import make_board
        from hw.soc.memory_map import memory_map_header, memory_map_json, memory_map_script
        from hw.soc.system import System
        board = make_board(board_name)
        system = System(board, config, clock_hz, sdram_rate)
        system.finalize()
        made = board.platform.get_verilog(system, name=SOC_MODULE)
    files = {"soc.v": _only_module(made.main_source), "soc.json": memory_map_json(system),
             "soc.h": memory_map_header(system), "soc.ld": memory_map_script(system)}
    [(cpu, *_)] = board.platform.sources  # named for its variant
    files["VexRiscv.v"] = _halts_early(Path(cpu).read_text())
    if pins := board.constraints(made.ns):
        files["soc.lpf"] = pins
    return files


def rom_words(code: bytes) -> str:
    """The boot ROM's contents, as the Verilog reads them: a little-endian word per line."""
    padded = code + bytes(-len(code) % 4)
    return "".join(f"{int.from_bytes(padded[i:i + 4], 'little'):08x}\n"
                   for i in range(0, len(padded), 4))


def _halts_early(cpu: str) -> str:
    """VexRiscv, in which an access that is not aligned waits for the bus before it is a fault.

    The access has no use for the bus. But the CPU knows only behind the adder of addresses that it
    is not aligned, and from there to all that halts with it was the CPU's longest path.
    """
    changed, n = _HALT.subn(r"\1", cpu)
    assert n == 1, "the CPU must halt in one place"
    return changed


def _only_module(verilog: str) -> str:
    """Drop what LiteX writes around the module, with a date, its hierarchy, which comes in any
    order, and the contents of the empty RAM.
    """
    body = verilog[verilog.index("`timescale"):verilog.rindex("endmodule")] + "endmodule\n"
    body = re.sub(r"/\*.*?\*/\n", "", body, flags=re.S)
    return re.sub(rf"initial begin\n\s*\$readmemh\(\"{SOC_MODULE}_sram\.init\", \w+\);\nend\n", "",
                  body)


@contextlib.contextmanager
def _litex() -> Iterator[None]:
    """Keep LiteX's report of what it does off the terminal, undo what it does to logging, and let
    the same system have the same text.

    Migen has sets of objects, which it goes through in the order of their addresses in memory; here
    their hash is the number of the object, counted from 0 for each system.
    """
    root = logging.root
    disabled, level, handlers = root.manager.disable, root.level, list(root.handlers)
    logging.disable(logging.INFO)
    try:
        from migen.fhdl.specials import Special
        from migen.fhdl.structure import DUID
        Special.__hash__ = lambda special: special.duid
        DUID._DUID__next_uid = 0
        yield
    finally:
        logging.disable(disabled)
        root.setLevel(level)
        root.handlers[:] = handlers
