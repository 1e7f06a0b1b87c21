"""The whole core in Verilator: networks against ONNX Runtime, faults against the simulator."""

import random
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from hw.spec.config import PRESETS, ArrayConfig
from hw.spec.image import Image
from hw.spec.isa import QUEUE_OF, TOKEN_BITS, Isa, Opcode, Queue
from hw.spec.regs import Fault
from sim.model import Machine, MachineFault
from sim.tb.runner import BusError, RtlRun, run_rtl
from tests.builds import build_folder, verify_folder, zoo_model
from tests.sim.program_builder import drain, image, instruction, load, mac, store
from tests.sim.random_instructions import OPCODES, Fields, random_instruction, surface

pytestmark = pytest.mark.rtl

CONSTANTS_BYTES = 16384
ACTIVATION_BYTES = 16384


def fault(run: RtlRun) -> tuple[Fault, int, int]:
    assert not run.violations
    return run.fault, run.instruction, run.address


@pytest.mark.parametrize("keep_tensors", [True, False], ids=["debug", "normal"])
def test_a_network_equals_onnx_runtime(tmp_path: Path, keep_tensors: bool) -> None:
    build = build_folder(zoo_model("yolov4-tiny-eighth-64"), tmp_path, "test-4x4",
                         keep_tensors=keep_tensors)
    result = verify_folder(build, engine="rtl")
    assert result.rtl is not None
    assert result.total_mismatches == 0 and result.passed
    assert result.compared == (60 if keep_tensors else 10)
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


def random_image(config: ArrayConfig, seed: int, count: int) -> Image:
    """Fill all memories, run `count` random instructions in order, store the scratchpad."""
    rng = random.Random(seed)
    constants = bytearray(rng.randbytes(CONSTANTS_BYTES))
    entry = config.parameter_entry_bytes
    parameters = bytearray(rng.randbytes(config.parameter_entries * entry))
    for at in range(0, len(parameters), 8):
        # significands as the compiler makes them, and every shift
        parameters[at + 3] = rng.choice((0, 255))
        parameters[at + 6] |= 128
        parameters[at + 7] = rng.randrange(32)
    constants[:len(parameters)] = parameters
    side, words = 8, config.scratchpad_words
    whole = {"planes": 1, "rows": words // 64, "columns": 64,
             "memory_plane_stride": 0, "memory_row_stride": 64 * config.rows, "address": 0}
    program: list[tuple[Opcode, Fields]] = [
        instruction(Opcode.LOAD, **whole, window=1, word_step=config.rows, lane_first=0,
                    lane_count=config.rows, row_bytes=64 * config.rows,
                    **surface("dst", 0, 0, 64, words // 64)),
        instruction(Opcode.LOAD_LINEAR, target=0, count=config.weight_words, address=4096),
        instruction(Opcode.LOAD_LINEAR, target=1, count=config.parameter_entries, address=0),
        instruction(Opcode.LOAD_LINEAR, target=2, count=config.table_slots, address=512),
        instruction(Opcode.LOAD_LINEAR, target=3, count=config.add_table_slots, address=1024),
        instruction(Opcode.MAC, rows=side, columns=side, src_rows=side, src_columns=side,
                    **surface("src", 0, 0, side, side)),
    ]
    for _ in range(count):
        opcode = rng.choice(OPCODES)
        program.append((opcode, random_instruction(rng, config, opcode, CONSTANTS_BYTES,
                                                   ACTIVATION_BYTES)))
    program.append(instruction(Opcode.STORE, **whole, **surface("src", 0, 0, 64, words // 64)))
    return image(*in_order(program), config=config, constants=bytes(constants),
                 activation_bytes=ACTIVATION_BYTES)


def in_order(program: Sequence[tuple[Opcode, Fields]]) -> list[tuple[Opcode, Fields]]:
    """Tokens by which every instruction waits for the one before it."""
    result = []
    queues = [QUEUE_OF[opcode] for opcode, _ in program]
    for i, (opcode, fields) in enumerate(program):
        before, after = (queues[j] if 0 <= j < len(queues) and queues[j] != queues[i] else None
                         for j in (i - 1, i + 1))
        result.append((opcode, fields | {"wait": 0 if before is None else 1 << before,
                                         "signal": 0 if after is None else 1 << after}))
    return result


@pytest.mark.parametrize("target", ["test-4x4", "test-4x8", "test-8x4"])
@pytest.mark.parametrize("seed", range(3))
def test_random_instructions_do_what_they_do_in_the_simulator(target: str, seed: int) -> None:
    program = random_image(PRESETS[target], seed, 300)
    machine = Machine(program)
    machine.activations[:] = np.random.default_rng(seed).integers(0, 256, ACTIVATION_BYTES)
    before = machine.activations.copy()
    machine.run()
    run = run_rtl(program, before, stall_seed=seed if seed else None)
    assert fault(run) == (Fault.NONE, 0, 0)
    assert run.instructions == program.instructions
    differing = np.flatnonzero(run.activations != machine.activations)
    assert not len(differing), f"seed {seed}: {len(differing)} bytes, first at {differing[:5]}"


def small_program() -> list[tuple[Opcode, Fields]]:
    return [load(signal="M"), mac(wait="L", signal="P"), drain(wait="M", signal="S"),
            store(wait="P")]


def changed(index: int, **values: int) -> Image:
    program = small_program()
    opcode, fields = program[index]
    program[index] = opcode, fields | values
    return image(*program)


LINEAR = [instruction(Opcode.LOAD_LINEAR, target=1, address=0, count=1)]

FAULTS = {
    "unknown opcode": lambda: with_bytes(changed(0), 1, bytes([9]) + bytes(47)),
    "cleared memory": lambda: with_bytes(changed(0), 2, bytes(48)),
    "no END": lambda: image(*small_program(), end=False),
    "own token": lambda: changed(1, wait=1 << Queue.MAC),
    "missing token": lambda: changed(2, wait=1 << Queue.STORE),
    "no rows": lambda: changed(1, rows=0),
    "odd pool": lambda: changed(2, pool=1, rows=1),
    "load stride": lambda: changed(0, memory_row_stride=6),
    "load address": lambda: changed(0, address=4090, rows=1),
    "load window": lambda: changed(0, address=4092),
    "constants window": lambda: changed(0, window=0, address=4092),
    "scratchpad of load": lambda: changed(0, dst_base=1022),
    "scratchpad of mac": lambda: changed(1, src_base=1022),
    "weights": lambda: changed(1, weights=253),
    "accumulators of mac": lambda: changed(1, accumulator=62),
    "accumulators of drain": lambda: changed(2, accumulator=62),
    "scratchpad of drain": lambda: changed(2, dst_base=1022),
    "store window": lambda: changed(3, address=4092),
    "scratchpad of store": lambda: changed(3, src_base=1022),
    "upper bits of a parameter": lambda: image(*LINEAR, constants=bytes([255] * 4096)),
}


def with_bytes(program: Image, index: int, code: bytes) -> Image:
    size = Isa(program.config).instruction_bytes
    whole = bytearray(program.program)
    whole[index * size:(index + 1) * size] = code
    return Image(config=program.config, program=bytes(whole), constants=program.constants,
                 activation_bytes=program.activation_bytes)


@pytest.mark.parametrize("name", FAULTS)
def test_faults_are_those_of_the_simulator(name: str) -> None:
    program = FAULTS[name]()
    with pytest.raises(MachineFault) as found:
        Machine(program).run()
    run = run_rtl(program, np.zeros(program.activation_bytes, np.uint8), watchdog=500)
    assert (run.fault, run.instruction) == (found.value.cause, found.value.instruction)
    assert not run.violations


@pytest.mark.parametrize("error, expected", [
    (BusError(write=False, window="PROGRAM", offset=48), (Fault.BUS_READ, 1)),
    (BusError(write=False, window="ACTIVATIONS", offset=8), (Fault.BUS_READ, 0)),
    (BusError(write=True, window="ACTIVATIONS", offset=12), (Fault.BUS_WRITE, 3)),
])
def test_errors_of_the_bus_are_faults(error: BusError, expected: tuple[Fault, int]) -> None:
    run = run_rtl(image(*small_program()), np.zeros(4096, np.uint8), errors=[error])
    assert fault(run)[:2] == expected


def test_abort_stops_the_core_where_it_is() -> None:
    run = run_rtl(random_image(PRESETS["test-4x4"], 1, 100), np.zeros(ACTIVATION_BYTES, np.uint8),
                  stop_after=2000)
    assert run.fault == Fault.ABORTED
    assert 0 < run.instruction < 100
    assert 2000 <= run.cycles < 2500
    assert not run.violations


def test_waveforms_can_be_written(tmp_path: Path) -> None:
    run = run_rtl(image(*small_program()), np.zeros(4096, np.uint8), trace=tmp_path / "a.vcd")
    assert run.fault == Fault.NONE
    assert (tmp_path / "a.vcd").read_text(errors="replace").count("$var") > 1000


def test_a_token_too_many_is_a_fault() -> None:
    one = load(signal="M", rows=1, columns=1)
    program = image(*[one] * (1 << TOKEN_BITS))
    run = run_rtl(program, np.zeros(4096, np.uint8))
    assert fault(run) == (Fault.TOKEN_OVERFLOW, (1 << TOKEN_BITS) - 1, 0)
    assert run.instructions == 1 << TOKEN_BITS
