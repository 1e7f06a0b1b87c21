"""Instruction queue: between the dispatcher and a unit, and what the unit has not finished."""

from amaranth import Module, Mux, Shape, Signal, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.fifo import SyncFIFO
from amaranth.lib.wiring import In, Out

from hw.rtl.interfaces import FaultReport
from hw.rtl.layout import instruction_bits, instruction_layout
from hw.spec.config import MEMORY_BYTES, ArrayConfig, bits_for
from hw.spec.isa import QUEUE_OF, Isa, Queue
from hw.spec.regs import Fault

__all__ = ["Dispatched", "InstructionQueue", "index_shape"]


def index_shape(config: ArrayConfig) -> Shape:
    """Shape of an instruction's position in the largest program, or just behind it."""
    return unsigned(bits_for(MEMORY_BYTES // Isa(config).instruction_bytes))


class Dispatched(data.StructLayout):
    """An instruction on its way to a queue: ``instruction``, and ``index`` in the program."""

    def __init__(self, config: ArrayConfig) -> None:
        super().__init__({"instruction": instruction_bits(config), "index": index_shape(config)})


class InstructionQueue(wiring.Component):
    """A queue of `queue_depth` instructions, and one that is offered to the unit.

    The first instruction is offered when all tokens of its ``wait`` mask are there, which are then
    taken. Its ``signal`` mask is remembered and given when the unit reports ``done``.

    Timing: an instruction is offered at the earliest two cycles after it entered, in the cycle
    after the one in which its last token is available, and two cycles after the one ahead was
    accepted. An overflow is reported two cycles after it happened.

    Parameters
    ----------
    config : ArrayConfig
    queue : Queue
        Which one; its instructions' formats are derived from it.
    in_flight : int
        Instructions that may be offered or inside the unit, at most.

    Members
    -------
    i : In(stream)
        :class:`Dispatched` instructions.
    o : Out(stream)
        To the unit, as in :class:`hw.rtl.interfaces.Unit`.
    done : In(1)
        The unit finished the oldest instruction.
    unit_fault : In(FaultReport)
        What the unit reports about the oldest instruction.
    available, take, give, overflow
        This queue's part of :class:`hw.rtl.tokens.Tokens`. Nobody else takes what is available.
    waiting : Out(1)
        A token of the first instruction is missing, and none is offered.
    empty : Out(1)
        No instruction is here or inside the unit.
    oldest : Out(index)
        Of the instructions here and inside the unit; 0 if there are none.
    fault : Out(FaultReport)
        The unit's fault or TOKEN_OVERFLOW, of instruction ``oldest``. Stays until reset.
    halt : In(1)
        Offer no further instruction, from the next cycle on.
    """

    def __init__(self, config: ArrayConfig, queue: Queue, *, in_flight: int = 8) -> None:
        self.config = config
        self.queue = queue
        self.in_flight = in_flight
        super().__init__({
            "i": In(stream.Signature(Dispatched(config))),
            "o": Out(stream.Signature(unsigned(instruction_bits(config)))),
            "done": In(1), "unit_fault": In(FaultReport()),
            "available": In(len(Queue)), "take": Out(len(Queue)), "give": Out(len(Queue)),
            "overflow": In(1),
            "waiting": Out(1), "empty": Out(1), "oldest": Out(index_shape(config)),
            "fault": Out(FaultReport()), "halt": In(1)})

    def elaborate(self, platform):
        m = Module()
        # Only the bits that this queue's formats use are stored.
        opcodes = [opcode for opcode, queue in QUEUE_OF.items() if queue == self.queue]
        bits = max(Isa(self.config).formats[opcode].bits for opcode in opcodes)
        stored = data.StructLayout({"instruction": bits, "index": index_shape(self.config)})
        signature = data.StructLayout({"signal": len(Queue), "index": index_shape(self.config)})

        m.submodules.fifo = fifo = SyncFIFO(width=Shape.cast(stored).width,
                                            depth=self.config.queue_depth)
        incoming, first = data.View(stored, fifo.w_data), data.View(stored, fifo.r_data)
        m.d.comb += [
            incoming.instruction.eq(self.i.payload.instruction),
            incoming.index.eq(self.i.payload.index),
            fifo.w_en.eq(self.i.valid),
            self.i.ready.eq(fifo.w_rdy),
        ]

        # Tokens: wait and signal stand at the same bits of every format. The unit is far from the
        # bank: the instruction goes there when its tokens are taken, into a register that is empty
        # since the cycle before, so that no answer of the unit is waited for here.
        fields = Signal(instruction_layout(self.config, opcodes[0]))
        m.d.comb += fields.as_value().eq(first.instruction)
        m.submodules.unfinished = unfinished = SyncFIFO(
            width=Shape.cast(signature).width, depth=self.in_flight)
        entered, oldest = (data.View(signature, port)
                           for port in (unfinished.w_data, unfinished.r_data))
        offer = Signal(bits, reset_less=True)
        offered = Signal()
        halted = Signal()
        m.d.sync += halted.eq(self.halt)
        complete = Signal()
        leaves = Signal()
        m.d.comb += [
            complete.eq((fields.wait & ~self.available) == 0),
            leaves.eq(fifo.r_rdy & complete & ~offered & unfinished.w_rdy & ~halted),
            fifo.r_en.eq(leaves),
            self.waiting.eq(fifo.r_rdy & ~complete & ~offered),
            entered.signal.eq(fields.signal),
            entered.index.eq(first.index),
            unfinished.w_en.eq(leaves),
            unfinished.r_en.eq(self.done),
            self.o.valid.eq(offered & ~halted), self.o.payload.eq(offer),
        ]
        with m.If(leaves):
            m.d.comb += self.take.eq(fields.wait)
            m.d.sync += [offered.eq(1), offer.eq(first.instruction)]
        with m.Elif(self.o.valid & self.o.ready):
            m.d.sync += offered.eq(0)
        with m.If(self.done):
            m.d.comb += self.give.eq(oldest.signal)

        # What is still to be done, and a fault of the oldest. That a token was too many is known
        # late in a cycle, and who gave it then no longer the oldest.
        too_many = Signal()
        overflowed = Signal()
        giver_index = Signal.like(oldest.index)
        overflowed_index = Signal.like(oldest.index)
        m.d.sync += [too_many.eq(self.overflow), giver_index.eq(oldest.index)]
        with m.If(too_many & ~overflowed):
            m.d.sync += [overflowed.eq(1), overflowed_index.eq(giver_index)]
        m.d.comb += [
            self.empty.eq(~fifo.r_rdy & ~unfinished.r_rdy & ~too_many),
            self.fault.valid.eq(self.unit_fault.valid | overflowed),
            self.fault.cause.eq(Mux(overflowed, Fault.TOKEN_OVERFLOW, self.unit_fault.cause)),
            self.fault.address.eq(Mux(overflowed, 0, self.unit_fault.address)),
        ]
        with m.If(overflowed):
            m.d.comb += self.oldest.eq(overflowed_index)
        with m.Elif(unfinished.r_rdy):
            m.d.comb += self.oldest.eq(oldest.index)
        with m.Elif(fifo.r_rdy):
            m.d.comb += self.oldest.eq(first.index)
        return m
