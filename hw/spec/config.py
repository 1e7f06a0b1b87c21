"""Size of an array: the parameters, the named presets, and every width derived from them.

Letters: R, C: rows and columns of the array; a *brick* is R channels of one pixel.
"""

from dataclasses import dataclass, fields, replace

__all__ = ["ArrayConfig", "ConfigError", "MAX_CHANNELS", "MAX_IMAGE_SIDE", "MAX_KERNEL",
           "MAX_REPEAT", "MAX_STRIDE", "MAX_UPSAMPLE_LOG2", "MEMORY_BYTES", "PRESETS", "bits_for"]

MAX_CHANNELS = 4096
MAX_IMAGE_SIDE = 4096
MAX_KERNEL = 15
MAX_STRIDE = 4
#: How often ELEMENTWISE can repeat a row or column.
MAX_REPEAT = 15
#: A MAC can read its input enlarged by powers of two up to 2 to this.
MAX_UPSAMPLE_LOG2 = 3
#: Bytes that one DMA window can span.
MEMORY_BYTES = 64 * 1024 * 1024

_ACCUMULATOR_BYTES = 4
_PARAMETER_BYTES = 8
_TABLE_BYTES = 256
_ADD_TABLES_BYTES = 2 * 256 * 4


class ConfigError(ValueError):
    """A parameter of an :class:`ArrayConfig` breaks a rule; the message names both."""


def bits_for(largest: int) -> int:
    """Width of an unsigned field that must hold 0..`largest`; at least 1."""
    return max(1, largest.bit_length())


@dataclass(frozen=True, kw_only=True)
class ArrayConfig:
    """Parameters of one array.

    Parameters
    ----------
    rows : int
        R, input channels that a pass multiplies; bytes of a scratchpad word. Power of two, 2..64.
    columns : int
        C, output channels of a pass; bytes of a weight word. Power of two, 2..64.
    scratchpad_words : int
        Depth of the activation memory, in words of R bytes.
    weight_words : int
        Depth of the weight memory, in words of C bytes; a tile of weights is R words.
    accumulator_words : int
        Depth of the accumulator memory, in words of C times 32 bit.
    parameter_entries : int
        Depth of the requantization parameter memory; an entry serves C output channels.
    table_slots : int
        How many 256-entry tables are on chip.
    add_table_slots : int
        How many pairs of 256-entry int32 tables (QLinearAdd) are on chip.
    post_lanes : int
        Results that the requantizer makes per cycle. Power of two, divides R and C.
    bus_bytes : int
        Width of the memory bus: 4, 8 or 16.
    queue_depth : int
        Instructions that each queue holds.
    weight_min : int
        Smallest weight a PE can hold: -128, or -127 where two products share a multiplier.
    """

    rows: int
    columns: int
    scratchpad_words: int
    weight_words: int
    accumulator_words: int
    parameter_entries: int
    table_slots: int = 8
    add_table_slots: int = 2
    post_lanes: int
    bus_bytes: int = 4
    queue_depth: int = 16
    weight_min: int = -128

    def __post_init__(self) -> None:
        for name, low, high in (("rows", 2, 64), ("columns", 2, 64), ("post_lanes", 1, 64),
                                ("bus_bytes", 4, 16)):
            value = getattr(self, name)
            if not low <= value <= high or value & (value - 1):
                raise ConfigError(f"{name} must be a power of two in {low}..{high}, not {value}")
        if self.post_lanes > min(self.rows, self.columns):
            raise ConfigError(f"post_lanes must be at most min(rows, columns) = "
                              f"{min(self.rows, self.columns)}, not {self.post_lanes}")
        if self.weight_min not in (-128, -127):
            raise ConfigError(f"weight_min must be -128 or -127, not {self.weight_min}")
        for name, low, high in (
                ("scratchpad_words", 64, 1 << 20), ("weight_words", 4 * self.rows, 1 << 20),
                ("accumulator_words", 4, 1 << 16), ("parameter_entries", 2, 1 << 12),
                ("table_slots", 1, 64), ("add_table_slots", 1, 16), ("queue_depth", 2, 256)):
            value = getattr(self, name)
            if not low <= value <= high:
                raise ConfigError(f"{name} must be in {low}..{high}, not {value}")

    @property
    def macs_per_cycle(self) -> int:
        """Multiply-accumulates of a cycle in which the array is busy."""
        return self.rows * self.columns

    @property
    def lane_groups(self) -> int:
        """How many drains fill a brick: R / C where the array is higher than wide, else 1."""
        return max(1, self.rows // self.columns)

    @property
    def planes_per_drain(self) -> int:
        """How many bricks a drain fills: C / R where the array is wider than high, else 1."""
        return max(1, self.columns // self.rows)

    @property
    def channel_granule(self) -> int:
        """max(R, C): output channels are padded to a multiple of this."""
        return max(self.rows, self.columns)

    @property
    def alignment_bytes(self) -> int:
        """Every memory address and stride of an instruction is a multiple of this."""
        return min(self.rows, self.bus_bytes)

    @property
    def parameter_entry_bytes(self) -> int:
        """Bytes of one parameter entry: C times (int32 bias, uint24 multiplier, uint5 shift)."""
        return _PARAMETER_BYTES * self.columns

    @property
    def scratchpad_bytes(self) -> int:
        """Size of the activation memory."""
        return self.scratchpad_words * self.rows

    @property
    def weight_bytes(self) -> int:
        """Size of the weight memory."""
        return self.weight_words * self.columns

    @property
    def accumulator_bytes(self) -> int:
        """Size of the accumulator memory."""
        return self.accumulator_words * self.columns * _ACCUMULATOR_BYTES

    @property
    def on_chip_bytes(self) -> int:
        """Size of all memories of the core together, tables counted once."""
        return (self.scratchpad_bytes + self.weight_bytes + self.accumulator_bytes
                + self.parameter_entries * self.parameter_entry_bytes
                + self.table_slots * _TABLE_BYTES + self.add_table_slots * _ADD_TABLES_BYTES)

    @property
    def column_sum_bits(self) -> int:
        """Width of a sum of R products of int8 by int8 inside the array."""
        return 16 + bits_for(self.rows - 1)

    def words(self) -> tuple[int, ...]:
        """All parameters in the order of declaration, as the image header stores them."""
        return tuple(getattr(self, f.name) for f in fields(self))

    @classmethod
    def from_words(cls, words: tuple[int, ...]) -> "ArrayConfig":
        """Inverse of :meth:`words`. Raises ConfigError like the constructor."""
        names = [f.name for f in fields(cls)]
        if len(words) != len(names):
            raise ConfigError(f"a configuration must have {len(names)} words, not {len(words)}")
        return cls(**dict(zip(names, words)))

    def with_size(self, rows: int | None = None, columns: int | None = None) -> "ArrayConfig":
        """The same memories in bytes around an array of another size."""
        r, c = rows or self.rows, columns or self.columns
        return replace(
            self, rows=r, columns=c,
            scratchpad_words=self.scratchpad_words * self.rows // r,
            weight_words=self.weight_words * self.columns // c,
            accumulator_words=self.accumulator_words * self.columns // c,
            parameter_entries=max(2, self.parameter_entries * self.columns // c),
            post_lanes=max(1, min(r, c, self.post_lanes * c // self.columns)))


def _presets() -> dict[str, ArrayConfig]:
    ulx3s = ArrayConfig(rows=16, columns=16, scratchpad_words=13 * 1024, weight_words=4096,
                        accumulator_words=1024, parameter_entries=16, post_lanes=8, bus_bytes=4,
                        weight_min=-127)
    return {
        # LFE5U-85F: 208 KB + 64 KB + 64 KB take 168 of its 208 block RAMs.
        "ulx3s-85f": ulx3s,
        # iCE40UP5K: scratchpad and weights in the four 32 KB SPRAMs, accumulators in EBR.
        "icebreaker-up5k": ArrayConfig(
            rows=4, columns=4, scratchpad_words=16384, weight_words=1024, accumulator_words=512,
            parameter_entries=16, table_slots=4, add_table_slots=1, post_lanes=1, bus_bytes=4,
            queue_depth=4),
        # Small enough that every layer needs several tiles: what the tests use most.
        "test-4x4": ArrayConfig(
            rows=4, columns=4, scratchpad_words=1024, weight_words=256, accumulator_words=64,
            parameter_entries=8, table_slots=4, add_table_slots=1, post_lanes=2, bus_bytes=4,
            queue_depth=4),
        # Wider and higher than square, for what depends on R != C.
        "test-4x8": ArrayConfig(
            rows=4, columns=8, scratchpad_words=1024, weight_words=256, accumulator_words=64,
            parameter_entries=8, table_slots=4, add_table_slots=1, post_lanes=4, bus_bytes=8,
            queue_depth=4),
        "test-8x4": ArrayConfig(
            rows=8, columns=4, scratchpad_words=1024, weight_words=512, accumulator_words=64,
            parameter_entries=8, table_slots=4, add_table_slots=1, post_lanes=4, bus_bytes=4,
            queue_depth=4),
    }


#: Named configurations, ``--target NAME`` on the command line.
PRESETS = _presets()
