"""Convolutions that read upsampled tensors from the small ones: when, and with what result."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest

from codegen.frontend.importer import import_model
from codegen.lowered import ConvKernel, Lowered
from codegen.passes import search
from codegen.passes.normalize import normalize
from codegen.passes.place import place
from codegen.passes.upsample import merge_upsampling
from hw.spec.config import PRESETS, ArrayConfig
from hw.spec.isa import Isa, Opcode
from sim.build import BuildFolder
from tests import onnx_nodes as n
from tests.builds import build_folder, verify_folder

CONFIG = PRESETS["test-4x4"]


def network(folder: Path, *, factors: tuple[int, int] = (2, 2), order: str = "ut",
            rescaled: bool = False, kernel: int = 3, stride: int = 1,
            outputs: Sequence[str] = ("y",), reader: bool = False) -> Path:
    """A convolution makes t, another one and an activation s_; u is s_, upsampled; the last one
    reads the letters of `order`, concatenated. `rescaled`: u has another scale there; `reader`:
    somebody else reads s_.
    """
    rng = np.random.default_rng(len(order) + kernel + stride + factors[0])
    q = {"s": np.float32(0.05), "z": np.int8(3), "s2": np.float32(0.08), "z2": np.int8(-7),
         "w_s": np.float32(0.01), "w_z": np.int8(0)}

    def weights(out: int, channels: int, size: int) -> np.ndarray:
        return n.codes(rng, np.int8, out, channels, size, size)
    channels = {"t": 8, "u": 8}
    constants = {**q, "w_t": weights(8, 4, 1), "w_u": weights(8, 6, 1),
                 "w_y": weights(5, sum(channels[x] for x in order), kernel),
                 "f": np.array([1, 1, *factors], np.float32)}

    def conv(x: str, w: str, y: str, **attributes: object) -> onnx.NodeProto:
        return n.node("QLinearConv", [x, "s", "z", w, "w_s", "w_z", "s", "z"], [y], **attributes)
    scales = {"t": ("s", "z"), "u": ("s2", "z2") if rescaled else ("s", "z")}
    nodes = [conv("x", "w_t", "t"), conv("small", "w_u", "s0"),
             n.node("QLinearLeakyRelu", ["s0", "s", "z", "s", "z"], ["s_"], alpha=0.25),
             n.node("Resize", ["s_", "", "f"], ["u"], mode="nearest", nearest_mode="floor",
                    coordinate_transformation_mode="asymmetric")]
    if len(order) > 1:
        nodes.append(n.node("QLinearConcat", [
            "s", "z", *(part for x in order for part in (x, *scales[x]))], ["c"], axis=1))
    nodes.append(conv("c" if len(order) > 1 else order, "w_y", "y",
                      pads=[kernel // 2] * 4, strides=[stride] * 2))
    if reader:
        nodes.append(conv("s_", "w_t2", "y2"))
        constants["w_t2"] = weights(3, 8, 1)
    rows, columns = 5, 6
    path = folder / "m.onnx"
    onnx.save(n.model(nodes, {"x": (np.int8, (1, 4, rows * factors[0], columns * factors[1])),
                              "small": (np.int8, (1, 6, rows, columns))},
                      constants, outputs=(*outputs, *(["y2"] if reader else []))), path)
    return path


def lowered_network(path: Path, config: ArrayConfig = CONFIG, *, keep: bool = False) -> Lowered:
    return place(normalize(import_model(path), config), config, keep_tensors=keep)


def merged_network(path: Path, *, keep: bool = False) -> Lowered | None:
    lowered = lowered_network(path, keep=keep)
    return merge_upsampling(lowered, next(
        i for i, k in enumerate(lowered.kernels) if k.kind == "Resize"))


def upsampled_macs(build: BuildFolder) -> int:
    """MAC instructions that read a small tensor."""
    isa, program = Isa(build.image.config), build.image.program
    decoded = [isa.decode(program[at:at + isa.instruction_bytes])
               for at in range(0, len(program), isa.instruction_bytes)]
    return sum(opcode == Opcode.MAC and fields["up_y"] + fields["up_x"] > 0
               for opcode, fields in decoded)


CASES = {
    "alone": {"order": "u"}, "first": {"order": "ut"}, "last": {"order": "tu"},
    "between": {"order": "tut"}, "pointwise": {"order": "tu", "kernel": 1},
    "stride 2": {"order": "ut", "stride": 2}, "5x5": {"order": "ut", "kernel": 5},
    "wide": {"order": "ut", "factors": (1, 4)}, "high": {"order": "u", "factors": (8, 2)},
    "rescaled": {"order": "ut", "rescaled": True},
}


@pytest.fixture
def always(monkeypatch: pytest.MonkeyPatch) -> None:
    """Merge wherever that is possible, worth it or not."""
    right = search._Trial.merged

    def cheap(trial: search._Trial, start: int) -> float | None:
        return None if right(trial, start) is None else 0.0
    monkeypatch.setattr(search._Trial, "merged", cheap)


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("config", [
    CONFIG, PRESETS["test-8x4"],
    ArrayConfig(rows=4, columns=4, scratchpad_words=512, weight_words=64, accumulator_words=32,
                parameter_entries=4, table_slots=2, add_table_slots=1, post_lanes=2, bus_bytes=8,
                queue_depth=4)], ids=["4x4", "8x4", "small"])
def test_results_are_those_of_onnx_runtime(tmp_path: Path, always: None, case: str,
                                           config: ArrayConfig) -> None:
    build = build_folder(network(tmp_path, **CASES[case]),  # type: ignore[arg-type]
                         tmp_path / "b", config)
    result = verify_folder(build, races=True, shuffles=range(3))
    assert result.passed and result.compared >= 1
    assert upsampled_macs(build) > 0
    assert {t.name: t.where for t in result.tensors}["u"] == "fused"


def test_the_small_tensor_has_room_beside_everything_else(tmp_path: Path, always: None) -> None:
    path = network(tmp_path)
    found = 0
    for words in range(64, 192, 8):
        size = replace(CONFIG, scratchpad_words=words)
        found += upsampled_macs(build_folder(path, tmp_path / str(words), size)) > 0
    assert 0 < found < 16


def test_the_large_tensor_is_not_in_memory_nor_what_has_it(tmp_path: Path) -> None:
    lowered, after = lowered_network(network(tmp_path)), merged_network(network(tmp_path))
    assert after is not None
    assert set(lowered.views) - set(after.views) == {"u", "c"}
    assert [k.name for k in after.kernels] == [k.name for k in lowered.kernels
                                               if k.kind != "Resize"]
    (conv,) = (k for k in after.kernels if isinstance(k, ConvKernel) and k.upsampled)
    assert "Resize_u" in conv.fused and conv.upsampled is not None
    assert conv.upsampled.log2 == (1, 1) and conv.upsampled.plane == 0


def test_a_change_of_scale_moves_to_where_the_small_tensor_is_made(tmp_path: Path) -> None:
    after = merged_network(network(tmp_path, rescaled=True))
    assert after is not None and "s_" not in after.views
    tables = {s.tensor: s.table for k in after.kernels for s in k.sinks}
    assert tables["s_"] is not None and tables["t"] is None


REFUSED = {
    "three times": {"factors": (3, 2)}, "twelve times": {"factors": (12, 1)},
    "an output": {"outputs": ("y", "u")}, "part of an output": {"outputs": ("y", "c")},
    "read twice, other scales": {"rescaled": True, "reader": True},
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_merged_is_left_alone(tmp_path: Path, case: str) -> None:
    assert merged_network(network(tmp_path, **REFUSED[case])) is None  # type: ignore[arg-type]


def test_another_reader_of_the_small_tensor_does_not_matter(tmp_path: Path) -> None:
    assert merged_network(network(tmp_path, reader=True)) is not None


def test_debug_builds_keep_the_large_tensor(tmp_path: Path) -> None:
    assert merged_network(network(tmp_path), keep=True) is None


def test_the_search_merges_where_it_is_better(tmp_path: Path) -> None:
    lowered = lowered_network(network(tmp_path))
    after, choices = search.choose(lowered, CONFIG, bytes_per_cycle=4.0, latency=20)
    assert [c.merged for c in choices].count(True) == 1
    assert len(after.kernels) == len(lowered.kernels) - 1
    assert [(c.start, c.stop) for c in choices] == [(c.start, c.start + len(c.folds))
                                                    for c in choices]
    assert choices[-1].stop == len(after.kernels)
