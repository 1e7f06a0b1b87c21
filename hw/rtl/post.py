"""The POST unit: from accumulators to the scratchpad, and from there to itself."""

from collections.abc import Iterable

from amaranth import Cat, Module, Mux, Signal, Value
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from hw.rtl.assembler import Assembler
from hw.rtl.destination import Destination
from hw.rtl.drain import DrainReads
from hw.rtl.elementwise import ElementwiseReads
from hw.rtl.gather import Gather
from hw.rtl.interfaces import (
    AccumulatorRead,
    FaultReport,
    LinearWrite,
    ScratchpadClient,
    ScratchpadOp,
    Unit,
)
from hw.rtl.lanes import Lanes
from hw.rtl.layout import instruction_layout
from hw.rtl.pool import PoolReads
from hw.rtl.post_decoder import PostControl, PostDecoder
from hw.rtl.scratchpad import WRITE_LATENCY
from hw.rtl.skid import SkidBuffer
from hw.rtl.word_reader import WordReader, WordRequest
from hw.spec.config import ArrayConfig
from hw.spec.isa import Opcode
from hw.spec.regs import Fault

__all__ = ["PostUnit"]

#: Cycles from the first request for a word of results to its write, rounded up generously. Words
#: that the unit can have begun are those that fit into that time.
_ROUND_TRIP = 32


class PostUnit(wiring.Component):
    """Executes DRAIN, POOL and ELEMENTWISE, one at a time.

    ::

        accumulators ◄ DrainReads                        Destination
             └──────────── sums ──────────┐                   │ addresses
        PoolReads, ElementwiseReads     Lanes ─► Assembler ─► writes ─┐
             └─► WordReader ─► Gather ────┘            ▲              ▼
                   │   ▲         └──── whole words ────┘         scratchpad
                   └── reads ──────────────────────────────────► client

    Results have room reserved (a credit) before the first read of their word, so that the
    lanes never stall. Reads and writes share the client, a request per cycle; writes go first.

    Timing, if nothing waits: an instruction takes the cycles below and about 30 more, from its
    acceptance to `done`; the next one is accepted a cycle later. L: `post_lanes`.

    ===============================  ==========================================
    DRAIN                            C / L per pixel, with `pool` too
    POOL                             taps + 1 per word; with a table >= R / L
    MAP                              2 per word; with a table >= R / L
    ADD, MUL                         the larger of 3 and R / L per word
    ===============================  ==========================================

    Faults: broken rules of single fields and of surfaces are found before the scratchpad is read;
    addresses outside, and rows written that the ring does not hold, when they come up. Writes of
    words ahead of them may have happened, later ones do not. An instruction that breaks several
    rules may report any of those that are found when they come up. The address of ON_CHIP_RANGE
    is the first word or the slot that is outside.

    Parameters
    ----------
    config : ArrayConfig
    few_dsp : bool
        As in :class:`~hw.rtl.wide_multiplier.WideMultiplier`.

    Members
    -------
    unit : Out(Unit)
        `halt` is ignored: there are no bus transfers.
    scratchpad : In(ScratchpadClient)
    accumulators : In(AccumulatorRead)
    linear : Out(LinearWrite)
        Writes parameters and tables, at any time. What was written before an instruction was
        accepted is seen by it.
    """

    def __init__(self, config: ArrayConfig, *, few_dsp: bool = False) -> None:
        self.config = config
        self.few_dsp = few_dsp
        super().__init__({
            "unit": Out(Unit(config)), "scratchpad": In(ScratchpadClient(config)),
            "accumulators": In(AccumulatorRead(config)), "linear": Out(LinearWrite(config))})

    def elaborate(self, platform):
        m = Module()
        config = self.config
        instruction = Signal.like(self.unit.i.payload, reset_less=True)
        check, start, running, last_written = Signal(), Signal(), Signal(), Signal()
        m.submodules.decoder = decoder = PostDecoder(config)
        control = Signal(PostControl(config), reset_less=True)
        m.d.comb += decoder.i.eq(self.unit.i.payload)
        m.d.sync += start.eq(check)
        with m.If(self.unit.i.ready):
            m.d.sync += [instruction.eq(self.unit.i.payload), control.eq(decoder.control)]
        draining = control.opcode == Opcode.DRAIN

        # Readers: requests of one instruction.
        m.submodules.drain = drain = DrainReads(config)
        m.submodules.pool = pool = PoolReads(config)
        m.submodules.elementwise = elementwise = ElementwiseReads(config)
        readers = {Opcode.DRAIN: drain, Opcode.POOL: pool, Opcode.ELEMENTWISE: elementwise}
        for opcode, reader in readers.items():
            m.d.sync += reader.start.eq(check & (control.opcode == opcode))
            m.d.comb += [
                reader.fields.eq(data.View(instruction_layout(config, opcode), instruction))]
        m.submodules.drained = drained = SkidBuffer(drain.o.payload.shape())
        wiring.connect(m, drain.o, drained.i)
        wiring.connect(m, drained.o, wiring.flipped(self.accumulators.i))
        m.submodules.words = words = WordReader(config)
        m.submodules.asked = asked = SkidBuffer(WordRequest(config))
        wiring.connect(m, asked.o, words.i)
        for reader in (pool, elementwise):
            with m.If(reader.o.valid):
                m.d.comb += [asked.i.valid.eq(1), asked.i.payload.eq(reader.o.payload)]
            m.d.comb += reader.o.ready.eq(asked.i.ready)

        # From what was read to words of results, and where they go.
        m.submodules.gather = gather = Gather(config)
        m.submodules.lanes = lanes = Lanes(config, few_dsp=self.few_dsp)
        groups_per_word = min(config.rows, config.columns) // config.post_lanes
        depth = max(4, _ROUND_TRIP // groups_per_word)
        m.submodules.assembler = assembler = Assembler(config, depth=depth)
        m.submodules.destination = destination = Destination(config)
        wiring.connect(m, words.o, gather.i)
        wiring.connect(m, wiring.flipped(self.linear), lanes.linear)
        m.d.comb += [
            gather.pairs.eq(control.pairs), gather.whole.eq(control.whole),
            lanes.control.eq(control.lanes),
            lanes.sums_valid.eq(self.accumulators.o_valid), lanes.sums.eq(self.accumulators.o_data),
            lanes.operands_valid.eq(gather.o_valid), lanes.operands.eq(gather.o),
            assembler.blocks.eq(control.lanes.blocks), assembler.part.eq(draining),
            assembler.lane_group.eq(control.lane_group),
            assembler.i_valid.eq(lanes.o_valid), assembler.i.eq(lanes.o),
            assembler.i_word_valid.eq(gather.o_word_valid), assembler.i_word.eq(gather.o_word),
            destination.start.eq(start), destination.surface.eq(control.dst),
            destination.size.eq(control.size), destination.interleaved.eq(draining),
        ]

        # Requests to the scratchpad; results go first.
        client = self.scratchpad.i
        m.submodules.leaving = leaving = SkidBuffer(data.StructLayout({
            "request": client.payload.shape(), "last": 1}))
        request = leaving.i.payload.request
        write, advance = Signal(), Signal()
        m.d.comb += [
            advance.eq(running & leaving.i.ready),
            write.eq(assembler.o.valid & destination.o.valid),
            assembler.o.ready.eq(advance & write), destination.o.ready.eq(advance & write),
            words.request.ready.eq(advance & ~write),
            words.answer_valid.eq(self.scratchpad.o_valid),
            words.answer.eq(self.scratchpad.o_data),
            leaving.i.valid.eq(running & (write | words.request.valid)),
            leaving.i.payload.last.eq(write & destination.o.p.last),
            request.op.eq(Mux(write, ScratchpadOp.WRITE, ScratchpadOp.READ)),
            request.address.eq(Mux(write, destination.o.p.address, words.request.payload)),
            request.mask.eq(control.mask), request.data.eq(assembler.o.payload),
            client.valid.eq(leaving.o.valid), client.payload.eq(leaving.o.payload.request),
            leaving.o.ready.eq(client.ready),
            last_written.eq(client.valid & client.ready & leaving.o.payload.last),
        ]

        # Room for results; whether there is some is said by a register.
        credits, credit, back = Signal(range(depth + 1), init=depth), Signal(init=1), Signal()
        after = Signal.like(credits)
        m.d.comb += [drain.credit.eq(credit), gather.credit.eq(credit),
                     after.eq(credits - (drain.take | gather.take) + back)]
        m.d.sync += [credits.eq(after), credit.eq(after.any()), back.eq(assembler.o.ready)]

        legal = destination.legal
        for opcode in (Opcode.POOL, Opcode.ELEMENTWISE):
            legal &= (control.opcode != opcode) | readers[opcode].legal
        self._sequence(m, decoder, legal, check, running, last_written,
                       [destination.fault, *(reader.fault for reader in readers.values())])
        m.d.comb += self.unit.stall.eq(Cat(
            i.valid & ~i.ready for i in (client, self.accumulators.i)).any())
        return m

    def _sequence(self, m: Module, decoder: PostDecoder, legal: Value, check: Signal,
                  running: Signal, last_written: Signal, faults: Iterable[FaultReport]) -> None:
        """Take instructions, one at a time, and end each with `done` or a fault.

        Readers start behind `check` in any case; of one that is refused nothing leaves the unit
        but requests for accumulators.
        """
        unit = self.unit
        illegal, outside = Signal(reset_less=True), Signal(reset_less=True)
        slot = Signal.like(decoder.slot, reset_less=True)
        refused = illegal | ~legal
        settle_cycles = max(1, WRITE_LATENCY - 1)
        settling = Signal(range(settle_cycles + 1), reset_less=True)
        idle = Signal(init=1)
        m.d.comb += [unit.i.ready.eq(idle), unit.busy.eq(~idle)]
        with m.FSM():
            with m.State("Idle"):
                m.d.sync += [illegal.eq(decoder.illegal), outside.eq(decoder.outside),
                             slot.eq(decoder.slot)]
                with m.If(unit.i.valid):
                    m.d.sync += idle.eq(0)
                    m.next = "Check"
            with m.State("Check"):
                m.d.comb += check.eq(1)
                m.next = "Start"
            with m.State("Start"):
                m.d.sync += [
                    settling.eq(settle_cycles),
                    unit.fault.cause.eq(Mux(refused, Fault.ILLEGAL_INSTRUCTION,
                                            Fault.ON_CHIP_RANGE)),
                    unit.fault.address.eq(Mux(refused, 0, slot))]
                with m.If(refused | outside):
                    m.next = "Fault"
                with m.Else():
                    m.d.sync += running.eq(1)
                    m.next = "Run"
            with m.State("Run"):
                with m.If(last_written):
                    m.d.sync += running.eq(0)
                    m.next = "Settle"
                for fault in faults:
                    with m.If(fault.valid):
                        m.d.sync += [running.eq(0), unit.fault.cause.eq(fault.cause),
                                     unit.fault.address.eq(fault.address)]
                        m.next = "Fault"
            with m.State("Settle"):
                m.d.sync += settling.eq(settling - 1)
                with m.If(settling == 1):
                    m.d.comb += unit.done.eq(1)
                    m.d.sync += idle.eq(1)
                    m.next = "Idle"
            with m.State("Fault"):
                m.d.comb += unit.fault.valid.eq(1)
