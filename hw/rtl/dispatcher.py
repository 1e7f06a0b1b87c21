"""Dispatcher: fetches the program and sends each instruction to the queue of its opcode."""

from amaranth import Cat, Module, Mux, Shape, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.fifo import SyncFIFOBuffered
from amaranth.lib.wiring import In, Out

from hw.rtl.axi_read import ReadClient
from hw.rtl.control import Window
from hw.rtl.interfaces import FaultReport
from hw.rtl.layout import instruction_bits, instruction_layout
from hw.rtl.queue import Dispatched, index_shape
from hw.spec.config import ArrayConfig
from hw.spec.isa import OPCODE, QUEUE_OF, Isa, Opcode, Queue
from hw.spec.regs import Fault
from hw.spec.timing import FETCH_BUFFER, FETCH_BURST

__all__ = ["Dispatcher"]


class Dispatcher(wiring.Component):
    """Reads instructions ahead, checks them, and hands them out in order until END.

    Bytes beyond END may be fetched if they are inside the program window; they are ignored.
    A fault is reported when every instruction ahead of it is done, so that the fault of an earlier
    instruction is the first.

    Timing: as many cycles per instruction as it has bus beats, and three. At most
    :data:`hw.spec.timing.FETCH_BUFFER` instructions are asked for and not yet taken apart, so that
    ``fetch.beats`` is always ready.

    Members
    -------
    window : In(Window)
        The program; begins at a whole bus word, and must not change between resets.
    fetch : Out(ReadClient)
        Where the program is read.
    o : Out(stream) * 4
        :class:`hw.rtl.queue.Dispatched`, by queue.
    drained : In(1)
        All queues are empty.
    dispatched : Out(1)
        An instruction left in this cycle.
    ended : Out(1)
        END was reached.
    index : Out(index)
        Of the instruction that is next to leave, or is faulty.
    fault : Out(FaultReport)
        ILLEGAL_INSTRUCTION (opcode, reserved bits, tokens of its own queue), PROGRAM_WINDOW or
        BUS_READ; stays until reset.
    """

    def __init__(self, config: ArrayConfig) -> None:
        self.config = config
        super().__init__({
            "window": In(Window), "fetch": Out(ReadClient(config.bus_bytes)),
            "o": Out(stream.Signature(Dispatched(config))).array(len(Queue)),
            "drained": In(1), "dispatched": Out(1), "ended": Out(1),
            "index": Out(index_shape(config)), "fault": Out(FaultReport())})

    def elaborate(self, platform):
        m = Module()
        size = Isa(self.config).instruction_bytes
        beats = size // self.config.bus_bytes

        # Ask for a burst, or for single instructions at the end, while the buffer has room. A
        # request stays for a cycle at least, so that `burst` is right when the next one can go.
        stored = data.StructLayout({"data": 8 * self.config.bus_bytes, "error": 1})
        m.submodules.buffer = buffer = SyncFIFOBuffered(width=Shape.cast(stored).width,
                                                        depth=FETCH_BUFFER * beats)
        request, arriving = self.fetch.request, self.fetch.beats
        asked = Signal(32)  # bytes
        held = Signal(range(FETCH_BUFFER + 1))
        burst = Signal(range(FETCH_BURST + 1))  # what is next, a cycle after `asked` changed
        span = Signal(range(FETCH_BURST * size + 1))
        taken_apart = Signal()
        ahead = self.window.size - asked
        with m.If(ahead >= FETCH_BURST * size):
            m.d.sync += [burst.eq(FETCH_BURST), span.eq(FETCH_BURST * size)]
        with m.Else():
            m.d.sync += [burst.eq(ahead >= size), span.eq(size)]
        offer = (burst != 0) & (held + burst <= FETCH_BUFFER) & ~self.ended
        with m.If(request.ready):
            m.d.sync += request.valid.eq(0)
        with m.If(offer & ~request.valid):
            m.d.sync += [request.valid.eq(1), asked.eq(asked + span),
                         request.payload.address.eq(self.window.base + asked),
                         request.payload.bytes.eq(span)]
        m.d.sync += held.eq(Mux(offer & ~request.valid, held + burst, held) - taken_apart)
        m.d.comb += [
            buffer.w_data.eq(Cat(arriving.payload.data, arriving.payload.error)),
            buffer.w_en.eq(arriving.valid),
            arriving.ready.eq(buffer.w_rdy),
        ]

        # Assemble an instruction. Reserved bits of a beat are singled out a cycle after it came, in
        # registers of their own: those of the instruction are beside the queues. Whether one is set
        # is known a cycle later; what else has to be known of it is found out meanwhile.
        beat = data.View(stored, buffer.r_data)
        word = Signal(instruction_bits(self.config))
        number = Signal(range(beats))
        looked_at = Signal(range(beats))
        look = Signal()
        reserved = Signal(8 * self.config.bus_bytes)
        opcode = Signal(OPCODE.width)
        refused, unknown, own, ends = Signal(), Signal(), Signal(), Signal()
        queue = Signal(len(Queue))
        failed = Signal()
        sent = Signal(len(Queue))  # in a register: it writes to distant memories
        offset = Signal(32)  # bytes
        behind, outside = Signal(33), Signal()  # where the instruction ends: beyond the window
        cause = Signal.like(self.fault.cause)
        address = Signal.like(self.fault.address)
        fields = data.View(instruction_layout(self.config, Opcode.LOAD), word)
        m.d.sync += [
            look.eq(0), own.eq(0), queue.eq(0), ends.eq(opcode == Opcode.END),
            unknown.eq(~Cat(opcode == code for code in Isa(self.config).formats).any()),
            behind.eq(offset + size), outside.eq(behind > self.window.size),
        ]
        m.d.sync += reserved.eq(Mux(look, word[-len(reserved):], 0)
                                & self._reserved(m, opcode, looked_at))
        with m.If(reserved.any()):
            m.d.sync += refused.eq(1)
        with m.Switch(opcode):
            for code, q in QUEUE_OF.items():
                with m.Case(code):
                    m.d.sync += [queue[q].eq(1), own.eq(fields.wait[q] | fields.signal[q])]
        with m.FSM():
            with m.State("Assemble"):
                m.d.comb += buffer.r_en.eq(1)
                with m.If(buffer.r_rdy):
                    m.d.sync += [
                        word.eq(Cat(word[8 * self.config.bus_bytes:], beat.data)),
                        number.eq(Mux(number == beats - 1, 0, number + 1)),
                        look.eq(1), looked_at.eq(number),
                        failed.eq((failed & (number != 0)) | beat.error),
                    ]
                    with m.If(number == 0):
                        m.d.sync += [opcode.eq(beat.data), refused.eq(0)]
                    with m.If(number == beats - 1):
                        m.d.comb += taken_apart.eq(1)
                        m.next = "Look"
                # Nothing was fetched from there, so that it may be found out late.
                with m.If((number == 0) & outside):
                    m.d.sync += [cause.eq(Fault.PROGRAM_WINDOW), address.eq(offset)]
                    m.next = "Fault"
            with m.State("Look"):
                m.next = "Check"
            with m.State("Check"):
                m.d.sync += sent.eq(queue)
                m.next = "Send"
                with m.If(ends):
                    m.next = "End"
                with m.If(refused | reserved.any() | unknown | own):
                    m.d.sync += [sent.eq(0), cause.eq(Fault.ILLEGAL_INSTRUCTION)]
                    m.next = "Fault"
                with m.If(failed):
                    m.d.sync += [sent.eq(0), cause.eq(Fault.BUS_READ),
                                 address.eq(self.window.base + offset)]
                    m.next = "Fault"
            with m.State("Send"):
                m.d.comb += self.dispatched.eq((sent & Cat(o.ready for o in self.o)).any())
                with m.If(self.dispatched):
                    m.d.sync += [sent.eq(0), self.index.eq(self.index + 1),
                                 offset.eq(behind)]
                    m.next = "Assemble"
            with m.State("End"):
                m.d.comb += [self.ended.eq(1), buffer.r_en.eq(1)]
            with m.State("Fault"):
                m.d.comb += buffer.r_en.eq(1)
                with m.If(self.drained):
                    m.d.sync += self.fault.valid.eq(1)
        m.d.comb += [self.fault.cause.eq(cause), self.fault.address.eq(address)]
        for o, valid in zip(self.o, sent):
            m.d.comb += [o.valid.eq(valid), o.payload.instruction.eq(word),
                         o.payload.index.eq(self.index)]
        return m

    def _reserved(self, m: Module, opcode: Signal, number: Signal) -> Signal:
        """Bits of beat `number` that no field of an `opcode` has."""
        width = 8 * self.config.bus_bytes
        result = Signal(width)
        with m.Switch(opcode):
            for code, form in Isa(self.config).formats.items():
                used = sum(field.mask for field in form.fields)
                with m.Case(code), m.Switch(number):
                    for n in range(Isa(self.config).instruction_bytes * 8 // width):
                        with m.Case(n):
                            m.d.comb += result.eq(~(used >> n * width) & ((1 << width) - 1))
        return result
