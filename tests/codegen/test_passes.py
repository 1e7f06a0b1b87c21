"""Properties of single passes, on the smallest relative of the default network."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest

from codegen.frontend.importer import import_model
from codegen.ir import Graph
from codegen.lowered import ConvKernel, ElementwiseKernel, Instruction, PoolKernel, sources
from codegen.passes.allocate import allocate
from codegen.passes.footprint import Footprints
from codegen.passes.hoist import hoist
from codegen.passes.normalize import normalize
from codegen.passes.onchip import Cache
from codegen.passes.pack import ConstantPool, Fold, pack
from codegen.passes.place import place
from codegen.passes.schedule import schedule
from codegen.passes.search import plan
from codegen.passes.synchronize import synchronize
from codegen.passes.tile import plan_conv
from hw.spec.config import PRESETS, ArrayConfig
from hw.spec.image import Image
from hw.spec.isa import QUEUE_OF, Isa, Opcode, Queue
from sim.model import Machine
from tests import onnx_nodes as n
from tests.builds import build_folder, verify_folder, zoo_model

CONFIG = PRESETS["test-4x4"]


@pytest.fixture(scope="module")
def graph() -> Graph:
    return normalize(import_model(zoo_model("yolov4-tiny-eighth-64")), CONFIG)


def scheduled(graph: Graph, config: ArrayConfig = CONFIG) -> tuple[list[Instruction], Footprints,
                                                                   bytes, int]:
    lowered = place(graph, config, keep_tensors=False)
    addresses, size = allocate(lowered, config)
    constants = ConstantPool()
    planned = plan(lowered, config, constants, {lowered.kernels[0].name: Fold.ROW},
                   bytes_per_cycle=4.0)
    program, _ = schedule(lowered, addresses, config, constants, planned, {})
    return program, Footprints(config, size), bytes(constants.data), size


def test_concat_and_split_move_nothing(graph: Graph) -> None:
    lowered = place(graph, CONFIG, keep_tensors=False)
    assert [k.name for k in lowered.kernels if isinstance(k, ElementwiseKernel)] == ["up33"]
    assert not [k for k in lowered.kernels if isinstance(k, PoolKernel)]
    lowered = place(graph, CONFIG, keep_tensors=True)
    whole = lowered.views["act2_out_quantized"]
    part = lowered.views["route3_part1quantized"]
    assert part.buffer is whole.buffer
    assert np.array_equal(part.layout.lanes + part.brick * CONFIG.rows,
                          whole.layout.lanes[len(whole.layout.lanes) // 2:]
                          + whole.brick * CONFIG.rows)


def test_keep_tensors_shows_every_named_tensor(graph: Graph) -> None:
    lowered = place(graph, CONFIG, keep_tensors=True)
    named = {name for name in graph.tensors if not name.startswith("%")}
    assert named <= set(lowered.views)
    addresses, _ = allocate(lowered, CONFIG)
    spans = sorted((a, a + b.size(CONFIG)) for b, a in addresses.items())
    assert all(end <= start for (_, end), (start, _) in zip(spans, spans[1:]))


def test_bricks_that_nobody_reads_are_not_stored() -> None:
    """Of conv2's result only the half that the split takes on is read back; its pooled copy is
    whole.
    """
    config = PRESETS["test-4x4"]
    graph = normalize(import_model(zoo_model("yolov4-tiny-quarter-64")), config)
    kernel = next(k for k in place(graph, config, keep_tensors=False).kernels
                  if k.name == "conv2_quant")
    stored = {s.tensor: s.wanted for s in kernel.sinks}
    assert stored["act2_out_quantized"] == {2, 3}
    assert sorted(map(len, stored.values())) == [2, 4]
    kept = place(graph, config, keep_tensors=True)
    assert all(len(s.wanted) == k.out.bricks for k in kept.kernels for s in k.sinks)
    assert "act2_out_quantized" not in place(graph, config, keep_tensors=False).views


@pytest.mark.parametrize("fold", [Fold.ROW, Fold.WINDOW])
@pytest.mark.parametrize("target", ["test-4x4", "test-8x4", "ulx3s-85f"])
def test_both_ways_to_fold_are_exact(fold: Fold, target: str, tmp_path: Path,
                                     monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("codegen.passes.search._folds", lambda _: (fold,))
    rng = np.random.default_rng(1)
    for size, kernel, strides in (((19, 23), 3, 2), ((8, 9), 5, 1), ((30, 7), 2, 1)):
        proto = n.conv((1, 3, *size), n.codes(rng, np.int8, 6, 3, kernel, kernel), rng=rng,
                       pads=[1, 2, 1, 1], strides=[strides, min(2, strides)])
        onnx.save(proto, tmp_path / "m.onnx")
        build = build_folder(tmp_path / "m.onnx", tmp_path / "b", target)
        assert build.tensors["x"].entry["layout"] == "packed"
        assert verify_folder(build, races=True, shuffles=[0]).passed


def test_live_buffers_never_share_memory(graph: Graph) -> None:
    lowered = place(graph, CONFIG, keep_tensors=False)
    addresses, _ = allocate(lowered, CONFIG)
    kernels = lowered.kernels
    used = {b: [i for i, k in enumerate(kernels) if any(v.buffer is b for v in sources(k))
                or any(s.buffer is b for s in k.sinks)] for b in addresses}
    shared = 0
    for a in addresses:
        for b in addresses:
            overlap = addresses[a] < addresses[b] + b.size(CONFIG) \
                and addresses[b] < addresses[a] + a.size(CONFIG)
            if a is not b and overlap:
                shared += 1
                assert max(used[a]) < min(used[b]) or max(used[b]) < min(used[a])
    assert shared, "nothing was reused, so nothing was tested"


@pytest.mark.parametrize("target", ["test-4x4", "test-4x8", "test-8x4", "ulx3s-85f"])
def test_plans_fit_the_memories(graph: Graph, target: str) -> None:
    config = PRESETS[target]
    lowered = place(normalize(graph, config), config, keep_tensors=True)
    for kernel in lowered.kernels:
        if isinstance(kernel, ConvKernel):
            packed = pack(kernel, config, ConstantPool(),
                          Fold.ROW if kernel.folded else Fold.NONE)
            plan = plan_conv(kernel, packed, config, bytes_per_cycle=4.0)
            assert plan.tile_rows * plan.tile_columns <= config.accumulator_words // 2
            for tiles in packed.tiles:
                for tile in tiles:
                    for chunk in tile.chunks:
                        assert chunk.passes * config.rows <= config.weight_words // 2


def test_hoisting_keeps_the_order_of_each_queue(graph: Graph) -> None:
    program, footprints, _, _ = scheduled(graph)
    moved = hoist(program, footprints, CONFIG)
    assert moved != program
    assert {id(i) for i in moved} == {id(i) for i in program}
    assert moved[-1].opcode == Opcode.END
    for queue in Queue:
        def own(instructions: list[Instruction], queue: Queue = queue) -> list[int]:
            return [id(i) for i in instructions if QUEUE_OF.get(i.opcode) == queue]
        assert own(moved) == own(program)


def test_every_token_is_needed(graph: Graph) -> None:
    """Take one token away, on both ends, and two instructions race."""
    program, footprints, constants, size = scheduled(graph)
    program = hoist(program, footprints, CONFIG)
    synchronize(program, footprints)
    isa = Isa(CONFIG)

    def machine(changed: list[Instruction]) -> Machine:
        code = b"".join(isa.encode(i.opcode, i.fields) for i in changed)
        return Machine(Image(config=CONFIG, program=code, constants=constants,
                             activation_bytes=size))
    assert not machine(program).races()
    edges = token_edges(program)
    chosen = np.random.default_rng(0).choice(len(edges), 12, replace=False)
    for giver, taker in (edges[i] for i in chosen):
        changed = list(program)
        g, t = QUEUE_OF[program[giver].opcode], QUEUE_OF[program[taker].opcode]
        changed[giver] = replace(program[giver], fields=program[giver].fields | {
            "signal": program[giver].fields["signal"] & ~(1 << t)})
        changed[taker] = replace(program[taker], fields=program[taker].fields | {
            "wait": program[taker].fields["wait"] & ~(1 << g)})
        assert machine(changed).races(), f"{giver} -> {taker} was not needed"


def token_edges(program: list[Instruction]) -> list[tuple[int, int]]:
    """(giver, taker) of every token, in program order."""
    given: dict[tuple[Queue, Queue], list[int]] = {}
    edges = []
    for index, instruction in enumerate(program[:-1]):
        own = QUEUE_OF[instruction.opcode]
        for other in Queue:
            if instruction.fields["wait"] >> other & 1:
                edges.append((given[other, own].pop(0), index))
        for other in Queue:
            if instruction.fields["signal"] >> other & 1:
                given.setdefault((own, other), []).append(index)
    assert not any(given.values()), "a token was given and never taken"
    return edges


def test_cache_forgets_what_it_overwrites() -> None:
    cache = Cache(10)
    assert cache.get("a", 4) == (0, False)
    assert cache.get("b", 4) == (4, False)
    assert cache.get("a", 4) == (0, True)
    assert cache.get("c", 4) == (0, False)  # does not fit behind b, so it starts over, on a
    assert cache.get("b", 4) == (4, True)
    assert cache.get("a", 4) == (4, False)
