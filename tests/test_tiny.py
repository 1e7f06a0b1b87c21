"""Everything once, in seconds: model, compiler, image, simulator, comparison."""

import json
from pathlib import Path

import pytest

from codegen.__main__ import main as codegen
from sim.cli import main as sim


def test_everything_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                         capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    assert codegen(["build", "yolov4-tiny-eighth-64", "--target", "test-8x4", "--keep-tensors",
                    "-o", "b"]) == 0
    assert sim(["verify", "b", "--seed", "7", "--json", "r.json", "--shuffle", "0..2",
                "--races"]) == 0
    printed = capsys.readouterr().out
    assert "total mismatches: 0" in printed
    assert "3 random interleavings: same memory contents" in printed
    result = json.loads((tmp_path / "r.json").read_text())
    assert result["total_mismatches"] == 0
    assert result["engine"] == "iss"
    assert result["cycles_predicted"] > 0
    compared = {t["name"]: t for t in result["tensors"] if t["mismatches"] is not None}
    assert len(compared) == 60
    assert all(t["mismatches"] == t["max_abs_diff"] == 0 for t in compared.values())
