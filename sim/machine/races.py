"""Race detection: proves that every legal interleaving of a program has the same result.

Two accesses to a word conflict if one of them writes. They are ordered if both are in one queue,
or if a chain of tokens leads from the first to the second. Tokens of one counter are anonymous,
but both ends run in order: whoever takes the n-th token starts after the n-th giver completed,
however the queues interleave. So each instruction gets a vector clock - for every queue, how many
of its instructions are surely complete - and a conflict that the clocks do not order is a race.
The order that the limited queue depth enforces by accident is not counted.

Words are whole: writes of different lanes of one scratchpad word, or of different bytes of one
aligned R-byte word of the activations window, count as conflicting.
"""

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from hw.spec.isa import Queue
from sim.errors import SimError
from sim.machine.program import Instruction, Program
from sim.machine.state import Indices, Memory, Operation, State

__all__ = ["Race", "RaceError", "find_races"]

#: As many races as anyone will read.
_REPORTED = 10


@dataclass(frozen=True)
class Race:
    """Two accesses to one word that no chain of tokens orders.

    Parameters
    ----------
    first, second : Instruction
        In the order in which they were executed here.
    first_writes, second_writes : bool
        Whether it writes the word or only reads it.
    memory : Memory
        Where the word is.
    word : int
        The lowest word that is affected.
    """

    first: Instruction
    first_writes: bool
    second: Instruction
    second_writes: bool
    memory: Memory
    word: int

    def __str__(self) -> str:
        def name(instruction: Instruction, writes: bool) -> str:
            assert instruction.queue is not None
            return (f"instruction {instruction.index} ({instruction.opcode.name} in "
                    f"{instruction.queue.name}) {'writes' if writes else 'reads'}")
        return (f"{name(self.first, self.first_writes)} and "
                f"{name(self.second, self.second_writes)} word {self.word} of "
                f"{self.memory.name}, and no token orders them")


class RaceError(SimError):
    """The program has races; its result depends on timing."""

    def __init__(self, races: list[Race]) -> None:
        more = f" (the first {_REPORTED})" if len(races) == _REPORTED else ""
        super().__init__("the program must order its queues by tokens; it has races"
                         + more + ":\n  " + "\n  ".join(map(str, races)))
        self.races = races


def find_races(program: Program, order: Iterable[Instruction], state: State) -> list[Race]:
    """Check all pairs of instructions.

    Parameters
    ----------
    program : Program
        Supplies what each instruction touches.
    order : Iterable[Instruction]
        Any legal order of the instructions.
    state : State
        Supplies the sizes of the memories. Nothing is executed.

    Returns
    -------
    The first races, at most ten, each pair of instructions once. Empty: there are none at all.
    """
    detector = _Detector(state)
    for instruction in order:
        detector.step(instruction, program.operation(instruction))
        if len(detector.races) >= _REPORTED:
            break
    return detector.races


class _Detector:
    def __init__(self, state: State) -> None:
        self.races: list[Race] = []
        self._done: list[list[Instruction]] = [[] for _ in Queue]
        self._clocks = [[0] * len(Queue) for _ in Queue]
        self._tokens: dict[tuple[int, int], deque[list[int]]] = {
            (a, b): deque() for a in Queue for b in Queue}
        # Per memory and queue: number of the last instruction that wrote, that read each word;
        # None until there is one. Instructions of a queue count from 1.
        self._sizes = dict(state.sizes())
        self._writes: dict[tuple[Memory, int], Indices] = {}
        self._reads: dict[tuple[Memory, int], Indices] = {}

    def step(self, instruction: Instruction, operation: Operation) -> None:
        """Account for the next instruction."""
        assert instruction.queue is not None
        own = instruction.queue
        clock = self._clocks[own]
        for q in Queue:
            if instruction.wait >> q & 1:
                given = self._tokens[q, own].popleft()
                clock[:] = map(max, clock, given)
        self._done[own].append(instruction)
        clock[own] = number = len(self._done[own])
        for memory, words in operation.reads():
            self._compare(instruction, False, memory, words, self._writes, True)
            self._record(self._reads, memory, own, words, number)
        for memory, words in operation.writes():
            self._compare(instruction, True, memory, words, self._writes, True)
            self._compare(instruction, True, memory, words, self._reads, False)
            self._record(self._writes, memory, own, words, number)
        for q in Queue:
            if instruction.signal >> q & 1:
                self._tokens[own, q].append(list(clock))

    def _record(self, table: dict[tuple[Memory, int], Indices], memory: Memory, own: Queue,
                words: Indices | slice, number: int) -> None:
        if (memory, own) not in table:
            table[memory, own] = np.zeros(self._sizes[memory], np.int64)
        table[memory, own][words] = number

    def _compare(self, instruction: Instruction, writes: bool, memory: Memory,
                 words: Indices | slice, table: dict[tuple[Memory, int], Indices],
                 earlier_writes: bool) -> None:
        assert instruction.queue is not None
        clock = self._clocks[instruction.queue]
        for q in Queue:
            if q == instruction.queue or (memory, q) not in table:
                continue
            last = table[memory, q][words]
            if int(last.max(initial=0)) <= clock[q]:
                continue
            late = np.flatnonzero(last > clock[q])
            affected = (np.arange(self._sizes[memory])[words] if isinstance(words, slice)
                        else words)[late]
            at = int(np.argmin(affected))
            first = self._done[q][int(last[late[at]]) - 1]
            race = Race(first, earlier_writes, instruction, writes, memory, int(affected[at]))
            if (first, instruction) not in [(r.first, r.second) for r in self.races]:
                self.races.append(race)
