"""Tensors of a model as real numbers, so that those of float and quantized models compare.

ONNX Runtime's quantizer calls the codes of a tensor ``x`` ``x_quantized``; behind Split it forgets
the underscore.
"""

import re
from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx

from sim.integer import constants

__all__ = ["Scales", "dropped_activations", "real_tensors", "scales"]

Scales = Mapping[str, tuple[np.float32, int]]
"""Scale and zero point by name of the tensor."""

_AT = {
    "QuantizeLinear": 1, "QLinearConv": 6, "QLinearMatMul": 6, "QLinearAdd": 6, "QLinearMul": 6,
    "QGemm": 7, "QLinearAveragePool": 3, "QLinearGlobalAveragePool": 3, "QLinearLeakyRelu": 3,
    "QLinearSigmoid": 3, "QLinearConcat": 0,
}
"""Which input is the scale of the output; the zero point is the next one."""


def scales(model: onnx.ModelProto) -> Scales:
    """Scale and zero point of every tensor of codes.

    Operators that are not about scales (pooling, splitting, reshaping) pass those of their first
    input on. Tensors whose scale is not one constant number are left out.
    """
    known = dict[str, tuple[np.float32, int]]()
    values = constants(model.graph)
    for node in model.graph.node:
        if node.op_type == "DequantizeLinear":
            continue
        at = _AT.get(node.op_type)
        if at is None:
            first = known.get(str(node.input[0])) if node.input else None
            if first is not None:
                known |= dict.fromkeys(map(str, node.output), first)
            continue
        scale = values.get(str(node.input[at]))
        zero = values.get(str(node.input[at + 1])) if len(node.input) > at + 1 else np.zeros(1)
        if scale is not None and zero is not None and scale.size == zero.size == 1:
            known[str(node.output[0])] = (np.float32(scale.item()), int(zero.item()))
    return known


def real_tensors(tensors: Mapping[str, npt.NDArray[Any]], known: Scales
                 ) -> dict[str, npt.NDArray[np.float32]]:
    """All tensors of a model that have a meaning as real numbers, under their float names.

    Where a tensor exists as codes and as numbers, the codes count.

    Parameters
    ----------
    tensors
        Result of ``sim.golden.Golden.run``.
    known
        Result of ``scales``.
    """
    real = {name: value for name, value in tensors.items() if value.dtype == np.float32}
    for name, codes in tensors.items():
        if codes.dtype.kind in "iu" and name in known:
            scale, zero = known[name]
            steps = (codes.astype(np.int32) - zero).astype(np.float32)
            real[re.sub(r"_?quantized$", "", name)] = steps * scale
    return real


def dropped_activations(reference: onnx.ModelProto, names: Collection[str]) -> dict[str, str]:
    """Activations that a quantizer left out, because codes cannot leave their range.

    Parameters
    ----------
    names
        Of the other model's real tensors.

    Returns
    -------
    For the name under which the codes stand, the tensor of ``reference`` whose codes they are.
    """
    return {str(node.input[0]): str(node.output[0]) for node in reference.graph.node
            if node.op_type in ("Relu", "Clip") and node.input[0] in names
            and node.output[0] not in names}
