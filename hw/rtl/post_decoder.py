"""What the three instructions of the POST unit have in common, and the checks of their fields."""

from collections.abc import Iterable

from amaranth import Cat, Const, Module, Mux, Value, unsigned
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from hw.rtl.destination import ResultSize
from hw.rtl.lanes import LaneControl, LaneSource
from hw.rtl.layout import instruction_bits, instruction_layout
from hw.rtl.surface_walker import SurfaceLayout, surface_of
from hw.spec.config import MAX_STRIDE, ArrayConfig, bits_for
from hw.spec.isa import Elementwise, Opcode
from hw.spec.numerics import MULTIPLIER_ONE

__all__ = ["PostControl", "PostDecoder"]


class PostControl(data.StructLayout):
    """What the parts of the POST unit need to know.

    ===============  ============================================================================
    ``opcode``       which reader works
    ``dst``          surface of the result
    ``size``         its words
    ``lanes``        what the lanes compute
    ``lane_group``   lanes of the result where `opcode` is DRAIN and C < R
    ``mask``         lanes that are written
    ``pairs``        two words are read for each that is written
    ``whole``        nothing is computed, words are written as they are gathered
    ===============  ============================================================================
    """

    def __init__(self, config: ArrayConfig) -> None:
        super().__init__({
            "opcode": bits_for(max(Opcode)), "dst": SurfaceLayout(config),
            "size": ResultSize(config), "lanes": LaneControl(config),
            "lane_group": bits_for(config.lane_groups - 1), "mask": config.rows,
            "pairs": 1, "whole": 1})


class PostDecoder(wiring.Component):
    """Decodes DRAIN, POOL and ELEMENTWISE, and checks what a look at the fields tells.

    Surfaces are not checked here: their walkers do.

    Timing: none, outputs follow `i`.

    Members
    -------
    i : In
        The instruction.
    control : Out(PostControl)
    illegal : Out(1)
        Some field breaks a rule: ILLEGAL_INSTRUCTION.
    outside, slot : Out(1), Out(32)
        Otherwise: `slot` is not one of the parameters, tables or add tables: ON_CHIP_RANGE.
    """

    def __init__(self, config: ArrayConfig) -> None:
        self.config = config
        super().__init__({"i": In(unsigned(instruction_bits(config))),
                          "control": Out(PostControl(config)), "illegal": Out(1),
                          "outside": Out(1), "slot": Out(32)})

    def elaborate(self, platform):
        m = Module()
        config, control, lanes = self.config, self.control, self.control.lanes
        drain, pool, elementwise = (
            data.View(instruction_layout(config, opcode), self.i)
            for opcode in (Opcode.DRAIN, Opcode.POOL, Opcode.ELEMENTWISE))

        def check(zero: Iterable[Value], rules: Iterable[Value],
                  slots: Iterable[tuple[Value, int, Value]]) -> None:
            """Fields that must not be 0, rules that are broken, and slots below a size."""
            m.d.comb += self.illegal.eq(Cat(*(f == 0 for f in zero), *rules).any())
            for used, size, slot in slots:
                with m.If(used & (slot >= size)):
                    m.d.comb += [self.outside.eq(1), self.slot.eq(slot)]

        def result(f: data.View, planes: Value, pool: Value) -> None:
            """Set what is the same in all formats, but not at the same place."""
            m.d.comb += [
                control.dst.eq(surface_of(config, f, "dst")), control.size.planes.eq(planes),
                control.size.rows.eq(f.rows >> pool), control.size.columns.eq(f.columns >> pool),
                lanes.use_table.eq(f.use_table), lanes.table.eq(f.table),
            ]

        # Unless said otherwise codes stay what they are, in all lanes.
        m.d.comb += [control.opcode.eq(drain.opcode), control.mask.eq(-1),
                     lanes.source.eq(LaneSource.CODES), lanes.multiplier.eq(MULTIPLIER_ONE)]
        with m.Switch(drain.opcode):
            with m.Case(Opcode.DRAIN):
                f = drain
                result(f, Const(config.planes_per_drain), f.pool)
                m.d.comb += [
                    lanes.source.eq(LaneSource.SUMS), lanes.blocks.eq(f.pool),
                    lanes.parameter.eq(f.parameter), lanes.zero_point.eq(f.zero_point),
                    lanes.odd.eq(f.odd), control.lane_group.eq(f.lane_group),
                    control.mask.eq(((1 << min(config.rows, config.columns)) - 1)
                                    << (f.lane_group * config.columns)),
                ]
                check((f.rows, f.columns),
                      (f.pool & (f.rows[0] | f.columns[0]), f.lane_group >= config.lane_groups),
                      ((Const(1), config.parameter_entries, f.parameter),
                       (f.use_table, config.table_slots, f.table)))
            with m.Case(Opcode.POOL):
                f = pool
                result(f, f.planes, Const(0))
                m.d.comb += control.whole.eq(~f.use_table)
                check((f.src_rows, f.src_columns, f.rows, f.columns, f.planes, f.kernel_rows,
                       f.kernel_columns, f.stride_y, f.stride_x),
                      (f.stride_y > MAX_STRIDE, f.stride_x > MAX_STRIDE, f.y0 > 0, f.x0 > 0),
                      ((f.use_table, config.table_slots, f.table),))
            with m.Case(Opcode.ELEMENTWISE):
                f = elementwise
                copy, add = f.operation == Elementwise.MAP, f.operation == Elementwise.ADD
                result(f, f.planes, Const(0))
                m.d.comb += [control.pairs.eq(~copy), control.whole.eq(copy & ~f.use_table),
                             lanes.add_tables.eq(f.add_tables),
                             lanes.a_zero_point.eq(f.a_zero_point),
                             lanes.b_zero_point.eq(f.b_zero_point)]
                with m.If(~copy):
                    m.d.comb += [
                        lanes.source.eq(Mux(add, LaneSource.ADDED, LaneSource.PRODUCTS)),
                        lanes.multiplier.eq(f.multiplier), lanes.shift.eq(f.shift),
                        lanes.zero_point.eq(f.zero_point), lanes.odd.eq(f.odd)]
                check((f.rows, f.columns, f.planes, f.repeat_y, f.repeat_x),
                      (f.operation > max(Elementwise),),
                      ((add, config.add_table_slots, f.add_tables),
                       (f.use_table, config.table_slots, f.table)))
        return m
