"""Several nodes together: float operators inside, views, inputs and outputs in other orders."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from codegen import ir
from tests import onnx_nodes as n
from tests.codegen.frontend_check import check, rng

__all__ = ["chain", "random_network", "rng"]

_SCALES = {"xs": np.float32(0.043), "xz": np.int8(-7), "ys": np.float32(0.021),
           "yz": np.int8(11), "uz": np.uint8(90)}


def chain(middle: list[onnx.NodeProto], result: str, *, constants: Any = None,
          shape: Any = (1, 4, 8, 8), opset: int = 14, dtype: Any = np.int8) -> onnx.ModelProto:
    """Make DequantizeLinear (to ``v``), some float operators, QuantizeLinear."""
    zero = "xz" if dtype == np.int8 else "uz"
    return n.model([n.node("DequantizeLinear", ["x", "xs", zero], ["v"]), *middle,
                    n.node("QuantizeLinear", [result, "ys", zero])],
                   {"x": (dtype, shape)}, {**_SCALES, **(constants or {})}, opset=opset)


@pytest.mark.parametrize("op, more", [
    ("Abs", {}), ("Elu", {"alpha": 0.7}), ("Exp", {}), ("HardSigmoid", {"alpha": 0.3}),
    ("HardSwish", {}), ("LeakyRelu", {"alpha": 0.2}), ("Neg", {}), ("Relu", {}), ("Selu", {}),
    ("Sigmoid", {}), ("Softplus", {}), ("Softsign", {}), ("Tanh", {}),
])
@pytest.mark.parametrize("dtype", [np.int8, np.uint8])
def test_float_operator_is_a_table(op: str, more: Any, dtype: Any, tmp_path: Path,
                                   rng: np.random.Generator) -> None:
    graph = check(chain([n.node(op, ["v"], ["w"], **more)], "w", dtype=dtype), tmp_path, rng)
    [table] = graph.ops
    assert isinstance(table, ir.Table) and table.kind == "DequantizeLinear..QuantizeLinear"
    assert graph.folded == ("v", "w")


@pytest.mark.parametrize("nodes, constants", [
    ([n.node("Softplus", ["v"], ["a"]), n.node("Tanh", ["a"], ["b"]),
      n.node("Mul", ["v", "b"], ["w"])], {}),
    ([n.node("HardSigmoid", ["v"], ["a"]), n.node("Mul", ["a", "v"], ["w"])], {}),
    ([n.node("Sigmoid", ["v"], ["a"]), n.node("Mul", ["v", "a"], ["w"])], {}),
    ([n.node("Add", ["v", "three"], ["a"]), n.node("Clip", ["a", "zero", "six"], ["b"]),
      n.node("Div", ["b", "six"], ["c"]), n.node("Mul", ["c", "v"], ["w"])],
     {"three": np.float32(3), "zero": np.float32(0), "six": np.float32(6)}),
    ([n.node("DequantizeLinear", ["x", "xs", "xz"], ["u"]), n.node("Sigmoid", ["u"], ["a"]),
      n.node("Mul", ["v", "a"], ["w"])], {}),
    ([n.node("Sub", ["one", "v"], ["a"]), n.node("PRelu", ["a", "slope"], ["w"])],
     {"one": np.ones((1, 1, 1, 1), np.float32), "slope": np.full((1, 1, 1), 0.3, np.float32)}),
])
def test_functions_spelled_with_several_nodes_are_one_table(
        nodes: Any, constants: Any, tmp_path: Path, rng: np.random.Generator) -> None:
    graph = check(chain(nodes, "w", constants=constants), tmp_path, rng)
    assert [type(op) for op in graph.ops] == [ir.Table]


def test_data_movement_inside_a_chain_moves_codes(tmp_path: Path,
                                                  rng: np.random.Generator) -> None:
    constants = {"starts": np.array([1]), "ends": np.array([3]), "axes": np.array([1]),
                 "shape": np.array([1, 2, 64])}
    nodes = [n.node("Slice", ["v", "starts", "ends", "axes"], ["a"]),
             n.node("Sigmoid", ["a"], ["b"]), n.node("Mul", ["a", "b"], ["c"]),
             n.node("Transpose", ["c"], ["d"], perm=(0, 1, 3, 2)),
             n.node("Reshape", ["d", "shape"], ["w"])]
    graph = check(chain(nodes, "w", constants=constants), tmp_path, rng)
    assert [type(op) for op in graph.ops] == [ir.Slice, ir.Table]
    assert graph.folded == ("v", "a", "b", "c", "d", "w")
    assert graph.tensors["y"].chw == (2, 8, 8) and graph.tensors["y"].gather is not None


def test_chain_between_equal_scales_is_an_alias(tmp_path: Path, rng: np.random.Generator) -> None:
    proto = n.model([n.node("DequantizeLinear", ["x", "xs", "xz"], ["v"]),
                     n.node("QuantizeLinear", ["v", "xs", "xz"])],
                    {"x": (np.int8, (1, 4, 8, 8))}, _SCALES)
    graph = check(proto, tmp_path, rng)
    assert not graph.ops and graph.tensors["y"].base == "x"


def test_tensor_may_be_both_output_and_used_on(tmp_path: Path, rng: np.random.Generator) -> None:
    proto = n.model([n.node("QuantizeLinear", ["image", "xs", "xz"], ["q"]),
                     n.node("DequantizeLinear", ["q", "xs", "xz"], ["v"]),
                     n.node("Tanh", ["v"], ["w"]), n.node("QuantizeLinear", ["w", "ys", "yz"]),
                     n.node("DequantizeLinear", ["y", "ys", "yz"], ["z"])],
                    {"image": (np.float32, (1, 4, 8, 8))}, _SCALES, outputs=("z", "v", "y", "q"))
    graph = check(proto, tmp_path, rng)
    assert [(o.name, o.tensor, o.dequantize is not None) for o in graph.outputs] == [
        ("z", "y", True), ("v", "q", True), ("y", "y", False), ("q", "q", False)]
    [entry] = graph.inputs
    assert (entry.name, entry.tensor) == ("image", "q")
    assert entry.quantize == (float(np.float32(0.043)), -7)


def test_output_may_be_a_view_of_the_float_result(tmp_path: Path,
                                                  rng: np.random.Generator) -> None:
    proto = n.model([n.node("DequantizeLinear", ["x", "xs", "xz"], ["v"]),
                     n.node("Transpose", ["v"], ["t"], perm=(0, 2, 3, 1)),
                     n.node("Reshape", ["t", "shape"])],
                    {"x": (np.int8, (1, 4, 8, 8))}, {**_SCALES, "shape": np.array([1, -1, 2])})
    graph = check(proto, tmp_path, rng)
    assert not graph.ops and graph.tensors[graph.outputs[0].tensor].shape == (1, 128, 2)


@pytest.mark.parametrize("first", ["QuantizeLinear", "Transpose", "none"])
def test_input_with_channels_last_is_stored_with_channels_first(
        first: str, tmp_path: Path, rng: np.random.Generator) -> None:
    proto = n.conv((1, 3, 6, 7), n.codes(rng, np.int8, 4, 3, 3, 3), rng=rng, pads=(1, 1, 1, 1))
    proto.graph.node[0].input[0] = "nchw"
    quantize = {"inputs": ["", "x_scale", "x_zero_point"]}["inputs"]
    if first == "QuantizeLinear":
        nodes = [n.node("QuantizeLinear", ["x", *quantize[1:]], ["q"]),
                 n.node("Transpose", ["q"], ["nchw"], perm=(0, 3, 1, 2))]
    elif first == "Transpose":
        nodes = [n.node("Transpose", ["x"], ["t"], perm=(0, 3, 1, 2)),
                 n.node("QuantizeLinear", ["t", *quantize[1:]], ["nchw"])]
    else:
        nodes = [n.node("Transpose", ["x"], ["nchw"], perm=(0, 3, 1, 2))]
    for i, one in enumerate(nodes):
        proto.graph.node.insert(i, one)
    proto.graph.input[0].CopyFrom(onnx.helper.make_tensor_value_info(
        "x", onnx.TensorProto.INT8 if first == "none" else onnx.TensorProto.FLOAT, (1, 6, 7, 3)))
    graph = check(proto, tmp_path, rng)
    assert [type(op) for op in graph.ops] == [ir.Conv]
    assert graph.tensors[graph.inputs[0].tensor].chw == (3, 6, 7)


def test_views_keep_the_data_where_it_is(tmp_path: Path, rng: np.random.Generator) -> None:
    nodes = [n.node("MaxPool", ["x"], ["p"], kernel_shape=(1, 1)),
             n.node("Transpose", ["p"], ["a"], perm=(0, 2, 3, 1)),
             n.node("Reshape", ["a", "shape"], ["b"]), n.node("Transpose", ["b"], ["c"]),
             n.node("Flatten", ["c"], ["d"], axis=0), n.node("Squeeze", ["d"], ["e"]),
             n.node("Unsqueeze", ["e", "axes"], ["f"]), n.node("Identity", ["f"], ["g"]),
             n.node("QLinearLeakyRelu", ["g", "xs", "xz", "ys", "yz"], alpha=0.1)]
    constants = {**_SCALES, "shape": np.array([0, 5, -1, 4]), "axes": np.array([0, -1])}
    graph = check(n.model(nodes, {"x": (np.int8, (1, 4, 5, 6))}, constants), tmp_path, rng)
    assert [type(op) for op in graph.ops] == [ir.MaxPool, ir.Table]
    assert {graph.tensors[name].base for name in "abcdefg"} == {"p"}
    assert all(t.chw == (4, 5, 6) for t in graph.tensors.values())


def test_squeeze_of_no_axes_squeezes_all(tmp_path: Path, rng: np.random.Generator) -> None:
    nodes = [n.node("MaxPool", ["x"], ["p"], kernel_shape=(1, 1)),
             n.node("Squeeze", ["p", "axes"])]
    graph = check(n.model(nodes, {"x": (np.int8, (1, 4, 1, 6))}, {
        "axes": np.zeros(0, np.int64)}), tmp_path, rng)
    assert graph.tensors["y"].shape == (4, 6)


def test_flattened_image_makes_a_convolution_over_all_of_it(tmp_path: Path,
                                                            rng: np.random.Generator) -> None:
    for perm in ((0, 1, 2, 3), (0, 2, 3, 1), (0, 3, 1, 2)):
        proto = n.matmul((1, 120), n.codes(rng, np.int8, 9, 120), rng=rng, gemm=True, bias=True,
                         transB=1, per_channel=True)
        proto.graph.node[0].input[0] = "flat"
        proto.graph.node.insert(0, n.node("Transpose", ["x"], ["t"], perm=perm))
        proto.graph.node.insert(1, n.node("Flatten", ["t"], ["flat"]))
        proto.graph.input[0].CopyFrom(onnx.helper.make_tensor_value_info(
            "x", onnx.TensorProto.INT8, (1, 4, 5, 6)))
        [op] = check(proto, tmp_path, rng).ops
        assert isinstance(op, ir.Conv) and sorted(op.weights.shape[1:]) == [4, 5, 6]


def test_rows_of_a_transposed_image_are_pixels(tmp_path: Path, rng: np.random.Generator) -> None:
    proto = n.matmul((1, 30, 4), n.codes(rng, np.int8, 4, 9), rng=rng)
    proto.graph.node[0].input[0] = "rows"
    proto.graph.node.insert(0, n.node("Transpose", ["x"], ["t"], perm=(0, 2, 3, 1)))
    proto.graph.node.insert(1, n.node("Reshape", ["t", "shape"], ["rows"]))
    proto.graph.input[0].CopyFrom(onnx.helper.make_tensor_value_info(
        "x", onnx.TensorProto.INT8, (1, 4, 5, 6)))
    # Read by two nodes: the input keeps its own order.
    proto.graph.node.append(n.node("MaxPool", ["x"], ["z"], kernel_shape=(2, 2), name="other"))
    proto = n.bind(proto, {"shape": np.array([1, 30, 4])})
    graph = check(proto, tmp_path, rng)
    assert graph.tensors["y"].chw == (9, 5, 6)


def test_constants_may_be_views_of_constants(tmp_path: Path, rng: np.random.Generator) -> None:
    proto = n.conv((1, 3, 6, 7), n.codes(rng, np.int8, 4, 3, 1, 1), rng=rng, bias=False)
    one = proto.graph.node[0]
    w = next(i for i in proto.graph.initializer if i.name == "w")
    turned = onnx.numpy_helper.to_array(w).transpose(1, 0, 2, 3)
    w.CopyFrom(onnx.numpy_helper.from_array(np.ascontiguousarray(turned), "turned"))
    proto.graph.node.insert(0, n.node("Transpose", ["turned"], ["w"], perm=(1, 0, 2, 3)))
    proto.graph.node.insert(1, n.node("Constant", [], ["scale"], value_float=0.25))
    one = next(node for node in proto.graph.node if node.op_type == "QLinearConv")
    one.input[6] = "scale"
    check(proto, tmp_path, rng)


@pytest.mark.parametrize("seed", range(12))
def test_random_chain_equals_onnx_runtime(seed: int, tmp_path: Path) -> None:
    generator = np.random.default_rng(seed)
    check(random_network(generator), tmp_path, generator)


def random_network(rng: np.random.Generator) -> onnx.ModelProto:
    """Make a chain with branches: convolutions, tables, sums, joins, pools, upsampling."""
    nodes, constants, counter = [], {"two": np.array([1, 1, 2, 2], np.float32)}, 0
    channels, size = 5, 12

    def quantization() -> list[str]:
        nonlocal counter
        counter += 1
        constants[f"s{counter}"] = np.float32(2.0 ** rng.uniform(-5, -3))
        constants[f"z{counter}"] = n.codes(rng, np.int8)
        return [f"s{counter}", f"z{counter}"]

    def convolve(x: str, q: list[str], ic: int, oc: int, depthwise: bool) -> tuple[str, list[str]]:
        y, out = f"c{counter}", quantization()
        k = int(rng.integers(1, 4))
        w = n.codes(rng, np.int8, oc, 1 if depthwise else ic, k, k)
        names = {f"w{y}": w, f"ws{y}": np.full(oc, 0.002, np.float32) * rng.uniform(
            0.5, 2, oc).astype(np.float32), f"wz{y}": np.zeros(oc, np.int8),
            f"b{y}": rng.integers(-999, 999, oc).astype(np.int32)}
        constants.update(names)
        ws = list(names)
        nodes.append(n.node("QLinearConv", [x, *q, *ws[:3], *out, ws[3]], [y], name=y,
                            group=ic if depthwise else 1, auto_pad="SAME_UPPER"))
        return y, out

    x, q = "x", quantization()
    for i in range(8):
        kind = rng.choice(["conv", "depthwise", "leaky", "add", "concat", "pool", "up", "split"])
        name = f"n{i}"
        if kind in ("conv", "depthwise"):
            wide = int(rng.integers(1, 9)) if kind == "conv" else channels
            x, q = convolve(x, q, channels, wide, kind == "depthwise" and channels > 1)
            channels = wide
        elif kind == "leaky":
            out = quantization()
            nodes.append(n.node("QLinearLeakyRelu", [x, *q, *out], [name], name=name, alpha=0.1))
            x, q = name, out
        elif kind == "add":
            other, oq = convolve(x, q, channels, channels, channels > 1)
            out = quantization()
            nodes.append(n.node("QLinearAdd", [x, *q, other, *oq, *out], [name], name=name))
            x, q = name, out
        elif kind == "concat":
            other, oq = convolve(x, q, channels, 3, False)
            out = oq if rng.random() < 0.5 else quantization()
            nodes.append(n.node("QLinearConcat", [*out, x, *q, other, *oq], [name], name=name,
                                axis=1))
            x, q, channels = name, out, channels + 3
        elif kind == "pool":
            nodes.append(n.node("MaxPool", [x], [name], name=name, kernel_shape=(2, 2),
                                strides=(2, 2), ceil_mode=1))
            x, size = name, -(-size // 2)
        elif kind == "up" and size < 20:
            nodes.append(n.node("Resize", [x, "", "two"], [name], name=name, mode="nearest",
                                nearest_mode="floor",
                                coordinate_transformation_mode="asymmetric"))
            x, size = name, size * 2
        elif kind == "split" and channels > 1:
            constants[f"parts{i}"] = np.array([1, channels - 1])
            nodes.append(n.node("Split", [x, f"parts{i}"], [f"{name}a", f"{name}b"], name=name,
                                axis=1))
            x, channels = f"{name}b", channels - 1
    nodes.append(n.node("DequantizeLinear", [x, *q], ["y"], name="last"))
    return n.model(nodes, {"x": (np.int8, (1, 5, 12, 12))}, constants)
