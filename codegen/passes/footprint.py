"""Which words an instruction reads and writes: what two instructions can disagree about."""

from collections.abc import Iterator
from enum import IntEnum, unique

import numpy as np
import numpy.typing as npt

from codegen.lowered import Instruction
from hw.spec.config import ArrayConfig
from hw.spec.isa import Elementwise, LinearTarget, Opcode, Window

__all__ = ["Footprints", "Memory"]

Words = npt.NDArray[np.int64]
Access = tuple["Memory", Words, bool]


@unique
class Memory(IntEnum):
    """What instructions share."""

    SCRATCHPAD = 0
    WEIGHTS = 1
    ACCUMULATORS = 2
    PARAMETERS = 3
    TABLES = 4
    ADD_TABLES = 5
    ACTIVATIONS = 6


_TARGETS = {LinearTarget.WEIGHTS: Memory.WEIGHTS, LinearTarget.PARAMETERS: Memory.PARAMETERS,
            LinearTarget.TABLE: Memory.TABLES, LinearTarget.ADD_TABLES: Memory.ADD_TABLES}


class Footprints:
    """Accesses of instructions of one configuration.

    Activations are counted in granules of R bytes; a touched granule counts whole, which can only
    add dependencies.
    """

    def __init__(self, config: ArrayConfig, activation_bytes: int) -> None:
        self.config = config
        self.sizes = {
            Memory.SCRATCHPAD: config.scratchpad_words, Memory.WEIGHTS: config.weight_words,
            Memory.ACCUMULATORS: config.accumulator_words,
            Memory.PARAMETERS: config.parameter_entries, Memory.TABLES: config.table_slots,
            Memory.ADD_TABLES: config.add_table_slots,
            Memory.ACTIVATIONS: -(-activation_bytes // config.rows) + 1}
        self._surfaces: dict[tuple[int, ...], Words] = {}

    def of(self, instruction: Instruction) -> Iterator[Access]:
        """(memory, words, whether it writes) of each access."""
        f = instruction.fields
        match instruction.opcode:
            case Opcode.LOAD:
                yield Memory.SCRATCHPAD, self._surface("dst", f, f["rows"], f["columns"]), True
                used = min(f["row_bytes"],
                           (f["columns"] - 1) * f["word_step"] + f["lane_count"] - f["head"])
                if f["window"] == Window.ACTIVATIONS and used > 0:
                    yield Memory.ACTIVATIONS, self._memory(f, used), False
            case Opcode.LOAD_LINEAR:
                yield _TARGETS[LinearTarget(f["target"])], _run(f["dst"], f["count"]), True
            case Opcode.MAC:
                yield from self._mac(f)
            case Opcode.DRAIN:
                size = 2 if f["pool"] else 1
                yield Memory.ACCUMULATORS, _run(f["accumulator"], f["rows"] * f["columns"]), False
                yield Memory.PARAMETERS, _run(f["parameter"], 1), False
                yield from _table(f)
                yield Memory.SCRATCHPAD, self._surface(
                    "dst", f | {"planes": self.config.planes_per_drain}, f["rows"] // size,
                    f["columns"] // size), True
            case Opcode.POOL:
                yield Memory.SCRATCHPAD, self._window(f, f["src_rows"], f["src_columns"]), False
                yield from _table(f)
                yield Memory.SCRATCHPAD, self._surface("dst", f, f["rows"], f["columns"]), True
            case Opcode.ELEMENTWISE:
                yield Memory.SCRATCHPAD, self._surface(
                    "a", f, -(-f["rows"] // f["repeat_y"]),
                    -(-f["columns"] // f["repeat_x"])), False
                if f["operation"] != Elementwise.MAP:
                    yield Memory.SCRATCHPAD, self._surface(
                        "b", f, f["rows"], 1 if f["b_broadcast"] else f["columns"]), False
                if f["operation"] == Elementwise.ADD:
                    yield Memory.ADD_TABLES, _run(f["add_tables"], 1), False
                yield from _table(f)
                yield Memory.SCRATCHPAD, self._surface("dst", f, f["rows"], f["columns"]), True
            case Opcode.STORE:
                yield Memory.SCRATCHPAD, self._surface("src", f, f["rows"], f["columns"]), False
                yield Memory.ACTIVATIONS, self._memory(f, f["columns"] * self.config.rows), True

    def _mac(self, f: dict[str, int]) -> Iterator[Access]:
        yield Memory.SCRATCHPAD, self._window(f, f["src_rows"] << f["up_y"],
                                              f["src_columns"] << f["up_x"]), False
        passes = f["planes"] * f["kernel_rows"] * f["kernel_columns"]
        yield Memory.WEIGHTS, _run(f["weights"], passes * self.config.rows), False
        sums = _run(f["accumulator"], f["rows"] * f["columns"])
        if f["accumulate"]:
            yield Memory.ACCUMULATORS, sums, False
        yield Memory.ACCUMULATORS, sums, True

    def _window(self, f: dict[str, int], rows: int, columns: int) -> Words:
        """Words under the kernel windows of a MAC or POOL."""
        y0, y1 = max(0, f["y0"]), min(
            rows, f["y0"] + (f["rows"] - 1) * f["stride_y"] + f["kernel_rows"])
        x0, x1 = max(0, f["x0"]), min(
            columns, f["x0"] + (f["columns"] - 1) * f["stride_x"] + f["kernel_columns"])
        if y0 >= y1 or x0 >= x1:
            return np.zeros(0, np.int64)
        up_y, up_x = f.get("up_y", 0), f.get("up_x", 0)
        return self._surface("src", f, -(-y1 >> up_y), -(-x1 >> up_x), y0 >> up_y, x0 >> up_x)

    def _surface(self, prefix: str, f: dict[str, int], rows: int, columns: int, row0: int = 0,
                 column0: int = 0) -> Words:
        ring, start = f[f"{prefix}_ring_words"], f[f"{prefix}_ring_start"]
        stride = f[f"{prefix}_row_stride"]
        key = (f[f"{prefix}_base"], f[f"{prefix}_plane_stride"], stride, ring,
               (start + row0 * stride) % ring, f["planes"], rows - row0, column0, columns)
        if key not in self._surfaces:
            y = (start + np.arange(row0, max(rows, row0)) * stride) % ring
            words = (f[f"{prefix}_base"]
                     + np.arange(f["planes"])[:, None, None] * f[f"{prefix}_plane_stride"]
                     + y[:, None]
                     + np.arange(column0, columns))
            self._surfaces[key] = words.reshape(-1)
        return self._surfaces[key]

    def _memory(self, f: dict[str, int], row_bytes: int) -> Words:
        """Granules of a block in the activations window."""
        r = self.config.rows
        starts = (f["address"] + np.arange(f["planes"])[:, None] * f["memory_plane_stride"]
                  + np.arange(f["rows"]) * f["memory_row_stride"]).reshape(-1, 1)
        return ((starts + np.arange(0, row_bytes + r - 1, r)) // r).reshape(-1)


def _run(start: int, count: int) -> Words:
    return np.arange(start, start + count)


def _table(f: dict[str, int]) -> Iterator[Access]:
    if f["use_table"]:
        yield Memory.TABLES, _run(f["table"], 1), False
