"""One ONNX node together with the tensors it is evaluated on."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import onnx

from sim.errors import SimError

__all__ = ["Call", "Tensor"]

Tensor: TypeAlias = npt.NDArray[Any]


@dataclass(frozen=True)
class Call:
    """A node, its input tensors, and the version of its operator set.

    Parameters
    ----------
    node
        The ONNX node.
    inputs
        One entry for each name in ``node.input``; ``None`` for an optional input left out.
    opset
        Version of the default domain that the model imports.
    """

    node: onnx.NodeProto
    inputs: Sequence[Tensor | None]
    opset: int

    @property
    def name(self) -> str:
        """Name of the node; of its first output if it has none."""
        return str(self.node.name or next(iter(self.node.output), ""))

    def refuse(self, rule: str, found: str) -> SimError:
        """Make the error for a node that the reference does not evaluate."""
        return SimError(f"node {self.name!r} ({self.node.op_type}) cannot be evaluated by the "
                        f"integer reference: {rule} Found: {found}.")

    def require(self, holds: bool, rule: str, found: str) -> None:
        """Raise the error of ``refuse`` unless ``holds``."""
        if not holds:
            raise self.refuse(rule, found)

    def attribute(self, name: str, default: Any = None) -> Any:
        """Value of an attribute, text as ``str``; ``default`` if the node does not have it."""
        for attribute in self.node.attribute:
            if attribute.name == name:
                value = onnx.helper.get_attribute_value(attribute)
                return value.decode() if isinstance(value, bytes) else value
        return default

    def optional(self, index: int) -> Tensor | None:
        """Input number ``index``, or ``None`` if it was left out."""
        return self.inputs[index] if index < len(self.inputs) else None

    def tensor(self, index: int) -> Tensor:
        """Input number ``index``, which must be there."""
        found = self.optional(index)
        if found is None:
            raise self.refuse(f"Input {index} must be present.",
                              f"inputs {[str(name) for name in self.node.input]}")
        return found

    def scalar(self, index: int) -> np.float32:
        """Input number ``index``, which must be one float32."""
        value = self.tensor(index)
        self.require(value.size == 1 and value.dtype == np.float32,
                     f"Input {index} must be one float32 value.",
                     f"{value.dtype}{list(value.shape)}")
        return np.float32(value.reshape(-1)[0])

    def zero_point(self, index: int) -> int:
        """Input number ``index``, one integer; 0 if it was left out."""
        value = self.optional(index)
        if value is None:
            return 0
        self.require(value.size == 1 and value.dtype.kind in "iu",
                     f"Input {index} must be one integer zero point.",
                     f"{value.dtype}{list(value.shape)}")
        return int(value.reshape(-1)[0])

    def integers(self, index: int) -> list[int]:
        """Input number ``index`` as a list of integers: shapes, axes, splits."""
        return [int(value) for value in self.tensor(index).reshape(-1)]

    def eight_bit(self, index: int) -> Tensor:
        """Input number ``index``, which must be int8 or uint8."""
        value = self.tensor(index)
        self.require(value.dtype in (np.int8, np.uint8),
                     f"Input {index} must be int8 or uint8.", f"{value.dtype}")
        return value
