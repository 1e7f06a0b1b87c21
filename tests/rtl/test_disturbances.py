"""Bad memory and restless drivers: what the whole core makes of them, and that it goes on.

As in tests/rtl/test_faults.py, a good program runs on the same core afterwards.
"""

import random
from dataclasses import replace

import pytest

from hw.spec.isa import Opcode
from hw.spec.regs import REGISTERS, Access, Fault
from sim.tb.axi_bench import Episode, Silence, run_episodes
from tests.rtl.good_program import (
    ACTIVATION_BYTES,
    BUS,
    BUSY,
    DONE,
    EXPECTED,
    FAULT,
    GOOD,
    LAST,
    RESULTS,
    SIZE,
    TILE_BYTES,
    WEIGHT_BYTES,
    run_between,
    stopped,
)
from tests.rtl.placed import Placed, fault
from tests.sim.program_builder import CONFIG, image, instruction, load

pytestmark = pytest.mark.rtl

START, ABORT, CLEAR = 1, 2, 4
SLVERR, DECERR = 2, 3


# --- The bus --------------------------------------------------------------------------------------

def reader(address: int) -> int:
    """Which instruction of the good program reads the beat at `address`."""
    offsets = {name: address - base for name, base in GOOD.bases.items()
               if 0 <= address - base < len(GOOD.contents[name])}
    (name, offset), = offsets.items()
    if name == "PROGRAM":
        return offset // SIZE
    if name == "CONSTANTS":
        return int(offset >= WEIGHT_BYTES)
    return 2 + 4 * (offset // TILE_BYTES)


@pytest.mark.parametrize("response, seed", [(SLVERR, None), (DECERR, 2)])
def test_an_error_on_any_beat_is_a_fault_of_its_instruction(response: int,
                                                            seed: int | None) -> None:
    first, = run_episodes(CONFIG, [GOOD.episode()], areas=GOOD.areas)
    reads = sorted(first.reads)
    assert len(reads) == sum(map(len, GOOD.contents.values())) // BUS - RESULTS // BUS
    beats = [(False, a) for a in reads] + [(True, a) for a in sorted(first.writes)[::BUS]]
    # all of them, half with each response
    beats = beats[response % 2::2]
    outcomes = run_between([GOOD.episode(errors=frozenset([beat]), response=response)
                            for beat in beats], seed=seed)
    for (write, address), outcome in zip(beats, outcomes):
        if write:
            offset = address - GOOD.bases["ACTIVATIONS"] - RESULTS
            expected = (Fault.BUS_WRITE, 5 + 4 * (offset // TILE_BYTES), 0)
        else:
            at = reader(address)
            fetched = address < GOOD.bases["CONSTANTS"]
            expected = (Fault.BUS_READ, at, GOOD.bases["PROGRAM"] + at * SIZE if fetched else 0)
        assert stopped(outcome) == expected, (write, hex(address))


@pytest.mark.parametrize("window, offset, expected", [
    ("PROGRAM", 0, 0), ("CONSTANTS", BUS, 0), ("CONSTANTS", WEIGHT_BYTES, 1),
    ("ACTIVATIONS", BUS, 2), ("ACTIVATIONS", 3 * TILE_BYTES, 14),
    ("ACTIVATIONS", RESULTS, 5), ("ACTIVATIONS", ACTIVATION_BYTES - BUS, LAST - 1)])
def test_memory_that_never_answers_strikes_the_watchdog(window: str, offset: int,
                                                        expected: int) -> None:
    """For ever: only reset helps. For a while: the core stops when the last answer is there."""
    quiet, limit = 400, 2000
    enable = {"WATCHDOG": quiet, "INTERRUPT_ENABLE": 2}
    ever = Silence(write=offset >= RESULTS, address=GOOD.bases[window] + offset)
    a_while = replace(ever, cycles=2 * limit)
    fell_silent, _, after_reset, paused, woke_up, after, patient = run_episodes(CONFIG, [
        GOOD.episode(registers=enable, limit_cycles=limit, silence=ever),
        Episode(reset_after=0), GOOD.episode(),
        GOOD.episode(registers=enable, limit_cycles=limit, silence=a_while),
        Episode(), GOOD.episode(),  # start is ignored, the end is waited for
        GOOD.episode(registers={"WATCHDOG": 0}, silence=a_while)], areas=GOOD.areas)
    for outcome in (fell_silent, paused):
        GOOD.check_accesses(outcome)
        assert outcome.registers["STATUS"] == BUSY | FAULT
        assert outcome.interrupts == (False, True)
        assert fault(outcome) == (Fault.WATCHDOG, expected, 0)
    assert stopped(woke_up) == (Fault.WATCHDOG, expected, 0)
    for outcome in (after_reset, after, patient):
        GOOD.check_complete(outcome, EXPECTED)


def test_an_answer_that_nobody_needs_can_be_waited_for_in_vain() -> None:
    """Memory is silent beyond END: the watchdog and abort end that too."""
    placed = Placed(image(instruction(Opcode.END), *[load()] * 8))
    silence = Silence(write=False, address=placed.bases["PROGRAM"] + 2 * SIZE, cycles=1000)
    expired, aborted = run_between([
        placed.episode(silence=silence, registers={"WATCHDOG": 300}),
        placed.episode(silence=silence, commands=((200, "CONTROL", ABORT),))])
    assert stopped(expired, placed) == (Fault.WATCHDOG, 0, 0)
    assert stopped(aborted, placed) == (Fault.ABORTED, 0, 0)


# --- The driver -----------------------------------------------------------------------------------

def cycles_of_good_program() -> int:
    outcome, = run_episodes(CONFIG, [GOOD.episode()])
    return outcome.registers["CYCLES"]


@pytest.mark.parametrize("seed", [None, 3])
def test_abort_at_any_time_leaves_a_core_that_starts_again(seed: int | None) -> None:
    rng = random.Random(3)
    end = cycles_of_good_program()
    times = [0, 1, 2, *(rng.randrange(end) for _ in range(20)), 100 * end]
    outcomes = run_between([GOOD.episode(commands=((time, "CONTROL", ABORT),))
                            for time in times], seed=seed)
    GOOD.check_complete(outcomes.pop(), EXPECTED)  # too late: nothing happens
    for outcome in outcomes:
        cause, at, address = stopped(outcome)
        assert (cause, address) == (Fault.ABORTED, 0)
        assert at <= LAST


@pytest.mark.parametrize("seed", [None, 4])
def test_reset_at_any_time_leaves_a_core_that_starts_again(seed: int | None) -> None:
    rng = random.Random(4)
    end = cycles_of_good_program()
    outcomes = run_between([GOOD.episode(reset_after=rng.randrange(end)) for _ in range(20)],
                           seed=seed)
    constant = ("ID", "VERSION", "CONFIG_WORD")
    for outcome in outcomes:
        GOOD.check_accesses(outcome)
        assert {name for name, value in outcome.registers.items() if value} <= set(constant)


def test_what_the_driver_writes_while_the_core_is_busy_does_not_matter() -> None:
    """But for abort, CONFIG and INTERRUPT_ENABLE."""
    kept = [name for name, register in REGISTERS.items() if register.access == Access.READ_WRITE
            and name not in ("CONFIG", "INTERRUPT_ENABLE")]
    assert len(kept) == 7
    outcome, = run_episodes(CONFIG, [GOOD.episode(commands=(
        (10, "CONTROL", START), (40, "CONTROL", CLEAR), (60, "CONTROL", START | CLEAR),
        *((80, name, 0x1238) for name in kept), (250, "CONTROL", CLEAR),
        (300, "CONTROL", START)))], areas=GOOD.areas)
    GOOD.check_complete(outcome, EXPECTED)
    registers = GOOD.episode().registers
    assert {name: outcome.registers[name] for name in kept} == {
        name: registers[name] for name in kept}


def test_interrupts_are_levels_that_clear_and_start_take_away() -> None:
    bad = Placed(image(load(rows=0)))
    outcomes = run_episodes(CONFIG, [
        placed.episode(registers={"INTERRUPT_ENABLE": enable}, commands=commands)
        for placed in (GOOD, bad) for enable in range(4)
        for commands in ((), ((50_000, "CONTROL", CLEAR),))])
    for number, outcome in enumerate(outcomes):
        faulty, enable, cleared = number // 8, number // 2 % 4, number % 2
        assert outcome.registers["STATUS"] == (0 if cleared else FAULT if faulty else DONE)
        assert outcome.interrupts[1] == (not cleared and bool(enable & (2 if faulty else 1)))
        if cleared:
            assert fault(outcome) == (Fault.NONE, 0, 0) and outcome.registers["CYCLES"] == 0


def test_abort_and_clear_do_nothing_to_a_core_that_is_idle() -> None:
    first, = run_episodes(CONFIG, [GOOD.episode(commands=((20_000, "CONTROL", ABORT),))],
                          areas=GOOD.areas)
    GOOD.check_complete(first, EXPECTED)
