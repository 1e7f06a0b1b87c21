"""Every instruction, random and small, against a slow machine in plain Python."""

from random import Random

import numpy as np
import pytest

from hw.spec.config import PRESETS, ArrayConfig
from hw.spec.image import Image
from hw.spec.isa import Isa, LinearTarget, Opcode
from sim.model import Machine
from tests.sim.random_instructions import OPCODES, Fields, random_instruction
from tests.sim.slow_machine import SlowMachine

CONFIGS = {name: PRESETS[name] for name in ("test-4x4", "test-4x8", "test-8x4")} | {
    "2x2": ArrayConfig(rows=2, columns=2, scratchpad_words=512, weight_words=64,
                       accumulator_words=96, parameter_entries=2, table_slots=3, post_lanes=1,
                       bus_bytes=16)}
PER_OPCODE = 60
WINDOW_BYTES = 6000


def _machines(config: ArrayConfig, instructions: list[tuple[Opcode, Fields]],
              seed: int) -> tuple[Machine, SlowMachine]:
    """A machine and a slow one with the same noise in all memories."""
    isa, rng = Isa(config), np.random.default_rng(seed)
    program = b"".join(isa.encode(o, f) for o, f in instructions) + isa.encode(Opcode.END, {})
    constants = rng.bytes(WINDOW_BYTES)
    machine = Machine(Image(config=config, program=program, constants=constants,
                            activation_bytes=WINDOW_BYTES))
    machine.state.scramble(rng)
    machine.activations[:] = rng.integers(0, 256, WINDOW_BYTES)
    slow = SlowMachine(config, constants, machine.activations.tobytes())
    state = machine.state
    slow.scratchpad = state.scratchpad[:-1].tolist()
    slow.weights, slow.accumulators = state.weights.tolist(), state.accumulators.tolist()
    slow.tables, slow.add_tables = state.tables.tolist(), state.add_tables.tolist()
    slow.parameters = [list(zip(*entry)) for entry in zip(
        state.bias.tolist(), state.multiplier.tolist(), state.shift.tolist())]
    return machine, slow


def _assert_equal(machine: Machine, slow: SlowMachine, context: object) -> None:
    state = machine.state
    for name, fast, expected in (
            ("scratchpad", state.scratchpad[:-1], slow.scratchpad),
            ("weights", state.weights, slow.weights),
            ("accumulators", state.accumulators, slow.accumulators),
            ("tables", state.tables, slow.tables),
            ("add tables", state.add_tables, slow.add_tables),
            ("activations", machine.activations, list(slow.activations))):
        assert np.array_equal(fast, expected), f"{name} differ after {context}"


@pytest.mark.parametrize("opcode", OPCODES, ids=lambda o: o.name)
@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
def test_each_instruction_equals_the_slow_machine(config: ArrayConfig, opcode: Opcode) -> None:
    rng = Random(f"{config.rows}x{config.columns}/{opcode.name}")
    instructions = [(opcode, random_instruction(rng, config, opcode, WINDOW_BYTES, WINDOW_BYTES))
                    for _ in range(PER_OPCODE)]
    machine, slow = _machines(config, instructions, seed=rng.getrandbits(32))

    def compare(index: int) -> None:
        slow.execute(*instructions[index])
        _assert_equal(machine, slow, instructions[index])

    machine.run(progress=compare)


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
def test_sequences_of_instructions_equal_the_slow_machine(config: ArrayConfig) -> None:
    """Few tiles and many repetitions, so that converted copies of words are reused or dropped."""
    rng = Random(17)
    pool = [(o, random_instruction(rng, config, o, WINDOW_BYTES, WINDOW_BYTES))
            for o in OPCODES for _ in range(3)]
    for opcode, fields in pool:  # some the other way round, so that results become inputs
        if opcode != Opcode.STORE and rng.randrange(2):
            for name in fields:
                if name.endswith("_base"):
                    fields[name] ^= config.scratchpad_words // 2
    instructions = [rng.choice(pool) for _ in range(150)]
    machine, slow = _machines(config, instructions, seed=23)
    machine.run()
    for opcode, fields in instructions:
        slow.execute(opcode, fields)
    _assert_equal(machine, slow, "all instructions")


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
def test_parameters_are_unpacked(config: ArrayConfig) -> None:
    rng = np.random.default_rng(3)
    count = config.parameter_entries
    bias = rng.integers(-1 << 31, 1 << 31, (count, config.columns))
    multiplier = rng.integers(0, 1 << 24, (count, config.columns))
    shift = rng.integers(0, 1 << 5, (count, config.columns))
    packed = np.stack([bias & 0xFFFF_FFFF, multiplier | shift << 24], axis=-1).astype("<u4")
    isa = Isa(config)
    program = isa.encode(Opcode.LOAD_LINEAR, {
        "wait": 0, "signal": 0, "target": LinearTarget.PARAMETERS, "address": 16, "dst": 0,
        "count": count}) + isa.encode(Opcode.END, {})
    machine = Machine(Image(config=config, program=program,
                            constants=bytes(16) + packed.tobytes(), activation_bytes=0))
    machine.run()
    assert np.array_equal(machine.state.bias, bias)
    assert np.array_equal(machine.state.multiplier, multiplier)
    assert np.array_equal(machine.state.shift, shift)


def test_accumulators_wrap_at_32_bits() -> None:
    config = PRESETS["test-4x4"]
    fields = random_instruction(Random(1), config, Opcode.MAC, WINDOW_BYTES, WINDOW_BYTES)
    fields |= {"accumulate": 1, "pad": 127}
    machine, slow = _machines(config, [(Opcode.MAC, fields)] * 3, seed=5)
    top = (1 << 31) - 1
    machine.state.accumulators[:] = top
    machine.state.weights[:] = abs(machine.state.weights.astype(int)).clip(0, 127)
    machine.state.scratchpad[:] = 127
    slow.accumulators = machine.state.accumulators.tolist()
    slow.weights = machine.state.weights.tolist()
    slow.scratchpad = machine.state.scratchpad[:-1].tolist()
    machine.run()
    for _ in range(3):
        slow.execute(Opcode.MAC, fields)
    assert machine.state.accumulators.min() < 0
    _assert_equal(machine, slow, fields)
