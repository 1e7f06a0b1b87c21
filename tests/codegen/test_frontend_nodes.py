"""Single nodes with random parameters: the graph computes what ONNX Runtime computes."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from codegen import ir
from codegen.errors import UnsupportedModelError
from sim.golden import Golden
from tests import onnx_nodes as n
from tests.codegen.frontend_check import check, compare, imported, rng

# uint8 activations with int8 weights: sums of two products saturate on x86 without VNNI, unless
# weights have 7 bits.
__all__ = ["rng"]

_PAIRS = [(np.int8, np.int8, 0), (np.uint8, np.uint8, 131), (np.uint8, np.int8, 0)]


def weights(rng: np.random.Generator, dtype: Any, x_dtype: Any, *shape: int) -> n.Array:
    """Draw weights; 7 bits where ONNX Runtime needs that on some hosts."""
    w = n.codes(rng, dtype, *shape)
    return w // 2 if (dtype, x_dtype) == (np.int8, np.uint8) else w


@pytest.mark.parametrize("x_dtype, w_dtype, w_zero", _PAIRS)
@pytest.mark.parametrize("kernel, strides, pads, more", [
    ((1, 1), (1, 1), (0, 0, 0, 0), {}), ((3, 3), (1, 1), (1, 1, 1, 1), {}),
    ((3, 3), (2, 2), (0, 0, 1, 1), {}), ((2, 5), (4, 1), (0, 2, 1, 2), {}),
    ((7, 3), (2, 1), (3, 0, 2, 2), {"bias": False}), ((1, 1), (2, 4), (0, 0, 0, 0), {}),
    ((9, 11), (1, 1), (0, 0, 0, 0), {}),
])
def test_conv_equals_onnx_runtime(x_dtype: Any, w_dtype: Any, w_zero: int, kernel: Any,
                                  strides: Any, pads: Any, more: Any, tmp_path: Path,
                                  rng: np.random.Generator) -> None:
    for per_channel in (False, True):
        w = weights(rng, w_dtype, x_dtype, 7, 5, *kernel)
        graph = check(n.conv((1, 5, 9, 11), w, rng=rng, dtype=x_dtype, w_zero=w_zero,
                             per_channel=per_channel, strides=strides, pads=pads, **more),
                      tmp_path, rng)
        op = graph.ops[0]
        assert isinstance(op, ir.Conv) and op.certificate is not None and not op.depthwise


@pytest.mark.parametrize("x_dtype, w_dtype, w_zero", _PAIRS)
def test_depthwise_conv_equals_onnx_runtime(x_dtype: Any, w_dtype: Any, w_zero: int,
                                            tmp_path: Path, rng: np.random.Generator) -> None:
    w = weights(rng, w_dtype, x_dtype, 6, 1, 3, 3)
    graph = check(n.conv((1, 6, 8, 7), w, rng=rng, dtype=x_dtype, w_zero=w_zero, group=6,
                         per_channel=True, strides=(2, 1), pads=(1, 1, 1, 1)), tmp_path, rng)
    op = graph.ops[0]
    assert isinstance(op, ir.Conv) and op.depthwise and op.weights.shape == (6, 1, 3, 3)


@pytest.mark.parametrize("auto_pad", ["SAME_UPPER", "SAME_LOWER", "VALID"])
@pytest.mark.parametrize("kernel, strides", [((2, 3), (1, 2)), ((4, 4), (2, 2)), ((1, 1), (2, 2))])
def test_auto_pad_equals_onnx_runtime(auto_pad: str, kernel: Any, strides: Any, tmp_path: Path,
                                      rng: np.random.Generator) -> None:
    check(n.conv((1, 3, 7, 10), n.codes(rng, np.int8, 4, 3, *kernel), rng=rng, auto_pad=auto_pad,
                 strides=strides), tmp_path, rng)
    check(n.model([n.node("MaxPool", ["x"], kernel_shape=kernel, strides=strides,
                          auto_pad=auto_pad)], {"x": (np.int8, (1, 3, 7, 10))}, {}), tmp_path, rng)


def test_stride_of_a_single_window_is_dropped(tmp_path: Path, rng: np.random.Generator) -> None:
    w = n.codes(rng, np.int8, 4, 3, 5, 5)
    graph = check(n.conv((1, 3, 5, 5), w, rng=rng, strides=(3, 3)), tmp_path, rng)
    assert isinstance(graph.ops[0], ir.Conv) and graph.ops[0].strides == (1, 1)


@pytest.mark.parametrize("dtype", [np.int8, np.uint8])
@pytest.mark.parametrize("op, more", [
    ("QLinearLeakyRelu", {"alpha": 0.1}), ("QLinearLeakyRelu", {}),
    ("QLinearLeakyRelu", {"alpha": -1.5}), ("QLinearSigmoid", {}),
])
def test_unary_operator_is_a_table(op: str, more: Any, dtype: Any, tmp_path: Path,
                                   rng: np.random.Generator) -> None:
    for _ in range(5):
        graph = check(n.unary(op, (1, 16, 4, 8), rng=rng, dtype=dtype, **more), tmp_path, rng)
        assert [type(op) for op in graph.ops] == [ir.Table]


@pytest.mark.parametrize("op", ["QLinearAdd", "QLinearMul"])
@pytest.mark.parametrize("dtype", [np.int8, np.uint8])
@pytest.mark.parametrize("a, b", [
    ((1, 5, 6, 7), (1, 5, 6, 7)), ((1, 5, 6, 7), (1, 5, 1, 1)), ((1, 5, 1, 1), (1, 5, 6, 7)),
    ((1, 5, 6, 7), (1, 1, 6, 7)), ((1, 1, 6, 7), (1, 5, 6, 7)), ((1, 5, 6, 7), (5, 1, 1)),
    ((1, 5, 6, 7), (1,)), ((1,), (1, 5, 6, 7)), ((10,), (10,)), ((4, 10), (10,)),
    ((10,), (4, 10)), ((4, 10), (4, 10)), ((1, 5, 6, 7), (1, 1, 1, 1)),
])
def test_binary_operator_equals_onnx_runtime(op: str, dtype: Any, a: Any, b: Any, tmp_path: Path,
                                             rng: np.random.Generator) -> None:
    for constant in ("", "a", "b"):
        if b == (5, 1, 1) and constant != "b":
            continue  # as a tensor it is one channel of five rows
        proto = n.binary(op, n.codes(rng, dtype, *a) if constant == "a" else a,
                         n.codes(rng, dtype, *b) if constant == "b" else b, rng=rng, dtype=dtype)
        graph = check(proto, tmp_path, rng)
        assert len(graph.ops) == 1


@pytest.mark.parametrize("a, b", [
    ((1, 256, 1, 1), (1, 256, 16, 16)), ((1, 256, 16, 16), (1, 256, 1, 1)),
    ((1, 1, 16, 16), (1, 256, 16, 16)), ((1, 256, 16, 16), (1, 1, 16, 16)),
])
def test_sum_exchanges_operands_where_onnx_runtime_does(a: Any, b: Any, tmp_path: Path,
                                                        rng: np.random.Generator) -> None:
    # With these scales the order of the operands shows in several hundred pairs of codes.
    proto = n.binary("QLinearAdd", a, b, rng=rng)
    values = {"a_scale": np.float32(0.75), "a_zero_point": np.int8(-107),
              "b_scale": np.float32(0.010416666977107525), "b_zero_point": np.int8(-53),
              "y_scale": np.float32(0.125), "y_zero_point": np.int8(-38)}
    for item in proto.graph.initializer:
        item.CopyFrom(onnx.numpy_helper.from_array(np.asarray(values[item.name]), item.name))
    graph, golden = imported(proto, tmp_path), Golden(proto)
    codes = np.arange(-128, 128).astype(np.int8)
    # All pairs: one operand runs along the channels, the other along rows and columns.
    feeds = {}
    for name, shape in ("a", a), ("b", b):
        other = b if name == "a" else a
        along_channels = shape[2:] == (1, 1) or (shape[1] == 256 and other[1] == 1)
        view = codes.reshape(1, 256, 1, 1) if along_channels else codes.reshape(1, 1, 16, 16)
        feeds[name] = np.ascontiguousarray(np.broadcast_to(view, shape))
    assert compare(graph, golden, feeds) == 65536


def test_constant_operand_is_as_small_as_it_can_be(tmp_path: Path,
                                                   rng: np.random.Generator) -> None:
    full = np.broadcast_to(n.codes(rng, np.int8, 1, 5, 1, 1), (1, 5, 6, 7)).copy()
    for value, chw in ((full, (5, 1, 1)), (n.codes(rng, np.int8), (5, 1, 1)),
                       (n.codes(rng, np.int8, 6, 7), (1, 6, 7)),
                       (n.codes(rng, np.int8, 5, 6, 7), (5, 6, 7)),
                       (n.codes(rng, np.int8, 7), (1, 6, 7))):
        graph = check(n.binary("QLinearMul", (1, 5, 6, 7), value, rng=rng), tmp_path, rng)
        [data] = [t.data for t in graph.tensors.values() if t.data is not None]
        assert data.shape == chw


@pytest.mark.parametrize("dtype", [np.int8, np.uint8])
@pytest.mark.parametrize("shapes, axis", [
    (((1, 3, 4, 5), (1, 2, 4, 5), (1, 4, 4, 5)), 1), (((1, 3, 4, 5), (1, 2, 4, 5)), -3),
    (((1, 7), (1, 9)), 1), (((4, 7), (4, 9)), -1), (((7,), (3,)), 0), (((2, 3, 4), (2, 3, 1)), 2),
])
def test_concat_equals_onnx_runtime(dtype: Any, shapes: Any, axis: int, tmp_path: Path,
                                    rng: np.random.Generator) -> None:
    graph = check(n.concat(shapes, rng=rng, dtype=dtype, equal=[1], axis=axis), tmp_path, rng)
    assert [type(op) for op in graph.ops] == [ir.Table] * (len(shapes) - 1) + [ir.Concat]
    proto = n.model([n.node("Concat", ["a", "b"], axis=axis)],
                    {"a": (dtype, shapes[0]), "b": (dtype, shapes[1])}, {})
    assert [type(op) for op in check(proto, tmp_path, rng).ops] == [ir.Concat]


def test_concat_requantizes_constants_at_compile_time(tmp_path: Path,
                                                      rng: np.random.Generator) -> None:
    proto = n.concat([(1, 3, 4, 5), (1, 2, 4, 5)], rng=rng)
    graph = check(n.bind(proto, {"x0": n.codes(rng, np.int8, 1, 3, 4, 5)}), tmp_path, rng)
    assert [type(op) for op in graph.ops] == [ir.Table, ir.Concat]


@pytest.mark.parametrize("dtype", [np.int8, np.uint8])
@pytest.mark.parametrize("kernel, strides, pads, ceil", [
    ((2, 2), (2, 2), (0, 0, 0, 0), 0), ((3, 3), (1, 1), (1, 1, 1, 1), 0),
    ((5, 3), (2, 1), (2, 0, 1, 2), 0), ((2, 2), (2, 2), (0, 0, 0, 0), 1),
    ((3, 3), (2, 2), (1, 1, 1, 1), 1), ((2, 2), (4, 4), (1, 1, 1, 1), 1),
    ((13, 13), (1, 1), (6, 6, 6, 6), 0),
])
@pytest.mark.parametrize("size", [(13, 9), (8, 8)])
def test_max_pool_equals_onnx_runtime(dtype: Any, kernel: Any, strides: Any, pads: Any, ceil: int,
                                      size: Any, tmp_path: Path,
                                      rng: np.random.Generator) -> None:
    proto = n.model([n.node("MaxPool", ["x"], kernel_shape=kernel, strides=strides, pads=pads,
                            ceil_mode=ceil)], {"x": (dtype, (1, 3, *size))}, {})
    check(proto, tmp_path, rng)


@pytest.mark.parametrize("dtype", [np.int8, np.uint8])
@pytest.mark.parametrize("size", [(1, 1), (4, 4), (7, 7), (13, 5), (26, 26)])
def test_global_average_equals_onnx_runtime(dtype: Any, size: Any, tmp_path: Path,
                                            rng: np.random.Generator) -> None:
    for _ in range(3):
        check(n.pool("QLinearGlobalAveragePool", (1, 5, *size), rng=rng, dtype=dtype,
                     channels_last=0), tmp_path, rng)


@pytest.mark.parametrize("dtype", [np.int8, np.uint8])
@pytest.mark.parametrize("kernel, strides, pads", [
    ((2, 2), (2, 2), (0, 0, 0, 0)), ((3, 3), (2, 2), (1, 1, 1, 1)), ((8, 6), (1, 1), (0, 0, 0, 0)),
])
def test_average_equals_onnx_runtime_where_it_can_be_proved(
        dtype: Any, kernel: Any, strides: Any, pads: Any, tmp_path: Path,
        rng: np.random.Generator) -> None:
    # A power of two as scale keeps the float sums exact.
    proto = n.pool("QLinearAveragePool", (1, 5, 8, 6), rng=rng, dtype=dtype, kernel_shape=kernel,
                   strides=strides, pads=pads, count_include_pad=1)
    for item in proto.graph.initializer:
        if item.name == "x_scale":
            item.CopyFrom(onnx.numpy_helper.from_array(np.float32(0.25), "x_scale"))
        if item.name == "y_scale":
            item.CopyFrom(onnx.numpy_helper.from_array(np.float32(0.17), "y_scale"))
    check(proto, tmp_path, rng)


@pytest.mark.parametrize("x_dtype, w_dtype, w_zero", _PAIRS)
@pytest.mark.parametrize("shape", [(6,), (1, 6), (5, 6), (1, 5, 6), (2, 5, 6)])
def test_matrix_product_equals_onnx_runtime(x_dtype: Any, w_dtype: Any, w_zero: int, shape: Any,
                                            tmp_path: Path, rng: np.random.Generator) -> None:
    for per_channel in (False, True):
        w = weights(rng, w_dtype, x_dtype, 6, 9)
        check(n.matmul(shape, w, rng=rng, dtype=x_dtype, w_zero=w_zero, per_channel=per_channel),
              tmp_path, rng)


@pytest.mark.parametrize("x_dtype, w_dtype, w_zero", _PAIRS)
@pytest.mark.parametrize("trans", [0, 1])
def test_gemm_equals_onnx_runtime(x_dtype: Any, w_dtype: Any, w_zero: int, trans: int,
                                  tmp_path: Path, rng: np.random.Generator) -> None:
    for rows, alpha, bias in ((1, 1.0, True), (4, 0.37, True), (3, 2.5, False)):
        w = weights(rng, w_dtype, x_dtype, *((9, 6) if trans else (6, 9)))
        check(n.matmul((rows, 6), w, rng=rng, dtype=x_dtype, w_zero=w_zero, gemm=True, bias=bias,
                       per_channel=rows > 1, alpha=alpha, transB=trans), tmp_path, rng)


@pytest.mark.parametrize("transformation", ["asymmetric", "half_pixel", "pytorch_half_pixel",
                                            "half_pixel_symmetric"])
@pytest.mark.parametrize("mode", ["floor", "round_prefer_floor", "round_prefer_ceil", "ceil"])
@pytest.mark.parametrize("by", ["scales", "sizes"])
def test_resize_is_accepted_where_onnx_runtime_repeats(
        transformation: str, mode: str, by: str, tmp_path: Path,
        rng: np.random.Generator) -> None:
    x = n.codes(rng, np.int8, 1, 3, 5, 7)
    for factors in ((2, 2), (1, 4), (8, 1)):
        constants = ({"scales": np.array([1, 1, *factors], np.float32)} if by == "scales" else
                     {"sizes": np.array([1, 3, 5 * factors[0], 7 * factors[1]], np.int64)})
        inputs = ["x", "", "scales"] if by == "scales" else ["x", "", "", "sizes"]
        proto = n.model([n.node("Resize", inputs, mode="nearest", nearest_mode=mode,
                                coordinate_transformation_mode=transformation)],
                        {"x": (np.int8, (1, 3, 5, 7))}, constants, opset=19)
        repeated = x.repeat(factors[0], 2).repeat(factors[1], 3)
        if np.array_equal(Golden(proto).run({"x": x})["y"], repeated):
            graph = check(proto, tmp_path, rng)
            assert [type(op) for op in graph.ops] == [ir.Resize]
        else:
            with pytest.raises(UnsupportedModelError):
                check(proto, tmp_path, rng)


def test_old_resize_is_asymmetric(tmp_path: Path, rng: np.random.Generator) -> None:
    quantize = [n.node("QuantizeLinear", ["x", "s", "z"], ["q"]),
                n.node("DequantizeLinear", ["q", "s", "z"], ["d"]),
                n.node("Resize", ["d", "scales"], ["r"], mode="nearest"),
                n.node("QuantizeLinear", ["r", "s", "z"], ["y"], name="last")]
    proto = n.model(quantize, {"x": (np.float32, (1, 3, 5, 7))}, {
        "s": np.float32(0.1), "z": np.uint8(100), "scales": np.array([1, 1, 2, 4], np.float32)},
        opset=10)
    graph = check(proto, tmp_path, rng)
    assert [type(op) for op in graph.ops] == [ir.Resize] and graph.folded == ("d", "r")


@pytest.mark.parametrize("starts, ends, axes, steps, kinds", [
    ([2], [7], [1], None, [ir.Slice]), ([0], [2**62], [1], None, []),
    ([-3], [2**31 - 1], [1], [1], [ir.Slice]), ([1, 2], [6, 9], [2, 3], None, [ir.Conv]),
    ([0, 1], [2**31, 2**31], [2, 3], [2, 2], [ir.Conv]), ([1], [-1], [-1], [4], [ir.Conv]),
    ([1, 3], [5, 7], [1, 2], [1, 2], [ir.Slice, ir.Conv]), ([0, 0], [1, 1], [2, 3], None,
                                                          [ir.Conv]),
])
@pytest.mark.parametrize("dtype", [np.int8, np.uint8])
def test_slice_equals_onnx_runtime(starts: Any, ends: Any, axes: Any, steps: Any, kinds: Any,
                                   dtype: Any, tmp_path: Path, rng: np.random.Generator) -> None:
    constants = {"starts": np.array(starts), "ends": np.array(ends), "axes": np.array(axes)}
    if steps:
        constants["steps"] = np.array(steps)
    proto = n.model([n.node("Slice", ["x", *constants])], {"x": (dtype, (1, 8, 10, 11))},
                    constants)
    assert [type(op) for op in check(proto, tmp_path, rng).ops] == kinds


def test_slice_of_channels_last_is_address_arithmetic(tmp_path: Path,
                                                      rng: np.random.Generator) -> None:
    constants = {"starts": np.array([2]), "ends": np.array([5]), "axes": np.array([3])}
    nodes = [n.node("MaxPool", ["x"], ["p"], kernel_shape=(2, 2)),
             n.node("Transpose", ["p"], ["t"], perm=(0, 2, 3, 1)),
             n.node("Slice", ["t", *constants])]
    graph = check(n.model(nodes, {"x": (np.int8, (1, 8, 5, 6))}, constants), tmp_path, rng)
    assert [type(op) for op in graph.ops] == [ir.MaxPool, ir.Slice]


@pytest.mark.parametrize("axis, parts", [(1, (3, 5)), (1, None), (2, (4, 2)), (-1, (1, 6))])
def test_split_equals_onnx_runtime(axis: int, parts: Any, tmp_path: Path,
                                   rng: np.random.Generator) -> None:
    inputs, constants = ["x"], {}
    if parts:
        inputs, constants = ["x", "split"], {"split": np.array(parts)}
    proto = n.model([n.node("Split", inputs, ["y", "z"], axis=axis)],
                    {"x": (np.int8, (1, 8, 6, 7))}, constants, outputs=("y", "z"))
    check(proto, tmp_path, rng)


@pytest.mark.parametrize("dtype", [np.int8, np.uint8])
def test_pad_alone_is_a_copy_in_a_border(dtype: Any, tmp_path: Path,
                                         rng: np.random.Generator) -> None:
    for pads in ((0, 0, 1, 2, 0, 0, 3, 0), (0, 0, -1, 2, 0, 0, 0, -2)):
        constants = {"pads": np.array(pads), "value": np.asarray(7, dtype)}
        proto = n.model([n.node("Pad", ["x", *constants])], {"x": (dtype, (1, 3, 5, 6))},
                        constants)
        graph = check(proto, tmp_path, rng)
        assert isinstance(graph.ops[0], ir.Conv) and graph.ops[0].certificate is None


def test_pad_with_the_zero_point_becomes_padding_of_the_conv(tmp_path: Path,
                                                             rng: np.random.Generator) -> None:
    for dtype, more in ((np.int8, {"pads": (1, 0, 0, 1)}), (np.uint8, {"auto_pad": "SAME_UPPER"})):
        proto = n.conv((1, 3, 5, 6), weights(rng, np.int8, dtype, 4, 3, 3, 3), rng=rng,
                       dtype=dtype, strides=(2, 2), **more)
        one = proto.graph.node[0]
        one.input[0] = "padded"
        zero = next(i for i in proto.graph.initializer if i.name == "x_zero_point")
        value = onnx.numpy_helper.to_array(zero)
        proto.graph.node.insert(0, n.node("Pad", ["x", "pads", "value"], ["padded"]))
        proto = n.bind(proto, {"pads": np.array((0, 0, 1, 2, 0, 0, 3, 0)), "value": value})
        graph = check(proto, tmp_path, rng)
        assert [type(op) for op in graph.ops] == [ir.Conv] and graph.folded == ("padded",)
        # Another value is no padding.
        other = onnx.ModelProto()
        other.CopyFrom(proto)
        item = next(i for i in other.graph.initializer if i.name == "value")
        item.CopyFrom(onnx.numpy_helper.from_array(value ^ value.dtype.type(1), "value"))
        assert [type(op) for op in check(other, tmp_path, rng).ops] == [ir.Conv, ir.Conv]


@pytest.mark.parametrize("op, inputs, constants, dtype", [
    ("Relu", [], {}, np.int8),
    ("Clip", ["min", "max"], {"min": np.int8(-5), "max": np.int8(60)}, np.int8),
    ("Clip", ["min", "max"], {"min": np.uint8(5), "max": np.uint8(160)}, np.uint8),
    ("Clip", ["", "max"], {"max": np.uint8(160)}, np.uint8),
])
def test_function_of_codes_is_a_table(op: str, inputs: Any, constants: Any, dtype: Any,
                                      tmp_path: Path, rng: np.random.Generator) -> None:
    proto = n.model([n.node(op, ["x", *inputs])], {"x": (dtype, (1, 4, 8, 8))}, constants,
                    opset=14)
    assert [type(op) for op in check(proto, tmp_path, rng).ops] == [ir.Table]
