"""What a core takes of an ECP5: block RAMs and DSP blocks exactly, LUTs and registers estimated.

As Yosys synthesizes it in hw/bitstream. An estimate is linear in the sizes that a component depends
on: how steeply, say components synthesized one by one, and the rest whole systems, 4x4 and 16x16.
What a core takes when placed is said by hw/spec/boards.py; tests/rtl/test_resources.py compares.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields

from hw.spec.block_ram import Memory, Storage, storage
from hw.spec.config import MEMORY_BYTES, ArrayConfig, bits_for
from hw.spec.cycles import READ_BEATS, WRITE_BEATS
from hw.spec.isa import QUEUE_OF, Isa, Queue
from hw.spec.numerics import MULTIPLIER_BITS, SHIFT_BITS
from hw.spec.timing import FETCH_BUFFER

__all__ = ["Resources", "estimate", "memories", "multipliers", "scratchpad_parts"]

#: Words of a block RAM at its full width.
_BLOCK_WORDS = 1024
#: DSP blocks of a lane of POST: four for its requantizer, one for the products of ELEMENTWISE.
_LANE_DSP = 5


@dataclass(frozen=True, kw_only=True)
class Resources:
    """So much of an FPGA: LUTs of four inputs, registers, DSP blocks, block RAMs; and the large
    single-port RAMs of an iCE40, 256 Kbit each.
    """

    lut4: int = 0
    ff: int = 0
    dsp: int = 0
    ebr: int = 0
    spram: int = 0

    def __add__(self, other: "Resources") -> "Resources":
        return Resources(**{f.name: getattr(self, f.name) + getattr(other, f.name)
                            for f in fields(Resources)})


def multipliers(config: ArrayConfig, dsp: int) -> tuple[str, ...]:
    """How to make the products of each column, a :class:`hw.rtl.multiplier.MultiplierStyle`, with
    at most `dsp` DSP blocks: one for each product if there are enough, else one for every two in
    as many pairs of columns as there are blocks for, and none in the others. Two products need
    weights from -127 up; an array that takes -128 shares none.
    """
    if config.macs_per_cycle <= dsp or config.weight_min < -127:
        whole = min(max(0, dsp) // config.rows, config.columns)
        return ("inferred",) * whole + ("lut",) * (config.columns - whole)
    pairs = min(max(0, dsp) // config.rows, config.columns // 2)
    return ("packed",) * (2 * pairs) + ("lut",) * (config.columns - 2 * pairs)


def scratchpad_parts(words: int) -> list[int]:
    """Sizes of the memories that make up a scratchpad of `words` words: powers of two, largest
    first, and what is left below the depth of a block RAM.

    A depth that is no power of two would have every block RAM hold wide pieces of few words, with
    a multiplexer behind them all: for 13 K words 13 to 1 instead of 3 to 1, 2,700 LUT4 of an ECP5.
    """
    parts = []
    while words > _BLOCK_WORDS:
        parts.append(1 << words.bit_length() - 1)
        words -= parts[-1]
    return [*parts, words] if words else parts


def memories(config: ArrayConfig) -> dict[str, list[Memory]]:
    """All memories that may become block RAM, by what they hold."""
    c, lanes, bus_bits = config, config.post_lanes, 8 * config.bus_bytes
    beats = Isa(c).instruction_bytes // c.bus_bytes
    return {
        "scratchpad": [Memory(words=words, bits=8 * c.rows, bytes_written=True)
                       for words in scratchpad_parts(c.scratchpad_words)],
        "weights": [Memory(words=c.weight_words, bits=8)] * c.columns,
        "accumulators": [Memory(words=-(-c.accumulator_words // 2), bits=32)] * (2 * c.columns),
        "parameters": [Memory(words=c.parameter_entries * c.columns // lanes,
                              bits=32 + MULTIPLIER_BITS + SHIFT_BITS)] * lanes,
        "tables": [Memory(words=c.table_slots * 64, bits=32)] * lanes,
        "add tables": [Memory(words=c.add_table_slots * 256, bits=32)] * (2 * lanes),
        "beats": [Memory(words=READ_BEATS, bits=bus_bits + 2),
                  Memory(words=WRITE_BEATS, bits=bus_bits + c.bus_bytes)],
        "fetched instructions": [Memory(words=FETCH_BUFFER * beats - 1, bits=bus_bits + 1)],
    }


def estimate(config: ArrayConfig, styles: Sequence[str]) -> dict[str, Resources]:
    """What each component of a core takes, as synthesized.

    Parameters
    ----------
    styles
        Of :func:`multipliers`.
    """
    c = config
    stored = {name: sum((storage(m) for m in found), Storage())
              for name, found in memories(c).items()}

    def blocks(*names: str) -> int:
        return sum(stored[name].blocks for name in names)
    parts, lanes, width = len(memories(c)["scratchpad"]), c.post_lanes, max(c.rows, c.columns, 8)
    lut_rams = 4 * stored["parameters"].lut_rams
    bits = bits_for(c.scratchpad_words - 1)
    return {
        "array": _array(c, styles, stored),
        "post": Resources(
            lut4=2330 + 93 * c.rows + 734 * lanes + lut_rams, ff=1180 + 56 * c.rows + 673 * lanes,
            dsp=_LANE_DSP * lanes, ebr=blocks("parameters", "tables", "add tables")),
        "load": Resources(
            lut4=2260 + 200 * c.bus_bytes + 50 * c.rows + 19 * width + 60 * bits,
            ff=1380 + 16 * c.bus_bytes + 18 * c.rows + 15 * width + 53 * bits),
        "store": Resources(lut4=1260 + 25 * c.bus_bytes + 4 * c.rows + 44 * bits,
                           ff=870 + 15 * c.bus_bytes + 6 * bits),
        "mac": Resources(lut4=1060, ff=420 + 30 * bits),
        "scratchpad": Resources(lut4=(18 + 14 * parts) * c.rows,
                                ff=8 + 40 * c.rows + stored["scratchpad"].registers,
                                ebr=blocks("scratchpad")),
        "sequencer": Resources(lut4=3050 + 22 * bits + 4 * _queue_rams(c), ff=2710 + 33 * bits,
                               ebr=blocks("fetched instructions")),
        "bus": Resources(lut4=560 + 75 * c.bus_bytes, ff=260 + 18 * c.bus_bytes,
                         ebr=blocks("beats")),
    }


def _array(config: ArrayConfig, styles: Sequence[str], stored: Mapping[str, Storage]) -> Resources:
    """The array: adder trees and accumulators of all columns, and their multipliers."""
    r, columns, lanes = config.rows, config.columns, config.post_lanes
    counts = {style: styles.count(style) for style in ("inferred", "lut", "packed")}
    pairs = counts["packed"] // 2
    # Registers behind every sum of four, or of two at the end.
    sums, sum_bits, terms, bits = [0, 0], 0, r, 16
    while terms > 1:
        inputs = min(terms, 4)
        terms, bits = terms // inputs, bits + inputs // 2
        sums[inputs // 4] += terms
        sum_bits += terms * bits
    memory = {name: stored[name] for name in ("weights", "accumulators")}
    return Resources(
        lut4=(50 + columns * (231 + 23 * sums[0] + 93 * sums[1])
              + counts["lut"] * (102 * r - 37) + pairs * (62 * r - 107)
              + 32 * lanes * (columns // lanes - 1)
              + sum(4 * m.lut_rams for m in memory.values())
              - (60 * columns if memory["accumulators"].lut_rams else 0)),
        ff=77 + 32 * lanes + columns * (175 + 40 * r + sum_bits) + pairs * (18 * r - 28),
        dsp=r * (counts["inferred"] + pairs), ebr=sum(m.blocks for m in memory.values()))


def _queue_rams(config: ArrayConfig) -> int:
    """RAMs of LUTs that hold the instructions in all queues, and what the units work at."""
    isa = Isa(config)
    index = bits_for(MEMORY_BYTES // isa.instruction_bytes)
    deep = -(-(config.queue_depth - 1) // 16)
    return sum(deep * -(-(max(isa.formats[opcode].bits for opcode, of in QUEUE_OF.items()
                              if of == queue) + index) // 4) + -(-(len(Queue) + index) // 4)
               for queue in Queue)
