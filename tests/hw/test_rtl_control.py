"""Registers, counters and interrupt; and the supervisor's way through a run."""

import random

import pytest

from hw.rtl.control import Control
from hw.rtl.supervisor import Supervisor
from hw.spec.config import PRESETS
from hw.spec.image import INTERFACE_VERSION
from hw.spec.isa import Queue
from hw.spec.regs import REGISTERS, Access, Fault
from sim.testing import RegisterDriver, simulate

CONFIG = PRESETS["test-4x8"]
START, ABORT, CLEAR = 1, 2, 4


def control(bench, seed: int = 0) -> None:
    """Run `bench(ctx, dut, driver)` on a control block."""
    dut = Control(CONFIG)

    async def run(ctx):
        await bench(ctx, dut, RegisterDriver(ctx, dut.bus, random.Random(seed)))

    simulate(dut, run)


def test_core_identifies_itself() -> None:
    async def bench(ctx, dut, driver):
        assert (await driver.read("ID")).to_bytes(4, "little") == b"MACR"
        assert await driver.read("VERSION") == INTERFACE_VERSION
        for index, word in enumerate((*CONFIG.words(), 0)):
            await driver.write("CONFIG", index)
            assert await driver.read("CONFIG_WORD") == word & 0xffffffff
        await driver.write("CONFIG", 1 << 20)
        assert await driver.read("CONFIG_WORD") == 0

    control(bench)


@pytest.mark.parametrize("seed", range(2))
def test_registers_keep_what_was_written_byte_by_byte(seed: int) -> None:
    async def bench(ctx, dut, driver):
        rng = random.Random(seed)
        stored = {n: 0 for n, r in REGISTERS.items() if r.access == Access.READ_WRITE}
        for _ in range(80):
            name = rng.choice(list(REGISTERS))
            if name == "CONTROL":
                continue
            value, strobe = rng.getrandbits(32), rng.choice([15, 15, rng.randrange(16)])
            await driver.write(name, value, strobe)
            mask = sum(0xff << 8 * i for i in range(4) if strobe >> i & 1)
            if name in stored:
                stored[name] = stored[name] & ~mask | value & mask
            name = rng.choice(list(stored))
            assert await driver.read(name) == stored[name]
        for window in ("program", "constants", "activations"):
            assert ctx.get(getattr(dut, window).base) == stored[f"{window.upper()}_BASE"]
            assert ctx.get(getattr(dut, window).size) == stored[f"{window.upper()}_BYTES"]
        assert await driver.read(0xf00) == 0

    control(bench, seed)


def test_windows_cannot_be_written_while_running() -> None:
    async def bench(ctx, dut, driver):
        await driver.write("PROGRAM_BASE", 0x1000)
        ctx.set(dut.running, 1)
        await driver.write("PROGRAM_BASE", 0x2000)
        await driver.write("INTERRUPT_ENABLE", 3)
        assert await driver.read("PROGRAM_BASE") == 0x1000
        assert await driver.read("INTERRUPT_ENABLE") == 3

    control(bench)


def test_commands_last_one_cycle() -> None:
    async def bench(ctx, dut, driver):
        seen = []

        async def watch():
            for _ in range(4):
                seen.append((ctx.get(dut.start), ctx.get(dut.abort), ctx.get(dut.clear)))
                await ctx.tick()
        for value, expected in ((START, (1, 0, 0)), (ABORT, (0, 1, 0)), (CLEAR, (0, 0, 1)),
                                (START | CLEAR, (1, 0, 1))):
            seen.clear()
            bus = dut.bus
            ctx.set(bus.awaddr, REGISTERS["CONTROL"].offset)
            ctx.set(bus.wdata, value)
            ctx.set(bus.wstrb, 15)
            ctx.set(bus.awvalid, 1)
            ctx.set(bus.wvalid, 1)
            ctx.set(bus.bready, 1)
            await ctx.tick()
            ctx.set(bus.awvalid, 0)
            ctx.set(bus.wvalid, 0)
            await watch()
            assert seen == [expected, (0, 0, 0), (0, 0, 0), (0, 0, 0)]
        assert await driver.read("CONTROL") == 0

    control(bench)


def test_a_window_that_is_not_aligned_is_noticed() -> None:
    async def bench(ctx, dut, driver):
        assert not ctx.get(dut.misaligned.valid)
        await driver.write("CONSTANTS_BASE", 0x1004)
        assert ctx.get(dut.misaligned.valid)
        assert ctx.get(dut.misaligned.cause) == Fault.ALIGNMENT
        assert ctx.get(dut.misaligned.address) == 0x1004
        await driver.write("CONSTANTS_BASE", 0x1008)
        assert not ctx.get(dut.misaligned.valid)

    control(bench)


def test_counters_count_while_running_and_then_stand_still() -> None:
    async def bench(ctx, dut, driver):
        rng = random.Random(1)
        expected = dict.fromkeys(
            [f"{q.name}_{k}" for q in Queue for k in ("BUSY", "WAIT", "STALL")], 0)
        completed = 0
        ctx.set(dut.running, 1)
        for _ in range(300):
            for queue in Queue:
                busy, wait, stall, done = (rng.randrange(2) for _ in range(4))
                ctx.set(dut.events[queue], {"busy": busy, "wait": wait, "stall": stall & busy,
                                            "done": done})
                expected[f"{queue.name}_BUSY"] += busy & ~stall
                expected[f"{queue.name}_WAIT"] += wait
                expected[f"{queue.name}_STALL"] += busy & stall
                completed += done
            await ctx.tick()
        for queue in Queue:
            ctx.set(dut.events[queue], {"busy": 0, "wait": 0, "stall": 0, "done": 0})
        ctx.set(dut.finished, 1)
        await ctx.tick()
        ctx.set(dut.finished, 0)
        ctx.set(dut.running, 0)
        await ctx.tick().repeat(5)
        assert await driver.read("CYCLES") == 301
        assert await driver.read("CYCLES_HIGH") == 0
        assert await driver.read("INSTRUCTIONS") == completed + 1
        assert {name: await driver.read(name) for name in expected} == expected
        ctx.set(dut.cleared, 1)
        await ctx.tick()
        ctx.set(dut.cleared, 0)
        for name in ("CYCLES", "INSTRUCTIONS", *expected):
            assert await driver.read(name) == 0

    control(bench)


def test_status_fault_and_interrupt() -> None:
    async def bench(ctx, dut, driver):
        ctx.set(dut.running, 1)
        assert await driver.read("STATUS") == 1
        ctx.set(dut.running, 0)
        ctx.set(dut.done, 1)
        assert await driver.read("STATUS") == 2
        assert not ctx.get(dut.interrupt)
        await driver.write("INTERRUPT_ENABLE", 2)
        await ctx.tick().repeat(2)
        assert not ctx.get(dut.interrupt)
        await driver.write("INTERRUPT_ENABLE", 1)
        await ctx.tick().repeat(2)
        assert ctx.get(dut.interrupt)
        ctx.set(dut.done, 0)
        ctx.set(dut.cause, Fault.BUS_WRITE)
        ctx.set(dut.instruction, 1234)
        ctx.set(dut.address, 0xdeadbeec)
        assert await driver.read("STATUS") == 4
        assert await driver.read("FAULT") == Fault.BUS_WRITE
        assert await driver.read("FAULT_INSTRUCTION") == 1234
        assert await driver.read("FAULT_ADDRESS") == 0xdeadbeec
        assert not ctx.get(dut.interrupt)
        await driver.write("INTERRUPT_ENABLE", 2)
        await ctx.tick().repeat(2)
        assert ctx.get(dut.interrupt)

    control(bench)


# --- Supervisor -----------------------------------------------------------------------------------

DISPATCHER = len(Queue)


def supervisor(bench) -> None:
    """Run `bench(ctx, dut)` on a supervisor whose queues are empty and whose bus is idle."""
    dut = Supervisor(CONFIG)

    async def run(ctx):
        ctx.set(dut.empty, 15)
        ctx.set(dut.bus_idle, 1)
        await bench(ctx, dut)

    simulate(dut, run)


async def pulse(ctx, signal) -> None:
    ctx.set(signal, 1)
    await ctx.tick()
    ctx.set(signal, 0)


def everywhere(ctx, parts) -> bool:
    """What all parts are told, which is the same."""
    told = set(f"{ctx.get(parts.as_value()):0{len(parts.as_value())}b}")
    assert len(told) == 1
    return told == {"1"}


def report(ctx, dut, source: int, cause: Fault, index: int, address: int = 0) -> None:
    ctx.set(dut.faults[source].valid, 1)
    ctx.set(dut.faults[source].cause, cause)
    ctx.set(dut.faults[source].address, address)
    ctx.set(dut.indices[source], index)


async def fault(ctx, dut) -> tuple[int, int, int]:
    """Wait until the run is over; its fault."""
    await ctx.tick().until(~dut.running)
    return ctx.get(dut.cause), ctx.get(dut.instruction), ctx.get(dut.address)


def test_a_run_ends_when_all_is_empty_and_the_bus_idle() -> None:
    async def bench(ctx, dut):
        assert everywhere(ctx, dut.reset) and not ctx.get(dut.running)
        ctx.set(dut.start, 1)
        assert ctx.get(dut.started) and ctx.get(dut.cleared)
        await pulse(ctx, dut.start)
        assert ctx.get(dut.running) and not everywhere(ctx, dut.reset)
        ctx.set(dut.empty, 7)
        ctx.set(dut.bus_idle, 0)
        ctx.set(dut.ended, 1)
        await ctx.tick().repeat(10)
        assert ctx.get(dut.running)
        ctx.set(dut.empty, 15)
        await ctx.tick().repeat(10)
        assert ctx.get(dut.running) and not ctx.get(dut.done)
        assert everywhere(ctx, dut.halt)
        ctx.set(dut.bus_idle, 1)
        assert not ctx.get(dut.finished)
        await ctx.tick()
        assert ctx.get(dut.finished)
        await ctx.tick()
        assert not ctx.get(dut.running) and ctx.get(dut.done) and everywhere(ctx, dut.reset)
        assert ctx.get(dut.cause) == Fault.NONE
        await pulse(ctx, dut.clear)
        assert not ctx.get(dut.done)

    supervisor(bench)


def test_start_and_clear_do_nothing_while_running() -> None:
    async def bench(ctx, dut):
        await pulse(ctx, dut.start)
        for command in (dut.start, dut.clear):
            ctx.set(command, 1)
            assert not ctx.get(dut.started) and not ctx.get(dut.cleared)
            await pulse(ctx, command)
            assert ctx.get(dut.running)

    supervisor(bench)


def test_abort_while_idle_does_nothing() -> None:
    async def bench(ctx, dut):
        await pulse(ctx, dut.abort)
        await ctx.tick().repeat(20)
        assert not ctx.get(dut.running) and ctx.get(dut.cause) == Fault.NONE

    supervisor(bench)


def test_the_earliest_of_simultaneous_faults_counts_and_the_bus_is_waited_for() -> None:
    async def bench(ctx, dut):
        await pulse(ctx, dut.start)
        ctx.set(dut.bus_idle, 0)
        report(ctx, dut, Queue.LOAD, Fault.CONSTANTS_WINDOW, 30, 0x30)
        report(ctx, dut, Queue.POST, Fault.ON_CHIP_RANGE, 20, 0x20)
        report(ctx, dut, Queue.STORE, Fault.BUS_WRITE, 25, 0x25)
        await ctx.tick()
        report(ctx, dut, Queue.MAC, Fault.ALIGNMENT, 1)
        await ctx.tick()
        assert everywhere(ctx, dut.halt) and not everywhere(ctx, dut.reset)
        await ctx.tick().repeat(12)
        assert ctx.get(dut.cause) == Fault.ON_CHIP_RANGE
        await ctx.tick().repeat(50)
        assert ctx.get(dut.running) and not everywhere(ctx, dut.reset)
        ctx.set(dut.bus_idle, 1)
        assert await fault(ctx, dut) == (Fault.ON_CHIP_RANGE, 20, 0x20)
        assert everywhere(ctx, dut.reset) and not ctx.get(dut.done)

    supervisor(bench)


def test_abort_blames_the_earliest_instruction_that_is_not_done() -> None:
    async def bench(ctx, dut):
        for empty, expected in ((0b0101, 8), (0b1101, 9), (0b1111, 10)):
            for source, index in enumerate((5, 9, 7, 8, 10)):
                ctx.set(dut.indices[source], index)
            ctx.set(dut.empty, empty)
            await pulse(ctx, dut.start)
            await ctx.tick().repeat(5)
            await pulse(ctx, dut.abort)
            assert await fault(ctx, dut) == (Fault.ABORTED, expected, 0)

    supervisor(bench)


def test_the_dispatchers_fault_counts() -> None:
    async def bench(ctx, dut):
        await pulse(ctx, dut.start)
        report(ctx, dut, DISPATCHER, Fault.PROGRAM_WINDOW, 3, 0x90)
        assert await fault(ctx, dut) == (Fault.PROGRAM_WINDOW, 3, 0x90)

    supervisor(bench)


def test_watchdog_strikes_after_so_many_quiet_cycles() -> None:
    async def bench(ctx, dut):
        ctx.set(dut.watchdog, 100)
        ctx.set(dut.empty, 0b1011)
        ctx.set(dut.indices[Queue.POST], 42)
        ctx.set(dut.indices[DISPATCHER], 43)
        await pulse(ctx, dut.start)
        for _ in range(3):
            await ctx.tick().repeat(95)
            await pulse(ctx, dut.progress)
        assert not everywhere(ctx, dut.halt)
        quiet = 0
        while not everywhere(ctx, dut.halt):
            await ctx.tick()
            quiet += 1
        assert 100 <= quiet <= 103
        assert await fault(ctx, dut) == (Fault.WATCHDOG, 42, 0)

    supervisor(bench)


def test_a_quiet_end_of_a_run_does_not_strike_the_next_one() -> None:
    """Found by `make formal`: started in its first idle cycle, the core had a watchdog fault."""
    async def bench(ctx, dut):
        ctx.set(dut.watchdog, 12)
        await pulse(ctx, dut.start)
        ctx.set(dut.ended, 1)
        ctx.set(dut.bus_idle, 0)
        await ctx.tick().repeat(10)
        ctx.set(dut.bus_idle, 1)
        await ctx.tick().repeat(2)
        assert ctx.get(dut.done)
        ctx.set(dut.ended, 0)
        await pulse(ctx, dut.start)
        ctx.set(dut.progress, 1)
        await ctx.tick().repeat(4)
        assert ctx.get(dut.running) and not everywhere(ctx, dut.halt)

    supervisor(bench)


def test_watchdog_of_zero_cycles_never_strikes() -> None:
    async def bench(ctx, dut):
        await pulse(ctx, dut.start)
        await ctx.tick().repeat(3000)
        assert ctx.get(dut.running) and not everywhere(ctx, dut.halt)

    supervisor(bench)


def test_a_misaligned_window_refuses_the_start() -> None:
    async def bench(ctx, dut):
        ctx.set(dut.misaligned.valid, 1)
        ctx.set(dut.misaligned.cause, Fault.ALIGNMENT)
        ctx.set(dut.misaligned.address, 0x1002)
        await pulse(ctx, dut.start)
        assert not ctx.get(dut.running)
        assert (ctx.get(dut.cause), ctx.get(dut.address)) == (Fault.ALIGNMENT, 0x1002)

    supervisor(bench)
