"""The write master: AXI rules, data for all that was begun, one `done` per request, no deadlock."""

from amaranth import Array, Module, Mux, Signal
from amaranth.hdl import Assert, Assume, Cover
from amaranth.lib import wiring

from hw.formal.axi_rules import WriteSlave
from hw.formal.bursts import assert_last
from hw.formal.fifos import words_inside
from hw.formal.probe import Probe, free_inputs
from hw.formal.proof import Proof, implies
from hw.rtl.axi_write import WriteMaster

__all__ = ["PROOFS", "WriteMasterRules"]


class WriteMasterRules(wiring.Component):
    """A write master between any client and any legal slave."""

    def __init__(self, bus_bytes: int, **sizes: int) -> None:
        self.bus_bytes, self.sizes = bus_bytes, sizes
        super().__init__({})

    def elaborate(self, platform):
        m = Module()
        dut = WriteMaster(self.bus_bytes, **self.sizes)
        probe = m.submodules.dut = Probe(dut)
        assert_last(m, probe.component("split"), probe, "split")
        free_inputs(m, dut, but=("axi",))
        slave = m.submodules.slave = WriteSlave(dut.axi, bursts=dut.bursts)
        axi, asked, client = dut.axi, slave.asked, dut.client
        lengths, responses, memory = (probe.component(name) for name in
                                      ("lengths", "responses", "memory"))
        m.d.comb += [
            Assume(implies(client.request.valid, client.request.payload.bytes != 0)),
            Assert(axi.awlen < dut.burst_beats),
            Cover((responses.level == dut.bursts) & (lengths.level == 0)),
            Cover(client.done & client.error & client.last),
        ]

        # Bursts without response: their address waits or was accepted; their data are to come,
        # or the last of them waits or was accepted.
        leaving = axi.wvalid & axi.wlast
        m.d.comb += [
            Assert(responses.level == slave.addresses + axi.awvalid),
            Assert(responses.level == slave.complete + lengths.level + leaving),
            Assert(implies(axi.bvalid, responses.r_rdy)),
            Assert(dut.idle == (responses.level == 0)),
        ]

        # Beats: all those of bursts that began are in the memory, and leave without pause.
        ready, position = probe.signal("ready"), probe.signal("position")
        expected = [word for _, word in words_inside(m, probe, "lengths")]
        inside = [valid for valid, _ in words_inside(m, probe, "lengths")]
        claimed = sum(Mux(valid, more + 1, 0) for valid, more in zip(inside, expected))
        paused = Signal()
        m.d.sync += paused.eq(lengths.r_rdy & ~memory.r_rdy)
        m.d.comb += [
            Assert(memory.level == ready + claimed - position),
            Assert(implies(lengths.r_rdy & paused, memory.r_rdy)),
            Assert(Mux(lengths.r_rdy, position <= expected[0], position == 0)),
            Assert(implies(leaving, position == 0)),
            Assert(implies(axi.wvalid & ~axi.wlast, lengths.r_rdy & (position != 0))),
        ]
        # What the slave saw of them. An address that is new is not counted yet.
        seen = Array([*(Mux(asked.count > i, left, axi.awlen)
                        for i, left in enumerate(asked.left)), axi.awlen])
        m.d.comb += [
            Assert(asked.count + asked.push == lengths.level + leaving),
            Assert(implies(leaving, seen[0] == 0)),
            *(Assert(implies(valid, seen[i + leaving] == more - (
                0 if i else position - (axi.wvalid & ~axi.wlast))))
              for i, (valid, more) in enumerate(zip(inside, expected))),
        ]

        # One `done` per request, with every error in it.
        split = probe.component("split").o
        flags = words_inside(m, probe, "responses")
        requests, failed = Signal(range(dut.bursts + 3)), Signal()
        ends = axi.bvalid & responses.r_data[0]
        m.d.sync += [
            requests.eq(requests + (client.request.valid & client.request.ready) - ends),
            failed.eq(Mux(axi.bvalid, (failed | axi.bresp[1]) & ~ends, failed)),
        ]
        error = Signal()
        m.d.sync += error.eq(failed | axi.bresp[1])
        m.d.comb += [
            Assert(requests == split.valid + sum(valid & word[0] for valid, word in flags)),
            Assert(probe.signal("failed") == failed),
            Assert(implies(client.done, client.error == error)),
        ]

        # Someone can always go on: the slave, or a burst, or the client.
        starts, burst = Signal(), split.payload
        m.d.sync += starts.eq(split.valid & dut.idle & (ready > burst.more) & ~dut.halt)
        m.d.comb += [
            Assert(implies(starts, axi.awvalid)),
            Assert(implies(split.valid & (lengths.level == 0) & (ready <= burst.more),
                           client.beats.ready)),
        ]
        halted, offering, was_idle = Signal(), Signal(), Signal()
        m.d.sync += [halted.eq(dut.halt), offering.eq(axi.awvalid & ~axi.awready),
                     was_idle.eq(dut.idle)]
        m.d.comb += [Assert(implies(halted & ~offering, ~axi.awvalid)),
                     Assert(implies(halted & was_idle, dut.idle))]
        return m


PROOFS = (
    Proof(name="write.rules", cover_depth=25,
          harness=lambda: WriteMasterRules(4, burst_beats=2, bursts=2, beats=4),
          claim="AW and W stay as they are until they are accepted; no burst crosses a multiple of "
                "4096; WLAST at the last beat of each and nowhere else; data of all that was begun "
                "are here; BREADY is always 1, never more bursts under way than have places for "
                "responses; one `done` per request, with its errors; a burst that waits starts (no "
                "deadlock); halt begins nothing (bursts of 2, 2 under way, 4 beats)"),
    Proof(name="write.rules_4", cover_depth=35, fast=False,
          harness=lambda: WriteMasterRules(8, burst_beats=4, bursts=4, beats=8),
          claim="likewise (bus of 8 bytes, bursts of 4, 4 under way, 8 beats)"),
    Proof(name="write.rules_6", cover_depth=60, fast=False,
          harness=lambda: WriteMasterRules(4, burst_beats=8, bursts=6, beats=16),
          claim="likewise (bus of 4 bytes, bursts of 8, 6 under way, 16 beats)"),
)
