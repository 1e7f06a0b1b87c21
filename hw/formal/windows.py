"""DMA windows: the check of a transfer, and the product that it relies on.

Solvers cannot multiply numbers of this size. They need not: a product is what repeated addition
gives, and repeated addition is what a transfer does, a row after the other.
"""

from amaranth import Cat, Module, Mux, Signal, Value
from amaranth.hdl import Assert, Assume, Cover
from amaranth.lib import wiring
from amaranth.lib.wiring import In

from hw.formal.probe import Probe, free_inputs
from hw.formal.proof import Proof, implies
from hw.rtl.transfer import SerialProduct, TransferCheck
from hw.spec.config import PRESETS, ArrayConfig
from hw.spec.isa import Isa, Opcode, Window
from hw.spec.regs import Fault

__all__ = ["PROOFS", "CheckedSpan", "RepeatedAddition"]


class RepeatedAddition(wiring.Component):
    """Two serial products beside each other: of ``count`` and of ``count - 1``."""

    def __init__(self, count_bits: int, stride_bits: int) -> None:
        self.count_bits, self.stride_bits = count_bits, stride_bits
        super().__init__({"start": In(1), "count": In(count_bits), "stride": In(stride_bits)})

    def elaborate(self, platform):
        m = Module()
        names = ("all", "but_one")
        duts = {name: SerialProduct(self.count_bits, self.stride_bits) for name in names}
        probes = {name: Probe(dut) for name, dut in duts.items()}
        for name in names:
            m.submodules[name] = probes[name]
            m.d.comb += [duts[name].start.eq(self.start), duts[name].operand.eq(self.stride)]
        m.d.comb += [duts["all"].factor.eq(self.count), duts["but_one"].factor.eq(self.count - 1)]

        # The product in work, and how far.
        known, count = Signal(), Signal(self.count_bits)
        stride, borrow = Signal(self.stride_bits), Signal()
        with m.If(self.start):
            m.d.sync += [known.eq(1), count.eq(self.count), stride.eq(self.stride),
                         borrow.eq(1)]
        left, addend = ({name: probes[name].signal(what) for name in names}
                        for what in ("left", "addend"))
        with m.If(~self.start & left["all"][0]):
            m.d.sync += borrow.eq(0)
        more, less = duts["all"].total, duts["but_one"].total
        one_more = (less + stride)[:len(less)]  # nothing is lost: count * stride fits
        ready = known & ~duts["all"].busy & ~duts["but_one"].busy
        finished = Signal()
        m.d.sync += finished.eq(ready & ~self.start)
        m.d.comb += [
            Assert(implies(finished & (count == 0), more == 0)),
            Assert(implies(finished & (count != 0), more == one_more)),
            Cover(finished & (count == 13) & (more == 13 * 5)),
        ]
        # Low bits that are all zero are ones in the smaller count.
        active = known & (count != 0)
        m.d.comb += [
            Assert(implies(finished, known & (left["all"] == 0) & (left["but_one"] == 0))),
            Assert(implies(active, addend["all"] == addend["but_one"])),
            Assert(implies(known & (count == 0), (left["all"] == 0) & (more == 0))),
            Assert(implies(active & borrow, (left["all"] != 0)
                           & (left["but_one"] == left["all"] - 1)
                           & (more == 0) & (one_more == addend["all"]))),
            Assert(implies(active & ~borrow, (left["but_one"] == left["all"])
                           & (more == one_more))),
        ]
        return m


class CheckedSpan(wiring.Component):
    """The check of a transfer with any fields, and windows of any size."""

    def __init__(self, config: ArrayConfig, *, written: bool) -> None:
        self.config, self.written = config, written
        super().__init__({})

    def elaborate(self, platform):
        m = Module()
        dut = TransferCheck(self.config, written=self.written)
        probe = m.submodules.dut = Probe(dut)
        free_inputs(m, dut)
        sizes = Cat(dut.constants_bytes, dut.activations_bytes)
        before = Signal.like(sizes)
        m.d.sync += before.eq(sizes)
        m.d.comb += Assume(implies(~probe.in_state("", "Idle"), sizes == before))

        # Bytes from the first row to the last one: two products, once they are complete.
        i, checked, f = dut.i.payload, dut.o.payload, dut.o.payload.fields
        planes, rows = (probe.component(str(n)) for n in range(2))
        skip = Mux(f.head < 0, -f.head, 0)
        end = planes.total + rows.total + (f.address + skip) + checked.memory_bytes
        size = Mux(f.window == Window.ACTIVATIONS, dut.activations_bytes, dut.constants_bytes)
        good = dut.o.valid & checked.good
        low = self.config.alignment_bytes - 1
        start = dut.i.valid & dut.i.ready
        for product, count, stride in ((planes, i.planes, i.memory_plane_stride),
                                       (rows, i.rows, i.memory_row_stride)):
            m.d.comb += [Assert(product.start == start), Assert(product.operand == stride),
                         Assert(implies(count != 0, product.factor == count - 1))]
        m.d.comb += [
            Assert(implies(good, (f.planes != 0) & (f.rows != 0))),
            Assert(implies(good, ((f.address | f.memory_plane_stride | f.memory_row_stride)
                                  & low) == 0)),
            Assert(implies(good & (checked.memory_bytes != 0), end <= size)),
            Cover(good & (f.planes == 2) & (f.rows == 3) & (checked.memory_bytes > 4)
                  & (f.memory_row_stride != 0) & (f.memory_plane_stride != 0)),
            Cover(dut.o.valid & ~checked.good & (checked.cause == Fault.CONSTANTS_WINDOW)),
        ]

        if not self.written:
            self._whole_words(m, dut, probe)

        # From state to state.
        settled = ~probe.in_state("", "Idle", "Multiply")
        summed = settled & ~probe.in_state("", "Sum")
        spanned = summed & ~probe.in_state("", "Span")
        extended = spanned & ~probe.in_state("", "Extend")
        compared = extended & ~probe.in_state("", "Compare")
        fields, first, last_end = (probe.signal(name) for name in ("f", "first", "end"))
        rest, most, stop, used = (probe.signal(name) for name in ("rest", "most", "stop", "used"))
        columns, empty = probe.component("4"), (f.planes == 0) | (f.rows == 0)
        captured = Signal.like(i)
        with m.If(start):
            m.d.sync += captured.eq(i)
        m.d.comb += [
            Assert(probe.in_state("")),
            Assert(implies(~probe.in_state("", "Idle"), fields == Value.cast(captured))),
            Assert(implies(settled, (probe.signal("0.left") == 0) & (probe.signal("1.left") == 0))),
            Assert(implies(settled, probe.signal("4.left") == 0)),
            Assert(implies(settled, probe.signal("misaligned") == Cat(
                (value & low).any() for value in (f.address, f.memory_plane_stride,
                                                  f.memory_row_stride)))),
            Assert(implies(settled & empty, probe.signal("broken"))),
            Assert(implies(summed & empty, probe.signal("illegal"))),
            Assert(implies(settled, (probe.signal("start_address") == f.address + skip)
                           & (probe.signal("size") == size))),
            Assert(implies(settled, rest == f.lane_count - Mux(f.head < 0, 0, f.head))),
            Assert(implies(settled, most == Mux(f.head < 0, f.row_bytes + f.head, f.row_bytes))),
            Assert(implies(summed, probe.signal("memory") == planes.total + rows.total)),
            Assert(implies(summed, stop == columns.total + rest)),
            Assert(implies(spanned, first == planes.total + rows.total + (f.address + skip))),
            Assert(implies(spanned, used == Mux(f.whole | (stop < most), stop, most))),
            Assert(implies(extended, checked.memory_bytes
                           == Mux(used < 0, 0, used)[:len(checked.memory_bytes)])),
            Assert(implies(extended, last_end == (first + checked.memory_bytes)[:len(last_end)])),
            Assert(implies(extended, probe.signal("some") == (checked.memory_bytes != 0))),
            Assert(implies(compared, probe.signal("beyond")
                           == (probe.signal("some") & (last_end > size)))),
        ]
        return m

    def _whole_words(self, m, dut, probe) -> None:
        """A STORE, which has words of R bytes, moves a multiple of R bytes in a row."""
        i, rows = dut.i.payload, self.config.rows
        m.d.comb += [
            Assume(i.whole), Assume(i.head == 0),
            Assume((i.word_step == rows) & (i.lane_count == rows)),
            Assert(implies(probe.in_state("", "Judge", "Walk", "Offer"),
                           dut.o.payload.memory_bytes % rows == 0)),
        ]
        # R times the words: R has a single bit, which adds what was shifted that far.
        left, addend, total = (probe.signal(f"4.{name}") for name in ("left", "addend", "total"))
        active = ~probe.in_state("", "Idle")
        shifted = Cat((left == rows >> n) & (addend[:n] == 0) for n in range(rows.bit_length()))
        stop, f = probe.signal("stop"), dut.o.payload.fields
        m.d.comb += [
            Assert(implies(active, f.whole & (f.head == 0) & (f.lane_count == rows))),
            Assert(implies(active, (left == 0) | shifted.any())),
            Assert(implies(active, total % rows == 0)),
            Assert(implies(active & ~probe.in_state("", "Multiply"),
                           probe.signal("rest") == rows)),
            Assert(implies(active & ~probe.in_state("", "Multiply", "Sum"), stop % rows == 0)),
            Assert(implies(active & ~probe.in_state("", "Multiply", "Sum", "Span"),
                           probe.signal("used") % rows == 0)),
        ]


def _product(name: str, config: str, count: str, stride: str) -> Proof:
    """Return the proof for two fields of a transfer."""
    fields = {field.name: field for field in Isa(PRESETS[config]).formats[Opcode.LOAD].fields}
    count_bits, stride_bits = fields[count].width + 1, fields[stride].width
    return Proof(
        name=f"windows.{name}", cover_depth=count_bits + 2, fast=config == "test-4x4",
        harness=lambda: RepeatedAddition(count_bits, stride_bits),
        claim=f"the check's product of {count} and stride is 0 for none, and grows by the stride "
              f"with each: {count_bits} by {stride_bits} bits ({config})")


PROOFS = (
    _product("planes", "test-4x4", "planes", "memory_plane_stride"),
    _product("planes_16", "ulx3s-85f", "planes", "memory_plane_stride"),
    _product("rows", "test-4x4", "rows", "memory_row_stride"),
    _product("rows_16", "ulx3s-85f", "rows", "memory_row_stride"),
    *(Proof(name=f"windows.check_{name}", cover_depth=25, fast=config == "test-4x4",
            harness=lambda config=config, written=written: CheckedSpan(
                PRESETS[config], written=written),
            claim=f"a {what} passes the check only if its last byte, by these products, is inside "
                  f"its window, and its address and strides are aligned ({config})")
      for name, what, config, written in (("load", "LOAD or LOAD_LINEAR", "test-4x4", True),
                                          ("store", "STORE", "test-4x4", False),
                                          ("load_16", "LOAD or LOAD_LINEAR", "ulx3s-85f", True),
                                          ("store_16", "STORE", "ulx3s-85f", False))),
)
