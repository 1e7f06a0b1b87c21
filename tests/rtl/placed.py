"""A program and its windows, placed in the memory around sim/tb/axi_bench.py's core."""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from hw.spec.image import Image
from hw.spec.regs import Fault
from sim.model import Machine
from sim.tb.axi_bench import Episode, Outcome

__all__ = ["Placed", "fault"]

#: Somewhere inside a page each, with nothing around them.
BASES = {"PROGRAM": 0x8000_0030, "CONSTANTS": 0x8010_0fd0, "ACTIVATIONS": 0x8020_0410}
#: More than any pause of the memory.
WATCHDOG = 5000


def fault(outcome: Outcome) -> tuple[Fault, int, int]:
    """Cause, instruction and address."""
    r = outcome.registers
    return Fault(r["FAULT"]), r["FAULT_INSTRUCTION"], r["FAULT_ADDRESS"]


class Placed:
    """A program and what is in its windows.

    Parameters
    ----------
    image : Image
    activations : bytes
        What the activations contain at the start; random if not given.
    bases : Mapping[str, int]
        Where the windows are.
    """

    def __init__(self, image: Image, activations: bytes | None = None, *,
                 bases: Mapping[str, int] = BASES) -> None:
        self.image = image
        self.bases = bases
        if activations is None:
            activations = np.random.default_rng(1).bytes(image.activation_bytes)
        self.contents = {"PROGRAM": image.program, "CONSTANTS": image.constants,
                         "ACTIVATIONS": activations}
        self.areas = {bases[name]: len(content) for name, content in self.contents.items()}

    def episode(self, **changes: object) -> Episode:
        """Write memory and registers and run, with some fields or registers changed."""
        registers = {f"{name}_{what}": value for name, content in self.contents.items()
                     for what, value in (("BASE", self.bases[name]), ("BYTES", len(content)))}
        extra = changes.pop("registers", {})
        assert isinstance(extra, dict)
        episode = Episode(
            memory={self.bases[name]: content for name, content in self.contents.items()},
            registers={"WATCHDOG": WATCHDOG, "INTERRUPT_ENABLE": 0, **registers, **extra})
        return replace(episode, **changes)  # type: ignore[arg-type]

    def expected(self) -> dict[int, bytes]:
        """The areas after the program, as the simulator computes them."""
        machine = Machine(self.image)
        machine.activations[:] = np.frombuffer(self.contents["ACTIVATIONS"], np.uint8)
        machine.run()
        contents = self.contents | {"ACTIVATIONS": machine.activations.tobytes()}
        return {self.bases[name]: content for name, content in contents.items()}

    def check_accesses(self, outcome: Outcome) -> None:
        """Assert that nothing outside of the windows was touched; beats may reach beyond them."""
        bus = self.image.config.bus_bytes
        allowed = {name: range(base, base + len(self.contents[name]))
                   for name, base in self.bases.items()}
        stray = [hex(a) for a in outcome.writes if a not in allowed["ACTIVATIONS"]]
        assert not stray, f"written outside of the activations: {stray[:5]}"
        stray = [hex(a) for a in outcome.reads if not any(
            window.start < a + bus and a < window.stop for window in allowed.values())]
        assert not stray, f"read outside of all windows: {stray[:5]}"

    def check_complete(self, outcome: Outcome, expected: Mapping[int, bytes]) -> None:
        """Assert that the program came to its end, and left `expected`."""
        self.check_accesses(outcome)
        assert fault(outcome) == (Fault.NONE, 0, 0)
        assert outcome.registers["STATUS"] == 2
        assert outcome.registers["INSTRUCTIONS"] == self.image.instructions
        for address, content in expected.items():
            differing = [i for i, (a, b) in enumerate(zip(outcome.memory[address], content))
                         if a != b]
            assert not differing, (f"{len(differing)} bytes from {address:#x} differ, "
                                   f"first at {differing[:5]}")
