"""Parts of a program run alone: where they may begin, what they need, what they leave behind."""

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from hw.spec.config import PRESETS
from hw.spec.image import Image
from hw.spec.isa import Opcode, Queue
from sim.build import BuildFolder, TensorPlace, read_build
from sim.errors import SimError
from sim.golden import Golden
from sim.model import Machine
from sim.results import Mismatch
from sim.slices.cut import instructions, legal_cuts, read_layers, tiles
from sim.slices.locate import Locator
from sim.slices.parts import Selection, choose_parts
from sim.slices.programs import Code, Programs, slice_programs
from sim.slices.reference import Memories, Reference
from sim.slices.written import Written
from sim.tensors import read_tensors, write_inputs
from tests.builds import build_folder, layer_of, zoo_model
from tests.sim.program_builder import drain, image, instruction, load, mac, mask, store

ON_CHIP = ("scratchpad", "weights", "bias", "multiplier", "shift", "tables", "add_tables",
           "accumulators")


@pytest.fixture(scope="module", params=[True, False], ids=["debug", "normal"])
def build(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> BuildFolder:
    return build_folder(zoo_model("yolov4-tiny-eighth-64"), tmp_path_factory.mktemp("slices") / "b",
                        "test-4x4", keep_tensors=request.param)


@pytest.fixture(scope="module")
def feeds(build: BuildFolder) -> dict[str, np.ndarray]:
    (item,) = Golden(build.model).inputs
    shape = tuple(size or 0 for size in item.shape)
    return {item.name: np.random.default_rng(1).random(shape, np.float32)}


@pytest.fixture(scope="module")
def tensors(build: BuildFolder, feeds: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    return Golden(build.model).run(feeds)


@pytest.fixture
def machine(build: BuildFolder, feeds: Mapping[str, np.ndarray]) -> Machine:
    """With the inputs in memory."""
    found = Machine(build.image)
    write_inputs(build, found.activations, feeds)
    return found


def run_alone(programs: Programs, constants: bytes, before: Memories, seed: int) -> Memories:
    """Run the three programs of a slice in the simulator, from a chip full of noise."""
    activations = before.activations.copy()
    saved = np.zeros_like(before.scratchpad)
    last = None
    for code, window in ((programs.restore, before.scratchpad.copy()),
                         (programs.own, activations), (programs.save, saved)):
        run = Machine(Image(config=programs.config, program=programs.encode(code),
                            constants=constants, activation_bytes=len(window)))
        run.activations[:] = window
        if last is None:
            run.state.scramble(np.random.default_rng(seed))
        else:
            for name in ON_CHIP:
                getattr(run.state, name)[:] = getattr(last.state, name)
        run.run()
        window[:] = run.activations
        last = run
    return Memories(activations, saved)


def test_layers_have_all_instructions_of_the_program(build: BuildFolder) -> None:
    layers = read_layers(build)
    assert [layer.number for layer in layers] == list(range(1, len(layers) + 1))
    nodes = [node for layer in layers for node in layer.nodes]
    assert {"conv0_quant", "act0_quant", "pool9", "up33", "conv36_quant"} <= set(nodes)
    assert layers[0].span[0] == 0
    assert [a.span[1] for a in layers] == [b.span[0] for b in layers[1:]] \
        + [build.image.instructions - 1]
    code = instructions(Machine(build.image).program)
    assert all(code[layer.span[1] - 1].opcode == Opcode.STORE for layer in layers)


def test_layers_run_alone_as_they_do_in_the_frame(
        build: BuildFolder, machine: Machine, tensors: Mapping[str, np.ndarray]) -> None:
    whole = Machine(build.image)
    whole.activations[:] = machine.activations
    whole.run()
    reference = Reference(build, machine, tensors)
    for layer in read_layers(build):
        programs = slice_programs(machine.program, build.image.config, layer.span)
        states = reference.states(layer.span)
        after = run_alone(programs, build.image.constants, states.before, layer.number)
        assert np.array_equal(after.activations, states.after.activations), layer
        assert np.array_equal(after.scratchpad, states.after.scratchpad), layer
    assert np.array_equal(machine.activations, whole.activations)


def test_tiles_run_alone_as_they_do_in_the_frame(build: BuildFolder, machine: Machine) -> None:
    legal = legal_cuts(machine.program, build.image.config.accumulator_words)
    # The upsampling is a layer by itself, or part of the convolution behind it.
    for layer in dict.fromkeys(layer_of(build, node) for node in (
            "conv0_quant", "conv7_quant", "up33", "conv35_quant")):
        spans = tiles(machine.program, legal, layer.span)
        assert spans[0][0] == layer.span[0] and spans[-1][1] == layer.span[1]
        assert [a[1] for a in spans] == [b[0] for b in spans[1:]] + [layer.span[1]]
        assert len(spans) > 1 or layer.name == "up33"
        for span in (spans[0], spans[len(spans) // 2], spans[-1]):
            machine.advance(span[0])
            programs = slice_programs(machine.program, build.image.config, span)
            scratchpad = machine.state.scratchpad[:-1]
            before = Memories(machine.activations.copy(),
                              scratchpad.copy().view(np.uint8).reshape(-1))
            machine.advance(span[1])
            after = run_alone(programs, build.image.constants, before, span[0])
            assert np.array_equal(after.activations, machine.activations)
            assert np.array_equal(after.scratchpad, scratchpad.view(np.uint8).reshape(-1))


def test_slices_have_no_races(build: BuildFolder) -> None:
    program = Machine(build.image).program
    for layer in read_layers(build):
        programs = slice_programs(program, build.image.config, layer.span)
        own = Image(config=programs.config, program=programs.encode(programs.own),
                    constants=build.image.constants,
                    activation_bytes=build.image.activation_bytes)
        assert Machine(own).races() == []


def test_a_cut_between_mac_and_drain_is_illegal() -> None:
    chain = [mac(), drain(), store(),                                   # 0 1 2
             mac(), mac(accumulate=1), drain(), drain(), store(),       # 3 4 5 6 7
             mac(accumulator=8), mac(), drain(accumulator=8), store(),  # 8 9 10 11
             drain(), store()]                                          # 12 13
    legal = legal_cuts(Machine(image(*chain)).program, 64)
    assert np.flatnonzero(legal).tolist() == [0, 2, 3, 7, 8, 13, 14]


def test_accumulators_that_are_written_anew_do_not_forbid_a_cut() -> None:
    legal = legal_cuts(Machine(image(mac(), mac(), drain())).program, 64)
    assert legal.tolist() == [True, True, False, True]


def test_tiles_end_behind_the_last_of_several_stores() -> None:
    chain = [load(), mac(), drain(), store(), load(), store(), load(), mac(), drain(), store(),
             drain(), store()]
    program = Machine(image(*chain)).program
    assert tiles(program, legal_cuts(program, 64), (0, 12)) == [(0, 6), (6, 12)]


def waits(code: Code) -> list[int]:
    return [fields.get("wait", 0) for _, fields in code]


def test_tokens_from_before_are_not_waited_for() -> None:
    chain = [load(signal="M"), load(signal="M"), mac(wait="L", signal="P"), load(signal="MS"),
             mac(wait="L"), mac(wait="L"), drain(wait="M", signal="S"), store(wait="PL")]
    machine = Machine(image(*chain))
    programs = slice_programs(machine.program, machine.image.config, (3, 8))
    # One of two tokens for MAC was left, and the one for POST.
    assert waits(programs.own) == [0, 0, mask("L"), 0, mask("PL"), 0]
    assert [fields.get("signal") for _, fields in programs.own] == [
        mask("MS"), 0, 0, mask("S"), 0, None]


def test_constants_are_loaded_by_the_instructions_whose_data_are_still_there() -> None:
    def linear(dst: int, address: int, target: int = 0) -> tuple[Opcode, Mapping[str, int]]:
        return instruction(Opcode.LOAD_LINEAR, signal="M", dst=dst, address=address, target=target)
    chain = [linear(0, 0), linear(4, 16), linear(2, 32), linear(4, 48), linear(0, 64, 1),
             linear(6, 80), mac(wait="L")]
    machine = Machine(image(*chain))
    programs = slice_programs(machine.program, machine.image.config, (6, 7))
    found = [(fields["address"], fields["signal"]) for opcode, fields in programs.restore
             if opcode == Opcode.LOAD_LINEAR]
    assert found == [(0, 0), (32, 0), (48, 0), (64, 0), (80, 0)]


def test_tensors_are_whole_until_they_are_overwritten() -> None:
    def place(address: int, complete_at: int) -> TensorPlace:
        return TensorPlace("t", {"address": address, "layout": "bricks", "bricks": 1, "rows": 2,
                                 "columns": 2, "pitch": 8, "complete_at": complete_at}, 4)
    chain = [store(address=0), store(address=64), store(address=8)]  # 16 bytes each
    written = Written(Machine(image(*chain)).program, 4, 4096)
    addresses = np.array([0, 8, 15, 64, 32])
    places = place(0, 0), place(64, 1), place(8, 2), place(128, -1)
    for stop, stores, whole in ((0, [-1, -1, -1, -1, -1], [False, False, False, True]),
                                (2, [0, 0, 0, 1, -1], [True, True, False, True]),
                                (3, [0, 2, 2, 1, -1], [False, True, True, True])):
        written.advance(stop)
        assert written.stores(addresses).tolist() == stores
        assert [written.is_whole(p) for p in places] == whole


def test_addresses_of_a_tensor_are_where_it_is_read(build: BuildFolder) -> None:
    window = np.random.default_rng(0).integers(0, 256, build.image.activation_bytes, np.uint8)
    for place in build.tensors.values():
        if place.in_memory:
            flat = window[place.addresses()].view(np.int8).reshape(-1).astype(np.int16)
            if "gather" in place.entry:
                flat = flat[place.gather()]
            assert np.array_equal(place.read(window).reshape(-1), flat + place.entry["offset"])
            assert place.entry["address"] <= place.addresses().min()
            assert place.addresses().max() < place.stop


@pytest.mark.parametrize("layout", ["bricks", "packed"])
def test_addresses_of_a_tensor_that_is_not_square(layout: str) -> None:
    bricks = layout == "bricks"
    place = TensorPlace("t", {
        "in_memory": True, "layout": layout, "address": 16, "rows": 2, "columns": 3,
        "bricks": 2 if bricks else 1, "pitch": 12 if bricks else 20, "chw": [5, 2, 3],
        "shape": [1, 5, 2, 3], "dtype": "int8", "offset": 0,
        "lanes": [[0, 0, 3], [3, 5, 2]] if bricks else [[0, 0, 5]]}, 4)
    window = np.arange(place.stop, dtype=np.uint8)
    assert np.array_equal(place.read(window)[0].view(np.uint8), place.addresses())
    assert len(np.unique(place.addresses())) == 30


def test_layers_start_from_the_right_tensors_behind_a_wrong_one(
        build: BuildFolder, feeds: Mapping[str, np.ndarray],
        tensors: Mapping[str, np.ndarray]) -> None:
    wrong = Machine(build.image)
    write_inputs(build, wrong.activations, {name: value * 0 for name, value in feeds.items()})
    reference = Reference(build, wrong, tensors)
    states = reference.states(layer_of(build, "conv29_quant").span)
    found = read_tensors(build, states.before.activations)
    read, name = "act28_out_quantized", "conv29_out_quantized"
    assert np.array_equal(found[read], tensors[read])
    assert [place.name for place in states.complete][-1] == name
    assert name in found and not np.array_equal(
        found[name], read_tensors(build, states.after.activations)[name])


def test_wrong_bytes_are_named(build: BuildFolder, machine: Machine) -> None:
    machine.run()
    locator = Locator(build, machine.program)
    span = 0, build.image.instructions
    name = "conv36_out_quantized"
    place = build.tensors[name]
    wrong = machine.activations.copy()
    address = int(place.addresses()[11, 2, 3])
    wrong[address] ^= 0x80
    found = locator.activations(span, machine.activations, wrong)
    assert found is not None
    layer = layer_of(build, "conv36_quant")
    assert (found.layer, found.name, found.tensor) == (layer.number, layer.name, name)
    assert (found.channel, found.row, found.column) == (11, 2, 3)
    right = int(place.read(machine.activations)[0, 11, 2, 3])
    assert (found.expected, found.found) == (right, int(place.read(wrong)[0, 11, 2, 3]))
    assert found.instruction is not None and found.tile is not None
    operation = machine.program.operation(instructions(machine.program)[found.instruction])
    assert address // 4 in operation.writes()[0][1]
    spans = locator.tiles(layer)
    assert spans[found.tile - 1][0] <= found.instruction < spans[found.tile - 1][1]
    for number, (first, stop) in enumerate(spans, start=1):
        assert [locator.tile(i) for i in (first, stop - 1)] == [(layer, number)] * 2
    pairs = {name: (place.read(machine.activations), place.read(wrong))}
    assert locator.tensors(span, pairs, machine.activations, wrong) == found


def test_of_several_wrong_bytes_the_one_that_was_written_first_is_named() -> None:
    chain = image(store(address=64), store(address=0))
    place = TensorPlace("t", {
        "in_memory": True, "layout": "bricks", "address": 64, "bricks": 1, "rows": 2, "columns": 2,
        "pitch": 8, "chw": [4, 2, 2], "lanes": [[0, 0, 4]], "offset": 128, "complete_at": 0}, 4)
    build = BuildFolder(Path("b"), {"layers": [
        {"name": "n", "kernels": [], "instructions": [0, 2]}]}, chain, {"t": place})
    right = np.zeros(chain.activation_bytes, np.uint8)
    wrong = right.copy()
    wrong[place.addresses()[2, 1, 0]] = 0xff
    wrong[5] = 7
    found = Locator(build, Machine(chain).program).activations((0, 2), right, wrong)
    assert found == Mismatch(layer=1, name="n", tile=1, instruction=0, memory="activations",
                             address=64 + 2 * 4 + 2, tensor="t", channel=2, row=1, column=0,
                             expected=128, found=127)


def test_a_scratchpad_larger_than_a_block_is_restored_and_saved() -> None:
    config = PRESETS["ulx3s-85f"]
    programs = slice_programs(Machine(image(config=config)).program, config, (0, 0))
    rng = np.random.default_rng(0)
    before = Memories(np.zeros(16, np.uint8),
                      rng.integers(0, 256, config.scratchpad_words * config.rows, np.uint8))
    after = run_alone(programs, bytes(16), before, 1)
    assert np.array_equal(after.scratchpad, before.scratchpad)


def test_bytes_are_named_by_the_tensor_that_they_are_of_when_they_are_written(
        build: BuildFolder, machine: Machine, tensors: Mapping[str, np.ndarray]) -> None:
    reference, locator = Reference(build, machine, tensors), Locator(build, machine.program)
    named = 0
    for layer in locator.layers:
        states = reference.states(layer.span)
        written = Written(machine.program, 4, build.image.activation_bytes, layer.span[0])
        written.advance(layer.span[1])
        for place in states.complete:
            addresses = place.addresses()
            own = addresses[written.stores(addresses) >= 0]  # others are of earlier layers
            for address in (int(own.min()), int(own.max())):
                wrong = states.after.activations.copy()
                wrong[address] ^= 0xff
                found = locator.activations(layer.span, states.after.activations, wrong)
                assert found is not None and found.layer == layer.number
                assert found.tensor in {p.name for p in states.complete
                                        if address in p.addresses()}
                named += 1
    assert named >= (40 if build.manifest["keep_tensors"] else 18)


def test_wrong_words_of_the_scratchpad_are_named(build: BuildFolder, machine: Machine) -> None:
    locator = Locator(build, machine.program)
    layer = layer_of(build, "conv18_quant")
    code = instructions(machine.program)[layer.span[0]:layer.span[1]]
    drains = [i for i in code if i.queue == Queue.POST]
    word = int(machine.program.operation(drains[-1]).writes()[0][1][0])
    right = np.zeros(build.image.config.scratchpad_words * 4, np.uint8)
    wrong = right.copy()
    wrong[4 * word + 2] = 7
    found = locator.scratchpad(layer.span, right, wrong)
    assert found is not None
    assert (found.layer, found.memory, found.address) == (
        layer.number, "scratchpad", 4 * word + 2)
    assert (found.tensor, found.expected, found.found) == (None, 0, 7)
    assert str(found).startswith(
        f"layer {layer.number} ({layer.name}), tile {found.tile}, instruction ")
    assert str(found).endswith(f": byte {4 * word + 2:#x} of the scratchpad: expected 0, got 7")


def test_bytes_that_nobody_should_have_written_are_named(build: BuildFolder,
                                                         machine: Machine) -> None:
    locator = Locator(build, machine.program)
    layer = layer_of(build, "conv18_quant")
    written = Written(machine.program, 4, build.image.activation_bytes, layer.span[0])
    written.advance(layer.span[1])
    address = int(np.flatnonzero(
        written.stores(np.arange(build.image.activation_bytes)) < 0)[5])
    wrong = machine.activations.copy()
    wrong[address] += 1
    found = locator.activations(layer.span, machine.activations, wrong)
    assert found is not None
    assert (found.layer, found.tile, found.instruction, found.address) == (
        layer.number, None, None, address)
    assert f"no instruction writes it: byte {address:#x} of the activations" in str(found)


def test_what_is_not_there_cannot_be_chosen(build: BuildFolder) -> None:
    program = Machine(build.image).program
    count, last = len(read_layers(build)), layer_of(build, "conv36_quant")
    more = len(tiles(program, legal_cuts(program, build.image.config.accumulator_words),
                     last.span)) + 1
    for selection, message in (
            (Selection(layers=[count + 1]), f"layer must be in 1..{count}, not {count + 1}"),
            (Selection(layers=[3, 0]), f"layer must be in 1..{count}, not 0"),
            (Selection(layers=[count], tile=more),
             f"tile of layer {count} ({last.name}) must be in 1..{more - 1}, not {more}")):
        with pytest.raises(SimError) as error:
            choose_parts(build, program, selection, bytes_per_cycle=None, latency=20)
        assert str(error.value).startswith(message)


def test_a_layer_that_begins_inside_a_tile_is_refused(build: BuildFolder) -> None:
    entry = build.manifest["layers"][0]
    stop = entry["instructions"][1]
    code = instructions(Machine(build.image).program)
    inside = next(i.index for i in reversed(code[:stop]) if i.opcode == Opcode.DRAIN)
    moved = {**build.manifest, "layers": [
        {**entry, "instructions": [inside, stop]}, *build.manifest["layers"][1:]]}
    changed = BuildFolder(build.path, moved, build.image, build.tensors)
    with pytest.raises(SimError, match=r"^layer 1 \(conv0_quant\) must begin where no accumulator "
                                       rf"is in use, not at instruction {inside}: "):
        choose_parts(changed, Machine(build.image).program, Selection(layers=[1]),
                     bytes_per_cycle=None, latency=20)


def test_builds_of_older_releases_are_refused(build: BuildFolder, tmp_path: Path) -> None:
    for name in ("program.bin", "model.onnx", "manifest.json"):
        (tmp_path / name).write_bytes((build.path / name).read_bytes())
    manifest = json.loads((tmp_path / "manifest.json").read_text())
    for layer in manifest["layers"]:
        del layer["instructions"]
    (tmp_path / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(SimError, match="must say which instructions belong to a layer; build"):
        read_layers(read_build(tmp_path))
