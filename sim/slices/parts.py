"""Which parts of a program are to run by themselves."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sim.build import BuildFolder
from sim.errors import SimError
from sim.machine.program import Program
from sim.slices.cut import Layer, Span
from sim.slices.locate import Locator
from sim.slices.programs import Programs, slice_programs

__all__ = ["Part", "Selection", "choose_parts"]


@dataclass(frozen=True, kw_only=True)
class Selection:
    """What a user asks for.

    Parameters
    ----------
    layers
        Numbers, from 1.
    tile
        Only this tile, from 1, of the only layer.
    jobs
        Simulations at a time.
    waves
        Write waveforms of the only layer or tile there (FST).
    """

    layers: Sequence[int]
    tile: int | None = None
    jobs: int = 1
    waves: Path | None = None


@dataclass(frozen=True, kw_only=True)
class Part:
    """A layer or a tile of one.

    Parameters
    ----------
    layer, tile
        Which one; the tile counts from 1, None is all of the layer.
    span
        Its instructions.
    programs
        What runs.
    predicted, predicted_in_all
        Cycles of its own program, and of all three.
    """

    layer: Layer
    tile: int | None
    span: Span
    programs: Programs
    predicted: int
    predicted_in_all: int


def choose_parts(build: BuildFolder, program: Program, selection: Selection, *,
                 bytes_per_cycle: float | None, latency: int) -> list[Part]:
    """What `selection` means, in the order of the program.

    Parameters
    ----------
    bytes_per_cycle, latency
        Memory for :meth:`~sim.slices.programs.Programs.predict`.

    Raises
    ------
    SimError
        There is no such layer or tile, or it cannot run by itself.
    """
    locator = Locator(build, program)
    layers, config = locator.layers, build.image.config
    for number in selection.layers:
        if not 1 <= number <= len(layers):
            raise SimError(f"layer must be in 1..{len(layers)}, not {number}; report.json lists "
                           f"them.")
    chosen = [layers[number - 1] for number in sorted(set(selection.layers))]
    spans = [layer.span for layer in chosen]
    if selection.tile is not None:
        tiles = locator.tiles(chosen[0])
        if not 1 <= selection.tile <= len(tiles):
            raise SimError(f"tile of layer {chosen[0].number} ({chosen[0].name}) must be in "
                           f"1..{len(tiles)}, not {selection.tile}.")
        spans = [tiles[selection.tile - 1]]
    parts = []
    for layer, span in zip(chosen, spans):
        if not locator.legal[span[0]]:
            raise SimError(f"layer {layer.number} ({layer.name}) must begin where no accumulator "
                           f"is in use, not at instruction {span[0]}: run the whole frame.")
        programs = slice_programs(program, config, span)
        own, *others = (programs.predict(code, bytes_per_cycle=bytes_per_cycle, latency=latency)
                        for code in (programs.own, programs.restore, programs.save))
        parts.append(Part(layer=layer, tile=selection.tile, span=span, programs=programs,
                          predicted=own, predicted_in_all=own + sum(others)))
    return parts
