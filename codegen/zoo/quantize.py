"""Quantize a YOLOv4-tiny and check that nothing of it is left in float."""

from collections import Counter

import onnx

from codegen.quantize.static import Ranges, Variant, quantize

__all__ = ["OPERATORS", "quantize_yolo"]

OPERATORS = {
    "QuantizeLinear": 1, "QLinearConv": 21, "QLinearLeakyRelu": 19, "Split": 3,
    "QLinearConcat": 7, "MaxPool": 3, "Resize": 1, "DequantizeLinear": 2,
}
"""How often each operator occurs in a quantized YOLOv4-tiny."""


def quantize_yolo(model: onnx.ModelProto, ranges: Ranges, *, variant: Variant) -> onnx.ModelProto:
    """Quantize a model of ``codegen.zoo.architecture.float_model``; see `quantize`."""
    result = quantize(model, ranges, variant=variant)
    found = dict(Counter(node.op_type for node in result.graph.node))
    assert found == OPERATORS, f"operators of the quantized model must be {OPERATORS}, not {found}"
    return result
