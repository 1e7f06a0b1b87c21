"""Tables on chip: codes to codes, and codes to the summands of an addition."""

from amaranth import Cat, Module, Signal, Value, signed
from amaranth.lib import data, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from hw.rtl.interfaces import LinearWrite
from hw.spec.config import ArrayConfig, bits_for
from hw.spec.isa import LinearTarget

__all__ = ["AddTables", "CodeTables"]

#: A table is written, and kept, in words of four codes.
_QUAD_LOG2 = 2


class _Write:
    """What is to be written to tables, in registers beside them, since wires to here are long.

    Parameters
    ----------
    m : Module
        Where the registers are.
    linear : LinearWrite
    own : Value
        `linear` is for these tables.
    name : str
        Of the registers.

    Attributes
    ----------
    enable, index, data : Signal
        One cycle behind `linear`.
    """

    def __init__(self, m: Module, linear, own: Value, name: str) -> None:
        self.enable = Signal(name=f"{name}_enable")
        self.index = Signal.like(linear.index, name=f"{name}_index", reset_less=True)
        self.data = Signal(32, name=f"{name}_data", reset_less=True)
        m.d.sync += self.enable.eq(linear.valid & own)
        with m.If(linear.valid & own):
            m.d.sync += [self.index.eq(linear.index), self.data.eq(linear.data.as_value())]


class CodeTables(wiring.Component):
    """`table_slots` tables of 256 codes; every lane looks up one code.

    Alone with its memories so that they map to block RAM: a copy for every lane, since a copy has
    no more ports than one to write and one to read.

    Timing: latency :attr:`LATENCY` = 2 cycles, one code per lane and cycle, no stalls. What is
    written in cycle t can be looked up from t + 2 on.

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
        written = _Write(m, self.linear, self.linear.target == LinearTarget.TABLE, "written")
        for lane, (code, o) in enumerate(zip(self.i, self.o)):
            memory = Memory(shape=8 << _QUAD_LOG2, init=[],
                            depth=self.config.table_slots * (256 >> _QUAD_LOG2))
            m.submodules[f"lane_{lane}"] = memory
            write, read = memory.write_port(), memory.read_port()
            before, mapped = (Signal(8, name=f"{name}_{lane}", reset_less=True)
                              for name in ("before", "mapped"))
            m.d.comb += [
                write.en.eq(written.enable), write.addr.eq(written.index),
                write.data.eq(written.data),
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

    Timing: `o_a` and `o_b` follow `slot`, `a` and `b` by one cycle. What is written in cycle t can
    be looked up from t + 2 on.

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
        linear = self.linear
        for side, codes, values in ((0, self.a, self.o_a), (1, self.b, self.o_b)):
            written = _Write(m, linear, (linear.target == LinearTarget.ADD_TABLES)
                             & (linear.index[8] == side), f"written_{'ab'[side]}")
            for lane, (code, value) in enumerate(zip(codes, values)):
                memory = Memory(shape=signed(32), depth=self.config.add_table_slots * 256, init=[])
                m.submodules[f"lane_{lane}_{'ab'[side]}"] = memory
                write, read = memory.write_port(), memory.read_port()
                m.d.comb += [
                    write.en.eq(written.enable),
                    write.addr.eq(Cat(written.index[:8], written.index[9:])),
                    write.data.eq(written.data),
                    read.addr.eq(Cat(code, self.slot)),
                    value.eq(read.data),
                ]
        return m
