"""The cycle model against the RTL: what single instructions and whole networks take."""

from pathlib import Path

import numpy as np
import pytest

from hw.spec.config import PRESETS, ArrayConfig
from hw.spec.isa import QUEUE_OF, Elementwise, Isa, LinearTarget, Opcode, Queue
from hw.spec.regs import Fault
from hw.spec.timing import simulate
from sim.tb.runner import run_rtl
from tests.builds import build_folder, verify_folder, zoo_model
from tests.sim.program_builder import drain, image, instruction, load, mac, store
from tests.sim.random_instructions import Fields, surface

pytestmark = pytest.mark.rtl

Program = list[tuple[Opcode, Fields]]

#: Words are a beat, several beats, and half a beat.
CONFIGS = {name: PRESETS[name] for name in ("test-4x4", "test-8x4", "test-4x8")}
_ACTIVATION_BYTES = 16384


def packed(prefix: str, base: int, rows: int, columns: int) -> Fields:
    """A surface without gaps."""
    return surface(prefix, base, rows * columns, columns, rows)


def load_block(config: ArrayConfig, rows: int, columns: int, planes: int = 1,
               signal: str = "", **changes: int) -> tuple[Opcode, Fields]:
    r = config.rows
    return load(signal=signal, **{
        "planes": planes, "rows": rows, "columns": columns, "word_step": r, "lane_count": r,
        "row_bytes": r * columns, "memory_row_stride": r * columns,
        "memory_plane_stride": r * columns * rows, **packed("dst", 0, rows, columns), **changes})


def store_block(config: ArrayConfig, rows: int, columns: int, planes: int = 1,
                wait: str = "") -> tuple[Opcode, Fields]:
    r = config.rows
    return store(wait, planes=planes, rows=rows, columns=columns, memory_row_stride=r * columns,
                 memory_plane_stride=r * columns * rows, **packed("src", 512, rows, columns))


def mac_block(rows: int, columns: int, planes: int = 1, kernel: int = 1, wait: str = "",
              signal: str = "", **changes: int) -> tuple[Opcode, Fields]:
    return mac(wait, signal, rows=rows, columns=columns, planes=planes, kernel_rows=kernel,
               kernel_columns=kernel, src_rows=rows, src_columns=columns,
               **packed("src", 0, rows, columns), **changes)


def drain_block(rows: int, columns: int, wait: str = "", signal: str = "",
                **changes: int) -> tuple[Opcode, Fields]:
    return drain(wait, signal, rows=rows, columns=columns,
                 **{**packed("dst", 512, rows, columns), **changes})


def pool_block(rows: int, columns: int, kernel: int, **changes: int) -> tuple[Opcode, Fields]:
    inside = (rows + kernel - 1, columns + kernel - 1)
    return instruction(Opcode.POOL, rows=rows, columns=columns, kernel_rows=kernel,
                       kernel_columns=kernel, src_rows=inside[0], src_columns=inside[1],
                       **packed("src", 0, *inside), **packed("dst", 512, rows, columns), **changes)


def elementwise_block(rows: int, columns: int, operation: Elementwise,
                      **changes: int) -> tuple[Opcode, Fields]:
    return instruction(Opcode.ELEMENTWISE, operation=operation, rows=rows, columns=columns,
                       **packed("a", 0, rows, columns), **packed("b", 256, rows, columns),
                       **packed("dst", 512, rows, columns), **changes)


def linear(target: LinearTarget, count: int) -> tuple[Opcode, Fields]:
    return instruction(Opcode.LOAD_LINEAR, target=target, count=count)


def measured(program: Program, config: ArrayConfig, latency: int) -> int:
    run = run_rtl(image(*program, config=config, activation_bytes=_ACTIVATION_BYTES,
                        constants=bytes(_ACTIVATION_BYTES)),
                  np.zeros(_ACTIVATION_BYTES, np.uint8), latency=latency)
    assert run.fault == Fault.NONE, (run.fault, run.instruction, run.address)
    return run.cycles


def predicted(program: Program, config: ArrayConfig, latency: int) -> int:
    return simulate(program, config, bytes_per_cycle=config.bus_bytes, latency=latency,
                    instruction_bytes=Isa(config).instruction_bytes).cycles


def behind_a_barrier(program: Program) -> Program:
    """Let all instructions be fetched before the first of them starts."""
    opcode, fields = program[0]
    queue = QUEUE_OF[opcode]
    if queue == Queue.MAC:
        return [mac_block(8, 8, planes=8), *program]
    barrier = mac_block(8, 8, planes=8, signal=queue.name[0])
    return [barrier, (opcode, fields | {"wait": 1 << Queue.MAC}), *program[1:]]


def exact_programs(config: ArrayConfig) -> dict[str, Program]:
    """What the model knows to the cycle: one unit at a time, and memory as fast as the bus."""
    return {
        **{f"LOAD {b}": [load_block(config, *b)] * 3
           for b in ((1, 1), (2, 2), (3, 5, 2), (4, 8, 2))},
        **{f"LOAD_LINEAR {target.name} {count}": [linear(target, count)] * 3
           for target, count in ((LinearTarget.WEIGHTS, 8), (LinearTarget.WEIGHTS, 64),
                                 (LinearTarget.PARAMETERS, 2), (LinearTarget.TABLE, 1),
                                 (LinearTarget.ADD_TABLES, 1))},
        **{f"MAC {b}": [mac_block(*b)] * 3
           for b in ((1, 1, 1, 1), (2, 2, 1, 1), (4, 4, 2, 3), (1, 1, 2, 3), (5, 7, 2, 1))},
        "MAC adds": [mac_block(4, 4, 2, accumulate=1)] * 3,
        "MAC adds elsewhere": [mac_block(4, 4, 2, accumulate=1, accumulator=16 * (i % 2))
                               for i in range(3)],
        **{f"DRAIN {b}": [drain_block(*b)] * 3 for b in ((1, 1), (4, 8))},
        "DRAIN pool": [drain_block(4, 8, pool=1, **packed("dst", 512, 2, 4))] * 3,
    }


def close_programs(config: ArrayConfig) -> dict[str, Program]:
    """What the model knows but for how pipelines fill, or how units share a memory."""
    return {
        **{f"STORE {b}": [store_block(config, *b)] * 4 for b in ((3, 5, 2), (4, 8, 2))},
        "LOAD packed": [load_block(config, 3, 16, lane_count=3, word_step=3, row_bytes=48,
                                   memory_row_stride=48)] * 4,
        "LOAD padded": [load_block(config, 3, 16, head=config.rows)] * 4,
        "LOAD and STORE": [load_block(config, 4, 16, 2), store_block(config, 4, 16, 2)] * 5,
        **{f"POOL {k}x{k}": [pool_block(8, 8, k)] * 3 for k in (1, 2, 3)},
        "POOL table": [pool_block(8, 8, 2, use_table=1)] * 3,
        "MAP": [elementwise_block(8, 16, Elementwise.MAP)] * 3,
        "MAP table": [elementwise_block(8, 16, Elementwise.MAP, use_table=1)] * 3,
        "ADD": [elementwise_block(8, 16, Elementwise.ADD)] * 3,
        "MUL": [elementwise_block(8, 16, Elementwise.MUL)] * 3,
        "chain": [load_block(config, 4, 8, signal="M"), mac_block(4, 8, wait="L", signal="P"),
                  drain_block(4, 8, wait="M", signal="S"), store_block(config, 4, 8, wait="P")],
    }


@pytest.mark.parametrize(("name", "latency"), [("test-4x4", 10), ("test-8x4", 40)])
def test_the_model_is_exact_where_units_do_not_meet(name: str, latency: int) -> None:
    config = CONFIGS[name]
    wrong = {}
    for title, block in exact_programs(config).items():
        program = behind_a_barrier(block)
        cycles = predicted(program, config, latency), measured(program, config, latency)
        if cycles[0] != cycles[1]:
            wrong[title] = cycles
    assert not wrong, "predicted, measured"


@pytest.mark.parametrize("name", CONFIGS)
def test_the_model_is_close_where_units_meet(name: str) -> None:
    config = CONFIGS[name]
    wrong = {}
    for title, program in close_programs(config).items():
        cycles = predicted(program, config, 20), measured(program, config, 20)
        if abs(cycles[0] / cycles[1] - 1) > 0.05:
            wrong[title] = cycles
    assert not wrong, "predicted, measured"


@pytest.mark.parametrize(("name", "bytes_per_cycle", "latency"), [
    ("test-4x4", 2, 10), ("test-8x4", 4, 40), ("test-4x8", 8, 20)])
def test_the_model_is_within_two_percent_of_a_network(tmp_path: Path, name: str, latency: int,
                                                      bytes_per_cycle: int) -> None:
    build = build_folder(zoo_model("yolov4-tiny-eighth-64"), tmp_path, name)
    result = verify_folder(build, engine="rtl", bytes_per_cycle=bytes_per_cycle, latency=latency)
    assert result.rtl is not None and result.passed
    assert abs(result.rtl.error) < 0.02
