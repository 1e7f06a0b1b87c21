"""The whole core in Verilator: networks against ONNX Runtime, random programs against the ISS."""

import re
from pathlib import Path

import numpy as np
import pytest

import sim.tb.runner
from hw.bitstream.tools import find
from hw.generate import core_rtlil
from hw.spec.config import PRESETS
from hw.spec.regs import Fault
from sim.errors import SimError
from sim.model import Machine
from sim.tb.runner import run_rtl
from sim.tb.toolchain import cached_verilog
from tests.builds import build_folder, verify_folder, zoo_model
from tests.rtl.random_programs import ACTIVATION_BYTES, random_image
from tests.rtl.waveforms import read_fst
from tests.sim.program_builder import CONFIG, image, load

pytestmark = pytest.mark.rtl


@pytest.mark.parametrize("keep_tensors", [True, False], ids=["debug", "normal"])
def test_a_network_equals_onnx_runtime(tmp_path: Path, keep_tensors: bool) -> None:
    build = build_folder(zoo_model("yolov4-tiny-eighth-64"), tmp_path, "test-4x4",
                         keep_tensors=keep_tensors)
    result = verify_folder(build, engine="rtl")
    assert result.rtl is not None
    assert result.total_mismatches == 0 and result.passed
    # All that reach memory and stay there: the simulator says which are overwritten.
    reused = {tensor.name for tensor in result.tensors if tensor.where == "reused"}
    assert result.compared == (60 if keep_tensors else 8)
    assert reused == (set() if keep_tensors else {
        "images_quantized", "act20_out_quantized", "act27_out_quantized", "pool9_out_quantized"})
    assert result.rtl.memory_differs == 0 and not result.rtl.violations
    assert 0.3 < (result.rtl.utilization or 0) < 1


@pytest.mark.parametrize("target", ["test-4x8", "test-8x4"])
def test_a_network_equals_onnx_runtime_on_other_arrays(tmp_path: Path, target: str) -> None:
    build = build_folder(zoo_model("yolov4-tiny-eighth-64-perchannel"), tmp_path, target,
                         keep_tensors=True)
    result = verify_folder(build, engine="rtl", stall_seed=1)
    assert result.total_mismatches == 0 and result.passed and result.compared == 60


@pytest.mark.parametrize("bytes_per_cycle, latency, seed", [(1, 0, 1), (2.5, 100, 2), (8, 3, 3)])
def test_the_memory_changes_times_but_not_results(tmp_path: Path, bytes_per_cycle: float,
                                                  latency: int, seed: int) -> None:
    build = build_folder(zoo_model("yolov4-tiny-eighth-64"), tmp_path, "test-4x4",
                         keep_tensors=True)
    result = verify_folder(build, engine="rtl", bytes_per_cycle=bytes_per_cycle, latency=latency,
                           stall_seed=seed)
    assert result.total_mismatches == 0 and result.passed and result.compared == 60


@pytest.mark.parametrize("target", ["test-4x4", "test-4x8", "test-8x4"])
@pytest.mark.parametrize("seed", range(3))
def test_random_instructions_do_what_they_do_in_the_simulator(target: str, seed: int) -> None:
    program = random_image(PRESETS[target], seed, 300)
    machine = Machine(program)
    machine.activations[:] = np.random.default_rng(seed).integers(0, 256, ACTIVATION_BYTES)
    before = machine.activations.copy()
    machine.run()
    run = run_rtl(program, before, stall_seed=seed if seed else None)
    assert not run.violations and run.fault == Fault.NONE
    assert run.instructions == program.instructions
    differing = np.flatnonzero(run.activations != machine.activations)
    assert not len(differing), f"seed {seed}: {len(differing)} bytes, first at {differing[:5]}"


@pytest.mark.parametrize("seed", range(2))
def test_what_is_read_while_it_is_written_does_not_matter(
        seed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "core.il").write_text(core_rtlil(CONFIG, "inferred"))
    find("yosys").run("-q", "-p", "read_rtlil core.il; proc -nomux -norom; memory_collect; "
                      "write_verilog -noattr -norename core.v", folder=tmp_path, log="yosys.log")
    noisy, ports = re.subn(r"(<= \d+'h)(x+);", lambda x: f"{x[1]}{('5a' * len(x[2]))[:len(x[2])]};",
                           (tmp_path / "core.v").read_text())
    assert ports > 20
    monkeypatch.setattr(sim.tb.runner, "cached_verilog", lambda *_, **__: noisy)
    test_random_instructions_do_what_they_do_in_the_simulator("test-4x4", seed)


def test_waveforms_can_be_written(tmp_path: Path) -> None:
    run = run_rtl(image(load()), np.zeros(4096, np.uint8), trace=tmp_path / "a.fst")
    assert run.fault == Fault.NONE
    waves = read_fst(tmp_path / "a.fst")
    assert len(waves.names) > 1000 and waves.end > 2000 * run.cycles


def test_abort_stops_the_core_where_it_is() -> None:
    run = run_rtl(random_image(CONFIG, 1, 100), np.zeros(ACTIVATION_BYTES, np.uint8),
                  stop_after=2000)
    assert not run.violations and run.fault == Fault.ABORTED
    assert 0 < run.instruction < 100
    assert 2000 <= run.cycles < 2500


def test_a_core_that_breaks_a_rule_of_the_bus_ends_the_simulation(
        monkeypatch: pytest.MonkeyPatch) -> None:
    good = cached_verilog(CONFIG)
    bad = good.replace("assign m_axi_arlen = { 4'h0,", "assign m_axi_arlen = { 4'h1,")
    assert bad != good
    monkeypatch.setattr(sim.tb.runner, "cached_verilog", lambda *_, **__: bad)
    with pytest.raises(SimError, match="AR must be aligned and no longer than a burst"):
        run_rtl(image(load()), np.zeros(4096, np.uint8))
