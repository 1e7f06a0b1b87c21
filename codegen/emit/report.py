"""The build report: what every layer costs, and the proof that it is exact."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from codegen import ir
from codegen.lowered import ConvKernel, Instruction, Kernel, Lowered, layer_name
from codegen.passes.search import Choice
from hw.spec.config import ArrayConfig
from hw.spec.cycles import dma_bytes, unit_cycles
from hw.spec.image import Image
from hw.spec.isa import QUEUE_OF, Isa, Queue
from hw.spec.timing import Prediction, simulate

__all__ = ["LAYER_COLUMNS", "layer_rows", "predict", "print_summary", "report"]

#: Bandwidths, in bytes per cycle, that every report compares.
_BANDWIDTHS = (2.0, 4.0, 8.0)
#: Headings of :func:`layer_rows`; False: numbers.
LAYER_COLUMNS = {"#": False, "layer": True, "kind": True, "k MAC": False, "k cycles": False,
                 "util.": False, "limit": True, "KB in": False, "KB out": False,
                 "on chip KB": False, "proved": False}


def predict(program: Sequence[Instruction], config: ArrayConfig, *, bytes_per_cycle: float,
            latency: int) -> dict[float, Prediction]:
    """What the cycle model says of `program`, by bandwidth: its own, and those of the report."""
    instructions = [(i.opcode, i.fields) for i in program]
    return {bandwidth: simulate(instructions, config, bytes_per_cycle=bandwidth, latency=latency,
                                instruction_bytes=Isa(config).instruction_bytes)
            for bandwidth in {bytes_per_cycle, *_BANDWIDTHS}}


def report(lowered: Lowered, program: list[Instruction], config: ArrayConfig, *, target: str,
           image: Image, predictions: Mapping[float, Prediction], bytes_per_cycle: float,
           latency: int, scratchpad_words: dict[str, int],
           choices: Sequence[Choice]) -> dict[str, Any]:
    """The report as JSON values.

    A layer is a kernel, or a cascade of several. Its cycles are those between the moments when its
    predecessor's and its own last result were requantized, so the layers' cycles add up to the
    frame's but for the last store. ``search`` of a layer is what it costs in the search's terms;
    ``runner_up`` the layers that the second best cut has up to here, and how much more it costs.

    Parameters
    ----------
    predictions
        Made by :func:`predict`.
    """
    main = predictions[bytes_per_cycle]
    layers = _layers(lowered, program, main, config, bytes_per_cycle, scratchpad_words)
    for layer, choice in zip(layers, choices):
        layer["search"] = {"cost": choice.cycles, "runner_up": choice.runner_up and {
            "last": list(choice.runner_up[0]),
            "more": choice.runner_up[1]}}
    macs = sum(layer["macs"] for layer in layers)
    ideal = macs / config.macs_per_cycle
    certificates = [k.op.certificate for k in lowered.kernels
                    if isinstance(k, ConvKernel) and k.op.certificate is not None]

    def totals(p: Prediction, bandwidth: float) -> dict[str, Any]:
        return {"bytes_per_cycle": bandwidth, "latency": latency, "cycles": p.cycles,
                "utilization": ideal / p.cycles, "read_bytes": p.read_bytes,
                "written_bytes": p.written_bytes,
                "queues": {q.name: vars(c) for q, c in p.queues.items()}}
    return {
        "name": lowered.graph.name, "target": target, "config": {**vars(config)},
        "macs": macs, "ideal_cycles": ideal,
        "prediction": totals(main, bytes_per_cycle),
        "bandwidths": [totals(predictions[b], b) for b in _BANDWIDTHS],
        "instructions": len(program), "program_bytes": len(image.program),
        "constant_bytes": len(image.constants), "activation_bytes": image.activation_bytes,
        "certified_channels": sum(c.channels for c in certificates),
        "layers": layers,
    }


def _layers(lowered: Lowered, program: list[Instruction], prediction: Prediction,
            config: ArrayConfig, bytes_per_cycle: float,
            scratchpad_words: dict[str, int]) -> list[dict[str, Any]]:
    of_kernel = defaultdict[str, list[int]](list)
    for index, instruction in enumerate(program):
        of_kernel[instruction.kernel].append(index)
    layers, reached = [], 0
    for group in lowered.groups:
        kernels = [_kernel(k, [program[i] for i in of_kernel[k.name]], config) for k in group]
        end = max([prediction.ends[i] for k in group for i in of_kernel[k.name]
                   if QUEUE_OF[program[i].opcode] == Queue.POST], default=reached)
        cycles, reached = max(0, end - reached), max(reached, end)

        def total(what: str, kernels: list[dict[str, Any]] = kernels) -> Any:
            return sum(k[what] for k in kernels)
        memory = (total("loaded_bytes") + total("stored_bytes")) / bytes_per_cycle
        limits = {"MAC": total("mac_cycles"), "POST": total("post_cycles"), "memory": memory}
        limit = max(limits, key=lambda name: limits[name])
        layers.append({
            "name": layer_name(group),
            **{what: total(what) for what in (
                "macs", "ideal_cycles", "mac_cycles", "post_cycles", "loaded_bytes",
                "stored_bytes", "instructions")},
            "cycles": cycles, "memory_cycles": memory,
            "utilization": total("ideal_cycles") / cycles if cycles else 0.0,
            # where nothing is busy most of the time, the layer waits for its predecessor
            "limit": limit if limits[limit] > 0.8 * cycles else "latency",
            "scratchpad_bytes": scratchpad_words.get(group[0].name, 0) * config.rows,
            "kernels": kernels,
        })
    return layers


def _kernel(kernel: Kernel, own: list[Instruction], config: ArrayConfig) -> dict[str, Any]:
    busy, moved = Counter[Queue](), Counter[Queue]()
    for instruction in own:
        queue = QUEUE_OF[instruction.opcode]
        busy[queue] += unit_cycles(instruction.opcode, instruction.fields, config)
        moved[queue] += dma_bytes(instruction.opcode, instruction.fields, config)
    macs = _macs(kernel)
    return {
        "name": kernel.name, "kind": kernel.kind, "fused": list(kernel.fused),
        "tensors": [s.tensor for s in kernel.sinks], "macs": macs,
        "ideal_cycles": macs / config.macs_per_cycle,
        "mac_cycles": busy[Queue.MAC], "post_cycles": busy[Queue.POST],
        "loaded_bytes": moved[Queue.LOAD], "stored_bytes": moved[Queue.STORE],
        "instructions": len(own), "requantization": _certificate(kernel),
    }


def _macs(kernel: Kernel) -> int:
    """Multiply-accumulates that the layer needs, padding included as ONNX counts it."""
    if not isinstance(kernel, ConvKernel):
        return 0
    return int(kernel.op.weights.size) * kernel.out.rows * kernel.out.columns


def _certificate(kernel: Kernel) -> dict[str, Any] | None:
    op = getattr(kernel, "op", None)
    if isinstance(op, ir.Conv) and op.certificate is not None:
        return dict(op.certificate.report())
    return None


def print_summary(report: dict[str, Any], console: Console, *, layers: bool) -> None:
    """What ``python -m codegen build`` prints."""
    if layers:
        console.print(_layer_table(report))
    p = report["prediction"]
    console.print(f"{report['macs'] / 1e6:.1f} M MAC, ideal {report['ideal_cycles']:.0f} cycles; "
                  f"{report['instructions']} instructions, "
                  f"{report['constant_bytes'] / 1024:.0f} KB constants, "
                  f"{report['activation_bytes'] / 1024:.0f} KB activations; "
                  f"{report['certified_channels']} output channels proved exact")
    table = Table(title=f"Predicted frame, latency {p['latency']}", title_justify="left")
    for heading in ("B/cycle, both ways", "cycles", "utilization", "read MB", "written MB"):
        table.add_column(heading, justify="right")
    rows: Iterable[dict[str, Any]] = report["bandwidths"]
    for row in rows:
        table.add_row(f"{row['bytes_per_cycle']:g}", str(row["cycles"]),
                      f"{row['utilization']:.1%}", f"{row['read_bytes'] / 1e6:.2f}",
                      f"{row['written_bytes'] / 1e6:.2f}")
    console.print(table)


def _layer_table(report: dict[str, Any]) -> Table:
    table = Table(title=f"{escape(report['name'])} on {report['target']}, predicted at "
                        f"{report['prediction']['bytes_per_cycle']:g} B/cycle",
                  title_justify="left")
    for heading, is_text in LAYER_COLUMNS.items():
        table.add_column(heading, justify="left" if is_text else "right")
    for row in layer_rows(report):
        table.add_row(*map(escape, row))
    return table


def layer_rows(report: dict[str, Any]) -> Iterator[list[str]]:
    """Cells of the table of layers; a cascade's kernels have rows of their own, without number."""
    for number, layer in enumerate(report["layers"], 1):
        kernels = layer["kernels"]
        alone = len(kernels) == 1
        yield [str(number), kernels[0]["name"] if alone else f"cascade of {len(kernels)}",
               kernels[0]["kind"] if alone else "", f"{layer['macs'] / 1e3:.0f}",
               f"{layer['cycles'] / 1e3:.1f}", f"{layer['utilization']:.0%}", layer["limit"],
               f"{layer['loaded_bytes'] / 1024:.0f}", f"{layer['stored_bytes'] / 1024:.0f}",
               f"{layer['scratchpad_bytes'] / 1024:.0f}", _proved(kernels[0]) if alone else ""]
        for kernel in [] if alone else kernels:
            yield ["", f"  {kernel['name']}", kernel["kind"], f"{kernel['macs'] / 1e3:.0f}", "",
                   "", "", f"{kernel['loaded_bytes'] / 1024:.0f}",
                   f"{kernel['stored_bytes'] / 1024:.0f}", "", _proved(kernel)]


def _proved(kernel: dict[str, Any]) -> str:
    return str(kernel["requantization"]["channels"]) if kernel["requantization"] else ""
