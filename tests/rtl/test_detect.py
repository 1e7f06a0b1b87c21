"""Squares found by the generated Verilog, as by ONNX Runtime."""

import json
from pathlib import Path

import pytest

from sim.cli import main
from tests.builds import build_folder
from tests.sim.squares import example, write

pytestmark = pytest.mark.rtl


def test_the_core_finds_what_onnx_runtime_finds(tmp_path: Path) -> None:
    write(tmp_path)
    build_folder(tmp_path / "int8.onnx", tmp_path / "build", "test-4x4")
    out = tmp_path / "out.json"
    assert main(["detect", str(tmp_path / "build"), str(tmp_path / "a.png"), "--engine", "rtl",
                 "--engine", "ort", "--json", str(out)]) == 0  # 1 if they differ
    [picture_result] = json.loads(out.read_text())
    rtl, ort = picture_result["results"]
    assert rtl["engine"] == "rtl" and rtl["boxes"] == ort["boxes"]
    assert len(rtl["boxes"]) == len(example()[1])
