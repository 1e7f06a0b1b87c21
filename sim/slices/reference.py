"""What the memories must hold before and after parts of a program: the simulator's account."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from sim.build import BuildFolder, TensorPlace
from sim.machine.state import Bytes
from sim.model import Machine
from sim.slices.cut import Span
from sim.slices.written import Written
from sim.tensors import Array

__all__ = ["Memories", "Reference", "States"]


@dataclass(frozen=True)
class Memories:
    """Contents at a moment.

    Parameters
    ----------
    activations
        The activations window.
    scratchpad
        uint8[scratchpad_words * R].
    """

    activations: Bytes
    scratchpad: Bytes


@dataclass(frozen=True, kw_only=True)
class States:
    """Around a part of the program.

    Parameters
    ----------
    before, after
        What the memories hold.
    complete
        Tensors that are complete after the part, and were not before.
    """

    before: Memories
    after: Memories
    complete: list[TensorPlace]


class Reference:
    """The simulator on its way through a program, in whose memory every tensor is replaced by
    ONNX Runtime's as soon as it is complete, unless a span is under way. So a span starts from the
    right values, but for those that loads which were moved forward took before.

    Parameters
    ----------
    build
        The program, and where its tensors are.
    machine
        With the inputs in its memory; nothing has run.
    tensors
        ONNX Runtime's.
    """

    def __init__(self, build: BuildFolder, machine: Machine,
                 tensors: Mapping[str, Array]) -> None:
        self.build = build
        self.machine = machine
        self.tensors = tensors
        self._written = Written(machine.program, build.image.config.rows,
                                build.image.activation_bytes)
        self._position = 0

    def states(self, span: Span) -> States:
        """Run up to `span`, and over it; spans must be asked for in ascending order."""
        first, stop = span
        ends = {place.entry["complete_at"] + 1 for place in self.build.tensors.values()
                if place.in_memory}
        for end in sorted(end for end in ends if self._position < end <= first):
            self.machine.advance(end)
            for place in self._completed(self._position, end):
                place.write(self.machine.activations, self.tensors[place.name])
            self._position = end
        self.machine.advance(first)
        before = self._memories()
        self.machine.advance(stop)
        return States(before=before, after=self._memories(), complete=self._completed(first, stop))

    def _completed(self, first: int, stop: int) -> list[TensorPlace]:
        """Tensors that instructions `first` to before `stop` complete and leave in memory."""
        self._written.advance(stop)
        return [place for place in self.build.tensors.values()
                if place.in_memory and first <= place.entry["complete_at"] < stop
                and self._written.is_whole(place)]

    def _memories(self) -> Memories:
        words = self.build.image.config.scratchpad_words
        scratchpad = np.array(self.machine.state.scratchpad[:words])
        return Memories(self.machine.activations.copy(), scratchpad.view(np.uint8).reshape(-1))
