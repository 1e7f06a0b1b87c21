"""Short programs for tests: instructions with every field that does not matter filled in."""

from hw.spec.config import PRESETS, ArrayConfig
from hw.spec.image import Image
from hw.spec.isa import Isa, Opcode, Queue
from tests.sim.random_instructions import Fields, surface

__all__ = ["CONFIG", "DEFAULTS", "drain", "image", "instruction", "load", "mac", "mask", "store"]

CONFIG = PRESETS["test-4x4"]

_WINDOW: Fields = {"src_rows": 2, "src_columns": 2, "y0": 0, "x0": 0, "kernel_rows": 1,
                   "kernel_columns": 1, "stride_y": 1, "stride_x": 1, "rows": 2, "columns": 2,
                   "planes": 1}
_TABLE: Fields = {"use_table": 0, "table": 0}
_MEMORY: Fields = {"address": 0, "memory_plane_stride": 0, "memory_row_stride": 8}


def _block(prefix: str, base: int) -> Fields:
    return surface(prefix, base, 4, 2, 2, 0)


#: A small legal instance of every instruction on 2x2 pixels: LOAD to words 0.., MAC from there,
#: POST from there to words 16.., STORE from there.
DEFAULTS: dict[Opcode, Fields] = {
    Opcode.LOAD: {"window": 1, **_MEMORY, "planes": 1, "rows": 2, "columns": 2, "word_step": 4,
                  "lane_first": 0, "lane_count": 4, "head": 0, "row_bytes": 8, "fill": 0,
                  **_block("dst", 0)},
    Opcode.LOAD_LINEAR: {"target": 0, "address": 0, "dst": 0, "count": 4},
    Opcode.MAC: {**_block("src", 0), **_WINDOW, "up_y": 0, "up_x": 0, "pad": 0, "weights": 0,
                 "accumulator": 0, "accumulate": 0},
    Opcode.DRAIN: {"accumulator": 0, "rows": 2, "columns": 2, "parameter": 0, "zero_point": 0,
                   "odd": 0, **_TABLE, "pool": 0, "lane_group": 0, **_block("dst", 16)},
    Opcode.POOL: {**_block("src", 0), **_WINDOW, **_TABLE, **_block("dst", 16)},
    Opcode.ELEMENTWISE: {"operation": 0, "rows": 2, "columns": 2, "planes": 1, "repeat_y": 1,
                         "repeat_x": 1, "b_broadcast": 0, "a_zero_point": 0, "b_zero_point": 0,
                         "multiplier": 1 << 23, "shift": 0, "zero_point": 0, "odd": 0,
                         "add_tables": 0, **_TABLE, **_block("a", 0), **_block("b", 8),
                         **_block("dst", 16)},
    Opcode.STORE: {**_MEMORY, "planes": 1, "rows": 2, "columns": 2, **_block("src", 16)},
    Opcode.END: {},
}


def mask(queues: str) -> int:
    """Bits of queues given by first letters: ``"LM"`` is LOAD and MAC."""
    return sum(1 << q for q in Queue if q.name[0] in queues)


def instruction(opcode: Opcode, wait: str = "", signal: str = "",
                **changes: int) -> tuple[Opcode, Fields]:
    """The default instruction of `opcode` with tokens and some fields changed."""
    fields = DEFAULTS[opcode] | changes
    if opcode != Opcode.END:
        fields = {"wait": mask(wait), "signal": mask(signal)} | fields
    return opcode, fields


def load(wait: str = "", signal: str = "", **changes: int) -> tuple[Opcode, Fields]:
    """A LOAD of 2x2 words to words 0.. of the scratchpad."""
    return instruction(Opcode.LOAD, wait, signal, **changes)


def mac(wait: str = "", signal: str = "", **changes: int) -> tuple[Opcode, Fields]:
    """A 1x1 MAC of words 0.. to accumulators 0.. ."""
    return instruction(Opcode.MAC, wait, signal, **changes)


def drain(wait: str = "", signal: str = "", **changes: int) -> tuple[Opcode, Fields]:
    """A DRAIN of accumulators 0.. to words 16.. ."""
    return instruction(Opcode.DRAIN, wait, signal, **changes)


def store(wait: str = "", signal: str = "", **changes: int) -> tuple[Opcode, Fields]:
    """A STORE of words 16.. to the start of the activations."""
    return instruction(Opcode.STORE, wait, signal, **changes)


def image(*program: tuple[Opcode, Fields], config: ArrayConfig = CONFIG, constants: bytes = b"",
          activation_bytes: int = 4096, end: bool = True) -> Image:
    """An image of `program`, with END unless told otherwise."""
    isa = Isa(config)
    code = b"".join(isa.encode(o, f) for o, f in program)
    return Image(config=config, program=code + isa.encode(Opcode.END, {}) * end,
                 constants=constants or bytes(4096), activation_bytes=activation_bytes)
