"""The whole compilation, a line per pass."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from codegen.emit.listing import listing
from codegen.emit.manifest import manifest
from codegen.emit.page import page
from codegen.emit.report import predict, report
from codegen.emit.timeline import timeline
from codegen.errors import BuildError
from codegen.frontend.importer import import_model
from codegen.ir import Graph
from codegen.lowered import Instruction
from codegen.passes.allocate import allocate
from codegen.passes.cascade import with_cascades
from codegen.passes.footprint import Footprints
from codegen.passes.hoist import hoist
from codegen.passes.normalize import normalize
from codegen.passes.pack import ConstantPool
from codegen.passes.place import place
from codegen.passes.schedule import schedule
from codegen.passes.search import choose, plan
from codegen.passes.synchronize import synchronize
from hw.spec.config import ArrayConfig
from hw.spec.image import Image
from hw.spec.isa import EncodingError, Isa

__all__ = ["Build", "compile_graph", "compile_model"]

Progress = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class Build:
    """Everything a compilation makes, not yet written to files.

    ``image`` is the bytes of ``program.bin``; `manifest` and `report` are JSON values; `listing`,
    `timeline` and `page` are the text of files.
    """

    image: bytes
    manifest: dict[str, Any]
    listing: str
    report: dict[str, Any]
    timeline: str
    page: str


def compile_model(path: Path, config: ArrayConfig, *, target: str, keep_tensors: bool = False,
                  bytes_per_cycle: float | None = None, latency: int = 20,
                  progress: Progress | None = None) -> Build:
    """Compile an ONNX QOperator model.

    Parameters
    ----------
    path : Path
        Model file.
    target : str
        Name of `config`, for the manifest.
    keep_tensors : bool
        Debug build: every named tensor is visible in memory at the end.
    bytes_per_cycle : float or None
        Memory bandwidth to schedule and predict for; None: the width of the bus.
    latency : int
        Cycles from a memory request to its first data.

    Raises
    ------
    CodegenError
        Model unreadable or unsupported, or too large for `config`.
    """
    say = progress or (lambda _: None)
    say(f"import {path.name}")
    graph = import_model(path, progress)
    return compile_graph(graph, config, target=target, keep_tensors=keep_tensors,
                         bytes_per_cycle=bytes_per_cycle, latency=latency, progress=progress)


def compile_graph(graph: Graph, config: ArrayConfig, *, target: str, keep_tensors: bool = False,
                  bytes_per_cycle: float | None = None, latency: int = 20,
                  progress: Progress | None = None) -> Build:
    """Compile a :class:`codegen.ir.Graph`; see :func:`compile_model`."""
    say = progress or (lambda _: None)
    bandwidth = bytes_per_cycle or float(config.bus_bytes)
    say("normalize and place")
    graph = normalize(graph, config)
    lowered = place(graph, config, keep_tensors=keep_tensors)
    say("tile")
    lowered, choices = choose(lowered, config, bytes_per_cycle=bandwidth, latency=latency,
                              progress=progress)
    constants = ConstantPool()
    folds = {k.name: fold for c in choices
             for k, fold in zip(lowered.kernels[c.start:c.stop], c.folds)}
    planned = plan(lowered, config, constants, folds, bytes_per_cycle=bandwidth)
    lowered, cascades = with_cascades(
        lowered, [(c.start, c.stop, c.divisor) for c in choices], planned, config,
        bytes_per_cycle=bandwidth)
    addresses, activation_bytes = allocate(lowered, config)
    say("schedule")
    program, scratchpad_words = schedule(lowered, addresses, config, constants, planned, cascades)
    say("synchronize")
    footprints = Footprints(config, activation_bytes)
    program = hoist(program, footprints, config)
    synchronize(program, footprints)
    say("encode")
    image = Image(config=config, program=encode(program, config),
                  constants=bytes(constants.data), activation_bytes=activation_bytes)
    data = image.to_bytes()
    say("predict cycles")
    predictions = predict(program, config, bytes_per_cycle=bandwidth, latency=latency)
    costs = report(lowered, program, config, target=target, image=image, predictions=predictions,
                   bytes_per_cycle=bandwidth, latency=latency, scratchpad_words=scratchpad_words,
                   choices=choices)
    return Build(
        image=data,
        manifest=manifest(lowered, addresses, config, program, target=target, image=data,
                          activation_bytes=activation_bytes),
        listing=listing(image.program, [i.kernel for i in program], config),
        report=costs, timeline=timeline(costs, program, predictions[bandwidth]),
        page=page(costs, program, predictions[bandwidth]))


def encode(program: list[Instruction], config: ArrayConfig) -> bytes:
    """Machine code of `program`.

    Raises
    ------
    BuildError
        A number does not fit its field; the message names both, and the node.
    """
    isa, code = Isa(config), bytearray()
    for instruction in program:
        try:
            code += isa.encode(instruction.opcode, instruction.fields)
        except EncodingError as error:
            raise BuildError(f"node {instruction.kernel!r} must fit the instructions of this "
                             f"configuration; {error}") from error
    return bytes(code)
