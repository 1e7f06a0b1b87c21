"""Unary operators as tables of 256 codes.

A table is int8[256] in the storage domain: entry ``code & 0xFF`` is the result for a storage code
(see :mod:`hw.spec.numerics`). Scales and zero points are the ONNX ones; ``unsigned`` says that
the ONNX type is uint8, and its zero point then is 0..255.

Ref: ONNX Runtime 1.31.1, contrib_ops/cpu/quantization/qlinear_lookup_table.cc,
qlinear_activations.cc, qlinear_concat.cc; mlas/lib/quantize.cpp, MlasQuantizeLinear.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
import onnx
from onnx import helper

from codegen.errors import CodegenError
from codegen.exact.reference import all_codes, run_nodes, to_storage

__all__ = [
    "ELEMENTWISE",
    "Table",
    "TableError",
    "compose",
    "from_float_chain",
    "identity",
    "is_identity",
    "leaky_relu",
    "quantize",
    "requantize_table",
    "sigmoid",
]

Table = npt.NDArray[np.int8]
Float32 = npt.NDArray[np.float32]

ELEMENTWISE = frozenset({
    "Abs", "Add", "Cast", "Ceil", "Celu", "Clip", "Div", "Elu", "Erf", "Exp", "Floor", "Gelu",
    "HardSigmoid", "HardSwish", "Identity", "LeakyRelu", "Log", "Max", "Min", "Mish", "Mul", "Neg",
    "PRelu", "Pow", "Reciprocal", "Relu", "Round", "Selu", "Sigmoid", "Sign", "Softplus",
    "Softsign", "Sqrt", "Sub", "Swish", "Tanh", "ThresholdedRelu",
})
"""Float operators allowed between DequantizeLinear and QuantizeLinear."""


class TableError(CodegenError):
    """A chain of operators is not a function of one code."""


def identity() -> Table:
    """Return the table that changes nothing."""
    return np.arange(256, dtype=np.uint8).view(np.int8)


def is_identity(table: Table) -> bool:
    """Say whether a table changes nothing."""
    return bool(np.array_equal(table, identity()))


def compose(first: Table, second: Table) -> Table:
    """Return the table of ``second(first(x))``."""
    return second[first.view(np.uint8)]


def quantize(values: Float32, scale: float, zero_point: int, *, unsigned: bool) -> Table:
    """Quantize float32 values as QuantizeLinear does, to storage codes.

    ``zero_point + rint(clamp(fl(value / scale)))``, a true division.
    """
    low, high = (0, 255) if unsigned else (-128, 127)
    with np.errstate(over="ignore"):
        quotient = np.asarray(values, np.float32) / np.float32(scale)
    clamped = np.clip(quotient, np.float32(low - zero_point), np.float32(high - zero_point))
    codes = np.rint(clamped).astype(np.int64) + zero_point
    return np.asarray(codes - (128 if unsigned else 0), np.int8)


def requantize_table(
    x_scale: float,
    x_zero_point: int,
    y_scale: float,
    y_zero_point: int,
    *,
    unsigned_in: bool = False,
    unsigned_out: bool = False,
) -> Table:
    """Return the table of a change of scale: DequantizeLinear, then QuantizeLinear.

    It is also what QLinearConcat applies to each of its inputs.
    """
    values = _dequantized(x_scale, x_zero_point, unsigned_in)
    return quantize(values, y_scale, y_zero_point, unsigned=unsigned_out)


def leaky_relu(
    alpha: float,
    x_scale: float,
    x_zero_point: int,
    y_scale: float,
    y_zero_point: int,
    *,
    unsigned_in: bool = False,
    unsigned_out: bool = False,
) -> Table:
    """Return the table of QLinearLeakyRelu: ``v if v >= 0 else fl(alpha * v)`` in float32."""
    values = _dequantized(x_scale, x_zero_point, unsigned_in)
    values = np.where(values >= 0, values, np.float32(alpha) * values)
    return quantize(values, y_scale, y_zero_point, unsigned=unsigned_out)


def sigmoid(
    x_scale: float,
    x_zero_point: int,
    y_scale: float,
    y_zero_point: int,
    *,
    unsigned: bool = False,
) -> Table:
    """Return the table of QLinearSigmoid, read from ONNX Runtime.

    Its logistic function is a polynomial; the correctly rounded function differs in a few entries
    per million.
    """
    dtype = np.uint8 if unsigned else np.int8
    constants = {
        "x_scale": np.float32(x_scale),
        "x_zero_point": dtype(x_zero_point),
        "y_scale": np.float32(y_scale),
        "y_zero_point": dtype(y_zero_point),
    }
    node = helper.make_node("QLinearSigmoid", ["x", *constants], ["y"], domain="com.microsoft")
    feed = {"x": all_codes(unsigned=unsigned)}
    [codes] = run_nodes(
        [node], [feed], "y", initializers={k: np.asarray(v) for k, v in constants.items()}
    )
    return to_storage(codes)


def from_float_chain(
    nodes: Sequence[onnx.NodeProto],
    initializers: Mapping[str, npt.NDArray[np.generic]],
    *,
    opset: int,
    unsigned_in: bool,
) -> Table:
    """Return the table of DequantizeLinear, float operators and QuantizeLinear.

    Evaluated by ONNX Runtime, once on all codes together and once on each code alone: kernels
    compute the last elements of a tensor differently from those that fill a vector register, and
    a table is only right if that makes no difference.

    Parameters
    ----------
    nodes
        In topological order. The first is the DequantizeLinear whose first input varies; the
        last is the QuantizeLinear whose output is wanted. Nodes between may use several results
        of nodes before them.
    initializers
        Constants by name; more than the chain uses may be given.
    opset
        Version of the ONNX operator set the nodes were written for.
    unsigned_in
        The input is uint8.

    Raises
    ------
    TableError
        An operator is not elementwise, a constant is not a scalar, an input comes from outside
        the chain, or a result depends on its position in the tensor.
    """
    head, tail = nodes[0], nodes[-1]
    if head.op_type != "DequantizeLinear" or tail.op_type != "QuantizeLinear":
        raise ValueError(
            "nodes must begin with DequantizeLinear and end with QuantizeLinear, "
            f"not {head.op_type!r} and {tail.op_type!r}"
        )
    constants: dict[str, npt.NDArray[np.generic]] = {}
    made = {head.input[0]}
    for i, node in enumerate(nodes):
        name = node.name or node.output[0]
        is_inner = 0 < i < len(nodes) - 1
        if is_inner and (node.domain or node.op_type not in ELEMENTWISE):
            raise TableError(f"operator of node {name!r} must be elementwise, not {node.op_type!r}")
        for source in filter(None, node.input):
            if source in made:
                continue
            if source not in initializers:
                raise TableError(
                    f"inputs of node {name!r} must be constants or results of its chain, "
                    f"not {source!r}"
                )
            value = np.asarray(initializers[source])
            if value.size != 1:
                raise TableError(
                    f"constant {source!r} of node {name!r} must have one element, "
                    f"not shape {value.shape!r}"
                )
            # A constant of shape [1, 1, 1, 1] would make a vector of codes four-dimensional.
            constants[source] = value.reshape(())
        made.update(node.output)
    codes = all_codes(unsigned=unsigned_in)
    x = head.input[0]
    feeds = [{x: codes}, *({x: codes[i : i + 1]} for i in range(256))]
    together, *alone = run_nodes(
        nodes, feeds, tail.output[0], initializers=constants, opset=opset
    )
    single = np.concatenate(alone)
    if not np.array_equal(together, single):
        i = int(np.argmax(together != single))
        raise TableError(
            f"result of node {tail.name or tail.output[0]!r} must not depend on the position of an "
            f"element, not be {together[i]} or {single[i]} for code {codes[i]}"
        )
    return to_storage(together)


def _dequantized(scale: float, zero_point: int, unsigned: bool) -> Float32:
    """Return ``fl(scale * (code - zero_point))`` of all codes in table order: float32[256]."""
    centred = all_codes(unsigned=unsigned).astype(np.int64) - zero_point
    return centred.astype(np.float32) * np.float32(scale)
