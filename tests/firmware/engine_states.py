"""Cases for tests/firmware/engine_check.c, and the simulator's state in the engine's layout."""

import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from codegen.headers.isa import isa_header
from codegen.headers.regs import regs_header
from hw.spec.config import ArrayConfig
from hw.spec.image import Image
from sim.machine.state import State
from tests.firmware.compilers import FIRMWARE, compile_c

__all__ = ["ENGINE", "Outcome", "compile_check", "memory_of", "run", "write_contract"]

Bytes = npt.NDArray[np.uint8]
ENGINE = [FIRMWARE / "reference" / f"{name}.c" for name in ("engine", "mac", "post", "transfer")]


@dataclass(frozen=True)
class Outcome:
    """What the engine reports and leaves."""

    fault: int
    instruction: int
    address: int
    activations: Bytes
    memory: bytes


def write_contract(config: ArrayConfig, folder: Path) -> None:
    """The headers that do not depend on a model."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "macrame_isa.h").write_text(isa_header(config))
    (folder / "macrame_regs.h").write_text(regs_header())


def compile_check(config: ArrayConfig, folder: Path, flags: Sequence[str]) -> Path:
    """The engine for an array."""
    write_contract(config, folder)
    return compile_c([Path(__file__).with_name("engine_check.c"), *ENGINE], folder / "check",
                     include=[folder, FIRMWARE / "reference"], flags=flags)


def memory_of(state: State) -> bytes:
    """A struct engine_memory with the contents of the simulator's memories."""
    scale = (state.multiplier | state.shift << 24).astype("<u4")
    return b"".join(part.tobytes() for part in (
        state.accumulators.astype("<i4"), state.bias.astype("<i4"), scale,
        state.add_tables.astype("<i4"), state.scratchpad[:-1], state.weights, state.tables))


def run(program: Path, config: ArrayConfig, cases: Sequence[tuple[Image, Bytes, bytes]]
        ) -> Iterator[Outcome]:
    """Run images from these activations and memories."""
    data = b"".join(
        np.array([len(image.program), len(image.constants), len(window)], "<u4").tobytes()
        + image.program + image.constants + window.tobytes() + memory
        for image, window, memory in cases)
    done = subprocess.run([program], input=data, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()
    at = 0
    for _, window, memory in cases:
        fault, instruction, address = np.frombuffer(done.stdout, "<u4", 3, at).tolist()
        at += 12
        activations = np.frombuffer(done.stdout, np.uint8, len(window), at)
        at += len(window)
        yield Outcome(fault, instruction, address, activations, done.stdout[at:at + len(memory)])
        at += len(memory)
    assert at == len(done.stdout)
