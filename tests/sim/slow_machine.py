"""The instructions in plain Python, word by word from docs/isa_semantics.md: what the simulator
is compared with. Independent of it on purpose; only the contract in hw.spec is shared.
"""

from collections.abc import Mapping

from hw.spec.config import ArrayConfig
from hw.spec.isa import LinearTarget, Opcode
from hw.spec.numerics import requantize, wrap32

__all__ = ["SlowMachine"]


def _signed(byte: int) -> int:
    return byte - 256 if byte > 127 else byte


class SlowMachine:
    """Memories as lists of lists; executes instructions that are known to be legal."""

    def __init__(self, config: ArrayConfig, constants: bytes, activations: bytes) -> None:
        self.config = config
        r, c = config.rows, config.columns
        self.constants, self.activations = bytes(constants), bytearray(activations)
        self.scratchpad = [[0] * r for _ in range(config.scratchpad_words)]
        self.weights = [[0] * c for _ in range(config.weight_words)]
        self.accumulators = [[0] * c for _ in range(config.accumulator_words)]
        self.parameters = [[(0, 0, 0)] * c for _ in range(config.parameter_entries)]
        self.tables = [[0] * 256 for _ in range(config.table_slots)]
        self.add_tables = [[[0] * 256, [0] * 256] for _ in range(config.add_table_slots)]

    def execute(self, opcode: Opcode, f: Mapping[str, int]) -> None:
        """Do what one instruction does."""
        getattr(self, f"_{opcode.name.lower()}")(f)

    def _load(self, f: Mapping[str, int]) -> None:
        window = self.activations if f["window"] else self.constants
        for p in range(f["planes"]):
            for y in range(f["rows"]):
                for x in range(f["columns"]):
                    word = self.scratchpad[_word(f, "dst", p, y, x)]
                    for i in range(f["lane_count"]):
                        q = x * f["word_step"] + i - f["head"]
                        at = (f["address"] + p * f["memory_plane_stride"]
                              + y * f["memory_row_stride"] + q)
                        inside = 0 <= q < f["row_bytes"]
                        word[f["lane_first"] + i] = _signed(window[at]) if inside else f["fill"]

    def _load_linear(self, f: Mapping[str, int]) -> None:
        c = self.config.columns
        at = f["address"]
        for unit in range(f["dst"], f["dst"] + f["count"]):
            if f["target"] == LinearTarget.WEIGHTS:
                self.weights[unit] = [_signed(b) for b in self.constants[at:at + c]]
                at += c
            elif f["target"] == LinearTarget.PARAMETERS:
                for column in range(c):
                    bias = int.from_bytes(self.constants[at:at + 4], "little", signed=True)
                    scale = int.from_bytes(self.constants[at + 4:at + 8], "little")
                    self.parameters[unit][column] = (bias, scale % (1 << 24), scale >> 24)
                    at += 8
            elif f["target"] == LinearTarget.TABLE:
                self.tables[unit] = [_signed(b) for b in self.constants[at:at + 256]]
                at += 256
            else:
                for side in range(2):
                    for i in range(256):
                        self.add_tables[unit][side][i] = int.from_bytes(
                            self.constants[at:at + 4], "little", signed=True)
                        at += 4

    def _mac(self, f: Mapping[str, int]) -> None:
        r, c = self.config.rows, self.config.columns
        for y in range(f["rows"]):
            for x in range(f["columns"]):
                pixel = f["accumulator"] + y * f["columns"] + x
                sums = list(self.accumulators[pixel]) if f["accumulate"] else [0] * c
                for p in range(f["planes"]):
                    for ky in range(f["kernel_rows"]):
                        for kx in range(f["kernel_columns"]):
                            word = self._input(f, p, y, x, ky, kx, f["up_y"], f["up_x"],
                                               f["pad"])
                            tile = f["weights"] + ((p * f["kernel_rows"] + ky)
                                                   * f["kernel_columns"] + kx) * r
                            for lane in range(r):
                                for column in range(c):
                                    sums[column] += word[lane] * self.weights[tile + lane][column]
                self.accumulators[pixel] = [wrap32(s) for s in sums]

    def _input(self, f: Mapping[str, int], p: int, y: int, x: int, ky: int, kx: int,
               up_y: int, up_x: int, outside: int) -> list[int]:
        iy = f["y0"] + y * f["stride_y"] + ky
        ix = f["x0"] + x * f["stride_x"] + kx
        if not (0 <= iy < f["src_rows"] << up_y and 0 <= ix < f["src_columns"] << up_x):
            return [outside] * self.config.rows
        return self.scratchpad[_word(f, "src", p, iy >> up_y, ix >> up_x)]

    def _drain(self, f: Mapping[str, int]) -> None:
        config = self.config
        codes = {}
        for y in range(f["rows"]):
            for x in range(f["columns"]):
                for column in range(config.columns):
                    acc = self.accumulators[f["accumulator"] + y * f["columns"] + x][column]
                    bias, multiplier, shift = self.parameters[f["parameter"]][column]
                    codes[y, x, column] = self._mapped(f, requantize(
                        wrap32(acc + bias), multiplier=multiplier, shift=shift,
                        zero_point=f["zero_point"], odd=f["odd"]))
        step = 1 + f["pool"]
        for y in range(f["rows"] // step):
            for x in range(f["columns"] // step):
                for column in range(config.columns):
                    code = max(codes[y * step + i, x * step + j, column]
                               for i in range(step) for j in range(step))
                    if config.columns >= config.rows:
                        p, lane = divmod(column, config.rows)
                    else:
                        p, lane = 0, f["lane_group"] * config.columns + column
                    self.scratchpad[_word(f, "dst", p, y, x)][lane] = code

    def _pool(self, f: Mapping[str, int]) -> None:
        result = {}
        for p in range(f["planes"]):
            for y in range(f["rows"]):
                for x in range(f["columns"]):
                    words = [self._input(f, p, y, x, ky, kx, 0, 0, -128)
                             for ky in range(f["kernel_rows"])
                             for kx in range(f["kernel_columns"])]
                    result[p, y, x] = [self._mapped(f, max(lane)) for lane in zip(*words)]
        self._write(f, result)

    def _elementwise(self, f: Mapping[str, int]) -> None:
        result = {}
        for p in range(f["planes"]):
            for y in range(f["rows"]):
                for x in range(f["columns"]):
                    a = self.scratchpad[_word(f, "a", p, y // f["repeat_y"], x // f["repeat_x"])]
                    b = a
                    if f["operation"]:
                        b = self.scratchpad[_word(f, "b", p, y, 0 if f["b_broadcast"] else x)]
                    result[p, y, x] = [self._combined(f, i, j) for i, j in zip(a, b)]
        self._write(f, result)

    def _combined(self, f: Mapping[str, int], a: int, b: int) -> int:
        if f["operation"] == 0:
            return self._mapped(f, a)
        if f["operation"] == 1:
            table_a, table_b = self.add_tables[f["add_tables"]]
            front = wrap32(table_a[a & 255] + table_b[b & 255])
        else:
            front = (a - f["a_zero_point"]) * (b - f["b_zero_point"])
        return self._mapped(f, requantize(front, multiplier=f["multiplier"], shift=f["shift"],
                                          zero_point=f["zero_point"], odd=f["odd"]))

    def _store(self, f: Mapping[str, int]) -> None:
        r = self.config.rows
        for p in range(f["planes"]):
            for y in range(f["rows"]):
                for x in range(f["columns"]):
                    at = (f["address"] + p * f["memory_plane_stride"]
                          + y * f["memory_row_stride"] + x * r)
                    word = self.scratchpad[_word(f, "src", p, y, x)]
                    self.activations[at:at + r] = bytes(v & 255 for v in word)

    def _mapped(self, f: Mapping[str, int], code: int) -> int:
        return self.tables[f["table"]][code & 255] if f["use_table"] else code

    def _write(self, f: Mapping[str, int], result: dict[tuple[int, int, int], list[int]]) -> None:
        for (p, y, x), word in result.items():
            self.scratchpad[_word(f, "dst", p, y, x)] = list(word)


def _word(f: Mapping[str, int], prefix: str, p: int, y: int, x: int) -> int:
    row = (f[f"{prefix}_ring_start"] + y * f[f"{prefix}_row_stride"]) % f[f"{prefix}_ring_words"]
    return f[f"{prefix}_base"] + p * f[f"{prefix}_plane_stride"] + row + x
