# amaranth: UnusedElaboratable=no
"""The AXI masters against a memory that stalls, reorders nothing, and checks the protocol."""

import random
from collections.abc import Iterator
from functools import partial

import pytest
from amaranth.lib import wiring

from hw.rtl.axi import AxiLite, AxiRead
from hw.rtl.axi_burst import BurstSplitter
from hw.rtl.axi_read import ReadMaster
from hw.rtl.axi_write import WriteMaster
from sim.axi_memory import AxiMemory
from sim.testing import receive, send, simulate

BASE, SIZE = 0x8000_0F00, 3 * 4096


def request(address: int, size: int, last: int = 0) -> dict[str, int]:
    return {"address": address, "bytes": size, "last": last}


def random_requests(rng: random.Random, count: int) -> list[dict[str, int]]:
    sizes = (1, 2, 3, 5, 16, 17, 64, 65, 300)
    requests = []
    for _ in range(count):
        size = rng.choice(sizes)
        requests.append(request(BASE + rng.randint(0, SIZE - size), size, rng.randrange(2)))
    return requests


def filled(bus_bytes: int, **options: object) -> AxiMemory:
    memory = AxiMemory(bus_bytes, size=SIZE, base=BASE, **options)
    memory.content[:] = random.Random(1).randbytes(SIZE)
    return memory


def content(memory: AxiMemory, r: dict[str, int]) -> bytes:
    return bytes(memory.content[r["address"] - BASE:][:r["bytes"]])


async def take(ctx, beats, requests, *, rng=None) -> Iterator[tuple[bytes, list[int]]]:
    """Gather the beats of `requests`; return bytes and errors of each."""
    results = []
    for r in requests:
        gathered, errors = b"", []
        while True:
            beat, = await receive(ctx, beats, 1, rng=rng)
            raw = bytes(int(b) for b in beat.data)
            gathered += raw[beat.start:beat.start + beat.bytes]
            errors.append(int(beat.error))
            assert beat.start + beat.bytes <= len(raw)
            if beat.ends:
                break
            assert not beat.last
        assert beat.last == r["last"]
        results.append((gathered, errors))
    return results


@pytest.mark.parametrize("bus_bytes", [4, 8, 16])
@pytest.mark.parametrize("burst_beats", [1, 16, 64])
def test_reads_of_two_clients_bring_their_bytes(bus_bytes: int, burst_beats: int) -> None:
    rng = random.Random(bus_bytes * 100 + burst_beats)
    memory = filled(bus_bytes, latency=5, rng=rng)
    dut = ReadMaster(bus_bytes, burst_beats=burst_beats)
    wanted = {"fetch": random_requests(rng, 8), "data": random_requests(rng, 12)}
    got = {}

    async def ask(ctx, name):
        await send(ctx, getattr(dut, name).request, wanted[name], rng=rng)

    async def collect(ctx, name):
        got[name] = await take(ctx, getattr(dut, name).beats, wanted[name], rng=rng)

    simulate(dut, *(partial(task, name=name) for task in (ask, collect) for name in wanted),
             background=[partial(memory.read_port, bus=dut.axi)])
    for name, requests in wanted.items():
        for r, (gathered, errors) in zip(requests, got[name]):
            assert gathered == content(memory, r), (name, r)
            assert not any(errors)
    beats = sum((r["address"] % bus_bytes + r["bytes"] - 1) // bus_bytes + 1
                for requests in wanted.values() for r in requests)
    assert sum(n for _, n in memory.reads) == beats
    if burst_beats > 1:
        assert memory.most_reads >= 4


def test_bursts_end_at_boundaries() -> None:
    memory = filled(4)
    dut = ReadMaster(4, burst_beats=64)
    wanted = [request(0x8000_0FF2, 0x130)]

    async def bench(ctx):
        await send(ctx, dut.data.request, wanted)
        (gathered, _), = await take(ctx, dut.data.beats, wanted)
        assert gathered == content(memory, wanted[0])
        assert ctx.get(dut.idle)

    simulate(dut, bench, background=[partial(memory.read_port, bus=dut.axi)])
    assert memory.reads == [(0x8000_0FF0, 4), (0x8000_1000, 64), (0x8000_1100, 9)]


def test_read_errors_stay_with_their_beat() -> None:
    memory = filled(4, errors={BASE + 8})
    dut = ReadMaster(4)
    wanted = [request(BASE, 8), request(BASE, 16), request(BASE + 12, 4)]

    async def bench(ctx):
        await send(ctx, dut.data.request, wanted)
        results = await take(ctx, dut.data.beats, wanted)
        assert [errors for _, errors in results] == [[0, 0], [0, 0, 1, 0], [0]]

    simulate(dut, bench, background=[partial(memory.read_port, bus=dut.axi)])


def test_reads_never_wait_for_a_lazy_client() -> None:
    """What was asked for has room: R is always taken, and no more is asked for than fits."""
    memory = filled(4)
    dut = ReadMaster(4, burst_beats=16, beats=40)

    async def bench(ctx):
        await send(ctx, dut.data.request, [request(BASE, 400)])
        for _ in range(100):
            _, _, rvalid, rready = await ctx.tick().sample(dut.axi.rvalid, dut.axi.rready)
            assert rready
        assert len(memory.read_cycles) == 32
        assert ctx.get(dut.idle)
        (gathered, _), = await take(ctx, dut.data.beats, [request(BASE, 400)])
        assert gathered == content(memory, request(BASE, 400))

    simulate(dut, bench, background=[partial(memory.read_port, bus=dut.axi)])


def test_halt_starts_no_read_and_finishes_those_begun() -> None:
    memory = filled(4, latency=20)
    dut = ReadMaster(4)

    async def bench(ctx):
        await send(ctx, dut.data.request, [request(BASE, 1000)])
        await ctx.tick().until(dut.axi.arvalid & dut.axi.arready)
        ctx.set(dut.halt, 1)
        await ctx.tick()
        assert not ctx.get(dut.idle)
        await ctx.tick().until(dut.idle)
        begun = len(memory.reads)
        assert 1 <= begun <= 2
        assert len(memory.read_cycles) == sum(n for _, n in memory.reads)
        await ctx.tick().repeat(30)
        assert len(memory.reads) == begun

    simulate(dut, bench, background=[partial(memory.read_port, bus=dut.axi)])


@pytest.mark.parametrize("latency", [2, 40])
def test_reads_take_a_beat_per_cycle(latency: int) -> None:
    """Long runs, and short ones where several fit into the latency."""
    for size, count in ((2048, 1), (64, 20), (32, 20)):
        memory = filled(4, latency=latency)
        dut = ReadMaster(4)

        async def bench(ctx, dut=dut, size=size, count=count):
            wanted = [request(0x8000_1000 + i * size, size) for i in range(count)]
            await send(ctx, dut.data.request, wanted)

        async def collect(ctx, dut=dut, size=size, count=count):
            await receive(ctx, dut.data.beats, size * count // 4)

        simulate(dut, bench, collect, background=[partial(memory.read_port, bus=dut.axi)])
        first, last = memory.read_cycles[0], memory.read_cycles[-1]
        assert last - first + 1 == size * count // 4, (size, count)


def beats_of(rng: random.Random, r: dict[str, int], bus_bytes: int) -> tuple[list, bytes]:
    """Random data for a request, as beats with strobes and as bytes."""
    raw = rng.randbytes(r["bytes"])
    start = r["address"] % bus_bytes
    stop = start + r["bytes"]
    beats = []
    for at in range(0, stop, bus_bytes):
        inside = [start <= at + i < stop for i in range(bus_bytes)]
        beats.append({"data": [raw[at + i - start] if here else 0xEE
                               for i, here in enumerate(inside)],
                      "strobe": sum(here << i for i, here in enumerate(inside))})
    return beats, raw


@pytest.mark.parametrize("bus_bytes", [4, 8, 16])
@pytest.mark.parametrize("burst_beats", [1, 16])
def test_writes_bring_their_bytes(bus_bytes: int, burst_beats: int) -> None:
    rng = random.Random(bus_bytes * 100 + burst_beats)
    memory = filled(bus_bytes, latency=9, rng=rng)
    dut = WriteMaster(bus_bytes, burst_beats=burst_beats)
    wanted = random_requests(rng, 15)
    expected, beats, finished = bytearray(memory.content), [], []
    snapshots = []
    for r in wanted:
        some, raw = beats_of(rng, r, bus_bytes)
        beats += some
        expected[r["address"] - BASE:r["address"] - BASE + r["bytes"]] = raw
        snapshots.append((r, raw))

    async def ask(ctx):
        await send(ctx, dut.client.request, wanted, rng=rng)

    async def feed(ctx):
        await send(ctx, dut.client.beats, beats, rng=rng)

    async def watch(ctx):
        while len(finished) < len(wanted):
            _, _, done, last, error = await ctx.tick().sample(
                dut.client.done, dut.client.last, dut.client.error)
            if done:
                finished.append(last)
                assert not error
        assert ctx.get(dut.idle)

    simulate(dut, ask, feed, watch, background=[partial(memory.write_port, bus=dut.axi)])
    assert memory.content == expected
    assert finished == [r["last"] for r in wanted]


def test_a_write_is_done_when_its_response_arrived() -> None:
    memory = filled(4, latency=30, errors={BASE + 12})
    dut = WriteMaster(4, burst_beats=16)
    wanted = [request(BASE, 8, 1), request(BASE, 128), request(BASE, 4, 1)]

    async def bench(ctx):
        await send(ctx, dut.client.request, wanted)

    async def feed(ctx):
        for r in wanted:
            await send(ctx, dut.client.beats, beats_of(random.Random(1), r, 4)[0])

    seen = []

    async def watch(ctx):
        cycle = 0
        while len(seen) < 3:
            _, _, done, last, error = await ctx.tick().sample(
                dut.client.done, dut.client.last, dut.client.error)
            cycle += 1
            if done:
                seen.append((last, error))
                beats = {1: 2, 2: 34, 3: 35}[len(seen)]
                assert len(memory.write_cycles) >= beats
                assert cycle - memory.write_cycles[beats - 1] >= 30

    simulate(dut, bench, feed, watch, background=[partial(memory.write_port, bus=dut.axi)])
    assert seen == [(1, 0), (0, 1), (1, 0)]


def test_no_write_starts_before_its_beats_or_during_halt() -> None:
    memory = filled(4)
    dut = WriteMaster(4, burst_beats=16)
    beats, _ = beats_of(random.Random(1), request(BASE, 128), 4)

    async def bench(ctx):
        await send(ctx, dut.client.request, [request(BASE, 128)])
        await send(ctx, dut.client.beats, beats[:15])
        await ctx.tick().repeat(20)
        assert not memory.writes
        assert ctx.get(dut.idle)
        await send(ctx, dut.client.beats, beats[15:])
        ctx.set(dut.halt, 1)
        await ctx.tick().repeat(5)
        await ctx.tick().until(dut.idle)
        assert len(memory.writes) == 1
        await ctx.tick().repeat(50)
        assert len(memory.writes) == 1 and len(memory.write_cycles) == 16
        ctx.set(dut.halt, 0)
        await ctx.tick().until(dut.client.done)

    simulate(dut, bench, background=[partial(memory.write_port, bus=dut.axi)])
    assert memory.content[:128] == b"".join(bytes(b["data"]) for b in beats)


@pytest.mark.parametrize("latency", [2, 40])
def test_writes_take_a_beat_per_cycle(latency: int) -> None:
    for size, count in ((2048, 1), (64, 20), (32, 20)):
        memory = filled(4, latency=latency)
        dut = WriteMaster(4)
        wanted = [request(0x8000_1000 + i * size, size) for i in range(count)]

        async def ask(ctx, dut=dut, wanted=wanted):
            await send(ctx, dut.client.request, wanted)

        async def feed(ctx, dut=dut, wanted=wanted):
            rng = random.Random(1)
            await send(ctx, dut.client.beats, [b for r in wanted for b in beats_of(rng, r, 4)[0]])

        simulate(dut, ask, feed, background=[partial(memory.write_port, bus=dut.axi)])
        first, last = memory.write_cycles[0], memory.write_cycles[-1]
        assert last - first + 1 == len(memory.write_cycles), (size, count)


def test_parameters_are_checked() -> None:
    with pytest.raises(ValueError, match="bus_bytes must be 4, 8 or 16, not 2"):
        AxiRead(2)
    with pytest.raises(ValueError, match="burst_beats must be a power of two in 1..64, not 48"):
        BurstSplitter(4, 48)
    with pytest.raises(ValueError, match="beats must be at least burst_beats = 16, not 8"):
        ReadMaster(4, beats=8)
    with pytest.raises(ValueError, match="beats must be at least two bursts of 16, not 31"):
        WriteMaster(4, beats=31)


def test_signals_have_the_names_of_the_standard() -> None:
    assert set(wiring.Signature(AxiLite(6).members).members) == {
        f"{channel}{name}" for channel, names in {
            "aw": ("valid", "ready", "addr", "prot"), "w": ("valid", "ready", "data", "strb"),
            "b": ("valid", "ready", "resp"), "ar": ("valid", "ready", "addr", "prot"),
            "r": ("valid", "ready", "data", "resp")}.items() for name in names}
