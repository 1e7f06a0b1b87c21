"""Sequencer: all that decides what the units do when, and what the driver sees of it."""

from amaranth import Cat, Module, ResetInserter, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from hw.rtl.axi import AxiLite
from hw.rtl.axi_read import ReadClient
from hw.rtl.control import Control, Window
from hw.rtl.dispatcher import Dispatcher
from hw.rtl.interfaces import Unit
from hw.rtl.queue import InstructionQueue
from hw.rtl.supervisor import PARTS, Supervisor
from hw.rtl.tokens import Tokens
from hw.spec.config import ArrayConfig
from hw.spec.isa import Queue

__all__ = ["Sequencer"]


class Sequencer(wiring.Component):
    """Registers, supervisor, dispatcher, token bank and the four queues.

    Members
    -------
    control : In(AxiLite)
        The driver's bus.
    interrupt : Out(1)
    fetch : Out(ReadClient)
        Where the program is read.
    units : In(Unit) * 4
        The units, by queue.
    constants, activations : Out(Window)
        Do not change while a program runs.
    rst : In(1)
        Of the core. Acts on registers and supervisor, and a cycle later, by `reset`, on all else.
    reset, halt : Out(PARTS)
        To everything else. Halt: begin no transfer. Reset: only after the bus was idle.
    bus_idle, bus_active : In(1)
        No transfer is under way; a beat or an answer passes in this cycle.
    """

    def __init__(self, config: ArrayConfig) -> None:
        self.config = config
        super().__init__({
            "control": In(AxiLite()), "interrupt": Out(1),
            "fetch": Out(ReadClient(config.bus_bytes)),
            "units": In(Unit(config)).array(len(Queue)),
            "constants": Out(Window), "activations": Out(Window),
            "rst": In(1), "reset": Out(PARTS), "halt": Out(PARTS),
            "bus_idle": In(1), "bus_active": In(1)})

    def elaborate(self, platform):
        m = Module()
        config = self.config

        # Always on: registers, and what starts and stops the rest.
        m.submodules.control = ResetInserter(self.rst)(control := Control(config))
        m.submodules.supervisor = ResetInserter(self.rst)(supervisor := Supervisor(config))
        wiring.connect(m, control.bus, wiring.flipped(self.control))
        wiring.connect(m, control.misaligned, supervisor.misaligned)
        m.d.comb += [
            self.interrupt.eq(control.interrupt),
            self.constants.eq(control.constants), self.activations.eq(control.activations),
            self.reset.eq(supervisor.reset), self.halt.eq(supervisor.halt),
            supervisor.bus_idle.eq(self.bus_idle),
            *(getattr(supervisor, name).eq(getattr(control, name))
              for name in ("start", "abort", "clear", "watchdog")),
            *(getattr(control, name).eq(getattr(supervisor, name))
              for name in ("running", "finished", "cleared", "done", "cause", "instruction",
                           "address")),
        ]

        # The program on its way to the units.
        reset = supervisor.reset
        m.submodules.dispatcher = ResetInserter(reset.dispatcher)(dispatcher := Dispatcher(config))
        m.submodules.tokens = ResetInserter(reset.dispatcher)(tokens := Tokens())
        wiring.connect(m, dispatcher.fetch, wiring.flipped(self.fetch))
        m.d.comb += [
            dispatcher.window.eq(control.program),
            supervisor.ended.eq(dispatcher.ended),
            supervisor.indices[-1].eq(dispatcher.index),
        ]
        wiring.connect(m, dispatcher.fault, supervisor.faults[-1])
        # A cycle late: the dispatcher looks at it two cycles after the last instruction entered.
        m.d.sync += dispatcher.drained.eq(supervisor.empty.all())
        working = [dispatcher.dispatched]
        for q in Queue:
            queue, unit = InstructionQueue(config, q), self.units[q]
            m.submodules[f"{q.name.lower()}_queue"] = ResetInserter(reset.units[q])(queue)
            wiring.connect(m, dispatcher.o[q], queue.i)
            wiring.connect(m, queue.o, wiring.flipped(unit.i))
            wiring.connect(m, wiring.flipped(unit.fault), queue.unit_fault)
            wiring.connect(m, queue.fault, supervisor.faults[q])
            m.d.comb += [
                unit.halt.eq(supervisor.halt.units[q]),
                queue.halt.eq(supervisor.halt.units[q]),
                queue.done.eq(unit.done),
                queue.available.eq(tokens.available[q]),
                tokens.take[q].eq(queue.take),
                tokens.give[q].eq(queue.give),
                queue.overflow.eq(tokens.overflow[q]),
                supervisor.indices[q].eq(queue.oldest),
                supervisor.empty[q].eq(queue.empty),
            ]
            # Counted a cycle later: what a unit is doing is known late in a cycle.
            m.d.sync += [
                control.events[q].busy.eq(unit.busy),
                control.events[q].stall.eq(unit.busy & unit.stall),
                control.events[q].wait.eq(queue.waiting & ~unit.busy),
                control.events[q].done.eq(unit.done),
            ]
            working += [control.events[q].busy & ~control.events[q].stall, control.events[q].done]
        # The watchdog hears of it another cycle later: all of them are far from each other.
        active = Signal()
        m.d.sync += [active.eq(self.bus_active),
                     supervisor.progress.eq(Cat(*working, active).any())]
        return m
