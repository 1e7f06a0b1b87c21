"""How the channels of every tensor stand in bricks, before anything is placed."""

import numpy as np

from codegen import ir
from codegen.lowered import Layout
from hw.spec.config import ArrayConfig

__all__ = ["layouts", "op_inputs", "root"]


def root(graph: ir.Graph, name: str) -> str:
    """The tensor that holds the data of `name`, which may be an alias."""
    while (base := graph.tensors[name].base) is not None:
        name = base
    return name


def op_inputs(op: ir.Op) -> tuple[str, ...]:
    """Names of the tensors that `op` reads."""
    match op:
        case ir.Add() | ir.Mul():
            return op.a, op.b
        case ir.Concat():
            return op.xs
        case ir.Conv() | ir.Table() | ir.MaxPool() | ir.Slice() | ir.Resize():
            return (op.x,)
    raise AssertionError(f"no inputs known for {type(op).__name__}")


def layouts(graph: ir.Graph, config: ArrayConfig) -> dict[str, Layout]:
    """Layout of every tensor that is not an alias."""
    r, found = config.rows, dict[str, Layout]()

    def of(name: str) -> Layout:
        return found[root(graph, name)]

    def dense(channels: int, granule: int, rows: int, columns: int) -> Layout:
        return Layout(bricks=-(-channels // granule) * granule // r, lanes=np.arange(channels),
                      rows=rows, columns=columns)

    produced = {op.y for op in graph.ops}
    for name, tensor in graph.tensors.items():
        if tensor.base is None and name not in produced:
            found[name] = dense(tensor.chw[0], r, *tensor.chw[1:])
    for op in graph.ops:
        rows, columns = graph.tensors[op.y].chw[1:]
        match op:
            case ir.Conv(depthwise=False):
                found[op.y] = dense(graph.tensors[op.y].chw[0], config.channel_granule, rows,
                                    columns)
            case ir.Conv():
                x, step = of(op.x), config.planes_per_drain
                used = int(x.lanes[-1]) // r + 1
                found[op.y] = Layout(bricks=-(-used // step) * step, lanes=x.lanes, rows=rows,
                                     columns=columns)
            case ir.Concat():
                parts = [of(x) for x in op.xs]
                starts = np.cumsum([0] + [p.bricks for p in parts])
                found[op.y] = Layout(
                    bricks=int(starts[-1]), rows=rows, columns=columns,
                    lanes=np.concatenate([p.lanes + int(s) * r for p, s in zip(parts, starts)]))
            case ir.Slice():
                lanes = of(op.x).lanes[op.start:op.stop]
                first = int(lanes[0]) // r
                found[op.y] = Layout(bricks=int(lanes[-1]) // r + 1 - first,
                                     lanes=lanes - first * r, rows=rows, columns=columns)
            case ir.Add() | ir.Mul():
                x = of(op.a)
                found[op.y] = Layout(bricks=int(x.lanes[-1]) // r + 1, lanes=x.lanes, rows=rows,
                                     columns=columns)
            case _:
                # all bricks of the source, so that the kernel behind it can write it whole
                x = of(op_inputs(op)[0])
                found[op.y] = Layout(bricks=x.bricks, lanes=x.lanes, rows=rows, columns=columns)
    return found
