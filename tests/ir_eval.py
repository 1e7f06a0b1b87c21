"""The compiler's graph, evaluated as its docstrings define it: plain and without tiles.

Codes are storage codes, int8[C, H, W]. Integers are exact in float64, where the matrix products
run.
"""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from codegen import ir
from codegen.exact.tables import quantize
from hw.spec.numerics import MULTIPLIER_ONE, add_front, mul_front, requantize

__all__ = ["evaluate"]

Array = npt.NDArray[Any]


def evaluate(graph: ir.Graph, feeds: Mapping[str, Array]) -> dict[str, Array]:
    """Run a graph.

    Parameters
    ----------
    graph : ir.Graph
    feeds : mapping of str to array
        Graph inputs by ONNX name, as ONNX Runtime takes them.

    Returns
    -------
    Every tensor that ONNX knows, in its type and shape, by name; float outputs too.
    """
    stored: dict[str, Array] = {
        name: t.data for name, t in graph.tensors.items() if t.data is not None}
    for entry in graph.inputs:
        tensor, value = graph.tensors[entry.tensor], feeds[entry.name]
        assert tensor.base is None, "the host writes data, not views"
        if entry.quantize is not None:
            scale, zero_point = entry.quantize
            codes = quantize(value, scale, zero_point, unsigned=tensor.unsigned)
        else:
            codes = to_storage(value)
        stored[entry.tensor] = from_onnx_order(tensor, codes)
    for op in graph.ops:
        result = np.asarray(_OPERATIONS[type(op)](op, stored, graph))
        tensor = graph.tensors[op.y]
        assert tensor.base is None and result.shape == tensor.chw, (op.name, result.shape)
        assert -128 <= result.min() and result.max() <= 127
        stored[op.y] = result.astype(np.int8)
    found = {}
    for name, tensor in graph.tensors.items():
        if tensor.data is None and (not name.startswith("%")):
            found[name] = onnx_value(tensor, stored)
    for entry in graph.outputs:
        tensor = graph.tensors[entry.tensor]
        codes = onnx_value(tensor, stored)
        if entry.dequantize is not None:
            scale, zero_point = entry.dequantize
            centred = codes.astype(np.int64) - zero_point
            codes = centred.astype(np.float32) * np.float32(scale)
        found[entry.name] = codes
    return found


def to_storage(codes: Array) -> Array:
    """Return storage codes of ONNX codes."""
    return (codes.astype(np.int64) - (128 if codes.dtype == np.uint8 else 0)).astype(np.int8)


def from_onnx_order(tensor: ir.Tensor, codes: Array) -> Array:
    """Return int8[C, H, W] of codes in the shape and order of ONNX."""
    flat = np.empty(codes.size, np.int8)
    flat[slice(None) if tensor.gather is None else tensor.gather] = codes.reshape(-1)
    return flat.reshape(tensor.chw)


def onnx_value(tensor: ir.Tensor, stored: Mapping[str, Array]) -> Array:
    """Return a tensor as ONNX has it."""
    data = stored[tensor.base or tensor.name]
    assert data.shape == tensor.chw, (tensor.name, data.shape, tensor.chw)
    flat = data.reshape(-1)
    if tensor.gather is not None:
        assert len(np.unique(tensor.gather)) == math.prod(tensor.shape)
        flat = flat[tensor.gather]
    value = flat.reshape(tensor.shape)
    return (value.astype(np.int64) + 128).astype(np.uint8) if tensor.unsigned else value


def _conv(op: ir.Conv, stored: Mapping[str, Array], graph: ir.Graph) -> Array:
    x = stored[op.x].astype(np.float64) - op.x_zero_point
    x = _padded(x, op.pads, 0.0)
    oc, _, kh, kw = op.weights.shape
    windows = np.lib.stride_tricks.sliding_window_view(x, (kh, kw), (1, 2))
    windows = windows[:, ::op.strides[0], ::op.strides[1]]  # [IC, OH, OW, KH, KW]
    weights = op.weights.astype(np.float64)
    if op.depthwise:
        acc = np.einsum("cijkl,ckl->cij", windows, weights[:, 0])
    else:
        acc = np.tensordot(weights, windows, ((1, 2, 3), (0, 3, 4)))
    total = acc.astype(np.int64) + op.bias[:, None, None]
    assert np.all(np.abs(total) < 2**31)
    if op.certificate is not None:
        lo, hi = (bound[:, None, None] for bound in (op.certificate.lo, op.certificate.hi))
        assert np.all((lo <= total) & (total <= hi))
    return np.asarray(requantize(
        total, multiplier=op.multiplier[:, None, None], shift=op.shift[:, None, None],
        zero_point=op.y_zero_point, odd=op.odd)).reshape(oc, *acc.shape[1:])


def _max_pool(op: ir.MaxPool, stored: Mapping[str, Array], graph: ir.Graph) -> Array:
    x = _padded(stored[op.x].astype(np.int64), op.pads, -1000)
    windows = np.lib.stride_tricks.sliding_window_view(x, op.kernel, (1, 2))
    return windows[:, ::op.strides[0], ::op.strides[1]].max(axis=(3, 4))


def _padded(x: Array, pads: tuple[int, int, int, int], value: float) -> Array:
    """Add what is positive, cut off what is negative."""
    top, left, bottom, right = pads
    x = np.pad(x, ((0, 0), (max(top, 0), max(bottom, 0)), (max(left, 0), max(right, 0))),
               constant_values=value)
    rows, columns = x.shape[1:]
    return x[:, max(-top, 0):rows - max(-bottom, 0), max(-left, 0):columns - max(-right, 0)]


def _add(op: ir.Add, stored: Mapping[str, Array], graph: ir.Graph) -> Array:
    sums = add_front(stored[op.a].astype(np.int64), stored[op.b].astype(np.int64),
                     op.table_a.astype(np.int64), op.table_b.astype(np.int64))
    return np.asarray(requantize(sums, multiplier=MULTIPLIER_ONE, shift=op.shift, zero_point=0))


def _mul(op: ir.Mul, stored: Mapping[str, Array], graph: ir.Graph) -> Array:
    products = mul_front(stored[op.a].astype(np.int64), stored[op.b].astype(np.int64),
                         op.a_zero_point, op.b_zero_point)
    return np.asarray(requantize(products, multiplier=op.multiplier, shift=op.shift,
                                 zero_point=op.y_zero_point, odd=op.odd))


_OPERATIONS: dict[type[ir.Op], Any] = {
    ir.Conv: _conv,
    ir.MaxPool: _max_pool,
    ir.Add: _add,
    ir.Mul: _mul,
    ir.Table: lambda op, stored, graph: op.table[stored[op.x].view(np.uint8)],
    ir.Concat: lambda op, stored, graph: np.concatenate([stored[x] for x in op.xs]),
    ir.Slice: lambda op, stored, graph: stored[op.x][op.start:op.stop],
    ir.Resize: lambda op, stored, graph: stored[op.x].repeat(op.factors[0], 1).repeat(
        op.factors[1], 2),
}
