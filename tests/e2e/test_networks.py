"""Whole networks, compiled and simulated: 0 mismatches in every tensor."""

from pathlib import Path

import pytest

from hw.spec.config import PRESETS
from tests.builds import build_folder, verify_folder, zoo_model
from tests.data import data

pytestmark = pytest.mark.e2e

REAL = {
    "yolov4-tiny-voc/yolov4-tiny-416_int8_qop.onnx": "images/darknet/dog.jpg",
    "yolov4-tiny-voc/yolov4-tiny-416_int8_qop_perchannel.onnx": "images/darknet/person.jpg",
    "yolov4-tiny-voc/yolov4-tiny-416_int8_qop_u8act.onnx": "images/darknet/horses.jpg",
    "yolov4-tiny-aix2023/yolov4-tiny-aix2023_int8_qop.onnx":
        "images/aix_eval/CAPP_testset_close_10000.jpg",
    "yolov4-tiny-aix2023/yolov4-tiny-aix2023_int8_qop_perchannel.onnx":
        "images/aix_eval/CAPP_testset_long_10022.jpg",
    "yolov4-tiny-aix2023/yolov4-tiny-aix2023_int8_qop_slice.onnx":
        "images/aix_eval/CAPP_testset_close_10046.jpg",
    "yolo-fastest-1.1-coco/yolo-fastest-1.1_int8_qop.onnx": "images/darknet/eagle.jpg",
    "qop/ece_v2_int8.onnx": None,
    "qop/mbv2_cifar10_int8.onnx": "models/qop/cifar10_test_bird4.jpg",
}


@pytest.mark.parametrize("keep", [True, False], ids=["debug", "normal"])
@pytest.mark.parametrize("name", REAL)
def test_real_networks(name: str, keep: bool, tmp_path: Path) -> None:
    picture = REAL[name]
    build = build_folder(data(f"models/{name}"), tmp_path / "b", "ulx3s-85f", keep_tensors=keep)
    result = verify_folder(build, picture=data(picture) if picture else None, races=True)
    assert result.total_mismatches == 0
    assert result.races == 0
    if keep:
        unseen = [t.name for t in result.tensors
                  if t.mismatches is None and t.where not in ("input", "table")]
        assert not unseen


@pytest.mark.parametrize("name", ["yolov4-tiny-416", "yolov4-tiny-320-perchannel",
                                  "yolov4-tiny-608-u8act"])
def test_zoo_networks(name: str, tmp_path: Path) -> None:
    build = build_folder(zoo_model(name), tmp_path / "b", "ulx3s-85f", keep_tensors=True)
    result = verify_folder(build, races=True)
    assert result.total_mismatches == 0
    assert result.races == 0


def test_twenty_interleavings_leave_the_same_memory(tmp_path: Path) -> None:
    build = build_folder(data("models/yolov4-tiny-aix2023/yolov4-tiny-aix2023_int8_qop.onnx"),
                         tmp_path / "b", "ulx3s-85f")
    result = verify_folder(build, shuffles=range(20))
    assert result.shuffles == dict.fromkeys(range(20), 0)
    assert result.passed


@pytest.mark.parametrize("suffix", ["", "-perchannel", "-u8act", "-u8u8"])
@pytest.mark.parametrize("size", [(2, 2), (4, 4), (8, 8), (8, 16), (16, 8), (16, 16)],
                         ids=lambda s: f"{s[0]}x{s[1]}")
def test_array_sizes(size: tuple[int, int], suffix: str, tmp_path: Path) -> None:
    config = PRESETS["test-4x4"].with_size(*size) if max(size) <= 4 else \
        PRESETS["icebreaker-up5k"].with_size(*size)
    build = build_folder(zoo_model(f"yolov4-tiny-quarter-64{suffix}"), tmp_path / "b", config,
                         keep_tensors=True)
    result = verify_folder(build, races=True, shuffles=[1])
    assert result.passed, [t for t in result.tensors if t.mismatches][:3]
