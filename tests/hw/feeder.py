"""A program for one unit: when its instructions were taken and done, and its fault."""

import random
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field

from hw.spec.regs import Fault
from sim.axi_memory import AxiMemory

__all__ = ["Feeder", "Outcome"]


@dataclass
class Outcome:
    """What happened, in cycles since the first instruction was accepted."""

    memory: AxiMemory
    accepted: list[int] = field(default_factory=list)
    done: list[int] = field(default_factory=list)
    fault: tuple[Fault, int] | None = None
    #: How many instructions were done when the fault was reported.
    done_before: int | None = None


class Feeder:
    """Offers instructions to a unit and fills in the outcome; with `rng`, after random pauses.

    The end is the last `done` or a fault, or `patience` cycles later.
    """

    def __init__(self, unit, instructions: Iterable[int], outcome: Outcome,
                 rng: random.Random | None, patience: int) -> None:
        self.unit, self.outcome, self.rng = unit, outcome, rng
        self.left, self.instructions = patience, deque(instructions)
        self.count = len(self.instructions)
        self.offered = self.over = False
        self.start: int | None = None

    def offer(self, ctx, cycle: int, taken: bool) -> None:
        """Offer the next one, if there is none; `taken`: the unit accepted one in this cycle."""
        if taken:
            self.start = cycle if self.start is None else self.start
            self.outcome.accepted.append(cycle - self.start)
            self.instructions.popleft()
            self.offered = False
        if self.instructions and not self.offered and (
                self.rng is None or self.rng.random() < 0.3):
            self.offered = True
            ctx.set(self.unit.i.payload, self.instructions[0])
        ctx.set(self.unit.i.valid, self.offered)

    def ended(self, cycle: int, taken: bool, done: bool, busy: bool,
              fault: tuple[Fault, int] | None) -> bool:
        """Note what the unit said in this cycle; whether it is the last one."""
        outcome = self.outcome
        if done:
            outcome.done.append(cycle - self.start)
        assert busy == (len(outcome.accepted) - taken > len(outcome.done) - bool(done))
        if fault:
            if outcome.fault is None:
                outcome.done_before = len(outcome.done)
            assert outcome.fault in (None, fault), "a fault must stay as it is"
            outcome.fault = fault
        self.over = self.over or bool(fault) or len(outcome.done) == self.count
        self.left -= self.over
        return self.left < 0
