"""Supervisor: starts a run, ends it, and finds out whose fault it was."""

from amaranth import Array, Cat, Module, Mux, Signal
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from hw.rtl.interfaces import FaultReport
from hw.rtl.queue import index_shape
from hw.spec.config import ArrayConfig, bits_for
from hw.spec.isa import Queue
from hw.spec.regs import Fault

__all__ = ["PARTS", "Supervisor"]

#: What is stopped and reset at once. The parts are far from each other, so that each has registers
#: of its own.
PARTS = data.StructLayout({"units": len(Queue), "dispatcher": 1, "bus": 1, "scratchpad": 1,
                           "array": 1})

#: Who can cause a fault: the queues, then the dispatcher.
_SOURCES = len(Queue) + 1


class Supervisor(wiring.Component):
    """The core's state: idle, running, or stopping after a fault.

    While idle, the units are held in reset; memories keep their contents. A run ends when the
    dispatcher reached END, every queue is empty and the bus is idle. It is stopped by the first
    fault, by the driver or by the watchdog: then the units are told to halt and, when the bus is
    idle, reset. Of faults in the same cycle the one of the earliest instruction counts; abort and
    watchdog blame the earliest instruction that is not done.

    Timing: a fault is visible thirteen cycles after it was reported, whether or not the bus ever
    becomes idle.

    Members
    -------
    start, abort, clear : In(1)
        The driver's commands. Start and clear act only while idle, abort only while running;
        start clears as well.
    misaligned : In(FaultReport)
        A window does not start at a multiple of the bus width: start is refused with it.
    watchdog : In(32)
        Cycles without progress until a fault; 0: never.
    progress : In(1)
        Something happened in this cycle.
    faults : In(FaultReport) * 5, indices : In(index) * 5
        Of the queues, in their order, and of the dispatcher.
    empty : In(4)
        By queue: nothing waits, nothing runs.
    ended : In(1)
        The dispatcher reached END.
    bus_idle : In(1)
        No transfer is under way.
    reset, halt : Out(PARTS)
        To each unit and its queue, and to the others. Halt: no new instructions and transfers.
    running : Out(1)
        A program runs, or stops and has not stopped yet.
    started, finished : Out(1)
        High for a cycle when a run begins and when it reaches its end without a fault.
    cleared : Out(1)
        High for a cycle when counters have to become zero.
    done : Out(1)
        The last run reached its end.
    cause, instruction, address : Out(...)
        The fault of the last run; cause NONE if there was none.
    """

    def __init__(self, config: ArrayConfig) -> None:
        self.config = config
        super().__init__({
            "start": In(1), "abort": In(1), "clear": In(1), "misaligned": In(FaultReport()),
            "watchdog": In(32), "progress": In(1),
            "faults": In(FaultReport()).array(_SOURCES),
            "indices": In(index_shape(config)).array(_SOURCES),
            "empty": In(len(Queue)), "ended": In(1), "bus_idle": In(1),
            "reset": Out(PARTS), "halt": Out(PARTS), "running": Out(1), "started": Out(1),
            "finished": Out(1), "cleared": Out(1), "done": Out(1),
            "cause": Out(bits_for(max(Fault))), "instruction": Out(index_shape(config)),
            "address": Out(32)})

    def elaborate(self, platform):
        m = Module()
        unfinished = Cat(~self.empty, 1)

        # Watchdog: the bus and the units show progress, or the time runs.
        quiet = Signal(32)
        expired = Signal()
        with m.If(self.progress | ~self.running):
            m.d.sync += quiet.eq(0)
        with m.Else():
            m.d.sync += quiet.eq(quiet + 1)
        m.d.sync += expired.eq((quiet == self.watchdog) & self.watchdog.any() & ~self.progress
                               & self.running)

        # Blame: two cycles for each source, to look and to compare; the earliest instruction wins.
        suspects = Signal(_SOURCES)
        source = Signal(range(_SOURCES))
        compare, found = (Signal(name=name) for name in ("compare", "found"))
        cause = Signal.like(self.cause)
        instruction = Signal.like(self.instruction)
        address = Signal.like(self.address)
        index = Signal.like(self.instruction)
        own = data.StructLayout({"valid": 1, "cause": len(self.cause), "address": 32})
        report = Signal(own)

        # Halt also at the end, when the dispatcher may want to read beyond END, and in the cycle
        # before the reset acts.
        reset, halt = (Signal(PARTS.size, name=name, init=~0, attrs={"keep": 1})
                       for name in ("reset", "halt"))
        m.d.comb += [self.reset.eq(reset), self.halt.eq(halt)]

        def stop() -> None:
            """Let the driver or the watchdog end the run."""
            m.d.sync += [halt.eq(~0), suspects.eq(unfinished),
                         cause.eq(Mux(self.abort, Fault.ABORTED, Fault.WATCHDOG))]
            m.next = "Blame"

        # What comes from far, a cycle later: faults and the end of a run, which stay as they are
        # until the reset; that the bus is idle while nothing may begin, so that it stays idle; and
        # who is the oldest.
        reported = Signal(_SOURCES)
        over, calm = (Signal(name=name) for name in ("over", "calm"))
        indices = Array(Signal.like(index, name=f"index_{n}") for n, index in
                        enumerate(self.indices))
        m.d.sync += [reported.eq(0), over.eq(0), calm.eq(self.bus_idle & halt.all()),
                     *(held.eq(now) for held, now in zip(indices, self.indices))]

        with m.FSM() as fsm:
            with m.State("Idle"):
                with m.If(self.start | self.clear):
                    m.d.comb += self.cleared.eq(1)
                    m.d.sync += [self.done.eq(0), self.cause.eq(Fault.NONE),
                                 self.instruction.eq(0), self.address.eq(0)]
                with m.If(self.start):
                    with m.If(self.misaligned.valid):
                        m.d.sync += [self.cause.eq(self.misaligned.cause),
                                     self.address.eq(self.misaligned.address)]
                    with m.Else():
                        m.d.comb += self.started.eq(1)
                        m.d.sync += [reset.eq(0), halt.eq(0)]
                        m.next = "Run"
            with m.State("Run"):
                m.d.sync += [source.eq(0), compare.eq(0), found.eq(0), address.eq(0),
                             reported.eq(Cat(f.valid for f in self.faults)),
                             over.eq(self.ended & self.empty.all())]
                with m.If(reported.any()):
                    m.d.sync += [halt.eq(~0), suspects.eq(reported), cause.eq(Fault.NONE)]
                    m.next = "Blame"
                with m.Elif(self.abort | expired):
                    stop()
                with m.Elif(over):
                    m.d.sync += halt.eq(~0)
                    m.next = "Finish"
            with m.State("Finish"):
                with m.If(calm):
                    m.d.comb += self.finished.eq(1)
                    m.d.sync += [self.done.eq(1), reset.eq(~0)]
                    m.next = "Idle"
                with m.Elif(self.abort | expired):
                    stop()
            with m.State("Blame"):
                m.d.sync += [
                    compare.eq(~compare), index.eq(indices[source]),
                    report.eq(Array(Cat(f.valid, f.cause, f.address) for f in self.faults)[source]),
                ]
                with m.If(compare):
                    m.d.sync += [source.eq(source + 1), suspects.eq(suspects >> 1)]
                    with m.If(suspects[0] & (~found | (index < instruction))):
                        m.d.sync += [found.eq(1), instruction.eq(index)]
                        with m.If(report.valid
                                  & ~((cause == Fault.ABORTED) | (cause == Fault.WATCHDOG))):
                            m.d.sync += [cause.eq(report.cause), address.eq(report.address)]
                    with m.If(source == _SOURCES - 1):
                        m.next = "Stop"
            with m.State("Stop"):
                m.d.sync += [self.cause.eq(cause), self.instruction.eq(instruction),
                             self.address.eq(address)]
                with m.If(calm):
                    m.d.sync += reset.eq(~0)
                    m.next = "Idle"

        m.d.comb += self.running.eq(~fsm.ongoing("Idle"))
        return m
