"""Print the pages of the manual that repeat what the code says: ``python -m docs.generate``.

The pages are committed, so that they can be read without running anything; ``tests/test_docs.py``
makes them again and compares.
"""

import argparse
import inspect
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from enum import IntEnum
from html import escape
from pathlib import Path

import codegen.__main__
import hw.__main__
import sim.cli
from codegen.frontend.report import supported_operators
from docs.results import result_parts
from hw.spec import config as limits
from hw.spec.boards import BOARDS, ERROR
from hw.spec.config import PRESETS, ArrayConfig
from hw.spec.isa import (
    QUEUE_OF,
    TOKEN_BITS,
    Elementwise,
    Field,
    Isa,
    LinearTarget,
    Opcode,
    Queue,
    Window,
)
from hw.spec.regs import REGISTERS, Access, Fault

__all__ = ["FOLDER", "PAGES", "main", "pages"]

FOLDER = Path(__file__).resolve().parent
#: Whose instruction formats the manual shows.
EXAMPLE = "ulx3s-85f"
MADE_BY = "<!-- Made by `python -m docs.generate`. Do not edit. -->"


def isa() -> str:
    """Instruction formats."""
    machine = Isa(PRESETS[EXAMPLE])
    return _page(
        "Instruction set",
        f"Printed from [`hw/spec/isa.py`](../hw/spec/isa.py) for the configuration `{EXAMPLE}`. "
        "Widths follow from the configuration, positions from the order of the fields. What the "
        "instructions do is in [isa_semantics.md](isa_semantics.md).",
        f"Every instruction takes {machine.instruction_bytes} bytes, little-endian; bits that no "
        "field names are zero. The low 4 bits are the opcode.",
        "## Queues",
        "Four units work at the same time, each through its own instructions in the order of the "
        "program.",
        _table(("number", "queue", "instructions"), (
            (queue, f"`{queue.name}`", ", ".join(f"`{o.name}`" for o in Opcode
                                                 if QUEUE_OF.get(o) == queue))
            for queue in Queue)),
        "`END` belongs to the fetch unit.",
        "## Tokens",
        f"From every queue to every other there is a counter of {TOKEN_BITS} bits, zero at the "
        "start. Bit q of `wait` and of `signal` stands for queue number q. Nothing else orders "
        "the queues. See [Order](isa_semantics.md#order).",
        "## Surfaces",
        "A tensor in the scratchpad is described by five fields, here with the prefix `src`, "
        "`a`, `b` or `dst`. See [Surfaces](isa_semantics.md#surfaces).",
        "## Instruction size by configuration",
        "Bits in use, of the instruction size in bytes.",
        _table(("configuration", "bytes", *(o.name for o in Opcode)), (
            (f"`{name}`", (other := Isa(config)).instruction_bytes,
             *(other.formats[o].bits for o in Opcode)) for name, config in PRESETS.items())),
        "## Values of fields",
        *_enumeration("`window` of LOAD", Window),
        *_enumeration("`target` of LOAD_LINEAR", LinearTarget),
        *_enumeration("`operation` of ELEMENTWISE", Elementwise),
        *(part for opcode in Opcode for part in _format(machine, opcode)))


def _format(machine: Isa, opcode: Opcode) -> Iterator[str]:
    """One instruction."""
    fmt = machine.formats[opcode]
    queue = f"Queue `{QUEUE_OF[opcode].name}`" if opcode in QUEUE_OF else "Fetch unit"
    yield f"## {opcode.name}"
    yield f"{fmt.doc} {queue}, opcode {int(opcode)}, {fmt.bits} bits."
    yield _table(("lsb", "width", "field", "range", "unit", "meaning"), (
        (f.lsb, f.width, f"`{f.name}`", _range(f, opcode), f.unit, f.doc) for f in fmt.fields))


def _range(field: Field, opcode: Opcode) -> str:
    return str(int(opcode)) if field.name == "opcode" else f"{field.lowest}..{field.highest}"


def registers() -> str:
    """Control and status registers."""
    access = {Access.READ: "read", Access.WRITE: "write", Access.READ_WRITE: "read, write"}
    return _page(
        "Registers",
        "Printed from [`hw/spec/regs.py`](../hw/spec/regs.py): the driver's view of the core. "
        "32 bits each, on AXI4-Lite.",
        _table(("offset", "register", "access", "meaning"), (
            (f"{r.offset:#05x}", f"`{r.name}`", access[r.access], r.doc)
            for r in REGISTERS.values())),
        *(part for r in REGISTERS.values() if r.bits for part in (
            f"## Bits of {r.name}",
            _table(("bit", "name", "meaning"), (
                (b.lsb if b.width == 1 else f"{b.lsb + b.width - 1}..{b.lsb}", f"`{b.name}`",
                 b.doc) for b in r.bits)))),
        "## Faults",
        _lines(inspect.getdoc(Fault) or ""),
        "The simulator stops with the same causes.",
        _table(("FAULT", "name", "cause"), ((int(f), f"`{f.name}`", f.meaning) for f in Fault)))


def configurations() -> str:
    """Presets, parameters and derived widths."""
    derived = [name for name, p in vars(ArrayConfig).items() if isinstance(p, property)]
    names = tuple(f"`{name}`" for name in PRESETS)
    return _page(
        "Configurations",
        "Printed from [`hw/spec/config.py`](../hw/spec/config.py). `--target` selects one of the "
        "named configurations; every parameter can be replaced by an option of "
        "`python -m codegen build`.",
        "## Parameters",
        _table(("parameter", *names, "meaning"), (
            (f"`{name}`", *(getattr(c, name) for c in PRESETS.values()), doc)
            for name, doc in _parameters(ArrayConfig))),
        "## Derived from them",
        _table(("size", *names, "meaning"), (
            (f"`{name}`", *(getattr(c, name) for c in PRESETS.values()),
             _lines(inspect.getdoc(getattr(ArrayConfig, name)) or "")) for name in derived)),
        "## Boards",
        "From [`hw/spec/boards.py`](../hw/spec/boards.py): what a board's FPGA has, and what its "
        "configuration, the processor and the SDRAM controller take of it; "
        "`python -m codegen targets` prints the shares. DSP blocks and block RAMs are exact, LUTs "
        f"and registers estimates that may be wrong by {ERROR:.0%}.",
        _table(("board", "FPGA", "resource", "core", "system", "available"), _boards()),
        "`python -m codegen build` refuses an array that does not fit the board of its `--target`, "
        "says what is missing, and what to make smaller; with `--any-size` it compiles all the "
        "same, for simulation. `icebreaker-up5k` has a system that is small: see "
        "[decision 0007](decisions/0007-small-system.md). In an array whose columns share "
        " multipliers, `weight_min` -127, a weight of -128 is the sum of two, and its weights "
        "take a second pass; results are the same. `--weight-min -128` avoids that, and multiplies "
        "with LUTs where there are not enough DSP blocks for every product.",
        "## Limits of all configurations",
        _table(("limit", "value"), (
            (f"`{name}`", getattr(limits, name)) for name in limits.__all__
            if isinstance(getattr(limits, name), int))))


def _boards() -> Iterator[tuple[object, ...]]:
    """What boards have, and what is taken of it."""
    for name, board in BOARDS.items():
        core, fpga = board.core(PRESETS[name]), board.fpga
        for key, what in fpga.names.items():
            yield (f"`{name}`", fpga.name, what, getattr(core, key), getattr(board.system, key),
                   getattr(fpga.has, key))


def _parameters(cls: type) -> Iterator[tuple[str, str]]:
    """Names and meanings under "Parameters" of a docstring."""
    for name, doc in re.findall(r"^(\w+) : .*\n((?:    .*\n?)+)", inspect.getdoc(cls) or "", re.M):
        yield name, _lines(doc)


def operators() -> str:
    """Supported operators and their rules."""
    models, common, *rows = supported_operators()
    return _page(
        "Operators",
        "Printed from the rules of the front end, as `python -m codegen ops` does; error messages "
        "use the same sentences. `python -m codegen ops MODEL` says what the nodes of a model "
        "become. How results are proved equal to ONNX Runtime's is in [numerics.md](numerics.md).",
        "**array**: a convolution. **table**: 256 entries, usually part of the kernel that makes "
        "the input. **address arithmetic**: decides where codes stand. **host**: computed by "
        "whoever feeds the program.",
        _table(("operators", "become"), (
            (", ".join(f"`{name}`" for name in row.operators), row.becomes) for row in rows)),
        "## Every model", _list(models.rules),
        "## Every operator", _list(common.rules),
        *(part for row in rows if row.rules
          for part in (f"## {', '.join(row.operators)}", _list(row.rules))))


def _list(sentences: Iterable[str]) -> str:
    return "\n".join(f"- {sentence}" for sentence in sentences)


def cli() -> str:
    """Options of all commands."""
    return _page("Command line", "Printed from the argument parsers.",
                 *_commands(codegen.__main__.parser()), *_commands(sim.cli.parser()),
                 *_commands(hw.__main__.parser()))


def results() -> str:
    """Recorded bitstreams."""
    return _page(
        "Results",
        "Printed from the reports in [`docs/results/`](results), each the `hardware.json` of a run "
        "of `python -m hw bitstream`. What the words mean is in [board.md](board.md#the-report).",
        *result_parts(_table))


def _commands(parser: argparse.ArgumentParser) -> Iterator[str]:
    """One program with its commands.

    Not ``format_help``, whose text depends on the release of Python and the width of the terminal.
    """
    for action in parser._actions:
        if not isinstance(action, argparse._SubParsersAction):
            continue
        for summary in action._choices_actions:
            command = action.choices[summary.dest]
            yield f"## {command.prog}"
            yield _sentence(summary.help)
            yield f"    {_usage(command)}"
            rows = [(f"`{_invocation(a)}`", _sentence(a.help)) for a in command._actions
                    if a.help is not None and a.dest != "help"]
            if rows:
                yield _table(("argument", "meaning"), rows)
            for group in command._action_groups:
                if group.description:
                    yield (f"{_sentence(group.description)} "
                           "They are described in [configurations.md](configurations.md):")
                    yield "    " + "\n    ".join(_invocation(a) for a in group._group_actions)


def _usage(parser: argparse.ArgumentParser) -> str:
    words = [parser.prog]
    if any(a.option_strings for a in parser._actions):
        words.append("[OPTION...]")
    for a in parser._actions:
        if not a.option_strings:
            words.append({"?": f"[{a.metavar}]", "*": f"[{a.metavar}...]"}.get(
                a.nargs, str(a.metavar)))
    return " ".join(words)


def _invocation(action: argparse.Action) -> str:
    if not action.option_strings:
        return str(action.metavar or action.dest)
    if action.nargs == 0:
        value = ""
    elif action.metavar is not None:
        value = f" {action.metavar}"
    elif action.choices is not None:
        value = " {" + ",".join(map(str, action.choices)) + "}"
    else:
        value = f" {action.dest.upper()}"
    return ", ".join(option + value for option in action.option_strings)


def _sentence(text: str | None) -> str:
    """A help text as a sentence of the manual."""
    text = escape(text or "", quote=False)
    return text[:1].upper() + text[1:] + ("" if text.endswith((".", "?")) else ".")


def _enumeration(title: str, members: type[IntEnum]) -> Iterator[str]:
    yield f"{title}:"
    rows = list(_members(members))
    width = 3 if any(row[2] for row in rows) else 2
    yield _table(("value", "name", "meaning")[:width], (row[:width] for row in rows))


def _members(members: type[IntEnum]) -> Iterator[tuple[object, ...]]:
    """Value, name and the comment behind it, of every member."""
    source = inspect.getsource(members)
    for member in members:
        found = re.search(rf"^ +{member.name} = \d+ *(?:# (.*))?$", source, re.M)
        assert found, f"{members.__name__}.{member.name} must stand in a line of its own"
        yield int(member), f"`{member.name}`", found[1] or ""


def _lines(text: str) -> str:
    """A paragraph in one line."""
    return " ".join(text.split())


def _table(heading: Iterable[object], rows: Iterable[Iterable[object]]) -> str:
    first = list(heading)
    lines = [first, ["---"] * len(first), *rows]
    return "\n".join("| " + " | ".join(str(cell).replace("|", "\\|") for cell in line) + " |"
                     for line in lines)


def _page(title: str, *parts: str) -> str:
    return "\n\n".join((MADE_BY, f"# {title}", *parts)) + "\n"


PAGES: Mapping[str, Callable[[], str]] = {
    "isa.md": isa, "registers.md": registers, "configurations.md": configurations,
    "operators.md": operators, "results.md": results, "cli.md": cli}
"""Functions that make the pages, by file name."""


def pages() -> dict[str, str]:
    """Make all pages."""
    return {name: make() for name, make in PAGES.items()}


def main() -> int:
    """Write all pages beside this file."""
    for name, text in pages().items():
        (FOLDER / name).write_text(text, encoding="utf-8")
        print(f"docs/{name}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
