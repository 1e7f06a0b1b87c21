"""In which order the instructions of the four queues take effect."""

import random
from collections import deque
from collections.abc import Iterator, Sequence

from hw.spec.isa import TOKEN_BITS, Opcode, Queue
from hw.spec.regs import Fault
from sim.machine.faults import MachineFault
from sim.machine.program import Instruction

__all__ = ["Tokens", "in_program_order", "shuffled"]

_TOKENS_MAX = (1 << TOKEN_BITS) - 1
#: How many instructions a favoured queue runs ahead, on average; from one to most of a layer.
_FAVOUR_LENGTHS = (1, 4, 32, 256)


class Tokens:
    """The token counters between every two queues, all zero at first."""

    def __init__(self) -> None:
        self.counts = [[0] * len(Queue) for _ in Queue]  # [from][to]

    def missing(self, instruction: Instruction) -> list[Queue]:
        """Queues whose token `instruction` needs and that have not given one."""
        return [q for q in Queue if instruction.wait >> q & 1
                and not self.counts[q][self._own(instruction)]]

    def take(self, instruction: Instruction) -> None:
        """Take the tokens that `instruction` waits for; none may be missing."""
        own = self._own(instruction)
        for q in Queue:
            if instruction.wait >> q & 1:
                assert self.counts[q][own], "an instruction started without its token"
                self.counts[q][own] -= 1

    def give(self, instruction: Instruction) -> None:
        """Give the tokens of a completed instruction. Raises MachineFault on overflow."""
        own = self._own(instruction)
        for q in Queue:
            if instruction.signal >> q & 1:
                if self.counts[own][q] == _TOKENS_MAX:
                    raise MachineFault(
                        Fault.TOKEN_OVERFLOW, instruction.index, 0,
                        f"tokens from {own.name} to {q.name} must be at most {_TOKENS_MAX}, "
                        f"not {_TOKENS_MAX + 1}")
                self.counts[own][q] += 1

    def __str__(self) -> str:
        held = [f"{a.name}->{b.name} {self.counts[a][b]}" for a in Queue for b in Queue
                if self.counts[a][b]]
        return ", ".join(held) or "none"

    @staticmethod
    def _own(instruction: Instruction) -> Queue:
        assert instruction.queue is not None, "END has no tokens"
        return instruction.queue


def in_program_order(instructions: Sequence[Instruction | MachineFault]) -> Iterator[Instruction]:
    """Yield instructions in the order of the program; each must be executed before the next.

    Raises
    ------
    MachineFault
        WATCHDOG if an instruction needs a token that no earlier one gave; or the fault that ends
        `instructions`.
    """
    tokens = Tokens()
    for instruction in instructions:
        if isinstance(instruction, MachineFault):
            raise instruction
        if instruction.opcode == Opcode.END:
            return
        missing = tokens.missing(instruction)
        if missing:
            raise MachineFault(
                Fault.WATCHDOG, instruction.index, 0,
                f"{instruction.opcode.name} waits for a token of "
                f"{' and '.join(q.name for q in missing)} that no earlier instruction gives; "
                f"tokens: {tokens}")
        tokens.take(instruction)
        yield instruction
        tokens.give(instruction)


def shuffled(instructions: Sequence[Instruction | MachineFault], *, queue_depth: int,
             seed: int) -> Iterator[Instruction]:
    """Yield instructions in a random order that the hardware could choose.

    The dispatcher hands out instructions in order while the queue of the next one has room. One
    queue is favoured for a random time and runs ahead as far as its tokens allow.

    Raises
    ------
    MachineFault
        WATCHDOG if no queue can go on; or the fault that ends `instructions`, once everything
        before it is done.
    """
    rng = random.Random(seed)
    tokens = Tokens()
    queues: list[deque[Instruction]] = [deque() for _ in Queue]
    position, favoured, left = 0, Queue.LOAD, 0
    while True:
        position = _dispatch(instructions, position, queues, queue_depth)
        ready = [q for q in Queue if queues[q] and not tokens.missing(queues[q][0])]
        if not ready:
            if any(queues):
                raise _deadlock(queues, tokens)
            last = instructions[position]
            if isinstance(last, MachineFault):
                raise last
            return
        if not left or favoured not in ready:
            favoured = rng.choice(ready)
            left = 1 + int(rng.expovariate(1 / rng.choice(_FAVOUR_LENGTHS)))
        left -= 1
        instruction = queues[favoured].popleft()
        tokens.take(instruction)
        yield instruction
        tokens.give(instruction)


def _dispatch(instructions: Sequence[Instruction | MachineFault], position: int,
              queues: Sequence[deque[Instruction]], depth: int) -> int:
    while True:
        instruction = instructions[position]
        if isinstance(instruction, MachineFault) or instruction.queue is None:
            return position
        if len(queues[instruction.queue]) >= depth:
            return position
        queues[instruction.queue].append(instruction)
        position += 1


def _deadlock(queues: Sequence[deque[Instruction]], tokens: Tokens) -> MachineFault:
    heads = [(queue, waiting[0]) for queue, waiting in zip(Queue, queues) if waiting]
    states = [f"{queue.name} holds {len(queues[queue])} and waits at instruction {head.index} "
              f"({head.opcode.name}) for {' and '.join(q.name for q in tokens.missing(head))}"
              for queue, head in heads]
    return MachineFault(Fault.WATCHDOG, min(head.index for _, head in heads), 0,
                        f"deadlock: {'; '.join(states)}; tokens: {tokens}")
