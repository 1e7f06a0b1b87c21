"""Legal AXI slaves that stall at will, and what masters owe them.

Ref: AMBA AXI and ACE Protocol Specification, ARM IHI 0022E, A3.2.1 (handshake), A3.3.1
(dependencies), A3.4.1 (bursts).
"""

from amaranth import Cat, Elaboratable, Module, Mux, Signal, Value
from amaranth.asserts import AnySeq
from amaranth.hdl import Assert, Assume

from hw.formal.proof import implies
from hw.rtl.axi import BOUNDARY_BYTES, Burst

__all__ = ["BurstCount", "LiteMaster", "ReadSlave", "WriteSlave", "assert_held"]


def assert_held(m: Module, valid, ready, *payload) -> None:
    """Assert that `valid` and `payload` stay as they are until `ready`."""
    offered, same = _held(m, valid, ready, payload)
    m.d.comb += [Assert(implies(offered, valid)), Assert(implies(offered, same))]


def _held(m: Module, valid, ready, payload):
    """Return whether `payload` was offered in vain the cycle before, and whether it is the same."""
    offered = Signal()
    now = Cat(Value.cast(part) for part in payload)
    before = Signal(len(now))
    m.d.sync += [offered.eq(valid & ~ready), before.eq(now)]
    return offered, now == before


def _assert_burst(m: Module, bus_bytes: int, valid, addr, more, size, burst) -> None:
    """Assert that an address channel asks for something legal."""
    first = addr[:BOUNDARY_BYTES.bit_length() - 1] & -bus_bytes
    m.d.comb += [
        Assert(implies(valid, size == bus_bytes.bit_length() - 1)),
        Assert(implies(valid, burst == Burst.INCR)),
        Assert(implies(valid, first + (more + 1) * bus_bytes <= BOUNDARY_BYTES)),
    ]


class BurstCount(Elaboratable):
    """Bursts in order, and how many beats each still lacks.

    Attributes
    ----------
    push, more
        Another burst, of ``more + 1`` beats.
    step
        A beat of the oldest burst; there must be one.
    count, left
        Bursts; beats that each lacks, less one, oldest first.
    last
        The oldest burst lacks one beat.
    owed
        Beats that all lack.
    """

    def __init__(self, bursts: int) -> None:
        self.push, self.more, self.step = Signal(), Signal(8), Signal()
        self.count, self.last = Signal(range(bursts + 1)), Signal()
        self.left = [Signal(8, name=f"left_{i}") for i in range(bursts)]
        self.owed = Signal(range(256 * bursts + 1))

    def elaborate(self, platform):
        m = Module()
        done = self.step & self.last
        kept = Signal.like(self.count)
        m.d.comb += [self.last.eq(self.left[0] == 0), kept.eq(self.count - done)]
        shifted = [Mux(done, behind, own) for own, behind in zip(self.left, [*self.left[1:], 0])]
        shifted[0] = Mux(self.step & ~self.last, self.left[0] - 1, shifted[0])
        m.d.sync += [self.count.eq(kept + self.push),
                     self.owed.eq(self.owed + Mux(self.push, self.more + 1, 0) - self.step)]
        m.d.sync += [own.eq(Mux(self.push & (kept == i), self.more, after))
                     for i, (own, after) in enumerate(zip(self.left, shifted))]
        m.d.comb += [
            Assert(self.owed == sum(Mux(self.count > i, left + 1, 0)
                                    for i, left in enumerate(self.left))),
            Assert(self.count <= len(self.left)),
            Assert(implies(self.step, self.count != 0)),
            Assert(implies(self.push, kept < len(self.left))),
        ]
        return m


class ReadSlave(Elaboratable):
    """Drives a read master's inputs, and asserts what the master owes.

    Parameters
    ----------
    axi : AxiRead
        The master's.
    bursts
        Most that the master may have under way.

    Attributes
    ----------
    asked : BurstCount
        Accepted and not complete.
    """

    def __init__(self, axi, *, bursts: int) -> None:
        self.axi, self.asked = axi, BurstCount(bursts)

    def elaborate(self, platform):
        m = Module()
        m.submodules.asked = asked = self.asked
        axi = self.axi
        for signal in (axi.arready, axi.rvalid, axi.rdata, axi.rresp, axi.rlast, axi.rid):
            m.d.comb += signal.eq(AnySeq(signal.shape()))
        m.d.comb += [
            asked.push.eq(axi.arvalid & axi.arready), asked.more.eq(axi.arlen),
            asked.step.eq(axi.rvalid & axi.rready),
            # It answers what was asked, in order, with RLAST at the last beat.
            Assume(implies(axi.rvalid, (asked.count != 0) & (axi.rlast == asked.last))),
            Assert(implies(axi.rvalid, axi.rready)),
        ]
        assert_held(m, axi.arvalid, axi.arready, axi.araddr, axi.arlen, axi.arsize, axi.arburst,
                    axi.arid)
        _assert_burst(m, axi.signature.bus_bytes, axi.arvalid, axi.araddr, axi.arlen, axi.arsize,
                      axi.arburst)
        return m


class WriteSlave(Elaboratable):
    """Drives a write master's inputs, and asserts what the master owes.

    Asks for a little more than AXI does: no data before the cycle after their address was offered.

    Parameters
    ----------
    axi : AxiWrite
        The master's.
    bursts
        Most that the master may have under way.

    Attributes
    ----------
    asked : BurstCount
        Offered, and not all data were accepted.
    addresses, complete
        Bursts without response, of which the address, or the last data, were accepted.
    """

    def __init__(self, axi, *, bursts: int) -> None:
        self.axi, self.asked = axi, BurstCount(bursts)
        self.addresses, self.complete = Signal(range(bursts + 2)), Signal(range(bursts + 2))

    def elaborate(self, platform):
        m = Module()
        m.submodules.asked = asked = self.asked
        axi = self.axi
        for signal in (axi.awready, axi.wready, axi.bvalid, axi.bresp, axi.bid):
            m.d.comb += signal.eq(AnySeq(signal.shape()))
        offered = Signal()
        answered = axi.bvalid & axi.bready
        m.d.sync += [
            offered.eq(axi.awvalid & ~axi.awready),
            self.addresses.eq(self.addresses + (axi.awvalid & axi.awready) - answered),
            self.complete.eq(self.complete + (axi.wvalid & axi.wready & axi.wlast) - answered),
        ]
        m.d.comb += [
            asked.push.eq(axi.awvalid & ~offered), asked.more.eq(axi.awlen),
            asked.step.eq(axi.wvalid & axi.wready),
            # It answers what is complete.
            Assume(implies(axi.bvalid, (self.addresses != 0) & (self.complete != 0))),
            Assert(implies(axi.wvalid, (asked.count != 0) & (axi.wlast == asked.last))),
            Assert(implies(axi.bvalid, axi.bready)),
            Assert(self.addresses + axi.awvalid <= len(asked.left)),
            Assert(self.complete + asked.count <= len(asked.left)),
        ]
        assert_held(m, axi.awvalid, axi.awready, axi.awaddr, axi.awlen, axi.awsize, axi.awburst,
                    axi.awid)
        assert_held(m, axi.wvalid, axi.wready, axi.wdata, axi.wstrb, axi.wlast)
        _assert_burst(m, axi.signature.bus_bytes, axi.awvalid, axi.awaddr, axi.awlen, axi.awsize,
                      axi.awburst)
        return m


class LiteMaster(Elaboratable):
    """Drives a slave's inputs: what it asks stays until it is accepted; answers wait at will."""

    def __init__(self, axi) -> None:
        self.axi = axi

    def elaborate(self, platform):
        m = Module()
        axi = self.axi
        for signal in (axi.awvalid, axi.awaddr, axi.awprot, axi.wvalid, axi.wdata, axi.wstrb,
                       axi.bready, axi.arvalid, axi.araddr, axi.arprot, axi.rready):
            m.d.comb += signal.eq(AnySeq(signal.shape()))
        for valid, ready, *payload in (
                (axi.awvalid, axi.awready, axi.awaddr, axi.awprot),
                (axi.wvalid, axi.wready, axi.wdata, axi.wstrb),
                (axi.arvalid, axi.arready, axi.araddr, axi.arprot)):
            offered, now = _held(m, valid, ready, payload)
            m.d.comb += [Assume(implies(offered, valid)), Assume(implies(offered, now))]
        return m
