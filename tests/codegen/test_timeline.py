"""The trace file of the predicted run."""

import json
from typing import Any

import pytest

from codegen.compiler import Build
from codegen.emit.timeline import timeline
from codegen.lowered import Instruction
from hw.spec.config import PRESETS
from hw.spec.image import Image
from hw.spec.isa import QUEUE_OF, Isa, LinearTarget, Opcode, Queue
from hw.spec.timing import simulate
from tests.builds import compile_zoo
from tests.sim.program_builder import instruction, load, mac

CONFIG = PRESETS["test-4x4"]


@pytest.fixture(scope="module")
def build() -> Build:
    return compile_zoo()


def lanes(text: str) -> dict[str, list[dict[str, Any]]]:
    """Slices by the name of their lane."""
    events = json.loads(text)["traceEvents"]
    names = {e["tid"]: e["args"]["name"] for e in events if e["name"] == "thread_name"}
    assert not any(e["tid"] == 0 or e["pid"] == 0 for e in events if "tid" in e), "idle thread"
    return {name: [e for e in events if e["ph"] == "X" and e["tid"] == tid]
            for tid, name in names.items()}


def test_every_instruction_is_a_slice_in_the_lane_of_its_queue(build: Build) -> None:
    program = Image.from_bytes(build.image).program
    isa = Isa(CONFIG)
    step = isa.instruction_bytes
    instructions = [isa.decode(program[at:at + step]) for at in range(0, len(program), step)]
    p = simulate(instructions, CONFIG, bytes_per_cycle=4, latency=20, instruction_bytes=step)
    found = lanes(build.timeline)
    assert list(found) == ["layers", *(q.name for q in Queue)]
    indices = []
    for queue in Queue:
        for event in found[queue.name]:
            index = event["args"]["index"]
            indices.append(index)
            opcode = instructions[index][0]
            assert QUEUE_OF[opcode] == queue and event["cat"] == opcode.name
            assert (event["ts"], event["ts"] + event["dur"]) == (
                p.starts[index], p.releases[index])
            assert event["args"] == {"index": index, "visible": p.ends[index]} | {
                key: cycles for key, cycles in (("waited", p.waits[index]),
                                                ("stalled", p.stalls[index])) if cycles}
    assert sorted(indices) == list(range(len(instructions) - 1)), "all but END"


def test_slices_of_a_lane_do_not_overlap(build: Build) -> None:
    for name, events in lanes(build.timeline).items():
        times = sorted((e["ts"], e["ts"] + e["dur"]) for e in events)
        assert all(a[1] <= b[0] for a, b in zip(times, times[1:])), name


def test_slices_are_named_by_kernel_and_extent(build: Build) -> None:
    code = [load(signal="M", planes=2, rows=3, columns=4), instruction(
        Opcode.LOAD_LINEAR, target=LinearTarget.WEIGHTS, count=12),
        mac("L", rows=5, columns=6, planes=1), instruction(Opcode.END)]
    p = simulate(code, CONFIG, bytes_per_cycle=4, latency=20, instruction_bytes=48)
    program = [Instruction(opcode=o, fields=f, kernel=k) for (o, f), k in zip(code, "abc ")]
    found = lanes(timeline(build.report, program, p))
    assert [e["name"] for q in Queue for e in found[q.name]] == [
        "a 3x4 of 2 planes", "b weights 12", "c 5x6"]


def test_layers_have_the_cycles_of_the_report(build: Build) -> None:
    slices = lanes(build.timeline)["layers"]
    assert [(e["name"], e["dur"]) for e in slices] == [
        (f"{n} {layer['name']}", layer["cycles"])
        for n, layer in enumerate(build.report["layers"], 1)]
    assert slices[-1]["ts"] + slices[-1]["dur"] <= build.report["prediction"]["cycles"]


def test_ten_thousand_instructions_take_less_than_two_megabytes(build: Build) -> None:
    assert len(build.timeline) / build.report["instructions"] * 10_000 < 1.8e6
