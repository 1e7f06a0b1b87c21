"""Chrome trace of a predicted run: open the file in https://ui.perfetto.dev or chrome://tracing."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hw.spec.isa import QUEUE_OF, Opcode, Queue
from hw.spec.timing import Prediction

__all__ = ["trace_events", "write_trace"]


def trace_events(prediction: Prediction, opcodes: Sequence[Opcode], names: Sequence[str], *,
                 clock_mhz: float = 1.0) -> list[dict[str, Any]]:
    """Make the events: a lane per queue, a slice per instruction while it occupies its unit.

    Parameters
    ----------
    prediction : Prediction
        When everything happened.
    opcodes : Sequence[Opcode]
        Of all instructions; END gets no slice.
    names : Sequence[str]
        What to write on each slice, for example the layer and tile.
    clock_mhz : float
        Scale of the time axis. With 1.0 a microsecond of the viewer is a cycle.
    """
    if not len(opcodes) == len(names) == len(prediction.starts):
        raise ValueError(f"a trace must have as many opcodes and names as the prediction has "
                         f"instructions, {len(prediction.starts)}, not {len(opcodes)} and "
                         f"{len(names)}")
    events: list[dict[str, Any]] = [
        {"ph": "M", "pid": 0, "name": "process_name", "args": {"name": "Macrame"}}]
    for queue in Queue:
        events += [{"ph": "M", "pid": 0, "tid": int(queue), "name": name, "args": args}
                   for name, args in (("thread_name", {"name": queue.name}),
                                      ("thread_sort_index", {"sort_index": int(queue)}))]
    for index, (opcode, name) in enumerate(zip(opcodes, names)):
        if opcode not in QUEUE_OF:
            continue
        start, release = prediction.starts[index], prediction.releases[index]
        events.append({
            "ph": "X", "pid": 0, "tid": int(QUEUE_OF[opcode]), "name": name, "cat": opcode.name,
            "ts": start / clock_mhz, "dur": (release - start) / clock_mhz,
            "args": {"instruction": index, "opcode": opcode.name, "start": start,
                     "visible": prediction.ends[index]}})
    return events


def write_trace(path: Path, prediction: Prediction, opcodes: Sequence[Opcode],
                names: Sequence[str], *, clock_mhz: float = 1.0) -> None:
    """Write :func:`trace_events` as a JSON file."""
    events = trace_events(prediction, opcodes, names, clock_mhz=clock_mhz)
    path.write_text(json.dumps({"traceEvents": events, "displayTimeUnit": "ns"},
                               separators=(",", ":")) + "\n")
