"""The scratchpad against a list of words."""

import random
from dataclasses import replace
from functools import partial

import pytest

from hw.rtl.interfaces import ScratchpadOp
from hw.rtl.scratchpad import (
    PLAIN_WRITE_LATENCY,
    READ_LATENCY,
    WRITE_LATENCY,
    Scratchpad,
)
from hw.spec.config import PRESETS
from sim.testing import simulate

CONFIG = PRESETS["test-4x4"]
CLIENTS = ("post", "load", "store")
READ, WRITE, MAX = ScratchpadOp.READ, ScratchpadOp.WRITE, ScratchpadOp.MAX


def signed(byte: int) -> int:
    return byte - 256 if byte > 127 else byte


def request(op: ScratchpadOp, address: int, word: list[int], mask: int = -1) -> dict:
    return {"op": op, "address": address, "data": word, "mask": mask & (1 << len(word)) - 1}


def applied(word: list[int], r: dict) -> list[int]:
    """What a word becomes by a request."""
    def lane(i: int, old: int, new: int) -> int:
        if r["op"] == READ or not r["mask"] >> i & 1:
            return old
        return new if r["op"] == WRITE or signed(new) > signed(old) else old
    return [lane(i, old, new) for i, (old, new) in enumerate(zip(word, r["data"]))]


class Model:
    """The memory, changed in the order in which requests were accepted."""

    def __init__(self, dut: Scratchpad) -> None:
        self.dut = dut
        self.words = [[0] * dut.config.rows for _ in range(dut.config.scratchpad_words)]
        self.accepted: dict[str, list[int]] = {name: [] for name in CLIENTS}
        #: (cycle, word as accepted writes left it)
        self.expected: dict[str, list[tuple[int, list[int]]]] = {name: [] for name in CLIENTS}
        self.answers: dict[str, list[tuple[int, list[int]]]] = {name: [] for name in CLIENTS}

    async def watch(self, ctx) -> None:
        clients = [getattr(self.dut, name) for name in CLIENTS]
        cycle = 0
        async for _, _, *sampled in ctx.tick().sample(*(
                s for c in clients for s in (c.i.valid, c.i.ready, c.i.payload, c.o_valid,
                                             c.o_data))):
            together = 0
            for index, name in enumerate(CLIENTS):
                valid, ready, p, o_valid, o_data = sampled[5 * index:5 * index + 5]
                if valid and ready:
                    together += 1
                    self.accepted[name].append(cycle)
                    r = {"op": p.op, "mask": p.mask, "data": [int(b) for b in p.data]}
                    self.words[p.address] = applied(self.words[p.address], r)
                    if p.op == READ:
                        self.expected[name].append((cycle + READ_LATENCY, self.words[p.address]))
                if o_valid:
                    self.answers[name].append((cycle, [int(b) for b in o_data]))
            assert together <= 1
            cycle += 1


async def push(ctx, client, requests, gaps=None) -> None:
    for r in requests:
        while gaps and gaps.random() < 0.4:
            await ctx.tick()
        ctx.set(client.i.payload, r)
        ctx.set(client.i.valid, 1)
        await ctx.tick().until(client.i.ready)
        ctx.set(client.i.valid, 0)
    await ctx.tick().repeat(WRITE_LATENCY + READ_LATENCY)


@pytest.mark.parametrize("rows", [2, 4, 16])
@pytest.mark.parametrize("gaps", [False, True])
def test_requests_take_effect_in_the_order_they_were_accepted(rows: int, gaps: bool) -> None:
    rng = random.Random(rows)
    config = replace(CONFIG, rows=rows, post_lanes=1)
    dut = Scratchpad(config)
    model = Model(dut)
    hot = [rng.randrange(config.scratchpad_words) for _ in range(3)]

    def requests() -> list[dict]:
        return [request(rng.choice((READ, WRITE, MAX)), rng.choice(hot),
                        [rng.randrange(256) for _ in range(rows)], rng.getrandbits(rows))
                for _ in range(150)]

    simulate(dut, *(partial(push, client=getattr(dut, name), requests=requests(),
                            gaps=rng if gaps else None) for name in CLIENTS),
             background=[model.watch])
    for name in CLIENTS:
        assert model.answers[name] == model.expected[name], name
        assert len(model.answers[name]) > 20


def test_clients_take_turns() -> None:
    dut = Scratchpad(CONFIG)
    model = Model(dut)
    requests = [request(WRITE, i, [i] * 4) for i in range(20)]
    simulate(dut, *(partial(push, client=getattr(dut, name), requests=requests)
                    for name in CLIENTS), background=[model.watch])
    cycles = sorted(c for cycles in model.accepted.values() for c in cycles)
    assert cycles == list(range(cycles[0], cycles[0] + 60))
    for cycles in model.accepted.values():
        assert [b - a for a, b in zip(cycles, cycles[1:])] == [3] * 19


@pytest.mark.parametrize(("op", "cycles"), [(WRITE, 60), (READ, 60), (MAX, 120)])
def test_one_client_alone_is_not_slowed_down(op: ScratchpadOp, cycles: int) -> None:
    dut = Scratchpad(CONFIG)
    model = Model(dut)
    simulate(dut, partial(push, client=dut.post,
                          requests=[request(op, i, [i] * 4) for i in range(60)]),
             background=[model.watch])
    accepted = model.accepted["post"]
    assert cycles - 3 <= accepted[-1] - accepted[0] + 1 <= cycles


async def read_array(ctx, mac, address: int) -> list[int]:
    """Read at the array's port, starting in this cycle."""
    ctx.set(mac.address, address)
    ctx.set(mac.enable, 1)
    await ctx.tick()
    ctx.set(mac.enable, 0)
    await ctx.tick()
    return [int(b) for b in ctx.get(mac.data)]


@pytest.mark.parametrize(("op", "latency"), [(WRITE, PLAIN_WRITE_LATENCY), (MAX, WRITE_LATENCY)])
@pytest.mark.parametrize("port", ["mac", "store"])
def test_writes_become_visible_in_time(op: ScratchpadOp, latency: int, port: str) -> None:
    """Not later than promised; and at the array's port, not earlier either."""
    for wait in (latency - 1, latency, latency + 1):
        dut = Scratchpad(CONFIG)
        seen = []

        async def bench(ctx, dut=dut, wait=wait, seen=seen):
            ctx.set(dut.post.i.payload, request(op, 5, [1, 2, 3, 4]))
            ctx.set(dut.post.i.valid, 1)
            ctx.set(dut.mac.address, 9)
            if wait:
                await ctx.tick().until(dut.post.i.ready)
                ctx.set(dut.post.i.valid, 0)
                for _ in range(wait - 1):
                    await ctx.tick()
            if port == "mac":
                ctx.set(dut.mac.address, 5)
                ctx.set(dut.mac.enable, 1)
                await ctx.tick()
                ctx.set(dut.post.i.valid, 0)
                ctx.set(dut.mac.enable, 0)
                await ctx.tick()
                seen.append([int(b) for b in ctx.get(dut.mac.data)])
            elif wait >= latency:
                ctx.set(dut.store.i.payload, request(READ, 5, [0] * 4))
                ctx.set(dut.store.i.valid, 1)
                await ctx.tick().until(dut.store.i.ready)
                ctx.set(dut.store.i.valid, 0)
                await ctx.tick().repeat(READ_LATENCY - 1)
                assert ctx.get(dut.store.o_valid)
                seen.append([int(b) for b in ctx.get(dut.store.o_data)])

        simulate(dut, bench)
        if wait >= latency:
            assert seen == [[1, 2, 3, 4]], wait
        elif port == "mac":
            assert seen == [[0] * 4], wait


def test_the_array_reads_every_cycle_and_never_waits() -> None:
    dut = Scratchpad(CONFIG)
    words = [[i, i + 1, 255 - i, 7] for i in range(30)]
    got = []

    async def bench(ctx):
        await push(ctx, dut.load, [request(WRITE, i, word) for i, word in enumerate(words)])
        ctx.set(dut.mac.enable, 1)
        for i in range(32):
            ctx.set(dut.mac.address, min(i, 29))
            if i >= 2:
                got.append([int(b) for b in ctx.get(dut.mac.data)])
            await ctx.tick()

    async def disturb(ctx):
        await push(ctx, dut.post, [request(MAX, 100 + i % 3, [i] * 4) for i in range(60)])

    simulate(dut, bench, disturb)
    assert got == words


def test_max_compares_signed_bytes_of_masked_lanes() -> None:
    dut = Scratchpad(CONFIG)

    async def bench(ctx):
        await push(ctx, dut.load, [request(WRITE, 3, [0x80, 0x7F, 0xFF, 5])])
        await push(ctx, dut.post, [request(MAX, 3, [0x81, 0x80, 0x00, 6], 0b0111)])
        assert await read_array(ctx, dut.mac, 3) == [0x81, 0x7F, 0x00, 5]

    simulate(dut, bench)
