"""MAC unit and array with random memories, as the machine has them."""

from collections import deque
from collections.abc import Callable
from random import Random

from amaranth import Module, ResetInserter, Signal
from amaranth.lib.memory import Memory

from hw.rtl.array import DRAIN_LATENCY, Array, array_latency
from hw.rtl.mac import MacUnit
from hw.rtl.scratchpad import ARRAY_LATENCY
from hw.spec.config import ArrayConfig
from hw.spec.isa import Isa, LinearTarget, Opcode
from hw.spec.regs import Fault
from sim.testing import simulate
from tests.sim.random_instructions import Fields, random_instruction
from tests.sim.slow_machine import SlowMachine

__all__ = ["Bench"]


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
