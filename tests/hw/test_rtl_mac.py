"""MAC unit and array together, against the instructions in plain Python."""

from dataclasses import replace
from random import Random
from types import SimpleNamespace

import pytest

from hw.rtl.mac import MacCheck
from hw.spec.config import PRESETS, ArrayConfig
from hw.spec.isa import Isa, Opcode
from hw.spec.regs import Fault
from sim.machine.faults import Refusal
from sim.machine.mac import Mac
from sim.testing import simulate
from tests.hw.mac_bench import Bench
from tests.sim.random_instructions import Fields, random_instruction, surface

#: No depth is a power of two.
TINY = ArrayConfig(rows=2, columns=2, scratchpad_words=330, weight_words=50, accumulator_words=33,
                   parameter_entries=2, post_lanes=1)
CONFIGS = {name: PRESETS[name] for name in ("test-4x4", "test-4x8", "test-8x4")} | {"2x2": TINY}


def mac(config: ArrayConfig, **fields: int) -> Fields:
    """Fields of a MAC of one pixel in a surface of 4 by 4; with `fields`, of another one."""
    return surface("src", 0, 16, 4, 4, 0) | {
        "wait": 0, "signal": 0, "src_rows": 4, "src_columns": 4, "y0": 0, "x0": 0,
        "kernel_rows": 1, "kernel_columns": 1, "stride_y": 1, "stride_x": 1, "up_y": 0, "up_x": 0,
        "rows": 1, "columns": 1, "planes": 1, "pad": 5, "weights": 0, "accumulator": 0,
        "accumulate": 0} | fields


def pass_cycles(config: ArrayConfig, fields: Fields) -> int:
    """Cycles of all passes of an instruction."""
    return (fields["planes"] * fields["kernel_rows"] * fields["kernel_columns"]
            * max(fields["rows"] * fields["columns"], config.rows, 4))


@pytest.mark.parametrize(("name", "seed"), list(zip(CONFIGS, range(9))))
def test_random_macs_back_to_back(name: str, seed: int) -> None:
    """No cycle is lost between instructions that are offered in time, and every sum is right
    while others are read.
    """
    config = CONFIGS[name]
    bench = Bench(config, seed)
    program = [bench.random_mac() for _ in range(20)]
    bench.run(program, read=True)
    assert bench.checked > 100 and bench.refused > 100, (bench.checked, bench.refused)
    for i, (before, fields) in enumerate(zip(program, program[1:])):
        start = bench.accepted[i] + pass_cycles(config, before)
        if fields["accumulate"] and fields["accumulator"] != before["accumulator"]:
            # Three empty cycles behind the last pixel.
            pixels = before["rows"] * before["columns"]
            start = max(start, start - max(pixels, config.rows, 4) + pixels + 3)
        start = max(start, bench.offered[i + 1] + max(config.rows - 3, 3))
        assert bench.accepted[i + 1] == start, f"instruction {i + 1} of seed {seed}"


@pytest.mark.parametrize("name", CONFIGS)
def test_random_macs_with_pauses(name: str) -> None:
    bench = Bench(CONFIGS[name], 7)
    bench.run([bench.random_mac() for _ in range(12)], gap=lambda: bench.rng.choice((0, 3, 9, 60)),
              read=True)
    assert len(bench.done) == 12


@pytest.mark.rtl
@pytest.mark.parametrize("seed", range(100, 103))
@pytest.mark.parametrize("name", CONFIGS)
def test_many_random_macs(name: str, seed: int) -> None:
    bench = Bench(CONFIGS[name], seed)
    slow = seed % 2
    bench.run([bench.random_mac() for _ in range(60)], read=True, cycles=100_000,
              gap=lambda: bench.rng.choice((0, 3, 9, 60)) if slow else 0)
    assert len(bench.done) == 60


@pytest.mark.parametrize("style", ["lut", "packed", "dual"])
def test_other_multipliers(style: str) -> None:
    bench = Bench(replace(CONFIGS["test-4x8"], weight_min=-127), 3, multiplier=style)
    bench.run([bench.random_mac() for _ in range(6)], read=True)
    assert len(bench.done) == 6


@pytest.mark.parametrize("name", CONFIGS)
def test_timing(name: str) -> None:
    """Start from idle, passes, next instruction and end take the cycles that are documented."""
    config = CONFIGS[name]
    bench = Bench(config)
    short, long = mac(config, planes=3), mac(config, rows=4, columns=4, planes=3)
    # Two pauses, so that three instructions start from idle.
    gaps = iter([0, 0, 0, 200, 0, 200, 0])
    program = [short, short, long, long, short, short]
    bench.run(program, gap=lambda: next(gaps))
    tail = bench.mac.tail
    assert tail == 8 + bench.array.latency - 2
    accepted, done = bench.accepted, bench.done
    for i, fields in enumerate(program):
        pixels = fields["rows"] * fields["columns"]
        passes = pass_cycles(config, fields)
        assert done[i] == (accepted[i] + passes - max(pixels, config.rows, 4) + pixels + tail)
        if i in (0, 3, 5):
            assert accepted[i] - bench.offered[i] == max(config.rows - 3, 3)
        else:
            assert accepted[i] == accepted[i - 1] + pass_cycles(config, program[i - 1])


def test_single_passes_of_few_pixels_follow_each_other() -> None:
    """The shortest instructions there are, each adding to the sums of the one before."""
    for name, config in CONFIGS.items():
        for pixels in (1, 3) if name == "test-4x4" else (2,):
            bench = Bench(config)
            bench.run([mac(config, columns=pixels, accumulate=i > 0, accumulator=2, weights=i)
                       for i in range(12)])
            steps = {b - a for a, b in zip(bench.accepted, bench.accepted[1:])}
            assert steps == {max(config.rows, 4)}, name


def test_shifted_accumulators_wait_for_their_sums() -> None:
    """Reads what the instruction before wrote in the cycle before, and in each of those near."""
    config = CONFIGS["test-4x4"]
    bench, program = Bench(config), []
    for shift in range(1, 8):
        program += [
            mac(config, rows=2, columns=4, accumulator=8),
            mac(config, rows=2, columns=4, accumulator=8 + shift, accumulate=1, weights=4),
            mac(config, rows=2, columns=4, accumulator=8 - shift, accumulate=1, weights=8),
            mac(config, rows=2, columns=4, accumulator=8, accumulate=1, weights=8)]
    bench.run(program, read=True)
    assert len(bench.done) == 28


@pytest.mark.parametrize("up", range(4))
def test_enlarged_inputs(up: int) -> None:
    """All scales and strides, windows that start inside the first enlarged row and far outside."""
    config = CONFIGS["test-4x4"]
    bench = Bench(config, up)
    program = []
    for stride in range(1, 5):
        for start in ((1 << up) - 1, -stride % 3 - 4):
            program.append(mac(
                config, up_y=up, up_x=3 - up, y0=start, x0=min(start, (1 << 3 - up) - 1),
                stride_y=stride, stride_x=5 - stride, rows=3, columns=4, kernel_rows=2,
                kernel_columns=2, planes=2, pad=-77,
                **surface("src", 100, 40, 5, 2 + stride % 3, 1)))
    bench.run(program)
    assert len(bench.done) == 8


def test_high_and_wide_kernels() -> None:
    """Each plane starts at row 0 again, from as far down as kernels reach."""
    config = CONFIGS["test-4x4"]
    bench = Bench(config)
    bench.run([mac(config, kernel_rows=rows, kernel_columns=columns, planes=3, rows=2, columns=2,
                   src_rows=15, src_columns=9, accumulator=4 * i, y0=-(i % 2),
                   **surface("src", 20, 90, 9, ring, 1))
               for i, (rows, columns, ring) in enumerate(
                   [(5, 1, 7), (6, 2, 3), (15, 1, 15), (1, 15, 4), (9, 2, 5)])])
    assert len(bench.done) == 5


def test_windows_outside_of_the_input_read_nothing() -> None:
    """Its address may be anything then."""
    config = CONFIGS["2x2"]
    bench = Bench(config)
    bench.run([mac(config, y0=-8000, x0=0, rows=3, columns=3, src_base=329, src_plane_stride=330,
                   planes=4, pad=-128),
               mac(config, y0=0, x0=-20, rows=3, columns=3, src_base=329, accumulator=12),
               mac(config, y0=-3, stride_y=4, rows=9, src_rows=1, columns=2, accumulate=1)])
    assert len(bench.done) == 3


ILLEGAL: list[Fields] = [
    {"planes": 0}, {"rows": 0}, {"columns": 0}, {"src_rows": 0}, {"src_columns": 0},
    {"kernel_rows": 0}, {"kernel_columns": 0}, {"stride_y": 0}, {"stride_x": 0}, {"stride_y": 5},
    {"stride_x": 7}, {"src_ring_words": 0, "src_row_stride": 0, "src_ring_start": 0},
    {"src_ring_words": 3}, {"src_ring_start": 16}, {"y0": 1}, {"x0": 1}, {"y0": 4, "up_y": 2},
    {"x0": 8, "up_x": 3}, {"y0": 8191, "up_y": 3},
]


def cause_of(config: ArrayConfig, fields: Fields) -> Fault:
    """What the simulator says about an instruction."""
    try:
        Mac(fields, SimpleNamespace(config=config), None)
    except Refusal as e:
        return e.cause
    return Fault.NONE


def test_check_agrees_with_the_simulator() -> None:
    """On broken instructions, and on thousands that random fields were changed in."""
    config, rng = CONFIGS["test-4x4"], Random(11)
    programs = [mac(config, **changed) for changed in ILLEGAL]
    assert {cause_of(config, fields) for fields in programs} == {Fault.ILLEGAL_INSTRUCTION}
    formats = {f.name: f for f in Isa(config).formats[Opcode.MAC].fields}
    while len(programs) < 1000:
        fields = random_instruction(rng, config, Opcode.MAC, 0, 0)
        for name in rng.sample(sorted(fields), rng.randint(1, 2)):
            f = formats[name]
            if name not in ("rows", "columns"):  # slow in the simulator
                fields[name] = rng.choice((rng.randint(f.lowest, f.highest), f.lowest, f.highest,
                                           rng.randint(0, 9) & f.highest))
        programs.append(fields)
    dut = MacCheck(config)
    causes = []

    async def play(ctx):
        ctx.set(dut.valid, 1)
        for fields in programs:
            word = int.from_bytes(Isa(config).encode(Opcode.MAC, fields), "little")
            ctx.set(dut.i.as_value(), word & ((1 << len(dut.i.as_value())) - 1))
            ctx.set(dut.accept, 0)
            await ctx.tick().until(dut.ready)
            cause = cause_of(config, fields)
            causes.append(cause)
            assert ctx.get(dut.illegal) == (cause == Fault.ILLEGAL_INSTRUCTION), fields
            if not ctx.get(dut.illegal):
                ring = fields["src_ring_words"]
                assert list(ctx.get(dut.ring_steps)) == [
                    n * fields["src_row_stride"] % ring for n in range(1, 5)]
            ctx.set(dut.accept, 1)
            await ctx.tick()
    simulate(dut, play)
    assert causes.count(Fault.ILLEGAL_INSTRUCTION) > 150 and causes.count(Fault.NONE) > 100


@pytest.mark.parametrize("changed", ILLEGAL[::5], ids=str)
def test_illegal_instructions_stop_the_unit(changed: Fields) -> None:
    """When those ahead are done, without a trace in the accumulators, and for good."""
    config = CONFIGS["test-4x4"]
    bench = Bench(config)
    good = mac(config, rows=3, columns=3)
    bench.run([good, good | {"accumulate": 1}, mac(config, **changed, accumulate=1), good])
    assert bench.fault == (Fault.ILLEGAL_INSTRUCTION, 0)
    assert len(bench.done) == 2


RANGES: list[tuple[Fields, int]] = [
    # fields, first word outside
    ({"src_base": 329, "columns": 2, "y0": 0}, 330),
    ({"src_base": 329, "src_ring_start": 1}, 330),
    ({"src_base": 300, "src_plane_stride": 15, "planes": 3}, 330),
    ({"src_base": 329, "src_plane_stride": 330, "planes": 20, "kernel_rows": 1}, 659),
    ({"weights": 49}, 50),
    ({"weights": 47, "planes": 2}, 50),
    ({"weights": 63}, 50),
    ({"accumulator": 33}, 33),
    ({"accumulator": 63}, 33),
    ({"accumulator": 31, "columns": 3}, 33),
]


@pytest.mark.parametrize(("changed", "address"), RANGES, ids=str)
def test_words_outside_a_memory_stop_the_unit(changed: Fields, address: int) -> None:
    """Unless its first pixel is refused, a part of the instruction may have happened."""
    config = CONFIGS["2x2"]
    good, bad = mac(config, rows=3, columns=3), mac(config, **changed)
    assert cause_of(config, bad) == Fault.ON_CHIP_RANGE
    bench = Bench(config)
    bench.partial = changed.get("columns", 1) * changed.get("planes", 1) > 1
    bench.run([good, bad, good])
    assert bench.fault == (Fault.ON_CHIP_RANGE, address)
    assert len(bench.done) == 1


def test_last_words_of_the_memories_are_legal() -> None:
    config = CONFIGS["2x2"]
    bench = Bench(config)
    bench.run([mac(config, src_base=329 - 15, rows=4, columns=4, src_plane_stride=330,
                   weights=48, accumulator=33 - 16)])
    assert len(bench.done) == 1


INTERRUPTED: list[Fields] = [{"columns": 9}, {"planes": 2}, {"planes": 0}, {"weights": 49}]


@pytest.mark.parametrize(("name", "interrupted"), list(zip(CONFIGS, INTERRUPTED)))
def test_reset_forgets_everything(name: str, interrupted: Fields) -> None:
    """A fault, too, and what was between the walker and the accumulators."""
    config = CONFIGS[name]
    columns, rest = divmod(config.accumulator_words, 3)
    bench = Bench(config)
    bench.run([mac(config, rows=3, columns=columns, planes=2),
               mac(config, accumulator=config.accumulator_words - 1, accumulate=not rest)],
              interrupted=mac(config, **interrupted))
    assert len(bench.done) == 2 and not bench.fault
