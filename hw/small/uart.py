"""A serial line: 8 data bits, no parity, one stop bit, at a fixed speed.

PicoSoC's has counters of 32 bits for a speed that can be set: 263 LUTs by itself, this one 60.
"""

from amaranth import Cat, Const, Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

__all__ = ["Uart"]


class Uart(wiring.Component):
    """Sender and receiver.

    Timing: a bit takes `bit_cycles` cycles. A byte that came stays until it is read, or the next
    one has come.

    Members
    -------
    tx, rx : Out(1), In(1)
        The line, high when idle.
    send, written : In(1), In(8)
        Send a byte; only when `sending` is low.
    sending : Out(1)
    take : In(1)
        Forget the byte that came.
    came, read : Out(1), Out(8)
        There is one; which.
    """

    def __init__(self, bit_cycles: int) -> None:
        if bit_cycles < 4:
            raise ValueError(f"bit_cycles must be at least 4, not {bit_cycles}")
        self.bit_cycles = bit_cycles
        super().__init__({
            "tx": Out(1), "rx": In(1), "send": In(1), "written": In(8), "sending": Out(1),
            "take": In(1), "came": Out(1), "read": Out(8)})

    def elaborate(self, platform):
        m = Module()
        last = self.bit_cycles - 1

        # What is still to be sent, the stop bit last; an idle line is full of ones.
        shape, bits, clock = Signal(9, init=-1), Signal(range(11)), Signal(range(last + 1))
        m.d.comb += [self.tx.eq(shape[0]), self.sending.eq(bits != 0)]
        with m.If(bits == 0):
            with m.If(self.send):
                m.d.sync += [shape.eq(Cat(Const(0, 1), self.written)), bits.eq(10),
                             clock.eq(last)]
        with m.Elif(clock == 0):
            m.d.sync += [shape.eq(Cat(shape[1:], Const(1, 1))), bits.eq(bits - 1), clock.eq(last)]
        with m.Else():
            m.d.sync += clock.eq(clock - 1)

        # The line is looked at in the middle of each bit; after the start bit eight of data, and
        # the stop bit, without which it was no byte.
        line, taken = Signal(2, init=-1), Signal(range(11))
        until, pattern = Signal(range(last + 1)), Signal(8, reset_less=True)
        m.d.sync += line.eq(Cat(self.rx, line))
        with m.If(self.take):
            m.d.sync += self.came.eq(0)
        with m.If(taken == 0):
            m.d.sync += until.eq(last // 2)
            with m.If(~line[1]):
                m.d.sync += taken.eq(10)
        with m.Elif(until != 0):
            m.d.sync += until.eq(until - 1)
        with m.Else():
            m.d.sync += [until.eq(last), taken.eq(taken - 1), pattern.eq(Cat(pattern[1:], line[1]))]
            with m.If((taken == 10) & line[1]):  # too short for a start bit
                m.d.sync += taken.eq(0)
            with m.If((taken == 1) & line[1]):
                m.d.sync += [self.came.eq(1), self.read.eq(pattern)]
        return m
