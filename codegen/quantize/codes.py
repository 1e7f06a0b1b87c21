"""Which tensors of a quantized model hold the codes of which float tensors.

By the names that ONNX Runtime's quantizer gives: the codes of ``x`` are ``x_quantized``, with
``x_scale`` and ``x_zero_point``. What only moves codes has the scale of its input.
"""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import numpy_helper

__all__ = ["Coded", "coded_tensors"]


@dataclass(frozen=True, kw_only=True)
class Coded:
    """A tensor of codes: ``scale * (code - zero_point)``.

    Parameters
    ----------
    name : str
        In the quantized model.
    scale : float
    zero_point : int
    first : int
        The least code: -128 or 0.
    moved : bool
        The codes are those of another tensor, only elsewhere.
    """

    name: str
    scale: float
    zero_point: int
    first: int
    moved: bool = False

    def values(self, codes: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
        """What codes stand for."""
        return self.scale * (codes.astype(np.float64) - self.zero_point)

    def rounded(self, values: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
        """What is left of values after they were coded."""
        codes = np.rint(values.astype(np.float64) / self.scale) + self.zero_point
        return self.values(np.clip(codes, self.first, self.first + 255))

    @property
    def low(self) -> float:
        """What the least code stands for."""
        return self.scale * (self.first - self.zero_point)

    @property
    def high(self) -> float:
        """What the largest code stands for."""
        return self.scale * (self.first + 255 - self.zero_point)


def coded_tensors(model: onnx.ModelProto, quantized: onnx.ModelProto) -> dict[str, Coded]:
    """Find the codes of float tensors that are read or are outputs, by the names of these.

    Where the quantizer dropped a Relu or Clip, because codes cannot leave its range, the codes are
    those of its result.
    """
    made = [y for node in model.graph.node for y in node.output]
    coded = _by_float_name(quantized, set(made))
    for node in model.graph.node:
        x, y = node.input[0] if node.input else "", node.output[0]
        if node.op_type in ("Relu", "Clip") and x in coded and y not in coded:
            coded[y] = coded.pop(x)
    used = {x for node in model.graph.node for x in node.input}
    used |= {value.name for value in model.graph.output}
    return {name: coded[name] for name in made if name in coded and name in used}


def _by_float_name(quantized: onnx.ModelProto, floats: set[str]) -> dict[str, Coded]:
    constants = {t.name: t for t in quantized.graph.initializer}
    found: dict[str, Coded] = {}
    everything: dict[str, Coded] = {}  # by name of the codes
    for node in quantized.graph.node:
        source = next((everything[x] for x in node.input if x in everything), None)
        for y in node.output:
            if not y.endswith("quantized"):
                continue
            name = y.removesuffix("quantized").removesuffix("_")  # Split leaves out the "_"
            if f"{name}_scale" in constants:
                zero_point = numpy_helper.to_array(constants[f"{name}_zero_point"])
                own = Coded(
                    name=y, scale=float(numpy_helper.to_array(constants[f"{name}_scale"])),
                    zero_point=int(zero_point), first=int(np.iinfo(zero_point.dtype).min))
            elif source is not None:
                own = replace(source, name=y, moved=True)
            else:
                continue
            everything[y] = own
            if name in floats:
                found[name] = own
    return found
