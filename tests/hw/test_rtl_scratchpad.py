"""The scratchpad against a list of words."""

import random
from dataclasses import replace
from functools import partial

import pytest

from hw.rtl.interfaces import ScratchpadOp
from hw.rtl.scratchpad import (
    ARRAY_LATENCY,
    READ_LATENCY,
    WRITE_LATENCY,
    Scratchpad,
)
from hw.spec.config import PRESETS
from hw.spec.resources import scratchpad_parts
from sim.testing import simulate

CONFIG = PRESETS["test-4x4"]
CLIENTS = ("post", "load", "store")
READ, WRITE = ScratchpadOp.READ, ScratchpadOp.WRITE


def request(op: ScratchpadOp, address: int, word: list[int], mask: int = -1) -> dict:
    return {"op": op, "address": address, "data": word, "mask": mask & (1 << len(word)) - 1}


def applied(word: list[int], r: dict) -> list[int]:
    """What a word becomes by a request."""
    if r["op"] == READ:
        return word
    return [new if r["mask"] >> i & 1 else old
            for i, (old, new) in enumerate(zip(word, r["data"]))]


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
        return [request(rng.choice((READ, WRITE)), rng.choice(hot),
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


@pytest.mark.parametrize("op", [WRITE, READ])
def test_one_client_alone_is_not_slowed_down(op: ScratchpadOp) -> None:
    dut = Scratchpad(CONFIG)
    model = Model(dut)
    simulate(dut, partial(push, client=dut.post,
                          requests=[request(op, i, [i] * 4) for i in range(60)]),
             background=[model.watch])
    accepted = model.accepted["post"]
    assert accepted == list(range(accepted[0], accepted[0] + 60))


async def read_array(ctx, mac, address: int) -> list[int]:
    """Read at the array's port, starting in this cycle."""
    ctx.set(mac.address, address)
    await ctx.tick()
    ctx.set(mac.address, 9)
    await ctx.tick().repeat(ARRAY_LATENCY - 1)
    return [int(b) for b in ctx.get(mac.data)]


@pytest.mark.parametrize("wait", [0, WRITE_LATENCY, WRITE_LATENCY + 1])
def test_writes_become_visible_to_the_array_in_time(wait: int) -> None:
    """Not later than promised, and not in what is read before."""
    dut = Scratchpad(CONFIG)

    async def bench(ctx):
        ctx.set(dut.post.i.payload, request(WRITE, 5, [1, 2, 3, 4]))
        ctx.set(dut.post.i.valid, 1)
        assert ctx.get(dut.post.i.ready)
        for _ in range(wait):
            await ctx.tick()
            ctx.set(dut.post.i.valid, 0)
        assert await read_array(ctx, dut.mac, 5) == ([1, 2, 3, 4] if wait else [0] * 4)

    simulate(dut, bench)


def test_the_shared_port_reads_what_was_written_in_the_cycle_before() -> None:
    dut = Scratchpad(CONFIG)
    model = Model(dut)
    requests = [request(op, i % 3, [i] * 4) for i in range(20) for op in (WRITE, READ)]
    simulate(dut, partial(push, client=dut.post, requests=requests), background=[model.watch])
    assert model.answers["post"] == model.expected["post"]
    assert len(model.answers["post"]) == 20


def test_the_array_reads_every_cycle_and_never_waits() -> None:
    dut = Scratchpad(CONFIG)
    words = [[i, i + 1, 255 - i, 7] for i in range(30)]
    got = []

    async def bench(ctx):
        await push(ctx, dut.load, [request(WRITE, i, word) for i, word in enumerate(words)])
        for i in range(30 + ARRAY_LATENCY):
            ctx.set(dut.mac.address, min(i, 29))
            if i >= ARRAY_LATENCY:
                got.append([int(b) for b in ctx.get(dut.mac.data)])
            await ctx.tick()

    async def disturb(ctx):
        await push(ctx, dut.post, [request(WRITE, 100 + i % 3, [i] * 4) for i in range(60)])

    simulate(dut, bench, disturb)
    assert got == words


@pytest.mark.parametrize("name", ["test-4x4", "icebreaker-up5k", "ulx3s-85f"])
def test_every_word_is_in_one_part_only(name: str) -> None:
    """Words on both sides of every border between parts, written and read one after the other."""
    config = PRESETS[name]
    dut = Scratchpad(config)
    model = Model(dut)
    borders = [sum(scratchpad_parts(config.scratchpad_words)[:n]) for n in range(4)]
    words = sorted({w for b in borders for w in (b - 1, b) if 0 <= w < config.scratchpad_words})
    array = []

    async def bench(ctx):
        await push(ctx, dut.load, [request(WRITE, word, [(word + lane) % 251 for lane in range(
            config.rows)]) for word in words])
        await push(ctx, dut.store, [request(READ, word, [0] * config.rows) for word in words])
        for word in words:
            array.append(await read_array(ctx, dut.mac, word))

    simulate(dut, bench, background=[model.watch])
    assert model.answers["store"] == model.expected["store"]
    assert array == [answer for _, answer in model.answers["store"]]
    assert len(array) == len(words)
