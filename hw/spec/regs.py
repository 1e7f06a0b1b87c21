"""Control and status registers, on AXI4-Lite: the driver's view of the core.

32 bit each. Register and field tables of the manual, the C header and the RTL are made from here.
"""

from dataclasses import dataclass
from enum import IntEnum, unique

from hw.spec.isa import Queue

__all__ = ["Access", "Bits", "Fault", "REGISTERS", "Register"]


@unique
class Fault(IntEnum):
    """Why the core stopped. The first fault wins; FAULT_INSTRUCTION says where."""

    meaning: str

    def __new__(cls, value: int, meaning: str = "") -> "Fault":
        """Make a member; `meaning` is the cause in words."""
        fault = int.__new__(cls, value)
        fault._value_ = value
        fault.meaning = meaning
        return fault

    NONE = 0, ""
    ILLEGAL_INSTRUCTION = 1, "unknown opcode, reserved bits, or a field outside its range"
    PROGRAM_WINDOW = 2, "fetch past the end of the program window"
    CONSTANTS_WINDOW = 3, "a load outside the constants window"
    ACTIVATIONS_WINDOW = 4, "a load or store outside the activations window"
    ALIGNMENT = 5, "an address or stride that is not a multiple of the alignment"
    ON_CHIP_RANGE = 6, "a word outside scratchpad, weights, accumulators, parameters, tables"
    TOKEN_OVERFLOW = 7, "a token counter passed its maximum"
    BUS_READ = 8, "the memory answered a read with an error"
    BUS_WRITE = 9, "the memory answered a write with an error"
    WATCHDOG = 10, "nothing happened for WATCHDOG cycles: deadlock or silent memory"
    ABORTED = 11, "the driver asked for it"


@unique
class Access(IntEnum):
    """What the driver may do with a register."""

    READ = 1
    WRITE = 2
    READ_WRITE = 3


@dataclass(frozen=True, kw_only=True)
class Bits:
    """A field of a register: `width` bits from `lsb`."""

    name: str
    lsb: int
    width: int
    doc: str


@dataclass(frozen=True, kw_only=True)
class Register:
    """A 32-bit register at byte `offset`."""

    name: str
    offset: int
    access: Access
    doc: str
    bits: tuple[Bits, ...] = ()


def _bit(name: str, lsb: int, doc: str) -> Bits:
    return Bits(name=name, lsb=lsb, width=1, doc=doc)


def _registers() -> tuple[Register, ...]:
    r, w, rw = Access.READ, Access.WRITE, Access.READ_WRITE
    rows: list[tuple[str, Access, str, tuple[Bits, ...]]] = [
        ("ID", r, 'Reads as 0x5243414D, "MACR".', ()),
        ("VERSION", r, "Interface version; must equal the image's.", ()),
        ("CONFIG", rw, "Index of the configuration word that CONFIG_WORD shows.", ()),
        ("CONFIG_WORD", r, "Configuration word, in the order of the image header.", ()),
        ("CONTROL", w, "Commands; each bit acts once when written as 1.", (
            _bit("start", 0, "Clear, then run the program. Refused with the fault ALIGNMENT if a "
                             "window does not begin at a multiple of the bus width; ignored "
                             "while busy."),
            _bit("abort", 1, "Stop after the bus transfers under way, with the fault ABORTED; "
                             "ignored while not busy."),
            _bit("clear", 2, "Clear done, fault and counters; ignored while busy."))),
        ("STATUS", r, "State of the core.", (
            _bit("busy", 0, "A program is running, or was stopped and has bus transfers under "
                            "way: fault, and its interrupt, can rise before busy falls."),
            _bit("done", 1, "The program reached END."),
            _bit("fault", 2, "FAULT is not NONE."))),
        ("INTERRUPT_ENABLE", rw, (
            "Which of done (bit 0) and fault (bit 1) raise the interrupt. It is a level."), (
            _bit("done", 0, "Interrupt while done."), _bit("fault", 1, "Interrupt while fault."))),
        ("FAULT", r, "Cause of the first fault.", ()),
        ("FAULT_INSTRUCTION", r, (
            "Index of the instruction that caused it; of the first that is not done, if none did "
            "(ABORTED, WATCHDOG)."), ()),
        ("FAULT_ADDRESS", r, (
            "Address that caused it, where the cause has one; see isa_semantics.md."), ()),
        ("PROGRAM_BASE", rw, (
            "Memory address of the program window, in bytes. This register and those up to "
            "WATCHDOG keep their values while busy, whatever is written."), ()),
        ("PROGRAM_BYTES", rw, "Size of the program window. No window may go beyond 2^32.", ()),
        ("CONSTANTS_BASE", rw, "Memory address of the constants window.", ()),
        ("CONSTANTS_BYTES", rw, "Size of the constants window.", ()),
        ("ACTIVATIONS_BASE", rw, "Memory address of the activations window.", ()),
        ("ACTIVATIONS_BYTES", rw, "Size of the activations window.", ()),
        ("WATCHDOG", rw, "Cycles without progress before a fault; 0: never.", ()),
        ("CYCLES", r, "Cycles since start, low half.", ()),
        ("CYCLES_HIGH", r, "Cycles since start, high half.", ()),
        ("INSTRUCTIONS", r, "Instructions completed since start.", ()),
    ]
    for queue in Queue:
        rows += [
            (f"{queue.name}_BUSY", r, f"Cycles in which {queue.name} worked.", ()),
            (f"{queue.name}_WAIT", r, f"Cycles in which {queue.name} waited for a token.", ()),
            (f"{queue.name}_STALL", r,
             f"Cycles in which {queue.name} waited for memory or another unit.", ())]
    return tuple(Register(name=name, offset=4 * i, access=access, doc=doc, bits=bits)
                 for i, (name, access, doc, bits) in enumerate(rows))


#: Every register by name, in the order of their addresses.
REGISTERS = {register.name: register for register in _registers()}
