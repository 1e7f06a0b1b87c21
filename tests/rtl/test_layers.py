"""Layers and tiles of a network, each by itself, in Verilator."""

import json
import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

import sim.tb.runner
from hw.spec.config import PRESETS, ArrayConfig
from hw.spec.isa import Opcode
from hw.spec.regs import Fault
from sim.build import BuildFolder
from sim.cli import main
from sim.errors import SimError
from sim.golden import Golden
from sim.model import Machine
from sim.slices.cut import instructions, read_layers
from sim.slices.locate import Locator
from sim.slices.parts import Selection
from sim.tb.memory import WINDOWS, BusError
from sim.tb.runner import build_core, run_core
from sim.tensors import write_inputs
from sim.verify_frame import verify_frame
from sim.verify_layers import verify_layers
from tests.builds import build_folder, layer_of, verify_folder, zoo_model
from tests.rtl.waveforms import read_fst
from tests.sim.program_builder import image, load, store

pytestmark = pytest.mark.rtl

#: Results above 63 become 127: what the requantizers of a broken core do.
RIGHT, WRONG = "$signed(y) > $signed(8'h7f)", "$signed(y) > $signed(8'h3f)"


@pytest.fixture(scope="module")
def build(tmp_path_factory: pytest.TempPathFactory) -> BuildFolder:
    return build_folder(zoo_model("yolov4-tiny-eighth-64"), tmp_path_factory.mktemp("layers") / "b",
                        "test-4x4")


@pytest.fixture
def feeds(build: BuildFolder) -> dict[str, np.ndarray]:
    (item,) = Golden(build.model).inputs
    shape = tuple(size or 0 for size in item.shape)
    return {item.name: np.random.default_rng(1).random(shape, np.float32)}


@pytest.fixture
def broken_core(monkeypatch: pytest.MonkeyPatch) -> None:
    right = sim.tb.runner.cached_verilog

    def broken(config: ArrayConfig, **options: object) -> str:
        verilog = right(config, **options)  # type: ignore[arg-type]
        assert verilog.count(RIGHT) == config.post_lanes
        return verilog.replace(RIGHT, WRONG)
    monkeypatch.setattr(sim.tb.runner, "cached_verilog", broken)


@pytest.mark.parametrize("keep_tensors", [True, False], ids=["debug", "normal"])
def test_layers_by_themselves_are_the_whole_frame(tmp_path: Path, keep_tensors: bool) -> None:
    build = build_folder(zoo_model("yolov4-tiny-eighth-64"), tmp_path, "test-4x4",
                         keep_tensors=keep_tensors)
    whole = verify_folder(build, engine="rtl")
    numbers = [layer.number for layer in read_layers(build)]
    result = verify_folder(build, engine="rtl", selection=Selection(layers=numbers, jobs=2))
    assert whole.passed and result.passed and result.rtl is not None and whole.rtl is not None
    layers = result.rtl.layers
    assert [layer.layer for layer in layers] == numbers
    assert all(layer.memory_differs == layer.scratchpad_differs == 0 for layer in layers)
    assert not any(layer.violations or layer.mismatch for layer in layers)
    # More tensors than in the whole frame, where memory is reused.
    assert result.compared == (59 if keep_tensors else 11) and result.total_mismatches == 0
    assert {t.where for t in result.tensors if t.mismatches is None} \
        == ({"input"} if keep_tensors else {"input", "fused"})
    # The last instruction is END.
    assert sum(stop - first for first, stop in (layer.instructions for layer in layers)) \
        == result.instructions - 1
    assert result.rtl.cycles == sum(layer.cycles for layer in layers)
    assert result.rtl.written_bytes == whole.rtl.written_bytes
    assert 0.3 < (result.rtl.utilization or 0) < 1
    assert 0.9 < whole.rtl.cycles / result.rtl.cycles < 1


@pytest.mark.parametrize("target", ["test-4x8", "test-8x4"])
def test_layers_by_themselves_on_other_arrays_and_a_slow_memory(tmp_path: Path,
                                                                target: str) -> None:
    build = build_folder(zoo_model("yolov4-tiny-eighth-64-perchannel"), tmp_path, target)
    last = layer_of(build, "conv36_quant").number
    result = verify_folder(build, engine="rtl", stall_seed=1, bytes_per_cycle=2.5, latency=50,
                           selection=Selection(layers=[1, 3, *range(4, last)]))
    assert result.passed and result.total_mismatches == 0 and result.compared >= 9
    assert {t.where for t in result.tensors if t.mismatches is None} \
        == {"input", "fused", "skipped"}
    assert {t.name: t.where for t in result.tensors}["conv36_out"] == "skipped"


def test_a_wrong_result_is_named_with_its_waveforms(
        build: BuildFolder, broken_core: None, tmp_path: Path,
        capsys: pytest.CaptureFixture[str]) -> None:
    options = [str(build.path), "--engine", "rtl", "--quiet", "--seed", "3"]
    found, number = [], layer_of(build, "conv29_quant").number
    for chosen in ([], ["--jobs", "2"], ["--layers", str(number)], ["--layers", "conv29_quant"]):
        out = tmp_path / "result.json"
        assert main(["verify", *options, *chosen, "--json", str(out)]) == 1
        result = json.loads(out.read_text())
        found.append(result["rtl"]["mismatch"])
        assert not result["passed"]
        printed = capsys.readouterr().out
        assert "total mismatches: 0" not in printed
        assert f"for its waveforms: python -m sim verify {build.path} --engine rtl --waves " \
            f"{found[-1]['layer']}/{found[-1]['tile']} --seed 3\n" in printed
    # The whole frame at once and layers by themselves agree on what was wrong first.
    assert found[0] == found[1] and found[2] == found[3]
    assert [f["layer"] for f in found] == [1, 1, number, number]
    assert found[0]["tensor"] == "act0_out_quantized"
    assert found[2]["tensor"] == "conv29_out_quantized"
    tile = f"{found[2]['layer']}/{found[2]['tile']}"
    assert main(["verify", *options, "--waves", tile, "--json", str(out)]) == 1
    printed = capsys.readouterr().out
    result = json.loads(out.read_text())
    assert result["rtl"]["mismatch"] == found[2]
    assert result["rtl"]["waves"] == str(build.path / "waves" / f"{tile.replace('/', '-')}.fst")
    assert f"waveforms: {result['rtl']['waves']}" in printed
    place, at = build.tensors["conv29_out_quantized"], found[2]
    assert place.addresses()[at["channel"], at["row"], at["column"]] == at["address"]
    assert at["expected"] != at["found"]
    # The waveforms are those of the tile: two nanoseconds a cycle, and some for the registers.
    waves = read_fst(Path(result["rtl"]["waves"]))
    cycles = result["rtl"]["cycles"]
    assert 0 < (waves.end - waves.start) / 2000 - cycles < 200
    assert "tb.core.array.column_0.elements.multiplier_0.product" in waves.names


def test_results_that_are_not_stored_are_compared_too(build: BuildFolder,
                                                      broken_core: None) -> None:
    layers = build.manifest["layers"]
    program = instructions(Machine(build.image).program)
    store = next(i.index for i in program if i.opcode == Opcode.STORE)
    manifest = {**build.manifest, "layers": [{**layers[0], "instructions": [0, store]},
                                             *layers[1:]]}
    result = verify_folder(BuildFolder(build.path, manifest, build.image, build.tensors),
                           engine="rtl", seed=3, selection=Selection(layers=[1]))
    assert result.rtl is not None and not result.passed and not result.total_mismatches
    (layer,) = result.rtl.layers
    assert layer.memory_differs == 0 < layer.scratchpad_differs == result.rtl.memory_differs
    assert layer.mismatch is not None and layer.mismatch.memory == "scratchpad"
    assert layer.mismatch.found == 127 != layer.mismatch.expected


def test_a_right_core_has_no_mismatch_where_the_broken_one_had(build: BuildFolder) -> None:
    result = verify_folder(build, engine="rtl", seed=3, selection=Selection(
        layers=[layer_of(build, "conv29_quant").number], tile=2))
    assert result.passed and result.rtl is not None and result.rtl.mismatch is None
    assert result.rtl.layers[0].tile == 2 and result.rtl.layers[0].utilization is None


def test_a_fault_names_the_instruction_of_the_program(
        build: BuildFolder, feeds: Mapping[str, np.ndarray], tmp_path: Path) -> None:
    tensors = Golden(build.model).run(feeds)
    place = build.tensors["act32_out_quantized"]
    layer = layer_of(build, "conv32_quant")
    instruction = place.entry["complete_at"]
    last = int(place.addresses().max())
    tile = Locator(build, Machine(build.image).program).tile(instruction)[1]
    waves = tmp_path / "waves" / "a.fst"
    with pytest.raises(SimError) as error:
        verify_layers(build, feeds, tensors, Selection(layers=[layer.number], waves=waves),
                      lambda *_: None, bytes_per_cycle=None, latency=20,
                      errors=[BusError(write=True, window="ACTIVATIONS", offset=last)])
    assert re.fullmatch(re.escape(
        f"program of {str(build.path)!r} must run to its end in RTL; it stopped: BUS_WRITE at "
        f"instruction {instruction} (layer {layer.number}, {layer.name}, tile {tile}), "
        "address ") + f"0x[0-9a-f]+; --waves {layer.number}/{tile} writes its waveforms.",
        str(error.value))
    assert [path.name for path in waves.parent.iterdir()] == ["a.fst"]


def test_a_fault_in_a_whole_frame_names_the_layer(
        build: BuildFolder, feeds: Mapping[str, np.ndarray]) -> None:
    machine = Machine(build.image)
    write_inputs(build, machine.activations, feeds)
    machine.run()
    place = build.tensors["conv36_out_quantized"]
    last = int(place.addresses().max())
    with pytest.raises(SimError, match=r"stopped: BUS_WRITE at instruction \d+ \(layer \d+, "
                                       r"conv\d+_quant\S*, tile \d+\), address 0x"):
        verify_frame(build, feeds, Golden(build.model).run(feeds), machine, {}, 1, lambda *_: None,
                     errors=[BusError(write=True, window="ACTIVATIONS", offset=last)])


def test_a_restore_that_fails_is_not_taken_for_the_layer(
        build: BuildFolder, feeds: Mapping[str, np.ndarray]) -> None:
    tensors = Golden(build.model).run(feeds)
    with pytest.raises(SimError, match="state must be put on chip before the slice, by a program "
                                       "that cannot fail; .* BUS_READ at instruction 0"):
        verify_layers(build, feeds, tensors, Selection(layers=[4]), lambda *_: None,
                      bytes_per_cycle=None, latency=20,
                      errors=[BusError(write=False, window="SCRATCHPAD", offset=8)])


def test_memories_keep_their_contents_from_run_to_run() -> None:
    """And counters start again, and a run's violations are its own."""
    programs = image(load()), image(store(src_base=0))
    config = PRESETS["test-4x4"]
    content = np.random.default_rng(0).bytes(64)
    parts = {"LOAD": programs[0].program, "STORE": programs[1].program, "CONSTANTS": bytes(16),
             "A": content, "B": bytes(64)}
    runs = [dict(zip(WINDOWS, ("LOAD", "CONSTANTS", "A"))),
            dict(zip(WINDOWS, ("STORE", "CONSTANTS", "B"))),
            dict(zip(WINDOWS, ("STORE", "CONSTANTS", "B")))]
    done, after = run_core(build_core(config), config, parts, runs)
    assert [run.fault for run in done] == [Fault.NONE] * 3
    assert after["B"].tobytes() == content[:16] + bytes(48)
    assert after["A"].tobytes() == content
    assert [run.instructions for run in done] == [2] * 3
    assert done[1].cycles == done[2].cycles and max(run.cycles for run in done) < 200
    assert [(run.read_bytes, run.written_bytes) for run in done][1:] == [(96, 16)] * 2


def test_a_fault_ends_the_runs() -> None:
    program = image(load(address=2 ** 20))
    parts = dict(zip(WINDOWS, (program.program, program.constants, bytes(4096))))
    config = program.config
    done, _ = run_core(build_core(config), config, parts, [dict(zip(WINDOWS, WINDOWS))] * 2)
    assert [run.fault for run in done] == [Fault.ACTIVATIONS_WINDOW]
