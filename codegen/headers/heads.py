"""Descriptors of YOLO heads: checked against the outputs, with tables of 256 codes."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from codegen.errors import BuildError
from codegen.headers.c_text import c_float, rows
from codegen.headers.tensors import Descriptor
from hw.spec.heads import Head, Heads

__all__ = ["HEAD_TYPES", "definitions", "match_heads"]

HEAD_TYPES = """\
/* What an output means: boxes of a YOLO network. Its channels are `anchors` times x, y, width,
 * height, objectness, and a score for each of the classes. */
struct macrame_head {
    uint16_t output;                    /* index in macrame_outputs */
    uint16_t stride;                    /* pixels of the input per cell */
    uint16_t anchors, classes;
    float scale_x_y;
    const float (*sizes)[2];            /* width and height of each anchor, pixels of the input */
    const float *sigmoid;               /* of the value of each stored byte, [256] */
    const float *exponential;           /* likewise exp, at most exp(30) */
};
"""

_MAX_EXPONENT = 30.0
"""exp() of it is wider than any picture, and with `_LARGEST` its square is finite in float32."""

_LARGEST = 65536.0
"""Pixels of an anchor."""


@dataclass(frozen=True)
class _Match:
    """A head, and the output that it is."""

    head: Head
    index: int
    output: Descriptor


def match_heads(heads: Heads, inputs: list[Descriptor], outputs: list[Descriptor]) -> list[_Match]:
    """Find the outputs that the heads name.

    Raises
    ------
    BuildError
        They are not those of the model.
    """
    shape = inputs[0].entry["shape"] if len(inputs) == 1 else []
    if len(shape) != 4:
        raise BuildError("a network with heads must have one input of shape [1, C, H, W], not "
                         f"{[tensor.entry['shape'] for tensor in inputs]}.")
    return [_match(head, shape, outputs) for head in heads.heads]


def _match(head: Head, shape: list[int], outputs: list[Descriptor]) -> _Match:
    names = [output.name for output in outputs]
    if head.output not in names:
        raise BuildError(f"head {head.output!r} must be an output of the model, which has "
                         f"{', '.join(map(repr, names))}; correct the heads.")
    index = names.index(head.output)
    output = outputs[index]
    expected = [1, head.channels, shape[2] / head.stride, shape[3] / head.stride]
    if output.entry["shape"] != expected or output.gather is not None:
        raise BuildError(
            f"head {head.output!r} must have the shape [1, {head.channels}, {expected[2]:g}, "
            f"{expected[3]:g}] ({len(head.anchors)} anchors of 5 + {head.classes} channels, "
            f"stride {head.stride} on an input of {shape[2]}x{shape[3]}) and no transposition, "
            f"not {output.entry['shape']}; correct the heads.")
    if not output.is_float:
        raise BuildError(f"head {head.output!r} must be a float output, not one of codes; name "
                         "the dequantized output.")
    largest = max(head.scale_x_y, *(side for pair in head.anchors for side in pair))
    if largest > _LARGEST:
        raise BuildError(f"anchors and scale_x_y of head {head.output!r} must be at most "
                         f"{_LARGEST:g}, not {largest:g}; correct the heads.")
    return _Match(head, index, output)


def definitions(matches: list[_Match]) -> Iterator[str]:
    """C definitions of ``macrame_heads``."""
    for n, match in enumerate(matches):
        values = _values(match.output)
        for name, table in (
                ("sigmoid", [_sigmoid(v) for v in values]),
                ("exponential", [math.exp(min(v, _MAX_EXPONENT)) for v in values])):
            yield f"static const float head_{n}_{name}[256] = {{"
            yield from rows(_float(v) for v in table)
            yield "};"
        sizes = ", ".join(f"{{ {_float(w)}, {_float(h)} }}" for w, h in match.head.anchors)
        yield f"static const float head_{n}_sizes[][2] = {{ {sizes} }};"
    yield "const struct macrame_head macrame_heads[] = {"
    for n, match in enumerate(matches):
        head = match.head
        yield "    {"
        for field, value in (
                ("output", match.index), ("stride", head.stride), ("anchors", len(head.anchors)),
                ("classes", head.classes), ("scale_x_y", _float(head.scale_x_y)),
                ("sizes", f"head_{n}_sizes"), ("sigmoid", f"head_{n}_sigmoid"),
                ("exponential", f"head_{n}_exponential")):
            yield f"        .{field} = {value},"
        yield "    },"
    yield "};"


def _values(output: Descriptor) -> list[float]:
    """What each stored byte stands for, in float32 as DequantizeLinear computes it."""
    codes = np.arange(256, dtype=np.uint8).view(np.int8).astype(np.int32) + output.entry["offset"]
    values = (codes - output.zero_point).astype(np.float32) * np.float32(output.scale)
    return [float(v) for v in values]


def _sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-max(x, -500.0)))


def _float(x: float) -> str:
    return c_float(float(np.float32(x)))
