"""STORE against the slow machine, and memory to memory through the real scratchpad."""

import random
from collections import deque
from dataclasses import dataclass, field, replace
from functools import partial

import pytest
from amaranth import Module, ResetInserter, Signal
from amaranth.lib import wiring

from hw.rtl.axi_read import ReadMaster
from hw.rtl.axi_write import WriteMaster
from hw.rtl.interfaces import ScratchpadOp
from hw.rtl.load import LoadUnit
from hw.rtl.scratchpad import READ_LATENCY, Scratchpad
from hw.rtl.store import StoreUnit
from hw.spec.config import PRESETS, ArrayConfig
from hw.spec.cycles import unit_cycles
from hw.spec.isa import Isa, Opcode
from hw.spec.regs import Fault
from sim.axi_memory import AxiMemory
from sim.testing import simulate
from tests.hw.feeder import Feeder, Outcome
from tests.sim.program_builder import DEFAULTS
from tests.sim.random_instructions import Fields, random_instruction, surface
from tests.sim.slow_machine import SlowMachine

STORE = Opcode.STORE
#: The window starts where one beat of 16 bytes does not, and ends likewise.
BASE, SIZE = 0x4000_0FC8, 8200
SMALL = PRESETS["test-4x4"]
CONFIGS = {
    "4x4": SMALL, "4x8": PRESETS["test-4x8"], "8x4": PRESETS["test-8x4"],
    "2x2": replace(SMALL, rows=2, columns=2, post_lanes=1, bus_bytes=16),
    "16x16": replace(SMALL, rows=16, columns=16, post_lanes=8, weight_words=512),
}


@dataclass
class Run(Outcome):
    """When STOREs read, and what was written by then."""

    reads: list[int] = field(default_factory=list)
    #: Beats that memory had accepted when an instruction was done.
    beats_at_done: list[int] = field(default_factory=list)


class Bench(wiring.Component):
    """StoreUnit on its bus."""

    def __init__(self, config: ArrayConfig) -> None:
        self.unit = StoreUnit(config)
        self.write = WriteMaster(config.bus_bytes)
        super().__init__({})

    def elaborate(self, platform):
        m = Module()
        m.submodules.unit, m.submodules.write = self.unit, self.write
        wiring.connect(m, self.unit.write, self.write.client)
        return m


def words_of(config: ArrayConfig) -> list[list[int]]:
    rng = random.Random(5)
    return [list(rng.randbytes(config.rows)) for _ in range(config.scratchpad_words)]


def run(config: ArrayConfig, program: list[Fields], *, rng: random.Random | None = None,
        latency: int = 6, errors: tuple[int, ...] = (), size: int = SIZE,
        patience: int = 0) -> Run:
    """Execute; with `rng`, everything stalls at random. Ends like the bench of loads."""
    dut = Bench(config)
    unit = dut.unit
    memory = AxiMemory(config.bus_bytes, base=BASE, size=SIZE, latency=latency, rng=rng,
                       errors=errors)
    memory.content[:] = random.Random(2).randbytes(memory.size)
    result = Run(memory)
    words = words_of(config)

    async def watch(ctx):
        ctx.set(unit.activations_base, BASE)
        ctx.set(unit.activations_bytes, size)
        ready, cycle = 1, 0
        ctx.set(unit.scratchpad.i.ready, 1)
        feeder = Feeder(unit.unit, (int.from_bytes(Isa(config).encode(STORE, f), "little")
                                    for f in program), result, rng, patience)
        answers: deque[list[int] | None] = deque([None] * (READ_LATENCY - 1))
        async for _, _, i_valid, i_ready, valid, p, done, fault, cause, address, busy in \
                ctx.tick().sample(
                    unit.unit.i.valid, unit.unit.i.ready, unit.scratchpad.i.valid,
                    unit.scratchpad.i.payload, unit.unit.done, unit.unit.fault.valid,
                    unit.unit.fault.cause, unit.unit.fault.address, unit.unit.busy):
            taken = bool(i_valid and i_ready)
            feeder.offer(ctx, cycle, taken)
            answers.append(None)
            if valid and ready:
                assert p.op == ScratchpadOp.READ
                answers[-1] = words[p.address]
                result.reads.append(cycle - feeder.start)
            answer = answers.popleft()
            ctx.set(unit.scratchpad.o_valid, answer is not None)
            ctx.set(unit.scratchpad.o_data, answer or [0xEE] * config.rows)
            if done:
                result.beats_at_done.append(len(memory.write_cycles))
            if feeder.ended(cycle, taken, done, busy, (Fault(cause), address) if fault else None):
                return
            ready = 1 if rng is None else int(rng.random() < 0.7)
            ctx.set(unit.scratchpad.i.ready, ready)
            cycle += 1

    simulate(dut, watch, background=[partial(memory.write_port, bus=dut.write.axi)])
    return result


def expected(config: ArrayConfig, program: list[Fields]) -> bytes:
    slow = SlowMachine(config, b"", random.Random(2).randbytes(SIZE))
    slow.scratchpad = words_of(config)
    for f in program:
        slow.execute(STORE, f)
    return bytes(slow.activations)


@pytest.mark.parametrize("name", CONFIGS)
@pytest.mark.parametrize("stall", [False, True])
def test_random_stores_write_what_the_slow_machine_does(name: str, stall: bool) -> None:
    config = CONFIGS[name]
    seed = list(CONFIGS).index(name) * 2 + stall
    rng = random.Random(seed)
    program = [random_instruction(rng, config, STORE, 0, SIZE) for _ in range(20)]
    result = run(config, program, rng=rng if stall else None)
    assert result.fault is None, seed
    assert result.memory.content == expected(config, program), seed
    assert len(result.done) == len(program)


def store(**changes: int) -> Fields:
    return {"wait": 0, "signal": 0} | DEFAULTS[STORE] | changes


def plain(config: ArrayConfig, rows: int, columns: int, planes: int = 1, *, address: int = 0,
          base: int = 0, gap: int = 0) -> Fields:
    """A STORE of whole planes, `gap` bytes between rows."""
    span = columns * config.rows + gap
    return {"wait": 0, "signal": 0, "address": address, "memory_plane_stride": rows * span,
            "memory_row_stride": span, "planes": planes, "rows": rows, "columns": columns,
            **surface("src", base, rows * columns, columns, rows)}


FAULTS = [
    ({"planes": 0}, Fault.ILLEGAL_INSTRUCTION, 0),
    ({"rows": 0}, Fault.ILLEGAL_INSTRUCTION, 0),
    ({"columns": 0}, Fault.ILLEGAL_INSTRUCTION, 0),
    ({"src_ring_words": 0}, Fault.ILLEGAL_INSTRUCTION, 0),
    ({"src_ring_start": 4}, Fault.ILLEGAL_INSTRUCTION, 0),
    ({"src_row_stride": 5}, Fault.ILLEGAL_INSTRUCTION, 0),
    ({"address": 10}, Fault.ALIGNMENT, 10),
    ({"memory_plane_stride": 6}, Fault.ALIGNMENT, 6),
    ({"memory_row_stride": 9, "src_base": 1023}, Fault.ALIGNMENT, 9),
    ({"src_base": 1021}, Fault.ON_CHIP_RANGE, 1024),
    ({"src_base": 1021, "address": 64}, Fault.ON_CHIP_RANGE, 1024),
    ({"src_base": 1021, "rows": 1, "address": 48}, Fault.NONE, 0),
    ({"src_base": 1020, "src_ring_words": 3, "rows": 4}, Fault.NONE, 0),
    ({"src_base": 1021, "src_ring_words": 3, "rows": 4}, Fault.ON_CHIP_RANGE, 1024),
    ({"address": 48}, Fault.NONE, 0),
    ({"address": 52}, Fault.ACTIVATIONS_WINDOW, 64),
    ({"address": 44, "memory_row_stride": 16}, Fault.ACTIVATIONS_WINDOW, 64),
    ({"address": 4, "memory_row_stride": 128}, Fault.ACTIVATIONS_WINDOW, 132),
]


def test_instructions_are_checked_before_any_access() -> None:
    """One after another in one unit: each fault is followed by a reset."""
    reset = Signal()
    dut = Bench(SMALL)
    unit = dut.unit

    async def bench(ctx):
        ctx.set(unit.activations_bytes, 64)
        ctx.set(unit.scratchpad.i.ready, 1)
        for changes, cause, address in FAULTS:
            if cause == Fault.NONE:
                continue
            word = Isa(SMALL).encode(STORE, store(**changes))
            ctx.set(unit.unit.i.payload, int.from_bytes(word, "little"))
            ctx.set(unit.unit.i.valid, 1)
            await ctx.tick().until(unit.unit.i.ready)
            for _ in range(60):
                _, _, *active = await ctx.tick().sample(
                    dut.write.axi.awvalid, unit.scratchpad.i.valid, unit.unit.done,
                    unit.unit.i.ready)
                assert not any(active), changes
            fault = unit.unit.fault
            assert ctx.get(fault.valid), changes
            assert (Fault(ctx.get(fault.cause)), ctx.get(fault.address)) == (cause, address), \
                changes
            ctx.set(unit.unit.i.valid, 0)
            ctx.set(reset, 1)
            await ctx.tick()
            ctx.set(reset, 0)

    simulate(ResetInserter(reset)(dut), bench)


@pytest.mark.parametrize("changes", [case[0] for case in FAULTS if case[1] == Fault.NONE])
def test_what_just_fits_is_done(changes: Fields) -> None:
    result = run(SMALL, [store(**changes)], size=64)
    assert result.fault is None
    assert result.memory.content == expected(SMALL, [store(**changes)])


def test_rows_may_be_read_round_the_ring_more_than_once() -> None:
    f = plain(SMALL, 5, 3) | {"src_ring_words": 7, "src_ring_start": 5, "src_base": 50}
    assert run(SMALL, [f]).memory.content == expected(SMALL, [f])


def test_a_fault_waits_for_the_instructions_before_it() -> None:
    good = [plain(SMALL, 4, 8), plain(SMALL, 1, 3, address=400)]
    result = run(SMALL, [*good, store(rows=0), plain(SMALL, 1, 1, address=800)], latency=40,
                 patience=60)
    assert result.fault == (Fault.ILLEGAL_INSTRUCTION, 0)
    assert result.done_before == len(result.done) == 2
    assert result.memory.content == expected(SMALL, good)


@pytest.mark.parametrize("beat", [0, 31, 32])
def test_bus_errors_are_faults_of_their_instruction(beat: int) -> None:
    result = run(SMALL, [plain(SMALL, 4, 8), plain(SMALL, 4, 8, address=128)],
                 errors=(BASE + 4 * beat,), patience=60)
    assert result.fault == (Fault.BUS_WRITE, 0)
    assert result.done_before == len(result.done) == (beat == 32)


@pytest.mark.parametrize("name", CONFIGS)
def test_done_means_that_all_is_in_memory(name: str) -> None:
    """Every beat was accepted, and its response had the time it takes."""
    config = CONFIGS[name]
    program = [plain(config, 2, 5, address=64 * i, gap=4 * config.rows) for i in range(6)]
    result = run(config, program, latency=30)
    memory = result.memory
    assert result.memory.content == expected(config, program)
    each = len(memory.write_cycles) // 6
    assert result.beats_at_done[0] >= each and result.beats_at_done[-1] == 6 * each
    gaps = [b - a for a, b in zip(result.done, result.done[1:])]
    assert max(gaps) <= max(each, 29), "instructions are under way at the same time"


#: Cycles from acceptance to `done` beyond those of the data and the latency.
OVERHEAD = 40


@pytest.mark.parametrize(("name", "latency"), [*((name, 40) for name in CONFIGS), ("4x4", 2)])
def test_a_plain_store_takes_a_beat_or_a_word_per_cycle(name: str, latency: int) -> None:
    config = CONFIGS[name]
    f = plain(config, 5, 16, 2, gap=config.bus_bytes)
    result = run(config, [f], latency=latency)
    busy = unit_cycles(STORE, f, config)
    assert result.done[0] <= busy + latency + OVERHEAD
    writes = result.memory.write_cycles
    assert writes[-1] - writes[0] + 1 <= busy + 2


@pytest.mark.parametrize("name", CONFIGS)
def test_short_stores_hide_the_latency(name: str) -> None:
    config = CONFIGS[name]
    columns = min(16, max(4, 16 * config.bus_bytes // config.rows))
    program = [plain(config, 2, columns, address=i * 2 * columns * config.rows)
               for i in range(10)]
    result = run(config, program, latency=40)
    busy = sum(unit_cycles(STORE, f, config) for f in program)
    assert result.done[-1] - result.done[0] <= busy


class Copier(wiring.Component):
    """Both units at the real scratchpad."""

    def __init__(self, config: ArrayConfig) -> None:
        self.load, self.store = LoadUnit(config), StoreUnit(config)
        self.read, self.write = ReadMaster(config.bus_bytes), WriteMaster(config.bus_bytes)
        self.scratchpad = Scratchpad(config)
        super().__init__({})

    def elaborate(self, platform):
        m = Module()
        for name in ("load", "store", "read", "write", "scratchpad"):
            m.submodules[name] = getattr(self, name)
        wiring.connect(m, self.load.read, self.read.data)
        wiring.connect(m, self.store.write, self.write.client)
        wiring.connect(m, self.load.scratchpad, self.scratchpad.load)
        wiring.connect(m, self.store.scratchpad, self.scratchpad.store)
        return m


@pytest.mark.parametrize("name", ["4x8", "16x16"])
def test_what_was_loaded_can_be_stored_at_once(name: str) -> None:
    """The STORE starts with the LOAD's `done`, the LOAD over its words with the STORE's."""
    config = CONFIGS[name]
    dut = Copier(config)
    rng = random.Random(9)
    memory = AxiMemory(config.bus_bytes, base=BASE, size=SIZE, rng=rng, latency=4, stall=0.1)
    memory.content[:] = original = rng.randbytes(SIZE)
    half, columns = SIZE // 2 // 16 * 16, 6

    async def bench(ctx):
        for unit in (dut.load, dut.store):
            ctx.set(unit.activations_base, BASE)
            ctx.set(unit.activations_bytes, SIZE)
        for i in range(5):
            for unit, opcode, address in ((dut.load, Opcode.LOAD, 0), (dut.store, STORE, half)):
                f = plain(config, 2, columns, address=address + i * 2 * columns * config.rows,
                          gap=0)
                if opcode == Opcode.LOAD:
                    f = {name.replace("src_", "dst_"): value for name, value in f.items()} | {
                        "window": 1, "word_step": config.rows, "lane_first": 0, "head": 0,
                        "lane_count": config.rows, "row_bytes": columns * config.rows, "fill": 0}
                ctx.set(unit.unit.i.payload,
                        int.from_bytes(Isa(config).encode(opcode, f), "little"))
                ctx.set(unit.unit.i.valid, 1)
                await ctx.tick().until(unit.unit.i.ready)
                ctx.set(unit.unit.i.valid, 0)
                await ctx.tick().until(unit.unit.done)

    simulate(dut, bench, background=[partial(memory.read_port, bus=dut.read.axi),
                                     partial(memory.write_port, bus=dut.write.axi)])
    copied = 5 * 2 * columns * config.rows
    assert memory.content[half:half + copied] == original[:copied]
    assert memory.content[:half] == original[:half]
