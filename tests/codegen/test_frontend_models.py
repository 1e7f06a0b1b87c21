"""Foreign models and ONNX's own node tests, compared with ONNX Runtime and with stored outputs."""

from pathlib import Path

import numpy as np
import onnx
import pytest

from codegen.errors import UnsupportedModelError
from codegen.frontend.importer import import_model, node_mapping
from sim.golden import Golden
from sim.model import Machine
from sim.verify import run
from tests import onnx_nodes as n
from tests.builds import build_folder
from tests.codegen.frontend_check import compare, imported
from tests.data import data
from tests.ir_eval import evaluate

_SMALL = {"qop/ece_v2_int8": 599_052, "qop/mbv2_cifar10_int8": 877_598}
_LARGE = {
    "yolov4-tiny-voc/yolov4-tiny-416_int8_qop": 18_991_206,
    "yolov4-tiny-voc/yolov4-tiny-416_int8_qop_perchannel": 18_991_206,
    "yolov4-tiny-voc/yolov4-tiny-416_int8_qop_u8act": 18_991_206,
    "yolov4-tiny-aix2023/yolov4-tiny-aix2023_int8_qop": 6_375_296,
    "yolov4-tiny-aix2023/yolov4-tiny-aix2023_int8_qop_perchannel": 6_375_296,
    "yolov4-tiny-aix2023/yolov4-tiny-aix2023_int8_qop_slice": 6_260_608,
    "yolo-fastest-1.1-coco/yolo-fastest-1.1_int8_qop": 12_995_800,
}


@pytest.mark.parametrize("name, elements", [
    *_SMALL.items(), *(pytest.param(*item, marks=pytest.mark.e2e) for item in _LARGE.items())])
def test_every_tensor_equals_onnx_runtime(name: str, elements: int) -> None:
    path = data(f"models/{name}.onnx")
    graph, golden = import_model(path), Golden(path)
    assert all(row.becomes and row.refusal is None for row in node_mapping(path))
    rng = np.random.default_rng(1)
    for feeds in ({item.name: rng.random([int(size or 0) for size in item.shape], np.float32)
                   for item in golden.inputs} for _ in range(1)):
        assert compare(graph, golden, feeds) == elements


def test_float_model_is_refused() -> None:
    path = data("models/yolov4-tiny-aix2023/yolov4-tiny-aix2023_float.onnx")
    with pytest.raises(UnsupportedModelError) as caught:
        import_model(path)
    assert str(caught.value) == (
        "node 'conv0' (Conv) cannot run on the array\n"
        "  rule:  The model must be quantized, with QLinearConv and other QLinear operators "
        "(QOperator form).\n"
        "  found: a float model: none of its 50 nodes is quantized\n"
        "  hint:  Quantize it: onnxruntime.quantization.quantize_static(..., "
        "quant_format=QuantFormat.QOperator).")


_REFUSED = {
    "test_convinteger_without_padding": "The operator must be in the table of supported operators.",
    "test_matmulinteger": "The operator must be in the table of supported operators.",
    "test_dequantizelinear_axis": "Activations must have one scale and one zero point; only "
                                  "weights can have more.",
    "test_quantizelinear_axis": "Activations must have one scale and one zero point; only weights "
                                "can have more.",
    "test_qlinearmatmul_3D_int8_float32": "Weights must be constant, int8 or uint8, "
                                          "[OC, IC, KH, KW], or a matrix in matrix products.",
    "test_qlinearmatmul_3D_uint8_float32": "Weights must be constant, int8 or uint8, "
                                           "[OC, IC, KH, KW], or a matrix in matrix products.",
}
_ACCEPTED = ("test_dequantizelinear", "test_qlinearconv", "test_qlinearmatmul_2D_int8_float32",
             "test_qlinearmatmul_2D_uint8_float32", "test_quantizelinear")


def _node_test(name: str) -> tuple[onnx.ModelProto, n.Array, n.Array]:
    """Return a node test with all inputs but the first as constants, that input, and the output."""
    folder = data(f"node_tests/onnx/{name}")
    proto = onnx.load(folder / "model.onnx")

    def read(path: Path) -> n.Array:
        return onnx.numpy_helper.to_array(onnx.TensorProto.FromString(path.read_bytes()))

    values = {item.name: read(folder / "test_data_set_0" / f"input_{i}.pb")
              for i, item in enumerate(proto.graph.input)}
    first = str(proto.graph.input[0].name)
    x = values.pop(first)
    return n.bind(proto, values), x, read(folder / "test_data_set_0" / "output_0.pb")


@pytest.mark.parametrize("name", _ACCEPTED)
def test_node_test_gives_the_stored_output(name: str, tmp_path: Path) -> None:
    proto, x, want = _node_test(name)
    graph = imported(proto, tmp_path)
    got = evaluate(graph, {graph.inputs[0].name: x})[graph.outputs[0].name]
    assert got.dtype == want.dtype
    np.testing.assert_array_equal(got, want)


@pytest.mark.parametrize("name", _ACCEPTED)
def test_node_test_gives_the_stored_output_on_the_array(name: str, tmp_path: Path) -> None:
    proto, x, want = _node_test(name)
    onnx.save(proto, tmp_path / "m.onnx")
    build = build_folder(tmp_path / "m.onnx", tmp_path / "b", "test-4x8")
    machine = Machine(build.image)
    got = run(build, machine, {build.manifest["inputs"][0]["name"]: x})
    np.testing.assert_array_equal(got[build.manifest["outputs"][0]["name"]], want)


@pytest.mark.parametrize("name", _REFUSED)
def test_node_test_is_refused_with_a_rule(name: str, tmp_path: Path) -> None:
    proto, _, _ = _node_test(name)
    with pytest.raises(UnsupportedModelError) as caught:
        imported(proto, tmp_path)
    assert caught.value.rule == _REFUSED[name]


def test_every_node_test_is_listed_here() -> None:
    folder = data("node_tests/onnx")
    assert sorted((*_REFUSED, *_ACCEPTED)) == sorted(path.name for path in folder.iterdir())
