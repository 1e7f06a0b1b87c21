"""Token bank and instruction queue: order, masks, overflow, faults."""

import random
from collections import deque

import pytest

from hw.rtl.layout import instruction_layout
from hw.rtl.queue import InstructionQueue
from hw.rtl.tokens import Tokens
from hw.spec.config import PRESETS
from hw.spec.isa import TOKEN_BITS, Isa, Opcode, Queue
from hw.spec.regs import Fault
from sim.testing import simulate

CONFIG = PRESETS["test-4x4"]
ISA = Isa(CONFIG)


def instruction(opcode: Opcode, **values: int) -> int:
    names = [f.name for f in ISA.formats[opcode].fields[1:]]
    return int.from_bytes(ISA.encode(opcode, {n: values.get(n, 0) for n in names}), "little")


@pytest.mark.parametrize("seed", range(3))
def test_tokens_are_counted_for_every_pair(seed: int) -> None:
    rng = random.Random(seed)
    counts = {(a, b): 0 for a in Queue for b in Queue if a != b}  # from, to
    dut = Tokens()

    async def bench(ctx):
        assert dut.bits == TOKEN_BITS
        for step in range(600):
            eager = 0.6 if step // 150 % 2 else 0.3
            give = {pair: rng.random() < eager for pair in counts}
            take = {pair: counts[pair] > 0 and rng.random() < 0.5 for pair in counts}
            for own in Queue:
                shown = sum(1 << q for q in Queue if counts.get((q, own), 0))
                assert ctx.get(dut.available[own]) == shown
                for q in Queue:
                    ctx.set(dut.give[own][q], give.get((own, q), 0))
                    ctx.set(dut.take[own][q], take.get((q, own), 0))
            assert ctx.get(dut.overflow) == 0
            for pair in counts:
                counts[pair] += give[pair] - take[pair]
            await ctx.tick()

    simulate(dut, bench)


def test_a_token_too_many_is_reported_and_not_counted() -> None:
    dut = Tokens(bits=5)
    most = (1 << 5) - 1

    async def bench(ctx):
        ctx.set(dut.give[Queue.MAC][Queue.POST], 1)
        await ctx.tick().repeat(most)
        assert ctx.get(dut.overflow) == 1 << Queue.MAC
        ctx.set(dut.take[Queue.POST][Queue.MAC], 1)
        assert ctx.get(dut.overflow) == 0
        await ctx.tick()
        ctx.set(dut.take[Queue.POST][Queue.MAC], 0)
        assert ctx.get(dut.overflow) == 1 << Queue.MAC
        await ctx.tick()
        ctx.set(dut.give[Queue.MAC][Queue.POST], 0)
        ctx.set(dut.take[Queue.POST][Queue.MAC], 1)
        await ctx.tick().repeat(most)
        assert ctx.get(dut.available[Queue.POST]) == 0

    simulate(dut, bench)


@pytest.mark.parametrize("seed", range(4))
def test_queue_keeps_order_and_gives_tokens_when_done(seed: int) -> None:
    rng = random.Random(seed)
    items = [(instruction(Opcode.STORE, wait=rng.choice([0, 0, 2, 7]),
                          signal=rng.randrange(8), rows=rng.randrange(1, 4096)), 100 + i)
             for i in range(200)]
    fields = instruction_layout(CONFIG, Opcode.STORE)
    dut = InstructionQueue(CONFIG, Queue.STORE, in_flight=3)
    entered, offered, accepted, given, inside = [], [], [], [], deque()

    async def produce(ctx):
        for word, index in items:
            ctx.set(dut.i.payload, {"instruction": word, "index": index})
            ctx.set(dut.i.valid, 1)
            await ctx.tick().until(dut.i.ready)
            entered.append(index)
            ctx.set(dut.i.valid, 0)
            await ctx.tick().repeat(rng.choice([1, 1, 2, 5, 20]))

    async def unit(ctx):
        available, empty = 0, True
        while len(given) < len(items):
            available |= rng.randrange(16) & rng.randrange(16)
            ready = rng.randrange(2)
            done = len(given) < len(accepted) and rng.random() < 0.3
            ctx.set(dut.available, available)
            ctx.set(dut.o.ready, ready)
            ctx.set(dut.done, done)
            if inside:
                assert ctx.get(dut.oldest) == inside[0][1]
            assert not (inside and ctx.get(dut.empty))
            if done:
                assert ctx.get(dut.give) == fields.from_bits(inside[0][0]).signal
                given.append(inside.popleft())
            else:
                assert ctx.get(dut.give) == 0
            # The next one leaves for the unit when its tokens are there, and the unit's place was
            # empty in the cycle before.
            missing = taken = 0
            if empty and len(offered) < len(entered):
                word, index = items[len(offered)]
                wait = fields.from_bits(word).wait
                missing = wait & ~available
                if not missing and len(inside) + done < 3:
                    taken = wait
                    offered.append(index)
                    inside.append((word, index))
            assert ctx.get(dut.take) == taken
            assert ctx.get(dut.waiting) == bool(missing)
            assert ctx.get(dut.o.valid) == (not empty)
            if not empty:
                assert ctx.get(dut.o.payload) == items[len(accepted)][0]
                if ready:
                    accepted.append(items[len(accepted)][1])
            empty = len(accepted) == len(offered)
            await ctx.tick()
            available &= ~taken
        ctx.set(dut.done, 0)
        assert ctx.get(dut.empty)

    simulate(dut, produce, unit)
    assert accepted == [index for _, index in items]


def test_queue_holds_as_many_instructions_as_configured() -> None:
    dut = InstructionQueue(CONFIG, Queue.MAC)

    async def bench(ctx):
        ctx.set(dut.i.payload, {"instruction": instruction(Opcode.MAC, wait=1), "index": 7})
        ctx.set(dut.i.valid, 1)
        held = 0
        for _ in range(20):
            held += ctx.get(dut.i.ready)
            await ctx.tick()
        assert held == CONFIG.queue_depth

    simulate(dut, bench)


def test_queue_waits_while_a_token_is_missing() -> None:
    dut = InstructionQueue(CONFIG, Queue.MAC)

    async def bench(ctx):
        ctx.set(dut.i.payload, {"instruction": instruction(Opcode.MAC, wait=0b101), "index": 7})
        ctx.set(dut.i.valid, 1)
        await ctx.tick()
        ctx.set(dut.i.valid, 0)
        await ctx.tick().repeat(3)
        for available in (0, 1, 4, 10, 5):
            ctx.set(dut.available, available)
            assert not ctx.get(dut.o.valid)
            assert ctx.get(dut.waiting) == (available != 5)
            await ctx.tick()
        assert not ctx.get(dut.waiting)
        assert ctx.get(dut.o.valid)
        ctx.set(dut.halt, 1)
        await ctx.tick()
        assert not ctx.get(dut.o.valid)

    simulate(dut, bench)


def test_queue_blames_the_instruction_whose_token_overflowed() -> None:
    dut = InstructionQueue(CONFIG, Queue.MAC)

    async def bench(ctx):
        ctx.set(dut.o.ready, 1)
        for index in (11, 12):
            ctx.set(dut.i.payload, {"instruction": instruction(Opcode.MAC, signal=1),
                                    "index": index})
            ctx.set(dut.i.valid, 1)
            await ctx.tick()
        ctx.set(dut.i.valid, 0)
        await ctx.tick().repeat(4)
        ctx.set(dut.done, 1)
        ctx.set(dut.overflow, ctx.get(dut.give) == 1)
        await ctx.tick()
        ctx.set(dut.done, 0)
        ctx.set(dut.overflow, 0)
        assert not ctx.get(dut.empty)
        await ctx.tick()
        for _ in range(3):
            assert ctx.get(dut.fault.valid)
            assert ctx.get(dut.fault.cause) == Fault.TOKEN_OVERFLOW
            assert ctx.get(dut.oldest) == 11
            await ctx.tick()

    simulate(dut, bench)
