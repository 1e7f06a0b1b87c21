"""Layers of YOLOv4-tiny at full size in Verilator, each by itself, against ONNX Runtime."""

from pathlib import Path

import pytest

from sim.slices.parts import Selection
from tests.builds import build_folder, verify_folder, zoo_model

pytestmark = pytest.mark.e2e

#: The folded first layer, a pointwise one, a 3x3 of 13x13 pixels, both heads, the upsampling:
#: some two million cycles.
LAYERS = {1: "conv0_quant", 16: "conv27_quant", 17: "conv28_quant", 19: "conv29_quant",
          20: "up33", 22: "conv36_quant"}


def test_full_size_layers_equal_onnx_runtime(tmp_path: Path) -> None:
    build = build_folder(zoo_model("yolov4-tiny-416"), tmp_path / "b", "ulx3s-85f")
    result = verify_folder(build, engine="rtl", selection=Selection(layers=list(LAYERS), jobs=2))
    assert result.rtl is not None
    assert {layer.layer: layer.name for layer in result.rtl.layers} == LAYERS
    assert result.total_mismatches == 0 and result.passed
    compared = {t.name for t in result.tensors if t.mismatches == 0}
    assert compared == {"act0_out_quantized", "act27_out_quantized", "act28_out_quantized",
                        "conv29_out_quantized", "conv29_out",
                        "route34_out_quantized", "conv36_out_quantized", "conv36_out"}
    assert all(abs(layer.error) < 0.05 for layer in result.rtl.layers)
