"""The arithmetic of the POST unit: sums or codes in, codes out, `post_lanes` per cycle."""

from amaranth import Cat, Module, Mux, Signal, signed
from amaranth.lib import data, enum, wiring
from amaranth.lib.wiring import In, Out

from hw.rtl.drain import BLOCK
from hw.rtl.gather import Operands
from hw.rtl.interfaces import LinearWrite
from hw.rtl.layout import instruction_layout
from hw.rtl.loop_nest import LoopNest
from hw.rtl.parameters import Parameters
from hw.rtl.requantizer import Requantizer, Request
from hw.rtl.tables import AddTables, CodeTables
from hw.spec.config import ArrayConfig
from hw.spec.isa import Opcode

__all__ = ["LaneControl", "LaneSource", "Lanes"]


class LaneSource(enum.Enum, shape=2):
    """What is requantized."""

    SUMS = 0      # sums plus their biases, with the scales of their columns
    CODES = 1     # codes a
    ADDED = 2     # table a of a plus table b of b
    PRODUCTS = 3  # (a - a_zero_point) * (b - b_zero_point)


class LaneControl(data.StructLayout):
    """What an instruction says about the lanes.

    `source` (:class:`LaneSource`), `blocks` (sums of 2x2 blocks follow each other), and fields
    of the instructions.
    """

    def __init__(self, config: ArrayConfig) -> None:
        names = {Opcode.DRAIN: ("parameter", "use_table", "table"),
                 Opcode.ELEMENTWISE: ("add_tables", "a_zero_point", "b_zero_point", "multiplier",
                                      "shift", "zero_point", "odd")}
        super().__init__({"source": LaneSource, "blocks": 1, **{
            name: instruction_layout(config, opcode)[name].shape
            for opcode in names for name in names[opcode]}})


class Lanes(wiring.Component):
    """Requantizes sums or operands, then maps the codes through a table.

    Sums come in the order of :class:`~hw.rtl.drain.DrainReads`, from which their columns follow.

    Timing: latency :attr:`LATENCY` = 11 cycles, `post_lanes` results per cycle, no stalls. Stages:
    tables or differences; operands, or product; sum; six of the requantizer; two of the table.

    Parameters
    ----------
    config : ArrayConfig
    few_dsp : bool
        As in :class:`~hw.rtl.wide_multiplier.WideMultiplier`.

    Members
    -------
    linear : Out(LinearWrite)
        Writes parameters and tables: in cycle t what is read from t + 3 on.
    control : In(LaneControl)
        Must not change while results are under way.
    sums_valid, sums : In
        int32 accumulators.
    operands_valid, operands : In
        Codes.
    o_valid, o : Out
        Codes. One result for each input.
    """

    LATENCY = 3 + Requantizer.LATENCY + CodeTables.LATENCY

    def __init__(self, config: ArrayConfig, *, few_dsp: bool = False) -> None:
        self.config = config
        self.few_dsp = few_dsp
        lanes = config.post_lanes
        super().__init__({
            "linear": Out(LinearWrite(config)), "control": In(LaneControl(config)),
            "sums_valid": In(1), "sums": In(data.ArrayLayout(32, lanes)),
            "operands_valid": In(1), "operands": In(Operands(lanes)),
            "o_valid": Out(1), "o": Out(data.ArrayLayout(8, lanes))})

    def elaborate(self, platform):
        m = Module()
        config, control = self.config, self.control
        m.submodules.parameters = parameters = Parameters(config)
        m.submodules.add_tables = add_tables = AddTables(config)
        m.submodules.tables = tables = CodeTables(config)
        # What is written comes a long way.
        linear = LinearWrite(config).flip().create()
        m.d.sync += [getattr(linear, name).eq(getattr(self.linear, name))
                     for name in linear.signature.members]
        for memory in (parameters, add_tables, tables):
            wiring.connect(m, linear, memory.linear)
        valid = Signal(self.LATENCY)
        m.d.sync += valid.eq(Cat(self.sums_valid | self.operands_valid, valid))
        m.d.comb += self.o_valid.eq(valid[-1])

        # Which columns the sums belong to.
        groups = config.columns // config.post_lanes
        m.submodules.loops = loops = LoopNest(block=BLOCK.bit_length(),
                                              group=groups.bit_length() if groups > 1 else 0)
        m.d.comb += [
            loops.step.eq(self.sums_valid), loops.counts.block.eq(Mux(control.blocks, BLOCK, 1)),
            loops.counts.group.eq(groups),
            parameters.entry.eq(control.parameter), parameters.group.eq(loops.indices.group),
            add_tables.slot.eq(control.add_tables),
            add_tables.a.eq(self.operands.a), add_tables.b.eq(self.operands.b),
            tables.use.eq(control.use_table), tables.slot.eq(control.table),
            self.o.eq(tables.o),
        ]
        for lane in range(config.post_lanes):
            def register(shape, name: str, lane: int = lane) -> Signal:
                return Signal(shape, name=f"{name}_{lane}", reset_less=True)

            # 1: memories; differences.
            a, b = (code[lane].as_signed() for code in (self.operands.a, self.operands.b))
            code, sum_ = register(signed(8), "code"), register(signed(32), "sum")
            a_difference, b_difference = (register(signed(9), n) for n in ("a_diff", "b_diff"))
            m.d.sync += [code.eq(a), sum_.eq(self.sums[lane]),
                         a_difference.eq(a - control.a_zero_point),
                         b_difference.eq(b - control.b_zero_point)]

            # 2: what is added.
            x, y = register(signed(32), "x"), register(signed(32), "y")
            request, scaled = register(Request, "request"), register(Request, "scaled")
            column = parameters.o[lane]
            m.d.sync += [y.eq(0), request.multiplier.eq(control.multiplier),
                         request.shift.eq(control.shift)]
            with m.Switch(control.source):
                with m.Case(LaneSource.SUMS):
                    m.d.sync += [x.eq(sum_), y.eq(column.bias), request.shift.eq(column.shift),
                                 request.multiplier.eq(column.multiplier)]
                with m.Case(LaneSource.CODES):
                    m.d.sync += x.eq(code)
                with m.Case(LaneSource.ADDED):
                    m.d.sync += [x.eq(add_tables.o_a[lane]), y.eq(add_tables.o_b[lane])]
                with m.Case(LaneSource.PRODUCTS):
                    m.d.sync += x.eq(a_difference * b_difference)

            # 3: the sum. Then the requantizer, and the table.
            m.d.sync += [scaled.eq(request), scaled.acc.eq(x + y)]
            m.submodules[f"requantizer_{lane}"] = requantizer = Requantizer(few_dsp=self.few_dsp)
            m.d.comb += [requantizer.i.eq(scaled), requantizer.zero_point.eq(control.zero_point),
                         requantizer.odd.eq(control.odd), tables.i[lane].eq(requantizer.o)]
        return m
