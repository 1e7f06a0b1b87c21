"""Bring operations into the forms that placement expects.

Before and after: :class:`codegen.ir.Graph`. Equal because every step is exact:

- ``MaxPool(Concat(xs)) = Concat(MaxPool(x) for x in xs)`` when pooling can be fused into the
  convolutions behind the inputs: maxima never mix channels;
- operands of Add and Mul whose channels stand in different lanes are copied by a convolution with
  the identity matrix and scale 1, which reproduces every code.
"""

from dataclasses import replace

import numpy as np

from codegen import ir
from codegen.passes.layout import layouts, root
from hw.spec.config import ArrayConfig
from hw.spec.numerics import MULTIPLIER_ONE

__all__ = ["normalize"]


def normalize(graph: ir.Graph, config: ArrayConfig) -> ir.Graph:
    """Apply the rewrites of this module, in the order of its docstring."""
    return _align_operands(_pool_before_concat(graph), config)


def _pool_before_concat(graph: ir.Graph) -> ir.Graph:
    producer = {op.y: op for op in graph.ops}
    tensors, ops = dict(graph.tensors), []

    def conv_behind(name: str) -> bool:
        op = producer.get(root(graph, name))
        while isinstance(op, ir.Table):
            op = producer.get(root(graph, op.x))
        return isinstance(op, ir.Conv)

    for op in graph.ops:
        source = producer.get(root(graph, op.x)) if isinstance(op, ir.MaxPool) else None
        if not (isinstance(op, ir.MaxPool) and isinstance(source, ir.Concat)
                and op.kernel == op.strides == (2, 2) and op.pads == (0, 0, 0, 0)
                and all(conv_behind(x) for x in source.xs)
                and all(s % 2 == 0 for s in tensors[source.y].chw[1:])):
            ops.append(op)
            continue
        parts = []
        for i, x in enumerate(source.xs):
            t = tensors[root(graph, x)]
            chw = (t.chw[0], t.chw[1] // 2, t.chw[2] // 2)
            part = replace(t, name=f"%{op.y}.{i}", shape=(1, *chw), chw=chw)
            tensors[part.name] = part
            ops.append(replace(op, x=t.name, y=part.name))
            parts.append(part.name)
        ops.append(ir.Concat(name=op.name, kind=op.kind, y=op.y, xs=tuple(parts)))
    return replace(graph, tensors=tensors, ops=tuple(ops))


def _align_operands(graph: ir.Graph, config: ArrayConfig) -> ir.Graph:
    tensors, ops = dict(graph.tensors), list[ir.Op]()
    for op in graph.ops:
        if isinstance(op, (ir.Add, ir.Mul)):
            so_far = replace(graph, tensors=tensors, ops=tuple(ops))
            known = layouts(so_far, config)
            a, b = (known[root(so_far, x)] for x in (op.a, op.b))
            if not np.array_equal(a.lanes, b.lanes):
                channels = max(len(a.lanes), len(b.lanes))
                names = dict[str, str]()
                for side, layout in (("a", a), ("b", b)):
                    name = root(so_far, getattr(op, side))
                    canonical = np.array_equal(layout.lanes, np.arange(channels))
                    if canonical:
                        names[side] = name
                        continue
                    copy = _copy(op, side, tensors[name], channels)
                    tensors[copy.y] = replace(
                        tensors[name], name=copy.y, data=None,
                        shape=(1, channels, *tensors[name].chw[1:]),
                        chw=(channels, *tensors[name].chw[1:]))
                    ops.append(copy)
                    names[side] = copy.y
                op = replace(op, a=names["a"], b=names["b"])
        ops.append(op)
    return replace(graph, tensors=tensors, ops=tuple(ops))


def _copy(op: ir.Op, side: str, tensor: ir.Tensor, channels: int) -> ir.Conv:
    """A convolution that copies `tensor`, or repeats its one channel `channels` times."""
    own = tensor.chw[0]
    eye = np.eye(channels, dtype=np.int16) if own == channels else np.ones((channels, own),
                                                                           np.int16)
    return ir.Conv(
        name=op.name, kind=op.kind, y=f"%{op.y}.{side}", x=tensor.name,
        weights=eye.reshape(channels, own, 1, 1), bias=np.zeros(channels, np.int64),
        x_zero_point=0, y_zero_point=0, multiplier=np.full(channels, MULTIPLIER_ONE),
        shift=np.zeros(channels, np.int64), certificate=None)
