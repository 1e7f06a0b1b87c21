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
    """A queue of `queue_depth` instructions and its head logic.

    The first instruction is offered to the unit when all tokens of its ``wait`` mask are there;
    they are taken in the cycle in which the unit accepts it. Its ``signal`` mask is remembered and
    given when the unit reports ``done``.

    Timing: an instruction is offered at the earliest two cycles after it entered, and in the cycle
    after the one in which its last token is available; then one instruction per cycle. At most
    :attr:`in_flight` instructions are inside the unit at a time. An overflow is reported two cycles
    after it happened.

    Parameters
    ----------
    config : ArrayConfig
    queue : Queue
        Which one; its instructions' formats are derived from it.
    in_flight : int
        Instructions that the unit may have accepted and not finished.

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
        A token of the first instruction is missing.
    empty : Out(1)
        No instruction waits or is inside the unit.
    oldest : Out(index)
        Of the instructions here and inside the unit; 0 if there are none.
    fault : Out(FaultReport)
        The unit's fault or TOKEN_OVERFLOW, of instruction ``oldest``. Stays until reset.
    halt : In(1)
        Offer no further instruction.
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

        # A register ahead of the memory: instruction and tokens meet without its read time.
        m.submodules.fifo = fifo = SyncFIFO(width=Shape.cast(stored).width,
                                            depth=self.config.queue_depth - 1)
        incoming, behind = data.View(stored, fifo.w_data), data.View(stored, fifo.r_data)
        m.d.comb += [
            incoming.instruction.eq(self.i.payload.instruction),
            incoming.index.eq(self.i.payload.index),
            fifo.w_en.eq(self.i.valid),
            self.i.ready.eq(fifo.w_rdy),
        ]
        head = Signal(stored)
        head_valid = Signal()
        taken = Signal()
        advance = Signal()
        m.d.comb += [
            advance.eq(taken | ~head_valid),
            fifo.r_en.eq(advance),
        ]

        # Tokens: wait and signal stand at the same bits of every format. That all are there is
        # known a cycle later, for the bank is far from the unit. What the first instruction may
        # take in this cycle is not there for the one behind it.
        layout = instruction_layout(self.config, opcodes[0])
        fields, following = data.View(layout, self.o.payload), Signal(layout)
        m.d.comb += following.as_value().eq(behind.instruction)
        complete = Signal()
        with m.If(advance):
            m.d.sync += [
                head.eq(behind), head_valid.eq(fifo.r_rdy),
                complete.eq((following.wait & ~(self.available & ~fields.wait)) == 0)]
        with m.Else():
            m.d.sync += complete.eq((fields.wait & ~self.available) == 0)
        m.submodules.unfinished = unfinished = SyncFIFO(
            width=Shape.cast(signature).width, depth=self.in_flight)
        entered, oldest = (data.View(signature, port)
                           for port in (unfinished.w_data, unfinished.r_data))
        m.d.comb += [
            self.o.payload.eq(head.instruction),
            self.o.valid.eq(head_valid & complete & unfinished.w_rdy & ~self.halt),
            taken.eq(self.o.valid & self.o.ready),
            self.waiting.eq(head_valid & ~complete),
            entered.signal.eq(fields.signal),
            entered.index.eq(head.index),
            unfinished.w_en.eq(taken),
            unfinished.r_en.eq(self.done),
        ]
        with m.If(taken):
            m.d.comb += self.take.eq(fields.wait)
        with m.If(self.done):
            m.d.comb += self.give.eq(oldest.signal)

        # What is still to be done, and a fault of the oldest. That a token was too many is known
        # late in a cycle, and who gave it then no longer the oldest.
        too_many = Signal()
        overflowed = Signal()
        giver_index = Signal.like(head.index)
        overflowed_index = Signal.like(head.index)
        m.d.sync += [too_many.eq(self.overflow), giver_index.eq(oldest.index)]
        with m.If(too_many & ~overflowed):
            m.d.sync += [overflowed.eq(1), overflowed_index.eq(giver_index)]
        m.d.comb += [
            self.empty.eq(~head_valid & ~fifo.r_rdy & ~unfinished.r_rdy & ~too_many),
            self.fault.valid.eq(self.unit_fault.valid | overflowed),
            self.fault.cause.eq(Mux(overflowed, Fault.TOKEN_OVERFLOW, self.unit_fault.cause)),
            self.fault.address.eq(Mux(overflowed, 0, self.unit_fault.address)),
        ]
        with m.If(overflowed):
            m.d.comb += self.oldest.eq(overflowed_index)
        with m.Elif(unfinished.r_rdy):
            m.d.comb += self.oldest.eq(oldest.index)
        with m.Elif(head_valid):
            m.d.comb += self.oldest.eq(head.index)
        with m.Elif(fifo.r_rdy):
            m.d.comb += self.oldest.eq(behind.index)
        return m
