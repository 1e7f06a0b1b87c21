"""What the passes behind placement work on: kernels that read and write buffers in memory.

Letters: R, C: rows and columns of the array. A *brick* is R channels; a buffer is stored
``[brick][row][column][R]``. A *lane* is a channel's position in that order: brick * R + lane.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from codegen import ir
from codegen.ir import Int8
from hw.spec.config import ArrayConfig
from hw.spec.isa import Opcode

__all__ = ["Buffer", "ConvKernel", "ElementwiseKernel", "Instruction", "Kernel", "Layout",
           "Lowered", "PoolKernel", "Sink", "Upsampled", "View", "layer_name", "sources"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Buffer:
    """A piece of memory that holds one tensor, or several side by side along the channels.

    Parameters
    ----------
    name : str
        Of the tensor it was made for.
    bricks, rows, columns : int
        Size; `bricks` is 0 for a packed buffer.
    packed_channels : int
        If not 0: an image of interleaved pixels, ``[row][column][channel]``, rows padded to a
        multiple of 16 bytes. Only graph inputs that feed a folded convolution are packed.
    data : int8[bricks * R, rows, columns] or None
        Contents of a constant operand; it lives in the constants window.
    """

    name: str
    bricks: int
    rows: int
    columns: int
    packed_channels: int = 0
    data: Int8 | None = None

    def row_pitch(self, config: ArrayConfig) -> int:
        """Bytes from a row to the next."""
        if self.packed_channels:
            return -(-self.columns * self.packed_channels // 16) * 16
        return self.columns * config.rows

    def size(self, config: ArrayConfig) -> int:
        """Bytes in memory."""
        return max(1, self.bricks) * self.rows * self.row_pitch(config)


@dataclass(frozen=True, kw_only=True, eq=False)
class Layout:
    """How a tensor's channels stand in bricks.

    Parameters
    ----------
    bricks : int
    lanes : int64[channels]
        Position of each channel, in 0..bricks*R-1, ascending.
    rows, columns : int
    """

    bricks: int
    lanes: npt.NDArray[np.int64]
    rows: int
    columns: int


@dataclass(frozen=True, kw_only=True, eq=False)
class View:
    """A tensor in a buffer: its layout, from brick `brick` of the buffer on."""

    buffer: Buffer
    brick: int
    layout: Layout

    def bricks(self) -> set[int]:
        """Bricks of the buffer that the tensor has."""
        return set(range(self.brick, self.brick + self.layout.bricks))

    def overlaps(self, other: "View") -> bool:
        """Whether the two have bricks in common."""
        return self.buffer is other.buffer and bool(self.bricks() & other.bricks())


@dataclass(frozen=True, kw_only=True, eq=False)
class Sink:
    """One place a kernel's result goes to, and what happens to it on the way.

    `table` is applied first, then 2x2 maxima if `pool`; the result is tensor `tensor`, from brick
    `brick` of `buffer` on. `wanted` are those of its bricks that somebody reads, `stored` those
    that somebody reads from memory.
    """

    tensor: str
    table: Int8 | None
    pool: bool
    buffer: Buffer
    brick: int
    wanted: frozenset[int] = frozenset()
    stored: frozenset[int] = frozenset()


@dataclass(frozen=True, kw_only=True, eq=False)
class Kernel:
    """What all kernels have: names for reports, and where results go.

    ``op`` is the operation whose result is requantized; ``fused`` names the ONNX nodes that are
    done on the way to memory. ``out`` is the layout of the result before pooling.
    """

    name: str
    kind: str
    sinks: tuple[Sink, ...]
    fused: tuple[str, ...]
    out: Layout


@dataclass(frozen=True, kw_only=True, eq=False)
class Upsampled:
    """Planes of an input that are not in memory, for they repeat the pixels of a small tensor.

    Parameters
    ----------
    view : View
        The small tensor.
    plane : int
        First of these planes.
    log2 : (int, int)
        Each row, each column of the small tensor counts ``2**log2`` times.
    """

    view: View
    plane: int
    log2: tuple[int, int]


@dataclass(frozen=True, kw_only=True, eq=False)
class ConvKernel(Kernel):
    """Convolution on the array. If `folded`, the source is packed and kernel taps are lanes."""

    op: ir.Conv
    source: View
    folded: bool = False
    upsampled: Upsampled | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class PoolKernel(Kernel):
    """Maxima over windows."""

    op: ir.MaxPool
    source: View


@dataclass(frozen=True, kw_only=True, eq=False)
class ElementwiseKernel(Kernel):
    """MAP (a copy, a table, an upsampling), ADD or MUL of tensors with equal lanes."""

    op: ir.Op
    a: View
    b: View | None
    repeat: tuple[int, int] = (1, 1)


def sources(kernel: Kernel) -> tuple[View, ...]:
    """What `kernel` reads."""
    match kernel:
        case ConvKernel():
            return (kernel.source, *((kernel.upsampled.view,) if kernel.upsampled else ()))
        case PoolKernel():
            return (kernel.source,)
        case ElementwiseKernel():
            return (kernel.a,) if kernel.b is None else (kernel.a, kernel.b)
    raise AssertionError(f"no sources known for {type(kernel).__name__}")


@dataclass(frozen=True, kw_only=True, eq=False)
class Lowered:
    """A network as kernels in execution order, and where every tensor is.

    ``views`` has each tensor that is in memory; with ``keep_tensors`` that is every named one.
    ``groups`` are the kernels again: those of a group run side by side, and groups one after
    another.
    """

    graph: ir.Graph
    kernels: tuple[Kernel, ...]
    views: dict[str, View]
    keep_tensors: bool
    groups: tuple[tuple[Kernel, ...], ...]


def layer_name(group: Sequence[Kernel]) -> str:
    """Name of a group in reports."""
    return "+".join(kernel.name for kernel in group)


@dataclass(kw_only=True)
class Instruction:
    """An instruction before encoding: fields by name, and the kernel it serves.

    ``wait`` and ``signal`` are filled by :mod:`codegen.passes.synchronize`.
    """

    opcode: Opcode
    fields: dict[str, int]
    kernel: str
    note: str = ""
    extra: dict[str, Any] = field(default_factory=dict)
