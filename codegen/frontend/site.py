"""A node in its surroundings: what a rule looks at, and what a translation takes its inputs from.

Inputs are named as in `INPUTS`. A name that ends in ``_scale`` or ``_zero_point`` is the
quantization of the tensor before the underscore; ``w`` is weights.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from codegen.frontend.model import Array, Node
from codegen.frontend.values import Codes, Constant, Quantization, RealChain, Value

__all__ = ["INPUTS", "MissingInput", "Site"]

# ONNX lets the last one be left out, too; ONNX Runtime 1.31.1 then reads past the end of its list.
_UNARY = "x x_scale x_zero_point? y_scale y_zero_point"
_BINARY = "a a_scale a_zero_point? b b_scale b_zero_point? y_scale y_zero_point?"

INPUTS = {
    op: tuple(names.split()) for op, names in {
        "Concat": "x*",
        "Constant": "",
        "DequantizeLinear": "x x_scale x_zero_point?",
        "MaxPool": "x",
        "Pad": "x pads? value? axes?",
        "QGemm": "x x_scale x_zero_point w w_scale w_zero_point bias? y_scale? y_zero_point?",
        "QLinearAdd": _BINARY,
        "QLinearAveragePool": _UNARY,
        "QLinearConcat": "y_scale y_zero_point x*",
        "QLinearConv": "x x_scale x_zero_point w w_scale w_zero_point y_scale y_zero_point bias?",
        "QLinearGlobalAveragePool": _UNARY,
        "QLinearLeakyRelu": _UNARY,
        "QLinearMatMul": "x x_scale x_zero_point w w_scale w_zero_point y_scale y_zero_point",
        "QLinearMul": _BINARY,
        "QLinearSigmoid": _UNARY,
        "QuantizeLinear": "x y_scale y_zero_point?",
        "Reshape": "x shape?",
        "Resize": "x roi? scales? sizes?",
        "Slice": "x starts ends axes? steps?",
        "Split": "x split?",
        "Squeeze": "x axes?",
        "Unsqueeze": "x axes?",
        "Clip": "x min? max?",
        **dict.fromkeys(("Add", "Div", "Max", "Min", "Mul", "PRelu", "Pow", "Sub"), "x*"),
    }.items()
}
"""Inputs by operator, in order; ``?`` marks what may be left out, ``*`` any number. An operator
that is not here has one, ``x``."""


class MissingInput(Exception):
    """A node lacks an input, or its attribute has another type than the operator defines."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Site:
    """A node with the values of its inputs.

    Parameters
    ----------
    node : Node
    index : int
        Position of the node in the model.
    opset : int
        Version of the ONNX operator set.
    values : mapping of str to Value
        Every tensor known so far.
    consumers : mapping of str to tuple of Node
        Who reads a tensor.
    graph_outputs : frozenset of str
    """

    node: Node
    index: int
    opset: int
    values: Mapping[str, Value]
    consumers: Mapping[str, tuple[Node, ...]]
    graph_outputs: frozenset[str]

    @property
    def signature(self) -> tuple[str, ...]:
        """Names of the operator's inputs, see :data:`INPUTS`."""
        # Resize of operator set 10 has no region of interest.
        if self.node.op == "Resize" and self.opset < 11:
            return ("x", "scales?")
        return INPUTS.get(self.node.op, ("x",))

    def name(self, role: str) -> str:
        """Return the ONNX name of an input; empty if it was left out."""
        for i, entry in enumerate(self.signature):
            if entry.rstrip("?*") == role and i < len(self.node.inputs):
                return self.node.inputs[i]
        return ""

    def get(self, role: str) -> Value | None:
        """Return an input, or None if it was left out."""
        name = self.name(role)
        return self.values[name] if name else None

    def value(self, role: str) -> Value:
        """Return an input that must be there."""
        value = self.get(role)
        if value is None:
            raise MissingInput(f"no input {role!r}")
        return value

    def variadic(self) -> tuple[Value, ...]:
        """Return the inputs from the one marked ``*`` on."""
        first = next(i for i, entry in enumerate(self.signature) if entry.endswith("*"))
        return tuple(self.values[name] for name in self.node.inputs[first:] if name)

    def codes(self, role: str) -> Codes:
        """Return an input that rules have found to be quantized."""
        value = self.value(role)
        assert isinstance(value, Codes), f"{role} must be quantized: rules come first"
        return value

    def array(self, role: str) -> Array:
        """Return an input that rules have found to be constant."""
        value = self.value(role)
        assert isinstance(value, Constant), f"{role} must be constant: rules come first"
        return value.array

    def numbers(self, role: str, default: Iterable[int]) -> list[Any]:
        """Return the elements of a constant input, or `default` if it was left out."""
        return list(default) if self.get(role) is None else self.array(role).reshape(-1).tolist()

    def constants(self) -> Iterator[tuple[str, Value, Value | None]]:
        """Yield the scales and zero points among the inputs: role, value, and whose they are."""
        for entry in self.signature:
            role = entry.rstrip("?*")
            if role.endswith(("_scale", "_zero_point")) and (value := self.get(role)) is not None:
                tensor = role.removesuffix("_scale").removesuffix("_zero_point")
                yield role, value, self.get(tensor)
        if self.node.op == "QLinearConcat":
            values = self.variadic()
            for i in range(len(values) // 3):
                yield f"x{i}_scale", values[3 * i + 1], values[3 * i]
                yield f"x{i}_zero_point", values[3 * i + 2], values[3 * i]

    def element(self, role: str) -> str:
        """Return the name of the type of a tensor and its zero point.

        The result has the type of its zero point, or else, in ONNX's QuantizeLinear, uint8,
        and in Microsoft's operators that of the input.
        """
        if (zero_point := self.get(f"{role}_zero_point")) is not None:
            assert isinstance(zero_point, Constant), "zero points are constant: rules come first"
            return zero_point.element
        if role != "y":
            value = self.value(role)
            assert not isinstance(value, RealChain)
            return str(value.element) if hasattr(value, "element") else "?"
        if self.node.op == "QuantizeLinear":
            return {0: "uint8", 2: "uint8", 3: "int8"}.get(self.integer("output_dtype", 0), "?")
        return self.element("x" if "x" in self.signature else "a")

    def quantization(self, role: str) -> Quantization:
        """Return scale and zero point of an activation."""
        zero_point = self.get(f"{role}_zero_point")
        return Quantization(
            scale=float(np.float32(self.array(f"{role}_scale").reshape(()))),
            zero_point=0 if zero_point is None
            else int(self.array(f"{role}_zero_point").reshape(())),
            unsigned=self.element(role) == "uint8")

    def integer(self, name: str, default: int) -> int:
        """Return an integer attribute."""
        return int(self._attribute(name, default, lambda v: isinstance(v, int)))

    def real(self, name: str, default: float) -> float:
        """Return a float attribute."""
        return float(self._attribute(name, default, lambda v: isinstance(v, float)))

    def string(self, name: str, default: str) -> str:
        """Return a string attribute."""
        return str(self._attribute(name, default, lambda v: isinstance(v, str)))

    def integers(self, name: str, default: tuple[int, ...]) -> tuple[int, ...]:
        """Return an attribute that is a list of integers."""
        found = self._attribute(name, default, lambda v: isinstance(v, tuple)
                                and all(isinstance(i, int) for i in v))
        return tuple(found)

    def has(self, name: str) -> bool:
        """Say whether the node has an attribute."""
        return name in self.node.attributes

    def _attribute(self, name: str, default: Any, accepts: Any) -> Any:
        value = self.node.attributes.get(name, default)
        if not accepts(value):
            raise MissingInput(f"attribute {name} = {value!r}")
        return value
