"""What the front end accepts.

A rule is a function of a node in its surroundings. The first paragraph of its docstring is the
rule, in the words a user reads, in error messages and in the manual alike; a second paragraph, if
any, says what the user can do. It returns None if the node keeps the rule, and otherwise what it
found instead. A rule that can only be judged during translation returns None here, and the
translation refuses by its name.
"""

from collections.abc import Callable
from typing import Any, NoReturn, TypeAlias

import numpy as np

from codegen.errors import UnsupportedModelError
from codegen.frontend.model import Node, TensorType
from codegen.frontend.site import Site
from codegen.frontend.values import Codes, Constant, Value, describe, element_of
from hw.spec.config import MAX_CHANNELS, MAX_IMAGE_SIDE, MEMORY_BYTES

__all__ = [
    "INDEX_TYPES", "Rule", "activations_have_one_scale", "batch_is_one", "input_is_float_or_8_bit",
    "input_is_quantized_once", "input_is_static", "inputs_are_complete", "inputs_are_quantized",
    "inputs_are_quantized_or_constant", "model_is_in_qoperator_form", "model_is_quantized",
    "operator_is_supported", "output_is_quantized", "quantization_is_constant", "refuse",
    "rule_and_hint", "scales_are_positive", "sizes_are_constant", "tensors_fit", "types_agree",
    "zero_points_are_8_bit",
]

INDEX_TYPES = ("int32", "int64")

Rule: TypeAlias = Callable[[Site], str | None]

def rule_and_hint(rule: Callable[[Any], str | None]) -> tuple[str, str]:
    """Split a rule's docstring into the rule and the hint, each on one line."""
    paragraphs = (rule.__doc__ or "").strip().split("\n\n")
    lines = [" ".join(paragraph.split()) for paragraph in paragraphs]
    return lines[0], lines[1] if len(lines) > 1 else ""


def refuse(node: Node, rule: Callable[[Any], str | None], found: str, hint: str = "") -> NoReturn:
    """Refuse a node that breaks a rule.

    Raises
    ------
    UnsupportedModelError
        Always.
    """
    sentence, general_hint = rule_and_hint(rule)
    raise UnsupportedModelError(node=node.name, op=node.op, rule=sentence, found=found,
                                hint=hint or general_hint)


# Models


def input_is_static(tensor: TensorType) -> str | None:
    """Every dimension of a graph input must be a number."""
    if tensor.shape is None:
        return "no shape at all"
    symbolic = [f"dimension {i} is {size!r}" for i, size in enumerate(tensor.shape)
                if isinstance(size, str)]
    return f"shape {list(tensor.shape)}: {', '.join(symbolic)}" if symbolic else None


def input_is_float_or_8_bit(tensor: TensorType) -> str | None:
    """Graph inputs must be float32, int8 or uint8."""
    return None if tensor.element in ("float32", "int8", "uint8") else tensor.element


def model_is_quantized(site: Site) -> str | None:
    """The model must be quantized, with QLinearConv and other QLinear operators (QOperator form).

    Quantize it: onnxruntime.quantization.quantize_static(..., quant_format=QuantFormat.QOperator).
    """


def model_is_in_qoperator_form(site: Site) -> str | None:
    """The model must be in QOperator form (QLinearConv), not in QDQ form (Conv between
    DequantizeLinear and QuantizeLinear).

    Quantize the float model again with quant_format=QuantFormat.QOperator.
    """


def operator_is_supported(site: Site) -> str | None:
    """The operator must be in the table of supported operators.

    python -m codegen ops prints the table.
    """


def input_is_quantized_once(site: Site) -> str | None:
    """A float graph input must have one quantization."""


def output_is_quantized(site: Site) -> str | None:
    """A graph output must be a quantized tensor or the DequantizeLinear of one.

    Float operators behind the last DequantizeLinear have to be removed; the host computes them.
    """


# All operators


def inputs_are_complete(site: Site) -> str | None:
    """Inputs, outputs and attributes must be those that the operator defines."""
    given = site.node.inputs
    if not any(site.node.outputs[:1]):
        return "no output"
    for i, entry in enumerate(site.signature):
        if entry.endswith("*"):
            count, group = len(given) - i, 3 if site.node.op == "QLinearConcat" else 1
            return None if count and count % group == 0 and all(given[i:]) else (
                f"{len(given)} inputs")
        if not entry.endswith("?") and (i >= len(given) or not given[i]):
            return f"no input {entry!r}"
    if len(given) > len(site.signature):
        return f"{len(given)} inputs instead of {len(site.signature)}"
    return None


def tensors_fit(site: Site) -> str | None:
    return None


tensors_fit.__doc__ = (
    f"Tensors must have 1..{MAX_CHANNELS} channels, 1..{MAX_IMAGE_SIDE} rows and columns, and at "
    f"most {MEMORY_BYTES} elements.")


def batch_is_one(site: Site) -> str | None:
    """Tensors with four dimensions must be [1, C, H, W]; more than four only occur in reshapes.

    Export the model with batch 1; the host runs one frame after the other.
    """


def quantization_is_constant(site: Site) -> str | None:
    """Scales and zero points must be constants: initializers or Constant nodes."""
    for role, value, _ in site.constants():
        if not isinstance(value, Constant):
            return f"{role} {site.name(role)!r}, which is computed or a graph input"
    return None


def scales_are_positive(site: Site) -> str | None:
    """Scales must be float32, finite and positive."""
    for role, value, _ in site.constants():
        if role.endswith("_scale") and isinstance(value, Constant):
            if value.element != "float32":
                return f"{role} of type {value.element}"
            bad = value.array[~(np.isfinite(value.array) & (value.array > 0))]
            if bad.size or not value.array.size:
                return f"{role} {float(bad[0])!r}" if bad.size else f"{role} without elements"
    return None


def zero_points_are_8_bit(site: Site) -> str | None:
    """Zero points must be int8 or uint8, like the tensors they belong to."""
    for role, value, tensor in site.constants():
        if not role.endswith("_zero_point"):
            continue
        if element_of(value) not in ("int8", "uint8"):
            return f"{role} of type {element_of(value)}"
        if tensor is not None and element_of(tensor) != element_of(value):
            return f"{role} of type {element_of(value)}, tensor of type {element_of(tensor)}"
    if site.node.op == "QuantizeLinear" and site.element("y") == "?":
        return f"attribute output_dtype = {site.integer('output_dtype', 0)}"
    return None


def activations_have_one_scale(site: Site) -> str | None:
    """Activations must have one scale and one zero point; only weights can have more."""
    for role, value, _ in site.constants():
        if not role.startswith("w_") and isinstance(value, Constant) and value.array.size != 1:
            return f"{role} of shape {list(value.shape)}"
    return None


def inputs_are_quantized(site: Site) -> str | None:
    """The input must be an int8 or uint8 tensor that is not constant."""
    for role, value in _data(site):
        if not isinstance(value, Codes):
            return f"{role} is {describe(value)}"
    return None


def inputs_are_quantized_or_constant(site: Site) -> str | None:
    """Inputs must be int8 or uint8 tensors, and at most one of two constant."""
    values = [value for _, value in _data(site)]
    for role, value in _data(site):
        if not isinstance(value, Codes) and element_of(value) not in ("int8", "uint8"):
            return f"{role} is {describe(value)}"
    return None if any(isinstance(v, Codes) for v in values) else "only constants"


def types_agree(site: Site) -> str | None:
    """Inputs and output must all be int8 or all be uint8."""
    found = [element_of(value) for _, value in _data(site)]
    if "y_scale" in site.signature:
        found.append(site.element("y"))
    return None if len(set(found)) == 1 else ", ".join(found)


def sizes_are_constant(site: Site) -> str | None:
    """Shapes, sizes, axes and amounts must be constant, and of the operator's types.

    Simplify the model for its fixed input shape first (onnxsim, or onnxruntime's basic level).
    """
    for role in ("shape", "split", "axes", "scales", "sizes", "pads", "value", "min", "max"):
        value = site.get(role)
        if value is not None and not isinstance(value, Constant):
            return f"{role} is {describe(value)}"
        if value is not None and role not in ("value", "min", "max") and (
                element_of(value) not in (("float32",) if role == "scales" else INDEX_TYPES)):
            return f"{role} is {describe(value)}"
    return None


def _data(site: Site) -> list[tuple[str, Value]]:
    """Return the inputs that are neither quantization nor weights, by role."""
    if site.signature[-1].endswith("*"):
        if site.node.op == "QLinearConcat":
            return [(f"input {i}", v) for i, v in enumerate(site.variadic()[::3])]
        return [(f"input {i}", v) for i, v in enumerate(site.variadic())]
    return [(role, site.value(role)) for role in ("x", "a", "b") if role in site.signature]
