"""What an ONNX tensor can be while a model is imported."""

from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from codegen.frontend.model import Array
from codegen.ir import Tensor

__all__ = ["Codes", "Constant", "Quantization", "RealChain", "RealInput", "Refused", "Value",
           "describe", "element_of", "shape_of"]


@dataclass(frozen=True, kw_only=True)
class Quantization:
    """Scale and zero point as in the ONNX graph.

    Parameters
    ----------
    scale : float
        A float32, exactly.
    zero_point : int
    unsigned : bool
        The type is uint8, not int8.
    """

    scale: float
    zero_point: int
    unsigned: bool

    @property
    def stored_zero_point(self) -> int:
        """In the storage domain."""
        return self.zero_point - 128 if self.unsigned else self.zero_point


@dataclass(frozen=True, kw_only=True, eq=False)
class Constant:
    """An initializer, the result of a Constant node, or one of these reshaped."""

    array: Array

    @property
    def shape(self) -> tuple[int, ...]:
        """As in ONNX."""
        return self.array.shape

    @property
    def element(self) -> str:
        """Name of the type."""
        return self.array.dtype.name


@dataclass(frozen=True, kw_only=True, eq=False)
class Codes:
    """A quantized tensor: the only kind that exists on the array."""

    tensor: Tensor

    @property
    def shape(self) -> tuple[int, ...]:
        """As in ONNX."""
        return self.tensor.shape

    @property
    def element(self) -> str:
        """Name of the type."""
        return "uint8" if self.tensor.unsigned else "int8"


@dataclass(frozen=True, kw_only=True, eq=False)
class RealInput:
    """A float graph input that was at most reordered.

    Parameters
    ----------
    name : str
    input_shape : tuple of int
        Of the graph input.
    shape : tuple of int
        Of this tensor.
    order : int64[size] or None
        Element i of this tensor is element ``order[i]`` of the graph input, both flat.
        None: the same.
    """

    name: str
    input_shape: tuple[int, ...]
    shape: tuple[int, ...]
    order: npt.NDArray[np.int64] | None = None
    element: str = "float32"


@dataclass(frozen=True, kw_only=True, eq=False)
class RealChain:
    """A float tensor computed, element by element, from a quantized one.

    Parameters
    ----------
    source : Tensor
        The codes; all data movement has been applied to them already.
    quantization : Quantization
        Of the DequantizeLinear.
    nodes : dict of int to onnx.NodeProto
        DequantizeLinear and the operators after it, by position in the model.
    result : str
        Which result of these nodes this is.
    """

    source: Tensor
    quantization: Quantization
    nodes: dict[int, Any]
    result: str
    element: str = "float32"

    @property
    def shape(self) -> tuple[int, ...]:
        """As in ONNX."""
        return self.source.shape

    def on(self, source: Tensor) -> "RealChain":
        """Return the same function of other codes: the chain behind a data movement."""
        return replace(self, source=source)


@dataclass(frozen=True, kw_only=True, eq=False)
class Refused:
    """Result of a node that was refused; only in reports, an import stops there."""

    node: str


Value: TypeAlias = Constant | Codes | RealInput | RealChain | Refused


def element_of(value: Value) -> str:
    """Return the name of a value's type."""
    return "?" if isinstance(value, Refused) else value.element


def shape_of(value: Value) -> tuple[int, ...]:
    """Return a value's shape as in ONNX."""
    assert not isinstance(value, Refused), "nodes behind a refused one are not looked at"
    return value.shape


def describe(value: Value) -> str:
    """Say what a value is, for the `found` of an error."""
    match value:
        case Codes():
            return f"a quantized tensor, {value.element}"
        case Constant():
            return f"a constant, {value.element}{list(value.shape)}"
        case RealInput():
            return f"the float graph input {value.name!r}"
        case RealChain():
            return "float, the result of a DequantizeLinear"
    return "the result of a refused node"
