"""MAC unit and array together, against the instructions in plain Python."""

from collections import deque
from collections.abc import Callable
from dataclasses import replace
from random import Random
from types import SimpleNamespace

import pytest
from amaranth import Module, ResetInserter, Signal
from amaranth.lib.memory import Memory

from hw.rtl.array import DRAIN_LATENCY, Array, array_latency
from hw.rtl.mac import MacCheck, MacUnit
from hw.rtl.scratchpad import ARRAY_LATENCY
from hw.spec.config import PRESETS, ArrayConfig
from hw.spec.isa import Isa, LinearTarget, Opcode
from hw.spec.regs import Fault
from sim.machine.faults import Refusal
from sim.machine.mac import Mac
from sim.testing import simulate
from tests.sim.random_instructions import Fields, random_instruction, surface
from tests.sim.slow_machine import SlowMachine

#: No depth is a power of two.
TINY = ArrayConfig(rows=2, columns=2, scratchpad_words=330, weight_words=50, accumulator_words=33,
                   parameter_entries=2, post_lanes=1)
CONFIGS = {name: PRESETS[name] for name in ("test-4x4", "test-4x8", "test-8x4")} | {"2x2": TINY}


class Bench:
    """MAC unit and array with random memories, and the machine that says what they must hold.

    Attributes
    ----------
    offered, accepted, done : list of int
        In which cycle that happened to each instruction.
    fault : tuple or None
        Cause and address.
    checked, refused : int
        Reads of the accumulators while instructions ran; cycles in which one had to wait.
    """

    def __init__(self, config: ArrayConfig, seed: int = 0, *, multiplier: str = "inferred") -> None:
        self.config, self.multiplier, self.rng = config, multiplier, Random(seed)
        self.oracle = SlowMachine(config, b"", b"")
        for words, low in ((self.oracle.scratchpad, -128), (self.oracle.weights,
                                                            config.weight_min)):
            for word in words:
                word[:] = (self.rng.choice((low, 127, self.rng.randint(low, 127))) for _ in word)
        self.offered: list[int] = []
        self.accepted: list[int] = []
        self.done: list[int] = []
        self.fault: tuple[Fault, int] | None = None
        self.checked = self.refused = 0
        self.partial = False  # the accumulators of the refused instruction are unspecified
        self.expected: deque[tuple[int, list[int]]] = deque()  # cycle, answer

    def random_mac(self) -> Fields:
        """Legal fields, half of them with a ring that does not hold whole rows."""
        f = random_instruction(self.rng, self.config, Opcode.MAC, 0, 0)
        if self.rng.randrange(2):
            f["src_ring_words"] -= self.rng.randint(
                0, f["src_ring_words"] - max(1, f["src_row_stride"]))
            f["src_ring_start"] = self.rng.randrange(f["src_ring_words"])
        return f

    def run(self, program: list[Fields], *, gap: Callable[[], int] = lambda: 0,
            read: bool = False, interrupted: Fields | None = None,
            cycles: int = 20_000) -> "Bench":
        """Run `program`, offering each instruction `gap()` cycles after the one before was
        accepted, until all are done or one is refused. With `read`, try to read an accumulator in
        every cycle. Then compare all of them, with what they held before a refused one. With
        `interrupted`, first start that instruction again and again, and reset everything in the
        middle.
        """
        m, reset = Module(), Signal()
        self.reset = reset
        self.mac = MacUnit(self.config, latency=array_latency(self.config, self.multiplier))
        self.array = Array(self.config, self.multiplier)
        m.submodules.mac = ResetInserter(reset)(self.mac)
        m.submodules.array = ResetInserter(reset)(self.array)
        m.d.comb += [getattr(self.array.i, name).eq(getattr(self.mac.array, name))
                     for name in self.mac.array.signature.members]
        m.submodules.scratchpad = memory = Memory(
            shape=8 * self.config.rows, depth=self.config.scratchpad_words,
            init=[_packed(word, 8) for word in self.oracle.scratchpad])
        port = memory.read_port()
        m.d.comb += port.addr.eq(self.mac.scratchpad.address)
        word = port.data
        for _ in range(ARRAY_LATENCY - 1):
            before, word = word, Signal.like(port.data)
            m.d.sync += word.eq(before)
        m.d.comb += self.mac.scratchpad.data.as_value().eq(word)

        async def play(ctx):
            await self._write_weights(ctx, program)
            if interrupted:
                await self._interrupt(ctx, interrupted)
            await self._execute(ctx, program, gap, read)
            await self._compare(ctx)
        simulate(m, play, cycles=cycles)
        return self

    async def _write_weights(self, ctx, program: list[Fields]) -> None:
        linear, width = self.array.linear, max(self.config.columns, 8)
        used = max(f["weights"] + self.config.rows * f["planes"] * f["kernel_rows"]
                   * f["kernel_columns"] for f in program)
        ctx.set(linear.valid, 1)
        for index, word in enumerate(self.oracle.weights[:used]):
            ctx.set(linear.target, LinearTarget.WEIGHTS)
            ctx.set(linear.index, index)
            ctx.set(linear.data, [v & 255 for v in word] + [99] * (width - len(word)))
            await ctx.tick()
        ctx.set(linear.target, LinearTarget.TABLE)  # is not for the array
        ctx.set(linear.index, 0)
        await ctx.tick()
        ctx.set(linear.valid, 0)

    async def _interrupt(self, ctx, fields: Fields) -> None:
        """Stop while pixels are everywhere between the walker and the accumulators."""
        unit = self.mac.unit
        word = int.from_bytes(Isa(self.config).encode(Opcode.MAC, fields), "little")
        ctx.set(unit.i.payload, word)
        ctx.set(unit.i.valid, 1)
        for _ in range(44):
            await ctx.tick()
        ctx.set(unit.i.valid, 0)
        ctx.set(self.reset, 1)
        await ctx.tick()
        ctx.set(self.reset, 0)
        assert not ctx.get(unit.busy)

    async def _execute(self, ctx, program: list[Fields], gap: Callable[[], int],
                       read: bool) -> None:
        unit, isa, drain = self.mac.unit, Isa(self.config), self.array.accumulators
        groups = self.config.columns // self.config.post_lanes
        now, wait, offering, last = 0, gap(), False, None
        while len(self.done) < len(program) and not self.fault:
            if not offering and len(self.accepted) < len(program) and wait == 0:
                fields = program[len(self.accepted)]
                ctx.set(unit.i.payload, int.from_bytes(isa.encode(Opcode.MAC, fields), "little"))
                ctx.set(unit.i.valid, 1)
                self.offered.append(now)
                offering = True
            wait = max(0, wait - 1)
            # In the cycle after `done`, the last column of its last pixel; else any.
            request = last or (self.rng.randrange(self.config.accumulator_words),
                               self.rng.randrange(groups))
            ctx.set(drain.i.payload, dict(zip(("address", "group"), request)))
            ctx.set(drain.i.valid, read)
            _, _, ready, done, fault, busy, free, answer, values = await ctx.tick().sample(
                unit.i.ready, unit.done, unit.fault.valid, unit.busy, drain.i.ready,
                drain.o_valid, drain.o_data)
            self._check_answer(now, answer, values)
            if read and free:
                moving = program[len(self.done):len(self.offered)]
                if not any(0 <= request[0] - f["accumulator"] < f["rows"] * f["columns"]
                           for f in moving):
                    self.expected.append((now + DRAIN_LATENCY, self._answer(*request)))
                    self.checked += 1
                else:
                    self.expected.append((now + DRAIN_LATENCY, None))
            self.refused += read and not free
            last = None
            assert busy == (len(self.offered) > len(self.done)), f"busy in cycle {now}"
            if offering and ready:
                ctx.set(unit.i.valid, 0)
                ctx.set(unit.i.payload, self.rng.getrandbits(200))
                self.accepted.append(now)
                offering, wait = False, gap()
            if done:
                f = program[len(self.done)]
                self.oracle.execute(Opcode.MAC, f)
                self.done.append(now)
                last = (f["accumulator"] + f["rows"] * f["columns"] - 1, groups - 1)
            if fault:
                self.fault = (Fault(ctx.get(unit.fault.cause)), ctx.get(unit.fault.address))
            now += 1
        ctx.set(drain.i.valid, 0)
        for later in range(6):
            _, _, answer, values, done, fault = await ctx.tick().sample(
                drain.o_valid, drain.o_data, unit.done, unit.fault.valid)
            self._check_answer(now + later, answer, values)
            assert not done and fault == (self.fault is not None)

    def _check_answer(self, now: int, answer: int, values) -> None:
        due = bool(self.expected) and self.expected[0][0] == now
        assert answer == due, f"answer in cycle {now}"
        if due:
            _, expected = self.expected.popleft()
            assert expected is None or list(values) == expected, \
                f"answer in cycle {now}: {list(values)}, not {expected}"

    def _answer(self, word: int, group: int) -> list[int]:
        lanes = self.config.post_lanes
        values = self.oracle.accumulators[word][group * lanes:(group + 1) * lanes]
        return [v & 0xFFFF_FFFF for v in values]

    async def _compare(self, ctx) -> None:
        """Read every accumulator, one request a cycle."""
        drain, groups = self.array.accumulators, self.config.columns // self.config.post_lanes
        requests = [(word, group) for word in range(self.config.accumulator_words)
                    for group in range(groups)]
        if self.partial:
            return
        for now, request in enumerate(requests + [None] * (DRAIN_LATENCY + 1)):
            ctx.set(drain.i.valid, request is not None)
            if request is not None:
                ctx.set(drain.i.payload, dict(zip(("address", "group"), request)))
                self.expected.append((now + DRAIN_LATENCY, self._answer(*request)))
            _, _, ready, answer, values = await ctx.tick().sample(
                drain.i.ready, drain.o_valid, drain.o_data)
            assert ready, "the array is idle"
            self._check_answer(now, answer, values)


def _packed(values: list[int], bits: int) -> int:
    return sum((v & ((1 << bits) - 1)) << bits * i for i, v in enumerate(values))


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


@pytest.mark.parametrize("style", ["lut", "packed"])
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
