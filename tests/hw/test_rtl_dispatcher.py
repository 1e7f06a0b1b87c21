"""Dispatcher: every legal program arrives as it was written; every other is refused."""

import random
from dataclasses import replace

import pytest

from hw.rtl.dispatcher import Dispatcher
from hw.spec.config import PRESETS, ArrayConfig
from hw.spec.isa import QUEUE_OF, Isa, Opcode, Queue
from hw.spec.regs import Fault
from hw.spec.timing import FETCH_BUFFER
from sim.testing import simulate

BASE = 0x4000_0000
CONFIGS = {"test-4x4": PRESETS["test-4x4"], "ulx3s-85f": PRESETS["ulx3s-85f"],
           "8 bytes": PRESETS["test-4x8"], "16 bytes": replace(PRESETS["test-8x4"], bus_bytes=16)}


def random_instruction(isa: Isa, opcode: Opcode, rng: random.Random) -> bytes:
    values = {f.name: rng.randint(f.lowest, f.highest) for f in isa.formats[opcode].fields[1:]}
    for name in ("wait", "signal"):
        if name in values:
            values[name] &= ~(1 << QUEUE_OF[opcode])
    return isa.encode(opcode, values)


def random_program(config: ArrayConfig, count: int, rng: random.Random) -> bytes:
    isa = Isa(config)
    return b"".join(random_instruction(isa, rng.choice(list(QUEUE_OF)), rng)
                    for _ in range(count))


class Fetch:
    """Runs a dispatcher against a memory and four queues; what came out is in the members."""

    def __init__(self, config: ArrayConfig, program: bytes, *, seed: int | None = None,
                 bytes_open: int | None = None, bad_address: int | None = None,
                 drained_after: int = 0) -> None:
        self.config, self.program = config, program
        self.size = Isa(config).instruction_bytes
        self.rng = random.Random(seed)
        self.hasty = seed is None
        self.queues: dict[Queue, list[tuple[int, int]]] = {q: [] for q in Queue}
        self.requested = 0
        self.fault: tuple[Fault, int, int] | None = None
        self.ended = False
        self.bad_address = bad_address
        self.dut = Dispatcher(config)
        self.window = len(program) if bytes_open is None else bytes_open
        self.drained_after = drained_after
        self.cycles = 0
        self.waiting: list[int] = []  # addresses of beats to answer

        simulate(self.dut, self.control, self.memory, self.sinks)

    @property
    def over(self) -> bool:
        return self.ended or self.fault is not None

    def now(self) -> bool:
        return self.hasty or self.rng.random() < 0.5

    async def control(self, ctx):
        dut = self.dut
        ctx.set(dut.window, {"base": BASE, "size": self.window})
        for self.cycles in range(100_000):
            sent = sum(map(len, self.queues.values()))
            ctx.set(dut.drained, self.cycles >= self.drained_after)
            if ctx.get(dut.fault.valid):
                self.fault = (Fault(ctx.get(dut.fault.cause)), ctx.get(dut.index),
                              ctx.get(dut.fault.address))
                assert self.cycles >= self.drained_after
            self.ended = bool(ctx.get(dut.ended))
            if self.over:
                assert ctx.get(dut.index) == sent
                break
            await ctx.tick()

    async def memory(self, ctx):
        request, beats, bus = (self.dut.fetch.request, self.dut.fetch.beats,
                               self.config.bus_bytes)
        while not self.over:
            ctx.set(request.ready, self.now())
            answer = bool(self.waiting) and self.now()
            if answer:
                at = self.waiting[0] - BASE
                value = self.program[at:at + bus].ljust(bus, b"\xff")
                ctx.set(beats.payload, {"data": list(value), "start": 0, "bytes": bus, "ends": 0,
                                        "last": 0, "error": at + BASE == self.bad_address})
            ctx.set(beats.valid, answer)
            if answer:
                assert ctx.get(beats.ready), "the dispatcher asked for more than it can hold"
                self.waiting.pop(0)
            if ctx.get(request.valid) and ctx.get(request.ready):
                asked = ctx.get(request.payload)
                assert asked.address == BASE + self.requested
                self.requested += asked.bytes
                assert self.requested <= self.window
                assert len(self.waiting) * bus + asked.bytes <= FETCH_BUFFER * self.size
                self.waiting += [asked.address + i for i in range(0, asked.bytes, bus)]
            await ctx.tick()

    async def sinks(self, ctx):
        dut = self.dut
        while not self.over:
            for queue in Queue:
                ctx.set(dut.o[queue].ready, self.now())
            for queue in Queue:
                if ctx.get(dut.o[queue].valid) and ctx.get(dut.o[queue].ready):
                    assert ctx.get(dut.dispatched)
                    item = ctx.get(dut.o[queue].payload)
                    self.queues[queue].append((item.index, item.instruction))
            await ctx.tick()

    def dispatched(self) -> list[bytes]:
        """Instructions in the order of their index."""
        items = sorted(item for queue in self.queues.values() for item in queue)
        assert [index for index, _ in items] == list(range(len(items)))
        return [word.to_bytes(self.size, "little") for _, word in items]


@pytest.mark.parametrize("name", CONFIGS)
@pytest.mark.parametrize("seed", [None, 1])
def test_programs_arrive_whole_and_in_order(name: str, seed: int | None) -> None:
    config = CONFIGS[name]
    rng = random.Random(seed)
    program = random_program(config, 30, rng)
    end = Isa(config).encode(Opcode.END, {})
    run = Fetch(config, program + end, seed=seed)
    assert run.ended and run.fault is None
    assert b"".join(run.dispatched()) == program
    for queue, items in run.queues.items():
        assert items == sorted(items)
        for _, word in items:
            opcode, _ = Isa(config).decode(word.to_bytes(run.size, "little"))
            assert QUEUE_OF[opcode] == queue


def test_an_instruction_takes_its_beats_and_three_cycles() -> None:
    config = PRESETS["test-4x4"]
    program = random_program(config, 40, random.Random(0)) + Isa(config).encode(Opcode.END, {})
    run = Fetch(config, program)
    beats = run.size // config.bus_bytes
    assert run.cycles <= 41 * (beats + 3) + 10


def test_what_follows_end_is_not_executed() -> None:
    config = PRESETS["test-4x4"]
    end = Isa(config).encode(Opcode.END, {})
    run = Fetch(config, end + b"\xff" * 48 * 20)
    assert run.ended and not run.dispatched()


@pytest.mark.parametrize("cut", [0, 1, 47])
def test_a_program_without_end_runs_out_of_its_window(cut: int) -> None:
    config = PRESETS["test-4x4"]
    program = random_program(config, 5, random.Random(1))
    run = Fetch(config, program, bytes_open=5 * 48 + cut, seed=1, drained_after=1000)
    assert run.fault == (Fault.PROGRAM_WINDOW, 5, 5 * 48)
    assert b"".join(run.dispatched()) == program


def test_a_program_may_fill_its_window() -> None:
    """END is the last that fits, and its beats are waited for."""
    config = PRESETS["test-4x4"]
    run = Fetch(config, Isa(config).encode(Opcode.END, {}))
    assert run.ended and run.fault is None


def test_an_empty_window_is_a_fault() -> None:
    run = Fetch(PRESETS["test-4x4"], b"")
    assert run.fault == (Fault.PROGRAM_WINDOW, 0, 0)


def wrong_instructions() -> list[tuple[str, ArrayConfig, bytes]]:
    found = []
    for name, config in CONFIGS.items():
        isa, rng = Isa(config), random.Random(5)
        bits = isa.instruction_bytes * 8
        for opcode, form in isa.formats.items():
            good = int.from_bytes(
                random_instruction(isa, opcode, rng) if opcode in QUEUE_OF
                else isa.encode(opcode, {}), "little")
            for bit in {form.bits, rng.randrange(form.bits, bits)}:
                found.append((f"{name} {opcode.name} bit {bit}", config, good | 1 << bit))
            if opcode in QUEUE_OF:
                for field in form.fields:
                    if field.name in ("wait", "signal"):
                        found.append((f"{name} {opcode.name} own {field.name}", config,
                                      good | 1 << field.lsb + QUEUE_OF[opcode]))
        for unknown in (0, 8, 14):
            found.append((f"{name} opcode {unknown}", config, unknown))
    return [(label, config, word.to_bytes(Isa(config).instruction_bytes, "little"))
            for label, config, word in found if label.startswith("test-4x4")
            or "LOAD bit" in label]


@pytest.mark.parametrize("label, config, word", wrong_instructions(),
                         ids=[label for label, _, _ in wrong_instructions()])
def test_wrong_instructions_are_refused(label: str, config: ArrayConfig, word: bytes) -> None:
    program = random_program(config, 2, random.Random(2))
    run = Fetch(config, program + word + program, drained_after=200)
    assert run.fault == (Fault.ILLEGAL_INSTRUCTION, 2, 0)
    assert b"".join(run.dispatched()) == program


@pytest.mark.parametrize("beat", [3, -1])
def test_every_bit_of_a_beat_can_be_wrong(beat: int) -> None:
    """In the middle of an instruction, and in its last beat, which is looked at last."""
    config, rng = CONFIGS["test-4x4"], random.Random(3)
    isa, width = Isa(config), 8 * config.bus_bytes
    start = beat % (isa.instruction_bytes // config.bus_bytes) * width
    assert start >= isa.formats[Opcode.LOAD_LINEAR].bits, "a beat without fields"
    good = int.from_bytes(random_instruction(isa, Opcode.LOAD_LINEAR, rng), "little")
    for bit in range(start, start + width):
        word = (good | 1 << bit).to_bytes(isa.instruction_bytes, "little")
        assert Fetch(config, word + word).fault == (Fault.ILLEGAL_INSTRUCTION, 0, 0), bit


def test_a_bus_error_is_blamed_on_the_instruction_that_it_hits() -> None:
    config = PRESETS["test-4x4"]
    program = random_program(config, 6, random.Random(3))
    run = Fetch(config, program, bad_address=BASE + 3 * 48 + 20)
    assert run.fault == (Fault.BUS_READ, 3, BASE + 3 * 48)
    assert b"".join(run.dispatched()) == program[:3 * 48]
