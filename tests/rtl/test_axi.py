"""The core between bus models that somebody else wrote (cocotbext-axi), and the rules of its buses.

No file of the fast testbench takes part: neither tb.sv nor memory.cpp.
"""

import bisect
import json
import re
from pathlib import Path

import pytest

from hw.spec.config import PRESETS
from hw.spec.image import INTERFACE_VERSION, MAGIC, Image
from sim.tb.axi_bench import AXI, run_cocotb, run_episodes
from sim.tb.toolchain import build_simulation
from tests.builds import compile_zoo
from tests.rtl.checker_traces import TRACES
from tests.rtl.placed import Placed
from tests.rtl.random_programs import random_image
from tests.sim.program_builder import CONFIG, image, store

pytestmark = pytest.mark.rtl

CHECKER = next(path for path in AXI.verilog if path.suffix == ".sv")


def test_a_network_leaves_what_the_simulator_leaves_under_random_back_pressure() -> None:
    placed = Placed(Image.from_bytes(compile_zoo("yolov4-tiny-eighth-64").image))
    outcome, = run_episodes(CONFIG, [placed.episode(limit_cycles=1_000_000)], areas=placed.areas,
                            seed=1)
    placed.check_complete(outcome, placed.expected())
    assert outcome.registers["ID"] == int.from_bytes(MAGIC, "little")
    assert outcome.registers["VERSION"] == INTERFACE_VERSION


@pytest.mark.parametrize("target, seed", [("test-4x4", None), ("test-4x4", 2), ("test-4x8", 3)])
def test_random_instructions_leave_what_the_simulator_leaves(target: str,
                                                             seed: int | None) -> None:
    placed = Placed(random_image(PRESETS[target], seed or 0, 150))
    outcome, = run_episodes(PRESETS[target], [placed.episode()], areas=placed.areas, seed=seed)
    placed.check_complete(outcome, placed.expected())


def test_what_memories_hold_at_power_up_does_not_show() -> None:
    placed = Placed(random_image(CONFIG, 4, 150))
    one, other = (run_episodes(CONFIG, [placed.episode()], areas=placed.areas, power_up=seed)
                  for seed in (1, 2))
    assert one == other


def test_memories_hold_different_things_at_power_up() -> None:
    placed = Placed(image(store()))
    one, other = (run_episodes(CONFIG, [placed.episode()], areas=placed.areas, power_up=seed)
                  for seed in (1, 2))
    assert one[0].memory != other[0].memory


def test_every_rule_of_the_checker_is_found_broken_and_kept(tmp_path: Path) -> None:
    source = CHECKER.read_text()
    rules = re.findall(r'\$error\("(.*)"\)', source)
    assert set(rules) == {rule for rule, _ in TRACES} - {""}
    assert len(rules) == source.count("assert property")

    # all signals of the core, driven from Python
    ports = re.search(r"\) \((.*?)\n\);", source, re.S)
    assert ports
    stub = f"module macrame({ports[1].replace('BUS_BYTES', '4')});\nendmodule\n"
    simulation = build_simulation(stub, bus_bytes=None, bench=AXI)
    said = run_cocotb(simulation, AXI, "tests.rtl.checker_traces", tmp_path, (
        f"+starts={tmp_path / 'starts'}", "+verilator+error+limit+1000000"))
    starts = json.loads((tmp_path / "starts").read_text())
    broken: list[set[str]] = [set() for _ in TRACES]
    for time, rule in re.findall(r"^\[(\d+)\] %Error: .*?Assertion failed in \S+: (.*)$", said,
                                 re.M):
        broken[bisect.bisect(starts, int(time)) - 1].add(rule)
    for (rule, trace), found in zip(TRACES, broken):
        assert found == ({rule} if rule else set()), trace

