"""The graph while it grows: tensors, operations, and the value of every ONNX name."""

import math

import numpy as np
import numpy.typing as npt

from codegen.frontend.layout import natural, normalized
from codegen.frontend.model import Model, Node
from codegen.frontend.rules import batch_is_one, refuse, tensors_fit
from codegen.frontend.site import Site
from codegen.frontend.values import Codes, Constant, Quantization, RealChain, Value
from codegen.ir import Add as Add, Concat, Graph, Input, Int8, Mul, Op, Output, Tensor
from hw.spec.config import MAX_CHANNELS, MAX_IMAGE_SIDE, MEMORY_BYTES

__all__ = ["Builder", "inputs_of"]

Int64 = npt.NDArray[np.int64]


class Builder:
    """Collects what the translations of single nodes make.

    Parameters
    ----------
    model : Model
    """

    def __init__(self, model: Model) -> None:
        self.model = model
        self.values: dict[str, Value] = {
            name: Constant(array=array) for name, array in model.constants.items()}
        self.tensors: dict[str, Tensor] = {}
        self.inputs: list[Input] = []
        self.outputs: list[Output] = []
        self.graph_outputs = frozenset(t.name for t in model.outputs)
        self.consumers: dict[str, tuple[Node, ...]] = {}
        for node in model.nodes:
            for name in dict.fromkeys(filter(None, node.inputs)):
                self.consumers[name] = (*self.consumers.get(name, ()), node)
        #: Results of Pad that exist only as padding of the one convolution that reads them:
        #: the tensor inside, and top, left, bottom, right.
        self.borders: dict[str, tuple[Tensor, tuple[int, int, int, int]]] = {}
        #: The first DequantizeLinear of a tensor with a given quantization.
        self.dequantized: dict[tuple[str, Quantization], RealChain] = {}
        self._ops: list[Op] = []

    def site(self, node: Node, index: int) -> Site:
        """Return a node with its surroundings."""
        return Site(node=node, index=index, opset=self.model.opset, values=self.values,
                    consumers=self.consumers, graph_outputs=self.graph_outputs)

    def hidden(self, name: str) -> str:
        """Return a new name for a tensor that ONNX does not have."""
        candidate, i = f"%{name}", 1
        while candidate in self.tensors:
            i += 1
            candidate = f"%{name}.{i}"
        return candidate

    def tensor(self, site: Site, name: str, shape: tuple[int, ...], *, unsigned: bool,
               quantization: Quantization | None = None, like: Tensor | None = None,
               layout: tuple[tuple[int, int, int], Int64 | None] | None = None,
               base: str | None = None, data: Int8 | None = None) -> Tensor:
        """Add a tensor.

        Parameters
        ----------
        site : Site
            The node that makes it; errors name it.
        name, shape, unsigned, base, data
            See :class:`codegen.ir.Tensor`.
        quantization : Quantization or None
            Where the node states it.
        like : Tensor or None
            Takes scale and zero point from there.
        layout : (chw, gather) or None
            None: the natural one, see :mod:`codegen.frontend.layout`.
        """
        if layout is None:
            check_rank(site, shape)
            check_size(site, shape)
            layout = natural(shape)
        else:
            check_size(site, (1, *layout[0]))
        scale = zero_point = None
        if quantization is not None:
            scale, zero_point = quantization.scale, quantization.stored_zero_point
        elif like is not None:
            scale, zero_point = like.scale, like.zero_point
        chw, gather = layout
        assert name not in self.tensors, f"tensor {name!r} must be made once"
        tensor = Tensor(name=name, shape=shape, chw=chw, unsigned=unsigned, scale=scale,
                        zero_point=zero_point, base=base, gather=gather, data=data)
        self.tensors[name] = tensor
        return tensor

    def alias(self, site: Site, name: str, of: Tensor, shape: tuple[int, ...],
              index: Int64 | None) -> Tensor:
        """Add a tensor whose element i is element ``index[i]`` of another one, both flat."""
        gather = of.gather
        if index is not None:
            gather = normalized(index if gather is None else gather[index.reshape(-1)])
        return self.tensor(site, name, shape, unsigned=of.unsigned, like=of,
                           layout=(of.chw, gather), base=of.base or of.name)

    def emit(self, op: Op) -> None:
        """Add an operation."""
        self._ops.append(op)

    def source(self, value: Value) -> Tensor:
        """Return the codes behind a quantized tensor or behind a float function of one."""
        if isinstance(value, RealChain):
            return value.source
        assert isinstance(value, Codes), "rules about the input come first"
        return value.tensor

    def moved_name(self, value: Value, name: str) -> str:
        """Name the codes that result from a data movement of `value`; `name` is the ONNX name."""
        return name if isinstance(value, Codes) else self.hidden(name)

    def set_moved(self, value: Value, name: str, tensor: Tensor) -> None:
        """Record the result of a data movement of `value`."""
        self.values[name] = value.on(tensor) if isinstance(value, RealChain) else Codes(
            tensor=tensor)

    def graph(self) -> Graph:
        """Return the finished graph, without operations on hidden tensors that nobody reads."""
        needed = {o.tensor for o in self.outputs}
        needed |= {t.base for t in self.tensors.values() if t.base and t.name in needed}
        needed |= {t.base or t.name for t in self.tensors.values() if t.name[0] != "%"}
        ops = []
        for op in reversed(self._ops):
            if op.y in needed:
                ops.append(op)
                needed |= set(inputs_of(op))
        needed |= {i.tensor for i in self.inputs}
        tensors = {name: t for name, t in self.tensors.items() if name in needed or name[0] != "%"}
        return Graph(name=self.model.name, tensors=tensors, ops=tuple(reversed(ops)),
                     inputs=tuple(self.inputs), outputs=tuple(self.outputs),
                     folded=self._folded(), model_sha256=self.model.sha256)

    def _folded(self) -> tuple[str, ...]:
        """Return the results of nodes that are no tensors here: float, constant, or padding."""
        return tuple(name for node in self.model.nodes for name in node.outputs
                     if name and name not in self.tensors and name not in self.graph_outputs)


def inputs_of(op: Op) -> tuple[str, ...]:
    """Return the names of the tensors that an operation reads."""
    if isinstance(op, Concat):
        return op.xs
    if isinstance(op, (Add, Mul)):
        return op.a, op.b
    return (op.x,)  # type: ignore[attr-defined]


def check_size(site: Site, shape: tuple[int, ...]) -> None:
    """Refuse a tensor that is too large for the array, before anything is allocated."""
    sizes = shape[1:] if len(shape) == 4 else shape
    limits = (MAX_CHANNELS, MAX_IMAGE_SIDE, MAX_IMAGE_SIDE)
    if (any(not 1 <= size <= limit for size, limit in zip(sizes, limits))
            or math.prod(sizes) > MEMORY_BYTES):
        refuse(site.node, tensors_fit, f"shape {list(shape)}")


def check_rank(site: Site, shape: tuple[int, ...]) -> None:
    """Refuse a tensor that cannot be laid out as (C, H, W)."""
    if len(shape) > 4 or (len(shape) == 4 and shape[0] != 1):
        refuse(site.node, batch_is_one, f"shape {list(shape)}")
