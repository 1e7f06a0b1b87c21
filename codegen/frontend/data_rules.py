"""Rules of the operators that work element by element or only move data."""

from codegen.frontend.rules import INDEX_TYPES
from codegen.frontend.site import Site
from codegen.frontend.values import Codes, Constant, RealChain, describe

__all__ = [
    "STEPS", "codes_or_chain", "input_is_movable", "joins_channels",
    "pads_are_constant_mode", "pads_are_spatial", "resize_is_nearest_integer",
    "shape_is_possible", "shapes_broadcast", "slice_is_box", "slice_is_constant",
    "table_is_possible",
]

STEPS = (1, 2, 4)



def input_is_movable(site: Site) -> str | None:
    """The input must be quantized, or float between DequantizeLinear and QuantizeLinear."""
    value = site.value("x")
    return None if isinstance(value, (Codes, RealChain)) else f"x is {describe(value)}"


# Elementwise


def shapes_broadcast(site: Site) -> str | None:
    """One input must have the shape of the result; the other may be a scalar, one element for each
    channel, or one channel.
    """


def codes_or_chain(site: Site) -> str | None:
    """The input may also be int8, and that of Clip uint8."""
    value = site.value("x")
    return "x is a quantized tensor, uint8" if (
        isinstance(value, Codes) and value.tensor.unsigned and site.node.op == "Relu") else None


def table_is_possible(site: Site) -> str | None:
    """Float operators must be elementwise functions of one quantized tensor, between
    DequantizeLinear and QuantizeLinear.
    """


# Data movement


def joins_channels(site: Site) -> str | None:
    """Tensors must be joined along their channels."""


def slice_is_constant(site: Site) -> str | None:
    """Starts, ends, axes and steps must be constant."""
    for role in ("starts", "ends", "axes", "steps"):
        value = site.get(role)
        if value is not None and not (isinstance(value, Constant)
                                      and value.element in INDEX_TYPES):
            return f"{role} is {describe(value)}"
    return None


def slice_is_box(site: Site) -> str | None:
    """A part of a tensor must be adjacent channels, and rows and columns with a step of 1, 2 or 4
    each.
    """


def shape_is_possible(site: Site) -> str | None:
    """The new shape must have as many elements as the old one."""


def pads_are_constant_mode(site: Site) -> str | None:
    """Padding must be of mode constant, with a code of the tensor's type."""
    mode = site.string("mode", "constant")
    return None if mode == "constant" else f"mode {mode!r}"


def pads_are_spatial(site: Site) -> str | None:
    """Padding must add rows and columns, not channels."""


def resize_is_nearest_integer(site: Site) -> str | None:
    """Resize must repeat rows and columns a whole number of times, 1..15 (nearest neighbour)."""
