"""The array as the processor of a small system sees it: registers, weights, accumulators."""

from amaranth import Cat, Module, Mux, ResetInserter, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from hw.rtl.array import Array
from hw.rtl.interfaces import ScratchpadRead
from hw.rtl.layout import instruction_bits
from hw.rtl.mac import MacUnit
from hw.small.bus import Bus
from hw.spec.config import ArrayConfig, bits_for
from hw.spec.isa import LinearTarget
from hw.spec.small import INSTRUCTION_BASE, Register

__all__ = ["MULTIPLIER", "MacPort"]

#: Style of all multipliers: two columns share a DSP block.
MULTIPLIER = "dual"


class MacPort(wiring.Component):
    """The MAC queue's unit and the array, which the processor gives one instruction at a time.

    Timing: writes take a cycle. A MAC that is started in cycle t makes `busy` high from t + 1 on,
    until its sums can be read, or its fault. Reading an accumulator takes five cycles, and begins
    when `busy` is low.

    Members
    -------
    registers : Out(Bus)
        CONTROL, STATUS, FAULT, FAULT_ADDRESS of :class:`hw.spec.small.Register`, and the
        instruction. Words only.
    weights, accumulators : Out(Bus)
        See :class:`hw.spec.small.Region`.
    scratchpad : In(ScratchpadRead)
    busy : Out(1)
        A MAC was started and is not done.
    """

    def __init__(self, config: ArrayConfig) -> None:
        self.config = config
        super().__init__({
            "registers": Out(Bus(bits_for(2 * INSTRUCTION_BASE // 4 - 1))),
            "weights": Out(Bus(bits_for(config.weight_words - 1))),
            "accumulators": Out(Bus(bits_for(config.accumulator_words * config.columns - 1))),
            "scratchpad": In(ScratchpadRead(config)), "busy": Out(1)})

    def elaborate(self, platform):
        m = Module()
        config, registers, accumulators = self.config, self.registers, self.accumulators
        restart = Signal()
        array = Array(config, MULTIPLIER)
        unit = MacUnit(config, latency=array.latency, held=True)
        m.submodules.array = ResetInserter(restart)(array)
        m.submodules.mac = ResetInserter(restart)(unit)
        wiring.connect(m, unit.array, array.i)
        wiring.connect(m, unit.scratchpad, wiring.flipped(self.scratchpad))

        # The instruction: a word at a time.
        writing = registers.valid & registers.strobe.any()
        first = INSTRUCTION_BASE // 4
        instruction = Signal(instruction_bits(config), reset_less=True)
        for word in range(len(instruction) // 32):
            with m.If(writing & (registers.address == first + word)):
                m.d.sync += instruction.word_select(word, 32).eq(registers.written)

        # Start, and what became of it.
        command = Signal(2)
        started = Signal()
        with m.If(writing & (registers.address == Register.CONTROL // 4)):
            m.d.comb += command.eq(registers.written)
        m.d.sync += [
            started.eq(command[0] | (started & ~unit.unit.i.ready & ~restart)),
            restart.eq(command[1]),
        ]
        m.d.comb += [
            unit.unit.i.payload.eq(instruction), unit.unit.i.valid.eq(started),
            self.busy.eq(unit.unit.busy & ~unit.unit.fault.valid),
            registers.ready.eq(registers.valid),
        ]
        with m.If(registers.valid):
            with m.Switch(registers.address):
                with m.Case(Register.STATUS // 4):
                    m.d.comb += registers.read.eq(Cat(self.busy, unit.unit.fault.valid))
                with m.Case(Register.FAULT // 4):
                    m.d.comb += registers.read.eq(unit.unit.fault.cause)
                with m.Case(Register.FAULT_ADDRESS // 4):
                    m.d.comb += registers.read.eq(unit.unit.fault.address)

        # Weights.
        m.d.comb += [
            array.linear.valid.eq(self.weights.valid & self.weights.strobe.any()),
            array.linear.target.eq(LinearTarget.WEIGHTS),
            array.linear.index.eq(self.weights.address),
            array.linear.data.as_value().eq(self.weights.written),
            self.weights.ready.eq(self.weights.valid),
        ]

        # Accumulators: asked for once, when no MAC runs.
        asked = Signal()
        read, column = array.accumulators, bits_for(config.columns - 1)
        m.d.comb += [
            read.i.valid.eq(accumulators.valid & ~asked & ~self.busy),
            read.i.payload.group.eq(accumulators.address[:column]),
            read.i.payload.address.eq(accumulators.address[column:]),
            accumulators.ready.eq(asked & read.o_valid),
            accumulators.read.eq(Mux(accumulators.ready, read.o_data.as_value(), 0)),
        ]
        m.d.sync += asked.eq((asked | (read.i.valid & read.i.ready)) & ~accumulators.ready)
        return m
