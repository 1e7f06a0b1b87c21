"""Whole frames on the reference engine, from the generated headers: ONNX Runtime's results."""

import re
import subprocess
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
import pytest

from codegen.__main__ import main
from codegen.errors import BuildError, UnsupportedModelError
from sim.build import BuildFolder
from sim.golden import Golden
from sim.inputs import load_input
from sim.pictures.fit import network_input, place_picture
from sim.tensors import Array, quantize
from tests.builds import build_folder, zoo_model
from tests.data import data
from tests.firmware.compilers import FIRMWARE, SANITIZED, compile_c
from tests.firmware.engine_states import ENGINE
from tests.random_graphs import random_graph
from tests.sim.squares import picture, quantized_model

SOURCES = [*ENGINE, FIRMWARE / "reference" / "run.c", FIRMWARE / "tensor.c", FIRMWARE / "yolo.c"]


def frame_program(build: BuildFolder, folder: Path, flags: Sequence[str] = ("-O2",)) -> Path:
    """The program of docs/firmware.md that runs a frame."""
    headers = folder / "h"
    assert main(["header", str(build.path), "-o", str(headers)]) == 0
    data_files = [path for path in headers.iterdir() if path.suffix in (".c", ".S")]
    parts = [compile_c([path], folder / f"{path.stem}.o", include=[headers],
                       language=() if path.suffix == ".S" else ("-std=c11",),
                       flags=["-O1", f"-Wa,-I,{headers}"]) for path in data_files]
    return compile_c([*SOURCES, *parts], folder / "run", flags=flags,
                     include=[headers, FIRMWARE, FIRMWARE / "reference"])


def random_feeds(build: BuildFolder, seed: int) -> dict[str, Array]:
    feeds = {}
    for item in Golden(build.model).inputs:
        shape = tuple(size or 0 for size in item.shape)
        if item.dtype.kind in "iu":
            limits = np.iinfo(item.dtype)
            feeds[item.name] = np.random.default_rng(seed).integers(
                limits.min, limits.max + 1, shape).astype(item.dtype)
        else:
            feeds[item.name] = load_input(None, shape=shape, seed=seed)
    return feeds


def run_frame(program: Path, build: BuildFolder, feeds: dict[str, Array]) -> tuple[int, str]:
    """Compare all outputs with ONNX Runtime's; how many elements, and what was printed."""
    codes = b""
    for item in build.manifest["inputs"]:
        value = feeds[item["name"]]
        if item["quantize"]:
            value = quantize(value, **item["quantize"], dtype=build.tensors[item["tensor"]].dtype)
        codes += value.tobytes()
    given, taken = program.with_name("inputs"), program.with_name("outputs")
    given.write_bytes(codes)
    done = subprocess.run([program, given, taken], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    expected, printed, at = Golden(build.model).run(feeds), taken.read_bytes(), 0
    for item in build.manifest["outputs"]:
        place, golden = build.tensors[item["tensor"]], expected[item["name"]]
        found = np.frombuffer(printed, place.dtype, golden.size, at).reshape(golden.shape)
        at += golden.size
        if pair := item["dequantize"]:
            value = (found.astype(np.int32) - pair["zero_point"]).astype(np.float32) \
                * np.float32(pair["scale"])
            assert np.count_nonzero(value != golden) == 0, item["name"]
        assert np.count_nonzero(found != expected[item["tensor"]]) == 0, item["name"]
    assert at == len(printed) > 0
    return at, done.stdout


def test_a_yolo_frame_equals_onnx_runtime_under_sanitizers(tmp_path: Path) -> None:
    build = build_folder(zoo_model("yolov4-tiny-eighth-64"), tmp_path / "build")
    program = frame_program(build, tmp_path, SANITIZED)
    for seed in range(2):
        assert run_frame(program, build, random_feeds(build, seed))[0] == 27 * (2 * 2 + 4 * 4)


def test_boxes_are_printed(tmp_path: Path) -> None:
    onnx.save(quantized_model(), tmp_path / "m.onnx")
    build = build_folder(tmp_path / "m.onnx", tmp_path / "build", "test-4x8")
    program = frame_program(build, tmp_path)
    image, marks = picture(3, width=64, height=64)
    planes, _ = place_picture(image, (64, 64), "letterbox")
    _, text = run_frame(program, build, {"images": network_input(planes)})
    lines = re.findall(r"^class (\d) score [01]\.\d{3} box (.+)$", text, re.M)
    found = [(int(c), tuple(round(float(v)) for v in box.split())) for c, box in lines]
    assert sorted(found) == sorted(marks)


def test_bad_files_are_refused(tmp_path: Path) -> None:
    onnx.save(quantized_model(), tmp_path / "m.onnx")
    program = frame_program(build_folder(tmp_path / "m.onnx", tmp_path / "build"), tmp_path)
    inputs = tmp_path / "inputs"
    for content in (b"", bytes(3 * 64 * 64 - 1), bytes(3 * 64 * 64 + 1)):
        inputs.write_bytes(content)
        done = subprocess.run([program, inputs, tmp_path / "out"], capture_output=True, text=True,
                              check=False)
        assert (done.returncode, done.stdout) == (1, "")
        assert done.stderr == f"error: {inputs} must be a file with the codes of all inputs\n"
        assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(("target", "first", "count"), [
    ("test-4x4", 0, 2), ("test-4x8", 100, 2), ("test-8x4", 200, 2),
    pytest.param("test-4x8", 300, 30, marks=pytest.mark.e2e)])
def test_random_graphs_equal_onnx_runtime(tmp_path: Path, target: str, first: int,
                                          count: int) -> None:
    compared = 0
    for seed in range(first, first + count):
        model = random_graph(seed, 9)
        folder = tmp_path / str(seed)
        folder.mkdir()
        if model is None:
            continue
        onnx.save(model, folder / "m.onnx")
        try:
            build = build_folder(folder / "m.onnx", folder / "build", target)
        except (UnsupportedModelError, BuildError):
            continue
        program = frame_program(build, folder, ("-O1",))
        compared += run_frame(program, build, random_feeds(build, seed))[0]
    assert compared > 100 * count


@pytest.mark.e2e
@pytest.mark.parametrize("model", ["yolov4-tiny-quarter-96", "yolov4-tiny-quarter-64-u8act",
                                   "yolov4-tiny-416"])
def test_zoo_frames_equal_onnx_runtime(tmp_path: Path, model: str) -> None:
    build = build_folder(zoo_model(model), tmp_path / "build", "ulx3s-85f")
    run_frame(frame_program(build, tmp_path, ("-O3",)), build, random_feeds(build, 1))


@pytest.mark.e2e
@pytest.mark.parametrize("model", ["qop/ece_v2_int8", "qop/mbv2_cifar10_int8",
                                   "yolo-fastest-1.1-coco/yolo-fastest-1.1_int8_qop"])
def test_real_frames_equal_onnx_runtime(tmp_path: Path, model: str) -> None:
    build = build_folder(data(f"models/{model}.onnx"), tmp_path / "build", "ulx3s-85f")
    run_frame(frame_program(build, tmp_path, ("-O3",)), build, random_feeds(build, 1))
