"""Cycle model: what one instruction costs, and how much it moves. Looks at fields, never at data.

Letters: P: output pixels of a tile; R, C: rows and columns of the array.
"""

from collections.abc import Mapping
from typing import TypeAlias

from hw.spec.config import ArrayConfig
from hw.spec.isa import QUEUE_OF, Elementwise, LinearTarget, Opcode, Queue

__all__ = ["Fields", "data_cycles", "dma_bytes", "tail_cycles", "unit_cycles",
           "weight_fill_cycles"]

Fields: TypeAlias = Mapping[str, int]

# Constants of the RTL; tests/rtl/test_cycles.py measures them there.

#: A pass takes at least so long: an accumulator is written before it is read again. It also lets
#: what only the first pixel of a pass needs be read from the instruction later.
MIN_PASS_CYCLES = 4
#: A MAC that adds to other accumulators than the one ahead waits for that one's last sums.
MAC_APART = 3
#: From the last pixel of a MAC to its sums being visible, beyond the columns and the adder tree.
MAC_TAIL = 9
#: From POST's acceptance of an instruction to its last result being visible, beyond its words.
DRAIN_OVERHEAD = 25
POOL_OVERHEAD = 22
MAP_OVERHEAD = 14
#: What a table or arithmetic adds to POOL and MAP.
LANES_OVERHEAD = 9
#: A DMA unit checks an instruction for so long, and another cycle per bit of its largest count.
CHECK_CYCLES = 7
#: From then on to its effect, beyond the memory's latency and a cycle per beat or word.
LOAD_TAIL = 13
STORE_TAIL = 12
#: Most beats of a burst. Writes start when the whole first burst is there.
BURST_BEATS = 16
#: Beats that the masters of the bus hold for the core, and for memory: block RAM.
READ_BEATS, WRITE_BEATS = 128, 64


def weight_fill_cycles(config: ArrayConfig) -> int:
    """Cycles to shift a weight tile into the array, hidden behind the MAC ahead if that runs so
    long from the moment on that the tokens are there.
    """
    return max(config.rows - 3, 3)


def dma_bytes(opcode: Opcode, fields: Fields, config: ArrayConfig) -> int:
    """Bytes that an instruction moves over the bus: whole beats of each row; 0 for no DMA."""
    f, bus = fields, config.bus_bytes
    if opcode == Opcode.LOAD_LINEAR:
        return _beats(f["address"], f["count"] * _unit_bytes(f, config), bus) * bus
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
    if row_stride % bus == 0 and plane_stride % bus == 0:
        return _beats(start, span, bus) * rows * planes * bus
    return bus * sum(_beats(start + p * plane_stride + y * row_stride, span, bus)
                     for p in range(planes) for y in range(rows))


def _unit_bytes(f: Fields, config: ArrayConfig) -> int:
    """Bytes in memory of what LOAD_LINEAR counts."""
    return {LinearTarget.WEIGHTS: config.columns,
            LinearTarget.PARAMETERS: config.parameter_entry_bytes,
            LinearTarget.TABLE: 256, LinearTarget.ADD_TABLES: 2048}[LinearTarget(f["target"])]


def _element_bytes(f: Fields, config: ArrayConfig) -> int:
    """Bytes that LOAD_LINEAR writes at a time."""
    return {LinearTarget.WEIGHTS: config.columns,
            LinearTarget.PARAMETERS: 8}.get(LinearTarget(f["target"]), 4)


def _beats(start: int, span: int, bus: int) -> int:
    return (start % bus + span + bus - 1) // bus


def data_cycles(opcode: Opcode, fields: Fields, config: ArrayConfig) -> int:
    """Cycles that a LOAD, LOAD_LINEAR or STORE moves data if memory never makes it wait: one per
    beat, or per scratchpad word, or per `bus_bytes` that enter a word, whichever takes longer.
    """
    f = fields
    beats = dma_bytes(opcode, f, config) // config.bus_bytes
    if opcode == Opcode.LOAD_LINEAR:
        return max(beats, f["count"] * _unit_bytes(f, config) // _element_bytes(f, config))
    first = following = 1
    if opcode == Opcode.LOAD:
        first, following = (max(1, -(-size // config.bus_bytes))
                            for size in (f["lane_count"], f["word_step"]))
    return max(beats, f["planes"] * f["rows"] * (first + (f["columns"] - 1) * following))


def unit_cycles(opcode: Opcode, fields: Fields, config: ArrayConfig) -> int:
    """Cycles that an instruction occupies its unit if memory never makes it wait.

    - MAC: ``passes * max(P, R, 4)``: the next weight tile is shifted in during a pass; and
      :func:`weight_fill_cycles` for the first tile, saved in part or whole when the tokens were
      there before the MAC ahead was done: :func:`hw.spec.timing.simulate` accounts for that.
    - DRAIN: ``P * C / post_lanes``; pooling saves writes, not reads.
    - POOL: a word read per tap, and one written; its table, where it is slower.
    - ELEMENTWISE: reads and a write, or ``R / post_lanes`` per word with arithmetic or a table.
    - LOAD, LOAD_LINEAR, STORE: :func:`data_cycles`, and at least what the check takes.
    """
    f = fields
    if opcode == Opcode.MAC:
        return _passes(f) * _pass_cycles(f, config) + weight_fill_cycles(config)
    if opcode == Opcode.DRAIN:
        return f["rows"] * f["columns"] * (config.columns // config.post_lanes) + DRAIN_OVERHEAD
    if opcode == Opcode.END:
        return 0
    if opcode in (Opcode.POOL, Opcode.ELEMENTWISE):
        return _post_cycles(opcode, f, config)
    gap = 0 if opcode == Opcode.STORE else 1
    return max(data_cycles(opcode, f, config) + gap, _check_cycles(opcode, f, config))


def tail_cycles(opcode: Opcode, fields: Fields, config: ArrayConfig) -> int:
    """Cycles from the last pixel or word of an instruction, as :func:`unit_cycles` counts them,
    to all effects being visible; of DMA, beyond the memory's latency.
    """
    f = fields
    if opcode == Opcode.MAC:
        early = _pass_cycles(f, config) - f["rows"] * f["columns"]
        return config.columns + config.rows.bit_length() // 2 + MAC_TAIL - early
    if QUEUE_OF[opcode] == Queue.POST or opcode == Opcode.END:
        return 0
    tail = _check_cycles(opcode, f, config)
    if opcode != Opcode.STORE:
        return tail + LOAD_TAIL
    beats = _beats(0, f["columns"] * config.rows, config.bus_bytes)
    return tail + STORE_TAIL + min(BURST_BEATS, beats)


def _check_cycles(opcode: Opcode, f: Fields, config: ArrayConfig) -> int:
    if opcode == Opcode.LOAD_LINEAR:
        return CHECK_CYCLES + _element_bytes(f, config).bit_length()
    step = f["word_step"] if opcode == Opcode.LOAD else config.rows
    return CHECK_CYCLES + max(n.bit_length() for n in (f["planes"] - 1, f["rows"] - 1, step))


def _passes(f: Fields) -> int:
    return f["planes"] * f["kernel_rows"] * f["kernel_columns"]


def _pass_cycles(f: Fields, config: ArrayConfig) -> int:
    return max(f["rows"] * f["columns"], config.rows, MIN_PASS_CYCLES)


def _post_cycles(opcode: Opcode, f: Fields, config: ArrayConfig) -> int:
    words = f["planes"] * f["rows"] * f["columns"]
    if opcode == Opcode.POOL:
        ports, overhead = f["kernel_rows"] * f["kernel_columns"] + 1, POOL_OVERHEAD
    else:
        ports = 2 if f["operation"] == Elementwise.MAP else 3
        overhead = MAP_OVERHEAD
    if f["use_table"] or opcode == Opcode.ELEMENTWISE and f["operation"] != Elementwise.MAP:
        overhead += LANES_OVERHEAD
        ports = max(ports, config.rows // config.post_lanes)
    return words * ports + overhead
