"""The trace file of a predicted run."""

import json
from pathlib import Path

import pytest

from hw.spec.isa import Opcode, Queue
from hw.spec.timing import simulate
from sim.trace import trace_events, write_trace
from tests.sim.program_builder import CONFIG, instruction, load, mac

PROGRAM = (load(signal="M"), mac("L"), instruction(Opcode.END))
OPCODES = [o for o, _ in PROGRAM]
PREDICTION = simulate(PROGRAM, CONFIG, bytes_per_cycle=4, latency=10, instruction_bytes=48)


def test_queues_are_lanes_and_instructions_slices(tmp_path: Path) -> None:
    write_trace(tmp_path / "t.json", PREDICTION, OPCODES, ["in", "stem", "end"], clock_mhz=2.0)
    events = json.loads((tmp_path / "t.json").read_text())["traceEvents"]
    lanes = {e["tid"]: e["args"]["name"] for e in events if e["name"] == "thread_name"}
    assert lanes == {q: q.name for q in Queue}
    slices = [e for e in events if e["ph"] == "X"]
    assert [(e["name"], e["tid"], e["args"]["instruction"]) for e in slices] == [
        ("in", Queue.LOAD, 0), ("stem", Queue.MAC, 1)]
    for index, event in enumerate(slices):
        assert event["ts"] == PREDICTION.starts[index] / 2
        assert event["dur"] == (PREDICTION.releases[index] - PREDICTION.starts[index]) / 2
        assert event["args"]["visible"] == PREDICTION.ends[index]


def test_lists_of_other_lengths_are_refused() -> None:
    with pytest.raises(ValueError) as caught:
        trace_events(PREDICTION, OPCODES, ["in"])
    assert str(caught.value) == ("a trace must have as many opcodes and names as the prediction "
                                 "has instructions, 3, not 3 and 1")
