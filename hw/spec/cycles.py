"""Cycle model: what one instruction costs, and how much it moves. Looks at fields, never at data.

Letters: P: output pixels of a tile; R, C: rows and columns of the array.
"""

from collections.abc import Mapping
from typing import TypeAlias

from hw.spec.config import ArrayConfig
from hw.spec.isa import QUEUE_OF, Elementwise, LinearTarget, Opcode, Queue

__all__ = ["Fields", "dma_bytes", "tail_cycles", "unit_cycles", "weight_fill_cycles"]

Fields: TypeAlias = Mapping[str, int]

#: Decoded fields of a MAC become counters and first addresses.
MAC_SETUP = 4
#: Likewise in the POST unit; its pipeline restarts from empty.
POST_SETUP = 4
#: From the last MAC of a column through the accumulator's read, add and write, beyond R + C.
MAC_TAIL = 4
#: From the last word read by POST through requantizer, table and pooling to its write.
POST_TAIL = 12
#: A DMA unit computes the addresses of a block before the first burst.
DMA_SETUP = 4


def weight_fill_cycles(config: ArrayConfig) -> int:
    """Cycles to shift a weight tile into the array, hidden behind a pass of at least R pixels."""
    return config.rows


def dma_bytes(opcode: Opcode, fields: Fields, config: ArrayConfig) -> int:
    """Bytes that an instruction moves over the bus: whole beats of each contiguous run.

    Rows, then planes, that follow each other without a gap are one run. 0 for what is no DMA.
    """
    f, bus = fields, config.bus_bytes
    if opcode == Opcode.LOAD_LINEAR:
        unit = {LinearTarget.WEIGHTS: config.columns,
                LinearTarget.PARAMETERS: config.parameter_entry_bytes,
                LinearTarget.TABLE: 256, LinearTarget.ADD_TABLES: 2048}[LinearTarget(f["target"])]
        return _beats(f["address"], f["count"] * unit, bus) * bus
    start = f.get("address", 0)
    if opcode == Opcode.LOAD:
        stop = (f["columns"] - 1) * f["word_step"] + f["lane_count"] - f["head"]
        skip = max(0, -f["head"])
        start, span = start + skip, max(0, min(f["row_bytes"], stop) - skip)
    elif opcode == Opcode.STORE:
        span = f["columns"] * config.rows
    else:
        return 0
    if not span:
        return 0
    rows, planes = f["rows"], f["planes"]
    row_stride, plane_stride = f["memory_row_stride"], f["memory_plane_stride"]
    if rows == 1 or row_stride == span:
        span, rows = span * rows, 1
        if planes == 1 or plane_stride == span:
            span, planes = span * planes, 1
    if row_stride % bus == 0 and plane_stride % bus == 0:
        return _beats(start, span, bus) * rows * planes * bus
    return bus * sum(_beats(start + p * plane_stride + y * row_stride, span, bus)
                     for p in range(planes) for y in range(rows))


def _beats(start: int, span: int, bus: int) -> int:
    return (start % bus + span + bus - 1) // bus


def unit_cycles(opcode: Opcode, fields: Fields, config: ArrayConfig) -> int:
    """Cycles that an instruction occupies its unit if memory never makes it wait.

    - MAC: ``passes * max(P, R) + R``: the next weight tile is shifted in during a pass. The last
      R, for the first tile, is saved in part or whole when the tokens were there before the MAC
      ahead was done: :func:`hw.spec.timing.simulate` accounts for that.
    - DRAIN: ``P * C / post_lanes``; pooling saves writes, not reads.
    - POOL: a word read per tap; its table, where it is slower than the taps.
    - ELEMENTWISE: ``R / post_lanes`` per word with arithmetic or a table, at least one cycle per
      operand; plain MAP one per word.
    - LOAD, LOAD_LINEAR, STORE: a bus beat, or a scratchpad word of a block, per cycle, whichever
      takes longer.
    """
    f = fields
    if opcode == Opcode.MAC:
        passes = f["planes"] * f["kernel_rows"] * f["kernel_columns"]
        return (passes * max(f["rows"] * f["columns"], config.rows) + weight_fill_cycles(config)
                + MAC_SETUP)
    if opcode == Opcode.DRAIN:
        return f["rows"] * f["columns"] * (config.columns // config.post_lanes) + POST_SETUP
    if opcode == Opcode.END:
        return 0
    if opcode == Opcode.LOAD_LINEAR:
        return dma_bytes(opcode, f, config) // config.bus_bytes + DMA_SETUP
    words = f["planes"] * f["rows"] * f["columns"]
    slow = config.rows // config.post_lanes
    if opcode == Opcode.POOL:
        taps = f["kernel_rows"] * f["kernel_columns"]
        return words * max(taps, slow if f["use_table"] else 1) + POST_SETUP
    if opcode == Opcode.ELEMENTWISE:
        operands = 1 if f["operation"] == Elementwise.MAP else 2
        plain = operands == 1 and not f["use_table"]
        return words * (1 if plain else max(operands, slow)) + POST_SETUP
    return max(words, dma_bytes(opcode, f, config) // config.bus_bytes) + DMA_SETUP


def tail_cycles(opcode: Opcode, config: ArrayConfig) -> int:
    """Cycles from the unit being free for its next instruction to all effects being visible.

    Pipelines of the array and of POST; data that a LOAD or STORE moves takes the memory's latency
    instead.
    """
    queue = QUEUE_OF[opcode]
    if queue == Queue.MAC:
        return config.rows + config.columns + MAC_TAIL
    return POST_TAIL if queue == Queue.POST else 0
