"""The rules as tables: the supported operators, and how the nodes of a model map."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from codegen.frontend.importer import node_mapping
from codegen.frontend.operators import COMMON, RULES
from codegen.frontend.rules import (
    Rule,
    batch_is_one,
    input_is_float_or_8_bit,
    input_is_quantized_once,
    input_is_static,
    model_is_in_qoperator_form,
    model_is_quantized,
    operator_is_supported,
    output_is_quantized,
    rule_and_hint,
    tensors_fit,
)

__all__ = ["OperatorRow", "print_mapping", "print_rules", "supported_operators"]

_MODEL = (model_is_quantized, model_is_in_qoperator_form, operator_is_supported, input_is_static,
          input_is_float_or_8_bit, input_is_quantized_once, tensors_fit, batch_is_one,
          output_is_quantized)


@dataclass(frozen=True, kw_only=True)
class OperatorRow:
    """A row of the table of supported operators.

    Parameters
    ----------
    operators : tuple of str
        Operators that share the row.
    becomes : str
        What they become.
    rules : tuple of str
        Sentences, besides those of :func:`common_rules`.
    """

    operators: tuple[str, ...]
    becomes: str
    rules: tuple[str, ...]


def supported_operators() -> list[OperatorRow]:
    """Return the table of supported operators; the first two rows are models and all operators."""
    rows = [OperatorRow(operators=("every model",), becomes="", rules=_sentences(_MODEL)),
            OperatorRow(operators=("every operator",), becomes="", rules=_sentences(COMMON))]
    groups: dict[tuple[str, tuple[Rule, ...]], list[str]] = {}
    for op, entry in RULES.items():
        groups.setdefault((entry.becomes, (*entry.own, *entry.judged)), []).append(op)
    rows += [OperatorRow(operators=tuple(ops), becomes=becomes, rules=_sentences(rules))
             for (becomes, rules), ops in groups.items()]
    return rows


def print_rules(console: Console, *, markdown: bool = False) -> None:
    """Print the table of supported operators, for people or for the manual."""
    rows = supported_operators()
    if markdown:
        lines = ["| operators | become | rules |", "|---|---|---|"]
        lines += [f"| {', '.join(row.operators)} | {row.becomes} | {' '.join(row.rules)} |"
                  for row in rows]
        console.print("\n".join(lines), markup=False, soft_wrap=True)
        return
    table = Table(title="Supported operators", title_justify="left", show_lines=True)
    for heading in ("operators", "become", "rules"):
        table.add_column(heading, overflow="fold")
    for row in rows:
        table.add_row(", ".join(row.operators), row.becomes, Text("\n".join(row.rules)))
    console.print(table)


def print_mapping(path: Path, console: Console) -> None:
    """Print what each node of a model becomes, or why it is refused.

    Raises
    ------
    ModelFileError, UnsupportedModelError
        See :func:`codegen.frontend.importer.node_mapping`.
    """
    rows = node_mapping(path)
    table = Table(title=Text(f"Nodes of {path.name}"), title_justify="left")
    for heading in ("node", "operator", "becomes"):
        table.add_column(heading, overflow="fold")
    for row in rows:
        if row.refusal is not None:
            becomes = f"refused: {row.refusal.rule} Found: {row.refusal.found}"
        else:
            becomes = row.becomes or "not judged: behind a refused node"
        table.add_row(Text(row.node), Text(row.op), Text(becomes))
    console.print(table)
    refused = sum(row.refusal is not None for row in rows)
    console.print(f"{len(rows)} nodes, {refused} refused", markup=False)


def _sentences(rules: tuple[Callable[[Any], str | None], ...]) -> tuple[str, ...]:
    return tuple(rule_and_hint(rule)[0] for rule in dict.fromkeys(rules))
