"""The instruction queue: each instruction once, in order, with its own tokens, without delay."""

from amaranth import Cat, Module, Mux, Signal
from amaranth.hdl import Assert, Assume, Cover
from amaranth.lib import wiring
from amaranth.lib.wiring import In

from hw.formal.fifos import Marked
from hw.formal.probe import Probe
from hw.formal.proof import Proof, implies
from hw.rtl.interfaces import FaultReport
from hw.rtl.layout import instruction_layout
from hw.rtl.queue import Dispatched, InstructionQueue
from hw.spec.config import PRESETS, ArrayConfig
from hw.spec.isa import QUEUE_OF, Isa, Opcode, Queue
from hw.spec.regs import Fault

__all__ = ["PROOFS", "QueueRules"]


class QueueRules(wiring.Component):
    """One instruction, any, is followed from the dispatcher to its last token.

    The unit is any that reports `done` only for what it accepted, and the tokens in `available`
    come and go at will. The dispatcher sends no bits that the queue's formats do not have
    (tests/hw/test_rtl_dispatcher.py).
    """

    def __init__(self, config: ArrayConfig, queue: Queue, *, in_flight: int = 8) -> None:
        self.config, self.queue, self.in_flight = config, queue, in_flight
        super().__init__({
            "offer": In(1), "dispatched": In(Dispatched(config)), "accept": In(1), "done": In(1),
            "available": In(len(Queue)), "overflow": In(1), "halt": In(1), "mark": In(1),
            "unit_fault": In(FaultReport())})

    def elaborate(self, platform):
        m = Module()
        dut = InstructionQueue(self.config, self.queue, in_flight=self.in_flight)
        probe = m.submodules.dut = Probe(dut)
        m.d.comb += [
            dut.i.valid.eq(self.offer), dut.i.payload.eq(self.dispatched),
            dut.o.ready.eq(self.accept), dut.done.eq(self.done), dut.halt.eq(self.halt),
            dut.available.eq(self.available), dut.overflow.eq(self.overflow),
        ]
        wiring.connect(m, wiring.flipped(self.unit_fault), dut.unit_fault)
        bits = max(Isa(self.config).formats[opcode].bits
                   for opcode, queue in QUEUE_OF.items() if queue == self.queue)
        m.d.comb += Assume(self.dispatched.instruction[bits:] == 0)
        entered, accepted = dut.i.valid & dut.i.ready, dut.o.valid & dut.o.ready

        # How many are where.
        depth = self.config.queue_depth
        waiting, inside = Signal(range(depth + 1)), Signal(range(self.in_flight + 1))
        offered, leaves = probe.signal("offered"), probe.signal("leaves")
        halted = Signal()
        m.d.sync += [halted.eq(self.halt), waiting.eq(waiting + entered - leaves),
                     inside.eq(inside + leaves - self.done)]
        m.d.comb += [
            Assume(implies(self.done, inside > offered)),
            Assert(waiting == probe.component("fifo").level),
            Assert(inside == probe.component("unfinished").level),
            Assert(inside >= offered), Assert(probe.signal("halted") == halted),
            Assert(waiting <= depth), Assert(dut.i.ready == (waiting < depth)),
            Assert(inside <= self.in_flight),
            Assert(dut.empty == ((waiting == 0) & (inside == 0) & ~probe.signal("too_many"))),
            Cover(waiting == depth), Cover(inside == self.in_flight),
        ]

        # What leaves has all its tokens and takes just these; others are not held back.
        first = Signal(instruction_layout(self.config, Opcode.STORE))
        m.d.comb += first.as_value().eq(probe.component("fifo").r_data[:-len(dut.oldest)])
        missing = (first.wait & ~self.available) != 0
        m.d.comb += [
            Assert(leaves == ((waiting != 0) & ~missing & ~offered & ~halted
                              & (inside != self.in_flight))),
            Assert(dut.take == (first.wait & leaves.replicate(len(Queue)))),
            Assert(dut.waiting == ((waiting != 0) & missing & ~offered)),
            Assert(dut.o.valid == (offered & ~halted)),
        ]
        left_before, accepted_before = Signal(), Signal()
        m.d.sync += [left_before.eq(leaves), accepted_before.eq(accepted)]
        m.d.comb += [Assert(implies(left_before, offered)),
                     Assert(implies(accepted_before, ~offered))]
        self._follow(m, dut, probe, entered, leaves, accepted)
        return m

    def _follow(self, m, dut, probe, entered, leaves, accepted) -> None:
        """Follow an instruction through the memory and the unit; then the blame."""
        layout = instruction_layout(self.config, Opcode.STORE)
        instruction, index = Signal(layout), Signal.like(dut.oldest)
        mark, on_offer = Signal(), Signal()
        memory = m.submodules.in_memory = Marked(probe, mark, path="fifo")
        unit = m.submodules.in_unit = Marked(probe, memory.leaves, path="unfinished")
        m.d.comb += mark.eq(self.mark & entered & ~memory.inside & ~unit.inside)
        with m.If(mark):
            m.d.sync += [instruction.eq(self.dispatched.instruction),
                         index.eq(self.dispatched.index)]
        with m.If(memory.leaves | accepted):
            m.d.sync += on_offer.eq(memory.leaves)
        bits = len(memory.value) - len(index)
        m.d.comb += [
            Assert(memory.inside + unit.inside <= 1),
            Assert(implies(memory.leaves, leaves)),
            Assert(implies(memory.inside,
                           memory.value == Cat(instruction.as_value()[:bits], index))),
            Assert(instruction.as_value()[bits:] == 0),
            Assert(implies(on_offer, probe.signal("offered") & unit.inside
                           & (unit.ahead == unit.fifo.level - 1))),
            Assert(implies(on_offer, dut.o.payload == instruction.as_value())),
            Assert(implies(unit.inside, unit.value == Cat(instruction.signal, index))),
            Assert(implies(unit.leaves, dut.give == instruction.signal)),
            Assert(implies(~self.done, dut.give == 0)),
            Cover(unit.leaves & (instruction.wait == 5) & (instruction.signal == 3)),
        ]

        # The oldest is blamed: the first whose token overflowed, or else who is first now.
        too_many, overflowed = Signal(), Signal()
        giver, blamed = Signal.like(index), Signal.like(index)
        m.d.sync += [too_many.eq(self.overflow), giver.eq(dut.oldest)]
        with m.If(too_many & ~overflowed):
            m.d.sync += [overflowed.eq(1), blamed.eq(giver)]
        front = Mux(unit.fifo.level != 0, unit.inside & (unit.ahead == 0),
                    memory.inside & (memory.ahead == 0))
        m.d.comb += [
            Assume(implies(self.overflow, dut.give != 0)),
            Assert(implies(~overflowed & front, dut.oldest == index)),
            Assert(probe.signal("too_many") == too_many),
            Assert(implies(too_many & ~overflowed, probe.signal("giver_index") == giver)),
            Assert(probe.signal("overflowed") == overflowed),
            Assert(implies(overflowed, probe.signal("overflowed_index") == blamed)),
            Assert(implies(overflowed, dut.oldest == blamed)),
            Assert(dut.fault.valid == (overflowed | self.unit_fault.valid)),
            Assert(implies(overflowed, dut.fault.cause == Fault.TOKEN_OVERFLOW)),
            Cover(overflowed & (blamed == index) & (index != 0)),
        ]


PROOFS = (
    Proof(name="queue.order", depth=2,
          harness=lambda: QueueRules(PRESETS["test-4x4"], Queue.LOAD),
          claim="an instruction leaves its queue once, in order, unchanged, with all its tokens "
                "in the cycle in which they are there; its signals are given when it is done; the "
                "oldest is blamed (LOAD queue of test-4x4)"),
    Proof(name="queue.order_16", depth=2, fast=False,
          harness=lambda: QueueRules(PRESETS["ulx3s-85f"], Queue.POST),
          claim="likewise, POST queue of ulx3s-85f"),
)
