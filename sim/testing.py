"""Helpers for tests that run components in Amaranth's simulator."""

import random
from collections.abc import Callable, Iterable
from typing import Any

from amaranth.sim import Simulator

from hw.spec.regs import REGISTERS

__all__ = ["AccumulatorModel", "RegisterDriver", "ScratchpadModel", "receive", "send", "simulate"]


def simulate(dut: Any, *testbenches: Callable[[Any], Any], cycles: int = 100_000,
             background: Iterable[Callable[[Any], Any]] = ()) -> None:
    """Run `testbenches` beside `dut` until all are done, with those in `background` meanwhile.

    Raises
    ------
    TimeoutError
        If they are not after `cycles`.
    """
    simulator = Simulator(dut)
    simulator.add_clock(1e-6)

    for testbench in testbenches:
        simulator.add_testbench(testbench)
    for testbench in background:
        simulator.add_testbench(testbench, background=True)
    steps = 0
    while simulator.advance():
        steps += 1
        if steps > 2 * cycles:
            raise TimeoutError(f"{type(dut).__name__} must be done after {cycles} cycles")


async def send(ctx: Any, stream: Any, items: Iterable[Any], *, rng: random.Random | None = None
               ) -> None:
    """Push `items` into an input stream; with `rng`, pause at random before each."""
    for item in items:
        if rng is not None:
            ctx.set(stream.valid, 0)
            await ctx.tick().repeat(rng.randrange(3) + 1)
        ctx.set(stream.payload, item)
        ctx.set(stream.valid, 1)
        await ctx.tick().until(stream.ready)
    ctx.set(stream.valid, 0)


async def receive(ctx: Any, stream: Any, count: int, *, rng: random.Random | None = None
                  ) -> list[Any]:
    """Take `count` items from an output stream; with `rng`, pause at random before each."""
    items = list[Any]()
    while len(items) < count:
        ctx.set(stream.ready, 1 if rng is None else rng.randrange(2))
        _, _, valid, ready, item = await ctx.tick().sample(stream.valid, stream.ready,
                                                           stream.payload)
        if valid and ready:
            items.append(item)
    ctx.set(stream.ready, 0)
    return items


class RegisterDriver:
    """Reads and writes the core's registers over AXI4-Lite, with random pauses.

    Parameters
    ----------
    ctx
        Of the testbench.
    bus
        The slave's :class:`hw.rtl.axi.AxiLite`.
    rng
        Draws the pauses.
    """

    def __init__(self, ctx: Any, bus: Any, rng: random.Random) -> None:
        self.ctx, self.bus, self.rng = ctx, bus, rng

    async def pause(self) -> None:
        for _ in range(self.rng.choice([0, 0, 0, 1, 3])):
            await self.ctx.tick()

    async def write(self, name: str | int, value: int, strobe: int = 15) -> None:
        """Write a register, named or at an offset, and take the response."""
        ctx, bus = self.ctx, self.bus
        offset = name if isinstance(name, int) else REGISTERS[name].offset
        ctx.set(bus.awaddr, offset)
        ctx.set(bus.wdata, value)
        ctx.set(bus.wstrb, strobe)
        late = self.rng.choice(["aw", "w", None])
        ctx.set(bus.awvalid, late != "aw")
        ctx.set(bus.wvalid, late != "w")
        if late:
            await ctx.tick().repeat(2)
            ctx.set(bus.awvalid, 1)
            ctx.set(bus.wvalid, 1)
        _, _, ready = await ctx.tick().sample(bus.awready)
        while not ready:
            _, _, ready = await ctx.tick().sample(bus.awready)
        ctx.set(bus.awvalid, 0)
        ctx.set(bus.wvalid, 0)
        await self.pause()
        ctx.set(bus.bready, 1)
        await ctx.tick().until(bus.bvalid)
        ctx.set(bus.bready, 0)

    async def read(self, name: str | int) -> int:
        """Read a register, named or at an offset."""
        ctx, bus = self.ctx, self.bus
        ctx.set(bus.araddr, name if isinstance(name, int) else REGISTERS[name].offset)
        ctx.set(bus.arvalid, 1)
        await ctx.tick().until(bus.arready)
        ctx.set(bus.arvalid, 0)
        await self.pause()
        ctx.set(bus.rready, 1)
        value, = await ctx.tick().sample(bus.rdata).until(bus.rvalid)
        ctx.set(bus.rready, 0)
        return int(value)


class ScratchpadModel:
    """Serves a scratchpad client.

    Parameters
    ----------
    words : list of list of int
        First contents.
    read_latency, write_latency : int
        Cycles from accepting a READ to its answer; and from accepting a WRITE until others see it.
    rng
        Pauses at random; without, it accepts in every cycle.
    long_pause : int
        Cycles of the pauses that come once in a while.

    Members
    -------
    accepted : list of (int, str, int, list of int)
        Requests: cycle since the simulation started, operation, address, word afterwards.
    """

    def __init__(self, words: list[list[int]], *, read_latency: int, write_latency: int,
                 rng: random.Random | None = None, long_pause: int = 40) -> None:
        self.words = [list(word) for word in words]
        self.read_latency, self.write_latency, self.rng = read_latency, write_latency, rng
        self.long_pause = long_pause
        self.accepted: list[tuple[int, str, int, list[int]]] = []

    def seen_from(self, cycle: int) -> list[list[int]]:
        """Return the contents as a read by another client sees them that starts in `cycle`."""
        words = [list(word) for word in self.words]
        for accepted, _, address, word in self.accepted:
            if accepted + self.write_latency <= cycle:
                words[address] = word
        return words

    async def serve(self, ctx: Any, client: Any) -> None:
        """Testbench for the background."""
        words = [list(word) for word in self.words]
        answers: list[list[int] | None] = [None] * self.read_latency
        cycle = pause = 0
        while True:
            ctx.set(client.i.ready, pause == 0)
            answer = answers.pop(0)
            ctx.set(client.o_valid, answer is not None)
            if answer is not None:
                ctx.set(client.o_data, [v & 0xFF for v in answer])
            _, _, valid, ready, request = await ctx.tick().sample(
                client.i.valid, client.i.ready, client.i.payload)
            answers.append(None)
            if valid and ready:
                old, operation = words[request.address], request.op.name
                new = old
                if operation == "READ":
                    answers[-1] = old
                else:
                    byte = [(v ^ 128) - 128 for v in request.data]
                    new = [(max(b, v) if operation == "MAX" else b) if request.mask >> i & 1 else v
                           for i, (b, v) in enumerate(zip(byte, old))]
                    words[request.address] = new
                self.accepted.append((cycle, operation, int(request.address), new))
            cycle += 1
            if pause:
                pause -= 1
            elif self.rng is not None:
                pause = self.rng.randrange(3) if self.rng.random() < 0.97 else self.long_pause


class AccumulatorModel:
    """Serves reads of accumulators.

    Parameters
    ----------
    words : list of list of int
        int32 of every column, by word.
    lanes, latency : int
        How many columns a group has, and cycles from a request to its answer.
    rng
        Accepts at random; without, in every cycle.
    """

    def __init__(self, words: list[list[int]], *, lanes: int, latency: int,
                 rng: random.Random | None = None) -> None:
        self.words = words
        self.lanes, self.latency, self.rng = lanes, latency, rng

    async def serve(self, ctx: Any, port: Any) -> None:
        """Testbench for the background."""
        answers: list[list[int] | None] = [None] * self.latency
        while True:
            ctx.set(port.i.ready, 1 if self.rng is None else self.rng.randrange(4) > 0)
            answer = answers.pop(0)
            ctx.set(port.o_valid, answer is not None)
            if answer is not None:
                ctx.set(port.o_data, [v & 0xFFFF_FFFF for v in answer])
            _, _, valid, ready, request = await ctx.tick().sample(
                port.i.valid, port.i.ready, port.i.payload)
            taken = None
            if valid and ready:
                first = request.group * self.lanes
                taken = self.words[request.address][first:first + self.lanes]
            answers.append(taken)
