"""QLinearMatMul and QGemm: exact integer matrix products, then one requantization."""

import numpy as np

from sim.integer_ops.arithmetic import exact_float, requantize
from sim.integer_ops.call import Call, Tensor

__all__ = ["qgemm", "qlinear_matmul"]


def qlinear_matmul(call: Call) -> list[Tensor]:
    """Evaluate QLinearMatMul, any batch dimensions.

    ``y = requantize(sum((a - a_zp) * (b - b_zp)), fl(fl(a_scale * b_scale) / y_scale), y_zp)``;
    scale and zero point of ``b`` for the tensor or for each column.
    """
    a, b, y_zero = call.eight_bit(0), call.eight_bit(3), call.eight_bit(7)
    acc = _product(a, call.zero_point(2), b, _columns(call, 5, b.shape[-1]))
    scale = (call.scalar(1) * _columns(call, 4, b.shape[-1])) / call.scalar(6)
    return [requantize(acc, scale, call.zero_point(7), y_zero.dtype)]


def qgemm(call: Call) -> list[Tensor]:
    """Evaluate com.microsoft QGemm.

    ``acc = C + sum((A - a_zp) * (B - b_zp))`` with A and B transposed as the attributes say;
    ``y = requantize(acc, fl(fl(fl(alpha * a_scale) * b_scale) / y_scale), y_zp)``, or without an
    output scale ``fl(fl(acc) * fl(fl(alpha * a_scale) * b_scale))`` as float32.
    """
    a, b = call.eight_bit(0), call.eight_bit(3)
    a = a.T if call.attribute("transA", 0) else a
    b = b.T if call.attribute("transB", 0) else b
    acc = _product(a, call.zero_point(2), b, _columns(call, 5, b.shape[-1]))
    bias = call.optional(6)
    if bias is not None:
        acc = acc + bias.astype(np.int64)
    alpha = np.float32(call.attribute("alpha", 1.0))
    scale = (alpha * call.scalar(1)) * _columns(call, 4, b.shape[-1])
    y_zero = call.optional(8)
    if call.optional(7) is None:
        return [acc.astype(np.int32).astype(np.float32) * scale]
    dtype = a.dtype if y_zero is None else y_zero.dtype
    return [requantize(acc, scale / call.scalar(7), call.zero_point(8), dtype)]


def _columns(call: Call, index: int, columns: int) -> Tensor:
    """Scale or zero point of the right matrix: a number or [columns]; 0 for a missing one."""
    value = call.optional(index)
    if value is None:
        return np.zeros(1, np.int32)
    call.require(value.size in (1, columns),
                 f"Input {index} must be one number or one per column.",
                 f"{list(value.shape)} for {columns} columns")
    return value.reshape(-1)


def _product(a: Tensor, a_zero: int, b: Tensor, b_zero: Tensor) -> Tensor:
    """Return the exact ``(a - a_zero) @ (b - b_zero)`` as int64."""
    left = a.astype(np.int64) - a_zero
    right = b.astype(np.int64) - b_zero.astype(np.int64)
    peak = int(np.abs(left).max(initial=0))
    kind = exact_float(peak * int(np.abs(right).sum(-2).max(initial=0)))
    return np.asarray(left.astype(kind) @ right.astype(kind)).astype(np.int64)
