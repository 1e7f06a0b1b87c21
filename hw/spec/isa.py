"""Instruction formats: the only place where a bit position is decided.

The compiler encodes with these tables, the simulator decodes with them, the RTL derives its
layouts from them, and the firmware header and the ISA chapter of the manual are printed from
them. Widths follow from the :class:`~hw.spec.config.ArrayConfig`; positions follow from the order
of the fields. What each instruction *does* is docs/isa.md, whose tables are printed from here.
"""

from dataclasses import dataclass
from enum import IntEnum, unique
from functools import lru_cache

from hw.spec.config import (
    MAX_CHANNELS,
    MAX_IMAGE_SIDE,
    MAX_KERNEL,
    MAX_REPEAT,
    MAX_STRIDE,
    MAX_UPSAMPLE_LOG2,
    MEMORY_BYTES,
    ArrayConfig,
    bits_for,
)
from hw.spec.numerics import MULTIPLIER_BITS, SHIFT_BITS

__all__ = ["Elementwise", "EncodingError", "Field", "Format", "Isa", "LinearTarget", "Opcode",
           "QUEUE_OF", "Queue", "SURFACE_FIELDS", "TOKEN_BITS", "Window"]

#: Width of each token counter. The compiler refuses programs that could overflow one.
TOKEN_BITS = 16


class EncodingError(ValueError):
    """A value does not fit its field, or bytes are not an instruction."""


@unique
class Queue(IntEnum):
    """The four units that run at the same time, each through its instructions in order."""

    LOAD = 0
    MAC = 1
    POST = 2
    STORE = 3


@unique
class Opcode(IntEnum):
    """What an instruction does. Zero is no instruction, so that cleared memory is a fault."""

    LOAD = 1
    LOAD_LINEAR = 2
    MAC = 3
    DRAIN = 4
    POOL = 5
    ELEMENTWISE = 6
    STORE = 7
    END = 15


#: The queue that runs an opcode; END is the fetch unit's own.
QUEUE_OF = {
    Opcode.LOAD: Queue.LOAD, Opcode.LOAD_LINEAR: Queue.LOAD, Opcode.MAC: Queue.MAC,
    Opcode.DRAIN: Queue.POST, Opcode.POOL: Queue.POST, Opcode.ELEMENTWISE: Queue.POST,
    Opcode.STORE: Queue.STORE,
}


@unique
class Window(IntEnum):
    """The memory areas that the driver opens for reading; STORE writes ACTIVATIONS only."""

    CONSTANTS = 0
    ACTIVATIONS = 1


@unique
class LinearTarget(IntEnum):
    """Where LOAD_LINEAR writes, and the unit of its ``dst`` and ``count``."""

    WEIGHTS = 0      # words of C bytes
    PARAMETERS = 1   # entries of C * 8 bytes
    TABLE = 2        # slots of 256 bytes
    ADD_TABLES = 3   # slots of 2 * 256 int32


@unique
class Elementwise(IntEnum):
    """What ELEMENTWISE computes before its table."""

    MAP = 0   # a, unchanged
    ADD = 1   # requantize(table_a[a] + table_b[b])
    MUL = 2   # requantize((a - a_zero_point) * (b - b_zero_point))


@dataclass(frozen=True, kw_only=True)
class Field:
    """One field of an instruction.

    Parameters
    ----------
    name : str
        As it appears in Python, in waveforms and (upper-cased) in C.
    lsb, width : int
        Position of the least significant bit, and size, in bits.
    signed : bool
        Two's complement.
    unit : str
        What one step of the value means: ``"bytes"``, ``"words"``, ``"-"``.
    doc : str
        One sentence for the manual and the C header.
    """

    name: str
    width: int
    unit: str
    doc: str
    signed: bool = False
    lsb: int = 0

    @property
    def lowest(self) -> int:
        """Smallest value that fits."""
        return -(1 << self.width - 1) if self.signed else 0

    @property
    def highest(self) -> int:
        """Largest value that fits."""
        return (1 << self.width - self.signed) - 1

    @property
    def mask(self) -> int:
        """Bits of the instruction that belong to this field."""
        return ((1 << self.width) - 1) << self.lsb

    def insert(self, value: int) -> int:
        """Place `value` at this field's position.

        Raises
        ------
        EncodingError
            If `value` does not fit. Nothing is truncated.
        """
        if not self.lowest <= value <= self.highest:
            raise EncodingError(f"field {self.name!r} must be in {self.lowest}..{self.highest} "
                                f"{self.unit}, not {value}")
        return (value & ((1 << self.width) - 1)) << self.lsb

    def extract(self, word: int) -> int:
        """Inverse of :meth:`insert`."""
        value = (word & self.mask) >> self.lsb
        return value - (1 << self.width) if self.signed and value > self.highest else value


@dataclass(frozen=True)
class Format:
    """An opcode and all its fields, header included. Unnamed bits must be zero."""

    opcode: Opcode
    doc: str
    fields: tuple[Field, ...]

    def __post_init__(self) -> None:
        taken = 0
        for field in self.fields:
            if taken & field.mask:
                raise ValueError(f"{self.opcode.name}.{field.name} overlaps another field")
            taken |= field.mask
        if len({f.name for f in self.fields}) != len(self.fields):
            raise ValueError(f"{self.opcode.name} has two fields of the same name")

    @property
    def bits(self) -> int:
        """Bits in use."""
        return max(f.lsb + f.width for f in self.fields)

    def encode(self, values: dict[str, int]) -> int:
        """Assemble the instruction as an integer. Every field but the opcode must be given."""
        names = {f.name for f in self.fields} - {"opcode"}
        if values.keys() != names:
            raise EncodingError(f"{self.opcode.name} takes {sorted(names)}, "
                                f"not {sorted(values)}")
        word = int(self.opcode)
        for field in self.fields[1:]:
            try:
                word |= field.insert(values[field.name])
            except EncodingError as e:
                raise EncodingError(f"{self.opcode.name}: {e}") from e
        return word


#: Parts of a surface, the description of a tensor's place in the scratchpad. Word (plane p,
#: row y, column x) of a surface is at
#: ``base + p * plane_stride + (ring_start + y * row_stride) % ring_words + x``.
SURFACE_FIELDS = ("base", "plane_stride", "row_stride", "ring_words", "ring_start")


class Isa:
    """The instruction set of one configuration.

    Attributes
    ----------
    config : ArrayConfig
    formats : dict
        Opcode to :class:`Format`.
    instruction_bytes : int
        Every instruction takes this much memory; a multiple of 16.
    """

    def __init__(self, config: ArrayConfig) -> None:
        self.config = config
        self.formats = {f.opcode: f for f in _formats(config)}
        widest = max(f.bits for f in self.formats.values())
        self.instruction_bytes = -(-widest // 128) * 16

    def encode(self, opcode: Opcode, values: dict[str, int]) -> bytes:
        """Assemble one instruction, little-endian.

        Raises
        ------
        EncodingError
            If a field is missing, unknown, or does not hold its value.
        """
        return self.formats[opcode].encode(values).to_bytes(self.instruction_bytes, "little")

    def decode(self, data: bytes) -> tuple[Opcode, dict[str, int]]:
        """Split an instruction into opcode and fields; the inverse of :meth:`encode`.

        Raises
        ------
        EncodingError
            If the length or opcode is wrong or a reserved bit is set.
        """
        if len(data) != self.instruction_bytes:
            raise EncodingError(f"an instruction must have {self.instruction_bytes} bytes, "
                                f"not {len(data)}")
        word = int.from_bytes(data, "little")
        raw = OPCODE.extract(word)
        if raw not in self.formats:
            raise EncodingError(f"{data.hex()} has unknown opcode {raw}")
        fmt = self.formats[Opcode(raw)]
        used = 0
        for field in fmt.fields:
            used |= field.mask
        if word & ~used:
            raise EncodingError(f"{data.hex()} sets reserved bits of {fmt.opcode.name}")
        return fmt.opcode, {f.name: f.extract(word) for f in fmt.fields[1:]}


OPCODE = Field(name="opcode", width=4, unit="-", doc="Selects the format of the rest.")


def _place(opcode: Opcode, doc: str, *groups: tuple[Field, ...]) -> Format:
    """Lay the fields of `groups` one after another."""
    lsb, placed = 0, []
    for f in (OPCODE, *(f for group in groups for f in group)):
        placed.append(Field(name=f.name, width=f.width, unit=f.unit, doc=f.doc, signed=f.signed,
                            lsb=lsb))
        lsb += f.width
    return Format(opcode, doc, tuple(placed))


def _field(name: str, largest: int, unit: str, doc: str) -> Field:
    return Field(name=name, width=bits_for(largest), unit=unit, doc=doc)


@lru_cache(maxsize=None)
def _formats(config: ArrayConfig) -> tuple[Format, ...]:
    side, words = MAX_IMAGE_SIDE, config.scratchpad_words
    planes_max = -(-MAX_CHANNELS // config.rows)
    acc = config.accumulator_words

    sync = (
        Field(name="wait", width=4, unit="queues",
              doc="Bit q: take a token of queue q before starting."),
        Field(name="signal", width=4, unit="queues",
              doc="Bit q: give queue q a token when all effects are visible."),
    )

    def surface(prefix: str, what: str) -> tuple[Field, ...]:
        return (
            _field(f"{prefix}_base", words - 1, "words", f"First word of the {what}."),
            _field(f"{prefix}_plane_stride", words, "words",
                   f"From a brick plane of the {what} to the next."),
            _field(f"{prefix}_row_stride", words, "words",
                   f"From a row of the {what} to the next."),
            _field(f"{prefix}_ring_words", words, "words",
                   f"Words of a plane's rows of the {what}; rows that go past come round again."),
            _field(f"{prefix}_ring_start", words - 1, "words",
                   f"Where in the ring row 0 of the {what} starts."),
        )

    def window(what: str) -> tuple[Field, ...]:
        return (
            _field("src_rows", side, "rows", f"Height of the {what}; rows outside are padding."),
            _field("src_columns", side, "columns",
                   f"Width of the {what}; columns outside are padding."),
            Field(name="y0", width=bits_for(side) + 1, signed=True, unit="rows",
                  doc="Input row of the first output row's first kernel tap; at most 0, or inside "
                      "an enlarged row 0."),
            Field(name="x0", width=bits_for(side) + 1, signed=True, unit="columns",
                  doc="Input column of the first output column's first kernel tap; likewise."),
            _field("kernel_rows", MAX_KERNEL, "rows", "Kernel height."),
            _field("kernel_columns", MAX_KERNEL, "columns", "Kernel width."),
            _field("stride_y", MAX_STRIDE, "rows", "Vertical stride."),
            _field("stride_x", MAX_STRIDE, "columns", "Horizontal stride."),
        )

    def memory(what: str) -> tuple[Field, ...]:
        return (
            _field("address", MEMORY_BYTES - 1, "bytes",
                   f"Of the first byte {what}, relative to its window."),
            _field("memory_plane_stride", MEMORY_BYTES - 1, "bytes",
                   "From a plane in memory to the next."),
            _field("memory_row_stride", side * max(config.rows, 16), "bytes",
                   "From a row in memory to the next."),
        )

    rows = _field("rows", side, "rows", "Rows of the result.")
    columns = _field("columns", side, "columns", "Columns of the result.")
    planes = _field("planes", planes_max, "bricks", "Brick planes.")
    upsample = (
        _field("up_y", MAX_UPSAMPLE_LOG2, "log2", "Each source row counts 2**up_y times."),
        _field("up_x", MAX_UPSAMPLE_LOG2, "log2", "Each source column counts 2**up_x times."),
    )
    table = (
        _field("use_table", 1, "-", "Map results through a table."),
        _field("table", config.table_slots - 1, "slots", "Which table."),
    )
    zero_point = Field(name="zero_point", width=8, signed=True, unit="-",
                       doc="Added to the rounded result.")
    odd = _field("odd", 1, "-", "Round ties to odd magnitudes instead of even ones.")

    return (
        _place(Opcode.LOAD, "Copy a block from memory to the scratchpad.", sync, (
            _field("window", max(Window), "-", "Which memory window."),
        ), memory("to read"), (
            planes, rows, columns,
            _field("word_step", 2 * config.rows, "bytes",
                   "From where a word starts in its memory row to where the next does."),
            _field("lane_first", config.rows - 1, "lanes", "First lane of the word to write."),
            _field("lane_count", config.rows, "lanes", "How many lanes to write."),
            Field(name="head", width=bits_for(side * 4) + 1, signed=True, unit="bytes",
                  doc="Fill bytes before the memory row starts; negative: bytes to skip."),
            _field("row_bytes", side * max(config.rows, 16), "bytes",
                   "Valid bytes of a memory row; past them is fill."),
            Field(name="fill", width=8, signed=True, unit="-", doc="Value of fill bytes."),
        ), surface("dst", "destination")),
        _place(Opcode.LOAD_LINEAR, "Copy contiguous constants from memory to an on-chip memory.",
               sync, (
            _field("target", max(LinearTarget), "-", "Which on-chip memory."),
            _field("address", MEMORY_BYTES - 1, "bytes", "In the constants window."),
            _field("dst", max(config.weight_words, config.parameter_entries, config.table_slots,
                              config.add_table_slots) - 1, "units", "First unit to write."),
            _field("count", max(config.weight_words, config.parameter_entries,
                                config.table_slots, config.add_table_slots), "units",
                   "How many units to copy."),
        )),
        _place(Opcode.MAC, "Multiply-accumulate a tile of output pixels.", sync,
               surface("src", "input"), window("input, upsampled"), upsample, (
            rows, columns, planes,
            Field(name="pad", width=8, signed=True, unit="-",
                  doc="What padding counts as: the input zero point."),
            _field("weights", config.weight_words - 1, "words",
                   "First weight; tiles of R words in the order plane, kernel row, column."),
            _field("accumulator", acc - 1, "words", "First accumulator; one per pixel."),
            _field("accumulate", 1, "-", "Add to the accumulators instead of overwriting them."),
        )),
        _place(Opcode.DRAIN, "Requantize a tile of accumulators into the scratchpad.", sync, (
            _field("accumulator", acc - 1, "words", "First accumulator; one per pixel."),
            rows, columns,
            _field("parameter", config.parameter_entries - 1, "entries",
                   "Bias, multiplier and shift of the C output channels."),
            zero_point, odd, *table,
            _field("pool", 1, "-", "Store the maxima of 2x2 blocks instead; rows and columns "
                                   "must be even."),
            _field("lane_group", config.lane_groups - 1, "-",
                   "Which C of the R lanes to write, where C < R."),
        ), surface("dst", "result")),
        _place(Opcode.POOL, "Maxima over windows, scratchpad to scratchpad.", sync,
               surface("src", "input"), window("input"), (rows, columns, planes, *table),
               surface("dst", "result")),
        _place(Opcode.ELEMENTWISE, "Combine one or two tensors, scratchpad to scratchpad.", sync, (
            _field("operation", max(Elementwise), "-", "MAP, ADD or MUL."),
            rows, columns, planes,
            _field("repeat_y", MAX_REPEAT, "rows", "How often each row of the first counts."),
            _field("repeat_x", MAX_REPEAT, "columns",
                   "How often each column of the first counts."),
            _field("b_broadcast", 1, "-", "All columns of a row use column 0 of the second."),
            Field(name="a_zero_point", width=8, signed=True, unit="-", doc="MUL: of the first."),
            Field(name="b_zero_point", width=8, signed=True, unit="-", doc="MUL: of the second."),
            Field(name="multiplier", width=MULTIPLIER_BITS, unit="-",
                  doc="ADD, MUL: significand of the scale."),
            Field(name="shift", width=SHIFT_BITS, unit="-",
                  doc="ADD, MUL: exponent of the scale."),
            zero_point, odd,
            _field("add_tables", config.add_table_slots - 1, "slots", "ADD: which tables."),
            *table,
        ), surface("a", "first operand"), surface("b", "second operand"),
            surface("dst", "result")),
        _place(Opcode.STORE, "Copy a block from the scratchpad to the activations in memory.",
               sync, memory("to write"), (planes, rows, columns), surface("src", "source")),
        _place(Opcode.END, "Wait until every queue is empty and idle, then report done.", ()),
    )
