"""Layers of YOLOv4-tiny at full size in Verilator, each by itself, against ONNX Runtime."""

from pathlib import Path

import pytest

from sim.slices.parts import Selection
from tests.builds import build_folder, layer_of, verify_folder, zoo_model

pytestmark = pytest.mark.e2e

#: The folded first layer with those that follow in its cascade, a pointwise one and a 3x3 of
#: 13x13 pixels, both heads, the 3x3 that reads an upsampled tensor: some seven million cycles.
NODES = ("conv0_quant", "conv28_quant", "conv29_quant", "up33", "conv36_quant")


def test_full_size_layers_equal_onnx_runtime(tmp_path: Path) -> None:
    build = build_folder(zoo_model("yolov4-tiny-416"), tmp_path / "b", "ulx3s-85f")
    layers = {layer.number: layer for layer in (layer_of(build, node) for node in NODES)}
    result = verify_folder(build, engine="rtl", selection=Selection(layers=list(layers), jobs=2))
    assert result.rtl is not None
    assert {layer.layer: layer.name for layer in result.rtl.layers} == {
        number: layer.name for number, layer in layers.items()}
    assert result.total_mismatches == 0 and result.passed
    compared = {t.name for t in result.tensors if t.mismatches == 0}
    assert compared == {"act4_out_quantized", "act27_out_quantized", "act28_out_quantized",
                        "conv29_out_quantized", "conv29_out",
                        "act35_out_quantized", "conv36_out_quantized", "conv36_out"}
    assert all(abs(layer.error) < 0.05 for layer in result.rtl.layers)
