"""Cascades: the order of their steps, what they keep on chip, and that nothing else changes."""

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import onnx
import pytest

from codegen.frontend.importer import import_model
from codegen.lowered import ConvKernel, Lowered
from codegen.passes.cascade import Cascade, Stage, cascades_of, rings_of, with_cascades
from codegen.passes.normalize import normalize
from codegen.passes.pack import ConstantPool, Fold
from codegen.passes.place import place
from codegen.passes.schedule_cascade import write_cascade
from codegen.passes.search import choose, plan
from hw.spec.config import PRESETS
from tests import onnx_nodes as n
from tests.builds import build_folder, compile_zoo, verify_folder, zoo_model

CONFIG = PRESETS["ulx3s-85f"]


def lowered_network(name: str = "yolov4-tiny-quarter-96") -> Lowered:
    return lowered_model(zoo_model(name))


def lowered_model(path: Path) -> Lowered:
    return place(normalize(import_model(path), CONFIG), CONFIG, keep_tensors=False)


def joined(path: Path, layers: Sequence[tuple[str, str, int, int]], halves: tuple[str, str], *,
           channels: int, side: int, seed: int) -> Path:
    """Convolutions of `channels` output channels, each from a tensor to a tensor, with so many
    input channels and a kernel of that size; tensor "c" is made of the two `halves`.
    """
    rng = np.random.default_rng(seed)
    constants = {"s": np.float32(0.05), "z": np.int8(3), "w_s": np.float32(0.01),
                 "w_z": np.int8(0)}
    nodes = []
    for x, y, inputs, size in layers:
        if x == "c":
            nodes.append(n.node("QLinearConcat", ["s", "z", halves[0], "s", "z", halves[1], "s",
                                                  "z"], ["c"], axis=1))
        constants[f"w_{y}"] = n.codes(rng, np.int8, channels, inputs, size, size)
        nodes.append(n.node("QLinearConv", [x, "s", "z", f"w_{y}", "w_s", "w_z", "s", "z"], [y],
                            pads=[size // 2] * 4))
    onnx.save(n.model(nodes, {"x": (np.int8, (1, channels, side, side))}, constants),
              path / "m.onnx")
    return path / "m.onnx"


def diamond(path: Path, first: int, second: int) -> Path:
    """Two convolutions of sizes `first` and `second` read one tensor; the last one reads both."""
    return joined(path, (("x", "t", 16, 1), ("t", "u", 16, first), ("t", "v", 16, second),
                         ("c", "y", 32, 3)), ("u", "v"), channels=16, side=40, seed=first)


def all_cascades(lowered: Lowered) -> Iterator[Cascade]:
    planned = plan(lowered, CONFIG, ConstantPool(), {lowered.kernels[0].name: Fold.WINDOW},
                   bytes_per_cycle=4.0)
    for start in range(len(lowered.kernels)):
        for stop in range(start + 2, min(start + 6, len(lowered.kernels)) + 1):
            yield from cascades_of(lowered, lowered.kernels[start:stop], planned, CONFIG,
                                   bytes_per_cycle=4.0)


class Ring:
    """Which row each row of a stage's ring holds, plane by plane."""

    def __init__(self, stage: Stage) -> None:
        self.rows = np.full((stage.packed.planes, stage.ring_rows), -1)

    def put(self, plane: int, rows: range) -> None:
        for row in rows:
            self.rows[plane, row % self.rows.shape[1]] = row

    def has(self, stage: Stage, rows: range) -> bool:
        """Whether all planes that `stage` reads have those rows."""
        planes = self.rows[stage.ring_plane:stage.ring_plane + stage.packed.planes]
        return all((planes[:, row % planes.shape[1]] == row).all() for row in rows)


def test_every_tile_finds_its_rows_in_the_ring(tmp_path: Path) -> None:
    sizes, shared = Counter[int](), 0
    # In the larger network the inputs of a concatenation have its scale.
    for cascade in (*all_cascades(lowered_network()),
                    *all_cascades(lowered_network("yolov4-tiny-416")),
                    *all_cascades(lowered_model(diamond(tmp_path, 1, 7))),
                    *all_cascades(lowered_model(diamond(tmp_path, 7, 1)))):
        stages = cascade.stages
        rings = [Ring(stage) for stage in stages]
        computed = [0] * len(stages)
        for step in cascade.steps():
            stage = stages[step.stage]
            if step.load:
                for first, stop in stage.loaded_planes():
                    for plane in range(first, stop):
                        rings[step.stage].put(plane, range(*step.rows))
                continue
            assert rings[stage.ring].has(stage, range(*stage.in_rows(step.rows)))
            assert step.rows[0] == computed[step.stage]
            computed[step.stage] = step.rows[1]
            for sink in stage.kernel.sinks:
                rows = [row // (2 if sink.pool else 1) for row in step.rows]
                for brick in range(stage.kernel.out.bricks):
                    for index, plane in rings_of(sink, brick, stages):
                        rings[index].put(plane, range(*rows))
        for stage, rows in zip(stages, computed):
            needed = any(s.stored for s in stage.kernel.sinks)
            assert rows == stage.packed.out_rows or not needed
        sizes[len(stages)] += 1
        shared += any(stage.ring != index for index, stage in enumerate(stages))
    assert sizes[2] > 10 and sizes[4] > 2 and shared > 5


def test_results_are_computed_a_tile_ahead() -> None:
    """The array does something else while the rows for its next tile are requantized."""
    ahead = 0
    for cascade in all_cascades(lowered_network()):
        steps = [s for s in cascade.steps() if not s.load]
        for before, step in zip(steps, steps[1:]):
            links = cascade.stages[step.stage].links
            if step.rows[0] and any(k.producer == before.stage for k in links):
                stage, producer = cascade.stages[step.stage], cascade.stages[before.stage]
                needed = stage.in_rows(step.rows)[1]
                pooled = any(k.sink.pool for k in links if k.producer == before.stage)
                done = before.rows[0] // (2 if pooled else 1)
                assert done >= needed or before.rows[1] == producer.packed.out_rows
                ahead += 1
    assert ahead > 50


def test_only_what_others_read_is_stored() -> None:
    lowered = lowered_network()
    lowered, choices = choose(lowered, CONFIG, bytes_per_cycle=2.0, latency=20)
    planned = plan(lowered, CONFIG, ConstantPool(), {
        k.name: f for c in choices for k, f in zip(lowered.kernels[c.start:c.stop], c.folds)},
        bytes_per_cycle=2.0)
    changed, cascades = with_cascades(
        lowered, [(c.start, c.stop, c.divisor) for c in choices], planned, CONFIG,
        bytes_per_cycle=2.0)
    assert cascades and [k.name for g in changed.groups for k in g] == [
        k.name for k in lowered.kernels]
    silent = [k for k in changed.kernels if not any(s.stored for s in k.sinks)]
    assert silent, "no result stays on chip"
    for kernel in silent:
        for sink in kernel.sinks:
            assert sink.wanted and sink.tensor not in changed.views


def test_what_two_stages_read_is_loaded_once() -> None:
    """A concatenation has what one stage reads and what it makes of it."""
    loaded = 0
    for cascade in all_cascades(lowered_network("yolov4-tiny-416")):
        stages = cascade.stages
        read = [stage.kernel.source for stage in stages]
        planes = [(source.buffer.name, source.brick + plane)
                  for index, (stage, source) in enumerate(zip(stages, read))
                  if stage.ring == index for run in stage.loaded_planes()
                  for plane in range(*run)]
        assert len(planes) == len(set(planes))
        loaded += len(planes)
        for stage in stages:
            home = stages[stage.ring]
            assert home.kernel.source.bricks() >= stage.kernel.source.bricks()
            assert home.ring_rows == stage.ring_rows and stages[home.ring] is home
            drained = [ring for sink in stage.kernel.sinks
                       for brick in range(stage.kernel.out.bricks)
                       for ring, _ in rings_of(sink, brick, stages)]
            assert all(stages[ring].ring == ring for ring in drained), "drained twice"
    assert loaded > 100


def test_a_debug_build_stores_everything_and_is_equal(tmp_path: Path) -> None:
    model = zoo_model("yolov4-tiny-quarter-96")
    normal = build_folder(model, tmp_path / "n", "ulx3s-85f")
    debug = build_folder(model, tmp_path / "d", "ulx3s-85f", keep_tensors=True)
    for build, least in ((normal, 8), (debug, 60)):
        result = verify_folder(build, races=True, shuffles=range(4))
        assert result.passed and result.compared >= least


def test_cascades_save_traffic_and_cycles(monkeypatch: pytest.MonkeyPatch) -> None:
    def build() -> dict[str, float]:
        report = compile_zoo("yolov4-tiny-quarter-96", "ulx3s-85f", bytes_per_cycle=2.0).report
        return report["prediction"]
    with_them = build()
    monkeypatch.setattr("codegen.passes.search._MOST_STAGES", 1)
    without = build()
    assert with_them["cycles"] < 0.95 * without["cycles"]
    for moved in ("read_bytes", "written_bytes"):
        assert with_them[moved] < 0.9 * without[moved]


def test_rows_that_the_last_stage_skips_are_computed_if_they_are_kept(tmp_path: Path) -> None:
    """The second convolution reads every fourth row, and never the last three."""
    rng = np.random.default_rng(0)
    constants = {"s": np.float32(0.05), "z": np.int8(3), "w": n.codes(rng, np.int8, 4, 4, 1, 1),
                 "w_s": np.float32(0.01), "w_z": np.int8(0)}
    operands = ["s", "z", "w", "w_s", "w_z", "s", "z"]
    onnx.save(n.model([
        n.node("QLinearConv", ["x", *operands], ["t"]),
        n.node("QLinearConv", ["t", *operands], strides=[4, 4])],
        {"x": (np.int8, (1, 4, 16, 6))}, constants), tmp_path / "m.onnx")
    for keep in (True, False):
        build = build_folder(tmp_path / "m.onnx", tmp_path / f"b{keep}", "test-4x4",
                             keep_tensors=keep)
        result = verify_folder(build, races=True)
        assert result.passed and result.compared == 2 + keep


def test_a_cascade_is_convolutions_only() -> None:
    lowered = lowered_network()
    planned = plan(lowered, CONFIG, ConstantPool(), {lowered.kernels[0].name: Fold.ROW},
                   bytes_per_cycle=4.0)
    resize = next(i for i, k in enumerate(lowered.kernels) if not isinstance(k, ConvKernel))
    assert not cascades_of(lowered, lowered.kernels[resize - 1:resize + 1], planned, CONFIG,
                           bytes_per_cycle=4.0)


def test_a_stage_reads_its_part_of_a_shared_ring(tmp_path: Path,
                                                 monkeypatch: pytest.MonkeyPatch) -> None:
    """T stands behind u in the ring of the last convolution, and u is made of t."""
    model = joined(tmp_path, (("x", "t", 8, 1), ("t", "u", 8, 3), ("c", "y", 16, 1)), ("u", "t"),
                   channels=8, side=12, seed=3)
    written: list[Cascade] = []

    def note(writer: object, cascade: Cascade) -> None:
        written.append(cascade)
        write_cascade(writer, cascade)  # type: ignore[arg-type]
    monkeypatch.setattr("codegen.passes.schedule.write_cascade", note)
    build = build_folder(model, tmp_path / "b", "test-4x4")
    assert any(stage.ring_plane for cascade in written for stage in cascade.stages)
    assert verify_folder(build, races=True, shuffles=range(3)).passed
