"""How an execution stops early: the cause a driver would read, and where it came from."""

from hw.spec.regs import Fault
from sim.errors import SimError

__all__ = ["MachineFault", "Refusal"]


class Refusal(Exception):
    """A unit refuses an instruction; whoever knows its index makes a :class:`MachineFault`."""

    def __init__(self, cause: Fault, detail: str, address: int = 0) -> None:
        super().__init__(detail)
        self.cause = cause
        self.detail = detail
        self.address = address


class MachineFault(SimError):
    """The machine stopped with a fault.

    Parameters
    ----------
    cause : Fault
        As the FAULT register reports it.
    instruction : int
        Index of the instruction that caused it.
    address : int
        As the FAULT_ADDRESS register reports it; see docs/isa_semantics.md.
    detail : str
        The rule that was broken, with the values.
    """

    def __init__(self, cause: Fault, instruction: int, address: int, detail: str) -> None:
        super().__init__(f"{cause.name} at instruction {instruction}: {detail}")
        self.cause = cause
        self.instruction = instruction
        self.address = address
        self.detail = detail
