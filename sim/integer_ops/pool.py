"""MaxPool and the two quantized average pools."""

import numpy as np

from sim.integer_ops.arithmetic import dequantize, requantize, saturate
from sim.integer_ops.call import Call, Tensor
from sim.integer_ops.windows import windows_of

__all__ = ["max_pool", "qlinear_average_pool", "qlinear_global_average_pool"]

F32 = np.float32


def max_pool(call: Call) -> list[Tensor]:
    """Evaluate MaxPool of int8, uint8 or float32; padding is the smallest value of the type."""
    x = call.tensor(0)
    call.require(x.dtype in (np.int8, np.uint8, np.float32),
                 "The input must be int8, uint8 or float32.", str(x.dtype))
    call.require(len(call.node.output) == 1, "Only the values are computed, not their indices.",
                 f"{len(call.node.output)} outputs")
    windows = windows_of(call, x.shape[2:], tuple(call.attribute("kernel_shape")))
    smallest = -np.inf if x.dtype == np.float32 else np.iinfo(x.dtype).min
    result = np.full((*x.shape[:2], *windows.outputs), smallest, x.dtype)
    for seen in windows.taps(windows.pad(x, smallest)):
        np.maximum(result, seen, out=result)
    return [result]


def qlinear_global_average_pool(call: Call) -> list[Tensor]:
    """Evaluate com.microsoft QLinearGlobalAveragePool.

    ``requantize(sum(x - x_zp), fl(x_scale / fl(y_scale * size)), y_zp)``, an integer sum.
    """
    x = _channels_first(call)
    return [_channels_as_given(call, _global(call, x))]


def qlinear_average_pool(call: Call) -> list[Tensor]:
    """Evaluate com.microsoft QLinearAveragePool.

    Dequantizes each element to float32, adds the window in row-major order beginning with 0,
    divides by the number of elements (all of the kernel with ``count_include_pad``), and
    ``sat(rint(fl(fl(v / y_scale) + y_zp)))``. A kernel as large as the input, without padding,
    is computed as QLinearGlobalAveragePool: an integer sum, which rounds differently.
    """
    x = _channels_first(call)
    call.require(set(call.attribute("dilations", [1])) == {1}, "Dilations must be 1.",
                 f"dilations {call.attribute('dilations')}")
    windows = windows_of(call, x.shape[2:], tuple(call.attribute("kernel_shape")))
    if windows.kernel == x.shape[2:] and not any(windows.begin + windows.declared_end):
        return [_channels_as_given(call, _global(call, x))]
    values = windows.pad(dequantize(x, call.scalar(1), call.zero_point(2)), 0)
    total = np.zeros((*x.shape[:2], *windows.outputs), F32)
    for seen in windows.taps(values):
        total += seen
    divisor = np.full(windows.outputs, np.prod(windows.kernel), F32)
    if not call.attribute("count_include_pad", 0):
        inside = windows.pad(np.ones((1, 1, *x.shape[2:]), F32), 0)
        divisor = np.sum([seen[0, 0] for seen in windows.taps(inside)], axis=0, dtype=F32)
    mean = total / divisor
    y = saturate(mean / call.scalar(3) + F32(call.zero_point(4)), x.dtype)
    return [_channels_as_given(call, y)]


def _global(call: Call, x: Tensor) -> Tensor:
    """Average all of each channel of ``x[N, C, ...]``."""
    axes = tuple(range(2, x.ndim))
    size = int(np.prod(x.shape[2:]))
    total = x.sum(axis=axes, dtype=np.int64, keepdims=True) - call.zero_point(2) * size
    scale = call.scalar(1) / (call.scalar(3) * F32(size))
    return requantize(total, scale, call.zero_point(4), x.dtype)


def _channels_first(call: Call) -> Tensor:
    """Input 0 as [N, C, ...], whatever ``channels_last`` says."""
    x = call.eight_bit(0)
    return np.moveaxis(x, -1, 1) if call.attribute("channels_last", 0) else x


def _channels_as_given(call: Call, y: Tensor) -> Tensor:
    """Undo ``_channels_first`` on the output."""
    return np.moveaxis(y, 1, -1) if call.attribute("channels_last", 0) else y
