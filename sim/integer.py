"""The integer reference: one ONNX node evaluated exactly, without ONNX Runtime's kernels.

The third witness, next to ONNX Runtime and the accelerator: sums are exact integers, and the
float32 steps around them are taken one by one as docs/numerics.md lists them. Where it differs
from ONNX Runtime, that host's ONNX Runtime left the integer result. Functions that ONNX Runtime
computes with a polynomial (``BORROWED`` in ``sim.integer_ops.floats``, and the table of
QLinearSigmoid) are read from ONNX Runtime.
"""

from collections.abc import Callable, Sequence

import numpy as np
import onnx

from sim.integer_ops import conv, elementwise, floats, layout, matmul, pool, resize
from sim.integer_ops.call import Call, Tensor

__all__ = ["MICROSOFT", "constants", "default_opset", "evaluate_node", "node_name", "supports"]

MICROSOFT = "com.microsoft"

_DEFAULT: dict[str, Callable[[Call], list[Tensor]]] = {
    "Add": floats.arithmetic(np.add),
    "Cast": floats.cast,
    "Clip": floats.clip,
    "Concat": layout.concat,
    "Constant": layout.constant,
    "DequantizeLinear": elementwise.dequantize_linear,
    "Div": floats.arithmetic(np.divide),
    "Flatten": layout.flatten,
    "Identity": layout.identity,
    "LeakyRelu": floats.leaky_relu,
    "MaxPool": pool.max_pool,
    "Mul": floats.arithmetic(np.multiply),
    "Pad": layout.pad,
    "QLinearConv": conv.qlinear_conv,
    "QLinearMatMul": matmul.qlinear_matmul,
    "QuantizeLinear": elementwise.quantize_linear,
    "Relu": floats.relu,
    "Reshape": layout.reshape,
    "Resize": resize.resize,
    "Slice": layout.slice_,
    "Split": layout.split,
    "Squeeze": layout.squeeze,
    "Sub": floats.arithmetic(np.subtract),
    "Transpose": layout.transpose,
    "Unsqueeze": layout.unsqueeze,
    **dict.fromkeys(floats.BORROWED, floats.borrowed),
}

_MICROSOFT: dict[str, Callable[[Call], list[Tensor]]] = {
    "DequantizeLinear": elementwise.dequantize_linear,
    "Gelu": floats.borrowed,
    "QGemm": matmul.qgemm,
    "QLinearAdd": elementwise.qlinear_add,
    "QLinearAveragePool": pool.qlinear_average_pool,
    "QLinearConcat": elementwise.qlinear_concat,
    "QLinearGlobalAveragePool": pool.qlinear_global_average_pool,
    "QLinearLeakyRelu": elementwise.qlinear_leaky_relu,
    "QLinearMul": elementwise.qlinear_mul,
    "QLinearSigmoid": elementwise.qlinear_sigmoid,
    "QuantizeLinear": elementwise.quantize_linear,
}

_OPERATORS = {"": _DEFAULT, "ai.onnx": _DEFAULT, MICROSOFT: _MICROSOFT}


def supports(node: onnx.NodeProto) -> bool:
    """Tell whether there is an evaluation for the operator, whatever its attributes."""
    return str(node.op_type) in _OPERATORS.get(str(node.domain), {})


def evaluate_node(node: onnx.NodeProto, inputs: Sequence[Tensor | None], *,
                  opset: int) -> list[Tensor]:
    """Compute all outputs of one node.

    Parameters
    ----------
    node
        The node. Subgraphs are not supported.
    inputs
        One array for each input name, constants included; ``None`` for an input left out.
    opset
        Version of the default domain that the model imports.

    Returns
    -------
    One array for each output, possibly a view of an input.

    Raises
    ------
    SimError
        The operator, or a use of it, has no exact evaluation here.
    """
    call = Call(node=node, inputs=inputs, opset=opset)
    operator = _OPERATORS.get(str(node.domain), {}).get(str(node.op_type))
    if operator is None:
        raise call.refuse("The operator must be one of "
                          + ", ".join(sorted({**_DEFAULT, **_MICROSOFT})) + ".",
                          f"{node.domain or 'ai.onnx'}:{node.op_type}")
    return operator(call)


def constants(graph: onnx.GraphProto) -> dict[str, Tensor]:
    """Read all initializers of a graph, by name. Read them once: large ones are copied."""
    return {str(item.name): np.asarray(onnx.numpy_helper.to_array(item))
            for item in graph.initializer}


def default_opset(model: onnx.ModelProto) -> int:
    """Version of the default operator set that ``model`` imports; 1 if it imports none."""
    return next((int(item.version) for item in model.opset_import
                 if item.domain in ("", "ai.onnx")), 1)


def node_name(node: onnx.NodeProto) -> str:
    """Name of a node; of its first output if it has none."""
    return Call(node=node, inputs=(), opset=0).name
