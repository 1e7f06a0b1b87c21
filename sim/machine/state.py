"""The memories of the machine, and what is remembered about who wrote them last.

Every change of the scratchpad and the weight memory goes through a method here, which stamps the
words with a serial number: converted copies of them (sim/machine/cache.py) know when they are old.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable
from enum import IntEnum, unique
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from hw.spec.config import ArrayConfig
from hw.spec.numerics import MULTIPLIER_BITS, SHIFT_BITS
from hw.spec.regs import Fault
from sim.machine.faults import Refusal

__all__ = ["Bytes", "Footprint", "Indices", "Int8s", "Memory", "Operation", "State"]

Bytes: TypeAlias = NDArray[np.uint8]
Int8s: TypeAlias = NDArray[np.int8]
Indices: TypeAlias = NDArray[np.int64]


@unique
class Memory(IntEnum):
    """Everything that more than one queue can touch."""

    SCRATCHPAD = 0    # words of R bytes
    WEIGHTS = 1       # words of C bytes
    ACCUMULATORS = 2  # words of C times 32 bit
    PARAMETERS = 3    # entries
    TABLES = 4        # slots
    ADD_TABLES = 5    # slots
    ACTIVATIONS = 6   # R bytes of the activations window


#: Words of memories: ``(memory, index array or slice)`` each.
Footprint: TypeAlias = list[tuple[Memory, Indices | slice]]


class Operation(ABC):
    """One checked instruction, ready to be executed any number of times."""

    @abstractmethod
    def run(self, state: "State") -> None:
        """Do everything the instruction does. Raises Refusal for values it finds in memory."""

    @abstractmethod
    def reads(self) -> Footprint:
        """Words that :meth:`run` reads."""

    @abstractmethod
    def writes(self) -> Footprint:
        """Words that :meth:`run` writes, in part or whole."""


class State:
    """All memories of one machine. On chip they start as zeros.

    Parameters
    ----------
    config : ArrayConfig
        Sizes; R and C below are its rows and columns.
    constants : uint8[*]
        The constants window.
    activations : uint8[*]
        The activations window.
    """

    def __init__(self, config: ArrayConfig, constants: Bytes, activations: Bytes) -> None:
        r, c = config.rows, config.columns
        self.config = config
        self.constants = constants
        self.activations = activations
        #: One word more than the hardware has: what a position outside the input reads.
        self.scratchpad: Int8s = np.zeros((config.scratchpad_words + 1, r), np.int8)
        self.scratchpad_stamp: Indices = np.zeros(config.scratchpad_words, np.int64)
        self.weights: Int8s = np.zeros((config.weight_words, c), np.int8)
        self.weight_stamp: Indices = np.zeros(config.weight_words, np.int64)
        self.accumulators = np.zeros((config.accumulator_words, c), np.int32)
        self.bias = np.zeros((config.parameter_entries, c), np.int32)
        self.multiplier = np.zeros((config.parameter_entries, c), np.int64)
        self.shift = np.zeros((config.parameter_entries, c), np.int64)
        self.tables: Int8s = np.zeros((config.table_slots, 256), np.int8)
        self.add_tables = np.zeros((config.add_table_slots, 2, 256), np.int32)
        #: Serial number of the latest write.
        self.clock = 0
        self._whole_words: NDArray[Any] = self.scratchpad.view(f"V{r}")[:, 0]

    def scramble(self, rng: np.random.Generator) -> None:
        """Fill the on-chip memories with noise, as a board may find them."""
        for memory in (self.scratchpad, self.weights, self.tables):
            memory[:] = rng.integers(-128, 128, memory.shape, np.int8)
        for wide in (self.accumulators, self.add_tables, self.bias):
            wide[:] = rng.integers(-1 << 31, 1 << 31, wide.shape, np.int32)
        self.multiplier[:] = rng.integers(0, 1 << MULTIPLIER_BITS, self.multiplier.shape)
        self.shift[:] = rng.integers(0, 1 << SHIFT_BITS, self.shift.shape)
        self.clock += 1
        self.scratchpad_stamp[:] = self.clock
        self.weight_stamp[:] = self.clock

    def read_words(self, words: Indices) -> Int8s:
        """Copy scratchpad words: int8[*words.shape, R]."""
        return np.take(self.scratchpad, words, axis=0, mode="clip")

    def write_words(self, words: Indices, values: Int8s) -> None:
        """Write whole scratchpad words: `values` int8[*words.shape, R]."""
        packed = np.ascontiguousarray(values).view(self._whole_words.dtype)
        self._whole_words[words] = packed[..., 0]
        self._stamp_words(words)

    def write_lanes(self, words: Indices, first: int, values: Int8s) -> None:
        """Write lanes `first`.. of scratchpad words: `values` int8[*words.shape, lanes]."""
        if values.shape[-1] == self.config.rows:
            self.write_words(words, values)
            return
        self.scratchpad[words, first:first + values.shape[-1]] = values
        self._stamp_words(words)

    def _stamp_words(self, words: Indices) -> None:
        self.clock += 1
        self.scratchpad_stamp[words] = self.clock

    def write_weights(self, first: int, values: Int8s) -> None:
        """Write weight words `first`..: `values` int8[count, C]."""
        self.clock += 1
        self.weights[first:first + len(values)] = values
        self.weight_stamp[first:first + len(values)] = self.clock

    def write_parameters(self, first: int, packed: NDArray[np.uint32], address: int) -> None:
        """Write parameter entries `first`..: `packed` uint32[count, C, 2] from `address`.

        Raises
        ------
        Refusal
            ILLEGAL_INSTRUCTION if one of the three upper bits of an entry is set.
        """
        scale = packed[:, :, 1]
        bad = np.flatnonzero(scale >> (MULTIPLIER_BITS + SHIFT_BITS))
        if len(bad):
            at = address + 8 * int(bad[0])
            raise Refusal(Fault.ILLEGAL_INSTRUCTION,
                          f"upper 3 bits of the parameter at constants byte {at} must be 0, "
                          f"not {int(scale.flat[bad[0]]) >> MULTIPLIER_BITS + SHIFT_BITS}", at)
        rows = slice(first, first + len(packed))
        self.bias[rows] = packed[:, :, 0].view(np.int32)
        self.multiplier[rows] = scale & ((1 << MULTIPLIER_BITS) - 1)
        self.shift[rows] = scale >> MULTIPLIER_BITS

    def sizes(self) -> Iterable[tuple[Memory, int]]:
        """Every memory and how many words it has."""
        c = self.config
        return zip(Memory, (c.scratchpad_words, c.weight_words, c.accumulator_words,
                            c.parameter_entries, c.table_slots, c.add_table_slots,
                            -(-len(self.activations) // c.rows)))
