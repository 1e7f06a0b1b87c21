"""codegen.quantize.prepare: float models become ready for calibration, or are refused by name."""

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import helper, numpy_helper

from codegen.errors import ModelFileError
from codegen.quantize.prepare import prepare
from tests.builds import zoo_model

FLOAT = onnx.TensorProto.FLOAT


def write(path: Path, *, opset: int = 13, shape: tuple = (1, 3, 8, 8), element: int = FLOAT,
          inputs: int = 1, old: bool = False, metadata: dict[str, str] | None = None) -> Path:
    """Conv, BatchNormalization, MaxPool; `old`: constants are inputs as well."""
    rng = np.random.default_rng(0)
    values = {"w": rng.normal(0, 0.3, (4, 3, 3, 3)), **{
        name: rng.uniform(0.5, 1.5, 4) for name in ("b", "scale", "shift", "mean", "variance")}}
    constants = [numpy_helper.from_array(value.astype(np.float32), name)
                 for name, value in values.items()]
    nodes = [
        helper.make_node("Conv", ["x", "w", "b"], ["c"], "conv", pads=[1] * 4),
        helper.make_node("BatchNormalization", ["c", "scale", "shift", "mean", "variance"], ["n"],
                         "normalize"),
        helper.make_node("MaxPool", ["n"], ["y"], "pool", kernel_shape=[2, 2], strides=[2, 2])]
    sources = [helper.make_tensor_value_info(f"x{n or ''}", element, shape) for n in range(inputs)]
    if old:
        sources += [helper.make_tensor_value_info(t.name, FLOAT, t.dims) for t in constants]
    graph = helper.make_graph(nodes, "g", sources, [
        helper.make_tensor_value_info("y", FLOAT, [1, 4, 4, 4])], constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=7)
    helper.set_model_props(model, metadata or {})
    onnx.save(model, path)
    return path


@pytest.mark.parametrize("opset", [10, 11, 13, 17])
@pytest.mark.parametrize("old", [False, True])
def test_batch_normalization_is_folded_and_the_opset_raised(tmp_path: Path, opset: int,
                                                            old: bool) -> None:
    path = write(tmp_path / "float.onnx", opset=opset, old=old, metadata={"b": "1", "a": "2"})
    model = prepare(path)
    assert [node.op_type for node in model.proto.graph.node] == ["Conv", "MaxPool"]
    assert [(e.domain, e.version) for e in model.proto.opset_import] == [("", max(opset, 13))]
    assert (model.input, model.shape, model.fit) == ("x", (1, 3, 8, 8), "letterbox")
    assert [(p.key, p.value) for p in model.proto.metadata_props] == [("b", "1"), ("a", "2")]
    x = np.random.default_rng(1).random((1, 3, 8, 8), np.float32)
    results = [onnxruntime.InferenceSession(content).run(None, {"x": x})[0]
               for content in (path.read_bytes(), model.proto.SerializeToString())]
    assert np.abs(results[0] - results[1]).max() < 1e-5


def test_the_metadata_say_how_a_picture_fills_the_input(tmp_path: Path) -> None:
    path = tmp_path / "float.onnx"
    for text, fit in (('{"heads": [], "fit": "stretch"}', "stretch"), ("{}", "letterbox")):
        assert prepare(write(path, metadata={"macrame.heads": text})).fit == fit


FIX = ("must have a fixed shape of [1, 3, H, W] or [1, 1, H, W], not {}; to fix the size: python "
       "-m onnxruntime.tools.make_dynamic_shape_fixed --input_name x --input_shape 1,3,416,416 "
       "float.onnx FIXED.onnx")


@pytest.mark.parametrize(("options", "message"), [
    ({"shape": ("N", 3, 8, 8)}, "input 'x' " + FIX.format(["N", 3, 8, 8])),
    ({"shape": (1, 8, 8, 3)}, "input 'x' " + FIX.format([1, 8, 8, 3])),
    ({"shape": (2, 3, 8, 8)}, "input 'x' " + FIX.format([2, 3, 8, 8])),
    ({"shape": (1, 3, 8)}, "input 'x' " + FIX.format([1, 3, 8])),
    ({"element": onnx.TensorProto.UINT8}, "must have one input, of float32, not 'x' of uint8"),
    ({"inputs": 2}, "must have one input, of float32, not 'x' of float32, 'x1' of float32"),
    ({"metadata": {"macrame.heads": "[]"}},
     "metadata 'macrame.heads' must be a JSON object, not '[]'"),
    ({"metadata": {"macrame.heads": '{"fit": "crop"}'}},
     "metadata 'macrame.heads' must have \"letterbox\" or \"stretch\" as \"fit\", not 'crop'"),
])
def test_refuses_models_by_name(tmp_path: Path, options: dict, message: str) -> None:
    path = write(tmp_path / "float.onnx", **options)
    with pytest.raises(ModelFileError) as caught:
        prepare(path)
    assert str(caught.value) == f"model file {str(path)!r}: {message}"


def test_refuses_what_onnx_runtime_cannot_run(tmp_path: Path) -> None:
    path = write(tmp_path / "float.onnx")
    model = onnx.load(path)
    model.graph.node[2].domain = "my.own"
    model.opset_import.append(helper.make_opsetid("my.own", 1))
    onnx.save(model, path)
    with pytest.raises(ModelFileError, match="^model file '.*': ONNX Runtime cannot run it: "):
        prepare(path)
    path.write_text("no model")
    with pytest.raises(ModelFileError, match="^model file '.*float.onnx': not an ONNX model"):
        prepare(path)


def test_refuses_quantized_models() -> None:
    path = zoo_model("yolov4-tiny-eighth-64")
    with pytest.raises(ModelFileError) as caught:
        prepare(path)
    assert str(caught.value) == (
        f"model file {str(path)!r}: must be a float model, but its node 'images_QuantizeLinear' is "
        "QuantizeLinear: it is quantized already. `python -m codegen build` takes it as it is")
