"""LOAD and LOAD_LINEAR against the slow machine, from a slow memory into a slow scratchpad."""

import random
from dataclasses import replace

import pytest
from amaranth import ResetInserter, Signal

from hw.rtl.load import LINEAR_LATENCY
from hw.spec.config import PRESETS, ArrayConfig
from hw.spec.cycles import unit_cycles
from hw.spec.isa import Isa, LinearTarget, Opcode
from hw.spec.regs import Fault
from sim.testing import simulate
from tests.hw.load_bench import (
    ACTIVATIONS,
    ACTIVATIONS_BASE,
    CONSTANTS,
    Bench,
    Program,
    check_content,
    expected,
    run,
)
from tests.sim.program_builder import DEFAULTS
from tests.sim.random_instructions import Fields, random_instruction, surface

LOAD, LINEAR = Opcode.LOAD, Opcode.LOAD_LINEAR
SMALL = PRESETS["test-4x4"]
CONFIGS = {
    "4x4": SMALL, "4x8": PRESETS["test-4x8"], "8x4": PRESETS["test-8x4"],
    "2x2": replace(SMALL, rows=2, columns=2, post_lanes=1, bus_bytes=16),
    "16x16": replace(SMALL, rows=16, columns=16, post_lanes=8, weight_words=512),
}


def random_program(rng: random.Random, config: ArrayConfig, count: int) -> Program:
    program = []
    while len(program) < count:
        opcode = rng.choice((LOAD, LOAD, LOAD, LINEAR))
        f = random_instruction(rng, config, opcode, CONSTANTS, ACTIVATIONS)
        if opcode == LINEAR:
            f["count"] = min(f["count"], {LinearTarget.WEIGHTS: 20}.get(f["target"], 1))
        program.append((opcode, f))
    return program


@pytest.mark.parametrize("name", CONFIGS)
@pytest.mark.parametrize("stall", [False, True])
def test_random_loads_write_what_the_slow_machine_does(name: str, stall: bool) -> None:
    config = CONFIGS[name]
    seed = list(CONFIGS).index(name) * 2 + stall
    rng = random.Random(seed)
    program = random_program(rng, config, 14)
    result = run(config, program, rng=rng if stall else None)
    assert result.fault is None, seed
    check_content(config, expected(config, program, result.memory), result)
    assert len(result.done) == len(program)


def load(**changes: int) -> tuple[Opcode, Fields]:
    return LOAD, {"wait": 0, "signal": 0} | DEFAULTS[LOAD] | changes


def linear(**changes: int) -> tuple[Opcode, Fields]:
    return LINEAR, {"wait": 0, "signal": 0} | DEFAULTS[LINEAR] | changes


def plain(config: ArrayConfig, rows: int, columns: int, planes: int = 1, *,
          address: int = 0, base: int = 0) -> tuple[Opcode, Fields]:
    """A LOAD of whole words, rows and planes side by side."""
    span = columns * config.rows
    return LOAD, {"wait": 0, "signal": 0, "window": 1, "address": address,
                  "memory_plane_stride": rows * span, "memory_row_stride": span,
                  "planes": planes, "rows": rows, "columns": columns, "word_step": config.rows,
                  "lane_first": 0, "lane_count": config.rows, "head": 0, "row_bytes": span,
                  "fill": 0, **surface("dst", base, rows * columns, columns, rows)}


@pytest.mark.parametrize("name", CONFIGS)
def test_parameters_are_loaded(name: str) -> None:
    config = CONFIGS[name]
    rng = random.Random(3)
    constants = b"".join(rng.randbytes(7) + bytes([rng.randrange(32)]) for _ in range(1000))
    program = [linear(target=LinearTarget.PARAMETERS, address=32, dst=2, count=3)]
    result = run(config, program, constants=constants)
    check_content(config, expected(config, program, result.memory), result)
    assert len(result.linear) == 3 * config.columns
    assert result.done[0] == result.elements[-1] + LINEAR_LATENCY - 1


@pytest.mark.parametrize("bad", [0, 5, 11])
def test_parameters_with_upper_bits_are_refused(bad: int) -> None:
    """Also as the last one of the instruction, and behind a load that is done before."""
    constants = bytearray(512)
    constants[32 + 8 * bad + 7] = 0x40
    result = run(SMALL, [plain(SMALL, 1, 4), linear(target=LinearTarget.PARAMETERS, address=32,
                                                    count=3), plain(SMALL, 1, 4)],
                 constants=bytes(constants), patience=40)
    assert result.fault == (Fault.ILLEGAL_INSTRUCTION, 32 + 8 * bad)
    assert result.done_before == len(result.done) == 1
    assert len(result.linear) == bad


#: Changes of a legal load in windows of 64 bytes, the cause, the address.
FAULTS = [
    (LOAD, {"planes": 0}, Fault.ILLEGAL_INSTRUCTION, 0),
    (LOAD, {"rows": 0}, Fault.ILLEGAL_INSTRUCTION, 0),
    (LOAD, {"columns": 0}, Fault.ILLEGAL_INSTRUCTION, 0),
    (LOAD, {"lane_count": 0}, Fault.ILLEGAL_INSTRUCTION, 0),
    (LOAD, {"lane_first": 2, "lane_count": 3}, Fault.ILLEGAL_INSTRUCTION, 0),
    (LOAD, {"dst_ring_words": 0}, Fault.ILLEGAL_INSTRUCTION, 0),
    (LOAD, {"dst_ring_start": 4}, Fault.ILLEGAL_INSTRUCTION, 0),
    (LOAD, {"dst_row_stride": 5, "rows": 1}, Fault.ILLEGAL_INSTRUCTION, 0),
    (LOAD, {"rows": 3}, Fault.ILLEGAL_INSTRUCTION, 0),
    (LOAD, {"rows": 3, "address": 10, "dst_base": 1023}, Fault.ILLEGAL_INSTRUCTION, 0),
    (LINEAR, {"count": 0}, Fault.ILLEGAL_INSTRUCTION, 0),
    (LOAD, {"address": 10, "memory_row_stride": 3}, Fault.ALIGNMENT, 10),
    (LOAD, {"memory_plane_stride": 6, "memory_row_stride": 3}, Fault.ALIGNMENT, 6),
    (LOAD, {"memory_row_stride": 9, "dst_base": 1023}, Fault.ALIGNMENT, 9),
    (LINEAR, {"address": 10}, Fault.ALIGNMENT, 10),
    (LOAD, {"dst_base": 1021}, Fault.ON_CHIP_RANGE, 1024),
    (LOAD, {"dst_base": 1021, "address": 64}, Fault.ON_CHIP_RANGE, 1024),
    (LOAD, {"dst_base": 1020, "dst_ring_words": 2, "rows": 1, "planes": 2}, Fault.ON_CHIP_RANGE,
     1025),
    (LOAD, {"dst_base": 1016, "dst_ring_words": 6, "dst_ring_start": 5, "rows": 3},
     Fault.NONE, 0),
    (LOAD, {"dst_base": 1018, "dst_ring_words": 6, "dst_ring_start": 5, "rows": 3},
     Fault.ON_CHIP_RANGE, 1024),
    (LINEAR, {"dst": 253}, Fault.ON_CHIP_RANGE, 256),
    (LINEAR, {"target": LinearTarget.PARAMETERS, "dst": 7, "count": 2}, Fault.ON_CHIP_RANGE, 8),
    (LINEAR, {"target": LinearTarget.TABLE, "dst": 4, "count": 1}, Fault.ON_CHIP_RANGE, 4),
    (LINEAR, {"target": LinearTarget.TABLE, "dst": 0, "count": 511}, Fault.ON_CHIP_RANGE, 510),
    (LINEAR, {"target": LinearTarget.ADD_TABLES, "dst": 1, "count": 1}, Fault.ON_CHIP_RANGE, 1),
    (LINEAR, {"target": LinearTarget.ADD_TABLES, "dst": 255, "count": 511}, Fault.ON_CHIP_RANGE,
     765),
    (LOAD, {"address": 48}, Fault.NONE, 0),
    (LOAD, {"address": 52}, Fault.ACTIVATIONS_WINDOW, 64),
    (LOAD, {"address": 52, "window": 0}, Fault.CONSTANTS_WINDOW, 64),
    (LOAD, {"memory_row_stride": 60}, Fault.ACTIVATIONS_WINDOW, 64),
    (LOAD, {"memory_row_stride": 100}, Fault.ACTIVATIONS_WINDOW, 100),
    (LOAD, {"planes": 2, "memory_plane_stride": 52}, Fault.ACTIVATIONS_WINDOW, 64),
    (LOAD, {"planes": 2, "memory_plane_stride": 63 << 20}, Fault.ACTIVATIONS_WINDOW,
     (63 << 20) + 8),
    (LINEAR, {"address": 52}, Fault.CONSTANTS_WINDOW, 64),
    (LOAD, {"address": 48, "rows": 1, "head": -8, "row_bytes": 16}, Fault.NONE, 0),
    (LOAD, {"address": 48, "rows": 1, "head": -9, "row_bytes": 17}, Fault.ACTIVATIONS_WINDOW, 64),
    (LOAD, {"address": 60, "rows": 1, "row_bytes": 4}, Fault.NONE, 0),
    (LOAD, {"address": 64, "rows": 1, "row_bytes": 0}, Fault.NONE, 0),
    (LOAD, {"address": 64, "rows": 1, "head": 8}, Fault.NONE, 0),
    (LOAD, {"address": 64, "rows": 1, "head": 7}, Fault.ACTIVATIONS_WINDOW, 64),
    (LOAD, {"address": 64, "rows": 1, "head": -8}, Fault.NONE, 0),
]


def fields_of(opcode: Opcode, changes: Fields) -> Fields:
    return {"wait": 0, "signal": 0} | DEFAULTS[opcode] | changes


def test_instructions_are_checked_before_any_access() -> None:
    """One after another in one unit: each fault is followed by a reset."""
    reset = Signal()
    dut = Bench(SMALL)
    unit = dut.unit

    async def bench(ctx):
        for window in ("constants", "activations"):
            ctx.set(getattr(unit, f"{window}_bytes"), 64)
        for opcode, changes, cause, address in FAULTS:
            if cause == Fault.NONE:
                continue
            case = opcode.name, changes
            word = Isa(SMALL).encode(opcode, fields_of(opcode, changes))
            ctx.set(unit.unit.i.payload, int.from_bytes(word, "little"))
            ctx.set(unit.unit.i.valid, 1)
            await ctx.tick().until(unit.unit.i.ready)
            for _ in range(60):
                assert not ctx.get(unit.unit.i.ready & unit.unit.fault.valid), case
                _, _, *active = await ctx.tick().sample(
                    dut.read.axi.arvalid, unit.scratchpad.i.valid, unit.linear.valid,
                    unit.unit.done)
                assert not any(active), case
            fault = unit.unit.fault
            assert ctx.get(fault.valid), case
            assert (Fault(ctx.get(fault.cause)), ctx.get(fault.address)) == (cause, address), case
            ctx.set(unit.unit.i.valid, 0)
            ctx.set(reset, 1)
            await ctx.tick()
            ctx.set(reset, 0)

    simulate(ResetInserter(reset)(dut), bench)


@pytest.mark.parametrize(("opcode", "changes"), [case[:2] for case in FAULTS
                                                 if case[2] == Fault.NONE])
def test_what_just_fits_is_done(opcode: Opcode, changes: Fields) -> None:
    program = [(opcode, fields_of(opcode, changes))]
    result = run(SMALL, program, sizes=(64, 64))
    assert result.fault is None
    check_content(SMALL, expected(SMALL, program, result.memory), result)


def test_fill_alone_reads_nothing() -> None:
    result = run(SMALL, [load(row_bytes=0, fill=-3)])
    assert not result.memory.reads
    assert list(result.words.values()) == [[253] * 4] * 4


def test_only_the_used_span_is_read() -> None:
    """Bytes 11..18 of a row of 40; the beats that hold them."""
    result = run(SMALL, [load(address=16, rows=1, columns=2, head=-11, row_bytes=40)])
    first = ACTIVATIONS_BASE + 16 + 11
    assert result.memory.reads == [(first // 4 * 4, (first + 7) // 4 - first // 4 + 1)]


def test_a_fault_waits_for_the_instructions_before_it() -> None:
    """And nothing behind it starts."""
    result = run(SMALL, [plain(SMALL, 4, 8), plain(SMALL, 1, 1, base=40), load(rows=0),
                         plain(SMALL, 1, 1, base=50)], latency=40, patience=100)
    assert result.fault == (Fault.ILLEGAL_INSTRUCTION, 0)
    assert result.done_before == len(result.done) == 2
    assert set(result.words) == {*range(32), 40}
    assert sum(n for _, n in result.memory.reads) == 33


@pytest.mark.parametrize(("beat", "lazy"), [(0, 0), (31, 0), (32, 0), (32, 100)])
def test_bus_errors_are_faults_of_their_instruction(beat: int, lazy: int) -> None:
    """The first or last beat of the first instruction, or the first of the second; also when that
    has arrived before the first instruction is done.
    """
    error = ACTIVATIONS_BASE + 4 * beat
    result = run(SMALL, [plain(SMALL, 4, 8), plain(SMALL, 4, 8, address=128, base=100)],
                 errors=(error,), patience=40, lazy=lazy)
    assert result.fault == (Fault.BUS_READ, 0)
    assert result.done_before == len(result.done) == (beat == 32)
    assert len(result.words) == beat // 32 * 32 + (31 if beat == 31 else 0)


@pytest.mark.parametrize("seed", range(20))
def test_an_error_is_never_one_of_the_instruction_before(seed: int) -> None:
    """Also where memory pauses, and bytes of the first instruction are still on their way."""
    result = run(SMALL, [plain(SMALL, 4, 4), plain(SMALL, 4, 4, address=64, base=100)],
                 errors=(ACTIVATIONS_BASE + 64,), patience=40, pauses=random.Random(seed))
    assert result.fault == (Fault.BUS_READ, 0)
    assert result.done_before == len(result.done) == 1
    assert set(result.words) == set(range(16))


def test_a_row_may_run_over_the_ring() -> None:
    f = plain(SMALL, 3, 4)[1] | {"dst_ring_words": 14, "dst_ring_start": 7, "dst_base": 20}
    result = run(SMALL, [(LOAD, f)])
    check_content(SMALL, expected(SMALL, [(LOAD, f)], result.memory), result)
    assert set(result.words) == {27, 28, 29, 30, 31, 32, 33, 34, 21, 22, 23, 24}


def test_halt_takes_no_instruction() -> None:
    dut = Bench(SMALL)

    async def bench(ctx):
        ctx.set(dut.unit.unit.halt, 1)
        ctx.set(dut.unit.unit.i.valid, 1)
        for _ in range(5):
            await ctx.tick()
            assert not ctx.get(dut.unit.unit.i.ready)

    simulate(dut, bench)


#: Cycles from acceptance to `done` beyond those of the data, with a memory of latency 2: checking,
#: request, beat FIFO, byte buffer, window, output, landing.
OVERHEAD = 22


@pytest.mark.parametrize(("name", "latency"), [*((name, 40) for name in CONFIGS), ("4x4", 2)])
def test_a_plain_load_takes_a_beat_or_a_word_per_cycle(name: str, latency: int) -> None:
    config = CONFIGS[name]
    opcode, f = plain(config, 5, 16, 2)
    result = run(config, [(opcode, f)], latency=latency)
    busy = unit_cycles(opcode, f, config)
    assert result.done[0] <= busy + latency + OVERHEAD
    assert result.writes[-1] - result.writes[0] + 1 <= busy


@pytest.mark.parametrize("name", ["4x4", "8x4", "16x16"])
def test_what_waits_for_memory_is_stalled(name: str) -> None:
    """Where a word is a beat at least, and memory's pauses are the unit's."""
    config = CONFIGS[name]
    opcode, f = plain(config, 5, 16, 2)
    result = run(config, [(opcode, f)], latency=40, pauses=random.Random(1))
    assert result.done[0] > 1.3 * unit_cycles(opcode, f, config) + 40
    # From acceptance to the first byte it works, too, on the check and the request.
    assert result.worked <= unit_cycles(opcode, f, config) + 40 + OVERHEAD


@pytest.mark.parametrize("name", CONFIGS)
def test_short_loads_hide_the_latency(name: str) -> None:
    """Each moves data for about 32 cycles, less than the latency."""
    config = CONFIGS[name]
    columns = max(4, 32 * config.bus_bytes // config.rows // 2)
    columns = min(columns, 16)
    program = [plain(config, 2, columns, base=i * 2 * columns) for i in range(12)]
    result = run(config, program, latency=40)
    busy = sum(unit_cycles(opcode, f, config) for opcode, f in program)
    assert result.done[-1] - result.done[0] <= busy


@pytest.mark.parametrize(("target", "count"), [(LinearTarget.WEIGHTS, 128),
                                               (LinearTarget.TABLE, 2),
                                               (LinearTarget.ADD_TABLES, 1)])
def test_linear_loads_take_a_beat_per_cycle(target: LinearTarget, count: int) -> None:
    result = run(SMALL, [linear(target=target, count=count)])
    assert result.done[0] <= unit_cycles(LINEAR, linear(target=target, count=count)[1],
                                         SMALL) + 6 + OVERHEAD


@pytest.mark.parametrize("seed", range(10))
def test_first_words_of_rows_take_more_than_others(seed: int) -> None:
    """And must wait for it, however memory pauses: here a row's first beat has one byte of it."""
    config = CONFIGS["16x16"]
    f = plain(config, 8, 2)[1] | {"word_step": 1, "lane_count": 9, "head": -3, "row_bytes": 13,
                                  "memory_row_stride": 16}
    result = run(config, [(LOAD, f)] * 3, pauses=random.Random(seed))
    check_content(config, expected(config, [(LOAD, f)], result.memory), result)


def test_overlapping_words_take_their_new_bytes_only() -> None:
    """Nine lanes, three new bytes a word, as packed pixels have them: a word per cycle."""
    config = CONFIGS["16x16"]
    f = plain(config, 2, 40)[1] | {"word_step": 3, "lane_count": 9, "head": 3, "row_bytes": 120,
                                   "memory_row_stride": 120}
    result = run(config, [(LOAD, f)])
    check_content(config, expected(config, [(LOAD, f)], result.memory), result)
    assert result.writes[-1] - result.writes[0] <= 80 + 10
