"""Find convolutions that are worth running together, row by row, so that what is between them
never reaches memory.

Before: :class:`codegen.lowered.Lowered`, every result goes to memory. After: the same with
cascades, and sinks that store only what somebody outside of the cascade reads. Equal because every
tile computes what it computed before, from the same rows: only where they wait differs.

A cascade is a run of consecutive convolutions. Each of its *stages* reads its input from a ring of
rows on chip; a *link* says which planes of that ring another stage writes, the others are loaded.
If all that a stage reads is part of what another one reads, as where a network concatenates a
tensor with what was made of it, the other's ring serves both. Stages take turns: whoever has the
rows for its next tile, and the rows for the tile behind that under way, computes it.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from codegen.lowered import Buffer, ConvKernel, Kernel, Lowered, Sink, View, sources
from codegen.passes.pack import Fold, PackedConv
from codegen.passes.tile import (
    BURST_CYCLES,
    OVERHEAD_CYCLES,
    TRAFFIC_WEIGHT,
    Planned,
    input_span,
    spans,
)
from hw.spec.config import ArrayConfig

__all__ = ["SLOTS", "Cascade", "Link", "Stage", "Step", "cascades_of", "needs_slots",
           "rings_of", "with_cascades"]

#: Tiles of a sink that wait for their store, where no ring holds them.
SLOTS = 2

_DIVISORS = (1, 2, 4, 8)
#: Images are loaded for so many tiles ahead: the first stage does several between two of the next.
_IMAGE_TILES_AHEAD = 5


@dataclass(frozen=True, kw_only=True, eq=False)
class Link:
    """Planes of a stage's input that another stage of the cascade writes.

    Parameters
    ----------
    producer : int
        The other stage.
    sink : Sink
        What it does to its result on the way.
    plane, brick, bricks : int
        First plane of the input, first brick of the result, and how many of them.
    """

    producer: int
    sink: Sink
    plane: int
    brick: int
    bricks: int


@dataclass(frozen=True, kw_only=True, eq=False)
class Stage:
    """A convolution of a cascade; its tiles are as wide as its result.

    Parameters
    ----------
    ring, ring_plane : int
        Its input stands in the ring of this stage, from this plane on.
    ring_rows : int
        Of that ring.
    """

    kernel: ConvKernel
    packed: PackedConv
    links: tuple[Link, ...]
    tile_rows: int
    ring: int
    ring_plane: int
    ring_rows: int = 0

    def loaded_planes(self) -> list[tuple[int, int]]:
        """Planes of the input, [first, stop), that no other stage writes."""
        linked = {p for k in self.links for p in range(k.plane, k.plane + k.bricks)}
        planes = [p for p in range(self.packed.planes) if p not in linked]
        runs: list[tuple[int, int]] = []
        for p in planes:
            if runs and runs[-1][1] == p:
                runs[-1] = runs[-1][0], p + 1
            else:
                runs.append((p, p + 1))
        return runs

    def in_rows(self, rows: tuple[int, int]) -> tuple[int, int]:
        """Rows of the input that `rows` of the result need."""
        p = self.packed
        return input_span(rows, p.strides[0], p.pads[0], p.kernel[0], p.in_rows)

    def tile(self, first: int) -> tuple[int, int]:
        """Rows of the tile that begins at row `first`."""
        return first, min(first + self.tile_rows, self.packed.out_rows)


@dataclass(frozen=True, kw_only=True)
class Step:
    """Rows of the input of `stage` to load, or rows of its result to compute."""

    stage: int
    load: bool
    rows: tuple[int, int]


@dataclass(frozen=True, kw_only=True, eq=False)
class Cascade:
    """Stages in the order of their kernels; the last one is nobody's producer."""

    stages: tuple[Stage, ...]
    divisor: int
    scratchpad_words: int
    cost: float

    def steps(self) -> Iterator[Step]:
        """Everything that the cascade does, in program order."""
        return _steps(self.stages)


def cascades_of(lowered: Lowered, group: Sequence[Kernel], planned: Mapping[str, Planned],
                config: ArrayConfig, *, bytes_per_cycle: float) -> list[Cascade]:
    """Cascades of consecutive kernels; none if they cannot be one. Tiles are as high as the
    accumulators allow, divided by the cascade's `divisor`.
    """
    convs = [k for k in group if isinstance(k, ConvKernel)]
    packed = [planned[k.name].packed for k in convs]
    if len(convs) < len(group) or any(p.segments > 1 for p in packed):
        return []
    readers = _Readers(lowered)
    convs = [replace(k, sinks=tuple(replace(s, stored=readers.outside(s, k, group))
                                    for s in k.sinks)) for k in convs]
    links = []
    for index in range(len(convs)):
        own = _links(index, convs, config)
        if own is None:
            return []
        links.append(own)
    if {k.producer for own in links for k in own} != set(range(len(convs) - 1)):
        return []
    found: list[Cascade] = []
    for divisor in _DIVISORS:
        stages = []
        for index, (kernel, p, own) in enumerate(zip(convs, packed, links)):
            step = 2 if any(s.pool for s in kernel.sinks) else 1
            most = config.accumulator_words // 2 // p.out_columns // divisor // step * step
            if most < 1:
                return found
            shares = -(-p.out_rows // most)
            rows = -(-p.out_rows // shares // step) * step
            ring = _ring_of(index, convs)
            stages.append(Stage(
                kernel=kernel, packed=p, links=own, tile_rows=rows, ring=ring,
                ring_plane=kernel.source.brick - convs[ring].source.brick))
        stages = _with_rings(stages)
        words = _scratchpad_words(stages, config)
        if words <= config.scratchpad_words:
            found.append(Cascade(stages=tuple(stages), divisor=divisor, scratchpad_words=words,
                                 cost=_cost(stages, config, bytes_per_cycle)))
    return found


class _Readers:
    """Who reads which bricks of a buffer."""

    def __init__(self, lowered: Lowered) -> None:
        self.kernels = defaultdict[Buffer, list[tuple[Kernel, View]]](list)
        for kernel in lowered.kernels:
            for view in sources(kernel):
                self.kernels[view.buffer].append((kernel, view))
        kept = [v for v in lowered.views.values()] if lowered.keep_tensors else [
            lowered.views[out.tensor] for out in lowered.graph.outputs]
        self.kept = defaultdict[Buffer, set[int]](set)
        for view in kept:
            self.kept[view.buffer] |= view.bricks()

    def outside(self, sink: Sink, kernel: Kernel, cascade: Sequence[Kernel]) -> frozenset[int]:
        """Bricks of a kernel's result in `sink` that something not in `cascade` reads."""
        read = set(self.kept[sink.buffer])
        for reader, view in self.kernels[sink.buffer]:
            if reader not in cascade:
                read |= view.bricks()
        return frozenset(b for b in range(kernel.out.bricks) if sink.brick + b in read)


def _links(index: int, convs: Sequence[ConvKernel],
           config: ArrayConfig) -> tuple[Link, ...] | None:
    """Links into stage `index`; None if it reads what the cascade makes in another way."""
    source = convs[index].source
    links = []
    for i, producer in enumerate(convs):
        for sink in producer.sinks:
            if sink.buffer is not source.buffer:
                continue
            first = max(sink.brick, source.brick)
            stop = min(sink.brick + producer.out.bricks,
                       source.brick + source.layout.bricks)
            if first >= stop:
                continue
            brick, bricks = first - sink.brick, stop - first
            if i >= index or brick % config.planes_per_drain or bricks % config.planes_per_drain:
                return None
            links.append(Link(producer=i, sink=sink, plane=first - source.brick, brick=brick,
                              bricks=bricks))
    return tuple(links)


def _ring_of(index: int, convs: Sequence[ConvKernel]) -> int:
    """The stage with the largest input that has all of the input of stage `index`."""
    own = convs[index].source
    if own.buffer.packed_channels:
        return index
    found = [(view.layout.bricks, i) for i, view in enumerate(conv.source for conv in convs)
             if view.buffer is own.buffer and own.bricks() <= view.bricks()]
    return max(found)[1]


def _steps(stages: Sequence[Stage]) -> Iterator[Step]:
    """Tiles in an order in which each finds its input, and the input of the tile behind it is
    computed before it: the results are then requantized while the array is busy.
    """
    computed, loaded = [0] * len(stages), [0] * len(stages)

    def load(index: int, rows: int) -> Iterator[Step]:
        """Have loaded input rows of `index` up to `rows`."""
        ring = stages[index].ring
        if stages[index].loaded_planes() and loaded[ring] < rows:
            yield Step(stage=ring, load=True, rows=(loaded[ring], rows))
            loaded[ring] = rows

    def provide(index: int, rows: int) -> Iterator[Step]:
        """Have input rows of `index` up to `rows`."""
        yield from load(index, rows)
        for link in stages[index].links:
            yield from compute(link.producer, rows * (2 if link.sink.pool else 1))

    def compute(index: int, rows: int) -> Iterator[Step]:
        """Have result rows of `index` up to `rows`."""
        stage = stages[index]
        while computed[index] < rows:
            tile = stage.tile(computed[index])
            behind = stage.tile(min(tile[1], stage.packed.out_rows - 1))
            yield from provide(index, stage.in_rows(tile)[1])
            yield from provide(index, stage.in_rows(behind)[1])
            if stage.packed.fold != Fold.NONE:
                for _ in range(_IMAGE_TILES_AHEAD - 1):
                    behind = stage.tile(min(behind[1], stage.packed.out_rows - 1))
                    yield from load(index, stage.in_rows(behind)[1])
            yield Step(stage=index, load=False, rows=tile)
            computed[index] = tile[1]

    # the last stage first; rows of the others that it does not need may be wanted outside
    for index in reversed(range(len(stages))):
        if index == len(stages) - 1 or any(s.stored for s in stages[index].kernel.sinks):
            yield from compute(index, stages[index].packed.out_rows)


def _with_rings(stages: Sequence[Stage]) -> list[Stage]:
    """Rings that never lose a row that is still needed: found by going through all steps."""
    need = [0] * len(stages)       # first input row that the next tile needs
    have = [0] * len(stages)       # rows of the ring that were loaded or computed
    most = [1] * len(stages)
    readers = [[i for i, stage in enumerate(stages) if stage.ring == ring]
               for ring in range(len(stages))]

    def grow(ring: int, rows: int) -> None:
        have[ring] = max(have[ring], rows)
        most[ring] = max(most[ring], have[ring] - min(need[i] for i in readers[ring]))

    for step in _steps(stages):
        if step.load:
            grow(step.stage, step.rows[1])
            continue
        stage = stages[step.stage]
        done = step.rows[1] == stage.packed.out_rows
        need[step.stage] = stage.packed.in_rows if done else \
            stage.in_rows(stage.tile(step.rows[1]))[0]
        for other in stages:
            for link in other.links:
                if link.producer == step.stage:
                    grow(other.ring, step.rows[1] // (2 if link.sink.pool else 1))
    return [replace(stage, ring_rows=min(most[stage.ring], stage.packed.in_rows))
            for stage in stages]


def rings_of(sink: Sink, brick: int, stages: Sequence[Stage]) -> list[tuple[int, int]]:
    """(stage, plane) of every input ring that holds brick `brick` of the result in `sink`."""
    return [(index, link.plane + brick - link.brick)
            for index, stage in enumerate(stages) if stage.ring == index for link in stage.links
            if link.sink is sink and link.brick <= brick < link.brick + link.bricks]


def needs_slots(sink: Sink, stages: Sequence[Stage]) -> bool:
    """Whether some of what `sink` stores is in no ring, and waits for its store by itself."""
    return any(not rings_of(sink, brick, stages) for brick in sink.stored)


def _scratchpad_words(stages: Sequence[Stage], config: ArrayConfig) -> int:
    words = sum(stage.packed.planes * stage.ring_rows * stage.packed.in_columns
                for index, stage in enumerate(stages) if stage.ring == index)
    for stage in stages:
        p = stage.packed
        tile = config.planes_per_drain * stage.tile_rows * p.out_columns
        words += sum(SLOTS * tile // (4 if s.pool else 1) for s in stage.kernel.sinks
                     if needs_slots(s, stages))
    return words


def _cost(stages: Sequence[Stage], config: ArrayConfig, bytes_per_cycle: float) -> float:
    """Estimated cycles, comparable with :attr:`codegen.passes.tile.ConvPlan.cost`."""
    r, c = config.rows, config.columns
    mac = post = inputs = outputs = instructions = bursts = 0
    chunks = [chunk.passes * r for stage in stages for tile in stage.packed.tiles[0]
              for chunk in tile.chunks]
    # weights stay on chip if all fit, and a chunk may be lost where the weight memory ends
    fits = sum(chunks) + max(chunks) <= config.weight_words
    weight_bytes = 0
    for index, stage in enumerate(stages):
        p = stage.packed
        down = list(spans(p.out_rows, stage.tile_rows))
        tiles = len(p.tiles[0])
        mac += tiles * p.passes() * sum(max(r, (b - a) * p.out_columns) for a, b in down)
        drains = sum(len(rings_of(sink, brick, stages)) or brick in sink.stored
                     for sink in stage.kernel.sinks for brick in range(stage.kernel.out.bricks))
        post += drains * r * p.out_rows * p.out_columns // config.post_lanes
        weight_bytes += tiles * p.passes() * r * c * (1 if fits else len(down))
        planes = sum(b - a for a, b in stage.loaded_planes()) if stage.ring == index else 0
        if p.fold == Fold.NONE:
            inputs += planes * p.in_rows * p.in_columns * r
            bursts += planes * len(down)
        else:
            pixel = stage.kernel.op.strides[1] * stage.kernel.source.buffer.packed_channels
            runs = p.planes + (stage.kernel.op.weights.shape[2] - 1
                               if p.fold == Fold.WINDOW else 0)
            inputs += runs * p.in_rows * p.in_columns * pixel
            bursts += runs * p.in_rows
        outputs += sum(len(sink.stored) * r * p.out_rows * p.out_columns // (4 if sink.pool else 1)
                       for sink in stage.kernel.sinks)
        instructions += len(down) * (1 + tiles + drains * r // c)
    moved = weight_bytes + inputs + outputs
    first = stages[0]
    exposed = OVERHEAD_CYCLES * instructions + BURST_CYCLES * bursts + (
        inputs * first.tile_rows // max(1, first.packed.out_rows)) / bytes_per_cycle
    return (max(mac, post, moved / bytes_per_cycle) + exposed
            + TRAFFIC_WEIGHT * moved / bytes_per_cycle)


def with_cascades(lowered: Lowered, groups: Sequence[tuple[int, int, int]],
                  planned: Mapping[str, Planned], config: ArrayConfig, *,
                  bytes_per_cycle: float) -> tuple[Lowered, dict[str, Cascade]]:
    """Make cascades of the kernels start..stop whose divisor is not 0.

    Returns
    -------
    Lowered
        With these groups, kernels that store less, and without views of what is not in memory.
    dict
        The cascades by the name of their first kernel.
    """
    cascades = {}
    for start, stop, divisor in groups:
        if divisor:
            found = cascades_of(lowered, lowered.kernels[start:stop], planned, config,
                                bytes_per_cycle=bytes_per_cycle)
            cascades[lowered.kernels[start].name] = next(c for c in found if c.divisor == divisor)
    changed: dict[str, Kernel] = {stage.kernel.name: stage.kernel
                                  for cascade in cascades.values() for stage in cascade.stages}
    kernels = tuple(changed.get(k.name, k) for k in lowered.kernels)
    in_memory, written = defaultdict[Buffer, set[int]](set), defaultdict[Buffer, set[int]](set)
    for kernel in kernels:
        for sink in kernel.sinks:
            written[sink.buffer] |= {sink.brick + b for b in sink.wanted}
            in_memory[sink.buffer] |= {sink.brick + b for b in sink.stored}
    views = {name: view for name, view in lowered.views.items()
             if not view.bricks() & (written[view.buffer] - in_memory[view.buffer])}
    return replace(lowered, kernels=kernels, views=views,
                   groups=tuple(kernels[a:b] for a, b, _ in groups)), cascades
