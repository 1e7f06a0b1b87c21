"""What runs inside the simulator for sim/tb/axi_bench.py: cocotbext-axi around the core."""

import logging
import pickle
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cocotb
from cocotb.clock import Clock
from cocotb.triggers import ClockCycles, Event
from cocotb.utils import get_sim_time
from cocotbext.axi import AxiBus, AxiLiteBus, AxiLiteMaster, AxiResp, AxiSlave
from cocotbext.axi.sparse_memory import SparseMemory

from hw.spec.regs import REGISTERS
from sim.tb.axi_bench import Episode, Job, Outcome

__all__ = ["run_job"]

_PERIOD_NS = 2
_RESET_CYCLES = 2
#: Cycles between two looks at STATUS.
_POLL_CYCLES = 20
_START = 1


class Memory:
    """What accesses of the core reach: remembers them, and fails as the episode says."""

    def __init__(self, clock: Any, bus_bytes: int) -> None:
        self.clock = clock
        self.bus_bytes = bus_bytes
        self.content = SparseMemory(1 << 32)
        self.begin(Episode())

    def begin(self, episode: Episode) -> None:
        """Answer as `episode` says from now on."""
        self.episode = episode
        self.reads: set[int] = set()
        self.writes: set[int] = set()

    async def read(self, address: int, length: int) -> bytes:
        """A beat is read."""
        self.reads.add(address)
        await self._answer(False, address)
        return bytes(self.content.read(address, length))

    async def write(self, address: int, data: bytes) -> None:
        """Bytes next to each other are written, at most a beat."""
        await self._answer(True, address // self.bus_bytes * self.bus_bytes)
        self.writes.update(range(address, address + len(data)))
        self.content.write(address, data)

    async def _answer(self, write: bool, address: int) -> None:
        silence = self.episode.silence
        if silence is not None and (silence.write, silence.address) == (write, address):
            if silence.cycles is None:
                await Event().wait()
            else:
                await ClockCycles(self.clock, silence.cycles)
        if (write, address) in self.episode.errors:
            raise ValueError("an error was asked for")  # AxiSlave makes SLVERR of it


def pauses(seed: str) -> Iterator[bool]:
    """Mostly go, sometimes mostly stop."""
    rng = random.Random(seed)
    while True:
        chance = rng.choice((0.0, 0.2, 0.5, 0.95))
        for _ in range(rng.randint(1, 50)):
            yield rng.random() < chance


class Bench:
    """The core, a memory and a driver."""

    def __init__(self, dut: Any, job: Job) -> None:
        self.dut, self.job = dut, job
        self.memory = Memory(dut.clk, len(dut.m_axi_wstrb))
        self.slave = AxiSlave(AxiBus.from_prefix(dut, "m_axi"), dut.clk, dut.rst, self.memory)
        self.driver = AxiLiteMaster(AxiLiteBus.from_prefix(dut, "s_axil"), dut.clk, dut.rst)
        read, write = self.slave.read_if, self.slave.write_if
        self._change_errors(read.r_channel, "rresp")
        self._change_errors(write.b_channel, "bresp")
        # as many bursts as sim/tb/memory.cpp takes
        read.ar_channel.queue_occupancy_limit = write.aw_channel.queue_occupancy_limit = 16
        if job.seed is not None:
            for bus in (read, write, self.driver.read_if, self.driver.write_if):
                for name in ("ar", "r", "aw", "w", "b"):
                    if channel := getattr(bus, f"{name}_channel", None):
                        channel.set_pause_generator(pauses(f"{job.seed} {type(bus)} {name}"))

    def _change_errors(self, channel: Any, name: str) -> None:
        """Give errors the response that the episode asks for."""
        send = channel.send

        async def change(transfer: Any) -> None:
            if getattr(transfer, name) != AxiResp.OKAY:
                setattr(transfer, name, self.memory.episode.response)
            await send(transfer)
        channel.send = change

    async def reset(self) -> None:
        """Reset all three."""
        self.dut.rst.value = 1
        await ClockCycles(self.dut.clk, _RESET_CYCLES)
        self.dut.rst.value = 0
        await ClockCycles(self.dut.clk, 2)

    async def write(self, name: str, value: int) -> None:
        """Write a register."""
        await self.driver.write(REGISTERS[name].offset, value.to_bytes(4, "little"))

    async def read(self, name: str) -> int:
        """Read a register."""
        answer = await self.driver.read(REGISTERS[name].offset, 4)
        return int.from_bytes(answer.data, "little")

    async def run(self, episode: Episode) -> Outcome:
        """Go through one episode."""
        self.memory.begin(episode)
        for address, content in episode.memory.items():
            self.memory.content.write(address, content)
        for name, value in episode.registers.items():
            await self.write(name, value)
        before = bool(self.dut.irq.value)
        await self.write("CONTROL", _START)
        start = self._cycle()
        for cycle, name, value in episode.commands:
            await self._wait_until(start + cycle)
            await self.write(name, value)
        if episode.reset_after is not None:
            await self._wait_until(start + episode.reset_after)
            await self.reset()
        while await self.read("STATUS") & 1 and self._cycle() < start + episode.limit_cycles:
            await ClockCycles(self.dut.clk, _POLL_CYCLES)
        return Outcome(
            registers={name: await self.read(name) for name in REGISTERS},
            interrupts=(before, bool(self.dut.irq.value)),
            memory={address: bytes(self.memory.content.read(address, count))
                    for address, count in self.job.areas.items()},
            reads=frozenset(self.memory.reads), writes=frozenset(self.memory.writes))

    def _cycle(self) -> int:
        return int(get_sim_time("ns")) // _PERIOD_NS

    async def _wait_until(self, cycle: int) -> None:
        left = cycle - self._cycle()
        if left > 0:
            await ClockCycles(self.dut.clk, left)


@cocotb.test()
async def run_job(dut: Any) -> None:
    """Run the episodes of the job, and leave their outcomes in its result file."""
    # a line per burst otherwise
    logging.getLogger(f"cocotb.{dut._name}").setLevel(logging.ERROR)
    job: Job = pickle.loads(Path(str(cocotb.plusargs["job"])).read_bytes())
    dut.rst.value = 1
    Clock(dut.clk, _PERIOD_NS, unit="ns", impl="gpi").start()
    bench = Bench(dut, job)
    await bench.reset()
    outcomes = [await bench.run(episode) for episode in job.episodes]
    Path(str(cocotb.plusargs["result"])).write_bytes(pickle.dumps(outcomes))
