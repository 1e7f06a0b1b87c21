"""Control registers: the driver's view of the core, on AXI4-Lite. Ref: Arm IHI 0022, chapter B."""

from amaranth import Array, Cat, Const, Module, Mux, Signal, unsigned
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from hw.rtl.axi import AxiLite
from hw.rtl.interfaces import FaultReport
from hw.rtl.queue import index_shape
from hw.spec.config import ArrayConfig, bits_for
from hw.spec.image import INTERFACE_VERSION, MAGIC
from hw.spec.isa import Queue
from hw.spec.regs import REGISTERS, Access, Fault

__all__ = ["Control", "GROUP_BITS", "QueueEvents", "Window"]

#: Registers among which the first choice of a read is made: 2 to the power of this.
GROUP_BITS = 3
_WINDOWS = ("PROGRAM", "CONSTANTS", "ACTIVATIONS")


class Window(data.Struct):
    """A part of memory that the driver opened: from byte `base`, `size` bytes."""

    base: unsigned(32)
    size: unsigned(32)


class QueueEvents(data.Struct):
    """What a queue did in a cycle, for its counters."""

    busy: unsigned(1)
    wait: unsigned(1)
    stall: unsigned(1)
    done: unsigned(1)


class Control(wiring.Component):
    """All registers of :data:`hw.spec.regs.REGISTERS`, the interrupt, and the event counters.

    Reads of unknown addresses give 0; writes to them and to registers for reading are accepted
    and do nothing. Windows and WATCHDOG can be written only while the core is idle; what is
    written while it runs is lost. Writes obey byte strobes. Counters stand still while the core is
    idle, so that they can be read in any order.

    Timing: a write takes four cycles, a read four. When a write is answered, its effect is
    visible in all registers and in `interrupt`, which is a level.

    Members
    -------
    bus : In(AxiLite)
    interrupt : Out(1)
    start, abort, clear : Out(1)
        Commands, for one cycle.
    program, constants, activations : Out(Window)
    misaligned : Out(FaultReport)
        ALIGNMENT, if a window does not begin at a multiple of the bus width.
    watchdog : Out(32)
    running, finished, cleared, done, cause, instruction, address
        As in :class:`hw.rtl.supervisor.Supervisor`.
    events : In(QueueEvents) * 4
        By queue. `busy` is counted where `stall` is not set.
    """

    def __init__(self, config: ArrayConfig) -> None:
        self.config = config
        super().__init__({
            "bus": In(AxiLite()), "interrupt": Out(1),
            "start": Out(1), "abort": Out(1), "clear": Out(1),
            "program": Out(Window), "constants": Out(Window), "activations": Out(Window),
            "misaligned": Out(FaultReport()), "watchdog": Out(32),
            "running": In(1), "finished": In(1), "cleared": In(1), "done": In(1),
            "cause": In(bits_for(max(Fault))), "instruction": In(index_shape(config)),
            "address": In(32), "events": In(QueueEvents).array(len(Queue))})

    def elaborate(self, platform):
        m = Module()
        stored = {name: Signal(32, name=name.lower()) for name, register in REGISTERS.items()
                  if register.access == Access.READ_WRITE}
        command = Signal(32)
        self._write(m, stored, command)
        bits = {bit.name: command[bit.lsb] for bit in REGISTERS["CONTROL"].bits}
        m.d.comb += [
            self.start.eq(bits["start"]),
            self.abort.eq(bits["abort"]),
            self.clear.eq(bits["clear"]),
            self.watchdog.eq(stored["WATCHDOG"]),
        ]

        # Windows.
        below_bus = self.config.bus_bytes - 1
        for name in _WINDOWS:
            base, window = stored[f"{name}_BASE"], getattr(self, name.lower())
            m.d.comb += [window.base.eq(base), window.size.eq(stored[f"{name}_BYTES"])]
            with m.If((base & below_bus).any()):
                m.d.comb += [self.misaligned.valid.eq(1),
                             self.misaligned.cause.eq(Fault.ALIGNMENT),
                             self.misaligned.address.eq(base)]

        # What can be read.
        faulty = self.cause != Fault.NONE
        words = Array(Const(word, 32) for word in self.config.words())
        status = {"busy": self.running, "done": self.done, "fault": faulty}
        values = {
            **stored, **self._counters(m),
            "ID": Const(int.from_bytes(MAGIC, "little"), 32),
            "VERSION": Const(INTERFACE_VERSION, 32),
            "CONFIG_WORD": Mux(stored["CONFIG"] < len(words), words[stored["CONFIG"][:8]], 0),
            "CONTROL": Const(0, 32),
            "STATUS": sum(status[bit.name] << bit.lsb for bit in REGISTERS["STATUS"].bits),
            "FAULT": self.cause, "FAULT_INSTRUCTION": self.instruction,
            "FAULT_ADDRESS": self.address,
        }
        self._read(m, values)
        raised = Cat(self.done, faulty) & stored["INTERRUPT_ENABLE"]
        m.d.sync += self.interrupt.eq(raised.any())
        return m

    def _write(self, m: Module, stored: dict[str, Signal], command: Signal) -> None:
        """Accept address and data together; `command` is what was written to CONTROL."""
        bus = self.bus
        accept = Signal()
        under_way = Signal(2)  # until the interrupt shows what a command did
        m.d.comb += [
            accept.eq(bus.awvalid & bus.wvalid & ~under_way.any() & ~bus.bvalid),
            bus.awready.eq(accept),
            bus.wready.eq(accept),
        ]
        m.d.sync += under_way.eq(Cat(accept, under_way))
        with m.If(under_way[-1]):
            m.d.sync += bus.bvalid.eq(1)
        with m.Elif(bus.bready):
            m.d.sync += bus.bvalid.eq(0)

        always = {"CONFIG", "INTERRUPT_ENABLE"}
        enabled = Cat(strobe.replicate(8) for strobe in bus.wstrb)
        m.d.sync += command.eq(0)
        with m.Switch(bus.awaddr[2:]):
            for name, register in REGISTERS.items():
                with m.Case(register.offset // 4):
                    if name == "CONTROL":
                        with m.If(accept):
                            m.d.sync += command.eq(bus.wdata & enabled)
                    elif name in stored:
                        with m.If(accept & (1 if name in always else ~self.running)):
                            m.d.sync += stored[name].eq(
                                (stored[name] & ~enabled) | (bus.wdata & enabled))

    def _read(self, m: Module, values: dict[str, Signal]) -> None:
        """Answer reads: a cycle for the address, two for the choice of the value."""
        bus = self.bus
        address = Signal.like(bus.araddr)
        asked = Signal()
        chosen = Signal()  # a candidate of every group
        m.d.comb += bus.arready.eq(~asked & ~chosen & ~bus.rvalid)
        with m.If(bus.arready & bus.arvalid):
            m.d.sync += [address.eq(bus.araddr), asked.eq(1)]

        # In every group of registers the one of that number, then one of the groups.
        number, group = address[2:][:GROUP_BITS], address[2:][GROUP_BITS:]
        numbers = {name: register.offset // 4 for name, register in REGISTERS.items()}
        candidates = {n >> GROUP_BITS: Signal(32, name=f"group_{n >> GROUP_BITS}")
                      for n in numbers.values()}
        for high, candidate in candidates.items():
            m.d.sync += candidate.eq(0)
            with m.Switch(number):
                for name, n in numbers.items():
                    if n >> GROUP_BITS == high:
                        with m.Case(n % (1 << GROUP_BITS)):
                            m.d.sync += candidate.eq(values[name])
        with m.If(asked):
            m.d.sync += [asked.eq(0), chosen.eq(1)]
        with m.If(chosen):
            m.d.sync += [chosen.eq(0), bus.rvalid.eq(1), bus.rdata.eq(0)]
            with m.Switch(group):
                for high, candidate in candidates.items():
                    with m.Case(high):
                        m.d.sync += bus.rdata.eq(candidate)
        with m.Elif(bus.rready):
            m.d.sync += bus.rvalid.eq(0)

    def _counters(self, m: Module) -> dict[str, Signal]:
        """Count events of the run; the values by register."""
        counters = {}

        def count(width: int, event, name: str) -> Signal:
            counter = Signal(width, name=f"count_{name.lower()}")
            with m.If(self.cleared):
                m.d.sync += counter.eq(0)
            with m.Elif(self.running):
                m.d.sync += counter.eq(counter + event)
            return counter

        cycles = count(64, 1, "cycles")
        completed = sum((e.done for e in self.events), self.finished)
        counters |= {"CYCLES": cycles[:32], "CYCLES_HIGH": cycles[32:],
                     "INSTRUCTIONS": count(32, completed, "instructions")}
        for queue, events in zip(Queue, self.events):
            for kind, event in (("BUSY", events.busy & ~events.stall), ("WAIT", events.wait),
                                ("STALL", events.busy & events.stall)):
                name = f"{queue.name}_{kind}"
                counters[name] = count(32, event, name)
        return counters
