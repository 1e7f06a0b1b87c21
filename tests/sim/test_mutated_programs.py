"""Programs with flipped bits and right checksums: they run or fault, and never leave a window."""

from functools import lru_cache

import numpy as np
from hypothesis import given, settings, strategies as st

from hw.spec.image import Image
from hw.spec.isa import Isa
from hw.spec.regs import Fault
from sim.model import Machine, MachineFault
from tests.builds import compile_zoo


@lru_cache(maxsize=None)
def program() -> Image:
    return Image.from_bytes(compile_zoo().image)


@settings(max_examples=150, deadline=None)
@given(seed=st.integers(0, 2 ** 32 - 1), flips=st.integers(1, 4), shuffled=st.booleans())
def test_flipped_bits_run_or_fault(seed: int, flips: int, shuffled: bool) -> None:
    rng = np.random.default_rng(seed)
    image = program()
    step = Isa(image.config).instruction_bytes
    # a short piece of the program, so that many can be tried
    first = int(rng.integers(0, image.instructions - 40)) * step
    code = bytearray(image.program[first:first + 40 * step] + image.program[-step:])
    for _ in range(flips):
        bit = int(rng.integers(0, 40 * step * 8))
        code[bit // 8] ^= 1 << bit % 8
    changed = Image(config=image.config, program=bytes(code), constants=image.constants,
                    activation_bytes=image.activation_bytes)
    try:
        machine = Machine(Image.from_bytes(changed.to_bytes()))
        machine.run(seed if shuffled else "program")
    except MachineFault as fault:
        assert fault.cause != Fault.NONE
        assert 0 <= fault.instruction <= 40


def test_the_unchanged_program_runs() -> None:
    Machine(program()).run()
