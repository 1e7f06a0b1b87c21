"""Operators that take a part of a tensor: channels by address, rows and columns by a copy."""

import numpy as np
import numpy.typing as npt

from codegen.frontend.builder import Builder
from codegen.frontend.conv import copy_window
from codegen.frontend.data_rules import STEPS, shape_is_possible, slice_is_box
from codegen.frontend.geometry import Window
from codegen.frontend.layout import Box, box_of, is_plain, positions
from codegen.frontend.rules import refuse
from codegen.frontend.site import Site
from codegen.frontend.values import Value, shape_of
from codegen.ir import Slice, Tensor

__all__ = ["slice_", "split"]


def slice_(site: Site, build: Builder) -> str:
    """Translate Slice."""
    value = site.value("x")
    shape = shape_of(value)
    starts, ends = (site.array(role).reshape(-1).tolist() for role in ("starts", "ends"))
    axes = site.numbers("axes", range(len(starts)))
    steps = site.numbers("steps", [1] * len(starts))
    ranges = [range(size) for size in shape]
    if not len(starts) == len(ends) == len(axes) == len(steps) or any(
            not -len(shape) <= axis < len(shape) for axis in axes):
        refuse(site.node, slice_is_box, f"starts {starts}, ends {ends}, axes {axes}, steps {steps}")
    for start, end, axis, step in zip(starts, ends, axes, steps):
        if step < 1:
            refuse(site.node, slice_is_box, f"step {step} along dimension {axis}")
        ranges[axis] = range(shape[axis])[start:end:step]
    return _part(site, build, value, tuple(ranges), site.node.outputs[0])


def split(site: Site, build: Builder) -> str:
    """Translate Split."""
    value = site.value("x")
    shape = shape_of(value)
    axis = site.integer("axis", 0)
    count = len(site.node.outputs)
    if not -len(shape) <= axis < len(shape):
        refuse(site.node, slice_is_box, f"axis {axis} of shape {list(shape)}")
    amounts = site.integers("split", ())
    if site.get("split") is not None:
        amounts = tuple(site.array("split").reshape(-1).tolist())
    if site.get("split") is None and not site.has("split"):
        each = -(-shape[axis] // count)
        amounts = (*[each] * (count - 1), shape[axis] - each * (count - 1))
    if len(amounts) != count or sum(amounts) != shape[axis] or min(amounts) < 1:
        refuse(site.node, slice_is_box,
               f"parts {list(amounts)} for {count} outputs of dimension {shape[axis]}")
    becomes, start = set(), 0
    for amount, name in zip(amounts, site.node.outputs):
        ranges = [range(size) for size in shape]
        ranges[axis] = range(start, start + amount)
        start += amount
        if name:
            becomes.add(_part(site, build, value, tuple(ranges), name))
    return ", ".join(sorted(becomes))


def _part(site: Site, build: Builder, value: Value, ranges: tuple[range, ...], name: str) -> str:
    """Make a part of a tensor: ranges of its ONNX dimensions."""
    x = build.source(value)
    shape = tuple(map(len, ranges))
    if 0 in shape:
        refuse(site.node, shape_is_possible, f"shape {list(shape)}")
    if is_plain(x) and len(ranges[0]) == 1:
        box, gather = (ranges[1], ranges[2], ranges[3]), None
    else:
        found = box_of(positions(x)[np.ix_(*ranges)], x.chw)
        if found is None:
            refuse(site.node, slice_is_box, f"shape {list(shape)} of {list(x.shape)}, whose data "
                   f"stands as [C, H, W] = {list(x.chw)}")
        box, local = found
        gather = None if np.array_equal(local, np.arange(local.size)) else local
    becomes, y = _cut(site, build, x, box, build.moved_name(value, name), shape, gather)
    build.set_moved(value, name, y)
    return becomes


def _cut(site: Site, build: Builder, x: Tensor, box: Box, name: str, shape: tuple[int, ...],
         gather: npt.NDArray[np.int64] | None) -> tuple[str, Tensor]:
    """Cut a box out of the data of a tensor: channels by address, then rows and columns."""
    channels, rows, columns = box
    steps = [r.step if len(r) > 1 else 1 for r in box]
    if steps[0] != 1 or not set(steps[1:]) <= set(STEPS):
        refuse(site.node, slice_is_box, f"steps {steps} of channels, rows and columns")
    sizes = (len(channels), len(rows), len(columns))
    layout = (sizes, gather)
    is_spatial = sizes[1:] != x.chw[1:]
    source = x
    if sizes[0] != x.chw[0]:
        part = (sizes[0], *x.chw[1:])
        target = build.hidden(name.removeprefix("%")) if is_spatial else name
        y = build.tensor(site, target, (1, *part) if is_spatial else shape, unsigned=x.unsigned,
                         like=x, layout=(part, None) if is_spatial else layout)
        build.emit(Slice(name=site.node.name, kind=site.node.op, y=target, x=x.base or x.name,
                         start=channels.start, stop=channels.start + sizes[0]))
        source = y
    elif not is_spatial:
        return "address arithmetic", build.tensor(
            site, name, shape, unsigned=x.unsigned, like=x, layout=layout, base=x.base or x.name)
    if not is_spatial:
        return "address arithmetic", y
    # The last row that is wanted ends the window; what follows is trimmed.
    top, left = -rows.start, -columns.start
    bottom, right = ((len(r) - 1) * step + 1 - (size - r.start)
                     for r, step, size in zip((rows, columns), steps[1:], x.chw[1:]))
    y = build.tensor(site, name, shape, unsigned=x.unsigned, like=x, layout=layout)
    copy_window(site, build, x=source, y=y, window=Window(
        size=x.chw[1:], kernel=(1, 1), strides=(steps[1], steps[2]),
        pads=(top, left, bottom, right)))
    return "array", y
