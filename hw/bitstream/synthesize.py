"""From RTLIL and Verilog to a netlist of the FPGA's cells."""

import re
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from hw.bitstream.tools import Used, find

__all__ = ["Netlist", "cells_by_component", "synthesize"]

_FILE = "netlist.json"
#: Yosys' announcement of a pass.
_PASS = re.compile(r"^[\d.]+ Executing (\w+)", re.M)
#: The core as RTLIL: its memories' transparent ports would be lost in Verilog, and each would take
#: twice as much block RAM. Wires keep their names if they are registers, so that reports of timing
#: can be read; Yosys would keep all named wires, and what drives them, alive. Registers with `keep`
#: are copies of others, for short wires, and are not merged again.
_SCRIPT = """\
{read}
hierarchy -top {top}
proc
flatten
opt_dff -simple-dffe
setattr -set keep 1 w:* a:keep %i %ci1:+[Q] c:* %i
select -set registers t:$*dff* %co1:+[Q] w:* %i
rename -hide w:*.* @registers %d
{synth} -top {top} -json {file}
"""


@dataclass(frozen=True)
class Netlist:
    """A netlist as Yosys writes it, and what it took."""

    path: Path
    used: Used


def synthesize(folder: Path, sources: Mapping[str, str], *, top: str, synth: str,
               say: Callable[[str], None] = lambda _: None) -> Netlist:
    """Synthesize what is in `sources`, files by name, in `folder`.

    Parameters
    ----------
    sources
        ``*.il`` and ``*.v`` are read; others are there for ``$readmemh``.
    synth
        Yosys' command.
    say
        Called with what Yosys is doing.

    Raises
    ------
    ToolError
        Yosys is missing or fails.
    """
    for name, text in sources.items():
        (folder / name).write_text(text)
    read = "\n".join(f"read_rtlil {name}" if name.endswith(".il") else f"read_verilog {name}"
                     for name in sources if name.endswith((".il", ".v")))
    (folder / "synthesize.ys").write_text(
        _SCRIPT.format(read=read, top=top, synth=synth, file=_FILE))
    used = find("yosys").run(
        "-s", "synthesize.ys", folder=folder, log="yosys.log",
        follow=lambda log: say("".join(_PASS.findall(log)[-1:])))
    return Netlist(folder / _FILE, used)


def cells_by_component(netlist: Path, components: Mapping[str, str]) -> dict[str, Counter[str]]:
    """Count cells of each type by component.

    Parameters
    ----------
    components
        A name for each beginning of a cell's path; the longest counts, ``""`` is the rest.
    """
    counts: dict[str, Counter[str]] = {name: Counter() for name in components.values()}
    prefixes = sorted(components, key=len, reverse=True)
    opened = re.compile(r'\s+"(.*)": \{$')
    typed = re.compile(r'\s+"type": "(\w+)",?$')
    name = ""
    with netlist.open(errors="replace") as lines:  # a hundred megabytes: line by line
        for line in lines:
            if found := opened.match(line):
                name = found.group(1).replace("\\", "")
            elif found := typed.match(line):
                prefix = next(p for p in prefixes if name.startswith(p))
                counts[components[prefix]][found.group(1)] += 1
    return counts
