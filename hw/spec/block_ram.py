"""How Yosys maps a memory to an ECP5: to how many block RAMs, or else to RAM made of LUTs.

The choice is the cheapest of a few geometries. Costs and rules are those of Yosys' pass
``memory_libmap`` with its ``lattice/brams_16kd.txt`` and ``lattice/lutrams_trellis.txt``, for the
memories that the core has; ``tests/rtl/test_resources.py`` compares.
"""

from collections.abc import Iterator
from dataclasses import dataclass

__all__ = ["Memory", "Storage", "storage"]

#: What Yosys counts for a bit of multiplexer or decoder, and for logic around the ports.
_MULTIPLEXER = 0.5
_EMULATION = 2


@dataclass(frozen=True, kw_only=True)
class Memory:
    """A memory with a port to write and a registered one to read, which may read anything where
    it is written in the same cycle (:func:`hw.generate.colliding`).

    Parameters
    ----------
    words, bits : int
        Depth, and width of a word.
    bytes_written : bool
        Every eight bits have a write enable, and there is a second port to read, which shares the
        address of the one to write: the scratchpad.
    """

    words: int
    bits: int
    bytes_written: bool = False


@dataclass(frozen=True, kw_only=True)
class Storage:
    """What memories take: block RAMs (DP16KD), RAMs of 16 x 4 bits made of LUTs, and registers."""

    blocks: int = 0
    lut_rams: int = 0
    registers: int = 0

    def __add__(self, other: "Storage") -> "Storage":
        return Storage(blocks=self.blocks + other.blocks, lut_rams=self.lut_rams + other.lut_rams,
                       registers=self.registers + other.registers)


def storage(memory: Memory) -> Storage:
    """What a memory takes: the cheapest; of equal ones the first."""
    bits = memory.words * memory.bits
    best_cost, best = float(bits), Storage(registers=bits)
    for cost, found in (_lut_ram(memory), *_block_rams(memory)):
        if cost < best_cost:
            best_cost, best = cost, found
    return best


def _lut_ram(memory: Memory) -> tuple[float, Storage]:
    """RAM of LUTs: 16 words of 4 bits, one port to read each."""
    ways, reads = -(-memory.words // 16), 2 if memory.bytes_written else 1
    rams = ways * -(-memory.bits // 4) * reads
    # A register behind each port to read.
    return (4 * rams + _around(memory, ways) + _EMULATION * reads,
            Storage(lut_rams=rams))


def _block_rams(memory: Memory) -> Iterator[tuple[float, Storage]]:
    """Block RAMs of 16 K bits, or 18 K where words have parity: true dual-port, then simple."""
    simple = () if memory.bytes_written else ((2048, 9), (1024, 18), (512, 36))
    for shapes in (((16384, 1), (8192, 2), (4096, 4), (2048, 9), (1024, 18)), simple):
        best: tuple[float, Storage] | None = None
        for depth, width in shapes:
            ways, granule = -(-memory.words // depth), min(width, 9)
            bits = (memory.bits // 8 * -(-8 // granule) if memory.bytes_written
                    else -(-memory.bits // granule)) * granule
            blocks = -(-ways * bits // width)
            cost = 128 * blocks + _around(memory, ways) + _EMULATION
            # Yosys compares with the best cost rounded down.
            if best is None or cost < int(best[0]):
                best = cost, Storage(blocks=blocks)
        if best is not None:
            yield best


def _around(memory: Memory, ways: int) -> float:
    """Cost of multiplexers behind the ports to read, and of decoders before the one to write."""
    reads, enables = (2, memory.bits // 8) if memory.bytes_written else (1, 1)
    return _MULTIPLEXER * ((ways - 1) * memory.bits * reads + (ways * enables if ways > 1 else 0))
