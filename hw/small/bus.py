"""The bus between the processor and everything else."""

from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

__all__ = ["Bus"]


class Bus(wiring.Signature):
    """A memory's side of the processor's bus, as PicoRV32 has it. Seen from the memory.

    An access begins when `valid` rises, and ends with the cycle in which `ready` is 1, too; until
    then all inputs stay. The next one begins at the earliest in the cycle after that one's end,
    in which `valid` may be 0 or 1.

    Members
    -------
    valid : In(1)
    address : In
        Of a word.
    strobe : In(4)
        Bytes to write; 0 to read.
    written : In(32)
    ready : Out(1)
    read : Out(32)
        In the cycle of `ready`; 0 in all cycles in which `valid` is 0.
    """

    def __init__(self, address_bits: int) -> None:
        super().__init__({"valid": In(1), "address": In(address_bits), "strobe": In(4),
                          "written": In(32), "ready": Out(1), "read": Out(32)})
