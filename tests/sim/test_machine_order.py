"""Queues, tokens, interleavings and races."""

from dataclasses import replace

import numpy as np
import pytest

from hw.spec.config import PRESETS
from hw.spec.isa import Opcode, Queue
from sim.machine.program import Instruction
from sim.machine.schedule import shuffled
from sim.machine.state import Memory
from sim.model import Machine, RaceError
from tests.sim.program_builder import CONFIG, drain, image, instruction, load, mac, store
from tests.sim.random_instructions import Fields
from tests.sim.synthetic import Conv, synthetic_image, synthetic_program

Step = tuple[Opcode, Fields]

#: Two rounds of load, multiply, drain, store with every token that they need.
ORDERED = (
    load(signal="M"), mac("L", "LP"), drain("M", "MS"), store("P", "LP"),
    load("M", "M", address=16), mac("LP", "P"), drain("MS", "S"), store("P", address=64))

#: Every wait of ORDERED, with the words that race without it.
WAITS = [
    (1, "L", 0, 1, Memory.SCRATCHPAD, 0), (2, "M", 1, 2, Memory.ACCUMULATORS, 0),
    (3, "P", 2, 3, Memory.SCRATCHPAD, 16), (4, "M", 1, 4, Memory.SCRATCHPAD, 0),
    (5, "L", 4, 5, Memory.SCRATCHPAD, 0), (5, "P", 2, 5, Memory.ACCUMULATORS, 0),
    (6, "M", 5, 6, Memory.ACCUMULATORS, 0), (6, "S", 3, 6, Memory.SCRATCHPAD, 16),
    (7, "P", 6, 7, Memory.SCRATCHPAD, 16)]


def without_token(program: tuple[Step, ...], at: int, source: str) -> tuple[Step, ...]:
    """Drop one wait, and the signal that the tokens of this counter then have too many."""
    queue = next(q for q in Queue if q.name[0] == source)
    opcode, fields = program[at]
    changed = list(program)
    changed[at] = (opcode, fields | {"wait": fields["wait"] & ~(1 << queue)})
    return tuple(changed)


def small_config_image() -> Machine:
    config = replace(PRESETS["test-4x4"], accumulator_words=32, queue_depth=3)
    return Machine(synthetic_image(config, (Conv(12, 8, 8, 3), Conv(12, 8, 16, 1),
                                            Conv(12, 16, 8, 3, 2))))


def test_ordered_programs_have_no_races() -> None:
    assert Machine(image(*ORDERED)).races() == []
    Machine(image(*ORDERED), check_races=True).run()


@pytest.mark.parametrize(("at", "source", "first", "second", "memory", "word"), WAITS)
def test_a_missing_token_is_a_race(at: int, source: str, first: int, second: int, memory: Memory,
                                   word: int) -> None:
    races = Machine(image(*without_token(ORDERED, at, source))).races()
    assert (first, second, memory, word) in [
        (r.first.index, r.second.index, r.memory, r.word) for r in races]


def test_races_name_both_instructions() -> None:
    machine = Machine(image(load(), mac()), check_races=True)
    with pytest.raises(RaceError) as caught:
        machine.run()
    assert str(caught.value) == (
        "the program must order its queues by tokens; it has races:\n"
        "  instruction 0 (LOAD in LOAD) writes and instruction 1 (MAC in MAC) reads word 0 of "
        "SCRATCHPAD, and no token orders them")


def test_races_in_the_activations_window_are_found() -> None:
    for address, raced in ((8, []), (12, [4]), (20, [5]), (24, [])):
        machine = Machine(image(store(rows=1, address=16), load(rows=1, address=address)))
        assert [r.word for r in machine.races()] == raced, address


def test_reads_of_two_queues_do_not_race() -> None:
    assert Machine(image(mac(), store(src_base=0))).races() == []


def test_a_read_may_not_be_overtaken_by_a_write() -> None:
    races = Machine(image(store(), drain())).races()
    assert [(r.first.index, r.first_writes, r.second.index, r.second_writes)
            for r in races] == [(0, False, 1, True)]


def test_tokens_pass_order_on() -> None:
    """LOAD -> MAC -> POST orders LOAD before POST; a later token orders earlier instructions."""
    chain = (load(), load(dst_base=4, signal="M"), mac("L", "P", src_base=32),
             instruction(Opcode.ELEMENTWISE, wait="M", a_base=0))
    assert Machine(image(*chain)).races() == []
    backwards = (load(signal="M"), load(dst_base=4), mac("L", "P", src_base=32),
                 instruction(Opcode.ELEMENTWISE, wait="M", a_base=4))
    assert [r.word for r in Machine(image(*backwards)).races()] == [4]


def test_race_reports_end_at_ten() -> None:
    with pytest.raises(RaceError, match=r"has races \(the first 10\):"):
        Machine(image(*[load(), mac()] * 20), check_races=True).run()


def test_every_interleaving_of_a_network_gives_the_same_result() -> None:
    machine = small_config_image()
    assert machine.races() == []
    noise = np.random.default_rng(3).integers(0, 256, len(machine.activations), np.uint8)
    machine.activations[:] = noise
    machine.run()
    assert not np.array_equal(machine.activations, noise)
    for seed in range(8):
        other = small_config_image()
        other.activations[:] = noise
        other.run(order=seed)
        assert np.array_equal(other.activations, machine.activations), f"seed {seed}"


def test_some_interleaving_shows_a_missing_token() -> None:
    """Without the token that keeps the second LOAD behind the first MAC, results differ."""
    program = image(*without_token(ORDERED, 4, "M"), constants=bytes(range(256)))
    results = set()
    for seed in range(20):
        machine = Machine(program)
        machine.activations[:64] = np.arange(64)
        machine.run(order=seed)
        results.add(machine.state.accumulators[:4].tobytes())
    assert len(results) > 1


def test_interleavings_keep_queue_order_depth_and_tokens() -> None:
    program = synthetic_program(CONFIG, (Conv(8, 8, 16, 3),))[:-1]
    queues = {o: q for o, q in zip(Opcode, (0, 0, 1, 2, 2, 2, 3))}
    steps = [Instruction(i, o, Queue(queues[o]), f["wait"], f["signal"], f)
             for i, (o, f) in enumerate(program)]
    end = Instruction(len(steps), Opcode.END, None, 0, 0, {})
    orders = set()
    for seed in range(10):
        order = list(shuffled([*steps, end], queue_depth=4, seed=seed))
        assert sorted(s.index for s in order) == list(range(len(steps)))
        done: set[int] = set()
        for step in order:
            own = [s.index for s in steps if s.queue == step.queue]
            assert own[sum(i in done for i in own)] == step.index
            undone = min(i for i in range(len(steps)) if i not in done)
            ahead = [s for s in steps[undone:step.index] if s.queue == steps[undone].queue]
            assert len(ahead) <= 4 or steps[undone].queue == step.queue
            done.add(step.index)
        orders.add(tuple(s.index for s in order))
    assert len(orders) == 10


def test_runs_can_be_repeated() -> None:
    machine = Machine(image(*ORDERED, constants=bytes(range(256)) * 2))
    machine.activations[:64] = np.arange(64)
    machine.run()
    first = machine.activations.copy()
    machine.run()
    assert np.array_equal(machine.activations, first)


def test_progress_reports_every_instruction() -> None:
    seen: list[int] = []
    Machine(image(*ORDERED)).run(progress=seen.append)
    assert seen == list(range(len(ORDERED)))
