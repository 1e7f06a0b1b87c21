"""LOAD's unit between a slow memory and a slow scratchpad, and what the slow machine says."""

import random
from dataclasses import dataclass, field
from functools import partial

from amaranth import Module
from amaranth.lib import wiring

from hw.rtl.axi_read import ReadMaster
from hw.rtl.load import LoadUnit
from hw.spec.config import ArrayConfig
from hw.spec.isa import Isa, LinearTarget, Opcode
from hw.spec.regs import Fault
from sim.axi_memory import AxiMemory
from sim.testing import simulate
from tests.hw.feeder import Feeder, Outcome
from tests.sim.random_instructions import Fields
from tests.sim.slow_machine import SlowMachine

__all__ = ["ACTIVATIONS", "ACTIVATIONS_BASE", "CONSTANTS", "Bench", "Program", "Run",
           "check_content", "expected", "run"]

#: Where the windows are: constants, then activations, at odd places.
CONSTANTS_BASE, CONSTANTS = 0x4000_0F10, 9000
ACTIVATIONS_BASE, ACTIVATIONS = CONSTANTS_BASE + CONSTANTS + 8, 8200
Program = list[tuple[Opcode, Fields]]


@dataclass
class Run(Outcome):
    """What LOADs wrote, and when."""

    words: dict[int, list[int]] = field(default_factory=dict)
    linear: dict[tuple[int, int], list[int]] = field(default_factory=dict)
    writes: list[int] = field(default_factory=list)
    elements: list[int] = field(default_factory=list)
    #: Cycles in which the unit was busy, and said that it does not wait.
    worked: int = 0


class Bench(wiring.Component):
    """LoadUnit on its bus."""

    def __init__(self, config: ArrayConfig) -> None:
        self.unit = LoadUnit(config)
        self.read = ReadMaster(config.bus_bytes)
        super().__init__({})

    def elaborate(self, platform):
        m = Module()
        m.submodules.unit, m.submodules.read = self.unit, self.read
        wiring.connect(m, self.unit.read, self.read.data)
        return m


def run(config: ArrayConfig, program: Program, *, rng: random.Random | None = None,
        latency: int = 6, errors: tuple[int, ...] = (), constants: bytes | None = None,
        sizes: tuple[int, int] = (CONSTANTS, ACTIVATIONS), patience: int = 0,
        lazy: int = 0, pauses: random.Random | None = None) -> Run:
    """Execute; with `rng`, everything stalls at random, with `pauses` the memory alone. Ends with
    the last `done` or a fault, or, with `patience`, so many cycles later. The scratchpad takes
    nothing for `lazy` cycles.
    """
    dut = Bench(config)
    unit = dut.unit
    memory = AxiMemory(config.bus_bytes, base=CONSTANTS_BASE,
                       size=ACTIVATIONS_BASE + ACTIVATIONS - CONSTANTS_BASE, latency=latency,
                       rng=rng or pauses, errors=errors)
    memory.content[:] = random.Random(2).randbytes(memory.size)
    if constants is not None:
        memory.content[:len(constants)] = constants
    result = Run(memory)

    async def watch(ctx):
        for name, value in (("constants_base", CONSTANTS_BASE), ("constants_bytes", sizes[0]),
                            ("activations_base", ACTIVATIONS_BASE),
                            ("activations_bytes", sizes[1])):
            ctx.set(getattr(unit, name), value)
        ready, cycle = 1, 0
        ctx.set(unit.scratchpad.i.ready, 1)
        feeder = Feeder(unit.unit, (int.from_bytes(Isa(config).encode(opcode, f), "little")
                                    for opcode, f in program), result, rng, patience)
        async for _, _, i_valid, i_ready, valid, p, linear, target, index, element, done, fault, \
                cause, address, stall, busy in ctx.tick().sample(
                    unit.unit.i.valid, unit.unit.i.ready, unit.scratchpad.i.valid,
                    unit.scratchpad.i.payload, unit.linear.valid, unit.linear.target,
                    unit.linear.index, unit.linear.data, unit.unit.done, unit.unit.fault.valid,
                    unit.unit.fault.cause, unit.unit.fault.address, unit.unit.stall,
                    unit.unit.busy):
            taken = bool(i_valid and i_ready)
            feeder.offer(ctx, cycle, taken)
            if valid and ready:
                word = result.words.setdefault(p.address, [None] * config.rows)
                result.writes.append(cycle - feeder.start)
                for lane in range(config.rows):
                    if p.mask >> lane & 1:
                        word[lane] = int(p.data[lane])
            if linear:
                result.linear[int(target), index] = [int(b) for b in element]
                result.elements.append(cycle - feeder.start)
            assert busy or not stall
            result.worked += busy and not stall
            if feeder.ended(cycle, taken, done, busy, (Fault(cause), address) if fault else None):
                return
            ready = int(cycle >= lazy and (rng is None or rng.random() < 0.7))
            ctx.set(unit.scratchpad.i.ready, ready)
            cycle += 1

    simulate(dut, watch, background=[partial(memory.read_port, bus=dut.read.axi)])
    return result


def expected(config: ArrayConfig, program: Program, memory: AxiMemory) -> SlowMachine:
    """Execute with the slow machine; what is not written stays None."""
    first = ACTIVATIONS_BASE - CONSTANTS_BASE
    slow = SlowMachine(config, bytes(memory.content[:CONSTANTS]),
                       bytes(memory.content[first:first + ACTIVATIONS]))
    slow.scratchpad = [[None] * config.rows for _ in range(config.scratchpad_words)]
    slow.weights = [None] * config.weight_words
    slow.parameters = [[None] * config.columns for _ in range(config.parameter_entries)]
    slow.tables = [None] * config.table_slots
    slow.add_tables = [[[None] * 256, [None] * 256] for _ in range(config.add_table_slots)]
    for opcode, f in program:
        slow.execute(opcode, f)
    return slow


def check_content(config: ArrayConfig, slow: SlowMachine, result: Run) -> None:
    """Compare what was written, byte by byte."""
    words = {i: [b if b is None else b & 255 for b in word]
             for i, word in enumerate(slow.scratchpad) if word != [None] * config.rows}
    assert result.words == words
    c, flat = config.columns, {}
    for i, word in enumerate(slow.weights):
        if word is not None:
            flat[LinearTarget.WEIGHTS, i] = [b & 255 for b in word]
    for i, entry in enumerate(slow.parameters):
        for column, parameter in enumerate(entry):
            if parameter is not None:
                bias, multiplier, shift = parameter
                flat[LinearTarget.PARAMETERS, i * c + column] = list(
                    bias.to_bytes(4, "little", signed=True)
                    + (multiplier | shift << 24).to_bytes(4, "little"))
    for i, table in enumerate(slow.tables):
        for quad in range(0, 256 if table is not None else 0, 4):
            flat[LinearTarget.TABLE, i * 64 + quad // 4] = [b & 255 for b in table[quad:quad + 4]]
    for i, pair in enumerate(slow.add_tables):
        for j, value in enumerate(pair[0] + pair[1]):
            if value is not None:
                flat[LinearTarget.ADD_TABLES, i * 512 + j] = list(
                    value.to_bytes(4, "little", signed=True))
    assert {key: value[:len(flat.get(key, ()))] for key, value in result.linear.items()} == flat
