"""python -m codegen quantize: from files to a file, and what it says."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from codegen.__main__ import main
from tests.darknet import EVERYTHING, write_network, write_pictures

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With float.onnx and 6 pictures."""
    folder = tmp_path_factory.mktemp("quantize")
    cfg, weights = write_network(folder)
    assert main(["darknet", str(cfg), str(weights), "-o", str(folder / "float.onnx"), "--fit",
                 "stretch"]) == 0
    write_pictures(folder / "pictures", 6)
    return folder


def quantize(folder: Path, *options: object, model: str = "float.onnx",
             images: Path | None = None) -> int:
    return main(["quantize", str(folder / model), "--images", str(images or folder / "pictures"),
                 *map(str, options)])


def test_the_result_has_integer_operators_and_the_metadata(folder: Path, tmp_path: Path) -> None:
    assert quantize(folder, "-o", tmp_path / "new" / "out.onnx") == 0
    model = onnx.load(tmp_path / "new" / "out.onnx")
    assert [n.op_type for n in model.graph.node] == [
        "QuantizeLinear", "QLinearConv", "QLinearLeakyRelu", "MaxPool", "QLinearConv",
        "QLinearLeakyRelu", "QLinearConv", "DequantizeLinear"]
    assert model.metadata_props == onnx.load(folder / "float.onnx").metadata_props
    assert [p.key for p in model.metadata_props] == ["macrame.heads"]
    constants = {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}
    assert constants["images_scale"] == np.float32(1 / 255)
    assert constants["images_zero_point"] == -128 and constants["conv_0.weight_scale"].ndim == 0
    assert quantize(folder, "-o", tmp_path / "out.onnx", "--activations", "u8",
                    "--per-channel") == 0
    constants = {t.name: numpy_helper.to_array(t)
                 for t in onnx.load(tmp_path / "out.onnx").graph.initializer}
    assert constants["images_zero_point"] == 0 and constants["conv_0.weight_scale"].shape == (8,)


def test_says_what_was_done_and_lost(folder: Path, tmp_path: Path,
                                     capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    out = tmp_path / "out.onnx"
    assert quantize(folder, "-o", out, "--count", 4) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == (f"calibrated with 4 pictures of {folder / 'pictures'}: minmax, stretch to "
                        "32x32, seed 42")
    rows = [re.split(r" *│ *", line.strip("│ ")) for line in lines if line.startswith("│")]
    assert [row[:2] for row in rows] == [
        ["conv_0", "Conv"], ["leaky_0", "LeakyRelu"], ["maxpool_1", "MaxPool"],
        ["conv_2", "Conv"], ["leaky_2", "LeakyRelu"], ["conv_3", "Conv"]]
    assert all(20 < float(row[3]) < 60 for row in rows)
    assert [len(row) for row in rows] == [5, 5, 4, 5, 5, 5]  # a pool loses nothing by itself
    weakest = re.findall(r"(\w+) ([\d.]+) dB", next(x for x in lines if "by themselves" in x))
    listed = {row[0]: row[4] for row in rows if len(row) == 5}
    assert dict(weakest) == listed
    assert [float(db) for _, db in weakest] == sorted(map(float, listed.values()))
    assert lines[-3:] == [f"outputs: conv_3 {rows[-1][3]} dB", f"written to {out}",
                          "accepted by the compiler"]
    assert quantize(folder, "-o", out, "--quiet") == 0
    text = capsys.readouterr().out
    assert "│" not in text and text.splitlines()[1] == (
        "that is all of the folder; --count asks for 1000")


@pytest.mark.parametrize("options", [
    ["--per-channel"], ["--activations", "u8"], ["--method", "percentile"],
    ["--seed", "7", "--count", "3"], ["--fit", "letterbox", "--count", "2"]])
def test_every_option_makes_another_model(folder: Path, tmp_path: Path, options: list[str],
                                          ) -> None:
    """The pictures are square: letterboxing them changes nothing, and says so below."""
    assert quantize(folder, "-o", tmp_path / "a.onnx", "--quiet") == 0
    assert quantize(folder, "-o", tmp_path / "b.onnx", "--quiet", *options) == 0
    a, b = ((tmp_path / f"{name}.onnx").read_bytes() for name in "ab")
    assert a != b


def test_the_fit_is_that_of_the_metadata_or_as_told(folder: Path, tmp_path: Path,
                                                    capsys: pytest.CaptureFixture[str]) -> None:
    for options, fit in (((), "stretch"), (("--fit", "letterbox"), "letterbox")):
        assert quantize(folder, "-o", tmp_path / "out.onnx", "--quiet", *options) == 0
        assert f"minmax, {fit} to 32x32" in capsys.readouterr().out


def test_equal_input_makes_equal_bytes(tmp_path: Path) -> None:
    cfg, weights = write_network(tmp_path, EVERYTHING)
    assert main(["darknet", str(cfg), str(weights), "-o", str(tmp_path / "float.onnx")]) == 0
    pictures = write_pictures(tmp_path / "pictures", 3)
    for seed in "01":  # of Python's hashes, hence of the order of sets
        subprocess.run(
            [sys.executable, "-m", "codegen", "quantize", tmp_path / "float.onnx", "--images",
             pictures, "-o", tmp_path / f"{seed}.onnx", "--quiet", "--per-channel"], check=True,
            cwd=ROOT, env=os.environ | {"PYTHONHASHSEED": seed}, capture_output=True)
    assert (tmp_path / "0.onnx").read_bytes() == (tmp_path / "1.onnx").read_bytes()


def test_unreadable_pictures_are_named_and_left_out(folder: Path, tmp_path: Path,
                                                    capsys: pytest.CaptureFixture[str]) -> None:
    images = tmp_path / "images"
    shutil.copytree(folder / "pictures", images)
    (images / "text.jpg").write_text("no picture")
    (images / "cut[1].png").write_bytes((images / "0.png").read_bytes()[:99])
    capsys.readouterr()
    assert quantize(folder, "-o", tmp_path / "out.onnx", "--quiet", images=images) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("calibrated with 6 pictures of ")
    assert lines[2] == "2 of 8 pictures cannot be read and are left out:"
    assert sorted(re.findall(r"'.*/(.*?)'", "\n".join(lines[3:5]))) == ["cut[1].png", "text.jpg"]
    assert quantize(folder, "-o", tmp_path / "whole.onnx", "--quiet") == 0
    assert (tmp_path / "out.onnx").read_bytes() == (tmp_path / "whole.onnx").read_bytes()


def test_warns_of_evaluation_pictures(folder: Path, tmp_path: Path,
                                      capsys: pytest.CaptureFixture[str]) -> None:
    evaluation = tmp_path / "evaluation"
    evaluation.mkdir()
    shutil.copy(folder / "pictures" / "3.png", evaluation / "renamed.png")
    shutil.copy(folder / "pictures" / "4.png", evaluation / "5.png")
    capsys.readouterr()
    arguments = ("-o", tmp_path / "out.onnx", "--quiet", "--evaluation", evaluation)
    assert quantize(folder, *arguments) == 0
    assert ("warning: 3 of the 6 calibration pictures are evaluation pictures too (2 with the same "
            "bytes, the others by name): 3.png, 4.png, 5.png. Accuracy measured with them comes "
            "out too high.") in capsys.readouterr().out
    for path in evaluation.iterdir():
        path.unlink()
    (write_pictures(evaluation, 1, size=48) / "0.png").rename(evaluation / "other.png")
    assert quantize(folder, *arguments) == 0
    assert "warning" not in capsys.readouterr().out


def test_a_model_that_the_compiler_refuses_is_written_but_is_an_error(
        folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = onnx.load(folder / "float.onnx")
    model.graph.node.append(helper.make_node("Softmax", ["conv_3"], ["y"], "soft", axis=1))
    model.graph.output[0].name = "y"
    onnx.save(model, tmp_path / "float.onnx")
    out = tmp_path / "out.onnx"
    assert quantize(tmp_path, "-o", out, images=folder / "pictures") == 1
    error = capsys.readouterr().err.splitlines()
    assert error[0] == f"error: {str(out)!r} is written, but `python -m codegen build` refuses it:"
    assert error[1].startswith("node 'soft")
    assert onnx.load(out).graph.node


@pytest.mark.parametrize(("options", "message"), [
    (["-o", "{}"], "output file '{}' must be a file, not a folder."),
    (["-o", "{}/float.onnx"], "output file '{}/float.onnx' must be another file than the input. "
                              + "Choose another one with -o."),
    (["-o", "{}/float.onnx/o"], "output file '{}/float.onnx/o' must be writable; "),
    (["-o", "{}/o", "--evaluation", "{}/none"], "picture folder '{}/none' must be a folder"),
    (["-o", "{}/o", "--images", "{}"], "picture folder '{}' must have at least one file of type "),
])
def test_errors_are_one_line_and_leave_no_file(folder: Path, options: list[str], message: str,
                                               capsys: pytest.CaptureFixture[str]) -> None:
    before = sorted(folder.iterdir())
    capsys.readouterr()
    assert quantize(folder, *(word.format(folder) for word in options)) == 1
    error = capsys.readouterr().err
    assert error.startswith("error: " + message.format(folder)) and error.count("\n") == 1
    assert sorted(folder.iterdir()) == before


@pytest.mark.parametrize("count", ["0", "-1", "1.5", "x"])
def test_refuses_counts(folder: Path, count: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        quantize(folder, "-o", folder / "o", "--count", count)
    assert f"must be a positive integer, not {count!r}" in capsys.readouterr().err
