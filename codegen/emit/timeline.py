"""The predicted run as Chrome trace events: https://ui.perfetto.dev and chrome://tracing show them.

A microsecond of the viewer is a cycle.
"""

import json
from collections.abc import Iterator, Sequence
from typing import Any

from codegen.lowered import Instruction
from hw.spec.isa import QUEUE_OF, LinearTarget, Opcode, Queue
from hw.spec.timing import Prediction

__all__ = ["timeline"]

#: Viewers take thread 0 of process 0 for the idle thread of a computer.
_PROCESS = 1
_LAYERS, _FIRST_QUEUE = 1, 2


def timeline(report: dict[str, Any], program: Sequence[Instruction],
             prediction: Prediction) -> str:
    """The text of ``timeline.json``, an event per line.

    A lane for the layers, whose slices have the report's cycles, and a lane per queue. A slice is
    an instruction from its start until its unit is free, and named by its kernel and what it
    covers; its arguments are its index in the program, when its effects are ``visible``, and the
    cycles that it ``waited`` for tokens before and ``stalled`` for memory, if any.

    Parameters
    ----------
    report : dict
        Of the same program.
    prediction : Prediction
        When everything happened.
    """
    made_for = report["prediction"]
    title = (f"{report['name']} on {report['target']}, {made_for['bytes_per_cycle']:g} B/cycle, "
             f"latency {made_for['latency']}")
    lanes = {_LAYERS: "layers", **{_FIRST_QUEUE + q: q.name for q in Queue}}
    events = [_meta("process_name", name=title)]
    for lane, name in lanes.items():
        events += [_meta("thread_name", tid=lane, name=name),
                   _meta("thread_sort_index", tid=lane, sort_index=lane)]
    events += _layers(report["layers"])
    events += _instructions(program, prediction)
    lines = ",\n".join(json.dumps(event, separators=(",", ":")) for event in events)
    return '{"traceEvents":[\n' + lines + "\n]}\n"


def _meta(what: str, *, tid: int | None = None, **args: Any) -> dict[str, Any]:
    lane = {} if tid is None else {"tid": tid}
    return {"ph": "M", "pid": _PROCESS, **lane, "name": what, "args": args}


def _slice(lane: int, category: str, name: str, start: int, cycles: int,
           **args: Any) -> dict[str, Any]:
    return {"ph": "X", "pid": _PROCESS, "tid": lane, "cat": category, "name": name, "ts": start,
            "dur": cycles, "args": args}


def _layers(layers: Sequence[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    start = 0
    for number, layer in enumerate(layers, 1):
        yield _slice(_LAYERS, "layer", f"{number} {layer['name']}", start, layer["cycles"],
                     utilization=round(layer["utilization"], 4), limit=layer["limit"])
        start += layer["cycles"]


def _instructions(program: Sequence[Instruction],
                  prediction: Prediction) -> Iterator[dict[str, Any]]:
    p = prediction
    for index, instruction in enumerate(program):
        if (opcode := instruction.opcode) not in QUEUE_OF:
            continue
        spent = {"waited": p.waits[index], "stalled": p.stalls[index]}
        yield _slice(_FIRST_QUEUE + QUEUE_OF[opcode], opcode.name,
                     f"{instruction.kernel} {_extent(instruction)}", p.starts[index],
                     p.releases[index] - p.starts[index], index=index, visible=p.ends[index],
                     **{name: cycles for name, cycles in spent.items() if cycles})


def _extent(instruction: Instruction) -> str:
    """What an instruction covers: rows x columns, of all planes that it reads or moves."""
    f = instruction.fields
    if instruction.opcode == Opcode.LOAD_LINEAR:
        return f"{LinearTarget(f['target']).name.lower()} {f['count']}"
    planes = f" of {f['planes']} planes" if f.get("planes", 1) > 1 else ""
    return f"{f['rows']}x{f['columns']}{planes}"
