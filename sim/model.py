"""Instruction-set simulator: executes a program image, bit for bit as the hardware does."""

from collections.abc import Callable, Iterator
from itertools import islice
from typing import Literal

import numpy as np

from hw.spec.image import Image
from sim.machine.faults import MachineFault
from sim.machine.program import Instruction, Program
from sim.machine.races import Race, RaceError, find_races
from sim.machine.schedule import in_program_order, shuffled
from sim.machine.state import Bytes, State

__all__ = ["Machine", "MachineFault", "Race", "RaceError"]


class Machine:
    """One array with its memory, loaded with a program.

    Instructions are atomic here: one that faults has no effect, whereas hardware may have done a
    part of it. On-chip memories start as zeros and keep their contents from run to run.

    Parameters
    ----------
    image : Image
        What to run; its configuration is the machine's.
    check_races : bool
        Prove before the first run that all legal interleavings of the queues give one result.

    Members
    -------
    activations : uint8[image.activation_bytes]
        The activations window: write inputs here, then run, then read outputs here.
    state : State
        All memories.
    program : Program
        The instructions, and what each touches.
    """

    def __init__(self, image: Image, *, check_races: bool = False) -> None:
        self.image = image
        self.check_races = check_races
        self.activations: Bytes = np.zeros(image.activation_bytes, np.uint8)
        self.state = State(image.config, np.frombuffer(image.constants, np.uint8),
                           self.activations)
        self.program = Program(image.program, self.state)
        self._advanced = 0
        self._steps = self._order("program")

    def run(self, order: Literal["program"] | int = "program",
            progress: Callable[[int], None] | None = None) -> None:
        """Execute the program until END.

        Parameters
        ----------
        order : "program" or int
            ``"program"``: one instruction after the other. An integer is the seed of a random
            legal interleaving of the four queues, and of the noise that the on-chip memories
            then hold at the start.
        progress : Callable[[int], None], optional
            Called with the index of each instruction after it took effect.

        Raises
        ------
        MachineFault
            If the hardware would stop with a fault. A deadlock is WATCHDOG.
        RaceError
            If races are checked and there are some.
        """
        if self.check_races:
            races = self.races()
            if races:
                raise RaceError(races)
        if order != "program":
            self.state.scramble(np.random.default_rng(order))
        for instruction in self._order(order):
            self.program.run(instruction)
            if progress is not None:
                progress(instruction.index)

    def advance(self, stop: int) -> None:
        """Execute in program order, from where the last call ended, until `stop` is next.

        Raises
        ------
        MachineFault
            As :meth:`run`.
        """
        for instruction in islice(self._steps, max(0, stop - self._advanced)):
            self.program.run(instruction)
            self._advanced += 1

    def races(self) -> list[Race]:
        """Return the first races of the program, at most ten, without executing anything.

        Raises
        ------
        MachineFault
            For what is wrong with the program itself: anything but the values it finds in memory.
        """
        return find_races(self.program, self._order("program"), self.state)

    def _order(self, order: Literal["program"] | int) -> Iterator[Instruction]:
        instructions = self.program.instructions
        if order == "program":
            return in_program_order(instructions)
        return shuffled(instructions, queue_depth=self.image.config.queue_depth, seed=order)
