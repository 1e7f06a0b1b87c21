"""A memory behind AXI4 buses, for tests in Amaranth's simulator: slow, moody and strict."""

import random
from collections import deque
from collections.abc import Collection
from typing import Any

__all__ = ["AxiMemory"]

_BOUNDARY_BYTES = 4096
_INCR = 1
_OKAY, _SLVERR = 0, 2


class AxiMemory:
    """Memory that answers a read and a write bus, and checks what is asked of it.

    Its methods :meth:`read_port` and :meth:`write_port` are testbenches for the background. A
    breach of the protocol is an AssertionError: a burst across 4096 bytes, of another type or
    size, outside `size` bytes from `base`, unaligned, or changed while it waits.

    Parameters
    ----------
    bus_bytes : int
        Bytes of a beat.
    size, base : int
        How much memory, and at which address.
    latency : int
        Cycles from a burst's address to its first beat, or from its last beat to its response.
    rng : random.Random or None
        With it, nothing happens in a cycle with probability `stall`.
    stall : float
        See `rng`.
    errors : Collection[int]
        Addresses of beats that are answered with SLVERR.

    Members
    -------
    content : bytearray
        Bytes from `base` on.
    reads, writes : list[tuple[int, int]]
        Address and number of beats of every burst so far.
    most_reads, most_writes : int
        Most bursts that were under way at once.
    written : set[int]
        Addresses of the bytes that were written.
    read_cycles, write_cycles : list[int]
        When a beat was transferred. ``read_requests``: when an address was.
    """

    def __init__(self, bus_bytes: int, *, size: int, base: int = 0, latency: int = 2,
                 rng: random.Random | None = None, stall: float = 0.3,
                 errors: Collection[int] = ()) -> None:
        self.bus_bytes, self.size, self.base = bus_bytes, size, base
        self.latency, self.rng, self.stall, self.errors = latency, rng, stall, errors
        self.content = bytearray(size)
        self.reads: list[tuple[int, int]] = []
        self.writes: list[tuple[int, int]] = []
        self.most_reads = self.most_writes = 0
        self.written: set[int] = set()
        self.read_requests: list[int] = []
        self.read_cycles: list[int] = []
        self.write_cycles: list[int] = []

    def _awake(self) -> bool:
        return self.rng is None or self.rng.random() >= self.stall

    def _check(self, address: int, length: int, size: int, burst: int) -> None:
        beats, bus = length + 1, self.bus_bytes
        assert burst == _INCR and 1 << size == bus, f"burst type {burst}, size {size}"
        assert address % bus == 0, f"burst at {address:#x} is not aligned"
        last = address + beats * bus - 1
        assert address // _BOUNDARY_BYTES == last // _BOUNDARY_BYTES, \
            f"burst of {beats} beats at {address:#x} crosses a boundary"
        assert self.base - bus < address and last < self.base + self.size + bus - 1, \
            f"burst of {beats} beats at {address:#x} is outside the memory"

    def _beat(self, address: int) -> int:
        offset = address - self.base
        return int.from_bytes(bytes(self.content[i] if 0 <= i < self.size else 0xEE
                                    for i in range(offset, offset + self.bus_bytes)), "little")

    async def read_port(self, ctx: Any, bus: Any) -> None:
        """Serve AR and R of `bus` for ever."""
        beats: deque[tuple[int, int, bool]] = deque()  # from which cycle, address, last
        waiting: Any = None
        ready = valid = False
        cycle = under_way = 0
        async for _, _, arvalid, *burst, rready in ctx.tick().sample(
                bus.arvalid, bus.araddr, bus.arlen, bus.arsize, bus.arburst, bus.rready):
            assert waiting is None or (arvalid and burst == waiting), "AR changed while waiting"
            waiting = burst if arvalid and not ready else None
            if valid and rready:
                self.read_cycles.append(cycle)
                under_way -= beats.popleft()[2]
                valid = False
            if arvalid and ready:
                address, length = burst[:2]
                self._check(*burst)
                self.reads.append((address, length + 1))
                self.read_requests.append(cycle)
                beats.extend((cycle + self.latency, address + i * self.bus_bytes, i == length)
                             for i in range(length + 1))
                under_way += 1
                self.most_reads = max(self.most_reads, under_way)
            cycle += 1
            ready = self._awake()
            ctx.set(bus.arready, ready)
            if not valid and beats and beats[0][0] <= cycle and self._awake():
                valid = True
                _, address, last = beats[0]
                ctx.set(bus.rdata, self._beat(address))
                ctx.set(bus.rresp, _SLVERR if address in self.errors else _OKAY)
                ctx.set(bus.rlast, last)
            ctx.set(bus.rvalid, valid)

    async def write_port(self, ctx: Any, bus: Any) -> None:
        """Serve AW, W and B of `bus` for ever."""
        bursts: deque[tuple[int, int]] = deque()
        beats: list[tuple[int, int]] = []
        responses: deque[tuple[int, int]] = deque()  # from which cycle, response
        waiting: Any = None
        held: Any = None
        ready = wready = valid = False
        cycle = 0
        async for _, _, awvalid, *sampled, bready in ctx.tick().sample(
                bus.awvalid, bus.awaddr, bus.awlen, bus.awsize, bus.awburst,
                bus.wvalid, bus.wdata, bus.wstrb, bus.wlast, bus.bready):
            burst, (wvalid, *beat) = sampled[:4], sampled[4:]
            assert waiting is None or (awvalid and burst == waiting), "AW changed while waiting"
            assert held is None or (wvalid and beat == held), "W changed while waiting"
            waiting = burst if awvalid and not ready else None
            held = beat if wvalid and not wready else None
            if valid and bready:
                responses.popleft()
                valid = False
            if awvalid and ready:
                self._check(*burst)
                bursts.append((burst[0], burst[1] + 1))
                self.writes.append(bursts[-1])
            if wvalid and wready:
                beats.append((beat[0], beat[1]))
                self.write_cycles.append(cycle)
                assert not beat[2] or not bursts or len(beats) == bursts[0][1], \
                    f"WLAST with beat {len(beats)} of {bursts[0][1]}"
            if bursts and len(beats) >= bursts[0][1]:
                responses.append((cycle + self.latency, self._write(bursts[0][0], beats)))
                bursts.popleft()
                beats = []
            self.most_writes = max(self.most_writes, len(bursts) + len(responses))
            cycle += 1
            ready, wready = self._awake(), self._awake()
            ctx.set(bus.awready, ready)
            ctx.set(bus.wready, wready)
            if not valid and responses and responses[0][0] <= cycle and self._awake():
                valid = True
                ctx.set(bus.bresp, responses[0][1])
            ctx.set(bus.bvalid, valid)

    def _write(self, address: int, beats: list[tuple[int, int]]) -> int:
        response = _OKAY
        for index, (data, strobe) in enumerate(beats):
            first = address + index * self.bus_bytes
            for i, byte in enumerate(data.to_bytes(self.bus_bytes, "little")):
                if strobe >> i & 1:
                    offset = first + i - self.base
                    assert 0 <= offset < self.size, f"byte {first + i:#x} is outside the memory"
                    self.content[offset] = byte
                    self.written.add(first + i)
            if first in self.errors:
                response = _SLVERR
        return response
