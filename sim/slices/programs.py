"""The three programs that run a slice: one puts the state on chip, one is the slice itself, and
one brings the scratchpad back to memory.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from hw.spec.config import MAX_IMAGE_SIDE, ArrayConfig
from hw.spec.isa import Isa, Opcode, Queue, Window
from hw.spec.timing import simulate
from sim.machine.program import Program
from sim.machine.schedule import Tokens
from sim.machine.state import Indices, Memory
from sim.slices.cut import Span, instructions

__all__ = ["Code", "Programs", "slice_programs"]

#: Instructions with their fields.
Code: TypeAlias = list[tuple[Opcode, Mapping[str, int]]]

_END: tuple[Opcode, Mapping[str, int]] = (Opcode.END, {})


@dataclass(frozen=True, kw_only=True)
class Programs:
    """What runs, in this order. Between them the on-chip memories keep their contents.

    Parameters
    ----------
    config
        The array.
    restore
        Puts on chip what the slice may find there. Its activations window holds the scratchpad:
        int8[scratchpad_words][R].
    own
        The slice's own instructions.
    save
        Stores the scratchpad likewise.
    """

    config: ArrayConfig
    restore: Code
    own: Code
    save: Code

    def encode(self, code: Code) -> bytes:
        """Machine code."""
        isa = Isa(self.config)
        return b"".join(isa.encode(opcode, dict(fields)) for opcode, fields in code)

    def predict(self, code: Code, *, bytes_per_cycle: float | None, latency: int) -> int:
        """Cycles, as the cycle model has them."""
        return simulate(code, self.config, latency=latency,
                        bytes_per_cycle=bytes_per_cycle or self.config.bus_bytes,
                        instruction_bytes=Isa(self.config).instruction_bytes).cycles


def slice_programs(program: Program, config: ArrayConfig, span: Span) -> Programs:
    """Programs for the instructions of `span`, which must begin at a legal cut."""
    return Programs(config=config, restore=_restore(program, config, span[0]),
                    own=_own(program, span),
                    save=[*((Opcode.STORE, block) for block in _blocks(config, "src")), _END])


def _restore(program: Program, config: ArrayConfig, first: int) -> Code:
    """Put on chip what is there before instruction `first`.

    Weights, parameters and tables come from where the program has them, by its own instructions:
    by all whose data are still there.
    """
    blocks = [(Opcode.LOAD, {**block, "window": Window.ACTIVATIONS, "word_step": config.rows,
                             "lane_first": 0, "lane_count": config.rows, "head": 0, "fill": 0,
                             "row_bytes": block["columns"] * config.rows})
              for block in _blocks(config, "dst")]
    sizes = {Memory.WEIGHTS: config.weight_words, Memory.PARAMETERS: config.parameter_entries,
             Memory.TABLES: config.table_slots, Memory.ADD_TABLES: config.add_table_slots}
    loader: dict[Memory, Indices] = {m: np.full(size, -1) for m, size in sizes.items()}
    code = instructions(program, first)
    for instruction in code:
        if instruction.opcode == Opcode.LOAD_LINEAR:
            for memory, units in program.operation(instruction).writes():
                loader[memory][units] = instruction.index
    alive = sorted({int(i) for last in loader.values() for i in np.unique(last) if i >= 0})
    return [*blocks, *((code[i].opcode, {**code[i].fields, "wait": 0, "signal": 0})
                       for i in alive), _END]


def _own(program: Program, span: Span) -> Code:
    """Instructions of `span`, without the waits for tokens that were given before."""
    first, stop = span
    code = instructions(program, stop)
    before = Tokens()
    for instruction in code[:first]:
        before.take(instruction)
        before.give(instruction)
    found: Code = []
    for instruction in code[first:]:
        wait, own = instruction.wait, instruction.queue
        assert own is not None, "END is not part of a slice"
        for queue in Queue:
            # The n-th wait is for the n-th token, so the first waits are for those from before.
            if wait >> queue & 1 and before.counts[queue][own]:
                before.counts[queue][own] -= 1
                wait &= ~(1 << queue)
        found.append((instruction.opcode, {**instruction.fields, "wait": wait}))
    return [*found, _END]


def _blocks(config: ArrayConfig, surface: str) -> Iterator[dict[str, int]]:
    """Fields of LOAD and STORE for the whole scratchpad, in blocks of one row."""
    for first in range(0, config.scratchpad_words, MAX_IMAGE_SIDE):
        words = min(MAX_IMAGE_SIDE, config.scratchpad_words - first)
        yield {"wait": 0, "signal": 0, "address": first * config.rows, "memory_plane_stride": 0,
               "memory_row_stride": 0, "planes": 1, "rows": 1, "columns": words,
               f"{surface}_base": first, f"{surface}_plane_stride": 0,
               f"{surface}_row_stride": words, f"{surface}_ring_words": words,
               f"{surface}_ring_start": 0}
