"""The read master: AXI rules, room for all data, no deadlock."""

from amaranth import Module, Mux, Signal
from amaranth.hdl import Assert, Assume, Cover
from amaranth.lib import wiring

from hw.formal.axi_rules import ReadSlave, assert_held
from hw.formal.bursts import assert_last
from hw.formal.fifos import words_inside
from hw.formal.probe import Probe, free_inputs
from hw.formal.proof import Proof, implies
from hw.rtl.axi_read import ReadMaster

__all__ = ["PROOFS", "ReadMasterRules"]


class ReadMasterRules(wiring.Component):
    """A read master between any two clients and any legal slave."""

    def __init__(self, bus_bytes: int, **sizes: int) -> None:
        self.bus_bytes, self.sizes = bus_bytes, sizes
        super().__init__({})

    def elaborate(self, platform):
        m = Module()
        dut = ReadMaster(self.bus_bytes, **self.sizes)
        probe = m.submodules.dut = Probe(dut)
        for path in ("split_fetch", "split_data"):
            assert_last(m, probe.component(path), probe, path)
        free_inputs(m, dut, but=("axi",))
        slave = m.submodules.slave = ReadSlave(dut.axi, bursts=dut.bursts)
        asked = slave.asked
        for client in (dut.fetch, dut.data):
            m.d.comb += Assume(implies(client.request.valid, client.request.payload.bytes != 0))
            assert_held(m, client.beats.valid, client.beats.ready, client.beats.payload)

        # Every burst has an owner until its last beat left the memory, and room for its beats.
        memory, owners = probe.component("memory"), probe.component("owners")
        free, under_way = probe.signal("free"), probe.signal("under_way")
        owned, left = probe.signal("owned"), probe.signal("left")
        last_left = probe.signal("last_left")
        offered = Mux(dut.axi.arvalid, dut.axi.arlen + 1, 0)
        held, newest_last = 0, 0
        for inside, word in words_inside(m, probe, "memory"):
            held += inside & word[-1]
            newest_last = Mux(inside, word[-1], newest_last)
        unfinished = Signal()  # the slave sent beats of its oldest burst, but not the last one
        with m.If(dut.axi.rvalid):
            m.d.sync += unfinished.eq(~dut.axi.rlast)
        starts, was_quiet = Signal(), Signal()
        quiet = dut.idle & (memory.level == 0)
        m.d.comb += [
            Assert(dut.axi.arlen < dut.burst_beats),
            Assert(under_way == asked.count + dut.axi.arvalid),
            Assert(owners.level + owners.w_en == under_way + held),
            Assert(owned == under_way + held + last_left), Assert(owned <= dut.bursts),
            Assert(implies(owners.w_en, owners.w_rdy)), Assert(implies(last_left, left)),
            Assert(free + memory.level + asked.owed + offered + left == dut.beats),
            Assert(implies(memory.level != 0, newest_last == ~unfinished)),
            Assert(implies(unfinished, asked.count != 0)),
            Assert(implies(dut.axi.rvalid, memory.w_rdy)),
            Assert(dut.idle == ((asked.count == 0) & ~dut.axi.arvalid)),
            Assert(implies(probe.signal("room"), free >= dut.burst_beats)),
            Assert(implies(was_quiet & quiet, probe.signal("room"))),
        ]

        # Someone can always go on: a client, the slave, or a burst that waits.
        split = {name: probe.component(f"split_{name}").o for name in ("fetch", "data")}
        waits = split["fetch"].valid | split["data"].valid
        m.d.sync += [was_quiet.eq(quiet), starts.eq(waits & ~dut.halt & quiet & was_quiet)]
        m.d.comb += [
            Assert(implies(memory.r_rdy, dut.fetch.beats.valid ^ dut.data.beats.valid)),
            Assert(implies(starts, dut.axi.arvalid)),
            Cover((asked.count == dut.bursts) & (memory.level != 0)),
            Cover(free == 0), Cover(dut.fetch.beats.valid & dut.fetch.beats.payload.ends),
        ]
        # Halt: nothing new.
        halted, offering = Signal(), Signal()
        was_idle = Signal()
        m.d.sync += [halted.eq(dut.halt), offering.eq(dut.axi.arvalid & ~dut.axi.arready),
                     was_idle.eq(dut.idle)]
        m.d.comb += [Assert(implies(halted & ~offering, ~dut.axi.arvalid)),
                     Assert(implies(halted & was_idle, dut.idle))]
        return m


PROOFS = (
    Proof(name="read.rules", depth=2, cover_depth=25,
          harness=lambda: ReadMasterRules(4, burst_beats=2, bursts=3, beats=5),
          claim="AR stays as it is until ARREADY; no burst crosses a multiple of 4096; never more "
                "bursts under way than have owners, never more beats than have room, so that "
                "RREADY is always 1; beats stay until their client takes them; a burst that waits "
                "starts (no deadlock); halt begins nothing (bursts of 2, 3 under way, 5 beats)"),
    Proof(name="read.rules_16", depth=1, cover_depth=35, fast=False,
          harness=lambda: ReadMasterRules(16, burst_beats=8, bursts=8, beats=16),
          claim="likewise (bus of 16 bytes, bursts of 8, 8 under way, 16 beats)"),
)
