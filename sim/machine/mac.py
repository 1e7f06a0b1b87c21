"""The MAC unit.

A MAC is one matrix product: A[P, K*R] (inputs of P output pixels, K passes of R channels) times
W[K*R, C]. It is computed in float32, which is exact as long as every partial sum is an integer
of at most 2**24: whatever order, blocking or fused multiply-add the library chooses, each
intermediate value is a sum of some of the products, so its magnitude is at most the sum of all
|a * w|, which is at most 128 * sum |w| per column. Where that bound is larger, K*R is split into
parts that satisfy it, and the parts are added as integers.
"""

from collections.abc import Mapping
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from hw.spec.regs import Fault
from sim.machine.cache import ConvertedWords
from sim.machine.faults import Refusal
from sim.machine.geometry import Surface, sliding_window
from sim.machine.state import Footprint, Memory, Operation, State

__all__ = ["Mac", "MacCaches"]

_LARGEST_INPUT = 128
_EXACT_LIMIT = 1 << 24

Floats: TypeAlias = NDArray[np.float32]
#: W and where its parts end.
Weights: TypeAlias = tuple[Floats, list[int]]


class MacCaches:
    """Inputs and weights of earlier MACs as float32."""

    def __init__(self, state: State) -> None:
        self.inputs = ConvertedWords[Floats](state.scratchpad_stamp, 64 << 20)
        self.weights = ConvertedWords[Weights](state.weight_stamp, 16 << 20)


class Mac(Operation):
    """MAC: multiply-accumulate a tile of output pixels."""

    def __init__(self, fields: Mapping[str, int], state: State, caches: MacCaches) -> None:
        config = state.config
        self.caches = caches
        surface = Surface.of(fields, "src")
        self.window = sliding_window(fields, surface)
        self.base = surface.base
        # plane by plane and tap by tap, of each all pixels
        self.window.check(self.base, config.scratchpad_words, (1, 2, 0))
        self.pad = fields["pad"]
        self.accumulate = bool(fields["accumulate"])
        pixels = fields["rows"] * fields["columns"]
        passes = fields["planes"] * fields["kernel_rows"] * fields["kernel_columns"]
        first = fields["weights"]
        self.weights = slice(first, first + passes * config.rows)
        _check_end("the weight memory", self.weights, config.weight_words)
        first = fields["accumulator"]
        self.accumulators = slice(first, first + pixels)
        _check_end("the accumulators", self.accumulators, config.accumulator_words)
        self.touched = self.base + self.window.touched

    def reads(self) -> Footprint:
        own: Footprint = [(Memory.ACCUMULATORS, self.accumulators)] if self.accumulate else []
        return [(Memory.SCRATCHPAD, self.touched), (Memory.WEIGHTS, self.weights), *own]

    def writes(self) -> Footprint:
        return [(Memory.ACCUMULATORS, self.accumulators)]

    def run(self, state: State) -> None:
        inputs = self.caches.inputs.get(
            (self.base, self.window, self.pad), self.touched, state.clock,
            lambda: self._gather(state))
        weights, ends = self.caches.weights.get(
            (self.weights.start, self.weights.stop), self.weights, state.clock,
            lambda: _convert(state.weights[self.weights]))
        out = state.accumulators[self.accumulators]
        start, accumulate = 0, self.accumulate
        for end in ends:
            product = inputs[:, start:end] @ weights[start:end]
            if accumulate:
                out += product.astype(np.int32)
            else:
                np.copyto(out, product, casting="unsafe")
            start, accumulate = end, True

    def _gather(self, state: State) -> tuple[Floats, int]:
        spare = state.config.scratchpad_words
        state.scratchpad[spare] = self.pad
        words = self.window.words(self.base, spare)
        inputs = state.read_words(words).reshape(len(words), -1).astype(np.float32)
        return inputs, inputs.nbytes


def _check_end(memory: str, words: slice, size: int) -> None:
    """Refuse the instruction as ON_CHIP_RANGE, with the first word behind the memory."""
    if words.stop > size:
        raise Refusal(Fault.ON_CHIP_RANGE,
                      f"last word of {memory} must be below {size}, not {words.stop - 1}", size)


def _convert(weights: NDArray[np.int8]) -> tuple[Weights, int]:
    """Convert W and split it into the fewest equal parts whose products are exact."""
    magnitude = np.abs(weights.astype(np.int32))
    parts = 1
    while True:
        starts = np.linspace(0, len(weights), parts, endpoint=False).astype(np.int64)
        sums = np.add.reduceat(magnitude, starts, axis=0)
        if int(sums.max()) * _LARGEST_INPUT <= _EXACT_LIMIT:
            break
        parts += 1
    matrix = weights.astype(np.float32)
    return (matrix, [*starts[1:].tolist(), len(weights)]), matrix.nbytes
