"""The LOAD queue's unit: LOAD and LOAD_LINEAR, memory to chip."""

from amaranth import Cat, Module, Mux, Signal, Value
from amaranth.lib import data, wiring
from amaranth.lib.fifo import SyncFIFO
from amaranth.lib.wiring import In, Out

from hw.rtl.axi_read import ReadClient, read_beat
from hw.rtl.interfaces import LinearWrite, ScratchpadClient, ScratchpadOp, Unit
from hw.rtl.layout import instruction_layout
from hw.rtl.skid import SkidBuffer
from hw.rtl.transfer import TransferCheck, TransferLayout, linear_elements
from hw.rtl.unpack import RowStart, Unpacker, UnpackJob, row_start
from hw.rtl.walk import RunWalk
from hw.spec.config import ArrayConfig
from hw.spec.isa import SURFACE_FIELDS, LinearTarget, Opcode, Window
from hw.spec.regs import Fault

__all__ = ["IN_FLIGHT", "LINEAR_LATENCY", "LoadUnit"]

#: An element that is on `linear` in cycle t must be visible to what starts in t + LINEAR_LATENCY.
LINEAR_LATENCY = 3
#: Instructions that the unit takes before the first of them is done.
IN_FLIGHT = 8


class LoadUnit(wiring.Component):
    """LOAD and LOAD_LINEAR.

    An instruction is checked completely, then each of its memory rows is requested, while data of
    the instructions before it still arrive: up to eight are under way. Bytes outside the used span
    of a row are not read, except those that share a beat with it.

    Timing: the first request leaves ``b + 7`` cycles after the instruction was accepted, b as in
    :class:`~hw.rtl.transfer.TransferCheck`; a word is offered five cycles after its last beat
    came from the read master. Words follow as fast as :class:`~hw.rtl.unpack.Unpacker` makes
    them, beats permitting: a plain LOAD takes a beat or a word per cycle, whichever is more,
    LOAD_LINEAR a beat or an element. `done` is two cycles behind the last word. Back to back, an
    instruction takes a cycle more than its data, but at least ``b + 7``. Waits for beats and for
    its scratchpad port; `linear` never waits.

    Members
    -------
    unit : Out(Unit)
    read : Out(ReadClient)
    scratchpad : In(ScratchpadClient)
        WRITE only.
    linear : In(LinearWrite)
        What appears in cycle t must be visible to what starts in t + :data:`LINEAR_LATENCY`.
    constants_base, constants_bytes, activations_base, activations_bytes : In(32)
        The windows.
    """

    def __init__(self, config: ArrayConfig) -> None:
        self.config = config
        super().__init__({
            "unit": Out(Unit(config)), "read": Out(ReadClient(config.bus_bytes)),
            "scratchpad": In(ScratchpadClient(config)), "linear": In(LinearWrite(config)),
            "constants_base": In(32), "constants_bytes": In(32),
            "activations_base": In(32), "activations_bytes": In(32)})

    def elaborate(self, platform):
        m = Module()
        fault = self.unit.fault
        m.submodules.check = check = TransferCheck(self.config, written=True)
        m.submodules.runs = runs = RunWalk(self.config)
        m.submodules.jobs = jobs = SyncFIFO(width=UnpackJob(self.config).size, depth=IN_FLIGHT)
        m.submodules.unpack = unpack = Unpacker(self.config)

        # Take and check; nothing behind an instruction with a fault.
        refused, unfinished = Signal(), Signal(range(IN_FLIGHT + 1))
        accept = ~refused & ~fault.valid & ~self.unit.halt & (unfinished != IN_FLIGHT)
        m.d.comb += [
            check.constants_bytes.eq(self.constants_bytes),
            check.activations_bytes.eq(self.activations_bytes),
            check.i.payload.eq(_transfer(m, self.config, self.unit.i.payload)),
            check.i.valid.eq(self.unit.i.valid & accept),
            self.unit.i.ready.eq(check.i.ready & accept),
        ]

        # Request its rows and remember what to do with them.
        checked, f = check.o.payload, check.o.payload.fields
        starts = Signal(RowStart(self.config.bus_bytes), reset_less=True)
        m.d.sync += starts.eq(row_start(self.config, checked))
        m.d.comb += [
            # There is room for all that are taken.
            jobs.w_data.eq(Cat(checked, starts)), jobs.w_en.eq(check.o.valid & runs.i.ready),
            check.o.ready.eq(runs.i.ready), runs.i.valid.eq(check.o.valid & checked.good),
            runs.i.payload.bytes.eq(checked.memory_bytes),
            runs.i.payload.address.eq(
                Mux(f.window == Window.ACTIVATIONS, self.activations_base, self.constants_base)
                + (f.address + Mux(f.head < 0, -f.head, 0))),
        ]
        m.d.comb += [runs.i.payload[name].eq(f[name]) for name in
                     ("memory_plane_stride", "memory_row_stride", "planes", "rows")]
        with m.If(check.o.valid & ~checked.good):
            m.d.sync += refused.eq(1)
        wiring.connect(m, runs.o, wiring.flipped(self.read.request))

        # Make words of what arrives.
        job = Signal(UnpackJob(self.config), reset_less=True)
        runnable, faulty = Signal(), Signal()
        arrived = data.View(job.shape(), jobs.r_data)
        m.d.comb += [unpack.i.payload.eq(job), unpack.i.valid.eq(runnable)]
        m.d.sync += jobs.r_en.eq(0)  # a cycle late: no transfer is over in its first one
        with m.If(~faulty & (~runnable | unpack.i.ready)):
            m.d.sync += [job.eq(arrived), runnable.eq(jobs.r_rdy & arrived.transfer.good),
                         faulty.eq(jobs.r_rdy & ~arrived.transfer.good), jobs.r_en.eq(jobs.r_rdy)]
        # Beats come out of block RAM and through a choice of the client.
        m.submodules.arriving = arriving = SkidBuffer(read_beat(self.config.bus_bytes))
        wiring.connect(m, wiring.flipped(self.read.beats), arriving.i)
        wiring.connect(m, arriving.o, unpack.beats)
        word = unpack.o.payload
        bad, broken, leave = Signal(), Signal(), Signal()
        m.d.comb += [
            bad.eq(unpack.o.valid & word.linear & (word.target == LinearTarget.PARAMETERS)
                   & word.data[7][5:].any()),
            self.scratchpad.i.payload.op.eq(ScratchpadOp.WRITE),
            self.scratchpad.i.payload.address.eq(word.address),
            self.scratchpad.i.payload.mask.eq(word.mask),
            self.scratchpad.i.payload.data.eq(word.data),
            self.scratchpad.i.valid.eq(unpack.o.valid & ~word.linear),
            self.linear.valid.eq(unpack.o.valid & word.linear & ~bad),
            self.linear.target.eq(word.target), self.linear.index.eq(word.address),
            self.linear.data.eq(word.data),
            unpack.o.ready.eq(Mux(word.linear, ~bad, self.scratchpad.i.ready)),
            broken.eq(unpack.want & arriving.o.valid & arriving.o.payload.error),
            leave.eq(unpack.o.valid & unpack.o.ready),
        ]

        # Done when the last word is visible; a fault waits for all before it to be done.
        finishing = Signal(range(IN_FLIGHT + 1))
        landing = Signal()
        m.d.sync += [
            landing.eq(leave & word.end), self.unit.done.eq(landing),
            finishing.eq(finishing + (unpack.i.valid & unpack.i.ready) - self.unit.done),
            unfinished.eq(unfinished + (self.unit.i.valid & self.unit.i.ready) - self.unit.done),
        ]
        m.d.comb += [self.unit.busy.eq(unfinished != 0),
                     self.unit.stall.eq(unpack.stall | (unpack.o.valid & ~unpack.o.ready))]
        # What is bad or broken stays so, and is reported a cycle later: it is known late.
        was_bad, was_broken = Signal(), Signal()
        m.d.sync += [was_bad.eq(bad), was_broken.eq(broken)]
        with m.If(~fault.valid):
            # An element leaves the window too late for the instruction before not to be done.
            with m.If(was_bad):
                m.d.sync += [fault.valid.eq(1), fault.cause.eq(Fault.ILLEGAL_INSTRUCTION),
                             fault.address.eq(word.place)]
            with m.Elif(finishing == 0):
                with m.If(faulty):
                    m.d.sync += [fault.valid.eq(1), fault.cause.eq(job.transfer.cause),
                                 fault.address.eq(job.transfer.address)]
                with m.Elif(was_broken):
                    m.d.sync += [fault.valid.eq(1), fault.cause.eq(Fault.BUS_READ)]
        return m


def _transfer(m: Module, config: ArrayConfig, instruction: Value) -> data.View:
    """Bring a LOAD or LOAD_LINEAR into the common form."""
    load, linear = (data.View(instruction_layout(config, opcode), instruction)
                    for opcode in (Opcode.LOAD, Opcode.LOAD_LINEAR))
    transfer = Signal(TransferLayout(config))
    with m.If(load.opcode == Opcode.LOAD):
        for name in transfer.shape().members:
            if name not in ("linear", "target", "whole"):
                source = f"dst_{name}" if name in SURFACE_FIELDS else name
                m.d.comb += transfer[name].eq(load[source])
    with m.Else():
        m.d.comb += [
            transfer.linear.eq(1), transfer.target.eq(linear.target),
            transfer.window.eq(Window.CONSTANTS), transfer.address.eq(linear.address),
            transfer.planes.eq(1), transfer.rows.eq(1), transfer.whole.eq(1),
            transfer.ring_words.eq(1),
        ]
        with m.Switch(linear.target):
            for target, element in linear_elements(config).items():
                with m.Case(target):
                    m.d.comb += [
                        transfer.columns.eq(linear.count << element.unit_shift),
                        transfer.base.eq(linear.dst << element.unit_shift),
                        transfer.word_step.eq(element.size_bytes),
                        transfer.lane_count.eq(element.size_bytes)]
    return transfer
