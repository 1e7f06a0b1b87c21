"""Reads an SPI flash as if it were memory.

PicoSoC's ``spimemio`` does it over up to four wires, and took 307 logic cells of the system, more
than there is room for; this one, for a single wire, takes 150.

Ref: Winbond, W25Q128JV, revision F, 8.2.7 (Read Data, 03h) and 8.2.30 (Release Power-down, ABh).
"""

from amaranth import Cat, Const, Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from hw.small.bus import Bus

__all__ = ["FlashReader", "WAKE_CYCLES"]

_READ, _WAKE = 0x03, 0xAB
#: The flash takes 3 us to wake up: at 20 MHz and below that is less.
WAKE_CYCLES = 64
_ADDRESS_BITS = 22


class FlashReader(wiring.Component):
    """A word at a time; the one behind the last one without a new command.

    Timing: after reset the flash is woken up, which takes 80 cycles. A bit takes two cycles. The
    word that was read last is there at once, the one behind it after 65 cycles, any other after
    131.

    Members
    -------
    bus : Out(Bus)
        Of 16 MB; what is written is ignored.
    csb, clk, mosi, miso
        To the flash, in mode 0.
    """

    bus: Out(Bus(_ADDRESS_BITS))
    csb: Out(1, init=1)
    clk: Out(1)
    mosi: Out(1)
    miso: In(1)

    def elaborate(self, platform):
        m = Module()
        bus = self.bus
        # What is sent, first bit on top, and at the other end what comes.
        word = Signal(32, reset_less=True)
        bits = Signal(range(65))
        current = Signal(_ADDRESS_BITS, reset_less=True)
        known, woken = Signal(), Signal()

        distance = Signal(_ADDRESS_BITS)
        here, behind = Signal(), Signal()
        m.d.comb += [
            distance.eq(bus.address - current),
            here.eq(known & (distance == 0)), behind.eq(known & (distance == 1)),
            self.mosi.eq(word[-1]), bus.ready.eq(bus.valid & here & (bits == 0)),
            # The byte of the lowest address comes first.
            bus.read.eq(Mux(bus.valid, Cat(word[24:32], word[16:24], word[8:16], word[0:8]), 0)),
        ]

        # A bit: its clock rises, which samples both ways, and falls, which shifts.
        sampled = Signal(reset_less=True)
        with m.If(bits != 0):
            m.d.sync += self.clk.eq(~self.clk)
            with m.If(~self.clk):
                m.d.sync += sampled.eq(self.miso)
            with m.Else():
                m.d.sync += [word.eq(Cat(sampled, word)), bits.eq(bits - 1)]
        with m.Elif(~woken):
            # The command by itself: select, send it, deselect, and wait as long as this takes.
            with m.FSM():
                with m.State("Wake"):
                    m.d.sync += [self.csb.eq(0), word.eq(_WAKE << 24), bits.eq(8)]
                    m.next = "Wait"
                with m.State("Wait"):
                    m.d.sync += self.csb.eq(1)
                    waited = Signal(range(WAKE_CYCLES))
                    m.d.sync += [waited.eq(waited + 1), woken.eq(waited == WAKE_CYCLES - 1)]
        with m.Elif(bus.valid & ~here):
            with m.If(behind):
                m.d.sync += [bits.eq(32), current.eq(bus.address)]
            with m.Elif(~self.csb):
                m.d.sync += [self.csb.eq(1), known.eq(0)]
            with m.Else():
                m.d.sync += [self.csb.eq(0), known.eq(1), current.eq(bus.address), bits.eq(64),
                             word.eq(Cat(Const(0, 2), bus.address, Const(_READ, 8)))]
        return m
