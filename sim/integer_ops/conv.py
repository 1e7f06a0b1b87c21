"""QLinearConv: exact integer convolution, then one requantization.

N images, C input channels, M output channels, G groups, K products per output (C/G * kernel).
"""

import numpy as np

from sim.integer_ops.arithmetic import exact_float, requantize
from sim.integer_ops.call import Call, Tensor
from sim.integer_ops.windows import Windows, windows_of

__all__ = ["qlinear_conv"]


def qlinear_conv(call: Call) -> list[Tensor]:
    """Evaluate QLinearConv.

    ``acc = bias + sum((x - x_zp) * (w - w_zp))``, padding contributes nothing;
    ``y = requantize(acc, fl(fl(x_scale * w_scale) / y_scale), y_zp)``. Any number of spatial
    dimensions, kernel, strides, dilations, padding and groups; int8 or uint8 on either side;
    weight scale and zero point for the tensor or for each output channel.
    """
    x, w, y_zero = call.eight_bit(0), call.eight_bit(3), call.eight_bit(7)
    groups = int(call.attribute("group", 1))
    channels, outputs = x.shape[1], w.shape[0]
    call.require(w.ndim == x.ndim and channels == w.shape[1] * groups and outputs % groups == 0,
                 "Weights must be [M, C / group, *kernel].",
                 f"weights {list(w.shape)}, input {list(x.shape)}, group {groups}")
    windows = windows_of(call, x.shape[2:], w.shape[2:])
    zero = _per_channel(call, call.tensor(5), outputs)
    weights = w.astype(np.int32) - zero.astype(np.int32).reshape(-1, *[1] * (w.ndim - 1))
    acc = _accumulate(x, call.zero_point(2), weights, windows, groups)
    bias = call.optional(8)
    column = (1, -1) + (1,) * (x.ndim - 2)
    if bias is not None:
        acc = acc + bias.astype(np.int64).reshape(column)
    w_scale = _per_channel(call, call.tensor(4), outputs)
    scale = (call.scalar(1) * w_scale) / call.scalar(6)
    return [requantize(acc, scale.reshape(column), call.zero_point(7), y_zero.dtype)]


def _per_channel(call: Call, value: Tensor, outputs: int) -> Tensor:
    """Broadcast one number, or [M], to [M]."""
    call.require(value.size in (1, outputs),
                 "Weight scale and zero point must be one number or one per output channel.",
                 f"{value.size} for {outputs} channels")
    return np.broadcast_to(value.reshape(-1), (outputs,))


def _accumulate(x: Tensor, zero: int, weights: Tensor, windows: Windows, groups: int) -> Tensor:
    """Return the exact sums as int64[N, M, *outputs]."""
    # The largest magnitude that any partial sum can have decides which float is exact.
    peak = max(int(x.max(initial=zero)) - zero, zero - int(x.min(initial=zero)))
    flat = np.abs(weights.astype(np.int64)).reshape(weights.shape[0], -1)
    kind = exact_float(peak * int(flat.sum(1).max(initial=0)))
    shifted = windows.pad(x.astype(kind) - kind.type(zero), 0)
    w = weights.reshape(*weights.shape[:2], -1).astype(kind)  # [M, C / G, taps]
    per_group = weights.shape[0] // groups
    count, size = x.shape[0], int(np.prod(windows.outputs))
    if weights.shape[1] == 1:
        # Depthwise: the K products are added element by element.
        acc = np.zeros((count, groups, per_group, *windows.outputs), kind)
        for tap, seen in enumerate(windows.taps(shifted)):
            column = w[:, 0, tap].reshape(groups, per_group, *[1] * len(windows.kernel))
            acc += seen[:, :, None] * column
        return acc.reshape(count, -1, *windows.outputs).astype(np.int64)
    # Otherwise one matrix product for each image and group, on columns of patches.
    depth = weights.shape[1]
    result = np.empty((count, groups, per_group, size), np.int64)
    for image in range(count):
        patches = np.empty((groups * depth, w.shape[2], *windows.outputs), kind)
        for tap, seen in enumerate(windows.taps(shifted[image:image + 1])):
            patches[:, tap] = seen[0]
        columns = patches.reshape(groups, -1, size)  # [G, K, outputs]
        for group in range(groups):
            rows = w[group * per_group:(group + 1) * per_group].reshape(per_group, -1)
            result[image, group] = rows @ columns[group]
    return result.reshape(count, -1, *windows.outputs)
