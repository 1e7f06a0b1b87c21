"""Write the instructions of one convolution, as :class:`~codegen.passes.tile.ConvPlan` cuts it.

The loop nest, outermost first: segments, column tiles, stripes, output bricks, tiles of a stripe,
output tiles of a brick (several only where R > C), chunks of weights. Rows of the input are loaded
when the first output brick of a stripe needs them; a plan without a ring loads, for every chunk,
the block of input under it.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from codegen.lowered import ConvKernel, Sink
from codegen.passes.pack import Chunk, Fold, PackedConv
from codegen.passes.surfaces import named, surface, window
from codegen.passes.tile import ConvPlan, block_planes, input_span, spans
from hw.spec.isa import Opcode, Window

if TYPE_CHECKING:
    from codegen.passes.schedule import Writer

__all__ = ["ConvWriter", "Input", "Span", "Target"]

#: Input loads are split between planes when they are larger than this, so that the first chunk of
#: weights can start before the last plane is there.
_SPLIT_BYTES = 16 * 1024

Span = tuple[int, int]


@dataclass(frozen=True, kw_only=True)
class Input:
    """A surface that holds `rows` x `columns` of the input, from row `top`, column `left` on; each
    of them counts ``2**up`` times.
    """

    surface: dict[str, int]
    rows: int
    columns: int
    top: int
    left: int
    up: tuple[int, int] = (0, 0)


@dataclass(frozen=True, kw_only=True)
class Target:
    """A surface that a tile is drained to, and whether it is stored from there."""

    sink: Sink
    dst: dict[str, int]
    store: bool


class ConvWriter:
    """Writes one convolution with :meth:`write`."""

    def __init__(self, writer: "Writer", kernel: ConvKernel, packed: PackedConv,
                 plan: ConvPlan) -> None:
        self.writer, self.kernel, self.packed, self.plan = writer, kernel, packed, plan
        self.config = writer.config
        self._slot = 0
        self._slots: list[list[int]] = []
        self._small: dict[str, int] = {}

    def write(self) -> None:
        """Append all instructions of the convolution to the writer."""
        for segment in range(self.packed.segments):
            for columns in spans(self.packed.out_columns, self.plan.tile_columns):
                if self.plan.ring_rows:
                    self._with_ring(segment, columns)
                else:
                    self._with_blocks(segment, columns)

    def _take(self, input_words: int) -> int:
        """First word of room for the input; output tiles stand behind it, and behind these a small
        tensor that is upsampled, loaded as a whole.
        """
        small = self.packed.small_words
        base = self.writer.scratchpad.take(
            input_words + sum(self.slot_sizes()) * self.plan.slots + small)
        end = base + input_words + self.place_slots(base + input_words)
        if self.kernel.upsampled:
            view = self.kernel.upsampled.view
            h, w = view.layout.rows, view.layout.columns
            self._small = surface(end, rows=h, columns=w)
            self.writer.load(view, planes=(0, view.layout.bricks), rows=(0, h), columns=(0, w),
                             dst=self._small)
        return base

    def _upsampled(self, chunk: Chunk) -> Input:
        """Where a chunk finds its planes in the small tensor."""
        up, src = self.kernel.upsampled, self._small
        assert up is not None
        return Input(
            surface=src | {"base": src["base"] + (chunk.plane - up.plane) * src["plane_stride"]},
            rows=up.view.layout.rows, columns=up.view.layout.columns, top=0, left=0, up=up.log2)

    def slot_sizes(self) -> list[int]:
        """Words of a tile of each sink."""
        tile = self.config.planes_per_drain * self.plan.tile_rows * self.plan.tile_columns
        return [tile // (4 if s.pool else 1) for s in self.kernel.sinks]

    def place_slots(self, base: int) -> int:
        """Let output tiles stand from word `base` on; returns how many words they take."""
        at = base
        self._slots = []
        for _ in range(self.plan.slots):
            self._slots.append([])
            for size in self.slot_sizes():
                self._slots[-1].append(at)
                at += size
        return at - base

    def slot_bases(self) -> list[int]:
        """First words of the present output tile, by sink."""
        return self._slots[self._slot]

    def _in_rows(self, rows: Span) -> Span:
        return input_span(rows, self.packed.strides[0], self.packed.pads[0],
                          self.packed.kernel[0], self.packed.in_rows)

    def _in_columns(self, columns: Span) -> Span:
        return input_span(columns, self.packed.strides[1], self.packed.pads[1],
                          self.packed.kernel[1], self.packed.in_columns)

    def _with_ring(self, segment: int, columns: Span) -> None:
        """One column tile whose input rows are loaded once, into a ring."""
        p, plan = self.packed, self.plan
        across = self._in_columns(columns)
        width = max(1, across[1] - across[0])
        words = plan.ring_rows * width
        src = {"base": self._take(p.held_planes() * words), "plane_stride": words,
               "row_stride": width, "ring_words": words, "ring_start": 0}

        def held(chunk: Chunk) -> Input:
            return Input(surface=src | {"base": src["base"] + p.held_plane(chunk.plane) * words},
                          rows=p.in_rows, columns=width, top=0, left=across[0])
        loaded = 0
        bricks = list(spans(len(p.tiles[segment]), self.config.lane_groups))
        tiles = list(spans(p.out_rows, plan.tile_rows))
        for first, last in spans(len(tiles), plan.stripe_tiles):
            for brick in bricks:
                for rows in tiles[first:last]:
                    down = self._in_rows(rows)
                    start = max(loaded, down[0])
                    if start < down[1] and across[0] < across[1]:
                        self.load_rows(segment, (start, down[1]), across, src)
                        loaded = down[1]
                    for tile in range(*brick):
                        self.compute_tile(segment, tile, brick, rows, columns, held)

    def load_rows(self, segment: int, rows: Span, across: Span, src: dict[str, int],
                  planes: Sequence[Span] | None = None) -> None:
        """Load input rows of a segment into the ring: all planes, or those named."""
        p = self.packed
        dst = src | {"ring_start": rows[0] * src["row_stride"] % src["ring_words"]}
        if p.fold != Fold.NONE:
            self._load_folded(rows, across, dst)
            return
        runs = [(0, p.upsampled[0]), (p.upsampled[1], p.planes)]
        for start, stop in planes or [run for run in runs if run[0] < run[1]]:
            plane_bytes = (rows[1] - rows[0]) * (across[1] - across[0]) * self.config.rows
            step = stop - start
            if plane_bytes * step > _SPLIT_BYTES:
                step = min(step, max(c.planes for c in p.tiles[segment][0].chunks))
            first = segment * p.planes + start
            for a, b in spans(stop - start, step):
                last = min(first + b, self.kernel.source.layout.bricks)
                if first + a < last:
                    at = dst["base"] + p.held_plane(start + a) * dst["plane_stride"]
                    self.writer.load(self.kernel.source, planes=(first + a, last), rows=rows,
                                     columns=across, dst=dst | {"base": at})

    def _load_folded(self, rows: Span, across: Span, dst: dict[str, int]) -> None:
        """Load image rows so that lane (ky, kx, channel) of output pixel x holds that tap.

        The kx and channel lanes of a tap row are consecutive bytes of the image row, `word_step`
        apart from pixel to pixel; they may straddle two bricks. `rows` are output rows where
        whole windows are folded, and image rows where kernel rows are: there is one ky then.
        """
        op, r = self.kernel.op, self.config.rows
        buffer = self.kernel.source.buffer
        channels, pitch = buffer.packed_channels, buffer.row_pitch(self.config)
        sx, (kh, kw) = op.strides[1], op.weights.shape[2:]
        sy, top = op.strides[0], op.pads[0]
        if self.packed.fold == Fold.ROW:
            kh, sy, top = 1, 1, 0
        run = kw * channels
        for ky in range(kh):
            # output rows whose tap row ky is above, inside and below the image
            inside = (min(rows[1], max(rows[0], -(-(top - ky) // sy))),
                      max(rows[0], min(rows[1], -(-(buffer.rows + top - ky) // sy))))
            lane = ky * run
            while lane < (ky + 1) * run:
                brick, first = divmod(lane, r)
                count = min((ky + 1) * run, (brick + 1) * r) - lane
                for a, b in ((rows[0], inside[0]), inside, (max(inside), rows[1])):
                    if a >= b:
                        continue
                    real = (a, b) == inside
                    image_row = a * sy + ky - top if real else 0
                    address, _ = self.writer.address(buffer, 0, image_row, 0)
                    skip = lane - ky * run + (across[0] * sx - op.pads[1]) * channels
                    self.writer.emit(
                        Opcode.LOAD, window=Window.ACTIVATIONS, address=address,
                        memory_plane_stride=0, memory_row_stride=sy * pitch, planes=1,
                        rows=b - a, columns=across[1] - across[0], word_step=sx * channels,
                        lane_first=first, lane_count=count, head=-skip,
                        row_bytes=buffer.columns * channels if real else 0,
                        fill=op.x_zero_point,
                        dst_base=dst["base"] + brick * dst["plane_stride"],
                        dst_plane_stride=dst["plane_stride"], dst_row_stride=dst["row_stride"],
                        dst_ring_words=dst["ring_words"],
                        dst_ring_start=(dst["ring_start"] + (a - rows[0]) * dst["row_stride"])
                        % dst["ring_words"])
                lane += count

    def _with_blocks(self, segment: int, columns: Span) -> None:
        """One column tile for which every chunk of weights loads the input under it."""
        p, plan = self.packed, self.plan
        across = self._in_columns(columns)
        width = max(1, across[1] - across[0])
        window = min(p.in_rows, (plan.tile_rows - 1) * p.strides[0] + p.kernel[0])
        size = block_planes(p) * window * width
        base = self._take(size * plan.slots)
        turn = 0
        for brick in spans(len(p.tiles[segment]), self.config.lane_groups):
            for rows in spans(p.out_rows, plan.tile_rows):
                down = self._in_rows(rows)
                for tile in range(*brick):
                    def fetch(chunk: Chunk, down: Span = down) -> Input:
                        nonlocal turn
                        turn += 1
                        return self._load_block(segment, chunk, down, across,
                                                base + turn % plan.slots * size)
                    self.compute_tile(segment, tile, brick, rows, columns, fetch)

    def _load_block(self, segment: int, chunk: Chunk, rows: Span, across: Span,
                    base: int) -> "Input":
        """Load what `chunk` multiplies, to word `base`."""
        p = self.packed
        height, width = max(1, rows[1] - rows[0]), max(1, across[1] - across[0])
        src = {"base": base, "plane_stride": height * width, "row_stride": width,
               "ring_words": height * width, "ring_start": 0}
        first = segment * p.planes + chunk.plane
        last = min(first + chunk.planes, self.kernel.source.layout.bricks)
        if p.fold != Fold.NONE:
            self._load_folded(rows, across, src)
            src["base"] += chunk.plane * src["plane_stride"]
        elif rows[0] < rows[1] and across[0] < across[1] and first < last:
            self.writer.load(self.kernel.source, planes=(first, last), rows=rows, columns=across,
                             dst=src)
        return Input(surface=src, rows=height, columns=width, top=rows[0], left=across[0])

    def targets(self, first_brick: int, rows: Span, columns: Span) -> list[Target]:
        """Where the bricks from `first_brick` on of the present tile go."""
        bricks = set(range(first_brick, first_brick + self.config.planes_per_drain))
        found = []
        for sink, base in zip(self.kernel.sinks, self.slot_bases()):
            step = 2 if sink.pool else 1
            if bricks & sink.stored:
                found.append(Target(sink=sink, store=True, dst=surface(
                    base, rows=(rows[1] - rows[0]) // step,
                    columns=(columns[1] - columns[0]) // step)))
        return found

    def compute_tile(self, segment: int, tile: int, brick: Span, rows: Span, columns: Span,
                     held: Callable[[Chunk], "Input"]) -> None:
        """MAC, DRAIN and STORE of one tile; `held` says where a chunk finds its input."""
        p, w, op = self.packed, self.writer, self.kernel.op
        first_tile = segment * len(p.tiles[segment]) + brick[0]
        first_brick = first_tile * self.config.columns // self.config.rows
        group = tile - brick[0]
        if group == 0:
            self._slot = (self._slot + 1) % self.plan.slots
        targets = self.targets(first_brick, rows, columns)
        if not targets:
            return
        weights = p.tiles[segment][tile]
        accumulator = w.accumulators()
        h, width = rows[1] - rows[0], columns[1] - columns[0]
        for i, chunk in enumerate(weights.chunks):
            where = w.weights(chunk.address, chunk.passes * self.config.rows)
            source = self._upsampled(chunk) if p.is_upsampled(chunk.plane) else held(chunk)
            w.emit(
                Opcode.MAC, **window(
                    source.surface, src_rows=source.rows, src_columns=source.columns,
                    y0=rows[0] * p.strides[0] - p.pads[0] + chunk.kernel_row - source.top,
                    x0=columns[0] * p.strides[1] - p.pads[1] + chunk.kernel_column - source.left,
                    up=source.up),
                kernel_rows=chunk.kernel_rows, kernel_columns=chunk.kernel_columns,
                stride_y=p.strides[0], stride_x=p.strides[1], up_y=source.up[0],
                up_x=source.up[1], rows=h, columns=width, planes=chunk.planes,
                pad=op.x_zero_point, weights=where, accumulator=accumulator, accumulate=int(i > 0))
        parameter = w.parameters(weights.parameters)
        for target in targets:
            sink = target.sink
            step = 2 if sink.pool else 1
            w.emit(Opcode.DRAIN, accumulator=accumulator, rows=h, columns=width,
                   parameter=parameter, zero_point=op.y_zero_point, odd=op.odd,
                   **w.table(sink.table), pool=int(sink.pool), lane_group=group,
                   **named("dst", target.dst))
            if target.store and tile == brick[1] - 1:
                w.store(sink, brick=first_brick,
                        planes=self.config.planes_per_drain,
                        rows=(rows[0] // step, rows[1] // step),
                        columns=(columns[0] // step, columns[1] // step), src=target.dst)
