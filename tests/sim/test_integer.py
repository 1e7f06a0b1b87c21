"""sim.integer against ONNX Runtime: products, sums and single elements. No mismatch allowed."""

import numpy as np
import onnx
import pytest

from sim.errors import SimError
from sim.integer import constants, default_opset, evaluate_node, node_name, supports
from sim.integer_ops.arithmetic import exact_float, fused_multiply_add
from tests.sim.nodes import MICROSOFT, agree, codes, exact_scales, node, scale, scales, zero

TYPES = (np.int8, np.uint8)
COMBINATIONS = ((np.int8, np.int8), (np.uint8, np.int8), (np.uint8, np.uint8))

CONVOLUTIONS = (
    # Input, weights, attributes.
    ((1, 3, 11, 9), (8, 3, 3, 3), {"pads": [1, 1, 1, 1]}),
    ((2, 4, 10, 13), (6, 4, 3, 2), {"pads": [0, 1, 2, 0], "strides": [2, 1]}),
    ((1, 8, 9, 9), (16, 8, 1, 1), {}),
    ((1, 8, 13, 12), (8, 1, 3, 3), {"group": 8, "pads": [1, 1, 1, 1], "strides": [2, 2]}),
    ((1, 4, 8, 8), (8, 1, 5, 5), {"group": 4, "pads": [2, 2, 2, 2]}),
    ((1, 6, 9, 9), (9, 2, 3, 3), {"group": 3}),
    ((1, 3, 14, 15), (5, 3, 3, 3), {"dilations": [2, 3], "pads": [1, 2, 1, 2]}),
    ((1, 3, 11, 12), (4, 3, 3, 3), {"auto_pad": "SAME_UPPER", "strides": [2, 2]}),
    ((1, 3, 11, 12), (4, 3, 4, 4), {"auto_pad": "SAME_LOWER"}),
    ((1, 3, 11, 12), (4, 3, 3, 3), {"auto_pad": "VALID"}),
    ((1, 5, 20), (4, 5, 3), {"pads": [1, 2]}),
    ((1, 200, 6, 6), (7, 200, 3, 3), {}),
)


@pytest.mark.parametrize("x_type, w_type", COMBINATIONS)
@pytest.mark.parametrize("shape, kernel, attributes", CONVOLUTIONS)
def test_qlinear_conv(shape, kernel, attributes, x_type, w_type):
    for seed in range(4):
        rng = np.random.default_rng(seed)
        outputs = kernel[0] if seed % 2 else 1
        w_zero = codes(rng, w_type) if w_type == np.uint8 else np.asarray(0, w_type)
        w_zero = np.broadcast_to(w_zero, (outputs,)) if outputs > 1 else w_zero
        terms = int(np.prod(kernel[1:]))
        spread = 2.0 ** rng.uniform(-3, 3, outputs) / (terms ** 0.5 * 100)
        if outputs == 1:
            x_scale, w_scale, y_scale = exact_scales(rng, int(np.log2(terms) / 2 + 7))
        else:
            x_scale, w_scale, y_scale = scale(1.3), spread.astype(np.float32), scale(0.9)
        inputs = [codes(rng, x_type, *shape), x_scale, zero(rng, x_type),
                  codes(rng, w_type, *kernel), w_scale, w_zero, y_scale, zero(rng, x_type)]
        if seed != 3:
            inputs.append(rng.integers(-20000, 20000, kernel[0]).astype(np.int32))
        agree(node("QLinearConv", len(inputs), **attributes), inputs, context=seed)


def test_sums_beyond_the_integers_of_float32():
    # A bias brings sums of about 2**25 back to 0, where a lost unit shows.
    assert exact_float(2**24 - 1) == np.float32
    assert exact_float(2**24) == np.float64
    rng = np.random.default_rng(0)
    x = rng.integers(100, 128, (1, 2001, 1, 1)).astype(np.int8)
    w = rng.integers(100, 128, (40, 2001, 1, 1)).astype(np.int8)
    bias = rng.integers(-9, 10, 40) - (w[:, :, 0, 0].astype(np.int64) @ x[0, :, 0, 0])
    nothing = np.asarray(0, np.int8)
    y, = agree(node("QLinearConv", 9), [x, scale(1), nothing, w, scale(1), nothing, scale(1),
                                        nothing, bias.astype(np.int32)])
    assert abs(y.astype(int)).max() == 9


def test_qlinear_conv_with_one_weight_zero_point_per_channel():
    # ONNX Runtime refuses different ones; the sum can be written down.
    x = np.arange(4, dtype=np.uint8).reshape(1, 2, 1, 2)
    w = np.array([[1, 2], [3, 4]], np.int8).reshape(2, 2, 1, 1)
    one, nothing = scale(1), np.asarray(0, np.uint8)
    y, = evaluate_node(node("QLinearConv", 8), [
        x, one, nothing, w, one, np.array([0, 1], np.int8), one, nothing], opset=13)
    assert y.reshape(2, 2).tolist() == [[4, 7], [6, 11]]


@pytest.mark.parametrize("x_type, w_type", COMBINATIONS)
def test_qlinear_matmul(x_type, w_type):
    for seed in range(12):
        rng = np.random.default_rng(seed)
        a, b = ((600, 16), (16, 7)) if seed % 3 else ((2, 3, 20, 600), (2, 3, 600, 7))
        columns = (b[-1],) if seed % 2 and len(b) == 2 else ()
        a_scale, b_scale, y_scale = exact_scales(rng, int(np.log2(a[-1]) / 2 + 8))
        if columns:
            b_scale = (b_scale * rng.uniform(0.5, 2, columns)).astype(np.float32)
        b_zero = np.zeros(columns, w_type) + codes(rng, w_type)
        agree(node("QLinearMatMul", 8), [
            codes(rng, x_type, *a), a_scale, zero(rng, x_type), codes(rng, w_type, *b), b_scale,
            b_zero, y_scale, zero(rng, x_type)], context=seed)


@pytest.mark.parametrize("x_type, w_type", COMBINATIONS)
def test_qgemm(x_type, w_type):
    for seed in range(12):
        rng = np.random.default_rng(seed)
        flip_a, flip_b = seed & 1, seed >> 1 & 1
        a, b = codes(rng, x_type, 60, 50), codes(rng, w_type, 50, 9)
        columns = (9,) if seed > 7 else ()
        a_scale, b_scale, _ = exact_scales(rng, 0)
        y_scale = scale(np.float32(1.3) * a_scale * b_scale * np.float32(2**10))
        if columns:
            b_scale = (b_scale * rng.uniform(0.5, 2, columns)).astype(np.float32)
        inputs = [np.ascontiguousarray(a.T if flip_a else a), a_scale, zero(rng, x_type),
                  np.ascontiguousarray(b.T if flip_b else b), b_scale,
                  np.zeros(columns, w_type) + codes(rng, w_type),
                  rng.integers(-9999, 9999, 9).astype(np.int32), y_scale, zero(rng, x_type)]
        agree(node("QGemm", 9, domain=MICROSOFT, alpha=1.3, transA=flip_a, transB=flip_b), inputs,
              context=seed)
        agree(node("QGemm", 7, domain=MICROSOFT, alpha=1.3, transA=flip_a, transB=flip_b),
              inputs[:7], context=(seed, "float"))


@pytest.mark.parametrize("dtype", TYPES)
def test_quantize_and_dequantize(dtype):
    for seed in range(20):
        rng = np.random.default_rng(seed)
        per_axis = (7,) if seed % 4 == 0 else ()
        step = scales(rng, 1, ties=seed % 2 == 1)[0] * rng.integers(1, 9, per_axis)
        step = step.astype(np.float32)
        offset = codes(rng, dtype, *per_axis)
        x = (rng.integers(-600, 600, (3, 7, 40)) / 2 * step.flat[0]).astype(np.float32)
        x.flat[:3] = np.inf, -np.inf, 1e38
        agree(node("QuantizeLinear", 3, axis=1), [x, step, offset], context=seed)
        agree(node("DequantizeLinear", 3, axis=1), [codes(rng, dtype, 3, 7, 9), step, offset],
              context=seed)


def test_dequantizes_int32_and_quantizes_without_zero_point():
    rng = np.random.default_rng(0)
    x = rng.integers(-(1 << 31), 1 << 31, 500).astype(np.int32)
    agree(node("DequantizeLinear", 2), [x, scale(0.013)])
    agree(node("QuantizeLinear", 2), [x.astype(np.float32) / np.float32(1e7), scale(0.7)])


@pytest.mark.parametrize("dtype", TYPES)
def test_unary_tables(dtype):
    for seed in range(40):
        rng = np.random.default_rng(seed)
        s_x, s_y = scales(rng, 2, ties=seed % 2 == 1)
        every = np.arange(256, dtype=np.uint8).view(dtype).reshape(2, 128)
        inputs = [every, s_x, zero(rng, dtype), s_y, zero(rng, dtype)]
        alpha = float(rng.choice([0.01, 0.1, 0.125, 0.3, -0.5]))
        agree(node("QLinearLeakyRelu", 5, domain=MICROSOFT, alpha=alpha), inputs, context=seed)
        agree(node("QLinearSigmoid", 5, domain=MICROSOFT), inputs, context=seed)


@pytest.mark.parametrize("dtype", TYPES)
def test_qlinear_concat(dtype):
    for seed in range(20):
        rng = np.random.default_rng(seed)
        s_y, *parts = scales(rng, 4, ties=seed % 2 == 1)
        z_y = zero(rng, dtype)
        inputs = [s_y, z_y]
        for i, part in enumerate(parts):
            same = i == 2
            inputs += [codes(rng, dtype, 2, 3 + i, 40), s_y if same else part,
                       z_y if same else zero(rng, dtype)]
        agree(node("QLinearConcat", 11, domain=MICROSOFT, axis=1), inputs, context=seed)


SHAPES = (
    ((256, 40), (256, 40)), ((1, 9, 4, 33), (1, 9, 1, 1)), ((1, 9, 1, 1), (1, 9, 4, 33)),
    ((10,), (7, 10)), ((7, 10), (10,)), ((300,), (1,)), ((1,), (300,)), ((), (300,)),
    ((300,), ()), ((1, 1), (1, 1)), ((), ()), ((1,), (90, 1)), ((90, 1), (1,)), ((2, 1), (1, 50)),
    ((50, 4, 1), (50, 1, 1)), ((8, 1, 1), (8, 4, 1)),
)


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("a, b", SHAPES)
def test_qlinear_add_and_mul(a, b, dtype):
    for seed in range(12):
        rng = np.random.default_rng(seed)
        s_a, s_b, s_c = scales(rng, 3, ties=seed % 2 == 1)
        if seed % 3 == 0:  # Sixths: every tie is decided by float32 noise.
            s_a, s_b, s_c = scale(rng.integers(1, 9) / 6), scale(rng.integers(1, 9) / 6), scale(1)
        inputs = [codes(rng, dtype, *a), s_a, zero(rng, dtype), codes(rng, dtype, *b), s_b,
                  zero(rng, dtype), s_c, zero(rng, dtype)]
        agree(node("QLinearAdd", 8, domain=MICROSOFT), inputs, context=seed)
        agree(node("QLinearMul", 8, domain=MICROSOFT), inputs, context=seed)


@pytest.mark.parametrize("dtype", TYPES)
def test_products_of_all_pairs(dtype):
    every = np.arange(256, dtype=np.uint8).view(dtype).reshape(256, 1)
    for seed in range(8):
        rng = np.random.default_rng(seed)
        s_a, s_b, s_c = exact_scales(rng, 7)
        inputs = [every, s_a, zero(rng, dtype), every.T, s_b, zero(rng, dtype), s_c,
                  zero(rng, dtype)]
        agree(node("QLinearMul", 8, domain=MICROSOFT), inputs, context=seed)
        agree(node("QLinearMatMul", 8), inputs, context=seed)


def test_qlinear_add_of_single_elements():
    # One element is added in yet another order; it takes many draws to see that.
    rng = np.random.default_rng(0)
    for seed in range(150):
        s_a, s_b = scale(rng.integers(1, 9) / 6), scale(rng.integers(1, 9) / 6)
        inputs = [codes(rng, np.int8, 1), s_a, zero(rng, np.int8), codes(rng, np.int8, 90, 1), s_b,
                  zero(rng, np.int8), scale(1), zero(rng, np.int8)]
        agree(node("QLinearAdd", 8, domain=MICROSOFT), inputs, context=seed)


def test_fused_multiply_add_rounds_once():
    one, above = np.float32(1), np.float32(1 + 2.0**-23)
    assert fused_multiply_add(1, np.float32(2.0**-24), one) == one
    assert fused_multiply_add(3, np.float32(2.0**-60), above) == above
    # 1 + 2**-24 + 2**-54 is just above the middle of two floats; float64 says "the middle".
    assert 1025 * 1047553 == 2**30 + 1
    assert fused_multiply_add(1025, np.float32(1047553 * 2.0**-54), one) == above
    assert fused_multiply_add(-1025, np.float32(1047553 * 2.0**-54), -one) == -above


def test_helpers_read_a_model():
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node("Relu", ["x"], ["y"])], "g", [], [],
        [onnx.numpy_helper.from_array(np.arange(3), "w")])
    model = onnx.helper.make_model(graph, opset_imports=[
        onnx.helper.make_opsetid(MICROSOFT, 1), onnx.helper.make_opsetid("", 17)])
    assert default_opset(model) == 17
    assert constants(graph)["w"].tolist() == [0, 1, 2]
    assert node_name(graph.node[0]) == "y"
    assert supports(graph.node[0])


def test_refuses_an_unknown_operator():
    unknown = node("NonMaxSuppression", 1)
    assert not supports(unknown)
    with pytest.raises(SimError) as error:
        evaluate_node(unknown, [np.zeros(1, np.float32)], opset=13)
    assert str(error.value).startswith(
        "node 'NonMaxSuppression' (NonMaxSuppression) cannot be evaluated by the integer "
        "reference: The operator must be one of Abs, Add, Cast, ")
    assert str(error.value).endswith("Found: ai.onnx:NonMaxSuppression.")


def test_refuses_weights_that_do_not_fit():
    one, nothing = scale(1), np.asarray(0, np.int8)
    with pytest.raises(SimError) as error:
        evaluate_node(node("QLinearConv", 8), [
            np.zeros((1, 3, 4, 4), np.int8), one, nothing, np.zeros((2, 4, 1, 1), np.int8), one,
            nothing, one, nothing], opset=13)
    assert str(error.value) == (
        "node 'QLinearConv' (QLinearConv) cannot be evaluated by the integer reference: Weights "
        "must be [M, C / group, *kernel]. Found: weights [2, 4, 1, 1], input [1, 3, 4, 4], "
        "group 1.")
