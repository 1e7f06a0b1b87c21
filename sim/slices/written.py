"""Who wrote what into the activations window, and which tensors are whole there."""

import numpy as np

from hw.spec.isa import Opcode
from sim.build import TensorPlace
from sim.machine.program import Program
from sim.machine.state import Indices, Memory
from sim.slices.cut import instructions

__all__ = ["Written"]


class Written:
    """The last store to every word of the activations window, when the program runs in order.

    Parameters
    ----------
    program
        What runs.
    row_lanes
        R: bytes of a word.
    activation_bytes
        Size of the window.
    first
        Stores before this instruction do not count.
    """

    def __init__(self, program: Program, row_lanes: int, activation_bytes: int,
                 first: int = 0) -> None:
        self.program = program
        self.row_lanes = row_lanes
        self.activation_bytes = activation_bytes
        self.first = first
        self._position = first
        self._store: Indices = np.full(-(-activation_bytes // row_lanes), -1)

    def advance(self, stop: int) -> None:
        """Account for the instructions before `stop`."""
        for instruction in instructions(self.program, stop)[self._position:]:
            if instruction.opcode == Opcode.STORE:
                for memory, words in self.program.operation(instruction).writes():
                    assert memory == Memory.ACTIVATIONS
                    self._store[words] = instruction.index
        self._position = max(self._position, stop)

    def stores(self, addresses: Indices) -> Indices:
        """Index of the store that wrote each byte; -1 if none did."""
        return self._store[addresses // self.row_lanes]

    def is_whole(self, place: TensorPlace) -> bool:
        """Whether a tensor is complete, and nothing of it overwritten since."""
        e = place.entry
        words = slice(e["address"] // self.row_lanes, -(-place.stop // self.row_lanes))
        return bool(e["complete_at"] < self._position
                    and self._store[words].max() <= e["complete_at"])
