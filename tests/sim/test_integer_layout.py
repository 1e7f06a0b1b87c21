"""sim.integer against ONNX Runtime: pools, resizing, data movement, float32 operators."""

import itertools

import numpy as np
import pytest

from sim.errors import SimError
from sim.integer import evaluate_node
from tests.sim.nodes import MICROSOFT, agree, codes, node, scale, scales, zero

TYPES = (np.int8, np.uint8)

POOLS = (
    {"kernel_shape": [2, 2], "strides": [2, 2]},
    {"kernel_shape": [3, 2], "strides": [2, 1], "pads": [1, 0, 1, 1]},
    {"kernel_shape": [5, 5], "pads": [2, 2, 2, 2]},
    {"kernel_shape": [2, 2], "strides": [1, 1], "auto_pad": "SAME_UPPER"},
    {"kernel_shape": [3, 3], "strides": [2, 2], "auto_pad": "SAME_LOWER"},
    {"kernel_shape": [3, 3], "strides": [2, 2], "auto_pad": "VALID"},
)
CEILED = tuple({"kernel_shape": [k, k], "strides": [s, s], "pads": [p, p, e, e], "ceil_mode": 1}
               for k, s, p, e in itertools.product((2, 3), (2, 3), (0, 1), (0, 1)))


@pytest.mark.parametrize("dtype", TYPES)
def test_max_pool(dtype):
    rng = np.random.default_rng(0)
    dilated = ({"kernel_shape": [3, 3], "dilations": [2, 1], "pads": [1, 0, 1, 0]},
               {"kernel_shape": [2, 3], "dilations": [3, 2], "strides": [2, 2], "ceil_mode": 1})
    for size in (9, 10, 11):
        for attributes in (*POOLS, *CEILED, *dilated):
            agree(node("MaxPool", 1, **attributes), [codes(rng, dtype, 2, 3, size, size + 1)],
                  context=(size, attributes))
    agree(node("MaxPool", 1, kernel_shape=[3], strides=[2]), [codes(rng, dtype, 1, 3, 12)])


@pytest.mark.parametrize("dtype", TYPES)
def test_qlinear_average_pool(dtype):
    rng = np.random.default_rng(0)
    for attributes in (*POOLS, *CEILED):
        for include, seed in itertools.product((0, 1), range(3)):
            s_x, s_y = scales(rng, 2, ties=seed > 0)
            agree(node("QLinearAveragePool", 5, domain=MICROSOFT, count_include_pad=include,
                       **attributes),
                  [codes(rng, dtype, 1, 8, 9, 10), s_x, zero(rng, dtype), s_y, zero(rng, dtype)],
                  context=(attributes, include, seed))


@pytest.mark.parametrize("dtype", TYPES)
def test_average_pool_of_the_whole_input_is_an_integer_sum(dtype):
    # Without padding; the float32 sum differs in one of a hundred of these.
    for seed in range(20):
        rng = np.random.default_rng(seed)
        s_y = scale(2.0 ** rng.uniform(-9, -4))
        s_x = s_y * np.float32(rng.integers(1, 9) / 2)
        for pads in ([0, 0, 0, 0], [1, 0, 0, 0]):
            agree(node("QLinearAveragePool", 5, domain=MICROSOFT, kernel_shape=[4, 4],
                       strides=[4, 4], pads=pads),
                  [codes(rng, dtype, 1, 64, 4, 4), s_x, zero(rng, dtype), s_y, zero(rng, dtype)],
                  context=(seed, pads))


@pytest.mark.parametrize("last", (0, 1))
@pytest.mark.parametrize("dtype", TYPES)
def test_average_pools_of_either_layout(dtype, last):
    for seed in range(20):
        rng = np.random.default_rng(seed)
        shape = (3, 5, 90) if last else (90, 3, 5)
        # Exact ties, which any other order of the operations on scales would miss.
        s_y = scale(rng.uniform(0.5, 2))
        s_x = scale((s_y * np.float32(3 * 5)) / np.float32(4))
        inputs = [codes(rng, dtype, 2, *shape), s_x, zero(rng, dtype), s_y, zero(rng, dtype)]
        agree(node("QLinearGlobalAveragePool", 5, domain=MICROSOFT, channels_last=last), inputs,
              context=seed)
        agree(node("QLinearAveragePool", 5, domain=MICROSOFT, channels_last=last,
                   kernel_shape=[2, 3], strides=[1, 2]), inputs, context=seed)


def test_resize_to_the_nearest():
    rng = np.random.default_rng(0)
    x = codes(rng, np.int8, 1, 2, 6, 5)
    modes = itertools.product(
        ("asymmetric", "half_pixel", "pytorch_half_pixel", "align_corners"),
        ("round_prefer_floor", "round_prefer_ceil", "floor", "ceil"))
    for transform, nearest in modes:
        one = node("Resize", 4, coordinate_transformation_mode=transform, nearest_mode=nearest)
        for factors in ((2, 2), (3, 1.7), (0.5, 0.6), (1, 2.3)):
            agree(one, [x, np.zeros(0, np.float32), np.array([1, 1, *factors], np.float32), None],
                  context=(transform, nearest, factors))
        for sizes in ((12, 10), (7, 3), (1, 1), (6, 5)):
            agree(one, [x, None, None, np.array([1, 2, *sizes])],
                  context=(transform, nearest, sizes))


def test_data_movement():
    rng = np.random.default_rng(0)
    x = codes(rng, np.uint8, 2, 6, 5, 4)
    agree(node("Split", 2, outputs=3, axis=1), [x, np.array([1, 2, 3])])
    agree(node("Split", 1, outputs=2, axis=-3), [x])
    agree(node("Split", 1, outputs=3, axis=1, split=[3, 2, 1]), [x], opset=11)
    agree(node("Split", 1, outputs=3, axis=1, num_outputs=3), [x[:, :5]], opset=18)
    agree(node("Concat", 2, axis=2), [x, x[:, :, 1:]])
    agree(node("Transpose", 1, perm=[0, 2, 3, 1]), [x])
    agree(node("Transpose", 1), [x])
    agree(node("Reshape", 2), [x, np.array([0, -1, 10])])
    agree(node("Flatten", 1, axis=-2), [x])
    agree(node("Flatten", 1, axis=0), [x])
    agree(node("Squeeze", 2), [x[:1, :, :1], np.array([0, -2])])
    agree(node("Squeeze", 1), [x[:1, :, :1]])
    agree(node("Squeeze", 1, axes=[2]), [x[:1, :, :1]], opset=11)
    agree(node("Unsqueeze", 2), [x, np.array([1, -1])])
    agree(node("Unsqueeze", 1, axes=[0]), [x], opset=11)
    agree(node("Pad", 3), [x, np.array([0, 0, 1, 2, 0, 0, 3, 0]), np.asarray(9, np.uint8)])
    agree(node("Pad", 2), [x, np.array([0, 1, -1, 2, 0, 0, 3, -2])])
    agree(node("Identity", 1), [x])


def test_slice_as_onnx_clamps_it():
    rng = np.random.default_rng(0)
    x = codes(rng, np.int8, 7, 9)
    for _ in range(60):
        starts, ends = rng.integers(-12, 13, 2), rng.integers(-12, 13, 2)
        steps = rng.choice([-3, -2, -1, 1, 2, 3], 2)
        agree(node("Slice", 5), [x, starts, ends, np.array([1, 0]), steps],
              context=(starts, ends, steps))
    agree(node("Slice", 3), [x, np.array([1]), np.array([1 << 40])])


def test_float_operators():
    rng = np.random.default_rng(0)
    x = rng.normal(0, 4, (2, 3, 50)).astype(np.float32)
    for op in ("Relu", "LeakyRelu", "Sigmoid", "HardSigmoid", "HardSwish", "Tanh", "Mish", "Elu",
               "Softplus"):
        agree(node(op, 1), [x], opset=18, context=op)
    agree(node("LeakyRelu", 1, alpha=0.3), [x])
    agree(node("Clip", 3), [x, scale(-1), scale(6)])
    agree(node("Clip", 3), [x, None, scale(6)])
    agree(node("Clip", 1, min=0.0, max=6.0), [x], opset=6)
    for op in ("Add", "Sub", "Mul", "Div"):
        agree(node(op, 2), [x, x[:, :1] + 3], context=op)
    agree(node("Cast", 1, to=1), [codes(rng, np.uint8, 30)])


@pytest.mark.parametrize("one, argument, rule", (
    (node("Resize", 2, mode="linear"), np.zeros(0, np.float32),
     "The mode must be 'nearest', the operator set at least 11. Found: mode 'linear', operator "
     + "set 13."),
    (node("MaxPool", 1, kernel_shape=[9, 9]), None,
     "The kernel must fit into the padded input. Found: kernel reach 9 in dimension 0, input 4, "
     + "padding 0 and 0."),
    (node("Pad", 2, mode="reflect"), np.zeros(8, np.int64),
     "The mode must be 'constant'. Found: 'reflect'."),
))
def test_refuses_what_it_does_not_compute(one, argument, rule):
    with pytest.raises(SimError) as error:
        evaluate_node(one, [np.zeros((1, 1, 4, 4), np.int8), argument], opset=13)
    assert str(error.value) == (f"node {one.name!r} ({one.op_type}) cannot be evaluated by the "
                                f"integer reference: {rule}")
