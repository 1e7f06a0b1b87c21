"""sim.golden: every tensor of a graph by name."""

import numpy as np
import onnx
import pytest

from sim.errors import SimError
from sim.golden import Golden, Input, read_model

FLOAT, INT8 = onnx.TensorProto.FLOAT, onnx.TensorProto.INT8


def example(*, weights: str = "initializer") -> onnx.ModelProto:
    """Make a chain: quantize x, com.microsoft leaky relu, split in two, dequantize one.

    ``weights``: whether the scale is an initializer, that and a graph input, or an input alone.
    """
    helper = onnx.helper
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "s", "z"], ["q"], "quantize"),
        helper.make_node("QLinearLeakyRelu", ["q", "s", "z", "s", "z"], ["r"],
                         domain="com.microsoft", alpha=0.1),
        helper.make_node("Split", ["r"], ["left", "right"], axis=1),
        helper.make_node("DequantizeLinear", ["left", "s", "z"], ["y"]),
    ]
    inputs = [helper.make_tensor_value_info("x", FLOAT, ["batch", 4])]
    initializers = [onnx.numpy_helper.from_array(np.int8(3), "z")]
    if weights != "initializer":
        inputs.append(helper.make_tensor_value_info("s", FLOAT, []))
    if weights != "input":
        initializers.append(onnx.numpy_helper.from_array(np.float32(0.5), "s"))
    graph = helper.make_graph(nodes, "example", inputs,
                              [helper.make_tensor_value_info("y", FLOAT, None)], initializers)
    return helper.make_model(graph, ir_version=8, opset_imports=[
        helper.make_opsetid("", 13), helper.make_opsetid("com.microsoft", 1)])


X = np.array([[-4, -1, 0, 2]], np.float32)


@pytest.mark.parametrize("weights", ("initializer", "both", "input"))
def test_returns_all_tensors_in_node_order(weights):
    golden = Golden(example(weights=weights))
    feeds = {"x": X}
    if weights == "input":
        feeds["s"] = np.asarray(0.5, np.float32)
    tensors = golden.run(feeds)
    assert [item.name for item in golden.inputs] == list(feeds)
    assert list(tensors) == [*feeds, "q", "r", "left", "right", "y"]
    assert tensors["q"].tolist() == [[-5, 1, 3, 7]]
    assert tensors["q"].dtype == np.int8
    assert tensors["r"].tolist() == [[2, 3, 3, 7]]
    assert tensors["right"].tolist() == [[3, 7]]
    assert tensors["y"].tolist() == [[-0.5, 0]]


def test_keeps_the_given_model():
    model = example()
    before = model.SerializeToString()
    golden = Golden(model)
    assert model.SerializeToString() == before
    assert golden.inputs == (Input("x", np.dtype(np.float32), (None, 4)),)


def test_reads_files(tmp_path):
    path = tmp_path / "model.onnx"
    path.write_bytes(example().SerializeToString())
    assert Golden(path).run({"x": X})["y"].tolist() == [[-0.5, 0]]
    assert read_model(str(path)).graph.name == "example"


@pytest.mark.parametrize("feeds, message", (
    ({}, "model 'example' must be fed exactly its inputs ['x'], not []."),
    ({"x": X, "s": X}, "model 'example' must be fed exactly its inputs ['x'], not ['s', 'x']."),
    ({"x": X.astype(np.float64)},
     "input 'x' of model 'example' must be float32[?, 4], not float64[1, 4]."),
    ({"x": X[:, :3]}, "input 'x' of model 'example' must be float32[?, 4], not float32[1, 3]."),
))
def test_refuses_wrong_feeds(feeds, message):
    with pytest.raises(SimError) as error:
        Golden(example()).run(feeds)
    assert str(error.value) == message


def test_refuses_a_missing_file(tmp_path):
    with pytest.raises(SimError) as error:
        Golden(tmp_path / "none.onnx")
    assert str(error.value) == (f"model file {str(tmp_path / 'none.onnx')!r} must be readable: No "
                                "such file or directory.")


def test_refuses_files_that_are_not_models(tmp_path):
    whole = example().SerializeToString()
    for name, content in (("empty", b""), ("text", b"no model"), ("cut", whole[:-30])):
        path = tmp_path / f"{name}.onnx"
        path.write_bytes(content)
        with pytest.raises(SimError, match=rf"^file '.*{name}\.onnx' must be an ONNX model.*Is it "
                                           r"complete\?$"):
            Golden(path)


def test_refuses_what_onnx_runtime_refuses():
    model = example()
    model.graph.node[1].op_type = "NoSuchOperator"
    with pytest.raises(SimError, match="^model 'example' must be a model that ONNX Runtime can "
                                       "run; it says: .*NoSuchOperator"):
        Golden(model)
