"""Sequencer with fake units: whole programs, order by tokens, faults, abort, counters."""

import random
from collections import deque

import pytest

from hw.rtl.layout import instruction_layout
from hw.rtl.sequencer import Sequencer
from hw.spec.config import PRESETS
from hw.spec.isa import QUEUE_OF, Isa, Opcode, Queue
from hw.spec.regs import Fault
from sim.testing import RegisterDriver, simulate

CONFIG = PRESETS["test-4x4"]
ISA = Isa(CONFIG)
BASE = 0x8000_0020
START, ABORT, CLEAR = 1, 2, 4
OPCODE_OF = {Queue.LOAD: Opcode.LOAD, Queue.MAC: Opcode.MAC, Queue.POST: Opcode.POOL,
             Queue.STORE: Opcode.STORE}


def encode(opcode: Opcode, wait: int = 0, signal: int = 0) -> bytes:
    values = {f.name: 0 for f in ISA.formats[opcode].fields[1:]}
    if opcode != Opcode.END:
        values |= {"wait": wait, "signal": signal}
    return ISA.encode(opcode, values)


def random_program(count: int, rng: random.Random) -> list[bytes]:
    """A program that cannot deadlock: what waits, waits for a token that was promised before."""
    promised = {(a, b): 0 for a in Queue for b in Queue if a != b}
    program = []
    for _ in range(count):
        own = rng.choice(list(Queue))
        wait = sum(1 << q for q in Queue if promised.get((q, own)) and rng.random() < 0.7)
        signal = sum(1 << q for q in Queue if q != own and rng.random() < 0.4)
        for q in Queue:
            if q != own:
                promised[q, own] -= wait >> q & 1
                promised[own, q] += signal >> q & 1
        program.append(encode(OPCODE_OF[own], wait, signal))
    return program


class Bench:
    """A sequencer, its program memory, and units that only take time."""

    def __init__(self, program: list[bytes], seed: int, *, faults: dict[int, Fault] | None = None,
                 stuck: tuple[int, ...] = ()) -> None:
        self.program = b"".join(program)
        self.rng = random.Random(seed)
        self.dut = Sequencer(CONFIG)
        self.index_of = {q: deque() for q in Queue}
        for index, word in enumerate(program):
            opcode = ISA.decode(word)[0] if word[0] else Opcode.END
            if opcode in QUEUE_OF:
                self.index_of[QUEUE_OF[opcode]].append(index)
        self.faults, self.stuck = faults or {}, stuck
        self.tokens = {(a, b): 0 for a in Queue for b in Queue}
        self.done: list[int] = []
        self.beats: deque[int] = deque()

    def run(self, bench) -> None:
        async def main(ctx):
            driver = RegisterDriver(ctx, self.dut.control, self.rng)
            for name, value in (("PROGRAM_BASE", BASE), ("PROGRAM_BYTES", len(self.program)),
                                ("WATCHDOG", 500), ("INTERRUPT_ENABLE", 3)):
                await driver.write(name, value)
            await bench(ctx, driver)

        simulate(self.dut, main, background=[self.memory, *(self.unit(q) for q in Queue)],
                 cycles=30_000)

    async def memory(self, ctx):
        fetch = self.dut.fetch
        while True:
            ctx.set(self.dut.bus_idle, not self.beats)
            ctx.set(fetch.request.ready, not ctx.get(self.dut.halt.bus) and self.rng.random() < 0.7)
            ctx.set(fetch.beats.valid, bool(self.beats))
            if self.beats:
                at = self.beats.popleft() - BASE
                ctx.set(fetch.beats.payload, {
                    "data": list(self.program[at:at + 4]), "start": 0, "bytes": 4, "ends": 0,
                    "last": 0, "error": 0})
            if ctx.get(fetch.request.valid) and ctx.get(fetch.request.ready):
                request = ctx.get(fetch.request.payload)
                self.beats += [request.address + i for i in range(0, request.bytes, 4)]
            await ctx.tick()

    def unit(self, own: Queue):
        """Takes up to two instructions, and finishes each after a random time."""
        port, layout = self.dut.units[own], instruction_layout(CONFIG, OPCODE_OF[own])

        async def run(ctx):
            inside: deque[tuple[int, int, int]] = deque()  # index, signal, cycles left
            while True:
                if ctx.get(self.dut.reset.units[own]):
                    inside.clear()
                ctx.set(port.busy, bool(inside))
                ctx.set(port.stall, bool(inside) and inside[0][0] in self.stuck)
                ctx.set(port.i.ready, len(inside) < 2 and self.rng.random() < 0.6)
                done = False
                if inside:
                    index, signal, left = inside[0]
                    cause = self.faults.get(index) if left == 0 else None
                    ctx.set(port.fault.valid, cause is not None)
                    ctx.set(port.fault.cause, cause or 0)
                    ctx.set(port.fault.address, 4 * index)
                    done = left == 0 and cause is None and index not in self.stuck
                    inside[0] = (index, signal, max(0, left - 1))
                else:
                    ctx.set(port.fault.valid, 0)
                ctx.set(port.done, done)
                if ctx.get(port.i.valid) and ctx.get(port.i.ready):
                    word = layout.from_bits(ctx.get(port.i.payload))
                    index = self.index_of[own].popleft()
                    for q in Queue:
                        if word.wait >> q & 1:
                            self.tokens[q, own] -= 1
                            assert self.tokens[q, own] >= 0, f"instruction {index} is too early"
                    inside.append((index, word.signal, self.rng.randrange(25)))
                if done:
                    index, signal, _ = inside.popleft()
                    self.done.append(index)
                    for q in Queue:
                        self.tokens[own, q] += signal >> q & 1
                await ctx.tick()
        return run


@pytest.mark.parametrize("seed", range(3))
def test_programs_run_in_the_order_of_their_tokens(seed: int) -> None:
    program = [*random_program(120, random.Random(seed)), encode(Opcode.END)]
    bench = Bench(program, seed)

    async def run(ctx, driver):
        await driver.write("CONTROL", START)
        assert await driver.read("STATUS") == 1
        await ctx.tick().until(bench.dut.interrupt)
        assert await driver.read("STATUS") == 2
        assert await driver.read("INSTRUCTIONS") == 121
        cycles = await driver.read("CYCLES")
        for q in Queue:
            spent = [await driver.read(f"{q.name}_{k}") for k in ("BUSY", "WAIT", "STALL")]
            assert 0 < sum(spent) <= cycles
        await driver.write("CONTROL", CLEAR)
        assert await driver.read("STATUS") == 0
        assert not ctx.get(bench.dut.interrupt)

    bench.run(run)
    assert sorted(bench.done) == list(range(120))


def test_a_program_runs_again() -> None:
    program = [encode(Opcode.LOAD, signal=2), encode(Opcode.LOAD, signal=2),
               encode(Opcode.MAC, wait=1), encode(Opcode.END)]
    bench = Bench(program, 0)

    async def run(ctx, driver):
        for _ in range(3):
            bench.index_of = {Queue.LOAD: deque([0, 1]), Queue.MAC: deque([2]),
                              Queue.POST: deque(), Queue.STORE: deque()}
            bench.tokens = dict.fromkeys(bench.tokens, 0)  # one token is left over every time
            await driver.write("CONTROL", START)
            await ctx.tick().until(bench.dut.interrupt)
            assert await driver.read("STATUS") == 2
            assert await driver.read("INSTRUCTIONS") == 4

    bench.run(run)
    assert len(bench.done) == 9


def test_a_units_fault_stops_the_core_and_the_next_run_is_clean() -> None:
    program = [*random_program(40, random.Random(7)), encode(Opcode.END)]
    bench = Bench(program, 1, faults={20: Fault.ON_CHIP_RANGE})

    async def run(ctx, driver):
        await driver.write("CONTROL", START)
        await ctx.tick().until(bench.dut.interrupt)
        while await driver.read("STATUS") & 1:
            pass
        assert await driver.read("STATUS") == 4
        assert await driver.read("FAULT") == Fault.ON_CHIP_RANGE
        assert await driver.read("FAULT_INSTRUCTION") == 20
        assert await driver.read("FAULT_ADDRESS") == 80
        assert 20 not in bench.done
        bench.faults, bench.tokens = {}, dict.fromkeys(bench.tokens, 0)
        for q in Queue:
            bench.index_of[q] = deque(i for i, word in enumerate(program[:-1])
                                      if QUEUE_OF[ISA.decode(word)[0]] == q)
        bench.done.clear()
        await driver.write("CONTROL", START)
        await ctx.tick().until(bench.dut.interrupt)
        assert await driver.read("FAULT") == Fault.NONE
        assert await driver.read("STATUS") == 2

    bench.run(run)
    assert sorted(bench.done) == list(range(40))


def test_a_dispatchers_fault_waits_for_what_is_ahead() -> None:
    program = [*random_program(30, random.Random(3)), bytes(ISA.instruction_bytes)]
    bench = Bench(program, 2)

    async def run(ctx, driver):
        await driver.write("CONTROL", START)
        await ctx.tick().until(bench.dut.interrupt)
        assert await driver.read("FAULT") == Fault.ILLEGAL_INSTRUCTION
        assert await driver.read("FAULT_INSTRUCTION") == 30
        assert sorted(bench.done) == list(range(30))

    bench.run(run)


@pytest.mark.parametrize("what", ["token", "unit", "memory"])
def test_watchdog_finds_what_cannot_go_on(what: str) -> None:
    program = [encode(Opcode.LOAD), encode(Opcode.STORE, wait=4 if what == "token" else 0),
               encode(Opcode.MAC), encode(Opcode.END)]
    bench = Bench(program, 0, stuck=(1,) if what == "unit" else ())

    async def run(ctx, driver):
        if what == "memory":
            bench.beats = deque()
            ctx.set(bench.dut.bus_idle, 0)
            bench.rng.random = lambda: 1.0
        await driver.write("CONTROL", START)
        await ctx.tick().until(bench.dut.interrupt)
        assert await driver.read("FAULT") == Fault.WATCHDOG
        assert await driver.read("FAULT_INSTRUCTION") == (0 if what == "memory" else 1)

    bench.run(run)


def test_abort_stops_the_core() -> None:
    program = [encode(Opcode.LOAD), encode(Opcode.STORE, wait=4), encode(Opcode.END)]
    bench = Bench(program, 0)

    async def run(ctx, driver):
        await driver.write("CONTROL", START)
        await ctx.tick().repeat(200)
        await driver.write("CONTROL", ABORT)
        await ctx.tick().until(bench.dut.interrupt)
        assert await driver.read("FAULT") == Fault.ABORTED
        assert await driver.read("FAULT_INSTRUCTION") == 1
        assert not await driver.read("STATUS") & 1

    bench.run(run)
