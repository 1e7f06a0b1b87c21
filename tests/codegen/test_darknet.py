"""codegen darknet: converted networks compute what darknet computes."""

import json
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import numpy_helper

from codegen.__main__ import main
from codegen.darknet.cfg import read_cfg
from codegen.darknet.layers import Convolution
from codegen.darknet.network import network
from codegen.darknet.weights import float_count, read_weights
from tests.darknet import (
    EVERYTHING,
    HEADER,
    OFFICIAL_BYTES,
    TINY,
    random_weights,
    run,
    write_network,
)
from tests.data import data

REAL = (("yolov4-tiny-aix2023", "yolov4-tiny-aix2023"),
        ("yolo-fastest-1.1-coco", "yolo-fastest-1.1"))


def convert(cfg: Path, weights: Path, *options: str) -> onnx.ModelProto:
    out = weights.with_suffix(".onnx")
    assert main(["darknet", str(cfg), str(weights), "-o", str(out), *options]) == 0
    return onnx.load(out)


def heads(model: onnx.ModelProto) -> dict:
    [entry] = model.metadata_props
    assert entry.key == "macrame.heads"
    return json.loads(entry.value)


@pytest.mark.parametrize("text", [TINY, EVERYTHING], ids=["tiny", "everything"])
def test_every_layer_computes_what_darknet_computes(tmp_path: Path, text: str) -> None:
    cfg, weights = write_network(tmp_path, text)
    model = convert(cfg, weights)
    rows, columns = (d.dim_value for d in model.graph.input[0].type.tensor_type.shape.dim[2:])
    x = np.random.default_rng(1).random((3, rows, columns), np.float32)
    expected = run(cfg, weights, x)
    names = [y for node in model.graph.node for y in node.output if "_group" not in y]
    model.graph.ClearField("output")
    model.graph.output.extend(map(onnx.helper.make_empty_tensor_value_info, names))
    session = onnxruntime.InferenceSession(model.SerializeToString())
    found = {}  # by index of the section: what stands last is behind the activation
    for name, value in zip(names, session.run(None, {"images": x[None]})):
        if "_input" not in name:
            found[int(name.rpartition("_")[2])] = value[0]
    assert len(found) >= len(expected) - 3  # dropout, yolo and aliases make nothing
    for index, value in found.items():
        assert value.shape == expected[index].shape, f"section {index}"
        assert np.abs(value - expected[index]).max() < 1e-5, f"section {index}"


@pytest.mark.parametrize(("folder", "name"), REAL)
def test_real_networks_have_the_weights_that_another_converter_finds(
        tmp_path: Path, folder: str, name: str) -> None:
    source = data(f"models/{folder}")
    assert main(["darknet", str(source / f"{name}.cfg"), str(source / f"{name}.weights"),
                 "-o", str(tmp_path / "out.onnx")]) == 0
    found, expected = onnx.load(tmp_path / "out.onnx"), onnx.load(source / f"{name}_float.onnx")
    assert [n.op_type for n in found.graph.node] == [n.op_type for n in expected.graph.node]
    for mine, other in zip(found.graph.node, expected.graph.node):
        attributes = [{a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
                      for node in (mine, other)]
        assert attributes[0] == attributes[1]
    for mine, other in zip(found.graph.initializer, expected.graph.initializer, strict=True):
        assert np.array_equal(numpy_helper.to_array(mine), numpy_helper.to_array(other))
    listed = json.loads((source / "meta.json").read_text())
    for mine, other in zip(heads(found)["heads"], listed, strict=True):
        pairs = list(zip(other["anchors"][::2], other["anchors"][1::2]))
        assert mine["anchors"] == [list(pairs[i]) for i in other["mask"]]
        assert all(mine[key] == other[key] for key in ("stride", "classes", "scale_x_y"))


def test_the_official_yolov4_tiny_fits_its_published_weights(tmp_path: Path) -> None:
    cfg = data("cfg/yolov4-tiny.cfg")
    weights = tmp_path / "yolov4-tiny.weights"
    parts = random_weights(read_cfg(cfg))
    weights.write_bytes(HEADER + b"".join(part.tobytes() for part in parts))
    assert weights.stat().st_size == OFFICIAL_BYTES
    model = convert(cfg, weights)
    shapes = {y.name: [d.dim_value for d in y.type.tensor_type.shape.dim]
              for y in model.graph.output}
    assert shapes == {"conv_29": [1, 255, 13, 13], "conv_36": [1, 255, 26, 26]}
    assert heads(model) == {"fit": "letterbox", "heads": [
        {"output": "conv_29", "stride": 32, "anchors": [[81, 82], [135, 169], [344, 319]],
         "classes": 80, "scale_x_y": 1.05},
        {"output": "conv_36", "stride": 16, "anchors": [[23, 27], [37, 58], [81, 82]],
         "classes": 80, "scale_x_y": 1.05}]}


def test_heads_go_into_the_metadata_as_json(tmp_path: Path) -> None:
    model = convert(*write_network(tmp_path), "--fit", "stretch")
    assert model.metadata_props[0].value == (
        '{"heads": [{"output": "conv_3", "stride": 4, "anchors": [[4, 6], [10, 8.5], [20, 28]], '
        '"classes": 2, "scale_x_y": 1.05}], "fit": "stretch"}')


def test_tensors_are_named_like_darknets_layers(tmp_path: Path) -> None:
    model = convert(*write_network(tmp_path))
    assert [(n.op_type, n.name, n.output[0]) for n in model.graph.node] == [
        ("Conv", "conv_0", "conv_0"), ("LeakyRelu", "leaky_0", "leaky_0"),
        ("MaxPool", "maxpool_1", "maxpool_1"), ("Conv", "conv_2", "conv_2"),
        ("LeakyRelu", "leaky_2", "leaky_2"), ("Conv", "conv_3", "conv_3")]


def test_equal_files_make_equal_bytes(tmp_path: Path) -> None:
    cfg, weights = write_network(tmp_path, EVERYTHING)
    first = convert(cfg, weights).SerializeToString()
    assert convert(cfg, weights).SerializeToString() == first


@pytest.mark.parametrize(("version", "seen"), [((0, 1, 0), "<u4"), ((0, 2, 0), "<u8"),
                                              ((1, 0, 0), "<u8")])
def test_seen_is_64_bits_wide_from_version_0_2_on(tmp_path: Path, version: tuple[int, ...],
                                                  seen: str) -> None:
    cfg, weights = write_network(tmp_path)
    layers = tuple(x for x in network(read_cfg(cfg)).layers if isinstance(x, Convolution))
    _, expected = read_weights(weights, layers)
    floats = weights.read_bytes()[len(HEADER):]
    weights.write_bytes(np.array(version, "<i4").tobytes() + np.array([9], seen).tobytes()
                        + floats)
    header, found = read_weights(weights, layers)
    assert (header.major, header.minor, header.revision, header.seen) == (*version, 9)
    assert all(np.array_equal(found[k].weight, expected[k].weight) for k in expected)
    assert sum(map(float_count, layers)) * 4 == len(floats)


def test_the_command_says_what_it_made(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cfg, weights = write_network(tmp_path)
    out = tmp_path / "new" / "out.onnx"
    assert main(["darknet", str(cfg), str(weights), "-o", str(out)]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "net.cfg: 3 convolutions, 1433 floats, darknet 0.2.5, 7 pictures seen in training",
        "input  images: 3x32x32, 0..1, red first",
        "output conv_3: 21x8x8, stride 4, 2 classes, anchors 4x6 10x8.5 20x28, scale_x_y 1.05",
        f"written to {out}"]
