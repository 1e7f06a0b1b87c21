"""Verilog of a core."""

import re
from collections.abc import Sequence

from amaranth.back import rtlil, verilog

from hw.rtl.top import Core
from hw.spec.config import ArrayConfig

__all__ = ["MODULE", "core_rtlil", "core_verilog"]

#: Name of the top module.
MODULE = "macrame"

_CLEARED = re.compile(r" *initial begin\n(?: *\S+ ?\[\d+\] = \d+'[hd]0+;\n)+ *end\n")


def core_verilog(config: ArrayConfig) -> str:
    """Generate the core as one Verilog file; its ports are those of :class:`hw.rtl.top.Core`.

    Memories have no initial contents: Amaranth would clear them, a line per word, which is half
    of the file, and some memories of FPGAs cannot be cleared.
    """
    text = verilog.convert(Core(config), name=MODULE, emit_src=False, strip_internal_attrs=True)
    return _CLEARED.sub("", text)


def core_rtlil(config: ArrayConfig, multiplier: str | Sequence[str]) -> str:
    """Generate the core for Yosys, with multipliers of these styles:
    :class:`hw.rtl.multiplier.MultiplierStyle`, one for all or one for each column.
    """
    text: str = rtlil.convert(Core(config, multiplier), name=MODULE, emit_src=False)
    return text
