"""Tables on chip: codes to codes, and codes to the summands of an addition."""

from amaranth import Cat, Module, Signal, signed
from amaranth.lib import data, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from hw.rtl.interfaces import LinearWrite
from hw.spec.config import ArrayConfig, bits_for
from hw.spec.isa import LinearTarget

__all__ = ["AddTables", "CodeTables"]

#: A table is written, and kept, in words of four codes.
_QUAD_LOG2 = 2


class CodeTables(wiring.Component):
    """`table_slots` tables of 256 codes; every lane looks up one code.

    Alone with its memories so that they map to block RAM: a copy for every lane, since a copy has
    no more ports than one to write and one to read.

    Timing: latency :attr:`LATENCY` = 2 cycles, one code per lane and cycle, no stalls. What is
    written in a cycle can be looked up from the next one on.

    Members
    -------
    linear : Out(LinearWrite)
        Writes; elements for other targets are ignored.
    use, slot : In
        Which table, if any; must not change while a code is under way.
    i, o : In, Out(8 * post_lanes)
        Codes, and what they are mapped to. Without `use` they are the same.
    """

    LATENCY = 2

    def __init__(self, config: ArrayConfig) -> None:
        self.config = config
        codes = data.ArrayLayout(8, config.post_lanes)
        super().__init__({"linear": Out(LinearWrite(config)), "use": In(1),
                          "slot": In(bits_for(config.table_slots - 1)),
                          "i": In(codes), "o": Out(codes)})

    def elaborate(self, platform):
        m = Module()
        written = Signal()
        m.d.comb += written.eq(self.linear.valid & (self.linear.target == LinearTarget.TABLE))
        for lane, (code, o) in enumerate(zip(self.i, self.o)):
            memory = Memory(shape=8 << _QUAD_LOG2, init=[],
                            depth=self.config.table_slots * (256 >> _QUAD_LOG2))
            m.submodules[f"lane_{lane}"] = memory
            write, read = memory.write_port(), memory.read_port()
            before, mapped = (Signal(8, name=f"{name}_{lane}", reset_less=True)
                              for name in ("before", "mapped"))
            m.d.comb += [
                write.en.eq(written), write.addr.eq(self.linear.index),
                write.data.eq(self.linear.data.as_value()),
                read.addr.eq(Cat(code[_QUAD_LOG2:], self.slot)),
                o.eq(mapped),
            ]
            m.d.sync += [before.eq(code), mapped.eq(before)]
            with m.If(self.use):
                m.d.sync += mapped.eq(read.data.word_select(before[:_QUAD_LOG2], 8))
        return m


class AddTables(wiring.Component):
    """`add_table_slots` pairs of tables of 256 int32; every lane looks up one value in each.

    Alone with its memories so that they map to block RAM: a copy of both for every lane.

    Timing: `o_a` and `o_b` follow `slot`, `a` and `b` by one cycle. What is written in a cycle can
    be looked up from the next one on.

    Members
    -------
    linear : Out(LinearWrite)
        Writes; elements for other targets are ignored.
    slot : In
    a, b : In(8 * post_lanes)
        Codes.
    o_a, o_b : Out(signed(32) * post_lanes)
        Table a of a, table b of b.
    """

    def __init__(self, config: ArrayConfig) -> None:
        self.config = config
        codes = data.ArrayLayout(8, config.post_lanes)
        values = data.ArrayLayout(signed(32), config.post_lanes)
        super().__init__({"linear": Out(LinearWrite(config)),
                          "slot": In(bits_for(config.add_table_slots - 1)),
                          "a": In(codes), "b": In(codes), "o_a": Out(values), "o_b": Out(values)})

    def elaborate(self, platform):
        m = Module()
        index = self.linear.index
        written = Signal()
        m.d.comb += written.eq(self.linear.valid
                               & (self.linear.target == LinearTarget.ADD_TABLES))
        for side, codes, values in ((0, self.a, self.o_a), (1, self.b, self.o_b)):
            for lane, (code, value) in enumerate(zip(codes, values)):
                memory = Memory(shape=signed(32), depth=self.config.add_table_slots * 256, init=[])
                m.submodules[f"lane_{lane}_{'ab'[side]}"] = memory
                write, read = memory.write_port(), memory.read_port()
                m.d.comb += [
                    write.en.eq(written & (index[8] == side)),
                    write.addr.eq(Cat(index[:8], index[9:])),
                    write.data.eq(self.linear.data.as_value()),
                    read.addr.eq(Cat(code, self.slot)),
                    value.eq(read.data),
                ]
        return m
