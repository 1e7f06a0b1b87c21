"""How much of each tensor's signal is left after quantization."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import onnx
from onnx import numpy_helper

from codegen.quantize.codes import coded_tensors
from codegen.quantize.prepare import FloatModel
from codegen.quantize.ranges import Progress
from codegen.quantize.taps import Taps

__all__ = ["TensorNoise", "compare"]

_ALONE = "%alone"  # ends the names of tensors that are added to the float model


@dataclass(frozen=True, kw_only=True)
class TensorNoise:
    """Float values of a tensor against those that its codes stand for.

    SQNR is the power of the signal over that of the difference, in decibels, for all pictures
    together; infinite if nothing is lost.

    Parameters
    ----------
    name, operator : str
        Of the tensor and of what makes it, in the float model.
    low, high : float
        What its codes can stand for.
    sqnr : float
        In the quantized model, so with all that its inputs lost already.
    alone : float or None
        With exact inputs: what this node's weights and its result's codes lose. None if the node
        only moves codes.
    """

    name: str
    operator: str
    low: float
    high: float
    sqnr: float
    alone: float | None


@dataclass
class _Power:
    signal: float = 0.0
    noise: float = 0.0
    noise_alone: float = 0.0

    def decibels(self, noise: float) -> float:
        if noise == 0:
            return np.inf
        return 10 * float(np.log10(self.signal / noise)) if self.signal else -np.inf


@dataclass
class _WithAlone:
    """The float model, and beside each convolution one with weights that went through codes.

    Parameters
    ----------
    model : onnx.ModelProto
    names : dict of str to str
        What such a convolution makes, by the name of what the original makes.
    """

    model: onnx.ModelProto
    names: dict[str, str] = field(default_factory=dict)


def compare(model: FloatModel, quantized: onnx.ModelProto,
            inputs: Sequence[npt.NDArray[np.float32]], progress: Progress) -> list[TensorNoise]:
    """Run both models and compare every tensor that both have, in the float model's order."""
    codes = coded_tensors(model.proto, quantized)
    both = _with_alone(model.proto, quantized)
    floats = Taps(both.model, (*codes, *both.names.values()))
    integers = Taps(quantized, tuple(coded.name for coded in codes.values()))
    powers = {name: _Power() for name in codes}
    for n, x in enumerate(inputs):
        progress("comparing", n, len(inputs))
        expected, found = floats.run(x), integers.run(x)
        for name, coded in codes.items():
            values, power = expected[name].astype(np.float64), powers[name]
            alone = expected[both.names.get(name, name)]
            power.signal += _energy(values)
            power.noise += _energy(values - coded.values(found[coded.name]))
            power.noise_alone += _energy(values - coded.rounded(alone))
    return [TensorNoise(
        name=name, operator=node.op_type, low=codes[name].low, high=codes[name].high,
        sqnr=powers[name].decibels(powers[name].noise),
        alone=None if codes[name].moved else powers[name].decibels(powers[name].noise_alone))
        for node in model.proto.graph.node for name in node.output if name in codes]


def _with_alone(model: onnx.ModelProto, quantized: onnx.ModelProto) -> _WithAlone:
    constants = {t.name: t for t in quantized.graph.initializer}
    result = _WithAlone(onnx.ModelProto())
    result.model.CopyFrom(model)
    graph = result.model.graph
    for node in model.graph.node:
        if node.op_type != "Conv" or f"{node.input[1]}_quantized" not in constants:
            continue
        codes, scale, zero_point = (
            numpy_helper.to_array(constants[f"{node.input[1]}_{part}"]).astype(np.float64)
            for part in ("quantized", "scale", "zero_point"))
        column = (-1, *[1] * (codes.ndim - 1))
        weight = (codes - zero_point.reshape(column)) * scale.reshape(column)
        twin = graph.node.add()
        twin.CopyFrom(node)
        twin.name, twin.input[1] = f"{node.name}{_ALONE}", f"{node.output[0]}.weight{_ALONE}"
        twin.output[0] = result.names[node.output[0]] = f"{node.output[0]}{_ALONE}"
        graph.initializer.append(numpy_helper.from_array(weight.astype(np.float32),
                                                         twin.input[1]))
    return result


def _energy(values: npt.NDArray[np.float64]) -> float:
    return float(np.square(values).sum())
