"""A program image taken apart: instructions, their queues, and the operations they stand for."""

from collections.abc import Mapping
from dataclasses import dataclass

from hw.spec.config import ArrayConfig
from hw.spec.isa import QUEUE_OF, EncodingError, Isa, Opcode, Queue
from hw.spec.regs import Fault
from sim.machine.faults import MachineFault, Refusal
from sim.machine.mac import Mac, MacCaches
from sim.machine.post import Combine, Drain, Pool
from sim.machine.state import Operation, State
from sim.machine.transfer import Load, LoadLinear, Store

__all__ = ["Instruction", "Program", "decode_program"]


@dataclass(frozen=True)
class Instruction:
    """One instruction as the dispatcher sees it.

    Parameters
    ----------
    index : int
        Position in the program.
    opcode : Opcode
        What to do.
    queue : Queue or None
        Who does it; None for END.
    wait, signal : int
        Bit q: take a token of, give a token to queue q.
    fields : Mapping[str, int]
        All fields.
    """

    index: int
    opcode: Opcode
    queue: Queue | None
    wait: int
    signal: int
    fields: Mapping[str, int]


def decode_program(config: ArrayConfig, program: bytes) -> list[Instruction | MachineFault]:
    """Decode up to the first END.

    Returns
    -------
    Instructions. What cannot be dispatched is replaced by the fault that it causes, and ends the
    list; so does the end of the program window if there was no END.
    """
    isa = Isa(config)
    size = isa.instruction_bytes
    result: list[Instruction | MachineFault] = []
    for index in range(len(program) // size):
        try:
            opcode, fields = isa.decode(program[index * size:(index + 1) * size])
        except EncodingError as e:
            result.append(MachineFault(Fault.ILLEGAL_INSTRUCTION, index, 0, str(e)))
            return result
        queue = QUEUE_OF.get(opcode)
        instruction = Instruction(index, opcode, queue, fields.get("wait", 0),
                                  fields.get("signal", 0), fields)
        for name in ("wait", "signal"):
            if queue is not None and fields[name] >> queue & 1:
                result.append(MachineFault(
                    Fault.ILLEGAL_INSTRUCTION, index, 0,
                    f"{name} of a {queue.name} instruction must not name its own queue, "
                    f"not {fields[name]:#06b}"))
                return result
        result.append(instruction)
        if opcode == Opcode.END:
            return result
    result.append(MachineFault(
        Fault.PROGRAM_WINDOW, len(result), len(result) * size,
        f"program must end with END within its {len(program)} bytes, not run past them"))
    return result


class Program:
    """The instructions of an image with the operations they stand for, each made once.

    Members
    -------
    instructions : list[Instruction | MachineFault]
        See :func:`decode_program`.
    """

    def __init__(self, program: bytes, state: State) -> None:
        self.instructions = decode_program(state.config, program)
        self._state = state
        self._caches = MacCaches(state)
        self._operations: list[Operation | None] = [None] * len(self.instructions)

    def operation(self, instruction: Instruction) -> Operation:
        """Return the checked operation. Raises MachineFault if the instruction is refused."""
        made = self._operations[instruction.index]
        if made is None:
            try:
                made = self._make(instruction)
            except Refusal as e:
                raise MachineFault(e.cause, instruction.index, e.address,
                                   f"{instruction.opcode.name}: {e.detail}") from e
            self._operations[instruction.index] = made
        return made

    def run(self, instruction: Instruction) -> None:
        """Execute one instruction. Raises MachineFault."""
        operation = self.operation(instruction)
        try:
            operation.run(self._state)
        except Refusal as e:
            raise MachineFault(e.cause, instruction.index, e.address,
                               f"{instruction.opcode.name}: {e.detail}") from e

    def _make(self, instruction: Instruction) -> Operation:
        fields, state = instruction.fields, self._state
        match instruction.opcode:
            case Opcode.LOAD:
                return Load(fields, state)
            case Opcode.LOAD_LINEAR:
                return LoadLinear(fields, state)
            case Opcode.MAC:
                return Mac(fields, state, self._caches)
            case Opcode.DRAIN:
                return Drain(fields, state)
            case Opcode.POOL:
                return Pool(fields, state)
            case Opcode.ELEMENTWISE:
                return Combine(fields, state)
            case Opcode.STORE:
                return Store(fields, state)
            case Opcode.END:
                raise AssertionError("END is not an operation")
