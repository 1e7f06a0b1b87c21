"""codegen.quantize.ranges: the ranges are right, and memory does not grow with the pictures."""

import weakref
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper
from onnxruntime.quantization.calibrate import MinMaxCalibrater
from PIL import Image

from codegen.__main__ import main
from codegen.errors import QuantizeError
from codegen.quantize.images import PictureSet, picture_files
from codegen.quantize.prepare import FloatModel, prepare
from codegen.quantize.ranges import METHODS, measure
from codegen.quantize.taps import Taps, float_tensors
from tests.darknet import write_network, write_pictures


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With float.onnx and 6 pictures."""
    folder = tmp_path_factory.mktemp("ranges")
    cfg, weights = write_network(folder)
    assert main(["darknet", str(cfg), str(weights), "-o", str(folder / "float.onnx")]) == 0
    write_pictures(folder / "pictures", 6)
    return folder


@pytest.fixture(scope="module")
def model(folder: Path) -> FloatModel:
    return prepare(folder / "float.onnx")


def pictures(folder: Path, model: FloatModel) -> PictureSet:
    return PictureSet(picture_files(folder / "pictures"), model.shape, "letterbox")


def silent(stage: str, done: int, total: int) -> None:
    assert 0 <= done <= total and stage


def test_minmax_finds_what_onnx_runtime_finds(folder: Path, model: FloatModel) -> None:
    inputs = iter([{model.input: x} for x in pictures(folder, model).inputs()])

    class Reader:
        def get_next(self) -> dict | None:
            return next(inputs, None)

    reference = MinMaxCalibrater(folder / "float.onnx",
                                 augmented_model_path=str(folder / "augmented.onnx"))
    reference.augment_graph()
    reference.create_inference_session()
    reference.collect_data(Reader())
    expected = {name: tuple(end.item() for end in value.range_value)
                for name, value in reference.compute_data().items() if name != model.input}
    found = measure(model, pictures(folder, model), "minmax", silent)
    assert found.pop(model.input) == (0.0, 1.0)
    assert found == expected


def test_percentile_leaves_one_value_in_100000_out(folder: Path, model: FloatModel) -> None:
    own = pictures(folder, model)
    found = measure(model, own, "percentile", silent)
    taps = Taps(model.proto, float_tensors(model.proto))
    runs = [taps.run(x) for x in own.inputs()]
    assert found["conv_3"] == measure(model, own, "minmax", silent)["conv_3"]  # the output
    for name in taps.names[:-1]:
        values = np.abs(np.concatenate([tensors[name].ravel() for tensors in runs]))
        end = max(-found[name][0], found[name][1])
        step = values.max() / 2048
        assert abs(end - np.quantile(values, 0.99999, method="higher")) <= 2 * step, name


def test_a_cut_range_is_inside_the_whole_one(folder: Path, model: FloatModel) -> None:
    whole = measure(model, pictures(folder, model), "minmax", silent)
    cut = measure(model, pictures(folder, model), "percentile", silent)
    assert cut.keys() == whole.keys() and cut != whole
    assert cut[model.input] == (0.0, 1.0)
    for name, (low, high) in cut.items():
        assert whole[name][0] <= low <= 0 <= high <= whole[name][1], name


def test_entropy_cuts_a_single_value_far_outside(tmp_path: Path) -> None:
    """Percentile keeps it, for it is one of less than 100,000."""
    nodes = [helper.make_node("LeakyRelu", ["x"], ["y"], "act", alpha=0.5),
             helper.make_node("LeakyRelu", ["y"], ["z"], "again", alpha=0.5)]
    x, z = (helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [1, 3, 32, 32])
            for name in "xz")
    onnx.save(helper.make_model(helper.make_graph(nodes, "g", [x], [z]), ir_version=8,
                                opset_imports=[helper.make_opsetid("", 13)]),
              tmp_path / "float.onnx")
    pixels = np.random.default_rng(0).integers(0, 52, (32, 32, 3)).astype(np.uint8)
    pixels[5, 6, 1] = 255
    Image.fromarray(pixels).save(tmp_path / "a.png")
    model = prepare(tmp_path / "float.onnx")
    found = {method: measure(model, PictureSet(picture_files(tmp_path), model.shape, "letterbox"),
                             method, silent)["y"] for method in METHODS}
    assert found["minmax"] == (0, 1)
    assert found["percentile"] == pytest.approx((0, 1), abs=1 / 2048)
    assert found["entropy"][0] == 0 and 0.2 < found["entropy"][1] < 0.6


@pytest.mark.parametrize("method", ["minmax", "percentile"])
def test_no_more_than_two_pictures_are_in_memory(folder: Path, model: FloatModel, method: str,
                                                 monkeypatch: pytest.MonkeyPatch) -> None:
    alive: weakref.WeakValueDictionary[int, np.ndarray] = weakref.WeakValueDictionary()
    most, runs, run = 0, 0, Taps.run

    def counted(self: Taps, x: np.ndarray) -> dict[str, np.ndarray]:
        nonlocal most, runs
        tensors = run(self, x)
        runs += 1
        for n, value in enumerate(tensors.values()):
            alive[1000 * runs + n] = value
        most = max(most, len(alive))
        return tensors

    monkeypatch.setattr(Taps, "run", counted)
    measure(model, pictures(folder, model), method, silent)  # type: ignore[arg-type]
    tensors = len(float_tensors(model.proto))
    assert runs == (6 if method == "minmax" else 12)
    assert most <= 2 * tensors


def test_unreadable_pictures_are_left_out_but_not_all(folder: Path, model: FloatModel,
                                                      tmp_path: Path) -> None:
    for name in "ab":
        (tmp_path / f"{name}.jpg").write_text("no picture")
    own = PictureSet(picture_files(tmp_path), model.shape, "letterbox")
    with pytest.raises(QuantizeError) as caught:
        measure(model, own, "minmax", silent)
    assert str(caught.value).startswith(
        "at least one of the 2 pictures must be readable, but none is. The first: picture "
        f"'{tmp_path}/a.jpg' must be a complete file of type")
    write_pictures(tmp_path, 6)
    own = PictureSet(picture_files(tmp_path), model.shape, "letterbox")
    assert measure(model, own, "percentile", silent) == measure(
        model, pictures(folder, model), "percentile", silent)
    assert len(own.unreadable) == 2


def test_refuses_a_network_that_leaves_the_finite_numbers(folder: Path, model: FloatModel) -> None:
    proto = onnx.ModelProto()
    proto.CopyFrom(model.proto)
    bias = next(t for t in proto.graph.initializer if t.name == "conv_2.bias")
    bias.raw_data = np.full(12, np.inf, np.float32).tobytes()
    broken = FloatModel(proto=proto, input=model.input, shape=model.shape, fit="letterbox")
    with pytest.raises(QuantizeError) as caught:
        measure(broken, pictures(folder, model), "minmax", silent)
    assert str(caught.value) == ("tensor 'conv_2' must be finite for every picture, but reaches "
                                 "from inf to inf. Are pixels in 0..1 what the model expects?")


def test_refuses_a_network_that_onnx_runtime_cannot_run(folder: Path, model: FloatModel) -> None:
    wrong = FloatModel(proto=model.proto, input=model.input, shape=(1, 1, 32, 32), fit="stretch")
    with pytest.raises(QuantizeError, match="^ONNX Runtime cannot run the model: .*images"):
        measure(wrong, pictures(folder, wrong), "minmax", silent)


@pytest.mark.parametrize("bias", [0.0, 1e-45])
def test_a_tensor_that_is_all_but_zero_keeps_its_range(folder: Path, model: FloatModel,
                                                       bias: float) -> None:
    proto = onnx.ModelProto()
    proto.CopyFrom(model.proto)
    for tensor in proto.graph.initializer:
        if tensor.name.startswith("conv_2."):
            tensor.raw_data = bytes(len(tensor.raw_data))
        if tensor.name == "conv_2.bias":
            tensor.raw_data = np.full(12, bias, np.float32).tobytes()
    dead = FloatModel(proto=proto, input=model.input, shape=model.shape, fit="letterbox")
    for method in ("minmax", "percentile"):
        found = measure(dead, pictures(folder, model), method, silent)  # type: ignore[arg-type]
        assert found["conv_2"] == (np.float32(bias), np.float32(bias))
