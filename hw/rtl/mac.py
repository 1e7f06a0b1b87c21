"""The MAC unit: feeds the array with activations and weights."""

from amaranth import Cat, Module, Mux, Signal
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from hw.rtl.array import ArrayInput, array_latency
from hw.rtl.interfaces import ScratchpadRead, Unit
from hw.rtl.layout import instruction_layout
from hw.rtl.scratchpad import ARRAY_LATENCY
from hw.rtl.window_walker import WALKER_LATENCY, RingSteps, Slot, WindowWalker
from hw.spec.config import MAX_STRIDE, ArrayConfig, bits_for
from hw.spec.cycles import MIN_PASS_CYCLES
from hw.spec.isa import Opcode
from hw.spec.regs import Fault

__all__ = ["MAC_PIPELINE", "MacCheck", "MacUnit", "WeightLoader"]

#: Cycles from the decision to start a pass to its first activation entering the array.
MAC_PIPELINE = WALKER_LATENCY + ARRAY_LATENCY


class MacCheck(wiring.Component):
    """Looks at the next MAC while others run.

    Timing: `ready` three cycles after `valid` rose or `accept` passed.

    Members
    -------
    i, valid : In
        The instruction.
    accept : In(1)
        It is taken in this cycle; from the next on, `i` is another.
    ready : Out(1)
        What follows is of `i`.
    illegal : Out(1)
        A field breaks a rule: ILLEGAL_INSTRUCTION.
    ring_steps : Out(RingSteps)
        Kept for a cycle after `accept`.
    apart : Out(1)
        It adds to accumulators from another word on than the instruction before it.
    """

    def __init__(self, config: ArrayConfig) -> None:
        self.config = config
        super().__init__({
            "i": In(instruction_layout(config, Opcode.MAC)), "valid": In(1), "accept": In(1),
            "ready": Out(1), "illegal": Out(1), "ring_steps": Out(RingSteps(config)),
            "apart": Out(1)})

    def elaborate(self, platform):
        m = Module()
        i = self.i
        positive = ("src_ring_words", "src_rows", "src_columns", "kernel_rows", "kernel_columns",
                    "stride_y", "stride_x", "rows", "columns", "planes")
        illegal = Cat(
            *(i[name] == 0 for name in positive),
            i.stride_y > MAX_STRIDE, i.stride_x > MAX_STRIDE,
            i.src_row_stride > i.src_ring_words, i.src_ring_start >= i.src_ring_words,
            (i.y0 > 0) & ((i.y0 >> i.up_y) != 0), (i.x0 > 0) & ((i.x0 >> i.up_x) != 0)).any()
        accumulator = Signal(len(i.accumulator), reset_less=True)  # of the instruction before

        def added(x, y):
            """Sum modulo the ring of numbers below it."""
            reduced = Signal(len(x) + 2, name="reduced")
            m.d.comb += reduced.eq(x + y - i.src_ring_words)
            return Mux(reduced[-1], x + y, reduced)

        step = Signal(range(4))
        one, two, three, four = self.ring_steps
        m.d.comb += self.ready.eq(step == 3)
        with m.If(self.accept):
            m.d.sync += [step.eq(0), accumulator.eq(i.accumulator)]
        with m.Elif(self.valid & ~self.ready):
            m.d.sync += step.eq(step + 1)
        with m.Switch(step):
            with m.Case(0):
                m.d.sync += [
                    one.eq(Mux(i.src_row_stride == i.src_ring_words, 0, i.src_row_stride)),
                    self.illegal.eq(illegal),
                    self.apart.eq(i.accumulate & (i.accumulator != accumulator)),
                ]
            with m.Case(1):
                m.d.sync += two.eq(added(one, one))
            with m.Case(2):
                m.d.sync += [three.eq(added(one, two)), four.eq(added(two, two))]
        return m


class WeightLoader(wiring.Component):
    """Shifts the weights of one pass after another into the shadows of the array.

    Keeps one tile ahead: when a pass has taken a tile, the one behind it follows, and after the
    last of an instruction the first one of the next instruction, as soon as that is there.

    Timing: matched to :class:`WindowWalker`, whose first pixel of a pass reaches the array
    :data:`MAC_PIPELINE` cycles after `ready` was seen. A tile every ``max(R, 4)`` cycles.

    Members
    -------
    available : In(1)
        There is an instruction whose first tile was not taken.
    weights : In
        Its first weight word.
    taken, taken_last : In(1)
        The tile was swapped in, or will be before another shift arrives; the next one is of
        another instruction.
    ready, bad : Out(1)
        The next tile is there, or will be in time; it is not all in the weight memory.
    shift, weight : Out
        To the array.
    """

    def __init__(self, config: ArrayConfig) -> None:
        self.config = config
        address = bits_for(config.weight_words - 1)
        super().__init__({
            "available": In(1), "weights": In(address),
            "taken": In(1), "taken_last": In(1), "ready": Out(1), "bad": Out(1),
            "shift": Out(1), "weight": Out(address)})

    def elaborate(self, platform):
        m = Module()
        rows = self.config.rows
        address = Signal(bits_for(self.config.weight_words + rows), reset_less=True)
        following = Signal.like(address, reset_less=True)  # the tile behind this one
        wanted = Signal(init=1)   # the next instruction's first tile
        shifting, full = Signal(), Signal()
        number = Signal(range(rows))
        wanted_now, start, first = Signal(), Signal(), Signal.like(address)
        m.d.comb += [
            wanted_now.eq(wanted | (self.taken & self.taken_last)),
            start.eq(Mux(wanted_now, self.available, self.taken)),
            first.eq(Mux(wanted_now, self.weights, following)),
        ]
        m.d.sync += wanted.eq(wanted_now & ~self.available)
        with m.If(self.taken):
            m.d.sync += full.eq(0)
        with m.If(start):
            m.d.sync += [shifting.eq(1), number.eq(0), address.eq(first),
                         following.eq(first + rows),
                         self.bad.eq(first > self.config.weight_words - rows)]
        with m.Elif(shifting):
            m.d.sync += [number.eq(number + 1), address.eq(address + 1)]
            with m.If(number == rows - 1):
                m.d.sync += [shifting.eq(0), full.eq(~self.taken)]
        m.d.comb += self.ready.eq(full | (shifting & (number >= max(0, rows - MIN_PASS_CYCLES))))

        # The walker's pipeline is longer than the way to the shadows.
        late = Cat(shifting, address[:len(self.weight)])
        for stage in range(ARRAY_LATENCY - 1):
            before, late = late, Signal(len(late), name=f"late_{stage}")
            m.d.sync += late.eq(before)
        m.d.sync += Cat(self.shift, self.weight).eq(late)
        return m


class MacUnit(wiring.Component):
    """Runs MAC instructions.

    Timing: a pass of P pixels takes ``max(P, R, 4)`` cycles, and passes follow each other without
    a gap, also those of the next instruction: it is accepted, and its first pass starts, when the
    last pass ahead ends, if it was offered ``max(R - 3, 3)`` cycles before, and else that long
    after it was offered. An instruction that accumulates, but from another word on than the one
    ahead, starts at the earliest three cycles behind the last pixel of that one. Activations enter
    the array :data:`MAC_PIPELINE` cycles after the decision to start, and `done` is up when the
    sums can be read: :attr:`tail` cycles after the last pixel.

    Faults: ILLEGAL_INSTRUCTION before anything is done; ON_CHIP_RANGE when an activation, a weight
    or an accumulator outside of its memory is next, and what is ahead of it may have been
    accumulated. The fault's address is that of the activation, or the first behind the weights or
    accumulators.

    Parameters
    ----------
    config : ArrayConfig
    latency : int
        :func:`hw.rtl.array.array_latency`, if not all multipliers are inferred.
    held : bool
        Whoever offers an instruction leaves it in the payload until it is done, and offers none
        before that: it need not be kept here.

    Members
    -------
    unit : Out(Unit)
        Never stalls. Busy also while an instruction is offered.
    scratchpad : In(ScratchpadRead)
    array : Out(ArrayInput)
    """

    def __init__(self, config: ArrayConfig, *, latency: int | None = None,
                 held: bool = False) -> None:
        self.config = config
        self.held = held
        self.latency = latency or array_latency(config)
        super().__init__({"unit": Out(Unit(config)), "scratchpad": In(ScratchpadRead(config)),
                          "array": Out(ArrayInput(config))})

    @property
    def tail(self) -> int:
        """Cycles from behind an instruction's last pixel, at a pixel per cycle, to `done`."""
        return MAC_PIPELINE + self.latency - 2

    def elaborate(self, platform):
        m = Module()
        unit, config = self.unit, self.config
        new = data.View(instruction_layout(config, Opcode.MAC), unit.i.payload)
        stopped = Signal()

        # The instruction that is offered: checked, its weights fetched, then accepted.
        m.submodules.check = check = MacCheck(config)
        m.submodules.walker = walker = WindowWalker(config, held=self.held)
        m.submodules.loader = loader = WeightLoader(config)
        accept = Signal()
        m.d.comb += [
            check.i.eq(new), check.valid.eq(unit.i.valid), check.accept.eq(accept),
            walker.i.payload.eq(new), walker.i.valid.eq(unit.i.valid & check.ready & ~stopped),
            walker.illegal.eq(check.illegal), walker.ring_steps.eq(check.ring_steps),
            walker.apart.eq(check.apart),
            accept.eq(walker.i.valid & walker.i.ready),
            unit.i.ready.eq(walker.i.ready & check.ready & ~stopped),
            loader.available.eq(unit.i.valid), loader.weights.eq(new.weights),
            loader.taken.eq(walker.tile_taken), loader.taken_last.eq(walker.tile_taken_last),
            walker.tile_ready.eq(loader.ready), walker.tile_bad.eq(loader.bad),
            self.array.shift.eq(loader.shift), self.array.weight.eq(loader.weight),
        ]

        # A slot's address goes to the scratchpad; what is outside of any memory stops the unit.
        slot, layout = walker.o, Slot(config)
        m.d.comb += self.scratchpad.address.eq(slot.address)
        cause, address = Signal.like(unit.fault.cause), Signal.like(unit.fault.address)
        with m.If(slot.tags.illegal):
            m.d.comb += cause.eq(Fault.ILLEGAL_INSTRUCTION)
        with m.Elif(slot.inside & (slot.address >= config.scratchpad_words)):
            m.d.comb += [cause.eq(Fault.ON_CHIP_RANGE), address.eq(slot.address)]
        with m.Elif(slot.tags.bad_weights):
            m.d.comb += [cause.eq(Fault.ON_CHIP_RANGE), address.eq(config.weight_words)]
        with m.Elif(slot.tags.accumulator >= config.accumulator_words):
            m.d.comb += [cause.eq(Fault.ON_CHIP_RANGE), address.eq(config.accumulator_words)]
        going = walker.o_valid & ~stopped
        with m.If(going & (cause != Fault.NONE)):
            m.d.sync += [stopped.eq(1), unit.fault.cause.eq(cause),
                         unit.fault.address.eq(address)]

        # The scratchpad's cycles, then into the array.
        valid = Signal(ARRAY_LATENCY)
        m.d.sync += valid.eq(Cat(going & (cause == Fault.NONE), valid))
        pad = walker.pad
        for stage in range(ARRAY_LATENCY):
            before = slot, pad
            slot = Signal(layout, name=f"slot_{stage}", reset_less=True)
            m.d.sync += slot.eq(before[0])
            if not self.held:
                pad = Signal(8, name=f"pad_{stage}", reset_less=True)
                m.d.sync += pad.eq(before[1])
        tags = slot.tags
        m.d.comb += [
            self.array.valid.eq(valid[-1]), self.array.swap.eq(tags.swap),
            self.array.accumulator.eq(tags.accumulator), self.array.overwrite.eq(tags.overwrite),
            self.array.activation.eq(Mux(slot.inside, self.scratchpad.data.as_value(),
                                         pad.replicate(config.rows))),
        ]

        # Done when its last sums are visible; a fault when all that is ahead of it is done.
        finished = Signal(self.latency - 1)
        in_flight = Signal(range(self.latency // MIN_PASS_CYCLES + 5))
        m.d.sync += [
            finished.eq(Cat(valid[-1] & tags.last, finished)),
            in_flight.eq(in_flight + accept - unit.done),
            unit.fault.valid.eq(stopped & (valid == 0) & (finished == 0)),
        ]
        m.d.comb += [unit.done.eq(finished[-1]), unit.busy.eq(unit.i.valid | (in_flight != 0))]
        return m
