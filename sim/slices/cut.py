"""Where a program can be cut, so that what is behind runs without what is before.

Everything on chip can be put there again by instructions, except accumulators. A cut is legal if
no accumulator that was written before it is read behind it without being overwritten in between.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from hw.spec.isa import Opcode, Queue
from sim.build import BuildFolder
from sim.errors import SimError
from sim.machine.program import Instruction, Program
from sim.machine.state import Memory

__all__ = ["Bools", "Layer", "Span", "instructions", "legal_cuts", "read_layers", "tiles"]

Bools = npt.NDArray[np.bool_]

#: Instructions, from the first to before the second.
Span = tuple[int, int]


@dataclass(frozen=True)
class Layer:
    """A layer of a build.

    Parameters
    ----------
    number
        Counted from 1, as the build's report lists them.
    name
        The ONNX node's; of a cascade, those of its kernels, joined by "+".
    nodes
        Names of all nodes that it does.
    span
        Its instructions: from behind the last store of the layer before to behind its own, so that
        the layers have all instructions but END. Loads that were moved forward are in the span of
        an earlier layer.
    """

    number: int
    name: str
    nodes: tuple[str, ...]
    span: Span


def read_layers(build: BuildFolder) -> list[Layer]:
    """The layers that the manifest lists.

    Raises
    ------
    SimError
        The build is of a release that did not record the layers' instructions.
    """
    layers = []
    for number, entry in enumerate(build.manifest["layers"], start=1):
        if "instructions" not in entry:
            raise SimError(f"{str(build.path / 'manifest.json')!r} must say which instructions "
                           f"belong to a layer; build the model again with this release.")
        first, stop = entry["instructions"]
        nodes = [name for k in entry["kernels"] for name in (k["name"], *k["fused"])]
        layers.append(Layer(number, entry["name"], tuple(nodes), (first, stop)))
    return layers


def instructions(program: Program, stop: int | None = None) -> list[Instruction]:
    """The instructions before `stop`, at most all but END. Raises the fault that ends them."""
    found = []
    for instruction in program.instructions[:stop]:
        if isinstance(instruction, Exception):
            raise instruction
        if instruction.opcode != Opcode.END:
            found.append(instruction)
    return found


def legal_cuts(program: Program, accumulator_words: int) -> Bools:
    """For each instruction whether the program can be cut before it; the last one is END."""
    code = instructions(program)
    written = np.full(accumulator_words, -1)
    # how many accumulators are live across a cut: its first differences
    live = np.zeros(len(code) + 2, np.int64)
    for instruction in code:
        operation = program.operation(instruction)
        for memory, words in operation.reads():
            if memory == Memory.ACCUMULATORS:
                used = written[words]
                used = used[used >= 0]
                np.add.at(live, used + 1, 1)
                live[instruction.index + 1] -= len(used)
        for memory, words in operation.writes():
            if memory == Memory.ACCUMULATORS:
                written[words] = instruction.index
    return np.asarray(np.cumsum(live)[:-1] == 0)


def tiles(program: Program, legal: Bools, span: Span) -> list[Span]:
    """Cut a layer as finely as possible: each part ends with stores, and can run alone."""
    first, stop = span
    code = [i for i in instructions(program, stop)[first:] if i.queue != Queue.LOAD]
    ends = [a.index + 1 for a, b in zip(code, code[1:])
            if a.queue == Queue.STORE != b.queue and legal[a.index + 1]]
    cuts: Sequence[int] = (first, *ends, stop)
    return list(zip(cuts, cuts[1:]))
