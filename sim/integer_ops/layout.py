"""Operators that move elements without changing them."""

import numpy as np
import onnx

from sim.integer_ops.call import Call, Tensor

__all__ = ["concat", "constant", "flatten", "identity", "pad", "reshape", "slice_", "split",
           "squeeze", "transpose", "unsqueeze"]


def identity(call: Call) -> list[Tensor]:
    """Evaluate Identity."""
    return [call.tensor(0)]


def constant(call: Call) -> list[Tensor]:
    """Evaluate Constant with a dense tensor, a float, an integer, or a list of these."""
    kinds = {"value_float": np.float32, "value_floats": np.float32, "value_int": np.int64,
             "value_ints": np.int64}
    for name, kind in kinds.items():
        if call.attribute(name) is not None:
            return [np.asarray(call.attribute(name), kind)]
    call.require(call.attribute("value") is not None, "A constant must be a dense tensor.",
                 str([str(a.name) for a in call.node.attribute]))
    return [np.asarray(onnx.numpy_helper.to_array(call.attribute("value")))]


def concat(call: Call) -> list[Tensor]:
    """Evaluate Concat."""
    parts = [call.tensor(i) for i in range(len(call.inputs))]
    return [np.concatenate(parts, axis=int(call.attribute("axis")))]


def split(call: Call) -> list[Tensor]:
    """Evaluate Split, into given sizes or equal ones (the last may be smaller)."""
    x, axis, count = call.tensor(0), int(call.attribute("axis", 0)), len(call.node.output)
    given = call.attribute("split") if call.opset < 13 else call.optional(1)
    if given is None:
        each = -(-x.shape[axis] // count)
        sizes = [each] * (count - 1) + [x.shape[axis] - each * (count - 1)]
    else:
        sizes = [int(size) for size in np.asarray(given).reshape(-1)]
    call.require(sum(sizes) == x.shape[axis] and len(sizes) == count and min(sizes) >= 0,
                 "The sizes must add up to the dimension, one for each output.",
                 f"sizes {sizes} for {x.shape[axis]}, {count} outputs")
    return list(np.split(x, np.cumsum(sizes)[:-1].tolist(), axis=axis))


def slice_(call: Call) -> list[Tensor]:
    """Evaluate Slice; bounds are clamped as ONNX says, steps may be negative."""
    x = call.tensor(0)
    if call.opset < 10:
        starts, ends = call.attribute("starts"), call.attribute("ends")
        axes, steps = call.attribute("axes"), None
    else:
        starts, ends = call.integers(1), call.integers(2)
        axes = None if call.optional(3) is None else call.integers(3)
        steps = None if call.optional(4) is None else call.integers(4)
    axes = axes if axes is not None else range(len(starts))
    cuts = [slice(None)] * x.ndim
    for axis, start, end, step in zip(axes, starts, ends, steps or [1] * len(starts)):
        size = x.shape[axis]
        lowest, highest = (0, size) if step > 0 else (-1, size - 1)
        first = min(max(start + size if start < 0 else start, max(lowest, 0)), highest)
        last = min(max(end + size if end < 0 else end, lowest), highest)
        cuts[axis] = slice(first, None if last < 0 else last, step)
    return [x[tuple(cuts)]]


def transpose(call: Call) -> list[Tensor]:
    """Evaluate Transpose."""
    return [np.transpose(call.tensor(0), call.attribute("perm"))]


def reshape(call: Call) -> list[Tensor]:
    """Evaluate Reshape; 0 keeps a dimension unless ``allowzero``."""
    x = call.tensor(0)
    shape = list(call.attribute("shape")) if call.opset < 5 else call.integers(1)
    if not call.attribute("allowzero", 0):
        shape = [x.shape[i] if size == 0 else size for i, size in enumerate(shape)]
    return [x.reshape(shape)]


def flatten(call: Call) -> list[Tensor]:
    """Evaluate Flatten."""
    x, axis = call.tensor(0), int(call.attribute("axis", 1))
    axis = axis + x.ndim if axis < 0 else axis
    return [x.reshape(int(np.prod(x.shape[:axis])), int(np.prod(x.shape[axis:])))]


def squeeze(call: Call) -> list[Tensor]:
    """Evaluate Squeeze."""
    axes = _axes(call)
    return [np.squeeze(call.tensor(0), None if axes is None else tuple(axes))]


def unsqueeze(call: Call) -> list[Tensor]:
    """Evaluate Unsqueeze."""
    axes = _axes(call)
    call.require(axes is not None, "The axes must be given.", "none")
    return [np.expand_dims(call.tensor(0), tuple(axes or ()))]


def _axes(call: Call) -> list[int] | None:
    """Axes from the attribute, or from input 1 since operator set 13."""
    if call.opset < 13:
        given = call.attribute("axes")
        return None if given is None else list(given)
    return None if call.optional(1) is None else call.integers(1)


def pad(call: Call) -> list[Tensor]:
    """Evaluate Pad with a constant; negative widths crop."""
    x, mode = call.tensor(0), call.attribute("mode", "constant")
    call.require(mode == "constant", "The mode must be 'constant'.", repr(mode))
    if call.opset < 11:
        pads, value = list(call.attribute("pads")), call.attribute("value", 0.0)
        axes = list(range(x.ndim))
    else:
        pads, filling = call.integers(1), call.optional(2)
        value = 0 if filling is None else filling.reshape(-1)[0]
        axes = list(range(x.ndim)) if call.optional(3) is None else call.integers(3)
    widths, cuts = [(0, 0)] * x.ndim, [slice(None)] * x.ndim
    for i, axis in enumerate(axes):
        begin, end = pads[i], pads[len(axes) + i]
        widths[axis] = (max(begin, 0), max(end, 0))
        cuts[axis] = slice(max(-begin, 0), x.shape[axis] - max(-end, 0))
    return [np.pad(x[tuple(cuts)], widths, constant_values=value)]
