"""DRAIN, POOL and ELEMENTWISE against the slow machine, with memories that stall."""

import random
from dataclasses import dataclass, field, replace
from functools import partial

import pytest
from amaranth import ResetInserter, Signal

from hw.rtl.post import PostUnit
from hw.rtl.scratchpad import READ_LATENCY, WRITE_LATENCY
from hw.spec.config import PRESETS, ArrayConfig
from hw.spec.isa import Elementwise, Isa, LinearTarget, Opcode
from hw.spec.numerics import INT32_MAX, INT32_MIN
from hw.spec.regs import Fault
from sim.testing import AccumulatorModel, ScratchpadModel, simulate
from tests.sim.program_builder import instruction
from tests.sim.random_instructions import Fields, random_instruction, surface
from tests.sim.slow_machine import SlowMachine

DRAIN, POOL, ELEMENTWISE = Opcode.DRAIN, Opcode.POOL, Opcode.ELEMENTWISE
SMALL = replace(PRESETS["test-4x4"], add_table_slots=2, scratchpad_words=512)
CONFIGS = {
    "4x4": SMALL,
    "4x8": replace(PRESETS["test-4x8"], scratchpad_words=600),
    "8x4": replace(PRESETS["test-8x4"], table_slots=3),
    "4x4, one lane": replace(SMALL, post_lanes=1),
}
Program = list[tuple[Opcode, Fields]]


def slow_machine(config: ArrayConfig, rng: random.Random) -> SlowMachine:
    """A machine with noise in the memories that POST uses."""
    slow = SlowMachine(config, b"", b"")
    for word in slow.scratchpad:
        word[:] = [rng.randrange(-128, 128) for _ in word]
    for word in slow.accumulators:
        word[:] = [rng.randrange(INT32_MIN, INT32_MAX + 1) >> rng.choice((0, 8, 16, 23, 23))
                   for _ in word]
    for entry in slow.parameters:
        large = [(rng.randrange(INT32_MIN, INT32_MAX + 1) >> rng.randrange(20),
                  rng.randrange(1 << 23, 1 << 24), rng.randrange(32)) for _ in entry]
        with_ties = [(rng.randrange(-8, 8), 1 << 23, rng.randrange(4)) for _ in entry]
        entry[:] = [rng.choice(pair) for pair in zip(large, with_ties)]
    for table in slow.tables:
        table[:] = [rng.randrange(-128, 128) for _ in table]
    for pair in slow.add_tables:
        for table in pair:
            table[:] = [rng.randrange(-(1 << 23), 1 << 23) >> rng.randrange(20) for _ in table]
    return slow


async def load_memories(ctx, dut: PostUnit, slow: SlowMachine, program: Program) -> int:
    """Write what `program` uses as LOAD_LINEAR does, in any order; return how many cycles."""
    elements = [(LinearTarget.WEIGHTS, 0, -1)]
    config = slow.config
    entries = {f["parameter"] for _, f in program if "parameter" in f}
    tables = {f["table"] for _, f in program if f["use_table"]}
    add_tables = {f["add_tables"] for _, f in program if f.get("operation") == Elementwise.ADD}
    for entry in entries & set(range(config.parameter_entries)):
        for column, (bias, multiplier, shift) in enumerate(slow.parameters[entry]):
            value = bias & 0xFFFF_FFFF | multiplier << 32 | shift << 56
            elements.append((LinearTarget.PARAMETERS, entry * config.columns + column, value))
    for slot in tables & set(range(config.table_slots)):
        codes = bytes(v & 255 for v in slow.tables[slot])
        for quad in range(64):
            value = int.from_bytes(codes[4 * quad:4 * quad + 4], "little")
            elements.append((LinearTarget.TABLE, slot * 64 + quad, value))
    for slot in add_tables & set(range(config.add_table_slots)):
        for i, value in enumerate(slow.add_tables[slot][0] + slow.add_tables[slot][1]):
            elements.append((LinearTarget.ADD_TABLES, slot * 512 + i, value & 0xFFFF_FFFF))
    random.Random(1).shuffle(elements)
    ctx.set(dut.linear.valid, 1)
    for target, index, value in elements:
        ctx.set(dut.linear.target, target)
        ctx.set(dut.linear.index, index)
        ctx.set(dut.linear.data.as_value(), value)
        await ctx.tick()
    ctx.set(dut.linear.valid, 0)
    return len(elements)


@dataclass
class Step:
    """What became of an instruction: when it was accepted, and done or faulty."""

    accepted: int
    done: int | None = None
    fault: tuple[Fault, int] | None = None
    writes: list[tuple[int, list[int]]] = field(default_factory=list)


@dataclass
class Run:
    """What happened to instructions, and how often POST said that it waits."""

    steps: list[Step] = field(default_factory=list)
    stalls: int = 0


def run(config: ArrayConfig, program: Program, *, seed: int = 0, stalls: bool = False,
        long_pause: int = 40, accumulator_latency: int = 4) -> Run:
    """Execute `program`, with a reset after every fault, and compare the scratchpad when an
    instruction is done.
    """
    rng = random.Random(seed)
    isa, dut, slow = Isa(config), PostUnit(config), slow_machine(config, rng)
    reset, stall_rng = Signal(), random.Random(seed + 1) if stalls else None
    scratchpad = ScratchpadModel(slow.scratchpad, read_latency=READ_LATENCY,
                                 write_latency=WRITE_LATENCY, rng=stall_rng,
                                 long_pause=long_pause)
    accumulators = AccumulatorModel(slow.accumulators, lanes=config.post_lanes,
                                    latency=accumulator_latency, rng=stall_rng)
    result = Run()

    async def bench(ctx):
        cycle = await load_memories(ctx, dut, slow, program)
        unit, waiting, steps = dut.unit, list(program), result.steps
        pause, finished, patience = 0, 0, cycle + 20_000
        while finished < len(program):
            assert cycle < patience, f"{program[finished]} must be done"
            offered = bool(waiting) and not pause
            ctx.set(unit.i.valid, offered)
            if offered:
                ctx.set(unit.i.payload, int.from_bytes(isa.encode(*waiting[0]), "little"))
            assert ctx.get(unit.busy) == (len(steps) > finished)
            _, _, ready, done, fault, cause, address, stall = await ctx.tick().sample(
                unit.i.ready, unit.done, unit.fault.valid, unit.fault.cause, unit.fault.address,
                unit.stall)
            result.stalls += stall
            pause = max(0, pause - 1)
            if offered and ready:
                steps.append(Step(cycle))
                waiting.pop(0)
                pause = rng.choice((0, 0, 5, 50)) if stalls else 0
            cycle += 1
            if done:
                steps[finished].done = cycle - 1
                finished += 1
            elif fault:
                ctx.set(unit.i.valid, 1)
                for _ in range(50):
                    assert (ctx.get(unit.fault.valid), ctx.get(unit.fault.cause),
                            ctx.get(unit.fault.address)) == (1, cause, address)
                    assert not ctx.get(unit.done) and not ctx.get(unit.i.ready)
                    await ctx.tick()
                steps[finished].fault = Fault(cause), address
                ctx.set(unit.i.valid, 0)
                ctx.set(reset, 1)
                await ctx.tick()
                ctx.set(reset, 0)
                cycle += 51
                finished += 1
        ctx.set(unit.i.valid, 0)
        for _ in range(10):
            assert not ctx.get(unit.done) and not ctx.get(unit.fault.valid)
            await ctx.tick()

    simulate(ResetInserter(reset)(dut), bench, background=(
        partial(scratchpad.serve, client=dut.scratchpad),
        partial(accumulators.serve, port=dut.accumulators)))
    assert len(result.steps) == len(program)
    ends = [step.accepted for step in result.steps[1:]] + [1 << 60]
    for step, end, (opcode, fields) in zip(result.steps, ends, program):
        step.writes = [(address, word) for cycle, op, address, word in scratchpad.accepted
                       if op != "READ" and step.accepted < cycle < end]
        if step.fault:
            slow.scratchpad = scratchpad.seen_from(end)
        else:
            slow.execute(opcode, fields)
            assert scratchpad.seen_from(step.done + 1) == slow.scratchpad, (opcode, fields)
    return result


@pytest.mark.parametrize("stalls", (False, True), ids=("flowing", "stalling"))
@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
def test_every_instruction_equals_the_slow_machine(config: ArrayConfig, stalls: bool) -> None:
    rng = random.Random(f"{config}{stalls}")
    opcodes = [DRAIN, POOL, ELEMENTWISE] * 6
    rng.shuffle(opcodes)
    result = run(config, [(o, random_instruction(rng, config, o, 0, 0)) for o in opcodes],
                 seed=rng.randrange(1000), stalls=stalls,
                 accumulator_latency=rng.choice((1, 4, 20)))
    assert not any(step.fault for step in result.steps)
    assert bool(result.stalls) == stalls


@pytest.mark.parametrize("fields", ({"use_table": 1}, {"operation": 1}, {}), ids=str)
def test_results_have_room_while_the_scratchpad_stands_still(fields: Fields) -> None:
    """Whatever was read before: one lane is slow enough that it is much."""
    size = {"rows": 5, "columns": 8, **surface("dst", 256, 40, 8, 5, 0)}
    both = {**size, **surface("a", 0, 40, 8, 5, 0), **surface("b", 64, 40, 8, 5, 0)}
    run(CONFIGS["4x4, one lane"], [instruction(ELEMENTWISE, **both, **fields)] * 2, stalls=True,
        long_pause=150)


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
def test_an_instruction_reads_what_the_one_ahead_wrote(config: ArrayConfig) -> None:
    """Without tokens, since both are in one queue: a drain, then half a dozen in place."""
    whole = surface("dst", 40, 24, 4, 3, 0)
    a, b, src = ({n.replace("dst", p): v for n, v in whole.items()} for p in ("a", "b", "src"))
    size = {"rows": 3, "columns": 4}
    on_top = {**size, "src_rows": 3, "src_columns": 4, "kernel_columns": 2, **src, **whole}
    both = {**size, **a, **b, **whole}
    program = [
        instruction(DRAIN, lane_group=group, parameter=group, **size, **whole)
        for group in range(config.lane_groups)]
    program += [
        instruction(ELEMENTWISE, operation=1, shift=2, **both),
        instruction(ELEMENTWISE, operation=0, use_table=1, **both),
        instruction(POOL, **on_top | surface("dst", 80, 24, 4, 3, 0)),
        instruction(ELEMENTWISE, operation=2, shift=6, **both | surface("b", 80, 24, 4, 3, 0)),
        instruction(DRAIN, lane_group=config.lane_groups - 1, **size, **whole),
        instruction(ELEMENTWISE, **size, **a, **surface("dst", 120, 24, 4, 3, 2)),
    ]
    result = run(config, program, seed=5)
    assert not any(step.fault for step in result.steps)
    assert {address for address, _ in result.steps[-1].writes} == set(range(120, 132))


@pytest.mark.parametrize("name", ("4x4, one lane", "4x8", "8x4"))
def test_throughput_is_what_the_docstring_says(name: str) -> None:
    config = CONFIGS[name]
    size = {"rows": 5, "columns": 8, **surface("dst", 256, 40, 8, 5, 0)}
    drained = {"rows": 10, "columns": 6, **surface("dst", 256, 60, 6, 10, 0)}
    pooled = {**size, "src_rows": 5, "src_columns": 9, "kernel_columns": 2,
              **surface("src", 0, 45, 9, 5, 0)}
    both = {**size, **surface("a", 0, 40, 8, 5, 0), **surface("b", 64, 40, 8, 5, 0)}
    lanes = config.rows // config.post_lanes
    drain = config.columns // config.post_lanes
    cases = [  # fields, cycles per pixel, and in all
        ((DRAIN, drained), drain, 24), ((DRAIN, drained | {"pool": 1}), drain, 24),
        ((POOL, pooled), 3, 15), ((POOL, pooled | {"use_table": 1}), max(3, lanes), 29),
        ((ELEMENTWISE, both), 2, 10),
        ((ELEMENTWISE, both | {"use_table": 1}), max(2, lanes), 28),
        ((ELEMENTWISE, both | {"operation": 1}), max(3, lanes), 29),
        ((ELEMENTWISE, both | {"operation": 2}), max(3, lanes), 29),
    ]
    result = run(config, [instruction(opcode, **f) for (opcode, f), _, _ in cases])
    for ((opcode, f), per_pixel, more), step in zip(cases, result.steps):
        most = f["rows"] * f["columns"] * per_pixel + more
        assert step.done - step.accepted <= most, (opcode, f)


#: Instructions of 2x2 words: base 16 of the result, 0 of a and src, 8 of b.
ILLEGAL = [
    *((DRAIN, {name: 0}) for name in ("rows", "columns")),
    (DRAIN, {"pool": 1, "rows": 1}), (DRAIN, {"pool": 1, "columns": 3}), (DRAIN, {"lane_group": 1}),
    *((POOL, {name: 0}) for name in (
        "rows", "columns", "planes", "src_rows", "src_columns", "kernel_rows", "kernel_columns",
        "stride_y", "stride_x")),
    *((POOL, {name: 5}) for name in ("stride_y", "stride_x")),
    *((POOL, {name: 1}) for name in ("y0", "x0")),
    *((ELEMENTWISE, {name: 0}) for name in ("rows", "columns", "planes", "repeat_y", "repeat_x")),
    (ELEMENTWISE, {"operation": 3}),
    *((opcode, {f"{prefix}_{name}": value, **more})
      for opcode, prefix, more in ((DRAIN, "dst", {}), (POOL, "dst", {}), (POOL, "src", {}),
                                   (ELEMENTWISE, "dst", {}), (ELEMENTWISE, "a", {}),
                                   (ELEMENTWISE, "b", {"operation": 1}))
      for name, value in (("ring_words", 0), ("row_stride", 5), ("ring_start", 4))),
]


def test_illegal_fields_are_refused_before_anything_is_written() -> None:
    result = run(SMALL, [instruction(opcode, **changes) for opcode, changes in ILLEGAL])
    for step, case in zip(result.steps, ILLEGAL):
        assert step.fault == (Fault.ILLEGAL_INSTRUCTION, 0), case
        assert not step.writes, case


def test_more_rows_than_the_ring_holds_are_refused_before_they_are_written() -> None:
    cases = [instruction(opcode, rows=4, src_rows=4, dst_ring_words=ring)
             if opcode == POOL else instruction(opcode, rows=4, dst_ring_words=ring)
             for opcode in (DRAIN, POOL, ELEMENTWISE) for ring in (2, 3, 4, 7)]
    result = run(SMALL, cases)
    for step, (_, f) in zip(result.steps, cases):
        assert step.fault == (Fault.ILLEGAL_INSTRUCTION, 0), f
        assert len(step.writes) <= f["dst_ring_words"] // 2 * 2, f


def test_fields_that_are_not_used_are_not_checked() -> None:
    config = replace(SMALL, table_slots=3, add_table_slots=3)
    no_b = {"b_base": 511, "b_ring_words": 0, "b_row_stride": 9, "b_ring_start": 5}
    result = run(config, [
        instruction(DRAIN, table=3), instruction(POOL, table=3),
        instruction(ELEMENTWISE, table=3, add_tables=3, **no_b),
        instruction(ELEMENTWISE, operation=2, add_tables=3)])
    assert not any(step.fault for step in result.steps)


#: Fields, the slot or word outside, and what has been written at most before.
OUTSIDE = [
    (DRAIN, {"accumulator": 61}, 64, 3), (DRAIN, {"accumulator": 61, "pool": 1}, 64, 0),
    (DRAIN, {"accumulator": 63, "columns": 4095, "dst_ring_words": 512}, 64, 1),
    (DRAIN, {"parameter": 6}, 6, 0), (DRAIN, {"dst_base": 510}, 512, 2),
    (DRAIN, {"dst_base": 511, "dst_row_stride": 0}, 512, 1),
    (DRAIN, {"use_table": 1, "table": 3}, 3, 0),
    (POOL, {"use_table": 1, "table": 3}, 3, 0), (POOL, {"src_base": 509}, 512, 3),
    (POOL, {"src_base": 500, "src_rows": 4096, "src_columns": 4096, "y0": 0, "stride_y": 4,
            "src_ring_words": 100, "src_ring_start": 4, "src_row_stride": 3}, 516, 2),
    (POOL, {"dst_base": 509}, 512, 3),
    (POOL, {"planes": 1000, "src_base": 504, "dst_plane_stride": 0}, 512, 8),
    (ELEMENTWISE, {"use_table": 1, "table": 3}, 3, 0),
    (ELEMENTWISE, {"operation": 1, "add_tables": 3}, 3, 0),
    (ELEMENTWISE, {"a_base": 509}, 512, 3), (ELEMENTWISE, {"a_base": 511}, 512, 1),
    (ELEMENTWISE, {"b_base": 509, "operation": 2}, 512, 3),
    (ELEMENTWISE, {"dst_base": 500, "planes": 1024}, 512, 12),
    (ELEMENTWISE, {"a_base": 400, "planes": 1024, "dst_plane_stride": 0, "a_plane_stride": 56},
     512, 8),
]


def test_words_and_slots_outside_are_refused_before_they_are_touched() -> None:
    config = replace(SMALL, table_slots=3, add_table_slots=3, parameter_entries=6)
    result = run(config, [instruction(opcode, **changes) for opcode, changes, _, _ in OUTSIDE])
    for step, (opcode, changes, address, words) in zip(result.steps, OUTSIDE):
        assert step.fault == (Fault.ON_CHIP_RANGE, address), (opcode, changes)
        assert len(step.writes) <= words, (opcode, changes)
