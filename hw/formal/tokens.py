"""Tokens: none is lost or invented, and no queue waits for one that is there."""

from amaranth import Module, Signal
from amaranth.hdl import Assert, Assume, Cover
from amaranth.lib import wiring
from amaranth.lib.wiring import In

from hw.formal.probe import Probe, free_inputs
from hw.formal.proof import Proof, implies
from hw.rtl.layout import instruction_layout
from hw.rtl.sequencer import Sequencer
from hw.rtl.supervisor import PARTS
from hw.rtl.tokens import Pairs, Tokens
from hw.spec.config import PRESETS, ArrayConfig
from hw.spec.isa import TOKEN_BITS, Opcode, Queue
from hw.spec.regs import Fault

__all__ = ["PROOFS", "SequencerTokens", "TokenCounts"]

_PAIRS = [(giver, taker) for giver in Queue for taker in Queue if giver != taker]


def _counter(giver: Queue, taker: Queue) -> str:
    return f"from_{giver.name}_to_{taker.name}".lower()


def _some(giver: Queue, taker: Queue) -> str:
    return f"some_{giver.name}_to_{taker.name}".lower()


class TokenCounts(wiring.Component):
    """Banks against numbers of tokens that never wrap.

    Takers take only what is available; givers give as they like.
    """

    take: In(Pairs)
    give: In(Pairs)

    def __init__(self, *widths: int) -> None:
        self.widths = widths
        super().__init__()

    def elaborate(self, platform):
        m = Module()
        for bits in self.widths:
            dut = Tokens(bits=bits)
            probe = m.submodules[f"dut_{bits}"] = Probe(dut)
            most = (1 << bits) - 1
            m.d.comb += [dut.take.eq(self.take), dut.give.eq(self.give)]
            overflows = dict.fromkeys(Queue, 0)
            for giver, taker in _PAIRS:
                held = Signal(bits + 2, name=f"held_{bits}_{_counter(giver, taker)}")
                given, taken = self.give[giver][taker], self.take[taker][giver]
                too_many = given & ~taken & (held == most)
                overflows[giver] |= too_many
                m.d.sync += held.eq(held + given - taken - too_many)
                m.d.comb += [
                    Assume(implies(taken, held != 0)),
                    Assert(held <= most), Assert(probe.signal(_counter(giver, taker)) == held),
                    Assert(dut.available[taker][giver] == (held != 0)),
                ]
            m.d.comb += [Assert(dut.overflow[giver] == overflows[giver]) for giver in Queue]
            m.d.comb += [Assert(dut.available[q][q] == 0) for q in Queue]
            if bits < 4:
                m.d.comb += Cover(dut.overflow[Queue.MAC])
        return m


class SequencerTokens(wiring.Component):
    """The four queues and their bank, as the sequencer connects them.

    Units, dispatcher and supervisor do anything at any time, reset and halt included, except that
    a unit reports `done` only for what it has accepted.
    """

    def __init__(self, config: ArrayConfig) -> None:
        self.config = config
        super().__init__({})

    def elaborate(self, platform):
        m = Module()
        dut = Sequencer(self.config)
        probe = m.submodules.dut = Probe(dut)
        for name in ("control", "supervisor", "dispatcher"):
            probe.cut(name)
        free_inputs(m, dut)
        supervisor = probe.component("supervisor")
        layout = instruction_layout(self.config, Opcode.STORE)
        running = Signal()  # no reset acted on what is compared with the cycle before
        # All parts are in reset, or none (hw.formal.control).
        m.d.comb += Assume(supervisor.reset.as_value() == supervisor.reset.dispatcher.replicate(
            PARTS.size))
        m.d.sync += running.eq(~supervisor.reset.dispatcher)

        counters = {pair: probe.signal(f"tokens.{_counter(*pair)}") for pair in _PAIRS}
        wait, signals, starts = {}, {}, {}
        for q in Queue:
            name, unit = f"{q.name.lower()}_queue", dut.units[q]
            fifo, unfinished = (probe.component(f"{name}.{part}")
                                for part in ("fifo", "unfinished"))
            first = Signal(layout, name=f"{name}_first")
            m.d.comb += first.as_value().eq(fifo.r_data[:-len(unfinished.r_data) + len(Queue)])
            there = 1
            for giver in Queue:
                if giver != q:
                    there &= ~first.wait[giver] | (counters[giver, q] != 0)
            offered, halted, leaves = (probe.signal(f"{name}.{signal}")
                                       for signal in ("offered", "halted", "leaves"))
            room = unfinished.level != unfinished.depth
            starts[q] = leaves
            wait[q] = first.wait
            signals[q] = unfinished.r_data[:len(Queue)]
            m.d.comb += [
                Assume(implies(unit.done, unfinished.level != 0)),
                # The dispatcher refuses instructions that name their own queue.
                Assume(implies(fifo.r_rdy, ~first.wait[q])),
                Assert(implies(running, leaves == (fifo.r_rdy & there & room & ~offered
                                                   & ~halted))),
                Cover(leaves & (first.wait != 0)),
            ]
        for (giver, taker), counter in counters.items():
            given = dut.units[giver].done & signals[giver][taker]
            taken = starts[taker] & wait[taker][giver]
            too_many = given & ~taken & counter.all()
            expected, faulty, overflowed = Signal.like(counter), Signal(), Signal()
            m.d.sync += [expected.eq(counter + given - taken - too_many), faulty.eq(too_many),
                         overflowed.eq(faulty & running)]
            m.d.comb += [
                Assert(implies(taken, counter != 0)),
                Assert(probe.signal(f"tokens.{_some(giver, taker)}") == counter.any()),
                Assert(implies(running, counter == expected)),
                Assert(implies(running & faulty,
                               probe.signal(f"{giver.name.lower()}_queue.too_many"))),
                Assert(implies(running & overflowed, supervisor.faults[giver].valid
                               & (supervisor.faults[giver].cause == Fault.TOKEN_OVERFLOW))),
            ]
        return m


PROOFS = (
    Proof(name="tokens.counts", harness=lambda: TokenCounts(2, TOKEN_BITS),
          claim="each of the twelve counters holds given less taken, never wraps, and reports "
                "every token that it cannot hold; 2 and 16 bits"),
    Proof(name="tokens.sequencer", harness=lambda: SequencerTokens(PRESETS["test-4x4"]),
          claim="as connected in the sequencer: an instruction starts only if all its tokens "
                "are there, and at once if its place is free (no deadlock), takes and gives just "
                "its own, and a token too many becomes the giver's fault"),
)
