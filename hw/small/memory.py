"""The large memories: single-port RAM by itself, and shared with the array."""

from amaranth import Module, Mux, Signal
from amaranth.lib import data, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from hw.rtl.interfaces import ScratchpadRead
from hw.small.bus import Bus
from hw.spec.config import ArrayConfig, bits_for

__all__ = ["SharedScratchpad", "SinglePort"]


class SinglePort(wiring.Component):
    """A memory of words of 32 bits with one port, alone so that it maps to two SPRAMs.

    Timing: `read` follows `address` by a cycle if `enable` is high and `strobe` 0. Else it is
    unspecified until the next reading; contents are, before the first writing.

    Members
    -------
    enable, address, strobe, written : In
        `strobe` has a bit for each byte to write.
    read : Out(32)
    """

    def __init__(self, words: int) -> None:
        self.words = words
        super().__init__({"enable": In(1), "address": In(bits_for(words - 1)), "strobe": In(4),
                          "written": In(32), "read": Out(32)})

    def elaborate(self, platform):
        if hasattr(platform, "single_port"):
            return platform.single_port(self)
        m = Module()
        m.submodules.memory = memory = Memory(shape=32, depth=self.words, init=[])
        read, write = memory.read_port(), memory.write_port(granularity=8)
        m.d.comb += [
            read.en.eq(self.enable & (self.strobe == 0)), read.addr.eq(self.address),
            write.en.eq(Mux(self.enable, self.strobe, 0)), write.addr.eq(self.address),
            write.data.eq(self.written), self.read.eq(read.data),
        ]
        return m


class SharedScratchpad(wiring.Component):
    """The scratchpad in a single-port memory: the array's while it works, else the processor's.

    In place of :class:`hw.rtl.scratchpad.Scratchpad`, of which it has the array's port.

    Timing: the array's data follow an address by :data:`hw.rtl.scratchpad.ARRAY_LATENCY` cycles,
    if `busy` is high from that of the address on to that before the data. An access of the
    processor takes two cycles; it begins when `busy` is low.

    Members
    -------
    busy : In(1)
        The memory is the array's.
    mac : Out(ScratchpadRead)
    bus : Out(Bus)
    """

    def __init__(self, config: ArrayConfig) -> None:
        self.config = config
        super().__init__({
            "busy": In(1), "mac": Out(ScratchpadRead(config)),
            "bus": Out(Bus(bits_for(config.scratchpad_words - 1)))})

    def elaborate(self, platform):
        m = Module()
        m.submodules.memory = memory = SinglePort(self.config.scratchpad_words)
        address = Signal.like(self.mac.address, reset_less=True)
        data_out = Signal(data.ArrayLayout(8, self.config.rows), reset_less=True)
        theirs, answered = Signal(), Signal()
        m.d.comb += theirs.eq(self.bus.valid & ~answered & ~self.busy)
        m.d.sync += [address.eq(self.mac.address), data_out.eq(memory.read),
                     answered.eq(theirs)]
        m.d.comb += [
            memory.enable.eq(self.busy | theirs),
            memory.address.eq(Mux(self.busy, address, self.bus.address)),
            memory.strobe.eq(Mux(theirs, self.bus.strobe, 0)),
            memory.written.eq(self.bus.written), self.mac.data.eq(data_out),
            self.bus.ready.eq(answered), self.bus.read.eq(Mux(answered, memory.read, 0)),
        ]
        return m
