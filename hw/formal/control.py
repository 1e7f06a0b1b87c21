"""What the driver sees: AXI4-Lite, registers, windows that stand still, and how a run ends."""

from amaranth import Cat, Module, Mux, Signal, Value
from amaranth.asserts import AnyConst
from amaranth.hdl import Assert, Assume, Cover
from amaranth.lib import data, wiring

from hw.formal.axi_rules import LiteMaster, assert_held
from hw.formal.probe import Probe, free_inputs
from hw.formal.proof import Proof, implies
from hw.rtl.axi import Response
from hw.rtl.control import GROUP_BITS
from hw.rtl.sequencer import Sequencer
from hw.rtl.supervisor import Supervisor
from hw.spec.config import PRESETS, ArrayConfig
from hw.spec.regs import REGISTERS, Access, Fault

__all__ = ["PROOFS", "RegisterBus", "RunEnd"]

#: Registers that can be written while the core runs.
_ALWAYS = ("CONFIG", "INTERRUPT_ENABLE")


class RegisterBus(wiring.Component):
    """Registers and supervisor, as the sequencer connects them, and any driver.

    Everything that the supervisor listens to does anything at any time.
    """

    def __init__(self, config: ArrayConfig) -> None:
        self.config = config
        super().__init__({})

    def elaborate(self, platform):
        m = Module()
        dut = Sequencer(self.config)
        probe = m.submodules.dut = Probe(dut)
        for name in ("dispatcher", "tokens", "load_queue", "mac_queue", "post_queue",
                     "store_queue"):
            probe.cut(name)
        free_inputs(m, dut, but=("control", "rst"))
        bus = dut.control
        m.submodules.master = LiteMaster(bus)

        # A response each, held until it is taken, and not late.
        assert_held(m, bus.bvalid, bus.bready, bus.bresp)
        assert_held(m, bus.rvalid, bus.rready, bus.rresp, bus.rdata)
        wrote, asked = bus.awvalid & bus.awready, bus.arvalid & bus.arready
        writes, reads = Signal(2), Signal(2)
        written, read = Signal(3), Signal(3)  # so many cycles ago
        m.d.sync += [
            writes.eq(writes + wrote - (bus.bvalid & bus.bready)),
            reads.eq(reads + asked - (bus.rvalid & bus.rready)),
            written.eq(Cat(wrote, written)), read.eq(Cat(asked, read)),
        ]
        m.d.comb += [
            Assert(writes <= 1), Assert(reads <= 1),
            Assert(wrote == (bus.wvalid & bus.wready)),
            Assert(implies(bus.awvalid & bus.wvalid & (writes == 0), wrote)),
            Assert(implies(bus.arvalid & (reads == 0), asked)),
            Assert(implies(written[2], bus.bvalid)), Assert(implies(read[2], bus.rvalid)),
            Assert(implies(bus.bvalid, bus.bresp == Response.OKAY)),
            Assert(implies(bus.rvalid, bus.rresp == Response.OKAY)),
            Cover(bus.bvalid & bus.bready), Cover(bus.rvalid & (bus.rdata == 0x1234_5678)),
            # A request that was not answered is on its way, or its answer is offered.
            Assert(writes == written[0] + written[1] + bus.bvalid),
            Assert(probe.signal("control.under_way") == written[:2]),
            Assert(reads == read[0] + read[1] + bus.rvalid),
            Assert(probe.signal("control.asked") == read[0]),
            Assert(probe.signal("control.chosen") == read[1]),
        ]
        self._contents(m, bus, probe, wrote, asked)
        self._windows(m, dut, probe)
        return m

    def _contents(self, m, bus, probe, wrote, asked) -> None:
        """Reading gives what was written: any register, any strobes."""
        control = probe.component("control")
        name = Signal(len(bus.awaddr) - 2)
        m.d.comb += name.eq(AnyConst(len(name)))
        writable = [r for r in REGISTERS.values() if r.access == Access.READ_WRITE]
        m.d.comb += Assume(Cat(name == r.offset // 4 for r in writable).any())
        always = Cat(name == REGISTERS[n].offset // 4 for n in _ALWAYS).any()
        shadow, before, expected, mine = Signal(32), Signal(32), Signal(32), Signal()
        enabled = Cat(strobe.replicate(8) for strobe in bus.wstrb)
        with m.If(wrote & (bus.awaddr[2:] == name) & (always | ~control.running)):
            m.d.sync += shadow.eq((bus.wdata & enabled) | (shadow & ~enabled))
        with m.If(asked):
            m.d.sync += mine.eq(bus.araddr[2:] == name)
        # The value is that of the cycle after the request.
        m.d.sync += before.eq(shadow)
        with m.If(probe.signal("control.chosen")):
            m.d.sync += expected.eq(before)
        under_way = probe.signal("control.asked") | probe.signal("control.chosen")
        m.d.comb += [
            Assert(implies(bus.rvalid & mine, bus.rdata == expected)),
            Assert(implies(under_way,
                           mine == (probe.signal("control.address")[2:] == name))),
        ]
        for register in writable:
            number = register.offset // 4
            candidate = probe.signal(f"control.group_{number >> GROUP_BITS}")
            m.d.comb += Assert(implies(probe.signal("control.chosen") & mine & (name == number),
                                       candidate == before))
        for register in writable:
            stored = probe.signal(f"control.{register.name.lower()}")
            m.d.comb += Assert(implies(name == register.offset // 4, stored == shadow))

    def _windows(self, m, dut, probe) -> None:
        """Windows begin at bus words, and change only while everything is in reset."""
        control = probe.component("control")
        windows = (control.program, control.constants, control.activations)
        now = Cat(window.as_value() for window in windows)
        before, may_change = Signal(len(now)), Signal(init=1)
        reset = dut.reset.dispatcher
        m.d.sync += [before.eq(now), may_change.eq(reset)]
        m.d.comb += [
            Assert(implies(~may_change, now == before)),
            # A command acts before the next write.
            Assert(_all(dut.reset, ~control.running)),
            Assert(implies(control.start | control.clear | control.abort,
                           probe.signal("control.under_way")[0])),
        ]
        m.d.comb += [Assert(implies(~reset, (window.base & (self.config.bus_bytes - 1)) == 0))
                     for window in windows]
        m.d.comb += Cover(~reset & (control.constants.base == 0x40))


class RunEnd(wiring.Component):
    """A supervisor, and sources of faults that keep them, with their causes, until reset.

    Once END was reached and all queues are empty, nothing begins and nothing can fail.
    """

    def __init__(self, config: ArrayConfig) -> None:
        self.config = config
        super().__init__({})

    def elaborate(self, platform):
        m = Module()
        dut = Supervisor(self.config)
        probe = m.submodules.dut = Probe(dut)
        free_inputs(m, dut)
        over, was_over = dut.ended & dut.empty.all(), Signal()
        m.d.sync += was_over.eq(over & dut.running)
        m.d.comb += Assume(implies(was_over, over))
        for i, fault in enumerate(dut.faults):
            reported, reset = Signal(name=f"reported_{i}"), Signal(init=1, name=f"reset_{i}")
            before = Signal.like(fault.cause, name=f"before_{i}")
            m.d.sync += [reported.eq(fault.valid & dut.running), reset.eq(~dut.running),
                         before.eq(fault.cause)]
            m.d.comb += [
                Assume(implies(reported, fault.valid & (fault.cause == before))),
                Assume(implies(reset | (was_over & ~reported), ~fault.valid)),
                Assume(implies(fault.valid, fault.cause != Fault.NONE)),
                Assume(fault.cause != Fault.ABORTED), Assume(fault.cause != Fault.WATCHDOG),
            ]
        m.d.comb += Assume(dut.misaligned.cause == Fault.ALIGNMENT)
        # What is told to begin nothing begins nothing (hw.formal.axi_read, hw.formal.axi_write).
        quiet = Signal()
        m.d.sync += quiet.eq(dut.bus_idle & _all(dut.halt, 1))
        m.d.comb += Assume(implies(quiet, dut.bus_idle))
        any_fault = Cat(fault.valid for fault in dut.faults).any()

        # The cycle before.
        was_running, could_reset, could_end = Signal(), Signal(), Signal()
        started, had_aborted = Signal(), Signal()
        seen = Signal(range(15))  # cycles since the first fault
        m.d.sync += [
            was_running.eq(dut.running), could_reset.eq(dut.bus_idle),
            started.eq(dut.started), could_end.eq(dut.finished),
            seen.eq(Mux(any_fault & dut.running, Mux(seen == 14, 14, seen + 1), 0)),
        ]
        with m.If(dut.started):
            m.d.sync += had_aborted.eq(0)
        with m.Elif(dut.running & (dut.abort | (dut.watchdog != 0))):
            m.d.sync += had_aborted.eq(1)
        ended = was_running & ~dut.running
        stopping = probe.in_state("", "Stop")
        m.d.comb += [
            Assert(_all(dut.reset, ~dut.running)),
            Assert(implies(dut.running & ~was_running, started)),
            Assert(implies(ended, could_reset)),
            Assert(_all(dut.halt, ~probe.in_state("", "Run"))),
            Assert(implies(ended, dut.done == (dut.cause == Fault.NONE))),
            Assert(implies(ended & dut.done, could_end)),
            Assert(implies(dut.finished, dut.bus_idle)),
            Assert(implies((dut.cause == Fault.ABORTED) | (dut.cause == Fault.WATCHDOG),
                           had_aborted)),
            # While it runs, and how it stops.
            Assert(implies(dut.running, ~dut.done & ((dut.cause == 0) | stopping))),
            Assert(implies(stopping, probe.signal("cause") != Fault.NONE)),
            Assert(probe.in_state("")),
            Assert(implies(probe.in_state("", "Blame"), probe.signal("source") < len(dut.faults))),
            Assert(implies(probe.in_state("", "Finish"), was_over & ~any_fault)),
            Assert(implies(probe.in_state("", "Finish"),
                           (probe.signal("source") == 0) & ~probe.signal("found"))),
            Assert(implies(seen == 13, dut.cause != Fault.NONE)),
            Cover(ended & dut.done),
            Cover(ended & (dut.cause == Fault.BUS_READ) & (dut.instruction == 5)),
            Cover(ended & (dut.cause == Fault.WATCHDOG)),
        ]
        return m


def _all(parts: data.View, value: Value) -> Value:
    """Whether every one of `parts` is `value`."""
    return parts.as_value() == Value.cast(value).replicate(len(parts.as_value()))


PROOFS = (
    Proof(name="control.registers", harness=lambda: RegisterBus(PRESETS["test-4x4"]),
          claim="AXI4-Lite: one response per request, in three and two cycles, held until taken; "
                "registers read as written; windows change only in reset and start at bus words"),
    Proof(name="control.end", harness=lambda: RunEnd(PRESETS["test-4x4"]), depth=18,
          claim="a run ends only while the bus is idle, done or with a cause, never both; units "
                "are in reset exactly while nothing runs; thirteen cycles after a fault was "
                "reported its cause is visible; ABORTED and WATCHDOG only if they can be"),
)
