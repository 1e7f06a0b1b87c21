"""Faults of the whole core: what stops it, what it says then, and that it goes on.

After the faults the same core runs a good program, which must leave what the simulator leaves.
docs/rtl.md says which test is for what.
"""

import random
from dataclasses import replace

import numpy as np
import pytest

from hw.spec.config import PRESETS, ArrayConfig
from hw.spec.image import Image
from hw.spec.isa import TOKEN_BITS, Isa, LinearTarget, Opcode
from hw.spec.regs import Fault
from sim.model import Machine, MachineFault
from sim.tb.axi_bench import run_episodes
from sim.tb.runner import run_rtl
from tests.rtl.good_program import (
    ACTIVATION_BYTES,
    BUS,
    CONSTANTS_BYTES,
    DONE,
    GOOD,
    LAST,
    SIZE,
    run_between,
    stopped,
)
from tests.rtl.placed import Placed, fault
from tests.sim.faulty_instructions import ALIGNMENT, ILLEGAL, RANGE, WINDOWS
from tests.sim.program_builder import CONFIG, drain, image, instruction, load, mac
from tests.sim.random_instructions import OPCODES, random_instruction

pytestmark = pytest.mark.rtl


# --- Instructions ---------------------------------------------------------------------------------

def with_bytes(program: Image, index: int, code: bytes) -> Image:
    whole = bytearray(program.program)
    whole[index * SIZE:(index + 1) * SIZE] = code
    return Image(config=program.config, program=bytes(whole), constants=program.constants,
                 activation_bytes=program.activation_bytes)


FAULTY = [
    *(image(load(), instruction(opcode, **changes)) for table in (ILLEGAL, RANGE)
      for opcode, changes, *_ in table),
    *(image(load(), instruction(opcode, **{name: 10})) for opcode, name in ALIGNMENT),
    *(image(instruction(opcode, **changes), constants=bytes(64), activation_bytes=64)
      for opcode, changes, *_ in WINDOWS),
    # bytes before the window's end, and one more
    image(load(address=48, rows=1, head=-9, row_bytes=17), activation_bytes=64),
    image(instruction(Opcode.LOAD_LINEAR, target=LinearTarget.PARAMETERS, count=1),
          constants=bytes(16) + bytes([255] * 48)),
    *(with_bytes(image(load(), load()), 1, bytes([code]) + bytes(SIZE - 1)) for code in (0, 9)),
    with_bytes(image(load(), load()), 2, b"\1" + bytes(SIZE - 2) + b"\x80"),
    image(load(), end=False), image(end=False),
    *(image(load(), mac(**{name: "M"})) for name in ("wait", "signal")),
    image(load(), drain("S"), mac()), image(load(signal="M"), mac("LS"), load()),
]


@pytest.mark.parametrize("seed", [None, 1])
def test_faults_of_instructions_are_those_of_the_simulator(seed: int | None) -> None:
    programs = [Placed(program) for program in FAULTY]
    outcomes = run_between([p.episode(registers={"WATCHDOG": 1000}) for p in programs], seed=seed)
    for placed, outcome in zip(programs, outcomes):
        machine = Machine(placed.image)
        with pytest.raises(MachineFault) as found:
            machine.run()
        expected = found.value
        assert stopped(outcome, placed) == (
            expected.cause, expected.instruction, expected.address), expected


#: Of these a change can leave more than one memory, and then any of them may be reported.
SHARED = ("planes", "rows", "columns", "kernel_rows", "kernel_columns")


def random_faults(config: ArrayConfig, seed: int, count: int) -> list[tuple[Placed, MachineFault]]:
    """Programs of one instruction with one wrong field, and what the simulator says."""
    rng = random.Random(seed)
    result = []
    while len(result) < count:
        opcode = rng.choice(OPCODES)
        fields = random_instruction(rng, config, opcode, 4096, 4096)
        field = rng.choice([f for f in Isa(config).formats[opcode].fields
                            if f.name not in ("opcode", "wait", "signal", *SHARED)])
        value = rng.choice((rng.randint(field.lowest, field.highest), field.lowest, field.highest,
                            fields[field.name] + rng.randint(-8, 8)))
        if not field.lowest <= value <= field.highest:
            continue
        program = image((opcode, fields | {field.name: value}), config=config)
        try:
            Machine(program).run()
        except MachineFault as found:
            result.append((Placed(program), found))
    return result


@pytest.mark.parametrize("target", ["test-4x4", "test-4x8"])
def test_faults_of_random_instructions_are_those_of_the_simulator(target: str) -> None:
    config = PRESETS[target]
    cases = random_faults(config, 1, 150)
    for (placed, found), outcome in zip(cases, run_episodes(
            config, [placed.episode() for placed, _ in cases])):
        assert stopped(outcome, placed) == (
            found.cause, found.instruction, found.address), found


def test_what_is_read_beyond_end_does_not_matter() -> None:
    program = GOOD.image.program + bytes(range(1, 256)) * 8
    placed = Placed(replace(GOOD.image, program=program))
    behind = GOOD.bases["PROGRAM"] + len(GOOD.image.program)
    errors = frozenset((False, address) for address in range(behind, behind + 4096, BUS))
    outcome, = run_episodes(CONFIG, [placed.episode(errors=errors)], areas=placed.areas)
    assert any((False, address) in errors for address in outcome.reads)
    assert fault(outcome) == (Fault.NONE, 0, 0) and outcome.registers["STATUS"] == DONE
    assert outcome.registers["INSTRUCTIONS"] == GOOD.image.instructions


def test_a_token_too_many_is_a_fault() -> None:
    program = image(*[load(signal="M", rows=1, columns=1)] * (1 << TOKEN_BITS))
    run = run_rtl(program, np.zeros(4096, np.uint8))
    assert not run.violations
    assert (run.fault, run.instruction, run.address) == (
        Fault.TOKEN_OVERFLOW, (1 << TOKEN_BITS) - 1, 0)
    assert run.instructions == 1 << TOKEN_BITS


# --- Windows --------------------------------------------------------------------------------------

def test_a_byte_beyond_a_window_is_a_fault() -> None:
    """The good program needs all of every window: each is made a byte too small."""
    at_end = {"PROGRAM": (Fault.PROGRAM_WINDOW, LAST, LAST * SIZE),
              "CONSTANTS": (Fault.CONSTANTS_WINDOW, 1, CONSTANTS_BYTES - 1),
              "ACTIVATIONS": (Fault.ACTIVATIONS_WINDOW, LAST - 1, ACTIVATION_BYTES - 1)}
    sizes = {name: len(content) for name, content in GOOD.contents.items()}
    outcomes = run_between([GOOD.episode(registers={f"{name}_BYTES": sizes[name] - 1})
                            for name in at_end])
    for outcome, expected in zip(outcomes, at_end.values()):
        assert stopped(outcome) == expected


def test_nothing_is_read_before_or_behind_a_window() -> None:
    """Rows that begin with fill, and rows of which only the last byte is inside."""
    program = image(load(address=0, head=5, fill=9), load(address=60, head=-3, rows=1, row_bytes=4),
                    constants=bytes(64), activation_bytes=64)
    placed = Placed(program)
    outcome, = run_episodes(CONFIG, [placed.episode()], areas=placed.areas)
    placed.check_complete(outcome, placed.expected())


@pytest.mark.parametrize("top", GOOD.contents)
def test_windows_may_be_at_both_ends_of_the_address_space(top: str) -> None:
    bases, low = {}, 0
    for name, content in GOOD.contents.items():
        size = -(-len(content) // BUS) * BUS
        bases[name] = (1 << 32) - size if name == top else low
        low += 0 if name == top else size
    placed = Placed(GOOD.image, bases=bases)
    outcome, = run_episodes(CONFIG, [placed.episode()], areas=placed.areas)
    placed.check_complete(outcome, placed.expected())


def test_a_window_that_is_not_aligned_refuses_the_start() -> None:
    bases = [(name, base + 2) for name, base in GOOD.bases.items()]
    outcomes = run_between([GOOD.episode(registers={f"{name}_BASE": base})
                            for name, base in bases])
    for outcome, (_, base) in zip(outcomes, bases):
        assert stopped(outcome) == (Fault.ALIGNMENT, 0, base)
        assert not outcome.reads and outcome.registers["CYCLES"] == 0
