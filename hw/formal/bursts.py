"""Runs of bytes as bursts: every beat once, none too many, no boundary crossed."""

from amaranth import Module, Mux, Signal
from amaranth.hdl import Assert, Assume, Cover
from amaranth.lib import wiring

from hw.formal.axi_rules import assert_held
from hw.formal.probe import Probe, free_inputs
from hw.formal.proof import Proof, implies
from hw.rtl.axi_burst import REQUEST, BurstSplitter

__all__ = ["PROOFS", "SplitterRules", "assert_last"]


def assert_last(m, splitter: BurstSplitter, probe: Probe, path: str = "") -> None:
    """Assert what a splitter remembers of its burst: whether it is the run's last.

    Parameters
    ----------
    path
        Of the splitter in what `probe` looks into; itself if empty.
    """
    beat, more, ends = (probe.signal(f"{path}.{name}".lstrip("."))
                        for name in ("beat", "more", "ends"))
    room = ~beat & (splitter.burst_beats - 1)
    m.d.comb += Assert(implies(splitter.o.valid, ends == (more <= room)))


class SplitterRules(wiring.Component):
    """Splitters of several sizes; each with any runs of at least one byte."""

    def __init__(self, *sizes: tuple[int, int]) -> None:
        self.sizes = sizes
        super().__init__({})

    def elaborate(self, platform):
        m = Module()
        for bus_bytes, burst_beats in self.sizes:
            self._add(m, bus_bytes, burst_beats)
        return m

    def _add(self, m, bus_bytes: int, burst_beats: int) -> None:
        name = f"{bus_bytes}x{burst_beats}"
        dut = BurstSplitter(bus_bytes, burst_beats)
        probe = m.submodules[f"dut_{name}"] = Probe(dut)
        free_inputs(m, dut)
        entered, left = dut.i.valid & dut.i.ready, dut.o.valid & dut.o.ready
        burst = dut.o.payload

        # The run, its beats less one, and how many of its beats left already.
        run = Signal(REQUEST, name=f"run_{name}")
        done = Signal(32, name=f"done_{name}")
        offset = run.address % bus_bytes
        beats_less_one = (offset + run.bytes - 1) // bus_bytes
        with m.If(entered):
            m.d.sync += [run.eq(dut.i.payload), done.eq(0)]
        with m.Elif(left):
            m.d.sync += done.eq(done + burst.more + 1)
        assert_held(m, dut.o.valid, dut.o.ready, burst)
        first = (run.address // bus_bytes + done)[:32 - bus_bytes.bit_length() + 1]
        ends = done + burst.more == beats_less_one
        m.d.comb += [
            Assume(implies(dut.i.valid, dut.i.payload.bytes != 0)),
            Assert(implies(dut.o.valid, burst.address == first * bus_bytes)),
            Assert(implies(dut.o.valid, done + burst.more <= beats_less_one)),
            Assert(implies(dut.o.valid, burst.more < burst_beats)),
            # Up to a multiple of the full length, never across it.
            Assert(implies(dut.o.valid, first % burst_beats + burst.more < burst_beats)),
            Assert(implies(dut.o.valid & ~ends,
                           first % burst_beats + burst.more == burst_beats - 1)),
            Assert(implies(dut.o.valid, burst.ends == ends)),
            Assert(implies(dut.o.valid, burst.last == run.last)),
            Assert(implies(dut.o.valid, burst.start == Mux(done == 0, offset, 0))),
            Assert(implies(dut.o.valid, burst.end == Mux(
                ends, (offset + run.bytes - 1) % bus_bytes + 1, bus_bytes))),
            # One run at a time, and no pause between two.
            Assert(dut.i.ready == (~dut.o.valid | (left & ends))),
            Cover(left & ends & (done == 2 * burst_beats + 1)),
        ]
        # Inside.
        assert_last(m, dut, probe)
        more = probe.signal("more")
        m.d.comb += [
            Assert(implies(dut.o.valid, probe.signal("beat") == first)),
            Assert(implies(dut.o.valid, more + done == beats_less_one)),
            Assert(implies(dut.o.valid, probe.signal("first") == (done == 0))),
            Assert(implies(dut.o.valid, probe.signal("start") == offset)),
            Assert(implies(dut.o.valid, probe.signal("run_last") == run.last)),
            Assert(implies(dut.o.valid, probe.signal("end") == (
                offset + run.bytes - 1) % bus_bytes + 1)),
        ]


PROOFS = (
    Proof(name="bursts.exact", harness=lambda: SplitterRules((4, 16), (8, 16), (16, 16), (4, 1)),
          claim="the bursts of a run have each of its beats once, in order, are as long as they "
                "can be, and cross no multiple of 4096; bus of 4, 8 and 16 bytes, bursts of 16 "
                "beats and of 1"),
)
