"""Write master: the only way by which results go to memory."""

from amaranth import Cat, Module, Mux, Shape, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.fifo import SyncFIFO, SyncFIFOBuffered
from amaranth.lib.wiring import In, Out

from hw.rtl.axi import AxiWrite, Burst
from hw.rtl.axi_burst import REQUEST, BurstSplitter
from hw.spec.cycles import BURST_BEATS, WRITE_BEATS

__all__ = ["WriteClient", "WriteMaster", "write_beat"]


def write_beat(bus_bytes: int) -> data.StructLayout:
    """Return the layout of a beat: `data`, of which the bytes with a bit in `strobe` count."""
    return data.StructLayout({"data": data.ArrayLayout(8, bus_bytes), "strobe": bus_bytes})


class WriteClient(wiring.Signature):
    """What the client of the write master sees.

    Members
    -------
    request : Out(stream)
        Runs of bytes, :data:`hw.rtl.axi_burst.REQUEST`.
    beats : Out(stream)
        Beats of the requests, :func:`write_beat`, in order; they may come before their request.
    done : In(1)
        High for one cycle per request, in order, when all of it is in memory.
    last, error : In(1)
        With `done`: the `last` of the request; some of it was answered with SLVERR or DECERR.
    """

    def __init__(self, bus_bytes: int) -> None:
        super().__init__({"request": Out(stream.Signature(REQUEST)),
                          "beats": Out(stream.Signature(write_beat(bus_bytes))),
                          "done": In(1), "last": In(1), "error": In(1)})


class WriteMaster(wiring.Component):
    """AXI4 write master with many bursts under way.

    A burst starts when all its beats are here: it is never held up by its source, and what was
    begun is finished whatever happens inside the core.

    Timing: AWVALID two cycles after the last beat or the request, whichever is later, then a
    burst per cycle; WVALID one cycle behind AWVALID, then a beat per cycle, across bursts too.
    `done` comes one cycle after the response. `halt` lets requests wait.

    Parameters
    ----------
    bus_bytes : int
        4, 8 or 16.
    burst_beats : int
        Most beats of a burst: a power of two, 1..64.
    bursts : int
        Bursts that can be under way.
    beats : int
        Depth of the beat memory: at least two full bursts.

    Members
    -------
    axi : Out(AxiWrite)
        The bus.
    client : In(WriteClient)
        The only client.
    halt : In(1)
        Start no new burst.
    idle : Out(1)
        No burst is under way: every one has got its response.
    """

    def __init__(self, bus_bytes: int, *, burst_beats: int = BURST_BEATS, bursts: int = 16,
                 beats: int = WRITE_BEATS) -> None:
        if beats < 2 * burst_beats:
            raise ValueError(f"beats must be at least two bursts of {burst_beats}, not {beats!r}")
        self.bus_bytes = bus_bytes
        self.burst_beats = burst_beats
        self.bursts = bursts
        self.beats = beats
        super().__init__({"axi": Out(AxiWrite(bus_bytes)), "client": In(WriteClient(bus_bytes)),
                          "halt": In(1), "idle": Out(1)})

    def elaborate(self, platform):
        m = Module()
        m.submodules.split = split = BurstSplitter(self.bus_bytes, self.burst_beats)
        wiring.connect(m, wiring.flipped(self.client.request), split.i)

        # Beats wait in block RAM for their burst.
        beat_shape = write_beat(self.bus_bytes)
        m.submodules.memory = memory = SyncFIFOBuffered(width=Shape.cast(beat_shape).width,
                                                        depth=self.beats + 1)
        ready = Signal(range(self.beats + 2))  # beats that no burst has claimed yet
        enter = self.client.beats.valid & memory.w_rdy
        m.d.comb += [
            memory.w_data.eq(self.client.beats.payload), memory.w_en.eq(enter),
            self.client.beats.ready.eq(memory.w_rdy),
        ]

        # A burst whose beats are here starts.
        burst = split.o.payload
        go = Signal()
        m.submodules.lengths = lengths = SyncFIFO(width=len(burst.more), depth=self.bursts)
        m.submodules.responses = responses = SyncFIFO(width=2, depth=self.bursts)
        m.d.comb += [
            go.eq(split.o.valid & (burst.more < ready) & responses.w_rdy
                  & (~self.axi.awvalid | self.axi.awready) & ~self.halt),
            split.o.ready.eq(go),
            lengths.w_data.eq(burst.more), lengths.w_en.eq(go),
            responses.w_data.eq(Cat(burst.ends, burst.last)), responses.w_en.eq(go),
            self.idle.eq(~responses.r_rdy),
        ]
        m.d.sync += ready.eq(ready + enter - Mux(go, burst.more + 1, 0))
        address = Signal(len(self.axi.awaddr), reset_less=True)
        more = Signal(len(burst.more), reset_less=True)
        m.d.comb += [
            self.axi.awaddr.eq(address), self.axi.awlen.eq(more),
            self.axi.awsize.eq(self.bus_bytes.bit_length() - 1), self.axi.awburst.eq(Burst.INCR),
        ]
        with m.If(~self.axi.awvalid | self.axi.awready):
            m.d.sync += [self.axi.awvalid.eq(go), address.eq(burst.address), more.eq(burst.more)]

        # Its beats.
        beat = Signal(beat_shape, reset_less=True)
        position = Signal(len(burst.more))
        last, send = Signal(), Signal()
        m.d.comb += [
            send.eq(lengths.r_rdy & memory.r_rdy & (~self.axi.wvalid | self.axi.wready)),
            last.eq(position == lengths.r_data),
            memory.r_en.eq(send), lengths.r_en.eq(send & last),
            self.axi.wdata.eq(beat.data), self.axi.wstrb.eq(beat.strobe),
        ]
        with m.If(~self.axi.wvalid | self.axi.wready):
            m.d.sync += [self.axi.wvalid.eq(send), self.axi.wlast.eq(last),
                         beat.eq(memory.r_data)]
        with m.If(send):
            m.d.sync += position.eq(Mux(last, 0, position + 1))

        # Responses of a request are gathered until its last burst.
        ends, request_last = responses.r_data
        failed = Signal()
        error = self.axi.bresp[1] | failed
        m.d.comb += [self.axi.bready.eq(1), responses.r_en.eq(self.axi.bvalid)]
        m.d.sync += [
            self.client.done.eq(self.axi.bvalid & ends),
            self.client.last.eq(request_last), self.client.error.eq(error),
        ]
        with m.If(self.axi.bvalid):
            m.d.sync += failed.eq(error & ~ends)
        return m
