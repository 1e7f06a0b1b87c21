"""Operators that join, frame or repeat codes."""

import numpy as np
import numpy.typing as npt

from codegen.exact import tables
from codegen.exact.reference import to_storage
from codegen.frontend.builder import Builder
from codegen.frontend.conv import copy_window
from codegen.frontend.data_rules import (
    joins_channels,
    pads_are_constant_mode,
    pads_are_spatial,
    resize_is_nearest_integer,
)
from codegen.frontend.elementwise import emit_table
from codegen.frontend.geometry import Window
from codegen.frontend.layout import (
    channel_axis,
    is_natural,
    natural,
)
from codegen.frontend.rules import refuse
from codegen.frontend.site import Site
from codegen.frontend.values import Codes, Constant, Quantization, describe, element_of, shape_of
from codegen.ir import Concat, Resize, Tensor
from hw.spec.config import MAX_REPEAT

__all__ = ["concat", "pad", "resize"]


def concat(site: Site, build: Builder) -> str:
    """Translate QLinearConcat and Concat.

    An input of QLinearConcat with another quantization than the result goes through a table.
    """
    quantized = site.node.op == "QLinearConcat"
    values = site.variadic()[::3] if quantized else site.variadic()
    rank = len(shape_of(values[0]))
    axis = site.integer("axis", 1)
    shapes = [list(shape_of(value)) for value in values]
    for shape in shapes:
        if (len(shape) != rank or not 1 <= rank <= 4 or axis % max(rank, 1) != channel_axis(rank)
                or not -rank <= axis < rank):
            refuse(site.node, joins_channels, f"axis {axis} of shapes {shapes}")
    for value in values:
        if isinstance(value, Codes) and not is_natural(value.tensor):
            refuse(site.node, joins_channels,
                   f"shape {list(value.shape)} of data that stands as [C, H, W] = "
                   f"{list(value.tensor.chw)}")
    axis %= rank
    rest = {tuple(shape[:axis] + shape[axis + 1:]) for shape in shapes}
    if len(rest) != 1:
        refuse(site.node, joins_channels, f"axis {axis} of shapes {shapes}")
    y_shape = list(shapes[0])
    y_shape[axis] = sum(shape[axis] for shape in shapes)
    first = next(v.tensor for v in values if isinstance(v, Codes))
    y_q = site.quantization("y") if quantized else None
    y = build.tensor(site, site.node.outputs[0], tuple(y_shape), unsigned=first.unsigned,
                     quantization=y_q, like=None if quantized else first)
    xs = []
    for i, value in enumerate(values):
        table = tables.identity()
        if y_q is not None:
            x_q = _concat_quantization(site, i, y_q.unsigned)
            if (x_q.scale, x_q.zero_point) != (y_q.scale, y_q.zero_point):
                table = tables.requantize_table(
                    x_q.scale, x_q.zero_point, y_q.scale, y_q.zero_point,
                    unsigned_in=x_q.unsigned, unsigned_out=y_q.unsigned)
        name = build.hidden(f"{site.node.name}:{i}")
        if isinstance(value, Constant):
            chw, gather = natural(value.array.shape)
            codes = table[to_storage(np.ascontiguousarray(value.array)).view(np.uint8)]
            data = np.empty(codes.size, np.int8)
            data[slice(None) if gather is None else gather] = codes.reshape(-1)
            build.tensor(site, name, value.array.shape, unsigned=y.unsigned, quantization=y_q,
                         data=data.reshape(chw))
        else:
            assert isinstance(value, Codes)
            name = value.tensor.base or value.tensor.name
            if not tables.is_identity(table):
                name = build.hidden(f"{site.node.name}:{i}")
                emit_table(site, build, value.tensor, table, quantization=y_q, name=name)
        xs.append(name)
    build.emit(Concat(name=site.node.name, kind=site.node.op, y=y.name, xs=tuple(xs)))
    build.values[y.name] = Codes(tensor=y)
    return "address arithmetic"


def pad(site: Site, build: Builder) -> str:
    """Translate Pad: padding of the convolution behind it if possible, else a copy in a border."""
    x = site.codes("x").tensor
    pads = _pads(site, len(x.shape))
    if pads is None:
        refuse(site.node, pads_are_spatial, "lists of different lengths")
    top, left, bottom, right = pads[2], pads[3], pads[6], pads[7]
    if any(pads[i] for i in (0, 1, 4, 5)):
        refuse(site.node, pads_are_spatial, f"pads {list(pads)}")
    offset = 128 if x.unsigned else 0
    values = site.numbers("value", ())
    if not values:
        values = [site.real("value", 0.0) if site.opset < 11 else 0]
    given = site.get("value")
    if given is not None and element_of(given) != site.element("x"):
        refuse(site.node, pads_are_constant_mode, f"constant_value is {describe(given)}")
    if len(values) != 1 or values[0] not in range(-128 + offset, 128 + offset):
        refuse(site.node, pads_are_constant_mode, f"constant_value {values}")
    value = int(values[0])
    stored = value - offset
    border = (top, left, bottom, right)
    shape = (1, x.chw[0], x.chw[1] + top + bottom, x.chw[2] + left + right)
    name = site.node.outputs[0]
    readers = site.consumers.get(name, ())
    if (min(border) >= 0 and name not in site.graph_outputs and len(readers) == 1
            and readers[0].op == "QLinearConv" and readers[0].inputs.count(name) == 1
            and readers[0].inputs[0] == name):
        zero = site.values.get(readers[0].inputs[2])
        if (isinstance(zero, Constant) and zero.array.size == 1
                and int(zero.array.reshape(())) == value):
            build.borders[name] = (x, border)
            build.values[name] = Codes(tensor=Tensor(
                name=name, shape=shape, chw=(shape[1], shape[2], shape[3]), unsigned=x.unsigned,
                scale=x.scale, zero_point=x.zero_point))
            return "padding of the convolution"
    y = build.tensor(site, name, shape, unsigned=x.unsigned, like=x)
    copy_window(site, build, x=x, y=y, zero_point=stored, window=Window(
        size=x.chw[1:], kernel=(1, 1), strides=(1, 1), pads=border))
    build.values[name] = Codes(tensor=y)
    return "array"


def resize(site: Site, build: Builder) -> str:
    """Translate Resize by nearest neighbour.

    Whether a combination of modes repeats every row and column the same number of times is found
    by computing the indices that ONNX Runtime would read.
    """
    value = site.value("x")
    x = build.source(value)
    rank = len(x.shape)
    scales, sizes = site.numbers("scales", ()), site.numbers("sizes", ())
    axes = [a % rank for a in site.integers("axes", tuple(range(rank)))]
    given = scales or sizes
    if (site.string("mode", "nearest") != "nearest" or len(given) != len(axes)
            or site.string("keep_aspect_ratio_policy", "stretch") != "stretch"
            or site.integer("antialias", 0)):
        refuse(site.node, resize_is_nearest_integer,
               f"mode {site.string('mode', 'nearest')!r}, scales {scales}, sizes {sizes}, "
               f"axes {axes}")
    if not all(0 < number < np.inf for number in given):
        refuse(site.node, resize_is_nearest_integer, f"scales {scales}, sizes {sizes}")
    factors = [1] * rank
    for axis, wanted in zip(axes, given):
        size = x.shape[axis]
        target = int(np.floor(np.float32(wanted) * np.float32(size))) if scales else int(wanted)
        factor, remainder = divmod(target, size)
        if remainder or not 1 <= factor <= MAX_REPEAT or (axis < 2 and factor > 1):
            refuse(site.node, resize_is_nearest_integer,
                   f"{size} to {target} elements along dimension {axis}")
        scale = np.float32(wanted) if scales else np.float32(target) / np.float32(size)
        if not np.array_equal(_nearest(site, size, target, scale), np.arange(target) // factor):
            refuse(site.node, resize_is_nearest_integer,
                   f"coordinate_transformation_mode {_transformation(site)!r} with nearest_mode "
                   f"{site.string('nearest_mode', 'round_prefer_floor')!r}")
        factors[axis] = factor
    name = build.moved_name(value, site.node.outputs[0])
    shape = tuple(size * factor for size, factor in zip(x.shape, factors))
    if max(factors) == 1:
        y = build.alias(site, name, x, shape, None)
    else:
        y = build.tensor(site, name, shape, unsigned=x.unsigned, like=x)
        build.emit(Resize(name=site.node.name, kind=site.node.op, y=name, x=x.base or x.name,
                          factors=(factors[2], factors[3])))
    build.set_moved(value, site.node.outputs[0], y)
    return "address arithmetic" if max(factors) == 1 else "array"


def _nearest(site: Site, size: int, target: int, scale: np.float32) -> npt.NDArray[np.int64]:
    """Return the index that each of `target` results reads, computed in float32."""
    i = np.arange(target, dtype=np.float32)
    one, half = np.float32(1), np.float32(0.5)
    match _transformation(site):
        case "asymmetric":
            x = i / scale
        case "half_pixel":
            x = (i + half) / scale - half
        case "pytorch_half_pixel":
            x = (i + half) / scale - half if target > 1 else i * 0
        case "half_pixel_symmetric":
            adjusted = np.float32(target) / (scale * np.float32(size))
            centre = np.float32(size) / 2
            x = centre * (one - adjusted) + (i + half) / scale - half
        case "align_corners":
            x = i * np.float32(size - 1) / np.float32(target - 1) if target > 1 else i * 0
        case _:
            return np.full(target, -1)
    mode = "floor" if site.opset < 11 else site.string("nearest_mode", "round_prefer_floor")
    match mode:
        case "round_prefer_floor":
            rounded = np.ceil(x - half)
        case "round_prefer_ceil":
            rounded = np.floor(x + half)
        case "floor":
            rounded = np.floor(x)
        case "ceil":
            rounded = np.ceil(x)
        case _:
            return np.full(target, -1)
    return np.asarray(np.clip(rounded, 0, size - 1), np.int64)


def _transformation(site: Site) -> str:
    default = "asymmetric" if site.opset < 11 else "half_pixel"
    return site.string("coordinate_transformation_mode", default)


def _concat_quantization(site: Site, i: int, unsigned: bool) -> Quantization:
    _, scale, zero_point = site.variadic()[3 * i:3 * i + 3]
    assert isinstance(scale, Constant) and isinstance(zero_point, Constant)
    return Quantization(scale=float(scale.array.reshape(())),
                        zero_point=int(zero_point.array.reshape(())), unsigned=unsigned)


def _pads(site: Site, rank: int) -> tuple[int, ...] | None:
    """Return the padding of all dimensions of [1, C, H, W]; None if it is not well-formed."""
    if site.get("pads") is None:
        pads = site.integers("pads", ())
        return pads if len(pads) == 2 * rank else None
    given = site.array("pads").reshape(-1).tolist()
    axes = site.numbers("axes", range(rank))
    if len(given) != 2 * len(axes) or any(not -rank <= axis < rank for axis in axes):
        return None
    all_pads = [0] * (2 * rank)
    for i, axis in enumerate(axes):
        all_pads[axis % rank], all_pads[rank + axis % rank] = given[i], given[len(axes) + i]
    return tuple(all_pads)
