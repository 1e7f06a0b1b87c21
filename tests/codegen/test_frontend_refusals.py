"""What is refused, word for word: node, rule, what was found, and what to do."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from codegen.errors import UnsupportedModelError
from codegen.frontend.importer import node_mapping
from tests import onnx_nodes as n
from tests.codegen.frontend_check import imported

RNG = np.random.default_rng(0)


def refusal(proto: onnx.ModelProto, folder: Path) -> str:
    """Return the text of a refusal."""
    with pytest.raises(UnsupportedModelError) as caught:
        imported(proto, folder)
    return str(caught.value)


def text(node: str, op: str, rule: str, found: str, hint: str = "") -> str:
    """Return the text that a refusal should have."""
    lines = [f"node {node!r} ({op}) cannot run on the array", f"  rule:  {rule}",
             f"  found: {found}", f"  hint:  {hint}"]
    return "\n".join(lines if hint else lines[:-1])


def conv(**changes: Any) -> onnx.ModelProto:
    """Make a convolution of [1, 4, 9, 11] with 6 filters of 3x3."""
    attributes = {"shape": (1, 4, 9, 11), "w": np.ones((6, 4, 3, 3), np.int8), **changes}
    return n.conv(attributes.pop("shape"), attributes.pop("w"), rng=RNG, **attributes)


def constant(proto: onnx.ModelProto, name: str, value: Any) -> onnx.ModelProto:
    """Replace an initializer."""
    item = next(i for i in proto.graph.initializer if i.name == name)
    item.CopyFrom(onnx.numpy_helper.from_array(np.asarray(value), name))
    return proto


def as_input(proto: onnx.ModelProto, name: str) -> onnx.ModelProto:
    """Turn an initializer into a graph input."""
    item = next(i for i in proto.graph.initializer if i.name == name)
    proto.graph.input.append(onnx.helper.make_tensor_value_info(name, item.data_type, item.dims))
    proto.graph.initializer.remove(item)
    return proto


def pool(**attributes: Any) -> onnx.ModelProto:
    """Make a MaxPool of [1, 4, 9, 11]."""
    return n.model([n.node("MaxPool", ["x"], **attributes)], {"x": (np.int8, (1, 4, 9, 11))}, {})


def part(starts: Any, ends: Any, axes: Any, steps: Any) -> onnx.ModelProto:
    """Make a Slice of [1, 4, 9, 11]."""
    constants = {"starts": np.array(starts), "ends": np.array(ends), "axes": np.array(axes),
                 "steps": np.array(steps)}
    return n.model([n.node("Slice", ["x", *constants])], {"x": (np.int8, (1, 4, 9, 11))},
                   constants)


def average(**attributes: Any) -> onnx.ModelProto:
    """Make a QLinearAveragePool of [1, 4, 9, 11]."""
    return n.pool("QLinearAveragePool", (1, 4, 9, 11), rng=RNG, **attributes)


CONV, LEAKY = ("the_QLinearConv", "QLinearConv"), ("the_QLinearLeakyRelu", "QLinearLeakyRelu")
POOL, SLICE = ("the_MaxPool", "MaxPool"), ("the_Slice", "Slice")
GEMM, MATMUL = ("the_QGemm", "QGemm"), ("the_QLinearMatMul", "QLinearMatMul")
ADD, MEAN = ("the_QLinearAdd", "QLinearAdd"), ("the_QLinearAveragePool", "QLinearAveragePool")

CASES: dict[str, tuple[Callable[[], onnx.ModelProto], str]] = {
    "stride": (lambda: conv(strides=(3, 2)), text(
        *CONV, "Strides must be 1, 2 or 4.", "strides [3, 2]")),
    "dilation": (lambda: conv(dilations=(2, 2)), text(
        *CONV, "Dilations must be 1.", "dilations [2, 2]")),
    "kernel": (lambda: conv(shape=(1, 4, 30, 30), w=np.ones((6, 4, 16, 3), np.int8)), text(
        *CONV, "Kernels must have at most 15x15 elements, or be as large as the whole input.",
        "a kernel of 16x3")),
    "window": (lambda: conv(w=np.ones((6, 4, 10, 3), np.int8)), text(
        *CONV, "The kernel must fit into the padded input.",
        "a kernel of 10x3 on 9x11 with pads [0, 0, 0, 0]")),
    "negative pads": (lambda: conv(pads=(0, -1, 0, 0)), text(
        *CONV, "Padding must not be negative.", "pads [0, -1, 0, 0]")),
    "group": (lambda: conv(w=np.ones((6, 2, 3, 3), np.int8), group=2), text(
        *CONV, "Convolutions must have group 1, or as many groups as input and output channels "
        "each (depthwise).", "group 2 with 4 input and 6 output channels")),
    "channels": (lambda: conv(w=np.ones((6, 5, 3, 3), np.int8)), text(
        *CONV, "The weights must have as many input channels as the input.",
        "w of shape [6, 5, 3, 3] and group 1 for 4 channels")),
    "weights as input": (lambda: as_input(conv(), "w"), text(
        *CONV, "Weights must be constant, int8 or uint8, [OC, IC, KH, KW], or a matrix in matrix "
        "products.", "w is the graph input 'w'")),
    "scale as input": (lambda: as_input(conv(), "y_scale"), text(
        *CONV, "Scales and zero points must be constants: initializers or Constant nodes.",
        "y_scale 'y_scale', which is computed or a graph input")),
    "scale of zero": (lambda: constant(conv(), "w_scale", np.float32(0)), text(
        *CONV, "Scales must be float32, finite and positive.", "w_scale 0.0")),
    "scale not a number": (lambda: constant(conv(), "x_scale", np.float32("nan")), text(
        *CONV, "Scales must be float32, finite and positive.", "x_scale nan")),
    "two scales": (lambda: constant(conv(), "x_scale", np.float32([1, 2])), text(
        *CONV, "Activations must have one scale and one zero point; only weights can have more.",
        "x_scale of shape [2]")),
    "scales of weights": (lambda: constant(conv(), "w_scale", np.float32([1, 2])), text(
        *CONV, "Weights must have one scale, or one for each output channel.",
        "w_scale of shape [2] for 6 output channels")),
    "zero points of weights": (
        lambda: constant(conv(), "w_zero_point", np.arange(6, dtype=np.int8)), text(
            *CONV, "All output channels must have the same zero point of weights, as ONNX Runtime "
            "wants it.", "zero points [0, 1, 2, 3]")),
    "type of zero point": (lambda: constant(conv(), "x_zero_point", np.uint8(1)), text(
        *CONV, "Zero points must be int8 or uint8, like the tensors they belong to.",
        "x_zero_point of type uint8, tensor of type int8")),
    "bias": (lambda: constant(conv(), "bias", np.arange(5, dtype=np.int32)), text(
        *CONV, "A bias must be constant, int32, with one element for each output channel.",
        "bias of shape [5] for 6 output channels")),
    "scale of two": (lambda: constant(constant(constant(
        conv(), "x_scale", np.float32(2)), "w_scale", np.float32(1)), "y_scale", np.float32(1)),
        text(*CONV, "The result must be proved equal to ONNX Runtime's for every input.",
             "scale of channel 0 must be a positive normal float32 below 2, not 2.0")),
    "accumulator": (lambda: constant(constant(
        conv(), "bias", np.full(6, 2**31 - 1, np.int32)), "x_zero_point", np.int8(0)), text(
            *CONV, "No sum of products may leave int32, whatever the input.",
            "output channel 0 reaches -4608..2147488219")),
    "rank": (lambda: n.concat([(2, 3, 4, 5)], rng=RNG), text(
        "x0", "graph input", "Tensors with four dimensions must be [1, C, H, W]; more than four "
        "only occur in reshapes.", "shape [2, 3, 4, 5]",
        "Export the model with batch 1; the host runs one frame after the other.")),
    "channels of a tensor": (lambda: n.unary("QLinearSigmoid", (1, 4097, 1, 1), rng=RNG), text(
        "x", "graph input", "Tensors must have 1..4096 channels, 1..4096 rows and columns, and at "
        "most 67108864 elements.", "shape [1, 4097, 1, 1]")),
    "view": (lambda: _view(), text(
        *CONV, "The input must be [1, C, H, W] and stand in memory in that order.",
        "shape [1, 4, 11, 9] of data that stands as [C, H, W] = [4, 9, 11]",
        "A Reshape or Transpose before the node changes the order; remove it or move it to the "
        "end.")),
    "indices": (lambda: n.model([n.node("MaxPool", ["x"], ["y", "i"], kernel_shape=(2, 2))],
                                {"x": (np.int8, (1, 4, 9, 11))}, {}), text(
        *POOL, "Only the values of a maximum can be used, not their indices.",
        "a second output")),
    "pads of a pool": (lambda: pool(kernel_shape=(2, 2), pads=(2, 0, 0, 0)), text(
        *POOL, "Padding must be smaller than the kernel, so that every window has an element.",
        "pads [2, 0, 0, 0] with a kernel of 2x2")),
    "average with padding": (
        lambda: average(kernel_shape=(2, 2), pads=(1, 1, 0, 0)), text(
            *MEAN, "Averages must divide by the same number everywhere: no padding, or "
            "count_include_pad = 1 and ceil_mode = 0.",
            "pads [1, 1, 0, 0] with count_include_pad 0 and ceil_mode 0")),
    "channels last": (
        lambda: average(kernel_shape=(2, 2), channels_last=1), text(
            *MEAN, "The channels must come first (channels_last = 0).", "channels_last 1")),
    "slope": (lambda: n.unary("QLinearLeakyRelu", (1, 4, 2, 2), rng=RNG, alpha=float("inf")), text(
        *LEAKY, "The slope alpha must be finite.", "alpha inf")),
    "mixed types": (
        lambda: constant(n.unary("QLinearLeakyRelu", (1, 4, 2, 2), rng=RNG), "y_zero_point",
                         np.uint8(0)),
        text(*LEAKY, "Inputs and output must all be int8 or all be uint8.", "int8, uint8")),
    "missing input": (lambda: n.model(
        [n.node("QLinearLeakyRelu", ["x", "s"])], {"x": (np.int8, (4,))}, {"s": np.float32(1)}),
        text(*LEAKY, "Inputs, outputs and attributes must be those that the operator defines.",
             "no input 'y_scale'")),
    "attribute": (lambda: n.unary("QLinearLeakyRelu", (4,), rng=RNG, alpha="0.1"), text(
        *LEAKY, "Inputs, outputs and attributes must be those that the operator defines.",
        "attribute alpha = '0.1'")),
    "shapes": (lambda: n.binary("QLinearAdd", (1, 4, 1, 1), (1, 1, 5, 6), rng=RNG), text(
        *ADD, "One input must have the shape of the result; the other may be a scalar, one element "
        "for each channel, or one channel.", "shapes [1, 4, 1, 1] and [1, 1, 5, 6]")),
    "rows": (lambda: n.binary("QLinearAdd", (1, 4, 5, 6), (1, 4, 5, 1), rng=RNG), text(
        *ADD, "One input must have the shape of the result; the other may be a scalar, one element "
        "for each channel, or one channel.",
        "b of shape [1, 4, 5, 1], result of shape [1, 4, 5, 6]")),
    "axis": (lambda: n.concat([(1, 3, 4, 5), (1, 3, 4, 5)], rng=RNG, axis=2), text(
        "the_QLinearConcat", "QLinearConcat", "Tensors must be joined along their channels.",
        "axis 2 of shapes [[1, 3, 4, 5], [1, 3, 4, 5]]")),
    "step": (lambda: part([0], [9], [2], [3]), text(
        *SLICE, "A part of a tensor must be adjacent channels, and rows and columns with a step of "
        "1, 2 or 4 each.", "steps [1, 3, 1] of channels, rows and columns")),
    "channels with a step": (lambda: part([0], [4], [1], [2]), text(
        *SLICE, "A part of a tensor must be adjacent channels, and rows and columns with a step of "
        "1, 2 or 4 each.", "steps [2, 1, 1] of channels, rows and columns")),
    "backwards": (lambda: part([9], [0], [2], [-1]), text(
        *SLICE, "A part of a tensor must be adjacent channels, and rows and columns with a step of "
        "1, 2 or 4 each.", "step -1 along dimension 2")),
    "transposed": (
        lambda: n.matmul((6, 4), np.ones((6, 3), np.int8), rng=RNG, gemm=True, transA=1), text(
            *GEMM, "The first matrix must not be transposed.", "transA 1")),
    "alpha": (
        lambda: constant(n.matmul((4, 6), np.ones((6, 3), np.int8), rng=RNG, gemm=True,
                                  alpha=-1.0), "y_scale", np.float32(1)), text(
            *GEMM, "The factor alpha must be finite and positive.", "alpha -1.0")),
    "float result": (lambda: _float_result(), text(
        *GEMM, "The result must be quantized: y_scale and y_zero_point must be given.",
        "no y_scale and no y_zero_point")),
    "depth": (lambda: n.matmul((4, 7), np.ones((6, 3), np.int8), rng=RNG), text(
        *MATMUL, "The input of a matrix product must be rows of channels, or a flattened image in "
        "one row.", "shape [4, 7] with weights of 6 input channels")),
    "softmax": (
        lambda: n.unary("QLinearSoftmax", (1, 10), rng=RNG, axis=1, opset=13), text(
            "the_QLinearSoftmax", "QLinearSoftmax",
            "The operator must be in the table of supported operators.",
            "com.microsoft:QLinearSoftmax", "python -m codegen ops prints the table.")),
    "float behind": (lambda: _behind("Sigmoid"), text(
        "the_Sigmoid", "Sigmoid",
        "A graph output must be a quantized tensor or the DequantizeLinear of one.",
        "output 'y' is float, the result of a DequantizeLinear",
        "Float operators behind the last DequantizeLinear have to be removed; the host computes "
        "them.")),
    "float before": (lambda: _before(), text(
        "Div_d", "Div", "Float operators must be elementwise functions of one quantized tensor, "
        "between DequantizeLinear and QuantizeLinear.", "an input is the float graph input 'x'",
        "Let the host do it before the network: remove the node and feed its result.")),
    "two tensors": (lambda: _two_tensors(), text(
        "Mul_m", "Mul", "Float operators must be elementwise functions of one quantized tensor, "
        "between DequantizeLinear and QuantizeLinear.",
        "inputs that depend on 'a' and on 'b'")),
    "constant of a chain": (lambda: _channel_constant(), text(
        "Mul_m", "Mul", "Float operators must be elementwise functions of one quantized tensor, "
        "between DequantizeLinear and QuantizeLinear.",
        "an input is a constant, float32[4, 1, 1]")),
    "two quantizations": (lambda: _two_quantizations(), text(
        "the_QuantizeLinear", "QuantizeLinear", "A float graph input must have one quantization.",
        "another QuantizeLinear of 'x'")),
    "QDQ": (lambda: _qdq(), text(
        "Conv_c", "Conv", "The model must be in QOperator form (QLinearConv), not in QDQ form "
        "(Conv between DequantizeLinear and QuantizeLinear).", "Conv of two DequantizeLinear",
        "Quantize the float model again with quant_format=QuantFormat.QOperator.")),
    "symbolic": (lambda: _sized(["N", 4, "height", 11]), text(
        "x", "graph input", "Every dimension of a graph input must be a number.",
        "shape ['N', 4, 'height', 11]: dimension 0 is 'N', dimension 2 is 'height'",
        "python -m onnxruntime.tools.make_dynamic_shape_fixed --input_name x "
        "--input_shape 1,4,<height>,11 MODEL.onnx FIXED.onnx")),
    "nameless": (lambda: _sized([None, 4, 9, 11]), text(
        "x", "graph input", "Every dimension of a graph input must be a number.",
        "shape ['?', 4, 9, 11]: dimension 0 is '?'",
        "python -m onnxruntime.tools.make_dynamic_shape_fixed --input_name x "
        "--input_shape 1,4,9,11 MODEL.onnx FIXED.onnx")),
    "type of input": (lambda: _typed(onnx.TensorProto.INT32), text(
        "x", "graph input", "Graph inputs must be float32, int8 or uint8.", "int32")),
}


def _view() -> onnx.ModelProto:
    proto = conv(shape=(1, 4, 9, 11))
    proto.graph.node[0].input[0] = "t"
    proto.graph.node.insert(0, n.node("Transpose", ["x"], ["t"], perm=(0, 1, 3, 2)))
    return proto


def _float_result() -> onnx.ModelProto:
    proto = n.matmul((4, 6), np.ones((6, 3), np.int8), rng=RNG, gemm=True)
    del proto.graph.node[0].input[6:]
    return proto


_S = {"s": np.float32(0.1), "z": np.int8(3)}


def _behind(op: str) -> onnx.ModelProto:
    return n.model([n.node("DequantizeLinear", ["x", "s", "z"], ["v"]), n.node(op, ["v"])],
                   {"x": (np.int8, (1, 4, 2, 2))}, _S)


def _before() -> onnx.ModelProto:
    return n.model([n.node("Div", ["x", "c"], ["d"]), n.node("QuantizeLinear", ["d", "s", "z"])],
                   {"x": (np.float32, (1, 4, 2, 2))}, {**_S, "c": np.float32(255)})


def _two_tensors() -> onnx.ModelProto:
    return n.model([n.node("DequantizeLinear", ["a", "s", "z"], ["v"]),
                    n.node("DequantizeLinear", ["b", "s", "z"], ["w"]),
                    n.node("Mul", ["v", "w"], ["m"]), n.node("QuantizeLinear", ["m", "s", "z"])],
                   {"a": (np.int8, (1, 4, 2, 2)), "b": (np.int8, (1, 4, 2, 2))}, _S)


def _channel_constant() -> onnx.ModelProto:
    return n.model([n.node("DequantizeLinear", ["x", "s", "z"], ["v"]),
                    n.node("Mul", ["v", "c"], ["m"]), n.node("QuantizeLinear", ["m", "s", "z"])],
                   {"x": (np.int8, (1, 4, 2, 2))}, {**_S, "c": np.ones((4, 1, 1), np.float32)})


def _two_quantizations() -> onnx.ModelProto:
    return n.model([n.node("QuantizeLinear", ["x", "s", "z"], ["q"]),
                    n.node("QuantizeLinear", ["x", "s", "z"])],
                   {"x": (np.float32, (1, 4, 2, 2))}, _S, outputs=("q", "y"))


def _qdq() -> onnx.ModelProto:
    return n.model([n.node("DequantizeLinear", ["x", "s", "z"], ["v"]),
                    n.node("DequantizeLinear", ["w", "s", "z"], ["u"]),
                    n.node("Conv", ["v", "u"], ["c"]), n.node("QuantizeLinear", ["c", "s", "z"])],
                   {"x": (np.int8, (1, 4, 2, 2))}, {**_S, "w": np.ones((4, 4, 1, 1), np.int8)})


def _sized(shape: Any) -> onnx.ModelProto:
    proto = conv()
    proto.graph.input[0].CopyFrom(
        onnx.helper.make_tensor_value_info("x", onnx.TensorProto.INT8, shape))
    return proto


def _typed(element: int) -> onnx.ModelProto:
    proto = conv()
    proto.graph.input[0].CopyFrom(
        onnx.helper.make_tensor_value_info("x", element, [1, 4, 9, 11]))
    return proto


@pytest.mark.parametrize("case", CASES)
def test_refusal_names_node_rule_and_what_was_found(case: str, tmp_path: Path) -> None:
    make, expected = CASES[case]
    assert refusal(make(), tmp_path) == expected


def test_product_that_has_no_exact_multiplier_is_refused(tmp_path: Path) -> None:
    proto = n.binary("QLinearMul", (1, 4, 5, 6), (1, 4, 5, 6), rng=RNG)
    for name, value in (("a_scale", np.float32(0.07668253779411316)),
                        ("b_scale", np.float32(0.07973119616508484)),
                        ("y_scale", np.float32(0.5502591133117676)), ("a_zero_point", np.int8(122)),
                        ("b_zero_point", np.int8(-106)), ("y_zero_point", np.int8(24))):
        constant(proto, name, value)
    assert refusal(proto, tmp_path) == text(
        "the_QLinearMul", "QLinearMul",
        "The result must be proved equal to ONNX Runtime's for every input.",
        "product must have an exact multiplier, not the scales 0.07668253779411316 * "
        "0.07973119616508484 -> 0.5502591133117676 with zero points 122, -106, 24")


def test_resize_by_other_factors_is_refused(tmp_path: Path) -> None:
    def resize(scales: Any, **attributes: Any) -> onnx.ModelProto:
        return n.model([n.node("Resize", ["x", "", "scales"], **attributes)],
                       {"x": (np.int8, (1, 3, 6, 6))}, {"scales": np.array(scales, np.float32)})

    where = ("the_Resize", "Resize",
             ("Resize must repeat rows and columns a whole number of times, 1..15 (nearest "
              "neighbour)."))
    for proto, found in (
            (resize([1, 1, 1.5, 1]), "6 to 9 elements along dimension 2"),
            (resize([1, 1, 1, 16]), "6 to 96 elements along dimension 3"),
            (resize([1, 2, 1, 1]), "3 to 6 elements along dimension 1"),
            (resize([1, 1, np.nan, 1]), "scales [1.0, 1.0, nan, 1.0], sizes []"),
            (resize([1, 1, 2, 2], mode="linear"),
             "mode 'linear', scales [1.0, 1.0, 2.0, 2.0], sizes [], axes [0, 1, 2, 3]"),
            (resize([1, 1, 2, 2], coordinate_transformation_mode="asymmetric",
                    nearest_mode="ceil"),
             "coordinate_transformation_mode 'asymmetric' with nearest_mode 'ceil'")):
        assert refusal(proto, tmp_path) == text(*where, found)


def test_mapping_goes_on_behind_a_refusal(tmp_path: Path) -> None:
    nodes = [n.node("QLinearSoftmax", ["x", "s", "z", "s", "z"], ["a"], axis=1, opset=13),
             n.node("MaxPool", ["a"], ["b"], kernel_shape=(2, 2)),
             n.node("MaxPool", ["x"], ["c"], kernel_shape=(3, 3), strides=(3, 3)),
             n.node("Transpose", ["x"], ["d"], perm=(0, 2, 3, 1)),
             n.node("DequantizeLinear", ["d", "s", "z"])]
    onnx.save(n.model(nodes, {"x": (np.int8, (1, 4, 9, 9))}, _S, outputs=("y", "b", "c")),
              tmp_path / "m.onnx")
    rows = [(row.op, row.becomes, row.refusal and row.refusal.rule)
            for row in node_mapping(tmp_path / "m.onnx")]
    assert rows == [
        ("QLinearSoftmax", "", "The operator must be in the table of supported operators."),
        ("MaxPool", "", None), ("MaxPool", "", "Strides must be 1, 2 or 4."),
        ("Transpose", "address arithmetic", None), ("DequantizeLinear", "host", None)]
