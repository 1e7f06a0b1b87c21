"""The reference engine: every instruction and every fault against the simulator."""

import subprocess
from functools import lru_cache
from pathlib import Path
from random import Random

import numpy as np
import pytest

from hw.spec.config import PRESETS, ArrayConfig
from hw.spec.image import Image
from hw.spec.isa import TOKEN_BITS, EncodingError, Isa, LinearTarget, Opcode
from hw.spec.numerics import FRACTION_BITS, MULTIPLIER_BITS, requantize
from hw.spec.regs import Fault
from sim.model import Machine, MachineFault
from tests.builds import compile_zoo
from tests.firmware.compilers import FIRMWARE, SANITIZED, compile_c
from tests.firmware.engine_states import compile_check, memory_of, run, write_contract
from tests.sim.faulty_instructions import ALIGNMENT, ILLEGAL, RANGE, WINDOWS
from tests.sim.program_builder import CONFIG, drain, image, instruction, load, mac, store
from tests.sim.random_instructions import OPCODES, random_instruction

CONFIGS = {name: PRESETS[name] for name in ("test-4x4", "test-4x8", "test-8x4")} | {
    "2x2": ArrayConfig(rows=2, columns=2, scratchpad_words=512, weight_words=64,
                       accumulator_words=96, parameter_entries=2, table_slots=3, post_lanes=1,
                       bus_bytes=16)}
WINDOW_BYTES = 6000
LOAD, LINEAR, MAC, DRAIN, POOL, ELEMENTWISE, STORE = (o for o in Opcode if o != Opcode.END)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("engine")


@lru_cache(maxsize=None)
def _compiled(config: ArrayConfig, folder: Path) -> Path:
    # the sanitizers take seconds to compile; one array shows what they can see
    flags = SANITIZED if config == CONFIG else ("-O1",)
    return compile_check(config, folder / f"{hash(config)}", flags)


def check(folder: Path, config: ArrayConfig, images: list[Image], seed: int = 0) -> list[Fault]:
    """Run all on both, from noise; compare faults and all memories."""
    rng, cases, machines, faults = np.random.default_rng(seed), [], [], list[MachineFault | None]()
    for one in images:
        machine = Machine(one)
        machine.state.scramble(rng)
        machine.activations[:] = rng.integers(0, 256, len(machine.activations))
        cases.append((one, machine.activations.copy(), memory_of(machine.state)))
        try:
            machine.run()
            faults.append(None)
        except MachineFault as fault:
            faults.append(fault)
        machines.append(machine)
    for one, machine, fault, outcome in zip(images, machines, faults,
                                            run(_compiled(config, folder), config, cases)):
        expected = (0, 0, 0) if fault is None else (fault.cause, fault.instruction, fault.address)
        found = (outcome.fault, outcome.instruction, outcome.address)
        assert found == expected, (fault, described(one))
        assert np.array_equal(outcome.activations, machine.activations), described(one)
        assert outcome.memory == memory_of(machine.state), described(one)
    return [Fault.NONE if fault is None else fault.cause for fault in faults]


def described(one: Image) -> list[object]:
    """The instructions, those that are some."""
    isa, found = Isa(one.config), list[object]()
    size = isa.instruction_bytes
    for at in range(0, len(one.program), size):
        try:
            found.append(isa.decode(one.program[at:at + size]))
        except EncodingError as error:
            found.append(str(error))
    return found


@pytest.mark.parametrize("opcode", OPCODES, ids=lambda o: o.name)
@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
def test_each_instruction_equals_the_simulator(folder: Path, config: ArrayConfig,
                                               opcode: Opcode) -> None:
    rng, isa = Random(f"{config.rows}x{config.columns}/{opcode.name}"), Isa(config)
    constants = np.random.default_rng(1).bytes(WINDOW_BYTES)
    images = [Image(config=config, constants=constants, activation_bytes=WINDOW_BYTES,
                    program=isa.encode(opcode, random_instruction(
                        rng, config, opcode, WINDOW_BYTES, WINDOW_BYTES))
                    + isa.encode(Opcode.END, {})) for _ in range(25)]
    assert set(check(folder, config, images)) == {Fault.NONE}


def test_parameters_are_unpacked(folder: Path) -> None:
    rng = np.random.default_rng(2)
    packed = rng.integers(0, 1 << 29, (8 * 4, 2)).astype("<u4")
    check(folder, CONFIG, [image(instruction(LINEAR, target=LinearTarget.PARAMETERS, count=8),
                                 constants=packed.tobytes())])


def beside_ties(rng: np.random.Generator) -> list[tuple[int, int, int]]:
    """Accumulators, multipliers and shifts whose products are at and next to a tie's ends."""
    found = []
    for k in range(256):
        h = 1 << (k.bit_length() + 1)
        for distance in (-h - 2, -h, -h + 2, 0, h - 2, h, h + 2):
            f = (k << FRACTION_BITS) + (((1 << FRACTION_BITS) + distance) >> 1)
            shift = int(rng.integers(2, 8))
            product = f << shift - 2
            for acc in range(1, 1 << 11):
                if product % acc == 0 and product // acc < 1 << MULTIPLIER_BITS:
                    found.append((acc, product // acc, shift))
                    break
    return found


@pytest.mark.parametrize("flags", [(), ("-DENGINE_ADDS_PRODUCTS",)],
                         ids=["multiplier", "additions"])
def test_requantization_is_that_of_the_contract(flags: tuple[str, ...], tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    ties = np.array(beside_ties(rng))
    assert len(ties) > 500
    count = 40_000
    noise = np.stack([
        rng.integers(-1 << 31, 1 << 31, count) >> rng.integers(0, 31, count),
        np.where(rng.random(count) < 0.3, rng.choice([0, 1, 1 << 23, (1 << 24) - 1], count),
                 rng.integers(0, 1 << 24, count)), rng.integers(0, 32, count)], 1)
    values = np.concatenate([ties, ties * [-1, 1, 1], noise])
    rest = np.stack([rng.integers(-128, 128, len(values)), rng.integers(0, 2, len(values))], 1)
    cases = np.concatenate([values, rest], 1)
    write_contract(CONFIG, tmp_path)
    source = tmp_path / "requantize.c"
    source.write_text("""
        #include <stdio.h>
        #include "requantize.h"
        int main(void)
        {
            int32_t c[5];
            while (fread(c, sizeof c, 1, stdin) == 1)
                putchar(engine_requantize(c[0], (uint32_t)c[1], (uint32_t)c[2], c[3],
                                          (uint32_t)c[4]) & 255);
            return 0;
        }""")
    program = compile_c([source], tmp_path / "requantize", flags=(*SANITIZED, *flags),
                        include=[tmp_path, FIRMWARE / "reference"])
    done = subprocess.run([program], input=cases.astype("<i4").tobytes(), capture_output=True,
                          check=True)
    acc, multiplier, shift, zero_point, odd = cases.T
    expected = requantize(acc, multiplier=multiplier, shift=shift, zero_point=zero_point, odd=odd)
    assert np.array_equal(np.frombuffer(done.stdout, np.int8), expected)


@pytest.mark.parametrize("table", [ILLEGAL, RANGE, WINDOWS, ALIGNMENT],
                         ids=["illegal", "range", "windows", "alignment"])
def test_faults_are_the_simulators(folder: Path, table: list) -> None:
    images = []
    for opcode, changed, *_ in table:
        changes = {changed: 10} if isinstance(changed, str) else changed
        images.append(image(load(), instruction(opcode, **changes), activation_bytes=64,
                            constants=bytes(64)))
    assert Fault.NONE not in check(folder, CONFIG, images)


def test_surfaces_that_are_none_are_refused(folder: Path) -> None:
    """Where no other rule refuses them, of every surface."""
    images = []
    for opcode, prefixes in ((LOAD, ["dst"]), (MAC, ["src"]), (DRAIN, ["dst"]),
                             (POOL, ["src", "dst"]), (ELEMENTWISE, ["a", "b", "dst"]),
                             (STORE, ["src"])):
        for prefix in prefixes:
            for name, value in (("row_stride", 5), ("ring_start", 4), ("ring_words", 0)):
                one_row = {} if opcode == MAC or prefix not in ("dst", "src") else {"rows": 1}
                images.append(image(instruction(opcode, **one_row, **{f"{prefix}_{name}": value},
                                                **({"operation": 1} if prefix == "b" else {}))))
    images += [image(instruction(opcode, dst_ring_words=3))  # two rows of two words
               for opcode in (LOAD, DRAIN, POOL, ELEMENTWISE)]
    assert set(check(folder, CONFIG, images)) == {Fault.ILLEGAL_INSTRUCTION}


def test_the_first_word_outside_is_refused(folder: Path) -> None:
    """Ends that the simulator's tables of faults leave by more than one word."""
    column = {"src_base": 1023, "src_ring_words": 1, "src_row_stride": 0, "src_rows": 1, "rows": 1}
    assert set(check(folder, CONFIG, [
        image(mac(**column)), image(instruction(POOL, **column)), image(mac(accumulator=61)),
        image(mac(weights=253)), image(drain(accumulator=61)),
        image(instruction(LOAD, dst_base=1021)), image(store(src_base=1021)),
    ])) == {Fault.ON_CHIP_RANGE}
    assert check(folder, CONFIG, [
        image(load(address=48), activation_bytes=63), image(store(address=48), activation_bytes=63),
        image(load(address=64, rows=1, head=-4), activation_bytes=64),
        image(load(address=64, rows=1, head=-8, row_bytes=4), activation_bytes=64),
    ]) == [Fault.ACTIVATIONS_WINDOW] * 3 + [Fault.NONE]


def test_faults_of_the_program_order(folder: Path) -> None:
    good, size = image(load()), Isa(CONFIG).instruction_bytes
    programs = [good.program[:size] + bytes([op]) + bytes(size - 1) for op in (0, 8, 9, 14)]
    programs += [b"", good.program[:-1], good.program[:size], good.program[:-1] + b"\x80",
                 good.program[:size - 1] + b"\x80" + good.program[size:]]
    images = [Image(config=CONFIG, program=code, constants=b"", activation_bytes=4096)
              for code in programs]
    images += [image(load(), drain(wait="P")), image(load(), drain(signal="P")),
               image(mac(wait="L")), image(load(signal="M"), mac(wait="L"), mac(wait="L")),
               image(load(signal="M"), mac(wait="L"), drain(wait="L"), store(wait="P")),
               image(load(rows=0), store(wait="P")), image(store(wait="P"), load(rows=0)),
               image(instruction(Opcode.END), load(rows=0)),
               image(instruction(LINEAR, target=LinearTarget.PARAMETERS, count=1),
                     constants=bytes(15) + b"\x20" + bytes(48))]
    faults = check(folder, CONFIG, images)
    assert {Fault.NONE, Fault.ILLEGAL_INSTRUCTION, Fault.PROGRAM_WINDOW, Fault.WATCHDOG} \
        == set(faults)


def test_a_token_too_many_is_refused(folder: Path) -> None:
    isa, many = Isa(CONFIG), 1 << TOKEN_BITS
    one = isa.encode(*load(signal="M", planes=1, rows=1, columns=1))
    cases = [(Image(config=CONFIG, program=one * count + isa.encode(Opcode.END, {}),
                    constants=b"", activation_bytes=64), np.zeros(64, np.uint8),
              memory_of(Machine(image()).state)) for count in (many - 1, many)]
    found = [(o.fault, o.instruction, o.address)
             for o in run(_compiled(CONFIG, folder), CONFIG, cases)]
    assert found == [(Fault.NONE, 0, 0), (Fault.TOKEN_OVERFLOW, many - 1, 0)]


def test_weights_below_the_smallest_are_refused(folder: Path) -> None:
    config = ArrayConfig(**{**vars(CONFIG), "weight_min": -127})
    assert check(folder, config, [
        image(instruction(LINEAR), constants=bytes(15) + bytes([code]), config=config)
        for code in (0x80, 0x81)]) == [Fault.ILLEGAL_INSTRUCTION, Fault.NONE]


def test_flipped_bits_run_or_fault_as_in_the_simulator(folder: Path) -> None:
    """Pieces of a real program with flipped bits, and never a byte outside its memories."""
    rng, whole = np.random.default_rng(5), Image.from_bytes(compile_zoo().image)
    step = Isa(whole.config).instruction_bytes
    images = []
    for _ in range(120):
        first = int(rng.integers(0, whole.instructions - 12)) * step
        code = bytearray(whole.program[first:first + 12 * step] + whole.program[-step:])
        for _ in range(int(rng.integers(1, 4))):
            bit = int(rng.integers(0, 12 * step * 8))
            code[bit // 8] ^= 1 << bit % 8
        # without tokens, which the piece takes from what is missing
        for at in range(0, 12 * step, step):
            if code[at] & 15 != Opcode.END:
                code[at] &= 15
                code[at + 1] &= 0xF0
        images.append(Image(config=whole.config, program=bytes(code), constants=whole.constants,
                            activation_bytes=whole.activation_bytes))
    faults = check(folder, whole.config, images)
    assert len(set(faults)) > 3
