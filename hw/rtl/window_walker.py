"""Loops of a MAC: which scratchpad word, and which accumulator, in every cycle."""

from amaranth import Array, Cat, Module, Mux, Signal, signed
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from hw.rtl.layout import instruction_layout
from hw.spec.config import MAX_STRIDE, ArrayConfig, bits_for
from hw.spec.cycles import MIN_PASS_CYCLES
from hw.spec.isa import Opcode

__all__ = ["AddressPath", "PassLoops", "Pixel", "RingSteps", "Slot", "TILE_TAKEN_LATENCY",
           "WALKER_LATENCY", "WindowWalker"]

#: From the decision to start a pass to `tile_taken`, and to its first slot.
TILE_TAKEN_LATENCY = 3
WALKER_LATENCY = 5


class RingSteps(data.ArrayLayout):
    """1 to MAX_STRIDE times the row stride of a surface, modulo its ring."""

    def __init__(self, config: ArrayConfig) -> None:
        super().__init__(bits_for(config.scratchpad_words), MAX_STRIDE)


class _Tags(data.StructLayout):
    """What goes with a pixel, whatever its address.

    ===================  ========================================================================
    ``accumulator``      where its sums go; may be beyond the accumulators
    ``overwrite``        first pass of an instruction that does not accumulate
    ``swap``             first of a pass
    ``last_pass``        of the last pass of its instruction
    ``last``             last of its instruction
    ``new_plane``        first of a brick plane
    ``new_instruction``  first of its instruction
    ``illegal``          first of an instruction that breaks a rule
    ``bad_weights``      first of a pass whose weights are outside their memory
    ===================  ========================================================================
    """

    def __init__(self, config: ArrayConfig) -> None:
        super().__init__({
            "accumulator": bits_for(config.accumulator_words - 1) + 1, "overwrite": 1, "swap": 1,
            "last_pass": 1, "last": 1, "new_plane": 1, "new_instruction": 1, "illegal": 1,
            "bad_weights": 1})


class Pixel(data.StructLayout):
    """A pixel of a pass: row ``iy`` and column ``ix`` of the enlarged input, and its ``tags``."""

    def __init__(self, config: ArrayConfig) -> None:
        f = instruction_layout(config, Opcode.MAC)
        place = signed(bits_for(MAX_STRIDE << f["rows"].width) + 1)
        super().__init__({"iy": place, "ix": place, "tags": _Tags(config)})


class Slot(data.StructLayout):
    """A pixel of a pass: ``address`` of its scratchpad word if it is ``inside`` the input, else
    padding; and its ``tags``. The address may be beyond the scratchpad.
    """

    def __init__(self, config: ArrayConfig) -> None:
        f = instruction_layout(config, Opcode.MAC)
        planes = (1 << f["planes"].width) - 1
        highest = ((1 << f["src_base"].width) + (planes << f["src_plane_stride"].width)
                   + (1 << f["src_ring_words"].width) + (1 << f["src_columns"].width))
        super().__init__({"inside": 1, "address": bits_for(highest), "tags": _Tags(config)})


class PassLoops(wiring.Component):
    """Goes through planes, kernel rows, kernel columns (a *pass* each), rows and columns.

    Timing: a pixel per cycle; between passes only what :class:`WindowWalker` says.

    Members
    -------
    i, illegal, apart, tile_ready, tile_bad
        See :class:`WindowWalker`.
    o, o_valid : Out(Pixel), Out(1)
        Cannot be delayed.
    current : Out
        The instruction of `o`.
    """

    def __init__(self, config: ArrayConfig, *, held: bool = False) -> None:
        self.config = config
        self.held = held
        instruction = instruction_layout(config, Opcode.MAC)
        super().__init__({
            "i": In(stream.Signature(instruction)), "illegal": In(1), "apart": In(1),
            "tile_ready": In(1), "tile_bad": In(1),
            "o": Out(Pixel(config)), "o_valid": Out(1), "current": Out(instruction)})

    def elaborate(self, platform):
        m = Module()
        new, current = self.i.payload, self.current
        left = {name: Signal(len(new[name]), name=f"{name}_left", reset_less=True)
                for name in ("planes", "kernel_rows", "kernel_columns", "rows", "columns")}
        end = {name: Signal(name=f"{name}_end", reset_less=True) for name in left}

        def begin(source: data.View, *names: str) -> None:
            m.d.sync += [(left[name].eq(source[name]), end[name].eq(source[name] == 1))
                         for name in names]

        def count_down(name: str) -> None:
            m.d.sync += [left[name].eq(left[name] - 1), end[name].eq(left[name] == 2)]

        pixels_end = end["rows"] & end["columns"]
        passes_end = end["planes"] & end["kernel_rows"] & end["kernel_columns"]

        # When to start a pass, of this instruction or the next.
        running = Signal()
        age = Signal(range(MIN_PASS_CYCLES), init=MIN_PASS_CYCLES - 1)
        gap = Signal(MIN_PASS_CYCLES - 2, init=-1)  # one bit a cycle, the last one first
        may_start, next_pass, accept, start = Signal(), Signal(), Signal(), Signal()
        m.d.comb += [
            may_start.eq((~self.o_valid | pixels_end) & self.tile_ready
                         & (age == MIN_PASS_CYCLES - 1)),
            next_pass.eq(may_start & running & ~passes_end),
            self.i.ready.eq(may_start & ~next_pass
                            & (~self.apart | (~self.o_valid & gap.all()))),
            accept.eq(self.i.valid & self.i.ready),
            start.eq(next_pass | accept),
        ]
        m.d.sync += [
            self.o_valid.eq(start | (self.o_valid & ~pixels_end)),
            running.eq(accept | (running & ~(self.o_valid & pixels_end & passes_end))),
            age.eq(Mux(start, 0, age + (age != MIN_PASS_CYCLES - 1))),
            gap.eq(Cat(~self.o_valid, gap)),
        ]

        # Loops over passes, and the first pixel's place. Inputs of the next ones are one further.
        first_y, first_x = (Signal(signed(len(new.y0)), name=n, reset_less=True)
                            for n in ("first_y", "first_x"))
        next_y, next_x = Signal.like(first_y), Signal.like(first_x)
        m.d.comb += [next_y.eq(first_y), next_x.eq(first_x + 1)]
        if self.held:
            m.d.comb += current.eq(new)
        with m.If(accept):
            m.d.comb += [next_y.eq(new.y0), next_x.eq(new.x0)]
            if not self.held:
                m.d.sync += current.eq(new)
            begin(new, *left)
        with m.Elif(next_pass):
            begin(current, "rows", "columns")
            count_down("kernel_columns")
            with m.If(end["kernel_columns"]):
                m.d.comb += [next_y.eq(first_y + 1), next_x.eq(current.x0)]
                begin(current, "kernel_columns")
                count_down("kernel_rows")
                with m.If(end["kernel_rows"]):
                    m.d.comb += next_y.eq(current.y0)
                    begin(current, "kernel_rows")
                    count_down("planes")

        # Loops over pixels.
        pixel = Signal(Pixel(self.config), reset_less=True)
        tags = pixel.tags
        with m.If(start):
            m.d.sync += [first_y.eq(next_y), first_x.eq(next_x),
                         pixel.iy.eq(next_y), pixel.ix.eq(next_x)]
        with m.Else():
            m.d.sync += pixel.ix.eq(pixel.ix + current.stride_x)
            count_down("columns")
            with m.If(end["columns"]):
                m.d.sync += [pixel.ix.eq(first_x), pixel.iy.eq(pixel.iy + current.stride_y)]
                begin(current, "columns")
                count_down("rows")
        m.d.sync += [
            tags.accumulator.eq(Mux(accept, new.accumulator, Mux(
                next_pass, current.accumulator, tags.accumulator + 1))),
            tags.overwrite.eq(Mux(accept, ~new.accumulate, tags.overwrite & ~next_pass)),
            tags.swap.eq(start), tags.new_instruction.eq(accept),
            tags.new_plane.eq(accept | (next_pass & end["kernel_rows"] & end["kernel_columns"])),
            tags.illegal.eq(accept & self.illegal), tags.bad_weights.eq(start & self.tile_bad),
        ]
        m.d.comb += [self.o.eq(pixel), self.o.tags.last_pass.eq(passes_end),
                     self.o.tags.last.eq(passes_end & pixels_end)]
        return m


class AddressPath(wiring.Component):
    """Scratchpad addresses of pixels, without products.

    Source rows are counted from row 0 of the surface, which is where every plane starts since
    `y0` is at most inside it: a row's offset in the ring is that of the row before plus a multiple
    of the row stride, minus the ring if that is reached.

    Timing: latency 4 cycles, one pixel per cycle, no stalls.

    Members
    -------
    i, i_valid : In(Pixel), In(1)
    current : In
        The instruction of `i`.
    ring_steps : In(RingSteps)
        Its ring steps, needed with its first pixel; with all of them, if held.
    o, o_valid : Out(Slot), Out(1)
    pad : Out(signed(8))
        What padding counts as in this slot.
    tile_taken, tile_taken_last : Out(1)
        See :class:`WindowWalker`.
    """

    def __init__(self, config: ArrayConfig, *, held: bool = False) -> None:
        self.config = config
        self.held = held
        instruction = instruction_layout(config, Opcode.MAC)
        super().__init__({
            "i": In(Pixel(config)), "i_valid": In(1), "current": In(instruction),
            "ring_steps": In(RingSteps(config)), "o": Out(Slot(config)), "o_valid": Out(1),
            "pad": Out(signed(8)), "tile_taken": Out(1), "tile_taken_last": Out(1)})

    def elaborate(self, platform):
        m = Module()
        current, layout = self.current, Slot(self.config)
        offset = bits_for(self.config.scratchpad_words)
        valid = Signal(3)
        tags = [Signal(_Tags(self.config), name=f"tags_{i}", reset_less=True) for i in (1, 2, 3)]
        inside = Signal(3, reset_less=True)
        column = [Signal(len(current.src_columns), name=f"column_{i}", reset_less=True)
                  for i in (1, 2, 3)]
        m.d.sync += [valid.eq(Cat(self.i_valid, valid)), tags[0].eq(self.i.tags)]
        m.d.sync += [later.eq(x) for xs in (tags, column) for x, later in zip(xs, xs[1:])]

        # 1: from the enlarged input to the source.
        source_y, source_x = (place.as_unsigned()[:-1] >> up
                              for place, up in ((self.i.iy, current.up_y),
                                                (self.i.ix, current.up_x)))
        above = self.i.iy < 0
        row = Signal(bits_for(MAX_STRIDE), reset_less=True)  # low bits tell rows apart
        m.d.sync += [
            inside.eq(Cat(~above & (self.i.ix >= 0) & (source_y < current.src_rows)
                          & (source_x < current.src_columns), inside)),
            row.eq(Mux(above, 0, source_y)), column[0].eq(source_x),
        ]
        steps, ring = Signal(RingSteps(self.config), reset_less=True), Signal(offset)
        if self.held:
            m.d.comb += [steps.eq(self.ring_steps), ring.eq(current.src_ring_words)]
        else:
            with m.If(self.i.tags.new_instruction):
                m.d.sync += [steps.eq(self.ring_steps), ring.eq(current.src_ring_words)]

        # 2: source rows since the pixel before, or since the first one of the pass before.
        row_before, first_row = (Signal.like(row, name=n) for n in ("row_before", "first_row"))
        down, step = Signal.like(row), Signal(offset)
        plus, minus = Signal(offset, reset_less=True), Signal(signed(offset + 1), reset_less=True)
        with m.If(valid[0]):
            m.d.sync += row_before.eq(row)
            with m.If(tags[0].swap):
                m.d.sync += first_row.eq(row)
        m.d.comb += [
            down.eq(row - Mux(tags[0].swap, Mux(tags[0].new_plane, 0, first_row), row_before)),
            step.eq(Array([0, *steps])[down]),
        ]
        m.d.sync += [plus.eq(step), minus.eq(step - ring)]

        # 3: where the row starts in its ring, and where the plane starts.
        at, first_at, before, now = (Signal(offset, name=n, reset_less=True) for n in (
            "at", "first_at", "at_before", "at_now"))
        plane = Signal(len(self.o.address), reset_less=True)
        wrapped = Signal(signed(offset + 2))
        m.d.comb += [
            before.eq(Mux(tags[1].swap, Mux(tags[1].new_plane, current.src_ring_start, first_at),
                          at)),
            wrapped.eq(before + minus),
            now.eq(Mux(wrapped < 0, before + plus, wrapped)),
        ]
        with m.If(valid[1]):
            m.d.sync += at.eq(now)
            with m.If(tags[1].swap):
                m.d.sync += first_at.eq(now)
            with m.If(tags[1].new_plane):
                m.d.sync += plane.eq(Mux(tags[1].new_instruction, current.src_base,
                                         plane + current.src_plane_stride))
        m.d.comb += [self.tile_taken.eq(valid[1] & tags[1].swap),
                     self.tile_taken_last.eq(tags[1].last_pass)]

        # 4: the sum.
        slot = Signal(layout, reset_less=True)
        m.d.sync += [self.o_valid.eq(valid[2]), slot.inside.eq(inside[2]), slot.tags.eq(tags[2]),
                     slot.address.eq(plane + at + column[2])]
        if self.held:
            m.d.comb += self.pad.eq(current.pad)
        else:
            with m.If(tags[2].new_instruction):
                m.d.sync += self.pad.eq(current.pad)
        m.d.comb += self.o.eq(slot)
        return m


class WindowWalker(wiring.Component):
    """Turns MAC instructions into a slot per cycle.

    Timing: a pass starts when `tile_ready` is high, the pass before has no pixels left and was
    started at least :data:`hw.spec.cycles.MIN_PASS_CYCLES` ago. Its first slot leaves
    :data:`WALKER_LATENCY` cycles after that decision, the others follow without a gap;
    `tile_taken` is high :data:`TILE_TAKEN_LATENCY` cycles after it, and `tile_ready` need not fall
    earlier. An instruction is accepted when its first pass starts. Slots cannot be delayed.

    Parameters
    ----------
    config : ArrayConfig
    held : bool
        `i.payload` and `ring_steps` stay as they are until the last slot of an instruction has
        left, and nothing is offered before that: they need not be kept here.

    Members
    -------
    i : In(stream)
        MAC instructions. Those that break a rule give unspecified slots, but nothing worse.
    illegal : In(1)
        The instruction in `i.payload` breaks a rule.
    ring_steps : In(RingSteps)
        Of the instruction in `i.payload`; kept for a cycle after it was accepted.
    apart : In(1)
        Its accumulators overlap those of the instruction ahead, shifted: wait until they can be
        read.
    tile_ready, tile_bad : In(1)
        The weights of the next pass will be there in time; they are outside the weight memory.
    tile_taken, tile_taken_last : Out(1)
        A pass started; it is the last one of its instruction.
    o, o_valid : Out(Slot), Out(1)
    pad : Out(signed(8))
        What padding counts as in this slot.
    """

    def __init__(self, config: ArrayConfig, *, held: bool = False) -> None:
        self.config = config
        self.held = held
        super().__init__({
            "i": In(stream.Signature(instruction_layout(config, Opcode.MAC))),
            "illegal": In(1), "ring_steps": In(RingSteps(config)), "apart": In(1),
            "tile_ready": In(1), "tile_bad": In(1),
            "tile_taken": Out(1), "tile_taken_last": Out(1),
            "o": Out(Slot(config)), "o_valid": Out(1), "pad": Out(signed(8))})

    def elaborate(self, platform):
        m = Module()
        m.submodules.loops = loops = PassLoops(self.config, held=self.held)
        m.submodules.addresses = addresses = AddressPath(self.config, held=self.held)
        wiring.connect(m, wiring.flipped(self.i), loops.i)
        m.d.comb += [
            loops.illegal.eq(self.illegal), loops.apart.eq(self.apart),
            loops.tile_ready.eq(self.tile_ready), loops.tile_bad.eq(self.tile_bad),
            addresses.i.eq(loops.o), addresses.i_valid.eq(loops.o_valid),
            addresses.current.eq(loops.current), addresses.ring_steps.eq(self.ring_steps),
            self.tile_taken.eq(addresses.tile_taken),
            self.tile_taken_last.eq(addresses.tile_taken_last),
            self.o.eq(addresses.o), self.o_valid.eq(addresses.o_valid),
            self.pad.eq(addresses.pad),
        ]
        return m
