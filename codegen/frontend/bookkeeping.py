"""Operators that only change how a tensor is looked at: the same data, another shape or order."""

import math
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from codegen.frontend.builder import Builder
from codegen.frontend.data_rules import shape_is_possible
from codegen.frontend.rules import refuse
from codegen.frontend.site import Site
from codegen.frontend.values import Codes, Constant, RealChain, RealInput, shape_of

__all__ = ["flatten", "identity", "reshape", "squeeze", "transpose", "unsqueeze"]

Shape = tuple[int, ...]


def identity(site: Site, build: Builder) -> str:
    """Translate Identity."""
    return _view(site, build, shape_of(site.value("x")), None)


def reshape(site: Site, build: Builder) -> str:
    """Translate Reshape."""
    shape = shape_of(site.value("x"))
    wanted = list(site.integers("shape", ())) if site.get("shape") is None else (
        site.array("shape").reshape(-1).tolist())
    if not site.integer("allowzero", 0):
        wanted = [shape[i] if size == 0 and i < len(shape) else size
                  for i, size in enumerate(wanted)]
    if wanted.count(-1) == 1:
        known = -math.prod(wanted)
        wanted[wanted.index(-1)] = math.prod(shape) // known if known > 0 else 0
    return _view(site, build, tuple(wanted), None)


def flatten(site: Site, build: Builder) -> str:
    """Translate Flatten."""
    shape, axis = shape_of(site.value("x")), site.integer("axis", 1)
    if not -len(shape) <= axis <= len(shape):
        refuse(site.node, shape_is_possible, f"axis {axis} of shape {list(shape)}")
    axis = axis + len(shape) if axis < 0 else axis
    return _view(site, build, (math.prod(shape[:axis]), math.prod(shape[axis:])), None)


def squeeze(site: Site, build: Builder) -> str:
    """Translate Squeeze."""
    shape = shape_of(site.value("x"))
    axes = _axes(site, [i for i, size in enumerate(shape) if size == 1], len(shape))
    if any(shape[axis] != 1 for axis in axes):
        refuse(site.node, shape_is_possible, f"axes {axes} of shape {list(shape)}")
    return _view(site, build, tuple(size for i, size in enumerate(shape) if i not in axes), None)


def unsqueeze(site: Site, build: Builder) -> str:
    """Translate Unsqueeze."""
    shape = shape_of(site.value("x"))
    count = len(site.integers("axes", ())) if site.get("axes") is None else (
        site.array("axes").size)
    rank = len(shape) + count
    axes = _axes(site, [], rank)
    rest = iter(shape)
    if len(set(axes)) != count:
        refuse(site.node, shape_is_possible, f"axes {axes}")
    return _view(site, build, tuple(1 if i in axes else next(rest) for i in range(rank)), None)


def transpose(site: Site, build: Builder) -> str:
    """Translate Transpose."""
    shape = shape_of(site.value("x"))
    order = site.integers("perm", tuple(reversed(range(len(shape)))))
    if sorted(order) != list(range(len(shape))):
        refuse(site.node, shape_is_possible, f"perm {list(order)} of shape {list(shape)}")
    return _view(site, build, tuple(shape[i] for i in order), lambda x: x.transpose(order))


def _view(site: Site, build: Builder, shape: Shape,
          order: Callable[[npt.NDArray[np.int64]], npt.NDArray[np.int64]] | None) -> str:
    """Record another view of the input: its elements in the given order and shape."""
    value, name = site.value("x"), site.node.outputs[0]
    old = shape_of(site.value("x"))
    if min(shape, default=1) < 1 or math.prod(shape) != math.prod(old):
        refuse(site.node, shape_is_possible, f"{list(old)} to {list(shape)}")
    if isinstance(value, Constant):
        array = value.array if order is None else order(value.array)
        build.values[name] = Constant(array=array.reshape(shape))
        return "constant"
    index = None
    if order is not None:
        index = order(np.arange(math.prod(old)).reshape(old)).reshape(-1)
    if isinstance(value, RealInput):
        if index is not None and value.order is not None:
            index = value.order[index]
        build.values[name] = RealInput(
            name=value.name, input_shape=value.input_shape, shape=shape,
            order=value.order if index is None else index)
        return "host"
    assert isinstance(value, (Codes, RealChain)), "rules about the input come first"
    y = build.alias(site, build.moved_name(value, name), build.source(value), shape, index)
    build.set_moved(value, name, y)
    return "address arithmetic"


def _axes(site: Site, default: list[int], rank: int) -> list[int]:
    # No axes and an empty list of them are the same to ONNX Runtime.
    axes = site.numbers("axes", site.integers("axes", ())) or default
    if any(not -rank <= axis < rank for axis in axes):
        refuse(site.node, shape_is_possible, f"axes {axes} of rank {rank}")
    return [axis % rank for axis in axes]
