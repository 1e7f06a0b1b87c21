"""Scales of weights of channels that hardly depend on their input.

ONNX Runtime's quantizer takes the scale of a channel from its largest weight alone. For channels
that are all bias, such as those of classes that a network never learned, the array cannot compute
the result, or not exactly:

- all weights zero: the scale becomes 1. Biases are then multiples of the input's scale, and the
  rescaling of the accumulator can reach 2, which the array does not have;
- all weights tiny: the scale becomes so small that the bias just fits int32. Accumulators beyond
  2**24 are rounded by ONNX Runtime before they are scaled, which the array cannot repeat.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import numpy_helper

__all__ = ["Overrides", "weight_floors"]

Overrides = dict[str, list[dict[str, Any]]]
"""Option ``TensorQuantOverrides`` of ONNX Runtime's quantizer."""

_LEAST = 2.0**-16
"""Every rescaling of at least this is exact; see docs/numerics.md."""

_FLOOR = 2.0**-15
"""What smaller ones are raised to."""

_LARGEST_WEIGHT = 127


def weight_floors(quantized: onnx.ModelProto) -> Overrides:
    """Say which channels of which weights need a larger scale than they were given.

    A channel needs it if ``input scale * weight scale`` is less than ``2**-16`` of the output's
    scale, or all its weights are 0. It gets the weight scale that makes this ``2**-15``: then a
    weight that is rounded changes the output by 1/250 of its scale at most.

    Parameters
    ----------
    quantized : onnx.ModelProto
        As the quantizer made it without overrides.

    Returns
    -------
    Ranges by the names of the float weights; empty if all is well.
    """
    found: Overrides = {}
    for node, constants in _convolutions(quantized):
        x_scale, weight, w_scale, y_scale = (
            np.asarray(constants[node.input[i]]) for i in (1, 3, 4, 6))
        step = x_scale.astype(np.float64) / y_scale * w_scale.reshape(-1)  # [OC], or one
        zero = ~(weight != constants[node.input[5]].flat[0]).reshape(step.size, -1).any(axis=1)
        low = zero | (step < _LEAST)
        if low.any():
            end = float(_LARGEST_WEIGHT * _FLOOR * y_scale / x_scale)
            axis = {"axis": 0} if w_scale.ndim else {}
            found[node.input[3].removesuffix("_quantized")] = [
                axis | ({"rmin": -end, "rmax": end} if below else {}) for below in low]
    return found


def _convolutions(quantized: onnx.ModelProto,
                  ) -> Iterator[tuple[onnx.NodeProto, dict[str, npt.NDArray[Any]]]]:
    constants = {t.name: numpy_helper.to_array(t) for t in quantized.graph.initializer}
    for node in quantized.graph.node:
        if node.op_type == "QLinearConv":
            yield node, constants
