"""The zoo: scenes, architecture, liveness of activations, and reproducible files."""

import hashlib
import json
import logging
import os
import subprocess
import sys
from collections import Counter
from fractions import Fraction
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
import pytest
from onnx import helper, numpy_helper

from codegen.errors import CodegenError
from codegen.zoo.architecture import Architecture, Kind, float_model, layers
from codegen.zoo.calibrate import calibrate
from codegen.zoo.draws import Draws
from codegen.zoo.models import DEFAULT, NAMES, build
from codegen.zoo.quantize import OPERATORS
from codegen.zoo.scenes import Shape, scene, scene_with_boxes
from hw.spec.heads import METADATA_KEY, parse_heads
from sim.pictures.fit import network_input

SMALL = "yolov4-tiny-eighth-64"

# Made on an AMD EPYC (Zen 5). If a change of the package changes one, raise models._VERSION too.
SHA256 = {
    SMALL: "412a4f8d9e6e50480489be6e513f6df2184b50ec75c5af0cea8e71f5ea28ed15",
    f"{SMALL}-perchannel": "f247891102efcbfb60698eee429c6a172274e9a1e639938d664a783747bfff92",
    f"{SMALL}-u8act": "33ee37fce7c879aa05213a5634efeee4869d83b715272eab5b8449cea76d72d4",
    f"{SMALL}-u8u8": "a1e7d38155be5a87c071b18240c3186de5a2b1edd318a2dacbb408c999cf68ca",
}


@pytest.fixture(scope="session")
def zoo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("zoo")


def run(model: onnx.ModelProto, pictures: list[npt.NDArray[np.uint8]],
        ) -> list[npt.NDArray[np.generic]]:
    """Run pictures one by one; each output is [number of pictures, C, H, W]."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(model.SerializeToString(), options)
    results = [session.run(None, {"images": network_input(p.transpose(2, 0, 1))}) for p in pictures]
    return [np.concatenate(of_output) for of_output in zip(*results)]


def expose(model: onnx.ModelProto, tensors: dict[str, int]) -> onnx.ModelProto:
    """Copy a model with the given tensors, name to element type, as its outputs."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    copy.graph.ClearField("output")
    copy.graph.output.extend(helper.make_tensor_value_info(name, element, None)
                             for name, element in tensors.items())
    return copy


def check_liveness(path: Path, pictures: list[npt.NDArray[np.uint8]]) -> None:
    """At least 95 % of the channels of each conv take over 8 codes, and under 0.5 % saturate."""
    model = onnx.load(path)
    types = {t.name: t.data_type for t in model.graph.initializer}
    convs = {n.output[0]: types[n.input[7]] for n in model.graph.node
             if n.op_type == "QLinearConv"}
    assert len(convs) == 21
    for name, codes in zip(convs, run(expose(model, convs), pictures)):
        channels = np.moveaxis(codes, 1, 0).reshape(codes.shape[1], -1)
        distinct = np.array([np.unique(channel).size for channel in channels])
        assert np.mean(distinct > 8) >= 0.95, f"{name}: distinct codes {sorted(distinct)}"
        limits = np.iinfo(codes.dtype)
        saturated = np.mean((channels == limits.min) | (channels == limits.max))
        assert saturated < 0.005, f"{name}: {saturated:.4f} of the codes saturate"


def test_draws_have_the_promised_range_and_deviation() -> None:
    draws = Draws(3, 4)
    bell = draws.bell(100, 1000)
    assert bell.min() >= -510 and bell.max() <= 510
    assert abs(bell.mean()) < 2 and abs(bell.std() - 147.8) < 2
    assert {draws.integer(-1, 1) for _ in range(100)} == {-1, 0, 1}


def test_a_scene_has_the_same_pixels_everywhere() -> None:
    digest = hashlib.sha256(scene(7, 96).tobytes()).hexdigest()
    assert digest == "60bf19166ea4ceab4ab5ce9c303e0effacf60e630b6299f7a529aa62e8a5c705"


@pytest.mark.parametrize("size", [16, 64, 416])
def test_scenes_differ_and_their_boxes_are_inside(size: int) -> None:
    drawn = [scene_with_boxes(seed, size) for seed in range(8)]
    assert len({s.pixels.tobytes() for s in drawn}) == 8
    assert {b.shape for s in drawn for b in s.boxes} == set(Shape)
    for s in drawn:
        assert s.pixels.shape == (size, size, 3) and s.pixels.dtype == np.uint8
        assert 4 <= len(s.boxes) <= 9
        for b in s.boxes:
            assert 0 <= b.x0 < b.x1 <= size and 0 <= b.y0 < b.y1 <= size


@pytest.mark.parametrize(("seed", "size", "message"), [
    (-1, 64, "seed must be at least 0, not -1"),
    (0, 15, "size must be at least 16 pixels, not 15"),
])
def test_scene_refuses_arguments_out_of_range(seed: int, size: int, message: str) -> None:
    with pytest.raises(ValueError) as caught:
        scene(seed, size)
    assert str(caught.value) == message


def test_full_size_network_is_yolov4_tiny() -> None:
    found = layers(Architecture(size=416))
    by_output = {layer.output: layer for layer in found}
    convs = [layer for layer in found if layer.kind is Kind.CONV]
    inputs = [by_output[c.inputs[0]].channels if c.inputs[0] in by_output else 3 for c in convs]
    assert Counter(layer.kind for layer in found) == {
        Kind.CONV: 21, Kind.LEAKY: 19, Kind.UPPER_HALF: 3, Kind.CONCAT: 7, Kind.MAX_POOL: 3,
        Kind.UPSAMPLE: 1}
    # darknet prints 6.910 BFLOPs for this network, and its weights file has 24,251,276 bytes:
    # a header of 20, weights, and 4 numbers per channel with batch normalization, else 1.
    macs = [c.size**2 * c.channels * i * c.kernel**2 for c, i in zip(convs, inputs)]
    assert round(2 * sum(macs) / 1e9, 2) == 6.91
    numbers = sum(c.channels * i * c.kernel**2 for c, i in zip(convs, inputs))
    heads = [c for c in convs if c.name in ("conv29", "conv36")]
    extra = 4 * sum(c.channels for c in convs if c not in heads) + sum(h.channels for h in heads)
    assert 20 + 4 * (numbers + extra) == 24_251_276
    assert [(h.channels, h.size) for h in heads] == [(255, 13), (255, 26)]


@pytest.mark.parametrize(("arguments", "message"), [
    ({"size": 100}, "size must be a positive multiple of 32 pixels, not 100"),
    ({"size": 64, "width": Fraction(1, 3)}, "width must be a positive multiple of 1/32, not 1/3"),
    ({"size": 64, "head_channels": 15},
     "head_channels must be a multiple of 3, at least 18, not 15"),
    ({"size": 64, "head_channels": 256},
     "head_channels must be a multiple of 3, at least 18, not 256"),
])
def test_architecture_refuses_arguments_out_of_range(arguments: dict[str, object],
                                                     message: str) -> None:
    with pytest.raises(ValueError) as caught:
        Architecture(**arguments)  # type: ignore[arg-type]
    assert str(caught.value) == message


def test_ranges_are_those_of_the_float_model() -> None:
    architecture = Architecture(size=64, width=Fraction(1, 8), head_channels=27)
    calibration = calibrate(architecture, seed=1)
    names = [name for name in calibration.ranges if name != "images"]
    model = float_model(architecture, calibration.parameters)
    onnx.checker.check_model(model, full_check=True)
    exposed = expose(model, dict.fromkeys(names, onnx.TensorProto.FLOAT))
    tensors = run(exposed, [scene(1000 + i, 64) for i in range(75)])
    for name, values in zip(names, tensors):
        low, high = calibration.ranges[name]
        # The calibration runs in 8-bit codes, whose errors add up layer by layer.
        tolerance = 0.1 * (high - low)
        assert abs(values.min() - low) < tolerance and abs(values.max() - high) < tolerance, name


@pytest.mark.parametrize("name", SHA256)
def test_quantized_model_is_pure_qoperator(zoo: Path, name: str) -> None:
    model = onnx.load(build(name, zoo))
    assert Counter(node.op_type for node in model.graph.node) == OPERATORS
    assert (model.ir_version, model.producer_name) == (8, "")
    assert [prop.key for prop in model.metadata_props] == [METADATA_KEY]
    assert {o.domain: o.version for o in model.opset_import} == {"": 13, "com.microsoft": 1}
    assert [i.name for i in model.graph.input] == ["images"]
    assert [o.name for o in model.graph.output] == ["conv29_out", "conv36_out"]
    constants = {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}
    for node in (n for n in model.graph.node if n.op_type == "QLinearConv"):
        _, _, x_zero, weight, scale, zero, _, y_zero = (
            constants.get(i, np.zeros(0)) for i in node.input[:8])
        unsigned_act, unsigned_weight = "-u8" in name, name.endswith("-u8u8")
        assert x_zero.dtype == y_zero.dtype == (np.uint8 if unsigned_act else np.int8)
        assert weight.dtype == (np.uint8 if unsigned_weight else np.int8)
        assert (zero == (128 if unsigned_weight else 0)).all()
        assert scale.size == (weight.shape[0] if name.endswith("-perchannel") else 1)
        assert node.name.removesuffix("_quant") + "_out_quantized" == node.output[0]


@pytest.mark.parametrize("name", ["yolov4-tiny-quarter-64", *SHA256])
def test_channels_of_a_small_model_are_alive(zoo: Path, name: str) -> None:
    check_liveness(build(name, zoo), [scene(seed, 64) for seed in range(24)])


@pytest.mark.e2e
@pytest.mark.parametrize("suffix", ["", "-perchannel"])
def test_channels_of_the_full_model_are_alive(zoo: Path, suffix: str) -> None:
    check_liveness(build(DEFAULT + suffix, zoo), [scene(5, 416)])


@pytest.mark.parametrize("name", SHA256)
def test_bytes_are_the_same_on_every_machine(zoo: Path, name: str) -> None:
    assert hashlib.sha256(build(name, zoo).read_bytes()).hexdigest() == SHA256[name]


def test_bytes_do_not_depend_on_process_directory_or_hash_seed(tmp_path: Path) -> None:
    code = ("import logging, sys, pathlib; from codegen.zoo.models import build; "
            f"print(build({SMALL!r}, pathlib.Path(sys.argv[1])).read_bytes().hex()); "
            "assert not logging.getLogger().handlers")
    root = str(Path(__file__).parents[2])
    outputs = []
    for seed in "1", "2":
        own = tmp_path / f"directory{seed}"
        own.mkdir()
        done = subprocess.run([sys.executable, "-c", code, "models"], cwd=own, check=True,
                              capture_output=True, text=True,
                              env=os.environ | {"PYTHONHASHSEED": seed, "PYTHONPATH": root})
        assert done.stderr == ""
        outputs.append(done.stdout)
    assert outputs[0] == outputs[1] and len(outputs[0]) > 100_000


def test_a_model_is_built_again_only_if_it_is_not_the_same(tmp_path: Path) -> None:
    steps: list[str] = []
    path = build(SMALL, tmp_path / "new", progress=steps.append)
    assert path == tmp_path / "new" / f"{SMALL}.onnx" and len(steps) == 22
    content, sidecar = path.read_bytes(), path.with_suffix(".json")
    record = json.loads(sidecar.read_text())
    assert sorted(p.name for p in path.parent.iterdir()) == [sidecar.name, path.name]

    def is_built_again() -> bool:
        steps.clear()
        build(SMALL, tmp_path / "new", progress=steps.append)
        assert path.read_bytes() == content and json.loads(sidecar.read_text()) == record
        return bool(steps)

    assert not is_built_again()
    path.write_bytes(content[:-1])
    assert is_built_again()
    for old in json.dumps(record | {"version": 0}), "not JSON", "[]":
        sidecar.write_text(old)
        assert is_built_again()
    path.unlink()
    assert is_built_again()
    assert not is_built_again()


def test_building_logs_nothing_and_leaves_the_loggers_alone(
        tmp_path: Path, capfd: pytest.CaptureFixture[str],
        caplog: pytest.LogCaptureFixture) -> None:
    root = logging.getLogger()
    before = list(root.handlers), list(root.filters), root.level
    build(SMALL, tmp_path)
    assert (list(root.handlers), list(root.filters), root.level) == before
    assert capfd.readouterr() == ("", "") and not caplog.records


def test_an_unknown_name_is_an_error_that_lists_the_names(tmp_path: Path) -> None:
    with pytest.raises(CodegenError) as caught:
        build("yolov9", tmp_path)
    assert str(caught.value) == f"zoo model must be one of {', '.join(NAMES)}, not 'yolov9'"
    assert len(NAMES) == 24 and NAMES[0] == DEFAULT == "yolov4-tiny-416"


def test_a_directory_that_cannot_be_made_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(CodegenError, match=f"^zoo model '{SMALL}' cannot be written to '.*/file'"):
        build(SMALL, tmp_path / "file")


@pytest.mark.parametrize(("name", "stride", "anchor", "classes"), [
    (SMALL, 32, (12, 13), 4), ("yolov4-tiny-416", 32, (81, 82), 80)])
def test_models_say_what_their_outputs_mean(zoo: Path, name: str, stride: int,
                                            anchor: tuple[int, int], classes: int) -> None:
    model = onnx.load(build(name, zoo))
    (text,) = (prop.value for prop in model.metadata_props if prop.key == METADATA_KEY)
    heads = parse_heads(text, name)
    first = heads.heads[0]
    assert [head.output for head in heads.heads] == [output.name for output in model.graph.output]
    assert (first.stride, first.anchors[0], first.classes) == (stride, anchor, classes)
    for head, output in zip(heads.heads, model.graph.output):
        channels, rows = (output.type.tensor_type.shape.dim[i].dim_value for i in (1, 2))
        assert len(head.anchors) * (5 + head.classes) == channels
        assert rows * head.stride == model.graph.input[0].type.tensor_type.shape.dim[2].dim_value
