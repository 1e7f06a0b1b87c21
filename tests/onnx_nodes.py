"""Small quantized ONNX models for tests: one node, or a few.

Inputs are called ``x`` (or ``a``, ``b``), the output ``y``. Everything else is an initializer.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

__all__ = ["MICROSOFT", "Array", "bind", "binary", "codes", "concat", "conv", "matmul", "model",
           "node", "pool", "unary"]

Array = npt.NDArray[Any]

MICROSOFT = "com.microsoft"

_ELEMENTS = {"float32": TensorProto.FLOAT, "int8": TensorProto.INT8, "uint8": TensorProto.UINT8,
             "int32": TensorProto.INT32, "int64": TensorProto.INT64}


def node(op: str, inputs: Sequence[str], outputs: Sequence[str] = ("y",), *,
         name: str = "", **attributes: Any) -> onnx.NodeProto:
    """Make a node; operators that only Microsoft has get their domain."""
    microsoft = op in ("QGemm", "QLinearSoftmax") or (
        op.startswith("QLinear") and op not in ("QLinearConv", "QLinearMatMul"))
    default = f"the_{op}" if outputs[0] == "y" else f"{op}_{outputs[0]}"
    return helper.make_node(op, list(inputs), list(outputs), name or default,
                            domain=MICROSOFT if microsoft else "", **attributes)


def model(nodes: Sequence[onnx.NodeProto], inputs: Mapping[str, tuple[Any, Sequence[Any]]],
          constants: Mapping[str, Any], *, outputs: Sequence[str] = ("y",),
          opset: int = 13) -> onnx.ModelProto:
    """Make a model.

    Parameters
    ----------
    inputs
        Type and shape by name.
    constants
        Arrays by name.
    outputs
        Names; types and shapes are left to inference.
    """
    infos = [helper.make_tensor_value_info(name, _ELEMENTS[np.dtype(dtype).name], list(shape))
             for name, (dtype, shape) in inputs.items()]
    graph = helper.make_graph(
        list(nodes), "test", infos, [onnx.ValueInfoProto(name=name) for name in outputs],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()])
    # The checker wants types, ONNX Runtime wants the right ones: neither has them from a name.
    for output in graph.output:
        output.type.tensor_type.elem_type = _output_element(graph, str(output.name))
    return helper.make_model(graph, ir_version=8, opset_imports=[
        helper.make_opsetid("", opset), helper.make_opsetid(MICROSOFT, 1)])


def bind(proto: onnx.ModelProto, values: Mapping[str, Array]) -> onnx.ModelProto:
    """Return a model in which the given graph inputs are initializers."""
    bound = onnx.ModelProto()
    bound.CopyFrom(proto)
    kept = [item for item in bound.graph.input if item.name not in values]
    del bound.graph.input[:]
    bound.graph.input.extend(kept)
    bound.graph.initializer.extend(
        numpy_helper.from_array(value, name) for name, value in values.items())
    return bound


def codes(rng: np.random.Generator, dtype: Any, *shape: int) -> Array:
    """Draw 8-bit codes, all equally likely."""
    limits = np.iinfo(dtype)
    return rng.integers(limits.min, limits.max + 1, shape).astype(dtype)


def conv(shape: Sequence[int], w: Array, *, rng: np.random.Generator, dtype: Any = np.int8,
         w_zero: int = 0, per_channel: bool = False, bias: bool = True, opset: int = 13,
         **attributes: Any) -> onnx.ModelProto:
    """Make a QLinearConv with random quantization that fills the range of the result."""
    channels, size = len(w), int(np.prod(w.shape[1:]))
    x_scale, w_scale = 2.0 ** rng.uniform(-8, -4, 2)
    count = channels if per_channel else 1
    w_scales = (w_scale * 2.0 ** rng.uniform(-1, 1, count)).astype(np.float32)
    spread = np.std((w.astype(np.float64) - w_zero)) + 1
    constants = {
        **_quantization("x", x_scale, codes(rng, dtype).item(), dtype), "w": w,
        "w_scale": w_scales if per_channel else w_scales[0],
        "w_zero_point": np.full(channels if per_channel else (), w_zero, w.dtype),
        **_quantization("y", x_scale * w_scale * spread * np.sqrt(size), codes(rng, dtype).item(),
                        dtype)}
    names = list(constants)
    if bias:
        constants["bias"] = rng.integers(-5000, 5000, channels).astype(np.int32)
        names.append("bias")
    return model([node("QLinearConv", ["x", *names], **attributes)], {"x": (dtype, shape)},
                 constants, opset=opset)


def unary(op: str, shape: Sequence[int], *, rng: np.random.Generator, dtype: Any = np.int8,
          **attributes: Any) -> onnx.ModelProto:
    """Make a quantized operator with one input."""
    constants = {**_random("x", rng, dtype), **_random("y", rng, dtype)}
    return model([node(op, ["x", *constants], **attributes)], {"x": (dtype, shape)}, constants)


def pool(op: str, shape: Sequence[int], *, rng: np.random.Generator, dtype: Any = np.int8,
         ratio: float = 0.7, **attributes: Any) -> onnx.ModelProto:
    """Make a quantized average, whose result has a scale `ratio` times that of its input."""
    x_scale = 2.0 ** rng.uniform(-8, -2)
    constants = {**_quantization("x", x_scale, codes(rng, dtype).item(), dtype),
                 **_quantization("y", x_scale * ratio, codes(rng, dtype).item(), dtype)}
    return model([node(op, ["x", *constants], **attributes)], {"x": (dtype, shape)}, constants)


def binary(op: str, a: Sequence[int] | Array, b: Sequence[int] | Array, *,
           rng: np.random.Generator, dtype: Any = np.int8) -> onnx.ModelProto:
    """Make a quantized operator with two inputs: shapes of inputs, or values of constants."""
    a_scale, b_scale = 2.0 ** rng.uniform(-6, -3, 2)
    # Products of scales, in a product, have to reach the range of the result.
    y_scale = (a_scale + b_scale) * 0.6 if op == "QLinearAdd" else a_scale * b_scale * 87.3
    constants = {**_quantization("a", a_scale, codes(rng, dtype).item(), dtype),
                 **_quantization("b", b_scale, codes(rng, dtype).item(), dtype),
                 **_quantization("y", y_scale, codes(rng, dtype).item(), dtype)}
    names = list(constants)
    inputs = {}
    for name, operand in ("a", a), ("b", b):
        if isinstance(operand, np.ndarray):
            constants[name] = operand
        else:
            inputs[name] = (dtype, operand)
    order = ["a", *names[:2], "b", *names[2:4], *names[4:]]
    return model([node(op, order)], inputs, constants)


def concat(shapes: Sequence[Sequence[int]], *, rng: np.random.Generator, dtype: Any = np.int8,
           equal: Sequence[int] = (), axis: int = 1) -> onnx.ModelProto:
    """Make a QLinearConcat; the inputs in `equal` have the quantization of the result."""
    constants, names, inputs = _random("y", rng, dtype), ["y_scale", "y_zero_point"], {}
    for i, shape in enumerate(shapes):
        inputs[f"x{i}"] = (dtype, shape)
        quantization = _random(f"x{i}", rng, dtype)
        if i in equal:
            quantization = dict(zip(quantization, (constants["y_scale"],
                                                   constants["y_zero_point"])))
        constants.update(quantization)
        names += [f"x{i}", *quantization]
    return model([node("QLinearConcat", names, axis=axis)], inputs, constants)


def matmul(shape: Sequence[int], w: Array, *, rng: np.random.Generator, dtype: Any = np.int8,
           w_zero: int = 0, per_channel: bool = False, gemm: bool = False, bias: bool = False,
           **attributes: Any) -> onnx.ModelProto:
    """Make a QLinearMatMul or QGemm with a constant second matrix."""
    transposed = attributes.get("transB", 0)
    depth, columns = w.shape[::-1] if transposed else w.shape
    x_scale, w_scale = 2.0 ** rng.uniform(-8, -4, 2)
    count = columns if per_channel else 1
    w_scales = (w_scale * 2.0 ** rng.uniform(-1, 1, count)).astype(np.float32)
    spread = np.std(w.astype(np.float64) - w_zero) + 1
    weights = {"w": w, "w_scale": w_scales if per_channel else w_scales[0],
               "w_zero_point": np.full(columns if per_channel else (), w_zero, w.dtype)}
    x = _quantization("x", x_scale, codes(rng, dtype).item(), dtype)
    alpha = attributes.get("alpha", 1.0)
    y = _quantization("y", alpha * x_scale * w_scale * spread * np.sqrt(depth),
                      codes(rng, dtype).item(), dtype)
    constants = {**x, **weights, **y}
    names = ["x", *x, *weights, *y]
    if gemm:
        if bias:
            constants["bias"] = rng.integers(-5000, 5000, columns).astype(np.int32)
        names = ["x", *x, *weights, "bias" if bias else "", *y]
    return model([node("QGemm" if gemm else "QLinearMatMul", names, **attributes)],
                 {"x": (dtype, shape)}, constants)


def _quantization(name: str, scale: float, zero_point: int, dtype: Any) -> dict[str, Array]:
    return {f"{name}_scale": np.asarray(scale, np.float32),
            f"{name}_zero_point": np.asarray(zero_point, dtype)}


def _random(name: str, rng: np.random.Generator, dtype: Any) -> dict[str, Array]:
    return _quantization(name, 2.0 ** rng.uniform(-7, -4), codes(rng, dtype).item(), dtype)


def _output_element(graph: onnx.GraphProto, name: str) -> int:
    """Find the type of an output: that of a zero point behind it, or of the first input."""
    constants = {item.name: item.data_type for item in graph.initializer}
    types = {item.name: item.type.tensor_type.elem_type for item in graph.input} | constants
    for one in graph.node:
        if one.op_type == "DequantizeLinear":
            made = TensorProto.FLOAT
        elif one.op_type == "QLinearConcat":
            made = types.get(one.input[1], TensorProto.UNDEFINED)
        elif one.op_type.startswith(("QLinear", "QGemm", "QuantizeLinear")):
            last = [i for i in one.input if i in constants and constants[i] in (
                TensorProto.INT8, TensorProto.UINT8)]
            made = types.get(last[-1], TensorProto.UNDEFINED) if last else TensorProto.UINT8
        else:
            made = types.get(one.input[0], TensorProto.FLOAT) if one.input else TensorProto.FLOAT
        types.update(dict.fromkeys(one.output, made))
    return int(types.get(name, TensorProto.FLOAT))
