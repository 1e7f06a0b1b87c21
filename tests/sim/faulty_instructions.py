"""Instructions with a fault: changes to those of tests/sim/program_builder.py, by cause."""

from hw.spec.isa import LinearTarget, Opcode
from hw.spec.regs import Fault

__all__ = ["ALIGNMENT", "ILLEGAL", "RANGE", "WINDOWS"]

LOAD, LINEAR, MAC, DRAIN, POOL, ELEMENTWISE, STORE = (o for o in Opcode if o != Opcode.END)

#: Four rows of one word, of which a window of two rows sees two, then the other two.
_COLUMN = {"src_rows": 4, "src_columns": 1, "rows": 2, "columns": 1, "kernel_rows": 2,
           "stride_y": 2, "src_row_stride": 1, "src_ring_words": 4}

#: Fields that break a rule of their own, and what the simulator says.
ILLEGAL = [
    (LOAD, {"planes": 0}, "planes must be positive, not 0"),
    (LOAD, {"rows": 0}, "rows must be positive, not 0"),
    (LOAD, {"columns": 0}, "columns must be positive, not 0"),
    (LOAD, {"lane_count": 0}, "lane_count must be positive, not 0"),
    (LOAD, {"lane_first": 2, "lane_count": 3},
     "lane_first + lane_count must be at most 4, not 5"),
    (LOAD, {"dst_ring_words": 0}, "dst_ring_words must be positive, not 0"),
    (LOAD, {"dst_ring_start": 4}, "dst_ring_start must be below dst_ring_words = 4, not 4"),
    (LOAD, {"dst_row_stride": 5}, "dst_row_stride must be at most dst_ring_words = 4, not 5"),
    (LOAD, {"rows": 3}, "words of the rows written must be at most dst_ring_words = 4, not 6"),
    (LINEAR, {"count": 0}, "count must be positive, not 0"),
    (MAC, {"kernel_rows": 0}, "kernel_rows must be positive, not 0"),
    (MAC, {"kernel_columns": 0}, "kernel_columns must be positive, not 0"),
    (MAC, {"src_rows": 0}, "src_rows must be positive, not 0"),
    (MAC, {"src_columns": 0}, "src_columns must be positive, not 0"),
    (MAC, {"stride_y": 0}, "stride_y must be in 1..4, not 0"),
    (MAC, {"stride_x": 5}, "stride_x must be in 1..4, not 5"),
    (MAC, {"src_ring_words": 0}, "src_ring_words must be positive, not 0"),
    (MAC, {"y0": 1}, "y0 must be below 1, not 1"),
    (MAC, {"x0": 2, "up_x": 1}, "x0 must be below 2, not 2"),
    (POOL, {"x0": 1}, "x0 must be below 1, not 1"),
    (MAC, {"planes": 0}, "planes must be positive, not 0"),
    (DRAIN, {"rows": 0}, "rows must be positive, not 0"),
    (DRAIN, {"pool": 1, "rows": 1}, "rows must be even to pool, not 1"),
    (DRAIN, {"pool": 1, "columns": 3}, "columns must be even to pool, not 3"),
    (DRAIN, {"lane_group": 1}, "lane_group must be below 1, not 1"),
    (DRAIN, {"dst_ring_words": 2},
     "words of the rows written must be at most dst_ring_words = 2, not 4"),
    (POOL, {"dst_ring_words": 2},
     "words of the rows written must be at most dst_ring_words = 2, not 4"),
    (POOL, {"stride_x": 0}, "stride_x must be in 1..4, not 0"),
    (ELEMENTWISE, {"operation": 3}, "operation must be at most 2, not 3"),
    (ELEMENTWISE, {"columns": 0}, "columns must be positive, not 0"),
    (ELEMENTWISE, {"dst_ring_words": 2},
     "words of the rows written must be at most dst_ring_words = 2, not 4"),
    (ELEMENTWISE, {"repeat_y": 0}, "repeat_y must be positive, not 0"),
    (STORE, {"rows": 0}, "rows must be positive, not 0"),
    (STORE, {"src_ring_start": 4}, "src_ring_start must be below src_ring_words = 4, not 4"),
]

#: Words outside, the fault's address, and what the simulator says.
RANGE = [
    # LOAD, LOAD_LINEAR and STORE: the highest word or entry
    (LOAD, {"dst_base": 1021}, 1024, "last word of the scratchpad must be below 1024, not 1024"),
    (LOAD, {"dst_base": 1020, "dst_ring_words": 2, "rows": 1, "planes": 2}, 1025,
     "last word of the scratchpad must be below 1024, not 1025"),
    (LOAD, {"dst_base": 1022, "dst_ring_start": 2}, 1025,
     "last word of the scratchpad must be below 1024, not 1025"),
    (LINEAR, {"dst": 253}, 256, "last word of the weight memory must be below 256, not 256"),
    (LINEAR, {"target": LinearTarget.PARAMETERS, "dst": 7, "count": 2}, 8,
     "last word of the parameters must be below 8, not 8"),
    (LINEAR, {"target": LinearTarget.TABLE, "dst": 3, "count": 3}, 5,
     "last word of the tables must be below 4, not 5"),
    (LINEAR, {"target": LinearTarget.ADD_TABLES, "dst": 1, "count": 1}, 1,
     "last word of the add tables must be below 1, not 1"),
    (STORE, {"src_base": 1021}, 1024, "last word of the scratchpad must be below 1024, not 1024"),
    # MAC: the size of weights and accumulators
    (MAC, {"weights": 253}, 256, "last word of the weight memory must be below 256, not 256"),
    (MAC, {"weights": 248, "kernel_columns": 3}, 256,
     "last word of the weight memory must be below 256, not 259"),
    (MAC, {"accumulator": 62}, 64, "last word of the accumulators must be below 64, not 65"),
    # the others: the first word that they come to
    (MAC, {"src_base": 1022, "src_ring_start": 2}, 1024,
     "every word of the scratchpad must be below 1024, not 1024"),
    (MAC, {"src_base": 1023, **_COLUMN}, 1025,
     "every word of the scratchpad must be below 1024, not 1025"),
    (DRAIN, {"accumulator": 61}, 64, "every word of the accumulators must be below 64, not 64"),
    (DRAIN, {"accumulator": 54, "rows": 4, "columns": 4, "pool": 1}, 66,
     "every word of the accumulators must be below 64, not 66"),
    (DRAIN, {"dst_base": 1022}, 1024, "every word of the scratchpad must be below 1024, not 1024"),
    (POOL, {"src_base": 1021}, 1024, "every word of the scratchpad must be below 1024, not 1024"),
    (POOL, {"src_base": 1023, **_COLUMN}, 1024,
     "every word of the scratchpad must be below 1024, not 1024"),
    (POOL, {"dst_base": 1023, "dst_ring_start": 2}, 1025,
     "every word of the scratchpad must be below 1024, not 1025"),
    (ELEMENTWISE, {"a_base": 1021}, 1024,
     "every word of the scratchpad must be below 1024, not 1024"),
    (ELEMENTWISE, {"b_base": 1021, "operation": 2}, 1024,
     "every word of the scratchpad must be below 1024, not 1024"),
    (ELEMENTWISE, {"a_base": 1022, "b_base": 1023, "b_ring_start": 2, "operation": 2}, 1025,
     "every word of the scratchpad must be below 1024, not 1025"),
    (ELEMENTWISE, {"dst_base": 1021}, 1024,
     "every word of the scratchpad must be below 1024, not 1024"),
]

#: Fields that are one too large for a window of 64 bytes, its fault, and the last byte.
WINDOWS = [
    (LOAD, {"address": 52}, Fault.ACTIVATIONS_WINDOW, "ACTIVATIONS", 67),
    (LOAD, {"address": 52, "window": 0}, Fault.CONSTANTS_WINDOW, "CONSTANTS", 67),
    (LOAD, {"memory_row_stride": 60}, Fault.ACTIVATIONS_WINDOW, "ACTIVATIONS", 67),
    (LOAD, {"planes": 2, "memory_plane_stride": 52}, Fault.ACTIVATIONS_WINDOW, "ACTIVATIONS", 67),
    (LINEAR, {"address": 52}, Fault.CONSTANTS_WINDOW, "CONSTANTS", 67),
    (STORE, {"address": 52}, Fault.ACTIVATIONS_WINDOW, "ACTIVATIONS", 67),
]

ALIGNMENT = [(opcode, name) for opcode in (LOAD, STORE)
             for name in ("address", "memory_plane_stride", "memory_row_stride")]
ALIGNMENT.append((LINEAR, "address"))
