"""Requantization parameters on chip: bias, multiplier and shift of every column."""

from amaranth import Cat, Module, signed, unsigned
from amaranth.lib import data, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from hw.rtl.interfaces import LinearWrite
from hw.spec.config import ArrayConfig, bits_for
from hw.spec.isa import LinearTarget
from hw.spec.numerics import MULTIPLIER_BITS, SHIFT_BITS

__all__ = ["Parameter", "Parameters"]


class Parameter(data.Struct):
    """Parameters of a column, in the order of their 8 bytes in memory."""

    bias: signed(32)
    multiplier: unsigned(MULTIPLIER_BITS)
    shift: unsigned(SHIFT_BITS)


class Parameters(wiring.Component):
    """Memory of `parameter_entries` entries, read by groups of `post_lanes` columns.

    Alone with its memories so that they map to block RAM: one for every lane, which keeps what is
    to be written in registers of its own, since wires to all lanes are long.

    Timing: `o` follows `entry` and `group` by one cycle. What is written in cycle t can be read
    from t + 2 on.

    Members
    -------
    linear : Out(LinearWrite)
        Writes; elements for other targets are ignored.
    entry, group : In
        Which entry, and which group of its columns.
    o : Out(Parameter[post_lanes])
    """

    def __init__(self, config: ArrayConfig) -> None:
        self.config = config
        super().__init__({
            "linear": Out(LinearWrite(config)), "entry": In(bits_for(config.parameter_entries - 1)),
            "group": In(range(config.columns // config.post_lanes)),
            "o": Out(data.ArrayLayout(Parameter, config.post_lanes))})

    def elaborate(self, platform):
        m = Module()
        config = self.config
        lanes, groups = config.post_lanes, config.columns // config.post_lanes
        lane_bits = (lanes - 1).bit_length()
        linear = self.linear
        written = linear.valid & (linear.target == LinearTarget.PARAMETERS)
        for lane in range(lanes):
            memory = Memory(shape=Parameter, depth=config.parameter_entries * groups, init=[])
            m.submodules[f"lane_{lane}"] = memory
            write, read = memory.write_port(), memory.read_port()
            own = written & (linear.index[:lane_bits] == lane)
            m.d.sync += write.en.eq(own)
            with m.If(own):
                m.d.sync += [write.addr.eq(linear.index[lane_bits:]),
                             write.data.eq(linear.data.as_value())]
            m.d.comb += [
                read.addr.eq(Cat(self.group, self.entry)),
                self.o[lane].eq(read.data),
            ]
        return m
