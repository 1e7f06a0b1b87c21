"""Choose tile shapes: how much of a layer is on chip at a time.

Letters: P: output pixels of a tile, at most half of the accumulators, so that one half drains
while the other fills. A *stripe* is a few tiles one below the other that share one load of the
weights; rows of the input live in a *ring* of rows, so that each is loaded once.

A plan is chosen by cost: cycles of the busiest unit, of which memory is one, plus what nothing
hides. The figures that users see come from :mod:`hw.spec.timing`, not from here.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from codegen.errors import BuildError
from codegen.lowered import ConvKernel
from codegen.passes.pack import Fold, PackedConv
from hw.spec.config import ArrayConfig

__all__ = ["BURST_CYCLES", "Block", "ConvPlan", "OVERHEAD_CYCLES", "Planned", "TRAFFIC_WEIGHT",
           "block_planes", "input_span", "plan_blocks", "plan_conv", "spans"]

# What the cost of a plan is made of, beyond the cycles of the busiest unit.

#: Of an instruction in which its unit does not work.
OVERHEAD_CYCLES = 12
#: Of a short run of bytes.
BURST_CYCLES = 2
#: A mild preference for little traffic: bandwidth that others could use.
TRAFFIC_WEIGHT = 0.05


@dataclass(frozen=True, kw_only=True)
class ConvPlan:
    """How a convolution is cut.

    Parameters
    ----------
    tile_rows, tile_columns : int
        Output pixels of a tile.
    stripe_tiles : int
        Tiles below one another between two loads of the same weights.
    ring_rows : int
        Input rows on chip; 0: every chunk of weights loads the block of input that it needs.
    slots : int
        Output tiles that wait for their store.
    cost : float
        Estimated cycles.
    bytes_moved : int
        Estimated traffic.
    """

    tile_rows: int
    tile_columns: int
    stripe_tiles: int
    ring_rows: int
    slots: int
    cost: float
    bytes_moved: int


@dataclass(frozen=True, kw_only=True, eq=False)
class Planned:
    """A convolution by itself: its weights as the array takes them, and how it is cut."""

    packed: PackedConv
    plan: ConvPlan


def spans(total: int, step: int) -> Iterator[tuple[int, int]]:
    """(start, stop) of consecutive pieces of `step`, the last one shorter."""
    for start in range(0, total, step):
        yield start, min(total, start + step)


def input_span(out: tuple[int, int], stride: int, pad: int, kernel: int,
               size: int) -> tuple[int, int]:
    """Input positions in 0..size that output positions `out` read; empty ones start in range."""
    start = min(size - 1, max(0, out[0] * stride - pad))
    stop = min(size, (out[1] - 1) * stride - pad + kernel)
    return start, max(start, stop)


def block_planes(packed: PackedConv) -> int:
    """Planes that a block of input has in a plan without a ring."""
    if packed.fold != Fold.NONE:
        return packed.planes
    return max((c.planes for segment in packed.tiles for t in segment for c in t.chunks
                if not packed.is_upsampled(c.plane)), default=0)


def plan_conv(kernel: ConvKernel, packed: PackedConv, config: ArrayConfig, *,
              bytes_per_cycle: float) -> ConvPlan:
    """The cheapest plan that fits.

    Raises
    ------
    BuildError
        If not even single pixels fit; the scratchpad is then smaller than one kernel window.
    """
    found = min(_plans(kernel, packed, config, bytes_per_cycle),
                key=lambda p: (p.cost, p.bytes_moved, p.tile_rows, p.stripe_tiles), default=None)
    if found is None:
        raise BuildError(f"node {kernel.name!r} needs more scratchpad than the "
                         f"{config.scratchpad_words} words of this configuration; "
                         f"choose a larger one")
    return found


def _fractions(total: int, even: bool) -> list[int]:
    """Lengths that cut `total` into equal shares, longest first."""
    step = 2 if even else 1
    lengths = {-(-total // n // step) * step if n > 1 else total
               for n in (1, 2, 3, 4, 5, 6, 8, 10, 12, 16, 20, 26, 32, 52, 64, 104, 128, 208, 416,
                         total // step or 1)}
    return sorted((n for n in lengths if 0 < n <= total), reverse=True)


def _plans(kernel: ConvKernel, packed: PackedConv, config: ArrayConfig,
           bytes_per_cycle: float) -> Iterator[ConvPlan]:
    pool = any(s.pool for s in kernel.sinks)
    half = config.accumulator_words // 2
    step = 2 if pool else 1
    for columns in _fractions(packed.out_columns, pool):
        if columns * step > half:
            continue
        most = min(packed.out_rows, half // columns // step * step)
        heights = {most, max(step, most // 2 // step * step), max(step, most // 4 // step * step),
                   step}
        for height in sorted(heights, reverse=True):
            shares = -(-packed.out_rows // height)
            rows = min(height, -(-packed.out_rows // shares // step) * step)
            yield from _with_rings(kernel, packed, config, bytes_per_cycle, rows, columns)


def _with_rings(kernel: ConvKernel, packed: PackedConv, config: ArrayConfig,
                bytes_per_cycle: float, rows: int, columns: int) -> Iterator[ConvPlan]:
    """Plans of one tile shape: ring buffers of several heights, and blocks."""
    slot = sum(config.planes_per_drain * rows * columns // (4 if s.pool else 1)
               for s in kernel.sinks)
    kh, stride = packed.kernel[0], packed.strides[0]
    in_columns = min(packed.in_columns, (columns - 1) * packed.strides[1] + packed.kernel[1])
    tiles_down = -(-packed.out_rows // rows)
    row_words = packed.held_planes() * in_columns
    room = config.scratchpad_words - packed.small_words

    def cost(stripe: int, slots: int, ring: int, hidden: bool) -> ConvPlan:
        return _estimate(kernel, packed, config, bytes_per_cycle, rows=rows, columns=columns,
                         stripe=stripe, slots=slots, ring=ring, hidden=hidden)

    for stripe in sorted({1, 2, 3, 4, 6, 8, 13, tiles_down}):
        if stripe > tiles_down:
            break
        need = min(packed.in_rows, (stripe * rows - 1) * stride + kh)
        ahead = min(packed.in_rows, need + stripe * rows * stride)
        for ring, slots in ((ahead, 2), (need, 2), (need, 1)):
            if row_words * ring + slot * slots <= room:
                yield cost(stripe, slots, ring, ring >= ahead)
                break
    window = min(packed.in_rows, (rows - 1) * stride + kh) * in_columns
    largest = block_planes(packed)
    for slots in (2, 1):
        if window * largest * slots + slot * slots <= room:
            yield cost(1, slots, 0, slots == 2)
            break


def _estimate(kernel: ConvKernel, packed: PackedConv, config: ArrayConfig,
              bytes_per_cycle: float, *, rows: int, columns: int, stripe: int, slots: int,
              ring: int, hidden: bool) -> ConvPlan:
    """Cost of one plan: max over units, plus the first load and whatever is not hidden."""
    r, c = config.rows, config.columns
    tiles = len(packed.tiles[0]) * packed.segments
    passes = packed.passes()
    across = list(spans(packed.out_columns, columns))
    down = list(spans(packed.out_rows, rows))
    mac = tiles * (passes + 1) * sum(max(r, (y1 - y0) * (x1 - x0))
                                     for y0, y1 in down for x0, x1 in across)
    pixels = packed.out_rows * packed.out_columns
    post = tiles * pixels * c // config.post_lanes * len(kernel.sinks)
    weight_words = len(packed.tiles[0]) * passes * r
    repeats = 1
    if weight_words > config.weight_words:
        repeats = -(-len(down) // stripe) * len(across)
        if passes * r * config.lane_groups > config.weight_words:
            repeats = len(down) * len(across)
    weights = packed.segments * weight_words * c * repeats
    # Weights of the next brick that find no room beside those in use come during its last tile.
    brick_words = passes * r * config.lane_groups
    late = min(brick_words, max(0, 2 * brick_words - config.weight_words))
    tile_cycles = passes * config.lane_groups * max(r, rows * columns)
    stall = 0.0
    if repeats > 1:
        stall = max(0.0, late * c / bytes_per_cycle - tile_cycles) * (
            packed.segments * len(packed.tiles[0]) // config.lane_groups * repeats)

    def width(span: tuple[int, int]) -> int:
        a, b = input_span(span, packed.strides[1], packed.pads[1], packed.kernel[1],
                          packed.in_columns)
        return b - a
    if packed.fold != Fold.NONE:
        # each tap row of the kernel is loaded by itself, in the pieces that its bricks need
        pixel = kernel.op.strides[1] * kernel.source.buffer.packed_channels
        runs = packed.planes
        if packed.fold == Fold.WINDOW:
            runs += kernel.op.weights.shape[2] - 1
        row_bytes = runs * sum(map(width, across)) * pixel
    else:
        runs = packed.segments * packed.held_planes()
        row_bytes = runs * r * sum(map(width, across))
    loads = 1
    if not ring:
        loads = len(packed.tiles[0])
    input_rows = packed.in_rows if ring else sum(
        min(packed.in_rows, (y1 - y0 - 1) * packed.strides[0] + packed.kernel[0])
        for y0, y1 in down)
    inputs = loads * row_bytes * input_rows + len(across) * packed.small_words * r
    # short runs of bytes cost a burst each
    bursts = loads * runs * len(across) * (input_rows if len(across) > 1 or packed.fold != Fold.NONE
                                           else len(down))
    outputs = sum(tiles * pixels * c // (4 if s.pool else 1) for s in kernel.sinks)
    moved = weights + inputs + outputs
    first = row_bytes // len(across) * min(packed.in_rows, rows * packed.strides[0]
                                           + packed.kernel[0]) + packed.small_words * r
    exposed = (first if hidden else inputs) / bytes_per_cycle + stall
    # every instruction has some cycles in which its unit does not work
    blocks = len(down) * len(across)
    instructions = blocks * (packed.segments + tiles * (1 + len(kernel.sinks)))
    exposed += BURST_CYCLES * bursts + OVERHEAD_CYCLES * instructions
    if slots == 1:
        exposed += outputs / bytes_per_cycle + post
    cost = (max(mac, post, moved / bytes_per_cycle) + exposed
            + TRAFFIC_WEIGHT * moved / bytes_per_cycle)
    return ConvPlan(tile_rows=rows, tile_columns=columns, stripe_tiles=stripe, ring_rows=ring,
                    slots=slots, cost=cost, bytes_moved=moved)


@dataclass(frozen=True, kw_only=True)
class Block:
    """Size of the pieces in which a pool or elementwise kernel is done."""

    rows: int
    columns: int
    planes: int


def plan_blocks(name: str, config: ArrayConfig, *, rows: int, columns: int, planes: int,
                kernel: tuple[int, int] = (1, 1), strides: tuple[int, int] = (1, 1),
                granule: tuple[int, int] = (1, 1), operands: int = 1, results: int = 1) -> Block:
    """The block that moves the least, two of which fit the scratchpad side by side.

    Parameters
    ----------
    rows, columns, planes : int
        Of the result.
    granule : (int, int)
        Block rows and columns are multiples of these (unless they are the whole).
    operands, results : int
        How many sources and copies of the result are on chip at a time.

    Raises
    ------
    BuildError
        If one word of result with its window does not fit.
    """
    def lengths(total: int, step: int) -> list[int]:
        return [n for n in {-(-x // step) * step for x in _fractions(total, False)} if n <= total] \
            or [total]

    best: tuple[float, Block] | None = None
    for h in lengths(rows, granule[0]):
        for w in lengths(columns, granule[1]):
            for p in _fractions(planes, False):
                window = ((h - 1) * strides[0] + kernel[0]) * ((w - 1) * strides[1] + kernel[1])
                size = p * (operands * window + results * h * w)
                copies = 1 if (h, w, p) == (rows, columns, planes) else 2
                if size * copies > config.scratchpad_words:
                    continue
                overhead = window / (h * w) + 0.02 * size / config.scratchpad_words
                few = 64.0 / (h * w * p)
                cost = overhead + few
                if best is None or cost < best[0]:
                    best = cost, Block(rows=h, columns=w, planes=p)
    if best is None:
        raise BuildError(f"node {name!r} needs more scratchpad than the "
                         f"{config.scratchpad_words} words of this configuration; "
                         f"choose a larger one")
    return best[1]
