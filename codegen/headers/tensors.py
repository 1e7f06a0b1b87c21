"""Descriptors of inputs and outputs: from the manifest, checked, to C."""

import base64
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np

from codegen.errors import BuildError
from codegen.headers.c_text import c_float, c_string, rows
from codegen.headers.source import Source
from hw.spec.config import MAX_CHANNELS, MAX_IMAGE_SIDE

__all__ = ["Descriptor", "TENSOR_TYPES", "definitions", "descriptors"]

TENSOR_TYPES = """\
/* Channels `channel` .. are in lanes `lane` .. */
struct macrame_run {
    uint16_t channel, lane, count;
};

/* An input or output. Element (channel, row, column) is the byte
 *     address + lane / lanes * plane_stride + row * row_stride + column * column_stride
 *             + lane % lanes
 * of the activations window, where lane is channel - run.channel + run.lane for its run. The byte,
 * signed, plus `offset` is the model's code; (code - zero_point) * scale is its value. */
struct macrame_tensor {
    const char *name;                   /* of the graph's input or output, UTF-8 */
    uint32_t address;                   /* of the first byte, in the activations window */
    uint32_t bytes;                     /* from the first to behind the last */
    uint16_t channels, rows, columns;
    uint16_t lanes;                     /* of a plane */
    uint32_t plane_stride, row_stride, column_stride; /* bytes */
    int16_t offset;                     /* 128 for uint8, else 0 */
    int16_t zero_point;                 /* of the model's codes */
    float scale;                        /* 0 if the model does not state it */
    uint8_t is_float;                   /* the model's own input or output is float */
    uint8_t is_unsigned;                /* codes are uint8, else int8 */
    uint16_t run_count;
    const struct macrame_run *runs;     /* by channel, without gaps */
    uint32_t elements;
    const uint32_t *gather;             /* ONNX element i is element gather[i] of
                                           [channels][rows][columns]; NULL: i */
    uint32_t rank;
    const uint32_t *shape;              /* ONNX shape */
};
"""


@dataclass(frozen=True)
class Descriptor:
    """One input or output of the graph.

    Parameters
    ----------
    name
        Of the graph's input or output.
    entry
        Its tensor's entry of the manifest, checked.
    scale, zero_point
        0 where the model states none.
    is_float
        Whether the host quantizes or dequantizes it.
    lanes
        Of a plane: R, or the channels of packed pixels.
    gather
        uint32[elements] or None.
    """

    name: str
    entry: dict[str, Any]
    scale: float
    zero_point: int
    is_float: bool
    lanes: int
    gather: tuple[int, ...] | None

    @property
    def column_stride(self) -> int:
        """Bytes from a column to the next."""
        return self.lanes

    @property
    def plane_stride(self) -> int:
        """Bytes from a plane of lanes to the next."""
        return int(self.entry["rows"] * self.entry["pitch"])

    @property
    def bytes(self) -> int:
        """From the first to behind the last."""
        return self.plane_stride * int(self.entry["bricks"])


def descriptors(source: Source, kind: str, conversion: str) -> list[Descriptor]:
    """The inputs (``"inputs"``, ``"quantize"``) or outputs (``"outputs"``, ``"dequantize"``).

    Raises
    ------
    BuildError
        The manifest does not describe them, or places them outside the activations window.
    """
    try:
        tensors = {entry["name"]: entry for entry in source.manifest["tensors"]}
        return [_descriptor(source, item["name"], tensors[item["tensor"]], item[conversion])
                for item in source.manifest[kind]]
    except (ValueError, KeyError, TypeError, OverflowError, zlib.error) as error:
        raise BuildError(f"{str(source.folder / 'manifest.json')!r} must be a manifest made by "
                         f"`python -m codegen build`; it is damaged ({error!r}). Build the model "
                         "again.") from error


def _descriptor(source: Source, name: str, entry: dict[str, Any],
                pair: dict[str, Any] | None) -> Descriptor:
    if not entry["in_memory"]:
        raise ValueError(f"{name!r} is not in memory")
    _check(name, entry, source)
    stated = pair or {"scale": entry["scale"], "zero_point": entry["zero_point"]}
    gather = None
    if "gather" in entry:
        gather = tuple(np.frombuffer(zlib.decompress(base64.b64decode(entry["gather"])),
                                     "<i4").tolist())
        if len(gather) != prod(entry["shape"]) or not all(0 <= i < prod(entry["chw"])
                                                          for i in gather):
            raise ValueError(f"'gather' of {name!r} is no view of its elements")
    elif prod(entry["shape"]) != prod(entry["chw"]):
        raise ValueError(f"'shape' of {name!r} is not that of its elements")
    packed = entry["layout"] == "packed"
    scale, zero_point = float(np.float32(stated["scale"] or 0)), int(stated["zero_point"] or 0)
    if not 0 <= scale < np.inf or not -128 <= zero_point <= 255:
        raise ValueError(f"{name!r} has a quantization of {scale!r}, {zero_point!r}")
    return Descriptor(str(name), entry, scale, zero_point, pair is not None,
                      int(entry["chw"][0] if packed else source.image.config.rows), gather)


def _check(name: str, entry: dict[str, Any], source: Source) -> None:
    """Refuse what is not a tensor inside the activations window."""
    numbers = [entry[key] for key in ("address", "bricks", "rows", "columns", "pitch", "offset")]
    numbers += [*entry["chw"], *entry["shape"], *(n for run in entry["lanes"] for n in run)]
    if not all(type(n) is int and 0 <= n < 1 << 32 for n in numbers):
        raise ValueError(f"{name!r} has a size that is no number")
    c, height, width = entry["chw"]
    if entry["layout"] not in ("bricks", "packed") or entry["dtype"] not in ("int8", "uint8"):
        raise ValueError(f"{name!r} is {entry['layout']!r} of {entry['dtype']!r}")
    packed = entry["layout"] == "packed"
    lanes = entry["bricks"] * (c if packed else source.image.config.rows)
    at = 0
    for first, lane, count in entry["lanes"]:
        if first != at or not count or lane + count > lanes:
            raise ValueError(f"'lanes' of {name!r} are not those of {c} channels")
        at += count
    if at != c or c > MAX_CHANNELS or max(height, width) > MAX_IMAGE_SIDE \
            or (height, width) != (entry["rows"], entry["columns"]) \
            or entry["pitch"] < width * (c if packed else source.image.config.rows) \
            or entry["address"] + entry["bricks"] * height * entry["pitch"] \
            > source.image.activation_bytes:
        raise ValueError(f"{name!r} is not inside the activations window")


def definitions(kind: str, tensors: list[Descriptor]) -> Iterator[str]:
    """C definitions of an array of descriptors, ``macrame_inputs`` or ``macrame_outputs``."""
    for n, tensor in enumerate(tensors):
        entry = tensor.entry
        runs = ", ".join(f"{{ {a}, {b}, {c} }}" for a, b, c in entry["lanes"])
        yield f"static const struct macrame_run {kind}_{n}_runs[] = {{ {runs} }};"
        yield (f"static const uint32_t {kind}_{n}_shape[] = "
               f"{{ {', '.join(map(str, entry['shape'] or [1]))} }};")
        if tensor.gather is not None:
            yield f"static const uint32_t {kind}_{n}_gather[] = {{"
            yield from rows(map(str, tensor.gather))
            yield "};"
    yield f"const struct macrame_tensor macrame_{kind}s[] = {{"
    for n, tensor in enumerate(tensors):
        entry = tensor.entry
        c, height, width = entry["chw"]
        yield "    {"
        for field, value in (
                ("name", c_string(tensor.name)), ("address", entry["address"]),
                ("bytes", tensor.bytes), ("channels", c), ("rows", height), ("columns", width),
                ("lanes", tensor.lanes), ("plane_stride", tensor.plane_stride),
                ("row_stride", entry["pitch"]), ("column_stride", tensor.column_stride),
                ("offset", entry["offset"]), ("zero_point", tensor.zero_point),
                ("scale", c_float(tensor.scale)), ("is_float", int(tensor.is_float)),
                ("is_unsigned", int(entry["dtype"] == "uint8")),
                ("run_count", len(entry["lanes"])), ("runs", f"{kind}_{n}_runs"),
                ("elements", prod(entry["shape"])),
                ("gather", "NULL" if tensor.gather is None else f"{kind}_{n}_gather"),
                ("rank", len(entry["shape"])), ("shape", f"{kind}_{n}_shape")):
            yield f"        .{field} = {value},"
        yield "    },"
    yield "};"
