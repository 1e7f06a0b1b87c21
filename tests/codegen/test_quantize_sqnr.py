"""codegen.quantize: which codes belong to which tensor, and what they lose."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from codegen.__main__ import main
from codegen.frontend.importer import import_model
from codegen.quantize.codes import Coded, coded_tensors
from codegen.quantize.images import PictureSet, picture_files
from codegen.quantize.prepare import FloatModel, prepare
from codegen.quantize.ranges import measure
from codegen.quantize.sqnr import compare
from codegen.quantize.static import Variant, quantize
from codegen.quantize.taps import Taps
from tests.darknet import EVERYTHING, write_network, write_pictures


def silent(*_: object) -> None:
    pass


@pytest.fixture(scope="module", params=[False, True], ids=["s8", "u8-per-channel"])
def models(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory,
           ) -> tuple[FloatModel, onnx.ModelProto, list[np.ndarray]]:
    """A network with every operator: float, quantized, and two inputs."""
    folder = tmp_path_factory.mktemp("sqnr")
    cfg, weights = write_network(folder, EVERYTHING)
    assert main(["darknet", str(cfg), str(weights), "-o", str(folder / "float.onnx")]) == 0
    model = prepare(folder / "float.onnx")
    files = picture_files(write_pictures(folder / "pictures", 2))
    pictures = PictureSet(files, model.shape, "letterbox")
    variant = Variant(unsigned_activations=request.param, per_channel=request.param)
    quantized = quantize(model.proto, measure(model, pictures, "minmax", silent), variant=variant)
    return model, quantized, list(pictures.inputs())


def test_codes_have_the_scales_that_the_front_end_finds(
        models: tuple[FloatModel, onnx.ModelProto, list], tmp_path: Path) -> None:
    model, quantized, _ = models
    onnx.save(quantized, tmp_path / "model.onnx")
    tensors = {t.name: t for t in import_model(tmp_path / "model.onnx").tensors.values()}
    codes = coded_tensors(model.proto, quantized)
    assert {"conv_0", "mish_0", "maxpool_1", "relu_3", "shortcut_5", "route_6", "upsample_10",
            "conv_13"} <= codes.keys()
    assert "conv_3" not in codes  # its Relu is the quantization
    compared = 0
    for name, coded in codes.items():
        found = tensors.get(coded.name)
        if found is not None and found.scale is not None:
            assert coded.scale == found.scale, name
            assert coded.zero_point - 128 * found.unsigned == found.zero_point, name
            assert coded.first == -128 * (not found.unsigned), name
            compared += 1
    assert compared > 12


def test_noise_is_what_is_measured_node_by_node(
        models: tuple[FloatModel, onnx.ModelProto, list]) -> None:
    model, quantized, inputs = models
    codes = coded_tensors(model.proto, quantized)
    rows = {row.name: row for row in compare(model, quantized, inputs, silent)}
    assert list(rows) == list(codes)
    floats = Taps(model.proto, list(codes))
    integers = Taps(quantized, [coded.name for coded in codes.values()])
    runs = [(floats.run(x), integers.run(x)) for x in inputs]
    for name, coded in codes.items():
        signal = np.concatenate([run[0][name].ravel() for run in runs]).astype(np.float64)
        found = np.concatenate([run[1][coded.name].ravel() for run in runs]).astype(np.float64)
        noise = signal - coded.scale * (found - coded.zero_point)
        expected = 10 * np.log10((signal @ signal) / (noise @ noise))
        assert rows[name].sqnr == pytest.approx(expected, abs=1e-6)
        assert 20 < rows[name].sqnr < 70
        assert rows[name].low <= signal.min() + coded.scale
        assert rows[name].high >= signal.max() - coded.scale


def test_the_first_layer_alone_loses_what_it_loses_in_the_network(
        models: tuple[FloatModel, onnx.ModelProto, list]) -> None:
    """Its input is exact there too, and later layers have inputs that are not."""
    rows = {row.name: row for row in compare(*models, silent)}
    assert rows["conv_0"].alone == pytest.approx(rows["conv_0"].sqnr, abs=0.1)
    later = [row for row in rows.values() if row.alone is not None and row.name != "conv_0"]
    assert all(row.alone > row.sqnr for row in later)
    moved = {row.name for row in rows.values() if row.alone is None}
    assert moved == {"maxpool_1", "route_6_input0", "route_6_input1", "maxpool_7", "maxpool_8",
                     "upsample_10", "route_12"}


def test_the_layer_alone_shows_what_its_weights_lose() -> None:
    """A weight a hundred times larger than another leaves that one in two codes."""
    weight = np.array([[100, 0, 0], [0, 1.3, 0]], np.float32).reshape(2, 3, 1, 1)
    x, y = (helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [1, channels, 8, 8])
            for name, channels in (("x", 3), ("y", 2)))
    node = helper.make_node("Conv", ["x", "w"], ["y"], "conv")
    graph = helper.make_graph([node], "g", [x], [y], [numpy_helper.from_array(weight, "w")])
    proto = helper.make_model(graph, ir_version=8, opset_imports=[helper.make_opsetid("", 13)])
    model = FloatModel(proto=proto, input="x", shape=(1, 3, 8, 8), fit="letterbox")
    pixels = np.random.default_rng(0).random((1, 3, 8, 8), np.float32)
    pixels[0, 0] = 0
    alone = []
    for per_channel in (False, True):
        quantized = quantize(proto, {"x": (0.0, 1.0), "y": (0.0, 2.0)},
                             variant=Variant(per_channel=per_channel))
        [row] = compare(model, quantized, [pixels], silent)
        alone.append(row.alone)
    assert alone[0] == pytest.approx(-20 * np.log10(2 * 100 / 127 / 1.3 - 1), abs=0.1)
    assert alone[1] > 45


def test_rounding_clips_at_both_ends() -> None:
    coded = Coded(name="x", scale=0.5, zero_point=-100, first=-128)
    assert (coded.low, coded.high) == (-14.0, 113.5)
    assert coded.rounded(np.array([-20, -0.26, 0.24, 1, 200.0])).tolist() == [
        -14, -0.5, 0, 1, 113.5]
    assert coded.values(np.array([-128, -100, 127], np.int8)).tolist() == [-14, 0, 113.5]
