"""Bring weights and requantization parameters into the order in which the array takes them.

Before: ``weights int16[OC, IC, KH, KW]`` of a convolution. After: for every output tile of C
channels a list of :class:`Chunk`, each a contiguous run of R x C weight tiles in the constants
window. Equal because a convolution is a sum over taps and channels in any order:

- input channels stand where the source's lanes are; lanes of nobody get weight 0;
- a weight outside -128..127 (a uint8 weight with its zero point) is split into addends that fit,
  each with its own chunk over the same activations;
- a depthwise kernel is a diagonal weight tile;
- a folded convolution has kernel taps as lanes: all of them (a 1x1 convolution is left), or those
  of a kernel row (a KHx1 convolution is left, and each image row is loaded only once);
- the input zero point is folded into the bias: ``bias - x_zero_point * sum(w)``.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum, unique
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from codegen.errors import UnsupportedModelError
from codegen.lowered import ConvKernel
from hw.spec.config import MAX_KERNEL, ArrayConfig
from hw.spec.numerics import INT32_MAX, INT32_MIN

__all__ = ["Chunk", "ConstantPool", "Fold", "PackedConv", "TileWeights", "pack"]

#: Weight words of a chunk, at most: small enough that the first one is there soon, large enough
#: that instructions stay few.
_CHUNK_WORDS = 1024


@unique
class Fold(Enum):
    """Which kernel taps are lanes."""

    NONE = "none"
    ROW = "row"
    WINDOW = "window"


class ConstantPool:
    """The constants window under construction. Equal contents are stored once."""

    def __init__(self) -> None:
        self.data = bytearray()
        self._known: dict[bytes, int] = {}

    def add(self, content: bytes) -> int:
        """Address of `content`, a multiple of 16."""
        if content not in self._known:
            self._known[content] = len(self.data)
            self.data += content + bytes(-len(content) % 16)
        return self._known[content]


@dataclass(frozen=True, kw_only=True)
class Chunk:
    """Weight tiles of source planes x kernel rows x kernel columns.

    ``plane`` counts from the segment's first plane; `address` is in the constants window.
    """

    plane: int
    planes: int
    kernel_row: int
    kernel_rows: int
    kernel_column: int
    kernel_columns: int
    address: int

    @property
    def passes(self) -> int:
        """Weight tiles."""
        return self.planes * self.kernel_rows * self.kernel_columns


@dataclass(frozen=True, kw_only=True)
class TileWeights:
    """One output tile of C channels: its chunks, and the address of its parameter entry."""

    chunks: tuple[Chunk, ...]
    parameters: int


@dataclass(frozen=True, kw_only=True, eq=False)
class PackedConv:
    """A convolution ready to be tiled.

    A convolution is `segments` independent ones over `planes` source planes each: one if dense,
    one per group of bricks if depthwise. ``tiles[s]`` are the output tiles of segment s.
    Sizes are those that the MAC instructions see, so after folding.

    Planes `upsampled`, [first, stop), are read from a small tensor of `small_words` words, which
    is on chip as a whole; no chunk has some of them and others.
    """

    fold: Fold

    segments: int
    planes: int
    tiles: tuple[tuple[TileWeights, ...], ...]
    in_rows: int
    in_columns: int
    out_rows: int
    out_columns: int
    kernel: tuple[int, int]
    strides: tuple[int, int]
    pads: tuple[int, int]
    upsampled: tuple[int, int] = (0, 0)
    small_words: int = 0

    def held_planes(self) -> int:
        """Planes that are on chip row by row."""
        return self.planes - self.upsampled[1] + self.upsampled[0]

    def held_plane(self, plane: int) -> int:
        """Where plane `plane` stands among those."""
        first, stop = self.upsampled
        return plane if plane < stop else plane - stop + first

    def is_upsampled(self, plane: int) -> bool:
        """Whether `plane` is read from the small tensor."""
        return self.upsampled[0] <= plane < self.upsampled[1]

    def passes(self) -> int:
        """Weight tiles of the heaviest output tile."""
        return max(sum(c.passes for c in t.chunks) for seg in self.tiles for t in seg)


def pack(kernel: ConvKernel, config: ArrayConfig, pool: ConstantPool,
         fold: Fold = Fold.NONE) -> PackedConv:
    """Pack one convolution into `pool`. `fold` is NONE exactly if the source is not packed.

    Raises
    ------
    UnsupportedModelError
        If a bias does not fit 32 bits after the zero point is folded in.
    """
    op, r, c = kernel.op, config.rows, config.columns
    layout, out = kernel.source.layout, kernel.out
    w = op.weights
    bias = op.bias - op.x_zero_point * w.astype(np.int64).sum((1, 2, 3))
    if bias.min() < INT32_MIN or bias.max() > INT32_MAX:
        channel = int(np.argmax(np.abs(bias)))
        raise UnsupportedModelError(
            node=op.name, op=op.kind, found=f"{int(bias[channel])} in output channel {channel}",
            rule="The bias with the input zero point folded in must fit 32 bits.")
    per_segment = config.planes_per_drain if op.depthwise else out.bricks
    segments = out.bricks // per_segment
    tiles_per_segment = per_segment * r // c

    entries = _parameters(kernel, config, bias)
    planes = per_segment if op.depthwise else layout.bricks
    lanes, strides, pads = layout.lanes, op.strides, op.pads[:2]
    rows, columns = layout.rows, layout.columns
    if fold == Fold.WINDOW:
        w = w.transpose(0, 2, 3, 1).reshape(len(w), -1, 1, 1)
        rows, strides, pads = out.rows, (1, 1), (0, 0)
    elif fold == Fold.ROW:
        w = w.transpose(0, 3, 1, 2).reshape(len(w), -1, w.shape[2], 1)
        strides, pads = (strides[0], 1), (pads[0], 0)
    if fold != Fold.NONE:
        columns, lanes = out.columns, np.arange(w.shape[1])
        planes = -(-len(lanes) // r)
    upsampled, small_words = (0, 0), 0
    if kernel.upsampled is not None:
        small = kernel.upsampled.view.layout
        upsampled = kernel.upsampled.plane, kernel.upsampled.plane + small.bricks
        small_words = small.bricks * small.rows * small.columns
    cuts = sorted({0, *upsampled, planes})
    tiles = []
    for segment in range(segments):
        group = []
        for i in range(tiles_per_segment):
            tile = segment * tiles_per_segment + i
            block = _depthwise_tile(kernel, config, tile, planes) if op.depthwise \
                else _dense_tile(w, lanes, config, tile, planes)
            group.append(TileWeights(chunks=_chunks(block, cuts, config, pool),
                                     parameters=pool.add(entries[tile].tobytes())))
        tiles.append(tuple(group))
    return PackedConv(
        fold=fold, segments=segments, planes=planes, tiles=tuple(tiles), in_rows=rows,
        in_columns=columns, out_rows=out.rows, out_columns=out.columns,
        kernel=(w.shape[2], w.shape[3]), strides=strides, pads=pads, upsampled=upsampled,
        small_words=small_words)


def _dense_tile(w: npt.NDArray[np.int16], lanes: npt.NDArray[np.int64], config: ArrayConfig,
                tile: int, planes: int) -> npt.NDArray[np.int16]:
    """int16[planes, KH, KW, R, C] of output tile `tile`."""
    r, c = config.rows, config.columns
    part = w[tile * c:(tile + 1) * c]
    block = np.zeros((c, planes * r, *w.shape[2:]), np.int16)
    block[:len(part), lanes] = part
    return block.reshape(c, planes, r, *w.shape[2:]).transpose(1, 3, 4, 2, 0)


def _depthwise_tile(kernel: ConvKernel, config: ArrayConfig, tile: int,
                    planes: int) -> npt.NDArray[np.int16]:
    """int16[planes, KH, KW, R, C] of output tile `tile`: diagonal where lanes coincide."""
    r, c, w = config.rows, config.columns, kernel.op.weights
    by_lane = np.zeros((kernel.out.bricks * r, *w.shape[2:]), np.int16)
    by_lane[kernel.source.layout.lanes] = w[:, 0]
    segment_lane = tile * c // (planes * r) * planes * r
    block = np.zeros((planes, *w.shape[2:], r, c), np.int16)
    for column in range(c):
        plane, lane = divmod(tile * c + column - segment_lane, r)
        block[plane, :, :, lane, column] = by_lane[tile * c + column]
    return block


def _chunks(block: npt.NDArray[np.int16], cuts: Sequence[int], config: ArrayConfig,
            pool: ConstantPool) -> tuple[Chunk, ...]:
    """Split int16[planes, KH, KW, R, C] into chunks of weights that PEs can hold, with planes
    from one of `cuts` to the next, or fewer.
    """
    _, kh, kw, r, _ = block.shape
    limit = max(1, min(_CHUNK_WORDS, config.weight_words // 4) // r)
    kc = min(kw, limit, MAX_KERNEL)
    kr = min(kh, max(1, limit // kc), MAX_KERNEL) if kc == kw else 1
    most = max(1, limit // (kr * kc)) if (kr, kc) == (kh, kw) else 1
    runs = []
    for start, stop in pairwise(cuts):
        shares = -(-(stop - start) // most)
        step = -(-(stop - start) // shares)  # even ones
        runs += [(p, min(p + step, stop)) for p in range(start, stop, step)]
    found, rest = [], block
    first = True
    while first or rest.any():
        addend = np.clip(rest, config.weight_min, 127)
        rest = rest - addend
        for p, p_stop in runs:
            for y in range(0, kh, kr):
                for x in range(0, kw, kc):
                    part = addend[p:p_stop, y:y + kr, x:x + kc]
                    if not first and not part.any():
                        continue
                    found.append(Chunk(
                        plane=p, planes=part.shape[0], kernel_row=y, kernel_rows=part.shape[1],
                        kernel_column=x, kernel_columns=part.shape[2],
                        address=pool.add(part.astype(np.int8).tobytes())))
        first = False
    return tuple(found)


def _parameters(kernel: ConvKernel, config: ArrayConfig,
                bias: npt.NDArray[np.int64]) -> npt.NDArray[np.uint32]:
    """uint32[tiles, C, 2]: bias, and multiplier | shift << 24, of every output lane."""
    op, total = kernel.op, kernel.out.bricks * config.rows
    lanes = kernel.out.lanes
    entries = np.zeros((total, 2), np.uint32)
    entries[lanes, 0] = bias.astype(np.int32).view(np.uint32)
    entries[lanes, 1] = op.multiplier.astype(np.uint32) | op.shift.astype(np.uint32) << 24
    return entries.reshape(-1, config.columns, 2)
