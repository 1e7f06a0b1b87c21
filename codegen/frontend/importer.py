"""The front end: from an ONNX file to the graph that the passes work on."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from codegen.errors import UnsupportedModelError
from codegen.frontend.builder import Builder
from codegen.frontend.legalize import add_inputs, add_outputs, check_form, translate
from codegen.frontend.load import load_model
from codegen.frontend.values import Refused
from codegen.ir import Graph

__all__ = ["NodeMapping", "import_model", "node_mapping"]


@dataclass(frozen=True, kw_only=True)
class NodeMapping:
    """What one node of a model becomes.

    Parameters
    ----------
    node, op : str
        Name and operator type.
    becomes : str
        ``"array"``, ``"table"``, ``"address arithmetic"``, ``"host"``, ...; empty if refused.
    refusal : UnsupportedModelError or None
    """

    node: str
    op: str
    becomes: str
    refusal: UnsupportedModelError | None = None


def import_model(path: Path, progress: Callable[[str], None] | None = None) -> Graph:
    """Read a model, check it against the rules, and translate it.

    Parameters
    ----------
    path : Path
        An ONNX file, in QOperator form.
    progress : callable or None
        Called with the name of each node before it is translated.

    Raises
    ------
    ModelFileError
        The file cannot be read, or is no well-formed model.
    UnsupportedModelError
        A node breaks a rule, or cannot be proved equal to ONNX Runtime.
    """
    report = progress or _silent
    model = load_model(path)
    check_form(model)
    build = Builder(model)
    add_inputs(build)
    for index, node in enumerate(model.nodes):
        report(node.name)
        translate(build, node, index)
    add_outputs(build)
    return build.graph()


def node_mapping(path: Path) -> list[NodeMapping]:
    """Say for each node of a model what it becomes, or why it is refused.

    Nodes behind a refused node are not judged: they are listed with neither.

    Raises
    ------
    ModelFileError, UnsupportedModelError
        The file, the form of the model or a graph input is refused as a whole.
    """
    model = load_model(path)
    check_form(model)
    build = Builder(model)
    add_inputs(build)
    rows = []
    for index, node in enumerate(model.nodes):
        becomes, refusal = "", None
        if not any(isinstance(build.values.get(name), Refused) for name in node.inputs):
            try:
                becomes = translate(build, node, index)
            except UnsupportedModelError as error:
                refusal = error
        if not becomes:
            for name in node.outputs:
                build.values[name] = Refused(node=node.name)
        rows.append(NodeMapping(node=node.name, op=node.op, becomes=becomes, refusal=refusal))
    return rows


def _silent(_: str) -> None:
    pass
