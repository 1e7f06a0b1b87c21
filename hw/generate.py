"""Verilog of a core."""

import re
from collections.abc import Sequence

from amaranth.back import rtlil, verilog

from hw.rtl.top import Core
from hw.spec.config import ArrayConfig

__all__ = ["MODULE", "colliding", "core_rtlil", "core_verilog", "uncleared"]

#: Name of the top module.
MODULE = "macrame"

#: Read ports, and what they promise of a word that is written in the same cycle.
_READ_PORT = re.compile(r"cell \$memrd_v2 .*?\n  end\n", re.S)
_NEW = re.compile(r"TRANSPARENCY_MASK (\d+)'([01]+)")
_ANY = re.compile(r"COLLISION_X_MASK \d+'[01]+")

_CLEARED = re.compile(r" *initial begin\n(?: *\S+ ?\[\d+\] = \d+'[hd]0+;\n)+ *end\n")


def core_verilog(config: ArrayConfig) -> str:
    """Generate the core as one Verilog file; its ports are those of :class:`hw.rtl.top.Core`.

    Memories have no initial contents: Amaranth would clear them, a line per word, which is half
    of the file, and some memories of FPGAs cannot be cleared.
    """
    return uncleared(verilog.convert(Core(config), name=MODULE, emit_src=False,
                                     strip_internal_attrs=True))


def uncleared(text: str) -> str:
    """Leave out of Amaranth's Verilog that memories are cleared."""
    return _CLEARED.sub("", text)


def core_rtlil(config: ArrayConfig, multiplier: str | Sequence[str]) -> str:
    """Generate the core for Yosys, with multipliers of these styles:
    :class:`hw.rtl.multiplier.MultiplierStyle`, one for all or one for each column.

    Its memories are those of :func:`colliding`: nothing uses a word that is read while it is
    written. On-chip memories say that what is written can be read from the next cycle on, and
    Amaranth's FIFOs read only words that were there before.
    """
    return colliding(rtlil.convert(Core(config, multiplier), name=MODULE, emit_src=False))


def colliding(text: str) -> str:
    """Change RTLIL of Amaranth: a registered read port that is not transparent may give anything
    for a word that is written in the same cycle.

    Amaranth would promise the old contents, which many block RAMs do not give: Yosys then adds a
    comparator, and registers for address and data, to each of them, or two block RAMs for one.
    """
    return _READ_PORT.sub(_collides, text)


def _collides(port: re.Match[str]) -> str:
    """Let a registered port give anything for what is written at the same time."""
    text, new = port[0], _NEW.search(port[0])
    assert new, "a read port has no transparency mask"
    if "CLK_ENABLE 1\n" not in text:
        return text
    anything = new[2].translate(str.maketrans("01", "10"))
    return _ANY.sub(f"COLLISION_X_MASK {new[1]}'{anything}", text)
