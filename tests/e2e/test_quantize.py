"""From darknet weights or a float model, and pictures, to a program that equals ONNX Runtime."""

import re
from pathlib import Path

import onnx
import pytest

from codegen.__main__ import main
from tests.builds import build_folder, verify_folder
from tests.darknet import EVERYTHING, write_network, write_pictures
from tests.data import data

pytestmark = pytest.mark.e2e


def convert(cfg: Path, weights: Path, out: Path) -> Path:
    assert main(["darknet", str(cfg), str(weights), "-o", str(out)]) == 0
    return out


def quantize(model: Path, images: Path, out: Path, *options: str) -> Path:
    assert main(["quantize", str(model), "--images", str(images), "-o", str(out), *options]) == 0
    return out


@pytest.mark.parametrize("options", [
    (), ("--per-channel",), ("--activations", "u8"), ("--method", "percentile"),
    ("--per-channel", "--activations", "u8", "--method", "entropy")], ids=" ".join)
def test_every_darknet_layer_is_exact_on_the_array(tmp_path: Path,
                                                   options: tuple[str, ...]) -> None:
    model = convert(*write_network(tmp_path, EVERYTHING), tmp_path / "float.onnx")
    images = write_pictures(tmp_path / "pictures", 3)
    quantized = quantize(model, images, tmp_path / "int8.onnx", *options)
    build = build_folder(quantized, tmp_path / "build", keep_tensors=True)
    for seed in range(2):
        result = verify_folder(build, seed=seed, races=not seed)
        assert result.passed and result.compared > 20


def test_a_published_darknet_network_becomes_exact(tmp_path: Path) -> None:
    source = data("models/yolo-fastest-1.1-coco")
    model = convert(source / "yolo-fastest-1.1.cfg", source / "yolo-fastest-1.1.weights",
                    tmp_path / "float.onnx")
    quantized = quantize(model, data("images/coco_train2017_calib"), tmp_path / "int8.onnx",
                         "--count", "8", "--per-channel")
    build = build_folder(quantized, tmp_path / "build", "ulx3s-85f", keep_tensors=True)
    assert verify_folder(build, picture=data("images/darknet/dog.jpg")).passed
    assert "macrame.heads" in {p.key for p in onnx.load(tmp_path / "build/model.onnx"
                                                        ).metadata_props}


def test_classes_that_were_never_learned_do_no_harm(tmp_path: Path,
                                                    capsys: pytest.CaptureFixture[str]) -> None:
    """180 of 255 channels of both heads are all bias; a scale per channel must suit them too."""
    model = data("models/yolov4-tiny-voc/yolov4-tiny-416_float.onnx")
    images = data("images/coco_train2017_calib")
    outputs = []
    for options in (), ("--per-channel", "--method", "percentile"):
        quantized = quantize(model, images, tmp_path / "int8.onnx", "--count", "8", *options)
        outputs.append([float(db) for db in re.findall(
            r"conv\d+_out ([\d.]+) dB", capsys.readouterr().out.rpartition("outputs:")[2])])
    assert all(better > worse + 2 for worse, better in zip(*outputs, strict=True))
    build = build_folder(quantized, tmp_path / "build", "ulx3s-85f")
    assert verify_folder(build, picture=data("images/darknet/dog.jpg")).passed
