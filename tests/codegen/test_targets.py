"""Boards on the command line: what there is, what does not fit, and weights of -128."""

import json
from pathlib import Path

import numpy as np
import onnx
import pytest

from codegen.__main__ import main
from hw.spec.config import PRESETS
from tests import onnx_nodes as n
from tests.builds import build_folder, verify_folder


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "m.onnx"
    onnx.save(n.unary("QLinearLeakyRelu", (1, 4, 4, 4), rng=np.random.default_rng(0)), path)
    return path


def test_an_array_that_does_not_fit_is_refused(model: Path, tmp_path: Path,
                                               capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "b"
    assert main(["build", str(model), "--rows", "32", "--scratchpad-words", "8192",
                 "-o", str(out)]) == 1
    printed = capsys.readouterr()
    first, ebr, luts, last = printed.err.splitlines()
    assert first == ("error: an array of 32x16 must fit the LFE5U-85F of the board 'ulx3s-85f', "
                     "and this one does not:")
    assert ebr == (
        "  block RAMs (DP16KD) must be at most 208, not 226: 219 of the core (scratchpad 128, "
        "weights 32, accumulators 32, tables 8, add tables 16, beats 2, fetched instructions 1) "
        "and 7 of the system. Lower --scratchpad-words, --weight-words, --accumulator-words or "
        "--post-lanes.")
    assert luts.startswith("  LUTs must be at most 83640, not about 1")
    assert last == "  For simulation alone, add --any-size."
    assert not out.exists() and not printed.out


@pytest.mark.parametrize("options", [
    ["--rows", "32", "--any-size"],
    ["--target", "test-4x4", "--rows", "8", "--columns", "8", "--scratchpad-words", "1048576"],
    ["--target", "icebreaker-up5k", "--scratchpad-words", "65536", "--any-size"],
    ["--target", "icebreaker-up5k", "--columns", "2"],
])
def test_other_arrays_are_compiled(options: list[str], model: Path, tmp_path: Path) -> None:
    assert main(["build", str(model), *options, "--quiet", "-o", str(tmp_path / "b")]) == 0


def test_a_model_is_not_read_for_an_array_that_does_not_fit(
        capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["build", "nowhere.onnx", "--rows", "32"]) == 1
    assert "nowhere" not in capsys.readouterr().err


def test_targets_are_printed_with_their_boards(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["targets"]) == 0
    rows = [[cell.strip() for cell in line.strip("│┃").split("│")]
            for line in capsys.readouterr().out.splitlines() if "│" in line]
    assert [row[0] for row in rows if len(row) == 8] == list(PRESETS)
    boards = [row for row in rows if len(row) == 7]
    assert boards[0][:3] == ["ulx3s-85f", "LFE5U-85F", "LUT4"] and boards[0][3].startswith("~ ")
    assert boards[2:4] == [
        ["", "", "MULT18X18D", "152", "0", "156", "97%"],
        ["", "", "DP16KD, 18 Kbit", "195", "7", "208", "97%"]]
    assert boards[4][:3] == ["icebreaker-up5k", "iCE40UP5K", "logic cells"]
    assert boards[4][3].startswith("~ ") and boards[4][5] == "5,280"
    assert boards[6:] == [
        ["", "", "SB_MAC16", "8", "0", "8", "100%"],
        ["", "", "SB_RAM40_4K, 4 Kbit", "24", "4", "30", "93%"],
        ["", "", "SB_SPRAM256KA, 256 Kbit", "2", "2", "4", "100%"]]


@pytest.mark.parametrize(("options", "reason"), [
    (["--accumulator-words", "1024"],
     ("block RAMs (SB_RAM40_4K) must be at most 30, not 44: 40 of the core (weights 8, "
      "accumulators 32) and 4 of the system. Lower --weight-words, --accumulator-words or "
      "--columns.")),
    (["--scratchpad-words", "65536"],
     "scratchpad_words must be at most 16384 in a small system, not 65536."),
    (["--rows", "8"], ("rows must be 4, bytes of a word of the processor, in a small system, not "
                       "8.")),
])
def test_an_array_that_the_small_board_has_no_room_for_is_refused(
        options: list[str], reason: str, model: Path, tmp_path: Path,
        capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "b"
    assert main(["build", str(model), "--target", "icebreaker-up5k", *options, "-o", str(out)]) == 1
    first, found, last = capsys.readouterr().err.splitlines()
    assert first.endswith(
        "must fit the iCE40UP5K of the board 'icebreaker-up5k', and this one does not:")
    assert found == f"  {reason}" and last == "  For simulation alone, add --any-size."
    assert not out.exists()


def test_a_weight_of_minus_128_takes_another_pass_where_multipliers_are_shared(
        tmp_path: Path) -> None:
    """It is the sum of two weights that they can hold; nothing is refused or rounded."""
    rng = np.random.default_rng(3)
    w = rng.integers(-100, 100, (4, 4, 1, 1)).astype(np.int8)
    passes = []
    for smallest in (-127, -128):
        w[1, 2] = smallest
        path = tmp_path / f"{smallest}.onnx"
        onnx.save(n.conv((1, 4, 5, 5), w, rng=np.random.default_rng(4)), path)
        folder = tmp_path / f"b{smallest}"
        build = build_folder(path, folder, PRESETS["ulx3s-85f"])
        assert verify_folder(build).passed
        layers = json.loads((folder / "report.json").read_text())["layers"]
        passes.append(sum(layer["instructions"] for layer in layers))
    assert PRESETS["ulx3s-85f"].weight_min == -127
    assert passes[1] > passes[0]
