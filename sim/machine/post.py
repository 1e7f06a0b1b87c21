"""The units of the POST queue: DRAIN, POOL and ELEMENTWISE."""

from collections.abc import Mapping

import numpy as np

from hw.spec import numerics
from hw.spec.isa import Elementwise
from sim.machine.geometry import Surface, check, check_range, check_words, sliding_window
from sim.machine.requantize import requantize
from sim.machine.state import Footprint, Int8s, Memory, Operation, State

__all__ = ["Drain", "Combine", "Pool"]


class _Table:
    """The table that ends every instruction here, if it is used."""

    def __init__(self, fields: Mapping[str, int], state: State) -> None:
        self.slot = fields["table"] if fields["use_table"] else None
        if self.slot is not None:
            check_range("the tables", self.slot, state.config.table_slots)

    def apply(self, codes: Int8s, state: State) -> Int8s:
        if self.slot is None:
            return codes
        return np.take(state.tables[self.slot], codes.view(np.uint8))

    def reads(self) -> Footprint:
        return [] if self.slot is None else [(Memory.TABLES, slice(self.slot, self.slot + 1))]


class Drain(Operation):
    """DRAIN: requantize a tile of accumulators into the scratchpad."""

    def __init__(self, fields: Mapping[str, int], state: State) -> None:
        config = state.config
        self.rows, self.columns = fields["rows"], fields["columns"]
        for name in ("rows", "columns"):
            check(fields[name] > 0, f"{name} must be positive", fields[name])
            check(not (fields["pool"] and fields[name] % 2), f"{name} must be even to pool",
                  fields[name])
        self.pool = bool(fields["pool"])
        rows, columns = self.rows >> self.pool, self.columns >> self.pool
        surface = Surface.of(fields, "dst").written("dst", rows)
        check(fields["lane_group"] < config.lane_groups,
              f"lane_group must be below {config.lane_groups}", fields["lane_group"])
        self.lane_first = fields["lane_group"] * config.columns
        self.zero_point, self.odd = fields["zero_point"], fields["odd"]
        self.parameter = fields["parameter"]
        self.accumulators = slice(fields["accumulator"],
                                  fields["accumulator"] + self.rows * self.columns)
        block = 1 + self.pool  # pixels of a block come one after the other
        pixels = np.arange(self.accumulators.start, self.accumulators.stop).reshape(
            rows, block, columns, block).transpose(0, 2, 1, 3)
        check_words("the accumulators", pixels.reshape(-1), config.accumulator_words)
        check_range("the parameters", self.parameter, config.parameter_entries)
        self.table = _Table(fields, state)
        self.words = surface.words(config.planes_per_drain, rows, columns)
        # all planes of a pixel, then the next pixel
        check_words("the scratchpad", self.words.transpose(1, 2, 0).reshape(-1),
                    config.scratchpad_words)

    def reads(self) -> Footprint:
        return [(Memory.ACCUMULATORS, self.accumulators),
                (Memory.PARAMETERS, slice(self.parameter, self.parameter + 1)),
                *self.table.reads()]

    def writes(self) -> Footprint:
        return [(Memory.SCRATCHPAD, self.words.reshape(-1))]

    def run(self, state: State) -> None:
        entry = self.parameter
        # int32 sums of arrays wrap, as the hardware's do.
        codes = requantize(state.accumulators[self.accumulators] + state.bias[entry],
                           multiplier=state.multiplier[entry], shift=state.shift[entry],
                           zero_point=self.zero_point, odd=self.odd)
        codes = self.table.apply(codes, state)
        if self.pool:
            block = codes.reshape(self.rows >> 1, 2, self.columns >> 1, 2, -1)
            codes = block.max(axis=(1, 3))
        planes, rows, columns = self.words.shape
        brick = codes.reshape(rows, columns, planes, -1).transpose(2, 0, 1, 3)
        state.write_lanes(self.words, self.lane_first, brick)


class Pool(Operation):
    """POOL: maxima over windows, scratchpad to scratchpad."""

    def __init__(self, fields: Mapping[str, int], state: State) -> None:
        config = state.config
        source = Surface.of(fields, "src")
        self.base = source.base
        self.window = sliding_window(fields, source)
        self.taps = fields["kernel_rows"] * fields["kernel_columns"]
        surface = Surface.of(fields, "dst").written("dst", fields["rows"])
        self.table = _Table(fields, state)
        # plane by plane and pixel by pixel, of each all taps
        self.window.check(self.base, config.scratchpad_words, (1, 0, 2))
        self.words = surface.words(fields["planes"], fields["rows"], fields["columns"])
        check_words("the scratchpad", self.words.reshape(-1), config.scratchpad_words)

    def reads(self) -> Footprint:
        return [(Memory.SCRATCHPAD, self.base + self.window.touched), *self.table.reads()]

    def writes(self) -> Footprint:
        return [(Memory.SCRATCHPAD, self.words.reshape(-1))]

    def run(self, state: State) -> None:
        spare = state.config.scratchpad_words
        state.scratchpad[spare] = numerics.QMIN
        words = self.window.words(self.base, spare)  # [P, planes, taps]
        codes = state.read_words(words[..., 0])
        for tap in range(1, self.taps):
            np.maximum(codes, state.read_words(words[..., tap]), out=codes)
        codes = self.table.apply(codes, state)  # [P, planes, R]
        state.write_words(self.words, codes.transpose(1, 0, 2).reshape(*self.words.shape, -1))


class Combine(Operation):
    """ELEMENTWISE: combine one or two tensors, scratchpad to scratchpad."""

    def __init__(self, fields: Mapping[str, int], state: State) -> None:
        config = state.config
        planes, rows, columns = fields["planes"], fields["rows"], fields["columns"]
        for name in ("planes", "rows", "columns", "repeat_y", "repeat_x"):
            check(fields[name] > 0, f"{name} must be positive", fields[name])
        check(fields["operation"] in set(Elementwise),
              f"operation must be at most {max(Elementwise)}", fields["operation"])
        self.operation = Elementwise(fields["operation"])
        self.fields = fields
        a = Surface.of(fields, "a")
        b = Surface.of(fields, "b") if self.operation != Elementwise.MAP else None
        dst = Surface.of(fields, "dst").written("dst", rows)
        self.table = _Table(fields, state)
        self.add_tables = slice(fields["add_tables"], fields["add_tables"] + 1)
        if self.operation == Elementwise.ADD:
            check_range("the add tables", fields["add_tables"], config.add_table_slots)
        self.a = a.words(planes, rows, columns, repeat_y=fields["repeat_y"],
                         repeat_x=fields["repeat_x"])
        self.b = None if b is None else b.words(
            planes, rows, 1 if fields["b_broadcast"] else columns)
        self.words = dst.words(planes, rows, columns)
        # a and b in turns
        read = self.a if self.b is None else np.stack(np.broadcast_arrays(self.a, self.b), -1)
        for words in (read, self.words):
            check_words("the scratchpad", words.reshape(-1), config.scratchpad_words)

    def reads(self) -> Footprint:
        result: Footprint = [(Memory.SCRATCHPAD, self.a.reshape(-1)), *self.table.reads()]
        if self.b is not None:
            result.append((Memory.SCRATCHPAD, self.b.reshape(-1)))
        if self.operation == Elementwise.ADD:
            result.append((Memory.ADD_TABLES, self.add_tables))
        return result

    def writes(self) -> Footprint:
        return [(Memory.SCRATCHPAD, self.words.reshape(-1))]

    def run(self, state: State) -> None:
        a = state.read_words(self.a)
        if self.b is not None:
            a = self._combine(a, state.read_words(self.b), state)
        state.write_words(self.words, self.table.apply(a, state))

    def _combine(self, a: Int8s, b: Int8s, state: State) -> Int8s:
        f = self.fields
        if self.operation == Elementwise.ADD:
            table_a, table_b = state.add_tables[f["add_tables"]]
            front = (np.take(table_a, a.view(np.uint8)) + np.take(table_b, b.view(np.uint8)))
        else:
            front = ((a.astype(np.int32) - f["a_zero_point"])
                     * (b.astype(np.int32) - f["b_zero_point"]))
        return requantize(front, multiplier=f["multiplier"], shift=f["shift"],
                          zero_point=f["zero_point"], odd=f["odd"])
