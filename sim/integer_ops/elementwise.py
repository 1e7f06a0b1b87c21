"""Operators on single elements: quantize, dequantize, tables, QLinearAdd, QLinearMul, Concat."""

import numpy as np

from sim.integer_ops.arithmetic import (
    all_codes,
    dequantize,
    fused_multiply_add,
    look_up,
    quantize,
    saturate,
)
from sim.integer_ops.call import Call, Tensor
from sim.ort_session import run_node

__all__ = ["dequantize_linear", "qlinear_add", "qlinear_concat", "qlinear_leaky_relu",
           "qlinear_mul", "qlinear_sigmoid", "quantize_linear"]

F32 = np.float32


def quantize_linear(call: Call) -> list[Tensor]:
    """Evaluate QuantizeLinear, float32 to int8 or uint8, per tensor or per axis."""
    x, zero = call.tensor(0), call.optional(2)
    call.require(x.dtype == np.float32, "The input must be float32.", str(x.dtype))
    call.require(call.attribute("output_dtype", 0) == 0 or zero is not None,
                 "The output type must come from the zero point.", "attribute output_dtype")
    dtype = np.dtype(np.uint8) if zero is None else call.eight_bit(2).dtype
    scale, offset = _parameters(call, x)
    return [quantize(x, scale, offset, dtype)]


def dequantize_linear(call: Call) -> list[Tensor]:
    """Evaluate DequantizeLinear, int8, uint8 or int32 to float32, per tensor or per axis."""
    x = call.tensor(0)
    call.require(x.dtype in (np.int8, np.uint8, np.int32),
                 "The input must be int8, uint8 or int32.", str(x.dtype))
    scale, offset = _parameters(call, x)
    return [dequantize(x, scale, offset)]


def _parameters(call: Call, x: Tensor) -> tuple[Tensor, Tensor]:
    """Shape scale and zero point, one number or one per index of ``axis``, to broadcast to x."""
    scale, zero = call.tensor(1), call.optional(2)
    call.require(scale.dtype == np.float32, "The scale must be float32.", str(scale.dtype))
    call.require(call.attribute("block_size", 0) == 0, "Blocked scales are not supported.",
                 f"block_size {call.attribute('block_size', 0)}")
    offset = np.zeros(scale.shape, np.int32) if zero is None else zero.astype(np.int32)
    call.require(offset.size == scale.size, "Scale and zero point must have one shape.",
                 f"{list(scale.shape)} and {list(offset.shape)}")
    if scale.size == 1:
        return scale.reshape(()), offset.reshape(())
    axis = int(call.attribute("axis", 1))
    call.require(scale.ndim == 1 and -x.ndim <= axis < x.ndim and scale.size == x.shape[axis],
                 "A scale must be one number or one per index of the axis.",
                 f"{list(scale.shape)} for axis {axis} of {list(x.shape)}")
    shape = [1] * x.ndim
    shape[axis] = -1
    return scale.reshape(shape), offset.reshape(shape)


def qlinear_leaky_relu(call: Call) -> list[Tensor]:
    """Evaluate com.microsoft QLinearLeakyRelu as the 256-entry table that it is."""
    x = call.eight_bit(0)
    alpha = F32(call.attribute("alpha", 0.01))
    v = dequantize(all_codes(x.dtype), call.scalar(1), call.zero_point(2))
    table = quantize(np.where(v >= 0, v, alpha * v), call.scalar(3), call.zero_point(4), x.dtype)
    return [look_up(table, x)]


def qlinear_sigmoid(call: Call) -> list[Tensor]:
    """Evaluate com.microsoft QLinearSigmoid as a table.

    The 256 entries are read from ONNX Runtime itself, because its sigmoid is a polynomial that
    is not the rounded function. This operator is therefore not an independent witness.
    """
    x = call.eight_bit(0)
    table = run_node(call.node, [all_codes(x.dtype), *call.inputs[1:]], opset=call.opset)[0]
    return [look_up(table, x)]


def qlinear_concat(call: Call) -> list[Tensor]:
    """Evaluate com.microsoft QLinearConcat: one table for each input, then concatenation."""
    scale, zero = call.scalar(0), call.eight_bit(1)
    parts = []
    for index in range(2, len(call.inputs), 3):
        x = call.eight_bit(index)
        v = dequantize(all_codes(x.dtype), call.scalar(index + 1), call.zero_point(index + 2))
        parts.append(look_up(quantize(v, scale, call.zero_point(1), zero.dtype), x))
    return [np.concatenate(parts, axis=int(call.attribute("axis")))]


def qlinear_mul(call: Call) -> list[Tensor]:
    """Evaluate com.microsoft QLinearMul.

    ``sat(rint(fl(fl(p * r) + c_zp)))`` with the exact ``p = (a - a_zp) * (b - b_zp)`` and
    ``r = fl(fl(a_scale * b_scale) / c_scale)``: the zero point is added before rounding.
    """
    a, b = call.eight_bit(0), call.eight_bit(3)
    product = ((a.astype(np.int32) - call.zero_point(2))
               * (b.astype(np.int32) - call.zero_point(5)))
    ratio = (call.scalar(1) * call.scalar(4)) / call.scalar(6)
    return [saturate(product.astype(F32) * ratio + F32(call.zero_point(7)), a.dtype)]


def qlinear_add(call: Call) -> list[Tensor]:
    """Evaluate com.microsoft QLinearAdd as the AVX2 and FMA kernel does.

    With ``fma`` rounding once, ``ra = fl(a_scale / c_scale)``, ``rb = fl(b_scale / c_scale)``::

        fixed = fl(c_zp - fma(ra, a_zp, fl(rb * b_zp)))
        y     = sat(rint(fma(a, ra, fma(b, rb, fixed))))

    The inner ``fma`` of ``fixed`` is a contraction by the compiler. The two operands change places
    where the kernel sees ``a`` as a scalar: if ``a`` is broadcast along the innermost dimension
    that is not 1, or if all dimensions that both have are 1. Found by experiment, see
    docs/numerics.md. Processors without AVX2 and FMA, and other architectures, compute something
    else: ``sim.hostcheck.canary`` tells.
    """
    a, b = call.eight_bit(0), call.eight_bit(3)
    c_scale = call.scalar(6)
    one = (a, call.scalar(1) / c_scale, F32(call.zero_point(2)))
    two = (b, call.scalar(4) / c_scale, F32(call.zero_point(5)))
    (q1, r1, z1), (q2, r2, z2) = (two, one) if _a_is_scalar(a.shape, b.shape) else (one, two)
    fixed = F32(call.zero_point(7)) - fused_multiply_add(z1, r1, r2 * z2)
    total = fused_multiply_add(q1, r1, fused_multiply_add(q2, r2, fixed))
    return [saturate(total, a.dtype)]


def _a_is_scalar(a: tuple[int, ...], b: tuple[int, ...]) -> bool:
    """Whether ONNX Runtime's broadcast hands the first operand to the kernel as a scalar.

    Ref: onnxruntime/core/providers/cpu/math/element_wise_ops.h, Broadcaster.
    """
    common = max(min(len(a), len(b)), 1)
    for from_a, from_b in zip(reversed(((1,) + a)[-common:]), reversed(((1,) + b)[-common:])):
        if max(from_a, from_b) > 1:
            return from_a == 1
    return True
