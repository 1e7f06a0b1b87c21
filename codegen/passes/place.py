"""Decide where every tensor stands in memory, and which operations happen on the way there.

Before: :class:`codegen.ir.Graph`, operations on named tensors. After:
:class:`codegen.lowered.Lowered`, kernels with sinks. Equal because each of these is exact:

- a table behind a kernel is applied by that kernel (``y = table[requantize(acc)]``);
- 2x2 pooling behind a convolution takes the maxima of what the convolution would store;
- a concatenation is the buffer that its inputs are written into, a channel split is a range of
  lanes of the buffer it splits; neither moves a byte.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace

import numpy as np

from codegen import ir
from codegen.exact.tables import compose
from codegen.ir import Int8
from codegen.lowered import (
    Buffer,
    ConvKernel,
    ElementwiseKernel,
    Kernel,
    Layout,
    Lowered,
    PoolKernel,
    Sink,
    View,
    sources,
)
from codegen.passes.layout import layouts, op_inputs, root
from hw.spec.config import MAX_IMAGE_SIDE, MAX_KERNEL, ArrayConfig

__all__ = ["place"]


def place(graph: ir.Graph, config: ArrayConfig, *, keep_tensors: bool) -> Lowered:
    """Place tensors and fuse.

    Parameters
    ----------
    graph : Graph
        After :func:`codegen.passes.normalize.normalize`: operands of Add and Mul have equal lanes.
    keep_tensors : bool
        Make every named tensor visible in memory, for comparison; otherwise only what the
        kernels read and the host wants.
    """
    plan = _Plan(graph, config, keep_tensors)
    kernels = tuple(_with_own_names(plan.kernels()))
    views = {name: plan.view(name) for name in plan.in_memory()}
    read = _bricks_read(kernels, views.values() if keep_tensors else
                        (views[out.tensor] for out in graph.outputs))
    written = {s.buffer for k in kernels for s in k.sinks}
    kernels = tuple(replace(k, sinks=tuple(_wanted(s, k, read) for s in k.sinks)) for k in kernels)
    return Lowered(
        graph=graph, keep_tensors=keep_tensors, kernels=kernels,
        groups=tuple((kernel,) for kernel in kernels),
        views={name: view for name, view in views.items()
               if view.buffer not in written or view.bricks() <= read[view.buffer]})


def _bricks_read(kernels: Iterable[Kernel], views: Iterable[View]) -> dict[Buffer, set[int]]:
    """Bricks of each buffer that a kernel reads, or that are in `views`."""
    read = defaultdict[Buffer, set[int]](set)
    for kernel in kernels:
        for view in sources(kernel):
            read[view.buffer] |= view.bricks()
    for view in views:
        read[view.buffer] |= view.bricks()
    return read


def _wanted(sink: Sink, kernel: Kernel, read: dict[Buffer, set[int]]) -> Sink:
    """`sink`, knowing which bricks of it are read."""
    wanted = frozenset(b for b in range(kernel.out.bricks) if sink.brick + b in read[sink.buffer])
    return replace(sink, wanted=wanted, stored=wanted)


def _with_own_names(kernels: Iterator[Kernel]) -> Iterator[Kernel]:
    """Number kernels of one name, for instructions and reports refer to kernels by name."""
    seen = Counter[str]()
    for kernel in kernels:
        seen[kernel.name] += 1
        n = seen[kernel.name]
        yield kernel if n == 1 else replace(kernel, name=f"{kernel.name}#{n}")


@dataclass
class _Place:
    buffer: Buffer
    brick: int


@dataclass
class _Plan:
    graph: ir.Graph
    config: ArrayConfig
    keep: bool
    layouts: dict[str, Layout] = field(default_factory=dict)
    places: dict[str, list[_Place]] = field(default_factory=lambda: defaultdict(list))

    def __post_init__(self) -> None:
        self.producer = {op.y: op for op in self.graph.ops}
        self.consumers: dict[str, list[ir.Op]] = defaultdict(list)
        for op in self.graph.ops:
            for x in op_inputs(op):
                self.consumers[self.root(x)].append(op)
        self.layouts = layouts(self.graph, self.config)
        self.fused = {op.y for op in self.graph.ops if self._is_fused(op)}
        self._assign()

    def root(self, name: str) -> str:
        """The tensor that holds the data of `name`."""
        return root(self.graph, name)

    def _kernel_behind(self, name: str) -> ir.Op | None:
        """The operation whose kernel makes `name`, through fused tables; None if there is none."""
        op = self.producer.get(self.root(name))
        if isinstance(op, ir.Table):
            return self._kernel_behind(op.x) or op
        return None if op is None or isinstance(op, (ir.Concat, ir.Slice)) else op

    def _is_fused(self, op: ir.Op) -> bool:
        """Whether `op` is done by the kernel that makes its input."""
        if isinstance(op, ir.Table):
            # a kernel applies its table before it pools, which is the same for rising tables only
            rising = bool(np.all(np.diff(_by_value(op.table).astype(np.int16)) >= 0))
            return self._kernel_behind(op.x) is not None and (rising
                                                              or not self._pooled(op.x))
        if isinstance(op, ir.MaxPool):
            kernel = self._kernel_behind(op.x)
            layout = self.layouts[self.root(op.x)]
            return bool(isinstance(kernel, ir.Conv) and op.kernel == op.strides == (2, 2)
                    and op.pads == (0, 0, 0, 0)
                    and layout.rows % 2 == 0 and layout.columns % 2 == 0)
        return False

    def _pooled(self, name: str) -> bool:
        """Whether a fused pooling stands between `name` and the kernel that makes it."""
        op = self.producer.get(self.root(name))
        if isinstance(op, ir.Table) and self._is_fused(op):
            return self._pooled(op.x)
        return isinstance(op, ir.MaxPool) and self._is_fused(op)

    def _assign(self) -> None:
        """Give every tensor that must be in memory its places, last operation first."""
        needed = {self.root(out.tensor) for out in self.graph.outputs}
        if self.keep:
            needed |= {self.root(name) for name, t in self.graph.tensors.items()
                       if not name.startswith("%") and t.data is None}
        for op in reversed(self.graph.ops):
            y = op.y
            if isinstance(op, ir.Slice):
                if y in needed or self.places[y]:
                    needed.add(self.root(op.x))
                continue
            if y in needed and not self.places[y]:
                self.places[y] = [_Place(self._buffer(y), 0)]
            if isinstance(op, ir.Concat):
                if not self.places[y]:
                    continue
                offset = 0
                for x in map(self.root, op.xs):
                    self.places[x] += [_Place(p.buffer, p.brick + offset)
                                       for p in self.places[y]]
                    if self._kernel_behind(x) is None:
                        needed.add(x)
                    offset += self.layouts[x].bricks
            elif y not in self.fused:
                needed |= {self.root(x) for x in op_inputs(op)}
        for name, tensor in self.graph.tensors.items():
            if tensor.base is None and name not in self.producer:
                self.places[name].insert(0, _Place(self._source_buffer(name), 0))

    def _buffer(self, name: str) -> Buffer:
        layout = self.layouts[name]
        return Buffer(name=name, bricks=layout.bricks, rows=layout.rows, columns=layout.columns)

    def _source_buffer(self, name: str) -> Buffer:
        """Buffer of a graph input or constant."""
        tensor, buffer = self.graph.tensors[name], self._buffer(name)
        if tensor.data is not None:
            lanes = np.zeros((buffer.bricks * self.config.rows, *tensor.chw[1:]), np.int8)
            lanes[:tensor.chw[0]] = tensor.data
            return replace(buffer, data=lanes)
        if self._folds(name):
            return replace(buffer, bricks=0, packed_channels=tensor.chw[0])
        return buffer

    def _folds(self, name: str) -> bool:
        """Whether graph input `name` feeds one convolution whose kernel taps fit the lanes."""
        users = self.consumers[name]
        if len(users) != 1 or not isinstance(users[0], ir.Conv) or users[0].depthwise:
            return False
        op, r = users[0], self.config.rows
        channels, (kh, kw) = op.weights.shape[1], op.weights.shape[2:]
        if kh * kw == 1 or max(kh, kw) > MAX_KERNEL or min(op.pads) < 0:
            return False
        # what the fields of LOAD can say
        if op.strides[1] * channels > 2 * r \
                or channels * self.layouts[name].columns > 4 * MAX_IMAGE_SIDE:
            return False
        plain = -(-channels // r) * kh * kw
        folded = -(-channels * kh * kw // r)
        return bool(folded * 5 <= plain * 4)

    def view(self, name: str) -> View:
        """Where tensor `name` is. It must be in memory."""
        name = self.root(name)
        op = self.producer.get(name)
        if isinstance(op, ir.Slice):
            whole = self.view(op.x)
            first = whole.layout.lanes[op.start] // self.config.rows
            return View(buffer=whole.buffer, brick=whole.brick + int(first),
                        layout=self.layouts[name])
        first_place = self.places[name][0]
        return View(buffer=first_place.buffer, brick=first_place.brick,
                    layout=self.layouts[name])

    def in_memory(self) -> Iterator[str]:
        """Names of all tensors that have a view."""
        for name in self.graph.tensors:
            root = self.root(name)
            op = self.producer.get(root)
            while isinstance(op, ir.Slice):
                root = self.root(op.x)
                op = self.producer.get(root)
            if self.places[root]:
                yield name

    def _sinks(self, name: str, table: Int8 | None = None, pool: bool = False,
               fused: tuple[str, ...] = ()) -> Iterator[tuple[Sink, tuple[str, ...]]]:
        """All places that the kernel which makes `name` has to write, with the fused nodes."""
        for p in self.places[name]:
            yield Sink(tensor=name, table=table, pool=pool, buffer=p.buffer,
                       brick=p.brick), fused
        for op in self.consumers[name]:
            if op.y not in self.fused:
                continue
            if isinstance(op, ir.Table):
                step = op.table if table is None else compose(table, op.table)
                yield from self._sinks(op.y, step, pool, (*fused, op.name))
            elif isinstance(op, ir.MaxPool):
                yield from self._sinks(op.y, table, True, (*fused, op.name))

    def kernels(self) -> Iterator[Kernel]:
        """Kernels in execution order."""
        for op in self.graph.ops:
            if isinstance(op, ir.Concat):
                for x in dict.fromkeys(map(self.root, op.xs)):
                    if self._kernel_behind(x) is None \
                            and not isinstance(self.producer.get(x), ir.Concat):
                        yield from self._copies(op, x)
            elif op.y not in self.fused and not isinstance(op, ir.Slice):
                found = list(self._sinks(op.y))
                if found:
                    yield self._kernel(op, tuple(s for s, _ in found),
                                       tuple(dict.fromkeys(n for _, f in found for n in f)))

    def _copies(self, op: ir.Concat, x: str) -> Iterator[Kernel]:
        """Copies of a concatenation input that no kernel writes in place."""
        view = self.view(x)
        inside = [p for p in self.places[x]
                  if not (p.buffer is view.buffer and p.brick == view.brick)
                  and any(p.buffer is q.buffer for q in self.places[op.y])]
        sinks = tuple(Sink(tensor=x, table=None, pool=False, buffer=p.buffer, brick=p.brick)
                      for p in inside)
        if sinks:
            yield ElementwiseKernel(name=op.name, kind=op.kind, sinks=sinks, fused=(),
                                    out=view.layout, op=op, a=view, b=None)

    def _kernel(self, op: ir.Op, sinks: tuple[Sink, ...], fused: tuple[str, ...]) -> Kernel:
        out = self.layouts[op.y]
        match op:
            case ir.Conv():
                source = self.view(op.x)
                return ConvKernel(name=op.name, kind=op.kind, sinks=sinks, fused=fused, out=out,
                                  op=op, source=source,
                                  folded=bool(source.buffer.packed_channels))
            case ir.MaxPool():
                return PoolKernel(name=op.name, kind=op.kind, sinks=sinks, fused=fused, out=out,
                                  op=op, source=self.view(op.x))
            case ir.Add() | ir.Mul():
                return ElementwiseKernel(name=op.name, kind=op.kind, sinks=sinks, fused=fused,
                                         out=out, op=op, a=self.view(op.a), b=self.view(op.b))
            case ir.Resize():
                return ElementwiseKernel(name=op.name, kind=op.kind, sinks=sinks, fused=fused,
                                         out=out, op=op, a=self.view(op.x), b=None,
                                         repeat=op.factors)
            case ir.Table():
                with_table = tuple(
                    replace(s, table=op.table if s.table is None else compose(op.table, s.table))
                    for s in sinks)
                return ElementwiseKernel(name=op.name, kind=op.kind, sinks=with_table,
                                         fused=fused, out=out, op=op, a=self.view(op.x), b=None)
        raise AssertionError(f"no kernel for {type(op).__name__}")


def _by_value(table: Int8) -> Int8:
    """A table in the order of the codes -128..127."""
    return np.concatenate([table[128:], table[:128]])
