"""The STORE queue's unit: chip to memory."""

from amaranth import Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import data, stream, wiring
from amaranth.lib.fifo import SyncFIFO
from amaranth.lib.wiring import In, Out

from hw.rtl.axi_write import WriteClient, write_beat
from hw.rtl.interfaces import ScratchpadClient, ScratchpadOp, Unit
from hw.rtl.layout import instruction_layout
from hw.rtl.scratchpad import READ_LATENCY
from hw.rtl.skid import SkidBuffer
from hw.rtl.transfer import TransferCheck, TransferLayout
from hw.rtl.walk import RunWalk, SurfaceWalk
from hw.spec.config import ArrayConfig, bits_for
from hw.spec.isa import SURFACE_FIELDS, Opcode, Window
from hw.spec.regs import Fault

__all__ = ["BeatPacker", "IN_FLIGHT", "StoreUnit", "WordSlot"]

#: Instructions that the unit takes before the first of them is done.
IN_FLIGHT = 8
#: Checked transfers that wait while words of another are read.
_JOBS = 2
#: Words that were read, or are being read, and wait for their beats.
_WORDS = 8


class WordSlot(data.StructLayout):
    """A word on its way to memory. Where several make a beat: in which `slot` of the beat it is,
    and whether it ends its row.
    """

    def __init__(self, config: ArrayConfig) -> None:
        slots = max(1, config.bus_bytes // config.rows)
        super().__init__({"data": data.ArrayLayout(8, config.rows),
                          "slot": bits_for(slots - 1), "row_end": 1})


class _ReadAhead(data.StructLayout):
    """A word that is to be read, and what has to be known of it behind that."""

    def __init__(self, config: ArrayConfig) -> None:
        word = WordSlot(config)
        super().__init__({"address": bits_for(config.scratchpad_words - 1),
                          "slot": word["slot"].shape, "row_end": 1})


class BeatPacker(wiring.Component):
    """Words become beats: R / bus_bytes beats a word, or as many words as fit the beat.

    Timing: no latency. A beat, or a word, per cycle.

    Members
    -------
    i : In(stream)
        :class:`WordSlot`.
    o : Out(stream)
        :func:`hw.rtl.axi_write.write_beat`.
    """

    def __init__(self, config: ArrayConfig) -> None:
        self.config = config
        super().__init__({"i": In(stream.Signature(WordSlot(config))),
                          "o": Out(stream.Signature(write_beat(config.bus_bytes)))})

    def elaborate(self, platform):
        m = Module()
        rows, bus = self.config.rows, self.config.bus_bytes
        word, beat = self.i.payload, self.o.payload
        if rows >= bus:
            # A part of the word per beat.
            parts = data.ArrayLayout(8 * bus, rows // bus)
            part = Signal(range(rows // bus))
            last = part == rows // bus - 1
            m.d.comb += [
                beat.data.eq(data.View(parts, word.data.as_value())[part]),
                beat.strobe.eq(~0), self.o.valid.eq(self.i.valid),
                self.i.ready.eq(self.o.ready & last),
            ]
            with m.If(self.o.valid & self.o.ready):
                m.d.sync += part.eq(Mux(last, 0, part + 1))
        else:
            # Words gather until the beat is full or the row ends.
            slots = data.ArrayLayout(8 * rows, bus // rows)
            gathered = Signal(slots, reset_less=True)
            strobe, present = Signal(bus // rows), Signal(bus // rows)
            full = (word.slot == bus // rows - 1) | word.row_end
            with m.Switch(word.slot):
                for slot in range(bus // rows):
                    with m.Case(slot):
                        m.d.comb += present[slot].eq(1)
            now = Cat(Mux(here, word.data, before) for here, before in zip(present, gathered))
            m.d.comb += [
                beat.data.eq(now),
                beat.strobe.eq(Cat(bit.replicate(rows) for bit in strobe | present)),
                self.o.valid.eq(self.i.valid & full),
                self.i.ready.eq(self.o.ready | ~full),
            ]
            with m.If(self.i.valid & self.i.ready):
                m.d.sync += [gathered.eq(now), strobe.eq(Mux(full, 0, strobe | present))]
        return m


class StoreUnit(wiring.Component):
    """STORE.

    An instruction is checked completely, then each of its memory rows is requested and its words
    are read, while instructions before it are still being written. Where R is less than
    `bus_bytes`, beats at the ends of rows are written in part.

    Timing: the first request leaves ``b + 7`` cycles after the instruction was accepted, b as in
    :class:`~hw.rtl.transfer.TransferCheck`, the first read two cycles later; then a word or a beat
    per cycle, whichever is more. Reads go as far ahead as there is room. `done` is two cycles
    behind the response to the last burst. Back to back, an instruction takes a cycle more than
    its data, but at least ``b + 7``. Waits for its scratchpad port and for the write master.

    Members
    -------
    unit : Out(Unit)
    write : Out(WriteClient)
    scratchpad : In(ScratchpadClient)
        READ only.
    activations_base, activations_bytes : In(32)
        The window. Its base must be a multiple of `alignment_bytes`.
    """

    def __init__(self, config: ArrayConfig) -> None:
        self.config = config
        super().__init__({
            "unit": Out(Unit(config)), "write": Out(WriteClient(config.bus_bytes)),
            "scratchpad": In(ScratchpadClient(config)),
            "activations_base": In(32), "activations_bytes": In(32)})

    def elaborate(self, platform):
        m = Module()
        fault = self.unit.fault
        m.submodules.check = check = TransferCheck(self.config, written=False)
        m.submodules.runs = runs = RunWalk(self.config)
        m.submodules.jobs = jobs = SyncFIFO(width=TransferLayout(self.config).size, depth=_JOBS)
        m.submodules.walk = walk = SurfaceWalk(TransferLayout(self.config))
        m.submodules.words = words = SyncFIFO(width=WordSlot(self.config).size, depth=_WORDS)
        m.submodules.pack = pack = BeatPacker(self.config)

        # Take and check; nothing behind an instruction with a fault.
        unfinished = Signal(range(IN_FLIGHT + 1))
        accept = ~fault.valid & ~self.unit.halt & (unfinished != IN_FLIGHT)
        m.d.comb += [
            check.activations_bytes.eq(self.activations_bytes),
            check.i.payload.eq(_transfer(m, self.config, self.unit.i.payload)),
            check.i.valid.eq(self.unit.i.valid & accept),
            self.unit.i.ready.eq(check.i.ready & accept),
        ]

        # Request its rows, and queue it for reading.
        checked, f = check.o.payload, check.o.payload.fields
        good = check.o.valid & checked.good
        m.d.comb += [
            jobs.w_data.eq(f), jobs.w_en.eq(good & runs.i.ready),
            runs.i.valid.eq(good & jobs.w_rdy),
            check.o.ready.eq(good & runs.i.ready & jobs.w_rdy),
            runs.i.payload.bytes.eq(checked.memory_bytes),
            runs.i.payload.address.eq(self.activations_base + f.address),
        ]
        m.d.comb += [runs.i.payload[name].eq(f[name]) for name in
                     ("memory_plane_stride", "memory_row_stride", "planes", "rows")]
        wiring.connect(m, runs.o, wiring.flipped(self.write.request))

        # Read words as long as there is room for them.
        job = data.View(TransferLayout(self.config), jobs.r_data)
        room = Signal(range(_WORDS + 1), init=_WORDS)
        m.submodules.ahead = ahead = SkidBuffer(_ReadAhead(self.config))
        asked, read = ahead.i.valid & ahead.i.ready, ahead.o.valid & ahead.o.ready
        m.d.comb += [walk.i.payload[name].eq(job[name])
                     for name in walk.i.payload.shape().members]
        m.d.comb += [
            walk.i.valid.eq(jobs.r_rdy), jobs.r_en.eq(walk.i.ready),
            ahead.i.payload.address.eq(walk.o.payload.address),
            ahead.i.payload.slot.eq(self._slot(m, job, walk, asked)),
            ahead.i.payload.row_end.eq(walk.o.payload.row_end),
            ahead.i.valid.eq(walk.o.valid & (room != 0)),
            walk.o.ready.eq(ahead.i.ready & (room != 0)),
            self.scratchpad.i.payload.address.eq(ahead.o.payload.address),
            self.scratchpad.i.payload.op.eq(ScratchpadOp.READ),
            self.scratchpad.i.valid.eq(ahead.o.valid), ahead.o.ready.eq(self.scratchpad.i.ready),
        ]
        m.d.sync += room.eq(room - asked + (words.r_rdy & words.r_en))

        # What belongs to a word waits for it.
        late = Cat(ahead.o.payload.slot, ahead.o.payload.row_end)
        for stage in range(READ_LATENCY):
            before, late = late, Signal(len(late), name=f"late_{stage}", reset_less=True)
            m.d.sync += late.eq(before)
        m.d.comb += [
            words.w_data.eq(Cat(self.scratchpad.o_data, late)),
            words.w_en.eq(self.scratchpad.o_valid),
            pack.i.payload.eq(words.r_data), pack.i.valid.eq(words.r_rdy),
            words.r_en.eq(pack.i.ready),
        ]
        wiring.connect(m, pack.o, wiring.flipped(self.write.beats))

        # Done with the last response; a fault waits for all before it to be done.
        m.d.sync += [
            self.unit.done.eq(self.write.done & self.write.last & ~self.write.error
                              & ~fault.valid),
            unfinished.eq(unfinished + (self.unit.i.valid & self.unit.i.ready) - self.unit.done),
        ]
        moved = (self.write.beats.valid & self.write.beats.ready) | read
        m.d.comb += [self.unit.busy.eq(unfinished != 0),
                     self.unit.stall.eq((unfinished != 0) & ~moved & check.i.ready)]
        with m.If(~fault.valid):
            with m.If(self.write.done & self.write.error):
                m.d.sync += [fault.valid.eq(1), fault.cause.eq(Fault.BUS_WRITE)]
            with m.Elif(check.o.valid & ~good & (unfinished == 1)):
                m.d.sync += [fault.valid.eq(1), fault.cause.eq(checked.cause),
                             fault.address.eq(checked.address)]
        return m

    def _slot(self, m: Module, job: data.View, walk: SurfaceWalk, read: Value) -> Value:
        """Return in which slot of its beat the word of `walk` is; rows begin anywhere."""
        low = (self.config.rows.bit_length() - 1, self.config.bus_bytes.bit_length() - 1)
        if low[0] >= low[1]:
            return Const(0, 1)
        first, row_step, plane_step = (
            value[slice(*low)] for value in (self.activations_base + job.address,
                                             job.memory_row_stride, job.memory_plane_stride))
        slot, row, plane = (Signal(low[1] - low[0], name=name, reset_less=True)
                            for name in ("slot", "row", "plane"))
        with m.If(~walk.o.valid):
            m.d.sync += [slot.eq(first), row.eq(first), plane.eq(first)]
        with m.Elif(read):
            m.d.sync += slot.eq(slot + 1)
            with m.If(walk.o.payload.row_end):
                m.d.sync += [slot.eq(row + row_step), row.eq(row + row_step)]
            with m.If(walk.o.payload.plane_end):
                m.d.sync += [signal.eq(plane + plane_step) for signal in (slot, row, plane)]
        return slot


def _transfer(m: Module, config: ArrayConfig, instruction: Value) -> data.View:
    """Bring a STORE into the common form."""
    store = data.View(instruction_layout(config, Opcode.STORE), instruction)
    transfer = Signal(TransferLayout(config))
    m.d.comb += [transfer[name].eq(store[name]) for name in
                 ("address", "memory_plane_stride", "memory_row_stride", "planes", "rows",
                  "columns")]
    m.d.comb += [transfer[name].eq(store[f"src_{name}"]) for name in SURFACE_FIELDS]
    m.d.comb += [transfer.window.eq(Window.ACTIVATIONS), transfer.whole.eq(1),
                 transfer.word_step.eq(config.rows), transfer.lane_count.eq(config.rows)]
    return transfer
