"""Read master: the only way by which instructions and data come from memory."""

from amaranth import Cat, Module, Mux, Shape, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.fifo import SyncFIFO, SyncFIFOBuffered
from amaranth.lib.wiring import In, Out

from hw.rtl.axi import AxiRead, Burst
from hw.rtl.axi_burst import REQUEST, BurstSplitter
from hw.spec.config import bits_for
from hw.spec.cycles import BURST_BEATS, READ_BEATS

__all__ = ["ReadClient", "ReadMaster", "read_beat"]


def read_beat(bus_bytes: int) -> data.StructLayout:
    """Return the layout of a beat: bytes `start` .. `start + bytes - 1` belong to the request.

    `ends`: the last beat of the request; `last`: of one that had `last` set. `error`: the memory
    answered this beat with SLVERR or DECERR, and its data are meaningless.
    """
    return data.StructLayout({
        "data": data.ArrayLayout(8, bus_bytes), "start": bits_for(bus_bytes - 1),
        "bytes": bits_for(bus_bytes), "ends": 1, "last": 1, "error": 1})


class ReadClient(wiring.Signature):
    """What a client of the read master sees.

    Members
    -------
    request : Out(stream)
        Runs of bytes, :data:`hw.rtl.axi_burst.REQUEST`, at any address.
    beats : In(stream)
        Their beats, :func:`read_beat`, in order.
    """

    def __init__(self, bus_bytes: int) -> None:
        super().__init__({"request": Out(stream.Signature(REQUEST)),
                          "beats": In(stream.Signature(read_beat(bus_bytes)))})


class ReadMaster(wiring.Component):
    """AXI4 read master with two clients, many bursts under way, and room for all their data.

    Bursts of the clients mix, those of `fetch` go first. A burst starts only when the beat memory
    has room for one of full length, so RREADY is always 1. The beats of both clients leave in the
    order of their bursts: a client that does not take its beats also holds up the other, so it must
    request only what it will take without waiting for the other.

    Timing: ARVALID two cycles after a request, then a burst per cycle; a beat is offered two
    cycles after it was on the bus, then one per cycle. `halt` lets requests wait.

    Parameters
    ----------
    bus_bytes : int
        4, 8 or 16.
    burst_beats : int
        Most beats of a burst: a power of two, 1..64.
    bursts : int
        Bursts that can be under way or have beats in the beat memory.
    beats : int
        Depth of the beat memory; as many beats hide a latency of about as many cycles.

    Members
    -------
    axi : Out(AxiRead)
        The bus.
    fetch, data : In(ReadClient)
        The clients.
    halt : In(1)
        Start no new burst.
    idle : Out(1)
        No burst is offered or under way on the bus.
    """

    def __init__(self, bus_bytes: int, *, burst_beats: int = BURST_BEATS, bursts: int = 16,
                 beats: int = READ_BEATS) -> None:
        if beats < burst_beats:
            raise ValueError(f"beats must be at least burst_beats = {burst_beats}, not {beats!r}")
        self.bus_bytes = bus_bytes
        self.burst_beats = burst_beats
        self.bursts = bursts
        self.beats = beats
        client = In(ReadClient(bus_bytes))
        super().__init__({"axi": Out(AxiRead(bus_bytes)), "fetch": client, "data": client,
                          "halt": In(1), "idle": Out(1)})

    def elaborate(self, platform):
        m = Module()
        m.submodules.split_fetch = split_fetch = BurstSplitter(self.bus_bytes, self.burst_beats)
        m.submodules.split_data = split_data = BurstSplitter(self.bus_bytes, self.burst_beats)
        wiring.connect(m, wiring.flipped(self.fetch.request), split_fetch.i)
        wiring.connect(m, wiring.flipped(self.data.request), split_data.i)

        # Which burst is next, and whether there is room for it.
        of_data, go = Signal(), Signal()
        burst = Signal.like(split_data.o.payload)
        free = Signal(range(self.beats + 1), init=self.beats)
        room = Signal()  # for a full burst, even behind a full one in the cycle before
        taken = data.StructLayout({"of_data": 1, "start": burst.start.shape(),
                                   "end": burst.end.shape(), "ends": 1, "last": 1})
        # Bursts begin at the bus and end at the clients, far from it: of either, the other hears a
        # cycle later.
        m.submodules.owners = owners = SyncFIFO(width=Shape.cast(taken).width, depth=self.bursts)
        owned = Signal(range(self.bursts + 1))
        left = Signal()
        last_left = Signal()
        m.d.comb += [
            of_data.eq(~split_fetch.o.valid),
            burst.eq(Mux(of_data, split_data.o.payload, split_fetch.o.payload)),
            go.eq((split_fetch.o.valid | split_data.o.valid) & room & (owned != self.bursts)
                  & (~self.axi.arvalid | self.axi.arready) & ~self.halt),
            split_fetch.o.ready.eq(go & ~of_data),
            split_data.o.ready.eq(go & of_data),
        ]
        m.d.sync += [
            owners.w_data.eq(Cat(of_data, burst.start, burst.end, burst.ends, burst.last)),
            owners.w_en.eq(go),
        ]

        # Its address.
        address = Signal(len(self.axi.araddr), reset_less=True)
        more = Signal(len(burst.more), reset_less=True)
        m.d.comb += [
            self.axi.araddr.eq(address), self.axi.arlen.eq(more),
            self.axi.arsize.eq(self.bus_bytes.bit_length() - 1), self.axi.arburst.eq(Burst.INCR),
        ]
        with m.If(~self.axi.arvalid | self.axi.arready):
            m.d.sync += [self.axi.arvalid.eq(go), address.eq(burst.address), more.eq(burst.more)]

        # Its beats, through block RAM.
        stored = data.StructLayout({"data": 8 * self.bus_bytes, "error": 1, "last": 1})
        m.submodules.memory = memory = SyncFIFOBuffered(width=Shape.cast(stored).width,
                                                        depth=self.beats + 1)
        under_way = Signal(range(self.bursts + 1))
        beat, owner = data.View(stored, memory.r_data), data.View(taken, owners.r_data)
        leave = Signal()
        m.d.comb += [
            self.axi.rready.eq(1),
            memory.w_data.eq(Cat(self.axi.rdata, self.axi.rresp[1], self.axi.rlast)),
            memory.w_en.eq(self.axi.rvalid),
            memory.r_en.eq(leave),
            owners.r_en.eq(leave & beat.last),
            self.idle.eq(under_way == 0),
        ]
        m.d.sync += [
            left.eq(leave), last_left.eq(leave & beat.last),
            free.eq(free - Mux(go, burst.more + 1, 0) + left),
            owned.eq(owned + go - last_left),
            room.eq(free >= Mux(go, 2 * self.burst_beats, self.burst_beats)),
            under_way.eq(under_way + go - (self.axi.rvalid & self.axi.rlast)),
        ]

        # To the owner, with the part of the beat that it asked for.
        first = Signal(init=1)
        start, end = Signal.like(owner.start), Signal.like(owner.end)
        m.d.comb += [
            start.eq(Mux(first, owner.start, 0)),
            end.eq(Mux(beat.last, owner.end, self.bus_bytes)),
            leave.eq(memory.r_rdy & Mux(owner.of_data, self.data.beats.ready,
                                        self.fetch.beats.ready)),
        ]
        for client, chosen in ((self.fetch, ~owner.of_data), (self.data, owner.of_data)):
            m.d.comb += [
                client.beats.valid.eq(memory.r_rdy & chosen),
                client.beats.payload.eq(Cat(
                    beat.data, start, (end - start)[:len(end)], beat.last & owner.ends,
                    beat.last & owner.ends & owner.last, beat.error)),
            ]
        with m.If(leave):
            m.d.sync += first.eq(beat.last)
        return m
