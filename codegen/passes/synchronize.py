"""Add tokens, so that the four queues may run at the same time.

Before: a program that is right when run one instruction after another. After: the same program
with `wait` and `signal` fields, right in every order that the tokens allow.

For every word the last write and the last reads of each queue are known. An instruction has to
come after the last write of what it reads, and after the last write and reads of what it writes.
Of each other queue only the latest such instruction matters, and only if it is not already known
to be complete; then that instruction signals and this one waits. As both ends advance, the tokens
of a pair of queues are taken in the order in which they are given, one for one.
"""

from dataclasses import dataclass, field

import numpy as np

from codegen.errors import BuildError
from codegen.lowered import Instruction
from codegen.passes.footprint import Footprints, Memory
from hw.spec.isa import QUEUE_OF, TOKEN_BITS, Opcode, Queue

__all__ = ["synchronize"]

#: Which queues write and read a memory; others need not be looked at.
_WRITERS = {
    Memory.SCRATCHPAD: (Queue.LOAD, Queue.POST), Memory.WEIGHTS: (Queue.LOAD,),
    Memory.ACCUMULATORS: (Queue.MAC,), Memory.PARAMETERS: (Queue.LOAD,),
    Memory.TABLES: (Queue.LOAD,), Memory.ADD_TABLES: (Queue.LOAD,),
    Memory.ACTIVATIONS: (Queue.STORE,)}
_READERS = {
    Memory.SCRATCHPAD: (Queue.MAC, Queue.POST, Queue.STORE), Memory.WEIGHTS: (Queue.MAC,),
    Memory.ACCUMULATORS: (Queue.MAC, Queue.POST), Memory.PARAMETERS: (Queue.POST,),
    Memory.TABLES: (Queue.POST,), Memory.ADD_TABLES: (Queue.POST,),
    Memory.ACTIVATIONS: (Queue.LOAD,)}


@dataclass
class _Unit:
    """State of one queue while the program is read."""

    instructions: list[Instruction] = field(default_factory=list)
    #: For each instruction, what is known to be complete when it is: per queue, its sequence.
    clocks: list[list[int]] = field(default_factory=list)
    known: list[int] = field(default_factory=lambda: [-1] * len(Queue))


def synchronize(program: list[Instruction], footprints: Footprints) -> None:
    """Fill `wait` and `signal` of every instruction, in place.

    Raises
    ------
    BuildError
        If a token counter could overflow, whatever the order.
    """
    writes = {m: {q: np.full(size, -1, np.int32) for q in _WRITERS[m]}
              for m, size in footprints.sizes.items()}
    reads = {m: {q: np.full(size, -1, np.int32) for q in _READERS[m]}
             for m, size in footprints.sizes.items()}
    units = {q: _Unit() for q in Queue}
    given = dict[tuple[Queue, Queue], int]()
    for instruction in program:
        if instruction.opcode == Opcode.END:
            continue
        queue = QUEUE_OF[instruction.opcode]
        unit, need = units[queue], [-1] * len(Queue)
        accesses = [a for a in footprints.of(instruction) if len(a[1])]
        for memory, words, is_write in accesses:
            tables = (writes[memory], reads[memory]) if is_write else (writes[memory],)
            for table in tables:
                for other, last in table.items():
                    if other != queue:
                        need[other] = max(need[other], int(last[words].max()))
        instruction.fields |= {"wait": 0, "signal": 0}
        sequence = len(unit.instructions)
        # the latest first: what it brings along may make others unnecessary
        for other in sorted(Queue, key=lambda q: -need[q]):
            if need[other] <= unit.known[other]:
                continue
            instruction.fields["wait"] |= 1 << other
            units[other].instructions[need[other]].fields["signal"] |= 1 << queue
            given[other, queue] = given.get((other, queue), 0) + 1
            clock = units[other].clocks[need[other]]
            unit.known = [max(a, b) for a, b in zip(unit.known, clock)]
        for memory, words, is_write in accesses:
            (writes if is_write else reads)[memory][queue][words] = sequence
        unit.known[queue] = sequence
        unit.instructions.append(instruction)
        unit.clocks.append(list(unit.known))
    for (giver, taker), count in given.items():
        if count >= 1 << TOKEN_BITS:
            raise BuildError(f"the program needs {count} tokens from {giver.name} to "
                             f"{taker.name}, more than a counter of {TOKEN_BITS} bits holds; "
                             f"choose a configuration with larger memories")
