"""Name what is wrong: from bytes that differ to layer, tile, tensor, channel and pixel."""

from collections.abc import Mapping
from dataclasses import replace
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from hw.spec.regs import Fault
from sim.build import BuildFolder, TensorPlace
from sim.errors import SimError
from sim.machine.program import Program
from sim.machine.state import Bytes, Indices, Memory
from sim.results import Mismatch
from sim.slices.cut import Bools, Layer, Span, instructions, legal_cuts, read_layers, tiles
from sim.slices.written import Written

__all__ = ["Locator"]

Array = npt.NDArray[Any]


class Locator:
    """Finds out who wrote what.

    Parameters
    ----------
    build
        What ran.
    program
        Its program.
    """

    def __init__(self, build: BuildFolder, program: Program) -> None:
        self.build = build
        self.program = program

    @cached_property
    def layers(self) -> list[Layer]:
        """The build's."""
        return read_layers(self.build)

    @cached_property
    def legal(self) -> Bools:
        """For each instruction whether the program can be cut before it."""
        return legal_cuts(self.program, self.build.image.config.accumulator_words)

    def tiles(self, layer: Layer) -> list[Span]:
        """Instructions of each tile of a layer."""
        return tiles(self.program, self.legal, layer.span)

    def tile(self, instruction: int) -> tuple[Layer, int]:
        """Layer and tile, from 1, of an instruction."""
        layer = next((layer for layer in self.layers if instruction < layer.span[1]),
                     self.layers[-1])
        spans = self.tiles(layer)
        return layer, min(1 + sum(stop <= instruction for _, stop in spans), len(spans))

    def fault(self, cause: Fault, instruction: int, address: int) -> SimError:
        """The error that says where the RTL stopped."""
        layer, tile = self.tile(instruction)
        return SimError(
            f"program of {str(self.build.path)!r} must run to its end in RTL; it stopped: "
            f"{cause.name} at instruction {instruction} (layer {layer.number}, {layer.name}, tile "
            f"{tile}), address {address:#x}; --waves {layer.number}/{tile} writes its waveforms.")

    def activations(self, span: Span, expected: Bytes, found: Bytes) -> Mismatch | None:
        """The first byte of the activations window that `span` left wrong."""
        differing = np.flatnonzero(expected != found)
        stores = self._written(span).stores(differing)
        return self._mismatch("activations", span, differing, stores, expected, found)

    def scratchpad(self, span: Span, expected: Bytes, found: Bytes) -> Mismatch | None:
        """The first byte of the scratchpad that `span` left wrong."""
        differing = np.flatnonzero(expected != found)
        config = self.build.image.config
        writer = np.full(config.scratchpad_words, -1)
        for instruction in instructions(self.program, span[1])[span[0]:]:
            for memory, words in self.program.operation(instruction).writes():
                if memory == Memory.SCRATCHPAD:
                    writer[words] = instruction.index
        return self._mismatch("scratchpad", span, differing, writer[differing // config.rows],
                              expected, found)

    def tensors(self, span: Span, pairs: Mapping[str, tuple[Array, Array]],
                expected: Bytes, found: Bytes) -> Mismatch | None:
        """The first element of complete tensors, by name (expected, found), that is wrong.

        Where the activations windows are equal, so that the simulator has the same values.
        """
        differing, values = [], []
        for name, (right, wrong) in pairs.items():
            place = self.build.tensors[name]
            at = np.flatnonzero(right.reshape(-1) != wrong.reshape(-1))
            positions = place.gather()[at] if "gather" in place.entry else at
            differing.append(place.addresses().reshape(-1)[positions])
            values.append((right.reshape(-1)[at].astype(np.int16) - place.entry["offset"]))
        if not differing:
            return None
        everywhere = np.concatenate(differing)
        reference = expected.copy()
        reference[everywhere] = np.concatenate(values).astype(np.int8).view(np.uint8)
        return self._mismatch("activations", span, everywhere,
                              self._written(span).stores(everywhere), reference, found)

    def _written(self, span: Span) -> Written:
        """Stores of `span` alone."""
        image = self.build.image
        written = Written(self.program, image.config.rows, image.activation_bytes, span[0])
        written.advance(span[1])
        return written

    def _mismatch(self, memory: str, span: Span, addresses: Indices, writers: Indices,
                  expected: Bytes, found: Bytes) -> Mismatch | None:
        """Describe the byte that was written first."""
        if not len(addresses):
            return None
        known = np.flatnonzero(writers >= 0)
        at = int(known[np.argmin(writers[known])]) if len(known) else 0
        address, writer = int(addresses[at]), int(writers[at])
        layer, tile = self.tile(writer if len(known) else span[0])
        right, wrong = (int(bytes_.view(np.int8)[address]) for bytes_ in (expected, found))
        mismatch = Mismatch(layer=layer.number, name=layer.name, tile=tile, instruction=writer,
                            memory=memory, address=address, expected=right, found=wrong)
        if not len(known):
            return replace(mismatch, tile=None, instruction=None)
        place = self._tensor(address, writer) if memory == "activations" else None
        if place is None:
            return mismatch
        channel, row, column = (int(i[0]) for i in np.nonzero(place.addresses() == address))
        offset = int(place.entry["offset"])
        return replace(mismatch, tensor=place.name, channel=channel, row=row, column=column,
                       expected=right + offset, found=wrong + offset)

    def _tensor(self, address: int, store: int) -> TensorPlace | None:
        """The tensor to which `store` wrote the byte: the next one to be complete that has it."""
        places = [p for p in self.build.tensors.values()
                  if p.in_memory and p.entry["complete_at"] >= store]
        for place in sorted(places, key=lambda p: int(p.entry["complete_at"])):
            if (place.addresses() == address).any():
                return place
        return None
