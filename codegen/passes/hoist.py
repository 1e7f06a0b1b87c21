"""Move loads forward in the program, so that they are under way before their data are needed.

Before and after: the same instructions; run one by one they compute the same. Equal because a
load only passes instructions that touch none of the words it touches, and loads keep their order.
A load is not put further forward than the load queue can hold, for the instructions between would
then wait behind it.
"""

import numpy as np

from codegen.lowered import Instruction
from codegen.passes.footprint import Footprints
from hw.spec.config import ArrayConfig
from hw.spec.isa import QUEUE_OF, Opcode, Queue

__all__ = ["hoist"]


def hoist(program: list[Instruction], footprints: Footprints,
          config: ArrayConfig) -> list[Instruction]:
    """Reorder `program`; END stays last."""
    touched = {m: np.full(size, -1, np.int64) for m, size in footprints.sizes.items()}
    written = {m: np.full(size, -1, np.int64) for m, size in footprints.sizes.items()}
    loader = {m: np.full(size, -1, np.int64) for m, size in footprints.sizes.items()}
    earliest, first_use = list[int](), list[int]()
    keys = list[tuple[int, int]]()
    for position, instruction in enumerate(program):
        if instruction.opcode == Opcode.END:
            keys.append((position, 1))
            continue
        is_load = QUEUE_OF[instruction.opcode] == Queue.LOAD
        after = -1
        accesses = list(footprints.of(instruction))
        for memory, words, writes in accesses:
            if not len(words):
                continue
            if is_load:
                after = max(after, int((touched if writes else written)[memory][words].max()))
            elif not writes:
                for load in np.unique(loader[memory][words]):
                    if load >= 0 and first_use[load] < 0:
                        first_use[load] = position
        for memory, words, writes in accesses:
            touched[memory][words] = position
            if writes:
                written[memory][words] = position
                loader[memory][words] = len(earliest) if is_load else -1
        if is_load:
            earliest.append(after)
            first_use.append(-1)
        keys.append((position, 1))
    depth = config.queue_depth - 2
    loads = [i for i, ins in enumerate(program)
             if ins.opcode != Opcode.END and QUEUE_OF[ins.opcode] == Queue.LOAD]
    at = -1
    for n, position in enumerate(loads):
        limit = first_use[n - depth] if n >= depth else -1
        at = min(position, max(at, earliest[n], limit))
        keys[position] = (at, 2)
    order = sorted(range(len(program)), key=lambda i: (*keys[i], i))
    return [program[i] for i in order]
