"""The units that move data between memory and chip: LOAD, LOAD_LINEAR and STORE."""

from collections.abc import Mapping

import numpy as np

from hw.spec.config import ArrayConfig
from hw.spec.isa import LinearTarget, Window
from hw.spec.regs import Fault
from sim.machine.faults import Refusal
from sim.machine.geometry import Surface, check, check_range
from sim.machine.state import Bytes, Footprint, Indices, Memory, Operation, State

__all__ = ["Load", "LoadLinear", "Store"]

_WINDOW_FAULT = {Window.CONSTANTS: Fault.CONSTANTS_WINDOW,
                 Window.ACTIVATIONS: Fault.ACTIVATIONS_WINDOW}


class _Block:
    """Where a LOAD or STORE stands in memory: `span` bytes of each row of each plane.

    The first `skip` bytes of a row are not read.
    """

    def __init__(self, fields: Mapping[str, int], config: ArrayConfig, span: int,
                 skip: int = 0) -> None:
        self.first = fields["address"] + skip
        self.plane_stride = fields["memory_plane_stride"]
        self.row_stride = fields["memory_row_stride"]
        self.planes, self.rows, self.span = fields["planes"], fields["rows"], span
        for name in ("address", "memory_plane_stride", "memory_row_stride"):
            _check_aligned(name, fields[name], config)

    def check_window(self, window: Window, size: int) -> None:
        """Refuse the instruction if a byte is not in a window of `size` bytes."""
        if self.span:
            last = (self.first + (self.planes - 1) * self.plane_stride
                    + (self.rows - 1) * self.row_stride)
            _check_window(window, last, self.span, size)

    def view(self, window: Bytes) -> Bytes:
        """The bytes, uint8[planes, rows, span], as a view of `window`."""
        return np.lib.stride_tricks.as_strided(
            window[self.first:], (self.planes, self.rows, self.span),
            (self.plane_stride, self.row_stride, 1))

    def overlaps_itself(self) -> bool:
        """Tell whether two rows may share bytes, so that the order of writing them matters."""
        row_major = self.rows == 1 or self.row_stride >= self.span
        height = (self.rows - 1) * self.row_stride + self.span
        return not (row_major and (self.planes == 1 or self.plane_stride >= height))

    def footprint(self, granule: int) -> Indices:
        """Indices of the `granule`-byte words that hold these bytes, each once."""
        starts = (self.first + np.arange(self.planes)[:, None] * self.plane_stride
                  + np.arange(self.rows) * self.row_stride).reshape(-1, 1)
        offsets = np.append(np.arange(0, self.span, granule), self.span - 1)
        return np.unique((starts + offsets) // granule)


class Load(Operation):
    """LOAD: copy a block from memory to the scratchpad."""

    def __init__(self, fields: Mapping[str, int], state: State) -> None:
        config = state.config
        for name in ("planes", "rows", "columns", "lane_count"):
            check(fields[name] > 0, f"{name} must be positive", fields[name])
        self.lane_first, self.lane_count = fields["lane_first"], fields["lane_count"]
        check(self.lane_first + self.lane_count <= config.rows,
              f"lane_first + lane_count must be at most {config.rows}",
              self.lane_first + self.lane_count)
        surface = Surface.of(fields, "dst").written("dst", fields["rows"])
        self.columns, self.step = fields["columns"], fields["word_step"]
        self.head, self.fill = max(0, fields["head"]), fields["fill"]
        skip = max(0, -fields["head"])
        #: Bytes of a row with its fill.
        self.width = (self.columns - 1) * self.step + self.lane_count
        used = max(0, min(fields["row_bytes"], self.width - fields["head"]) - skip)
        self.block = _Block(fields, config, used, skip)
        self.words = surface.words(fields["planes"], fields["rows"], self.columns)
        check_range("the scratchpad", int(self.words.max()), config.scratchpad_words)
        self.window = Window(fields["window"])
        source = state.constants if self.window == Window.CONSTANTS else state.activations
        self.block.check_window(self.window, len(source))
        self.granule = config.rows

    def reads(self) -> Footprint:
        if self.window == Window.CONSTANTS or not self.block.span:
            return []
        return [(Memory.ACTIVATIONS, self.block.footprint(self.granule))]

    def writes(self) -> Footprint:
        return [(Memory.SCRATCHPAD, self.words.reshape(-1))]

    def run(self, state: State) -> None:
        source = state.constants if self.window == Window.CONSTANTS else state.activations
        planes, rows = self.block.planes, self.block.rows
        if self.head == 0 and self.block.span == self.width == self.columns * self.lane_count:
            row = self.block.view(source).view(np.int8)
            shape = (planes, rows, self.columns, self.lane_count)
            state.write_lanes(self.words, self.lane_first, row.reshape(shape))
            return
        row = np.full((planes, rows, self.width), self.fill, np.int8)
        if self.block.span:
            row[..., self.head:self.head + self.block.span] = self.block.view(source).view(np.int8)
        plane_stride, row_stride, _ = row.strides
        state.write_lanes(self.words, self.lane_first, np.lib.stride_tricks.as_strided(
            row, (planes, rows, self.columns, self.lane_count),
            (plane_stride, row_stride, self.step, 1)))


class LoadLinear(Operation):
    """LOAD_LINEAR: copy contiguous constants to an on-chip memory."""

    def __init__(self, fields: Mapping[str, int], state: State) -> None:
        config = state.config
        self.target = LinearTarget(fields["target"])
        self.count, self.dst = fields["count"], fields["dst"]
        check(self.count > 0, "count must be positive", self.count)
        self.memory, name, size, unit_bytes = {
            LinearTarget.WEIGHTS: (Memory.WEIGHTS, "the weight memory", config.weight_words,
                                   config.columns),
            LinearTarget.PARAMETERS: (Memory.PARAMETERS, "the parameters",
                                      config.parameter_entries, config.parameter_entry_bytes),
            LinearTarget.TABLE: (Memory.TABLES, "the tables", config.table_slots, 256),
            LinearTarget.ADD_TABLES: (Memory.ADD_TABLES, "the add tables",
                                      config.add_table_slots, 2 * 256 * 4),
        }[self.target]
        self.address = fields["address"]
        self.bytes = slice(self.address, self.address + self.count * unit_bytes)
        _check_aligned("address", self.address, config)
        check_range(name, self.dst + self.count - 1, size)
        _check_window(Window.CONSTANTS, self.address, self.count * unit_bytes,
                      len(state.constants))

    def reads(self) -> Footprint:
        return []

    def writes(self) -> Footprint:
        return [(self.memory, slice(self.dst, self.dst + self.count))]

    def run(self, state: State) -> None:
        config = state.config
        data = state.constants[self.bytes]
        units = slice(self.dst, self.dst + self.count)
        if self.target == LinearTarget.WEIGHTS:
            weights = data.view(np.int8).reshape(self.count, config.columns)
            check(int(weights.min()) >= config.weight_min,
                  f"weights must be at least {config.weight_min}", int(weights.min()))
            state.write_weights(self.dst, weights)
        elif self.target == LinearTarget.PARAMETERS:
            packed = np.frombuffer(data.tobytes(), "<u4").astype(np.uint32)
            state.write_parameters(self.dst, packed.reshape(self.count, config.columns, 2),
                                   self.address)
        elif self.target == LinearTarget.TABLE:
            state.tables[units] = data.view(np.int8).reshape(self.count, 256)
        else:
            state.add_tables[units] = np.frombuffer(data.tobytes(), "<i4").reshape(
                self.count, 2, 256)


class Store(Operation):
    """STORE: copy a block from the scratchpad to the activations window."""

    def __init__(self, fields: Mapping[str, int], state: State) -> None:
        config = state.config
        for name in ("planes", "rows", "columns"):
            check(fields[name] > 0, f"{name} must be positive", fields[name])
        surface = Surface.of(fields, "src")
        self.block = _Block(fields, config, fields["columns"] * config.rows)
        self.words = surface.words(fields["planes"], fields["rows"], fields["columns"])
        check_range("the scratchpad", int(self.words.max()), config.scratchpad_words)
        self.block.check_window(Window.ACTIVATIONS, len(state.activations))
        self.granule = config.rows

    def reads(self) -> Footprint:
        return [(Memory.SCRATCHPAD, self.words.reshape(-1))]

    def writes(self) -> Footprint:
        return [(Memory.ACTIVATIONS, self.block.footprint(self.granule))]

    def run(self, state: State) -> None:
        block = self.block
        rows = state.read_words(self.words).view(np.uint8).reshape(block.planes, block.rows, -1)
        view = block.view(state.activations)
        if block.overlaps_itself():
            for plane in range(block.planes):
                for row in range(block.rows):
                    view[plane, row] = rows[plane, row]
        else:
            view[:] = rows


def _check_aligned(name: str, value: int, config: ArrayConfig) -> None:
    if value % config.alignment_bytes:
        raise Refusal(Fault.ALIGNMENT,
                      f"{name} must be a multiple of {config.alignment_bytes}, not {value}", value)


def _check_window(window: Window, start: int, span: int, size: int) -> None:
    if start + span > size:
        raise Refusal(_WINDOW_FAULT[window],
                      f"last byte in {window.name} must be below {size}, not {start + span - 1}",
                      max(start, size))
