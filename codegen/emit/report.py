"""The build report: what every layer costs, and the proof that it is exact."""

from collections.abc import Iterable
from typing import Any

from rich.console import Console
from rich.table import Table

from codegen import ir
from codegen.lowered import ConvKernel, Instruction, Kernel, Lowered
from hw.spec.config import ArrayConfig
from hw.spec.cycles import dma_bytes, unit_cycles
from hw.spec.image import Image
from hw.spec.isa import QUEUE_OF, Queue
from hw.spec.timing import Prediction, simulate

__all__ = ["print_summary", "report"]

#: Bandwidths, in bytes per cycle, that every report compares.
_BANDWIDTHS = (2.0, 4.0, 8.0)


def report(lowered: Lowered, program: list[Instruction], config: ArrayConfig, *, target: str,
           image: Image, bytes_per_cycle: float, latency: int,
           scratchpad_words: dict[str, int]) -> dict[str, Any]:
    """The report as JSON values.

    A layer's cycles are those between the moments when its predecessor's and its own last result
    were requantized, so the layers' cycles add up to the frame's but for the last store.
    """
    instructions = [(i.opcode, i.fields) for i in program]
    step = len(image.program) // len(program)

    def predict(bandwidth: float) -> Prediction:
        return simulate(instructions, config, bytes_per_cycle=bandwidth, latency=latency,
                        instruction_bytes=step)
    main = predict(bytes_per_cycle)
    layers = _layers(lowered, program, main, config, bytes_per_cycle, scratchpad_words)
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
        "bandwidths": [totals(predict(b), b) for b in _BANDWIDTHS],
        "instructions": len(program), "program_bytes": len(image.program),
        "constant_bytes": len(image.constants), "activation_bytes": image.activation_bytes,
        "certified_channels": sum(c.channels for c in certificates),
        "layers": layers,
    }


def _layers(lowered: Lowered, program: list[Instruction], prediction: Prediction,
            config: ArrayConfig, bytes_per_cycle: float,
            scratchpad_words: dict[str, int]) -> list[dict[str, Any]]:
    of_kernel: dict[str, list[int]] = {}
    for index, instruction in enumerate(program):
        of_kernel.setdefault(instruction.kernel, []).append(index)
    layers, reached = [], 0
    for kernel in lowered.kernels:
        own = of_kernel[kernel.name]
        busy = {queue: 0 for queue in Queue}
        for i in own:
            busy[QUEUE_OF[program[i].opcode]] += unit_cycles(program[i].opcode,
                                                             program[i].fields, config)
        moved = {q: sum(dma_bytes(program[i].opcode, program[i].fields, config) for i in own
                        if QUEUE_OF[program[i].opcode] == q) for q in (Queue.LOAD, Queue.STORE)}
        end = max([prediction.ends[i] for i in own
                   if QUEUE_OF[program[i].opcode] == Queue.POST], default=reached)
        cycles, reached = max(0, end - reached), max(reached, end)
        macs = _macs(kernel)
        memory = sum(moved.values()) / bytes_per_cycle
        limits = {"MAC": busy[Queue.MAC], "POST": busy[Queue.POST], "memory": memory}
        limit = max(limits, key=lambda name: limits[name])
        layers.append({
            "name": kernel.name, "kind": kernel.kind, "fused": list(kernel.fused),
            "tensors": [s.tensor for s in kernel.sinks], "macs": macs,
            "ideal_cycles": macs / config.macs_per_cycle, "cycles": cycles,
            "utilization": macs / config.macs_per_cycle / cycles if cycles else 0.0,
            "mac_cycles": busy[Queue.MAC], "post_cycles": busy[Queue.POST],
            "memory_cycles": memory,
            # where nothing is busy most of the time, the layer waits for its predecessor
            "limit": limit if limits[limit] > 0.8 * cycles else "latency",
            "loaded_bytes": moved[Queue.LOAD], "stored_bytes": moved[Queue.STORE],
            "instructions": len(own),
            "scratchpad_bytes": scratchpad_words.get(kernel.name, 0) * config.rows,
            "requantization": _certificate(kernel),
        })
    return layers


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
    table = Table(title=f"{report['name']} on {report['target']}, predicted at "
                        f"{report['prediction']['bytes_per_cycle']:g} B/cycle",
                  title_justify="left")
    for heading, justify in (
            ("layer", "left"), ("kind", "left"), ("k MAC", "right"), ("k cycles", "right"),
            ("util.", "right"), ("limit", "left"), ("KB in", "right"), ("KB out", "right"),
            ("on chip KB", "right"), ("proved", "right")):
        table.add_column(heading, justify=justify)  # type: ignore[arg-type]
    for layer in report["layers"]:
        proof = layer["requantization"]
        table.add_row(
            layer["name"], layer["kind"], f"{layer['macs'] / 1e3:.0f}",
            f"{layer['cycles'] / 1e3:.1f}", f"{layer['utilization']:.0%}", layer["limit"],
            f"{layer['loaded_bytes'] / 1024:.0f}", f"{layer['stored_bytes'] / 1024:.0f}",
            f"{layer['scratchpad_bytes'] / 1024:.0f}",
            str(proof["channels"]) if proof else "")
    return table

