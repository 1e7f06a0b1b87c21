"""Runs of bytes become AXI bursts: what the read and the write master have in common."""

from amaranth import Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from hw.rtl.axi import ADDRESS_BITS, BOUNDARY_BYTES
from hw.spec.config import MEMORY_BYTES, bits_for

__all__ = ["BurstLayout", "BurstSplitter", "REQUEST", "check_burst"]

#: A run of bytes: where it starts, how many, at least 1; `last` comes back with its end.
REQUEST = data.StructLayout({"address": ADDRESS_BITS, "bytes": bits_for(MEMORY_BYTES), "last": 1})


def check_burst(bus_bytes: int, burst_beats: int) -> None:
    """Refuse burst lengths that AXI4 or the splitter cannot have."""
    if burst_beats not in (1, 2, 4, 8, 16, 32, 64):
        raise ValueError(f"burst_beats must be a power of two in 1..64, not {burst_beats!r}")
    if bus_bytes * burst_beats > BOUNDARY_BYTES:
        raise ValueError(f"a burst must be at most {BOUNDARY_BYTES} bytes, "
                         f"not {bus_bytes * burst_beats}")


class BurstLayout(data.StructLayout):
    """A burst: address of its first beat, beats less one; which bytes of its first and last beat
    belong to the run; whether it ends the run, and whether the run had `last`.
    """

    def __init__(self, bus_bytes: int, burst_beats: int) -> None:
        super().__init__({
            "address": ADDRESS_BITS, "more": bits_for(burst_beats - 1),
            "start": bits_for(bus_bytes - 1), "end": bits_for(bus_bytes),
            "ends": 1, "last": 1})


class BurstSplitter(wiring.Component):
    """Splits runs of bytes into bursts of whole beats.

    No burst crosses a multiple of its full length, and therefore none a multiple of 4096: only
    the first and the last burst of a run are shorter than the others.

    Timing: latency 1 cycle; then a burst per cycle, across runs too. ``o.ready`` reaches
    ``i.ready`` combinationally.

    Parameters
    ----------
    bus_bytes : int
        Bytes of a beat.
    burst_beats : int
        Most beats of a burst: a power of two, 1..64.

    Members
    -------
    i : In(stream)
        Runs, :data:`REQUEST`.
    o : Out(stream)
        Bursts, :class:`BurstLayout`.
    """

    def __init__(self, bus_bytes: int, burst_beats: int) -> None:
        check_burst(bus_bytes, burst_beats)
        self.bus_bytes = bus_bytes
        self.burst_beats = burst_beats
        super().__init__({"i": In(stream.Signature(REQUEST)),
                          "o": Out(stream.Signature(BurstLayout(bus_bytes, burst_beats)))})

    def elaborate(self, platform):
        m = Module()
        lsb = bits_for(self.bus_bytes - 1)
        active, first = Signal(), Signal()
        run_last = Signal(reset_less=True)
        beat = Signal(ADDRESS_BITS - lsb, reset_less=True)
        start = Signal(lsb, reset_less=True)
        end = Signal(lsb + 1, reset_less=True)
        more = Signal(bits_for(MEMORY_BYTES) - lsb + 1, reset_less=True)  # beats less one
        ends = Signal(reset_less=True)  # this burst is the run's last

        # One burst: to the next multiple of its full length, or to the end.
        in_burst = (self.burst_beats - 1).bit_length()
        room = _room(beat, self.burst_beats)
        after = (more - room - 1)[:len(more)]
        m.d.comb += [
            self.o.valid.eq(active),
            self.o.payload.address.eq(Cat(Const(0, lsb), beat)),
            self.o.payload.more.eq(Mux(ends, more, room)),
            self.o.payload.start.eq(Mux(first, start, 0)),
            self.o.payload.end.eq(Mux(ends, end, self.bus_bytes)),
            self.o.payload.ends.eq(ends),
            self.o.payload.last.eq(run_last),
            self.i.ready.eq(~active | (self.o.ready & ends)),
        ]
        with m.If(self.o.valid & self.o.ready):
            m.d.sync += [active.eq(~ends), first.eq(0), beat.eq(beat + room + 1),
                         more.eq(after), ends.eq(~after[in_burst:].any())]

        # The next run: its last byte tells how many beats it has.
        request = self.i.payload
        offset = request.address[:lsb]
        last_byte = Signal(len(request.bytes) + 1)
        beats = last_byte[lsb:]  # less one
        m.d.comb += last_byte.eq(offset + request.bytes - 1)
        with m.If(self.i.valid & self.i.ready):
            m.d.sync += [
                active.eq(1), first.eq(1), run_last.eq(request.last), start.eq(offset),
                beat.eq(request.address[lsb:]), more.eq(beats), end.eq(last_byte[:lsb] + 1),
                ends.eq(~beats[in_burst:].any()
                        & (beats[:in_burst] <= _room(request.address[lsb:], self.burst_beats))),
            ]
        return m


def _room(beat: Value, burst_beats: int) -> Value:
    """Beats, less one, from `beat` to the next multiple of a full burst."""
    return ~beat[:bits_for(burst_beats - 1)] & (burst_beats - 1)
