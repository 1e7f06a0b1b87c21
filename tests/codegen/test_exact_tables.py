"""Tables of unary operators; ONNX Runtime is the oracle."""

import numpy as np
import pytest
from onnx import helper

from codegen.exact.reference import all_codes, run_nodes, to_storage
from codegen.exact.tables import (
    TableError,
    compose,
    from_float_chain,
    identity,
    is_identity,
    leaky_relu,
    requantize_table,
    sigmoid,
)


def parameter_sets(count, seed):
    """(x_scale, x_zero_point, y_scale, y_zero_point, unsigned), every third full of ties."""
    rng = np.random.default_rng(seed)
    for i in range(count):
        low = 0 if i % 2 else -128
        xs = np.float32(2.0 ** rng.uniform(-8, 0))
        ys = np.float32(xs * 2.0 ** rng.uniform(-1.5, 1.5))
        if i % 3 == 0:
            xs, ys = (np.float32(2.0 ** -int(rng.integers(2, 6))) for _ in range(2))
        xz, yz = (int(rng.integers(low, low + 256)) for _ in range(2))
        yield float(xs), xz, float(ys), yz, bool(i % 2)


def onnx_constants(xs, xz, ys, yz, unsigned):
    dtype = np.uint8 if unsigned else np.int8
    return {"xs": np.float32(xs), "xz": dtype(xz), "ys": np.float32(ys), "yz": dtype(yz)}


def run_unary(op, p, **attributes):
    constants = onnx_constants(*p)
    node = helper.make_node(op, ["x", *constants], ["y"], domain="com.microsoft", **attributes)
    [y] = run_nodes([node], [{"x": all_codes(unsigned=p[4])}], "y", initializers=constants)
    return to_storage(y)


def test_codes_are_in_table_order():
    assert all_codes(unsigned=False)[[0, 127, 128, 255]].tolist() == [0, 127, -128, -1]
    assert all_codes(unsigned=True)[[0, 127, 128, 255]].tolist() == [128, 255, 0, 127]
    for unsigned in (False, True):
        assert np.array_equal(to_storage(all_codes(unsigned=unsigned)), identity())
    with pytest.raises(TypeError, match="codes must be int8 or uint8, not int64"):
        to_storage(np.arange(3))


def test_leaky_relu_equals_onnx_runtime():
    for i, p in enumerate(parameter_sets(60, 1)):
        alpha = [0.1, 0.01, 0.5, 0.25][i % 4]
        got = leaky_relu(alpha, *p[:4], unsigned_in=p[4], unsigned_out=p[4])
        assert got.dtype == np.int8
        assert np.array_equal(got, run_unary("QLinearLeakyRelu", p, alpha=alpha)), p


def test_sigmoid_equals_onnx_runtime():
    for p in parameter_sets(12, 2):
        got = sigmoid(*p[:4], unsigned=p[4])
        assert np.array_equal(got, run_unary("QLinearSigmoid", p)), p
        exact = 1 / (1 + np.exp((p[1] - all_codes(unsigned=p[4]).astype(float)) * p[0]))
        code = np.clip(np.rint(exact / p[2]) + p[3], *((0, 255) if p[4] else (-128, 127)))
        assert np.abs(got - (code - 128 * p[4])).max() <= 1


def test_requantize_table_equals_concat():
    for p in parameter_sets(60, 3):
        xs, xz, ys, yz, unsigned = p
        c = onnx_constants(*p)
        names = ["ys", "yz", "x", "xs", "xz"]
        node = helper.make_node("QLinearConcat", names, ["y"], domain="com.microsoft", axis=0)
        [y] = run_nodes([node], [{"x": all_codes(unsigned=unsigned)}], "y", initializers=c)
        got = requantize_table(xs, xz, ys, yz, unsigned_in=unsigned, unsigned_out=unsigned)
        assert np.array_equal(got, to_storage(y)), p


def test_requantize_table_may_change_the_type():
    for p in parameter_sets(20, 4):
        xs, xz, ys, yz, unsigned = p
        yz = yz - 128 if unsigned else yz + 128
        nodes, constants = chain(xs, xz, ys, yz, unsigned_in=unsigned, unsigned_out=not unsigned)
        got = requantize_table(xs, xz, ys, yz, unsigned_in=unsigned, unsigned_out=not unsigned)
        want = from_float_chain(nodes, constants, opset=13, unsigned_in=unsigned)
        assert np.array_equal(got, want), p


def test_same_scale_is_identity():
    for xs, xz, _, _, unsigned in parameter_sets(30, 5):
        table = requantize_table(xs, xz, xs, xz, unsigned_in=unsigned, unsigned_out=unsigned)
        assert is_identity(table)
    assert not is_identity(identity()[::-1])


def test_compose_applies_first_then_second():
    double = np.clip(identity().astype(int) * 2, -128, 127).astype(np.int8)
    negate = np.clip(-identity().astype(int), -128, 127).astype(np.int8)
    both = compose(double, negate)
    assert both.dtype == np.int8
    assert [int(both[x & 255]) for x in (-100, -1, 0, 5, 127)] == [127, 2, 0, -10, -127]
    assert is_identity(compose(identity(), identity()))


def chain(xs, xz, ys, yz, *middle, unsigned_in=False, unsigned_out=False):
    """Nodes and constants of DequantizeLinear, `middle` (from "f0"), QuantizeLinear."""
    constants = {
        "xs": np.float32(xs), "xz": (np.uint8 if unsigned_in else np.int8)(xz),
        "ys": np.float32(ys), "yz": (np.uint8 if unsigned_out else np.int8)(yz),
    }
    last = middle[-1].output[0] if middle else "f0"
    return [
        helper.make_node("DequantizeLinear", ["x", "xs", "xz"], ["f0"], name="dq"),
        *middle,
        helper.make_node("QuantizeLinear", [last, "ys", "yz"], ["y"], name="q"),
    ], constants


def test_float_chain_reads_leaky_relu():
    for p in parameter_sets(10, 6):
        node = helper.make_node("LeakyRelu", ["f0"], ["f1"], alpha=0.1)
        nodes, constants = chain(*p[:4], node, unsigned_in=p[4], unsigned_out=p[4])
        got = from_float_chain(nodes, constants, opset=13, unsigned_in=p[4])
        want = leaky_relu(0.1, *p[:4], unsigned_in=p[4], unsigned_out=p[4])
        assert np.array_equal(got, want), p


def test_float_chain_takes_several_nodes_and_shaped_constants():
    nodes, constants = chain(
        0.05, 3, 0.04, -10,
        helper.make_node("Add", ["f0", "three"], ["f1"]),
        helper.make_node("Clip", ["f1", "zero", "six"], ["f2"]),
        helper.make_node("Mul", ["f0", "f2"], ["f3"]),
        helper.make_node("Div", ["f3", "six"], ["f4"]),
    )
    f = np.float32
    constants |= {"three": np.full((1, 1, 1, 1), 3, f), "zero": f(0), "six": f([6])}
    got = from_float_chain(nodes, constants, opset=13, unsigned_in=False)
    x = (identity().astype(int) - 3).astype(f) * f(0.05)
    y = x * np.clip(x + f(3), f(0), f(6)) / f(6)
    want = np.clip(np.rint(y / f(0.04)) - 10, -128, 127)
    assert np.array_equal(got, want)


@pytest.mark.parametrize("op", ["Sigmoid", "Tanh", "HardSigmoid", "Elu", "Exp", "Softplus", "Erf"])
def test_float_chain_reads_transcendental_functions(op):
    node = helper.make_node(op, ["f0"], ["f1"])
    nodes, constants = chain(0.03, 0, 0.01, 0, node)
    table = from_float_chain(nodes, constants, opset=13, unsigned_in=False)
    assert table.dtype == np.int8
    assert np.all(np.diff(table[identity().argsort()].astype(int)) >= 0)


def test_float_chain_refuses_what_is_no_table():
    softmax = helper.make_node("Softmax", ["f0"], ["f1"], name="head/softmax")
    nodes, constants = chain(0.1, 0, 0.1, 0, softmax)
    with pytest.raises(TableError) as error:
        from_float_chain(nodes, constants, opset=13, unsigned_in=False)
    assert str(error.value) == (
        "operator of node 'head/softmax' must be elementwise, not 'Softmax'"
    )
    nodes, constants = chain(0.1, 0, 0.1, 0, helper.make_node("Mul", ["f0", "v"], ["f1"]))
    with pytest.raises(TableError) as error:
        from_float_chain(nodes, constants, opset=13, unsigned_in=False)
    assert str(error.value) == (
        "inputs of node 'f1' must be constants or results of its chain, not 'v'"
    )
    constants["v"] = np.ones(4, np.float32)
    with pytest.raises(TableError) as error:
        from_float_chain(nodes, constants, opset=13, unsigned_in=False)
    assert str(error.value) == "constant 'v' of node 'f1' must have one element, not shape (4,)"
    with pytest.raises(ValueError, match="must begin with DequantizeLinear"):
        from_float_chain(nodes[1:], constants, opset=13, unsigned_in=False)


def test_float_chain_notices_position_dependence(monkeypatch):
    nodes, constants = chain(0.1, 0, 0.1, 0)

    def runs(nodes, feeds, output, **_):
        together, *alone = run_nodes(nodes, feeds, output, **_)
        together[5] += 1
        return [together, *alone]

    monkeypatch.setattr("codegen.exact.tables.run_nodes", runs)
    with pytest.raises(TableError) as error:
        from_float_chain(nodes, constants, opset=13, unsigned_in=False)
    assert str(error.value) == (
        "result of node 'q' must not depend on the position of an element, not be 6 or 5 for code 5"
    )
