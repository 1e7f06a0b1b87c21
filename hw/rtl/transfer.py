"""Transfers: what LOAD, LOAD_LINEAR and STORE have in common, and the checks before any access.

A transfer moves `planes` of `rows` of `columns` words between memory and chip. A word takes
`lane_count` bytes of its memory row, the next word starts `word_step` bytes behind it. For
LOAD_LINEAR it is a single row of elements (:class:`LinearElement`).
"""

from dataclasses import dataclass

from amaranth import Cat, Module, Mux, Signal, Value, signed
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from hw.rtl.walk import next_row
from hw.spec.config import MEMORY_BYTES, ArrayConfig, bits_for
from hw.spec.isa import SURFACE_FIELDS, Isa, LinearTarget, Opcode, Window
from hw.spec.regs import Fault

__all__ = ["CheckedTransfer", "LinearElement", "TransferCheck", "TransferLayout",
           "linear_elements"]


@dataclass(frozen=True, kw_only=True)
class LinearElement:
    """What LOAD_LINEAR writes at a time to a target: `size_bytes`, so many per unit of `dst` and
    `count`, and how many units the memory has.
    """

    size_bytes: int
    per_unit: int
    units: int

    @property
    def unit_shift(self) -> int:
        """Binary logarithm of `per_unit`."""
        return bits_for(self.per_unit) - 1


def linear_elements(config: ArrayConfig) -> dict[LinearTarget, LinearElement]:
    """Return the elements of every target."""
    def element(size_bytes: int, per_unit: int, units: int) -> LinearElement:
        return LinearElement(size_bytes=size_bytes, per_unit=per_unit, units=units)
    return {LinearTarget.WEIGHTS: element(config.columns, 1, config.weight_words),
            LinearTarget.PARAMETERS: element(8, config.columns, config.parameter_entries),
            LinearTarget.TABLE: element(4, 64, config.table_slots),
            LinearTarget.ADD_TABLES: element(4, 512, config.add_table_slots)}


class TransferLayout(data.StructLayout):
    """A transfer as its instruction says it.

    `linear` and `target` select LOAD_LINEAR. `whole`: a memory row has no end (`row_bytes` is not
    used). The surface's fields have no prefix; for LOAD_LINEAR `base` is the first element.
    """

    def __init__(self, config: ArrayConfig) -> None:
        widths = {f.name: f.width for opcode in (Opcode.LOAD_LINEAR, Opcode.LOAD, Opcode.STORE)
                  for f in Isa(config).formats[opcode].fields}
        shift = max(element.unit_shift for element in linear_elements(config).values())
        word_bytes = max(config.rows, config.columns, 8)
        super().__init__({
            "linear": 1, "target": bits_for(max(LinearTarget)), "window": bits_for(max(Window)),
            **{name: widths[name] for name in ("address", "memory_plane_stride",
                                               "memory_row_stride", "planes", "rows")},
            "columns": max(widths["columns"], widths["count"] + shift),
            "word_step": bits_for(max(2 * config.rows, word_bytes)),
            "lane_first": widths["lane_first"], "lane_count": bits_for(word_bytes),
            "head": signed(widths["head"]), "whole": 1, "row_bytes": widths["row_bytes"],
            "fill": 8,
            **{name: widths[f"src_{name}"] for name in SURFACE_FIELDS},
            "base": max(widths["src_base"], widths["dst"] + shift)})


class CheckedTransfer(data.StructLayout):
    """A transfer that is `good` and may start, or the fault that it is.

    `fields` are the instruction's. Every memory row is `head_bytes` of fill, then
    `memory_bytes` bytes of memory, then fill to its end. `cause` and `address` are those of
    :class:`~hw.rtl.interfaces.FaultReport`, if it is not `good`.
    """

    def __init__(self, config: ArrayConfig) -> None:
        fields = TransferLayout(config)
        super().__init__({
            "fields": fields, "head_bytes": fields["head"].shape.width - 1,
            "memory_bytes": bits_for(MEMORY_BYTES), "good": 1, "cause": bits_for(max(Fault)),
            "address": 32})


class SerialProduct(wiring.Component):
    """Product of two numbers as a sum of shifted operands: an adder instead of a multiplier.

    Timing: `total` is right once `busy` is low; a cycle per bit of the factor, at least one,
    after `start`.

    Members
    -------
    start, factor, operand
        In the cycle of `start`, what to multiply.
    total : Out
        The product, until the next `start`.
    busy : Out(1)
        After this cycle, `total` is not yet right.
    """

    def __init__(self, factor_bits: int, operand_bits: int) -> None:
        self.factor_bits = factor_bits
        self.operand_bits = operand_bits
        super().__init__({"start": In(1), "factor": In(factor_bits), "operand": In(operand_bits),
                          "total": Out(factor_bits + operand_bits), "busy": Out(1)})

    def elaborate(self, platform):
        m = Module()
        left = Signal(self.factor_bits, reset_less=True)
        addend = Signal(len(self.total), reset_less=True)
        total = Signal(len(self.total), reset_less=True)
        m.d.comb += [self.total.eq(total), self.busy.eq(left[1:].any())]
        m.d.sync += [left.eq(left >> 1), addend.eq(addend << 1)]
        with m.If(left[0]):
            m.d.sync += total.eq(total + addend)
        with m.If(self.start):
            m.d.sync += [left.eq(self.factor), addend.eq(self.operand), total.eq(0)]
        return m


class TransferCheck(wiring.Component):
    """Checks transfers in the order of docs/isa_semantics.md, without a multiplier.

    The highest scratchpad word is first taken to be at the end of the ring; only if that is
    outside the scratchpad, the rows are walked through to find it.

    Timing: `o` is valid ``b + 6`` cycles after a transfer was accepted, b the bits of the longest
    of ``planes - 1``, ``rows - 1`` and ``word_step`` (at least 1), and another ``rows + 4`` later
    if rows are walked through. What does not belong to a fault is right two cycles before it is
    valid, and stays. One transfer at a time.

    Parameters
    ----------
    config : ArrayConfig
    written : bool
        The words are written: rows must not overwrite each other in their ring.

    Members
    -------
    i : In(stream)
        :class:`TransferLayout`.
    o : Out(stream)
        :class:`CheckedTransfer`.
    constants_bytes, activations_bytes : In(32)
        Sizes of the windows.
    """

    def __init__(self, config: ArrayConfig, *, written: bool) -> None:
        self.config = config
        self.written = written
        super().__init__({"i": In(stream.Signature(TransferLayout(config))),
                          "o": Out(stream.Signature(CheckedTransfer(config))),
                          "constants_bytes": In(32), "activations_bytes": In(32)})

    def elaborate(self, platform):
        m = Module()
        i, f = self.i.payload, Signal(TransferLayout(self.config), reset_less=True)
        start = self.i.valid & self.i.ready
        with m.If(start):
            m.d.sync += f.eq(i)
        memory_planes, memory_rows, chip_planes, chip_rows, columns = products = [
            self._product(m, start, factor, operand) for factor, operand in (
                (i.planes - 1, i.memory_plane_stride), (i.rows - 1, i.memory_row_stride),
                (i.planes - 1, i.plane_stride), (i.rows - 1, i.row_stride),
                (i.word_step, i.columns - 1))]
        busy = Cat(product.busy for product in products).any()

        # A step per cycle from here on, in registers that follow the fields by themselves: an adder
        # or a comparison and little else. First what needs no product.
        head = Mux(f.head < 0, 0, f.head)
        to_end = f.lane_count - head  # of the last word, from where memory begins in the first one
        to_limit = Mux(f.head < 0, f.row_bytes + f.head, f.row_bytes)
        rest = Signal(to_end.shape(), reset_less=True)
        most = Signal(to_limit.shape(), reset_less=True)
        start_address = Signal(len(f.address) + 1, reset_less=True)
        low = self.config.alignment_bytes - 1
        strides = (f.address, f.memory_plane_stride, f.memory_row_stride)
        misaligned = Signal(len(strides), reset_less=True)
        size = Signal(32, reset_less=True)
        m.d.sync += [
            start_address.eq(f.address + Mux(f.head < 0, -f.head, 0)),
            rest.eq(to_end), most.eq(to_limit),
            misaligned.eq(Cat((value & low).any() for value in strides)),
            size.eq(Mux(f.window == Window.ACTIVATIONS, self.activations_bytes,
                        self.constants_bytes)),
        ]

        # Sums, up to the bytes of a row, the first byte of the last row, and the highest word.
        wide = len(memory_planes.total) + 2
        memory = Signal(wide, reset_less=True)
        first = Signal(wide, reset_less=True)
        end = Signal(wide + 1, reset_less=True)
        width = Signal(len(columns.total) + 1, reset_less=True)
        stop = Signal((columns.total + rest).shape(), reset_less=True)
        used = Signal(Mux(0, most, stop).shape(), reset_less=True)
        chip = Signal(len(chip_planes.total) + 2, reset_less=True)
        top = Signal(len(chip) + 1, reset_less=True)
        reach = Signal(len(chip_rows.total) + 1, reset_less=True)
        checked = Signal(CheckedTransfer(self.config), reset_less=True)
        moved = Mux(used < 0, 0, used)[:len(checked.memory_bytes)]
        m.d.comb += [self.o.payload.eq(checked), self.o.payload.fields.eq(f)]
        m.d.sync += [
            width.eq(columns.total + f.lane_count), stop.eq(columns.total + rest),
            memory.eq(memory_planes.total + memory_rows.total),
            chip.eq(chip_planes.total + f.base + f.columns - 1),
            reach.eq(chip_rows.total + f.row_stride),

            first.eq(memory + start_address),
            used.eq(Mux(f.whole | (stop < most), stop, most)),
            checked.head_bytes.eq(Mux(head < width, head, width)),

            end.eq(first + moved), checked.memory_bytes.eq(moved),
        ]

        # What is wrong with it.
        broken, illegal, outside, exact, some, beyond, far = (
            Signal(name=name, reset_less=True)
            for name in ("broken", "illegal", "outside", "exact", "some", "beyond", "far"))
        limit, units = Signal(len(top)), Signal.like(top)
        m.d.comb += [limit.eq(self.config.scratchpad_words), units.eq(top)]
        with m.If(f.linear), m.Switch(f.target):
            for target, element in linear_elements(self.config).items():
                with m.Case(target):
                    m.d.comb += [limit.eq(element.units * element.per_unit),
                                 units.eq(top >> element.unit_shift)]
        m.d.sync += [
            broken.eq(Cat(
                f.planes == 0, f.rows == 0, f.columns == 0, f.lane_count == 0,
                ~f.linear & (f.lane_first + f.lane_count > self.config.rows), f.ring_words == 0,
                f.row_stride > f.ring_words, f.ring_start >= f.ring_words).any()),
            illegal.eq(broken | (self.written & (reach > f.ring_words))),
            outside.eq(top >= limit),
            some.eq(moved.any()), beyond.eq(some & (end > size)), far.eq(first > size),
        ]

        # What is reported of it.
        wrong, address = misaligned.any(), size
        for no, value in reversed(list(zip(misaligned, strides))):
            address = Mux(no, value, address)
        m.d.sync += [
            checked.good.eq(~(illegal | wrong | outside | beyond)),
            checked.cause.eq(Mux(illegal, Fault.ILLEGAL_INSTRUCTION, Mux(
                wrong, Fault.ALIGNMENT, Mux(
                    outside, Fault.ON_CHIP_RANGE, Mux(
                        f.window == Window.ACTIVATIONS, Fault.ACTIVATIONS_WINDOW,
                        Fault.CONSTANTS_WINDOW))))),
            checked.address.eq(Mux(illegal, 0, Mux(
                wrong | ~(outside | far), address, Mux(outside, units, first)))),
        ]

        # The highest row, a cycle late: a row is compared with all before it but the last one. If
        # it is below that it is not the highest, else only those before can be above it.
        row, last, highest, rows, higher = (
            Signal(width, reset_less=True, name=name) for name, width in (
                ("row", len(f.ring_start)), ("last", len(f.ring_start)),
                ("highest", len(f.ring_start)), ("rows", len(f.rows)), ("higher", 1)))
        with m.FSM():
            with m.State("Idle"):
                m.d.comb += self.i.ready.eq(1)
                with m.If(self.i.valid):
                    m.next = "Multiply"
            with m.State("Multiply"):
                m.d.sync += exact.eq(0)
                with m.If(~busy):
                    m.next = "Sum"
            with m.State("Sum"):
                m.next = "Span"
            with m.State("Span"):
                m.d.sync += top.eq(chip + f.ring_words - 1)
                m.next = "Extend"
            with m.State("Extend"):
                m.next = "Compare"
            with m.State("Compare"):
                m.next = "Judge"
            with m.State("Judge"):
                m.d.sync += [row.eq(f.ring_start), last.eq(0), highest.eq(0), higher.eq(0),
                             rows.eq(f.rows), exact.eq(1)]
                m.next = "Offer"
                with m.If(outside & ~exact & ~illegal & ~wrong):
                    m.next = "Walk"
            with m.State("Walk"):
                m.d.sync += [row.eq(next_row(row, f)), last.eq(row), rows.eq(rows - 1),
                             higher.eq((row > highest) & (row >= last))]
                with m.If(higher):
                    m.d.sync += highest.eq(last)
                with m.If(rows == 0):
                    m.next = "Reach"
            with m.State("Reach"):
                m.d.sync += top.eq(chip + highest)
                m.next = "Compare"
            with m.State("Offer"):
                m.d.comb += self.o.valid.eq(1)
                with m.If(self.o.ready):
                    m.next = "Idle"
        return m

    def _product(self, m: Module, start: Value, factor: Value, operand: Value) -> SerialProduct:
        """Add a product to the module."""
        product = SerialProduct(len(factor), len(operand))
        m.submodules += product
        m.d.comb += [product.start.eq(start), product.factor.eq(factor),
                     product.operand.eq(operand)]
        return product
