"""Signatures of the buses around the core: AXI4 in two halves, and AXI4-Lite.

All as their master sees them; a slave takes the flipped signature.

Ref: AMBA AXI and ACE Protocol Specification, ARM IHI 0022E, chapters A2 (signals), A3 (bursts),
B1 (AXI4-Lite).
"""

from enum import IntEnum

from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

__all__ = ["ADDRESS_BITS", "AxiLite", "AxiRead", "AxiWrite", "BOUNDARY_BYTES", "Burst", "Response"]

ADDRESS_BITS = 32
#: No burst may cross a multiple of this.
BOUNDARY_BYTES = 4096


class Burst(IntEnum):
    """AxBURST. The core uses INCR only."""

    FIXED = 0
    INCR = 1
    WRAP = 2


class Response(IntEnum):
    """RRESP, BRESP. The upper bit tells errors."""

    OKAY = 0
    EXOKAY = 1
    SLVERR = 2
    DECERR = 3


def _address(prefix: str) -> dict[str, wiring.Member]:
    """Return the members of AR or AW; all transfers have the one ID 0."""
    return {f"{prefix}valid": Out(1), f"{prefix}ready": In(1), f"{prefix}id": Out(1),
            f"{prefix}addr": Out(ADDRESS_BITS), f"{prefix}len": Out(8), f"{prefix}size": Out(3),
            f"{prefix}burst": Out(2)}


def _check_bus(bus_bytes: int) -> None:
    if bus_bytes not in (4, 8, 16):
        raise ValueError(f"bus_bytes must be 4, 8 or 16, not {bus_bytes!r}")


class AxiRead(wiring.Signature):
    """AXI4 channels AR and R for a bus of `bus_bytes` bytes."""

    def __init__(self, bus_bytes: int) -> None:
        _check_bus(bus_bytes)
        self.bus_bytes = bus_bytes
        super().__init__(_address("ar") | {
            "rvalid": In(1), "rready": Out(1), "rid": In(1), "rdata": In(8 * bus_bytes),
            "rresp": In(2), "rlast": In(1)})


class AxiWrite(wiring.Signature):
    """AXI4 channels AW, W and B for a bus of `bus_bytes` bytes."""

    def __init__(self, bus_bytes: int) -> None:
        _check_bus(bus_bytes)
        self.bus_bytes = bus_bytes
        super().__init__(_address("aw") | {
            "wvalid": Out(1), "wready": In(1), "wdata": Out(8 * bus_bytes),
            "wstrb": Out(bus_bytes), "wlast": Out(1),
            "bvalid": In(1), "bready": Out(1), "bid": In(1), "bresp": In(2)})


class AxiLite(wiring.Signature):
    """AXI4-Lite with 32-bit data and byte addresses of `address_bits` bits."""

    def __init__(self, address_bits: int = 12) -> None:
        self.address_bits = address_bits
        super().__init__({
            "awvalid": Out(1), "awready": In(1), "awaddr": Out(address_bits), "awprot": Out(3),
            "wvalid": Out(1), "wready": In(1), "wdata": Out(32), "wstrb": Out(4),
            "bvalid": In(1), "bready": Out(1), "bresp": In(2),
            "arvalid": Out(1), "arready": In(1), "araddr": Out(address_bits), "arprot": Out(3),
            "rvalid": In(1), "rready": Out(1), "rdata": In(32), "rresp": In(2)})
