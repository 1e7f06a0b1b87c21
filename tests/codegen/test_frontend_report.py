"""The tables of rules and mappings say what the code does."""

import inspect
import io
from pathlib import Path
from types import ModuleType

import numpy as np
import onnx
import pytest
from rich.console import Console

from codegen.frontend import array_rules, data_rules, rules
from codegen.frontend.legalize import TRANSLATIONS
from codegen.frontend.operators import COMMON, DOMAINS, RULES
from codegen.frontend.report import print_mapping, print_rules, supported_operators
from codegen.frontend.rules import rule_and_hint
from tests import onnx_nodes as n


def printed(write: object, *args: object, **more: object) -> str:
    """Return what a function prints."""
    file = io.StringIO()
    write(*args, Console(file=file, width=200), **more)  # type: ignore[operator]
    return file.getvalue()


def test_every_operator_with_a_translation_has_rules_and_the_other_way_round() -> None:
    assert set(RULES) == set(TRANSLATIONS) == set(DOMAINS)


@pytest.mark.parametrize("module", [rules, array_rules, data_rules])
def test_every_rule_is_a_sentence_and_is_in_the_table(module: ModuleType) -> None:
    table = {sentence for row in supported_operators() for sentence in row.rules}
    for name in module.__all__:
        rule = getattr(module, name)
        if not inspect.isfunction(rule) or name in ("refuse", "rule_and_hint"):
            continue
        sentence, hint = rule_and_hint(rule)
        assert sentence[:1].isupper() and sentence.endswith(".") and "\n" not in sentence, name
        assert not hint or hint.endswith("."), name
        assert sentence in table, name


def test_table_lists_every_operator_once() -> None:
    listed = [op for row in supported_operators()[2:] for op in row.operators]
    assert listed == sorted(listed, key=list(RULES).index) and set(listed) == set(RULES)
    assert len(listed) == len(RULES)
    assert supported_operators()[1].rules == tuple(rule_and_hint(rule)[0] for rule in COMMON)


def test_tables_print_for_people_and_for_the_manual() -> None:
    markdown = printed(print_rules, markdown=True).splitlines()
    assert markdown[:2] == ["| operators | become | rules |", "|---|---|---|"]
    assert len(markdown) == 2 + len(supported_operators())
    assert all(line.startswith("| ") and line.endswith(" |") for line in markdown[2:])
    assert all("[OC, IC, KH, KW]" in line for line in markdown if line.startswith("| QLinearConv"))
    people = printed(print_rules)
    assert "QLinearGlobalAveragePool" in people and "[OC, IC, KH, KW]" in people


def test_mapping_prints_every_node(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    proto = n.conv((1, 3, 9, 9), n.codes(rng, np.int8, 4, 3, 3, 3), rng=rng)
    proto.graph.node.append(n.node("MaxPool", ["y"], ["p"], name="[pool]", kernel_shape=(2, 2),
                                   strides=(3, 3)))
    onnx.save(proto, tmp_path / "m.onnx")
    lines = [" ".join(line.strip("│┃ ").replace("│", "|").split()) for line in printed(
        print_mapping, tmp_path / "m.onnx").splitlines()]
    assert "the_QLinearConv | QLinearConv | array" in lines
    assert "[pool] | MaxPool | refused: Strides must be 1, 2 or 4. Found: strides [3, 3]" in lines
    assert lines[-1] == "2 nodes, 1 refused"
