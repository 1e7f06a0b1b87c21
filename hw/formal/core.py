"""DMA windows at the pins of the core: no address outside, whatever program and memory do.

Three steps, each on the real core with all else free: requests for instructions, requests of LOAD
and STORE, and the bursts that are made of requests. What one step proves the next one assumes.
"""

from amaranth import Cat, Module, Mux, ResetSignal, Signal
from amaranth.asserts import AnySeq
from amaranth.hdl import Assert, Assume, Cover
from amaranth.lib import wiring

from hw.formal.bursts import assert_last
from hw.formal.probe import Probe, free_inputs
from hw.formal.proof import Proof, implies
from hw.rtl.supervisor import PARTS
from hw.rtl.top import Core
from hw.spec.config import PRESETS, ArrayConfig
from hw.spec.isa import Window

__all__ = ["PROOFS", "BurstWindows", "FetchWindow", "TransferWindow"]

_UNITS = ("scratchpad", "array", "mac", "post", "load", "store")


class _CoreHarness(wiring.Component):
    """The core, of which only a part does what it should.

    Windows begin at bus words, and stay as they are while the core is not in reset: that is proved
    in :mod:`hw.formal.control`.

    Parameters
    ----------
    config
    cut
        Submodules that do anything at any time.
    """

    #: Whether it is about requests inside the core, not about the bus.
    requests = True

    def __init__(self, config: ArrayConfig, *cut: str) -> None:
        self.config, self.cut = config, cut
        super().__init__({})

    def elaborate(self, platform):
        m = Module()
        dut = Core(self.config)
        probe = m.submodules.dut = Probe(dut)
        control, supervisor = (probe.component(f"sequencer.{name}")
                               for name in ("control", "supervisor"))
        for path in (*self.cut, "sequencer.control", "sequencer.supervisor"):
            probe.cut(path)
        free_inputs(m, dut)
        # All parts are in reset, or none (hw.formal.control).
        reset = supervisor.reset.dispatcher
        m.d.comb += Assume(supervisor.reset.as_value() == reset.replicate(PARTS.size))
        if self.requests:
            # The core's own reset acts on the supervisor, and until that acts, on the bus alone.
            m.d.comb += Assume(~ResetSignal())
        windows = {"program": control.program, "constants": control.constants,
                   "activations": control.activations}
        was_reset = Signal(init=1)
        m.d.sync += was_reset.eq(reset)
        for name, window in windows.items():
            before = Signal(64, name=f"{name}_before")
            m.d.sync += before.eq(window)
            m.d.comb += [Assume(implies(~was_reset, Cat(window) == before)),
                         Assume(implies(~reset, window.base % self.config.bus_bytes
                                        == 0))]
        self.prove(m, dut, probe, was_reset, windows)
        return m


class FetchWindow(_CoreHarness):
    """Every request for instructions is inside the program window."""

    def __init__(self, config: ArrayConfig) -> None:
        super().__init__(config, *_UNITS, "read", "write", "sequencer.dispatcher.buffer")

    def prove(self, m, dut, probe, was_reset, windows) -> None:
        window, asked = windows["program"], probe.signal("sequencer.dispatcher.asked")
        fetch, at = probe.component("sequencer.dispatcher").fetch.request, Signal(32)
        with m.If(~fetch.valid):
            m.d.sync += at.eq(asked)
        # How much is asked for next, if anything: it is right whenever it can be asked for.
        burst, span = (probe.signal(f"sequencer.dispatcher.{name}") for name in ("burst", "span"))
        m.d.comb += [
            Assert(implies(burst != 0, span != 0)),
            Assert(implies(~fetch.valid & (burst != 0), asked + span <= window.size)),
            Assert(asked <= Mux(was_reset, 0, window.size)),
            Assert(implies(fetch.valid, fetch.payload.bytes != 0)),
            Assert(implies(fetch.valid, fetch.payload.address == (window.base + at)[:32])),
            Assert(implies(fetch.valid, at + fetch.payload.bytes <= window.size)),
            Cover(fetch.valid & (at + fetch.payload.bytes == window.size) & (at != 0)),
        ]


class TransferWindow(_CoreHarness):
    """Every request of LOAD or STORE is inside a window that the instruction may name.

    The check of the transfer is replaced by what :class:`hw.formal.windows.CheckedSpan` proves of
    it, and the requests are followed row by row.
    """

    def __init__(self, config: ArrayConfig, unit: str) -> None:
        self.unit = unit
        super().__init__(config, *(name for name in _UNITS if name != unit), "read", "write",
                         "sequencer.dispatcher", f"{unit}.check", f"{unit}.jobs",
                         *{"load": ("load.unpack",),
                           "store": ("store.walk", "store.words", "store.pack")}[unit])

    def prove(self, m, dut, probe, was_reset, windows) -> None:
        allowed = [Cat(windows["activations"]), Cat(windows[
            "constants" if self.unit == "load" else "activations"])]
        check, runs = probe.component(f"{self.unit}.check"), probe.component(f"{self.unit}.runs")

        # The check: the last row of the last plane ends inside the window.
        checked, f = check.o.payload, check.o.payload.fields
        planes, rows = Signal(32), Signal(32)
        m.d.comb += [planes.eq(AnySeq(32)), rows.eq(AnySeq(32))]
        first = f.address + Mux(f.head < 0, -f.head, 0)
        chosen = Mux(f.window == Window.ACTIVATIONS, *allowed)
        good = check.o.valid & checked.good
        words = self.unit == "store" and self.config.rows >= self.config.bus_bytes
        whole = self.config.bus_bytes if words else 1
        m.d.comb += [
            Assume(implies(good, (f.planes != 0) & (f.rows != 0))),
            Assume(implies(good & (checked.memory_bytes != 0),
                           first + rows + planes + checked.memory_bytes <= chosen[32:])),
            Assume(implies(good, Cat(value % whole == 0 for value in (
                f.address, f.memory_plane_stride, f.memory_row_stride, checked.memory_bytes)
            ).all())),
        ]
        if self.unit == "store":
            entering = check.i.payload
            m.d.comb += [
                Assume(implies(good, f.head == 0)),
                Assert(entering.whole & (entering.head == 0)),
                Assert((entering.word_step == self.config.rows)
                       & (entering.lane_count == self.config.rows)),
            ]

        # Offsets in the window: of this row, of the first one of this plane, of the last of all;
        # the way from the first to the last row of a plane; and what is still to be requested.
        row_at, plane_at, last, way = Signal(33), Signal(33), Signal(33), Signal(32)
        window, job = Signal(64), Signal(f.shape())
        rows_left, planes_left = Signal.like(job.rows), Signal.like(job.planes)
        with m.If(runs.i.valid & runs.i.ready):
            m.d.sync += [window.eq(chosen), job.eq(f), row_at.eq(first), plane_at.eq(first),
                         last.eq(first + rows + planes), way.eq(rows),
                         rows_left.eq(f.rows), planes_left.eq(f.planes)]
        with m.If(runs.o.valid & runs.o.ready):
            m.d.sync += [row_at.eq(row_at + job.memory_row_stride), rows_left.eq(rows_left - 1)]
            with m.If(rows_left == 1):
                m.d.sync += [row_at.eq(plane_at + job.memory_plane_stride),
                             plane_at.eq(plane_at + job.memory_plane_stride),
                             rows_left.eq(job.rows), planes_left.eq(planes_left - 1)]
        # Both ways are products of a count less one and a stride: so many steps lead to their
        # ends and not beyond (hw.formal.windows.RepeatedAddition).
        row_last, valid = plane_at + way, runs.o.valid
        m.d.comb += [
            Assume(implies(rows_left == 1, row_at == row_last)),
            Assume(implies(rows_left > 1, row_at + job.memory_row_stride <= row_last)),
            Assume(implies(planes_left == 1, row_last == last)),
            Assume(implies(planes_left > 1, plane_at + job.memory_plane_stride + way <= last)),
        ]
        base, size = window[:32], window[32:]
        request = runs.o.payload
        m.d.comb += [
            Assert(implies(valid, Cat(window == w for w in allowed).any())),
            Assert(implies(valid, request.bytes != 0)),
            Assert(implies(valid, request.address == (base + row_at)[:32])),
            Assert(implies(valid, row_at + request.bytes <= size)),
            Assert(implies(valid, (row_at % whole == 0) & (request.bytes % whole == 0))),
            Cover(valid & (planes_left == 1) & (rows_left == 1) & (row_at > 40) & (job.rows == 2)),
        ]

        # Inside.
        run = probe.view(f"{self.unit}.runs.f", runs.i.payload.shape())
        m.d.comb += [
            Assert(implies(valid, (rows_left != 0) & (job.rows != 0) & (planes_left != 0))),
            Assert(implies(valid, probe.signal(f"{self.unit}.runs.rows") == rows_left)),
            Assert(implies(valid, (run.planes == planes_left) & (run.rows == job.rows))),
            Assert(implies(valid, (run.memory_plane_stride == job.memory_plane_stride)
                           & (run.memory_row_stride == job.memory_row_stride))),
            Assert(implies(valid, run.address == (base + plane_at)[:32])),
            Assert(implies(valid, last + run.bytes <= size)),
            Assert(implies(valid, (row_last <= last) & (row_at <= row_last))),
            Assert(implies(valid, Cat(value % whole == 0 for value in (
                plane_at, run.memory_plane_stride, run.memory_row_stride)).all())),
        ]


class BurstWindows(_CoreHarness):
    """Of requests inside their windows, bursts are inside the window's beats.

    Where a word of the scratchpad fills the bus, the beats of a STORE are inside the window to the
    last byte; elsewhere write strobes decide about the first and the last one. Also while the
    core's reset acts.
    """

    requests = False

    def __init__(self, config: ArrayConfig) -> None:
        super().__init__(config, *_UNITS, "sequencer.dispatcher", "read.memory", "read.owners",
                         "write.memory", "write.lengths", "write.responses")

    def prove(self, m, dut, probe, was_reset, windows) -> None:
        program, constants, activations = (Cat(window) for window in windows.values())
        fetch = self._split(m, probe, "read.split_fetch", program)
        data = self._split(m, probe, "read.split_data", constants, activations)
        store = self._split(m, probe, "write.split", activations)
        reader, bus = probe.component("read.split_fetch").o, self.config.bus_bytes
        for channel, (window, at), exact in (
                ("ar", (Mux(reader.valid, mine, other) for mine, other in zip(fetch, data)), False),
                ("aw", store, self.config.rows >= bus)):
            valid, ready, address, more = (getattr(dut, f"m_axi_{channel}{name}")
                                           for name in ("valid", "ready", "addr", "len"))
            window_now = Signal(64, name=f"{channel}_window")
            at_now = Signal(33, name=f"{channel}_at")
            with m.If(~valid | ready):
                m.d.sync += [window_now.eq(window), at_now.eq(at)]
            size = window_now[32:] if exact else (window_now[32:] + bus - 1) & -bus
            allowed = (activations,) if channel == "aw" else (program, constants, activations)
            m.d.comb += [
                Assert(implies(valid, Cat(window_now == w for w in allowed).any())),
                Assert(implies(valid, address == (window_now[:32] + at_now)[:32])),
                Assert(implies(valid, at_now + (more + 1) * bus <= size)),
                Cover(valid & (at_now + (more + 1) * bus == size) & (more == 2)),
            ]

    def _split(self, m, probe, path: str, *windows):
        """Assume requests inside one of `windows`; return window and offset of the burst."""
        name, bus = path.replace(".", "_"), self.config.bus_bytes
        dut = probe.component(path)
        request = dut.i.payload
        offset, chosen = Signal(32, name=f"{name}_offset"), Signal(64, name=f"{name}_chosen")
        whole = bus if name == "write_split" and self.config.rows >= bus else 1
        m.d.comb += [
            offset.eq(AnySeq(32)), chosen.eq(AnySeq(64)),
            Assume(Cat(chosen == window for window in windows).any()),
            Assume(implies(dut.i.valid, request.bytes != 0)),
            Assume(implies(dut.i.valid, request.address == (chosen[:32] + offset)[:32])),
            Assume(implies(dut.i.valid, offset + request.bytes <= chosen[32:])),
            Assume(implies(dut.i.valid, (offset % whole == 0) & (request.bytes % whole == 0))),
        ]
        window, at = Signal(64, name=f"{name}_window"), Signal(33, name=f"{name}_at")
        with m.If(dut.i.valid & dut.i.ready):
            m.d.sync += [window.eq(chosen), at.eq(offset & -bus)]
        with m.Elif(dut.o.valid & dut.o.ready):
            m.d.sync += at.eq(at + (dut.o.payload.more + 1) * bus)
        assert_last(m, dut, probe, path)
        beat, more, end = (probe.signal(f"{path}.{part}") for part in ("beat", "more", "end"))
        valid = dut.o.valid
        m.d.comb += [
            Assert(implies(valid, Cat(window == w for w in windows).any())),
            Assert(implies(valid, (at % bus == 0) & (beat * bus == (window[:32] + at)[:32]))),
            Assert(implies(valid, at + more * bus + end <= window[32:])),
            Assert(implies(valid, (end != 0) & (end <= bus) & (end % whole == 0))),
        ]
        return window, at


_PARTS = (
    ("fetch", FetchWindow, "every request for instructions is inside the program window"),
    ("load", lambda config: TransferWindow(config, "load"),
     ("every row that a LOAD or LOAD_LINEAR requests is inside the window that it names; of the "
      "check this assumes what windows.check_load and windows.rows say")),
    ("store", lambda config: TransferWindow(config, "store"),
     ("every row that a STORE requests is inside the activations window, and begins and ends at "
      "bus words; likewise")),
    ("bursts", BurstWindows,
     ("at its pins, bursts of such requests are inside one of the windows: with whole "
      "beats for reads, to the last byte for writes")),
)

PROOFS = tuple(
    Proof(name=f"windows.{name}{suffix}", claim=f"in the core, {claim} ({config})",
          harness=lambda harness=harness, config=config: harness(PRESETS[config]),
          fast=not suffix and name in ("fetch", "store"))
    for suffix, config in (("", "test-4x4"), ("_16", "ulx3s-85f"))
    for name, harness, claim in _PARTS)
