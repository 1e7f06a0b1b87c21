"""Write the instructions of one convolution, as :class:`~codegen.passes.tile.ConvPlan` cuts it.

The loop nest, outermost first: segments, column tiles, stripes, output bricks, tiles of a stripe,
output tiles of a brick (several only where R > C), chunks of weights. Rows of the input are loaded
when the first output brick of a stripe needs them; a plan without a ring loads, for every chunk,
the block of input under it.
"""

from typing import TYPE_CHECKING

from codegen.lowered import ConvKernel
from codegen.passes.pack import Chunk, PackedConv
from codegen.passes.surfaces import window
from codegen.passes.tile import ConvPlan, block_planes, input_span, spans
from hw.spec.isa import Opcode, Window

if TYPE_CHECKING:
    from codegen.passes.schedule import Writer

__all__ = ["ConvWriter"]

#: Input loads are split between planes when they are larger than this, so that the first chunk of
#: weights can start before the last plane is there.
_SPLIT_BYTES = 16 * 1024

Span = tuple[int, int]


class ConvWriter:
    """Writes one convolution with :meth:`write`."""

    def __init__(self, writer: "Writer", kernel: ConvKernel, packed: PackedConv,
                 plan: ConvPlan) -> None:
        self.writer, self.kernel, self.packed, self.plan = writer, kernel, packed, plan
        self.config = writer.config
        self._slot = 0

    def write(self) -> None:
        """Append all instructions of the convolution to the writer."""
        for segment in range(self.packed.segments):
            for columns in spans(self.packed.out_columns, self.plan.tile_columns):
                if self.plan.ring_rows:
                    self._with_ring(segment, columns)
                else:
                    self._with_blocks(segment, columns)

    def _take(self, input_words: int) -> int:
        """First word of room for the input; the output tiles stand behind it."""
        tile = self.config.planes_per_drain * self.plan.tile_rows * self.plan.tile_columns
        sizes = [tile // (4 if s.pool else 1) for s in self.kernel.sinks]
        base = self.writer.scratchpad.take(input_words + sum(sizes) * self.plan.slots)
        at = base + input_words
        self._slots = []
        for _ in range(self.plan.slots):
            self._slots.append([])
            for size in sizes:
                self._slots[-1].append(at)
                at += size
        return base

    _slots: list[list[int]]

    def _in_columns(self, columns: Span) -> Span:
        return input_span(columns, self.packed.strides[1], self.packed.pads[1],
                          self.packed.kernel[1], self.packed.in_columns)

    def _with_ring(self, segment: int, columns: Span) -> None:
        """One column tile whose input rows are loaded once, into a ring."""
        p, plan = self.packed, self.plan
        across = self._in_columns(columns)
        width = max(1, across[1] - across[0])
        ring = plan.ring_rows
        base = self._take(p.planes * ring * width)
        src = {"base": base, "plane_stride": ring * width, "row_stride": width,
               "ring_words": ring * width, "ring_start": 0}
        loaded = 0
        bricks = list(spans(len(p.tiles[segment]), self.config.lane_groups))
        tiles = list(spans(p.out_rows, plan.tile_rows))
        for first, last in spans(len(tiles), plan.stripe_tiles):
            for brick in bricks:
                for rows in tiles[first:last]:
                    down = input_span(rows, p.strides[0], p.pads[0], p.kernel[0], p.in_rows)
                    start = max(loaded, down[0])
                    if start < down[1] and across[0] < across[1]:
                        self._load_rows(segment, (start, down[1]), across, src)
                        loaded = down[1]
                    for tile in range(*brick):
                        self._compute(segment, tile, brick, rows, columns, src, across[0], 0)

    def _load_rows(self, segment: int, rows: Span, across: Span, src: dict[str, int]) -> None:
        """Load input rows of all planes of a segment into the ring."""
        p = self.packed
        dst = src | {"ring_start": rows[0] * src["row_stride"] % src["ring_words"]}
        if self.kernel.folded:
            self._load_folded(rows, across, dst)
            return
        plane_bytes = (rows[1] - rows[0]) * (across[1] - across[0]) * self.config.rows
        step = p.planes
        if plane_bytes * step > _SPLIT_BYTES:
            step = max(c.planes for c in p.tiles[segment][0].chunks)
        first = segment * p.planes
        for a, b in spans(p.planes, step):
            last = min(first + b, self.kernel.source.layout.bricks)
            if first + a < last:
                self.writer.load(self.kernel.source, planes=(first + a, last), rows=rows,
                                 columns=across,
                                 dst=dst | {"base": dst["base"] + a * dst["plane_stride"]})

    def _load_folded(self, rows: Span, across: Span, dst: dict[str, int]) -> None:
        """Load image rows so that lane (ky, kx, channel) of output pixel x holds that tap.

        The kx and channel lanes of a tap row are consecutive bytes of the image row, `word_step`
        apart from pixel to pixel; they may straddle two bricks.
        """
        op, r = self.kernel.op, self.config.rows
        buffer = self.kernel.source.buffer
        channels, pitch = buffer.packed_channels, buffer.row_pitch(self.config)
        (sy, sx), (kh, kw) = op.strides, op.weights.shape[2:]
        run = kw * channels
        for ky in range(kh):
            # output rows whose tap row ky is above, inside and below the image
            inside = (min(rows[1], max(rows[0], -(-(op.pads[0] - ky) // sy))),
                      max(rows[0], min(rows[1], -(-(buffer.rows + op.pads[0] - ky) // sy))))
            lane = ky * run
            while lane < (ky + 1) * run:
                brick, first = divmod(lane, r)
                count = min((ky + 1) * run, (brick + 1) * r) - lane
                for a, b in ((rows[0], inside[0]), inside, (max(inside), rows[1])):
                    if a >= b:
                        continue
                    real = (a, b) == inside
                    image_row = a * sy + ky - op.pads[0] if real else 0
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
        """One column tile where even a few rows of all planes are too large."""
        p, plan = self.packed, self.plan
        across = self._in_columns(columns)
        width = max(1, across[1] - across[0])
        window = min(p.in_rows, (plan.tile_rows - 1) * p.strides[0] + p.kernel[0])
        planes = block_planes(self.kernel, p)
        size = planes * window * width
        base = self._take(size * plan.slots)
        turn = 0
        for brick in spans(len(p.tiles[segment]), self.config.lane_groups):
            for rows in spans(p.out_rows, plan.tile_rows):
                down = input_span(rows, p.strides[0], p.pads[0], p.kernel[0], p.in_rows)
                for tile in range(*brick):
                    def fetch(chunk: Chunk, down: Span = down) -> tuple[dict[str, int], int]:
                        nonlocal turn
                        turn += 1
                        height = max(1, down[1] - down[0])
                        src = {"base": base + turn % plan.slots * size,
                               "plane_stride": height * width, "row_stride": width,
                               "ring_words": height * width, "ring_start": 0}
                        first = segment * p.planes + chunk.plane
                        last = min(first + chunk.planes, self.kernel.source.layout.bricks)
                        if self.kernel.folded:
                            self._load_folded(down, across, src)
                            src["base"] += chunk.plane * src["plane_stride"]
                        elif down[0] < down[1] and across[0] < across[1] and first < last:
                            self.writer.load(self.kernel.source, planes=(first, last), rows=down,
                                             columns=across, dst=src)
                        return src, down[0]
                    self._compute(segment, tile, brick, rows, columns, fetch, across[0], down[0])

    def _compute(self, segment: int, tile: int, brick: Span, rows: Span, columns: Span,
                 source: object, left: int, top: int) -> None:
        """MAC, DRAIN and STORE of one tile. `source` is a surface, or fetches one per chunk."""
        p, w, op = self.packed, self.writer, self.kernel.op
        weights = p.tiles[segment][tile]
        accumulator = w.accumulators()
        h, width = rows[1] - rows[0], columns[1] - columns[0]
        for i, chunk in enumerate(weights.chunks):
            words = chunk.passes * self.config.rows
            where = w.weights(chunk.address, words)
            if callable(source):
                src, top = source(chunk)
                plane = 0
            else:
                assert isinstance(source, dict)
                src, plane = source, chunk.plane
            w.emit(
                Opcode.MAC, **window(
                    src | {"base": src["base"] + plane * src["plane_stride"]},
                    src_rows=self._held(rows, top), src_columns=self._held_columns(columns),
                    y0=rows[0] * p.strides[0] - p.pads[0] + chunk.kernel_row - top,
                    x0=columns[0] * p.strides[1] - p.pads[1] + chunk.kernel_column - left),
                kernel_rows=chunk.kernel_rows, kernel_columns=chunk.kernel_columns,
                stride_y=p.strides[0], stride_x=p.strides[1], up_y=0, up_x=0, rows=h,
                columns=width, planes=chunk.planes, pad=op.x_zero_point, weights=where,
                accumulator=accumulator, accumulate=int(i > 0))
        group = tile - brick[0]
        if group == 0:
            self._slot = (self._slot + 1) % self.plan.slots
        parameter = w.parameters(weights.parameters)
        lane_tile = segment * len(p.tiles[segment]) + brick[0]
        for sink, base in zip(self.kernel.sinks, self._slots[self._slot]):
            step = 2 if sink.pool else 1
            dst = {"base": base, "plane_stride": h * width // step ** 2,
                   "row_stride": width // step, "ring_words": h * width // step ** 2,
                   "ring_start": 0}
            w.emit(Opcode.DRAIN, accumulator=accumulator, rows=h, columns=width,
                   parameter=parameter, zero_point=op.y_zero_point, odd=op.odd,
                   **w.table(sink.table), pool=int(sink.pool), lane_group=group,
                   **{f"dst_{k}": v for k, v in dst.items()})
            if tile == brick[1] - 1:
                w.store(sink, brick=lane_tile * self.config.columns // self.config.rows,
                        planes=self.config.planes_per_drain,
                        rows=(rows[0] // step, rows[1] // step),
                        columns=(columns[0] // step, columns[1] // step), src=dst)

    def _held(self, rows: Span, top: int) -> int:
        """Input rows that count as inside, from row `top` on; 1 where none is read."""
        p = self.packed
        a, b = input_span(rows, p.strides[0], p.pads[0], p.kernel[0], p.in_rows)
        return p.in_rows - top if self.plan.ring_rows else max(1, b - a)

    def _held_columns(self, columns: Span) -> int:
        a, b = self._in_columns(columns)
        return max(1, b - a)
