"""Write the instructions of a cascade, as :class:`codegen.passes.cascade.Cascade` orders them."""

from typing import TYPE_CHECKING

from codegen.passes.cascade import SLOTS, Cascade, Stage, needs_slots, rings_of
from codegen.passes.pack import Chunk
from codegen.passes.schedule_conv import ConvWriter, Input, Span, Target
from codegen.passes.surfaces import surface
from codegen.passes.tile import ConvPlan, spans

if TYPE_CHECKING:
    from codegen.passes.schedule import Writer

__all__ = ["write_cascade"]


def write_cascade(writer: "Writer", cascade: Cascade) -> None:
    """Append all instructions of `cascade`."""
    base = writer.scratchpad.take(cascade.scratchpad_words)
    rings: dict[int, int] = {}
    for index, stage in enumerate(cascade.stages):
        if stage.ring == index:
            rings[index] = base
            base += stage.packed.planes * stage.ring_rows * stage.packed.in_columns
    stages: list[_StageWriter] = []
    for stage in cascade.stages:
        stages.append(_StageWriter(writer, cascade, stage, rings[stage.ring], stages))
        base += stages[-1].place_slots(base)
    for step in cascade.steps():
        own = stages[step.stage]
        writer.kernel = own.kernel.name
        if step.load:
            own.load(step.rows)
        else:
            own.compute(step.rows)


class _StageWriter(ConvWriter):
    """Writes the steps of one stage, which reads the ring that stands from word `ring` on."""

    def __init__(self, writer: "Writer", cascade: Cascade, stage: Stage, ring: int,
                 others: "list[_StageWriter]") -> None:
        p = stage.packed
        super().__init__(writer, stage.kernel, p, ConvPlan(
            tile_rows=stage.tile_rows, tile_columns=p.out_columns, stripe_tiles=1,
            ring_rows=stage.ring_rows, slots=SLOTS, cost=0.0, bytes_moved=0))
        self.cascade, self.stage, self.others = cascade, stage, others
        self.ring_words = stage.ring_rows * p.in_columns
        self.src = {"base": ring + stage.ring_plane * self.ring_words,
                    "plane_stride": self.ring_words, "row_stride": p.in_columns,
                    "ring_words": self.ring_words, "ring_start": 0}

    def load(self, rows: Span) -> None:
        """Load the planes of the input that no other stage writes."""
        self.load_rows(0, rows, (0, self.packed.in_columns), self.src,
                       planes=self.stage.loaded_planes())

    def compute(self, rows: Span) -> None:
        """Compute rows of the result, all its channels."""
        p = self.packed

        def held(chunk: Chunk) -> Input:
            return Input(surface=self.ring(chunk.plane, 0), rows=p.in_rows, columns=p.in_columns,
                         top=0, left=0)
        for brick in spans(len(p.tiles[0]), self.config.lane_groups):
            for tile in range(*brick):
                self.compute_tile(0, tile, brick, rows, (0, p.out_columns), held)

    def slot_sizes(self) -> list[int]:
        """None for what stands in rings."""
        return [size if needs_slots(sink, self.cascade.stages) else 0
                for sink, size in zip(self.kernel.sinks, super().slot_sizes())]

    def targets(self, first_brick: int, rows: Span, columns: Span) -> list[Target]:
        """Rings of other stages; and memory, from there or from a slot."""
        found = []
        bricks = range(first_brick, first_brick + self.config.planes_per_drain)
        for sink, slot in zip(self.kernel.sinks, self.slot_bases()):
            step = 2 if sink.pool else 1
            surfaces = [self.others[stage].ring(plane, rows[0] // step) for stage, plane
                        in rings_of(sink, first_brick, self.cascade.stages)]
            store = bool(sink.stored & set(bricks))
            if store and not surfaces:
                surfaces = [surface(slot, rows=(rows[1] - rows[0]) // step,
                                    columns=(columns[1] - columns[0]) // step)]
            for number, dst in enumerate(surfaces):
                found.append(Target(sink=sink, dst=dst, store=store and number == 0))
        return found

    def ring(self, plane: int, row: int) -> dict[str, int]:
        """The surface of the input from plane `plane` and row `row` on."""
        return self.src | {"base": self.src["base"] + plane * self.ring_words,
                           "ring_start": row * self.src["row_stride"] % self.ring_words}
