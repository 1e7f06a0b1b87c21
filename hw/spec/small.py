"""The small system: a processor executes programs, all but their MACs, which are hardware's.

For FPGAs that are too small for a whole core. Where the processor finds what is on the chip, and
which configurations there can be; hw/small builds it, firmware/small runs on it.
"""

from enum import IntEnum, unique

from hw.spec.config import ArrayConfig, ConfigError

__all__ = ["ACTIVATIONS_OFFSET", "CLOCK_HZ", "FIRMWARE_OFFSET", "FLASH_BYTES", "INSTRUCTION_BASE",
           "MOST_SCRATCHPAD_WORDS", "RAM_BYTES", "Register", "Region", "SMALL", "check_small"]


@unique
class Region(IntEnum):
    """First address of what the processor reaches; the upper four bits of an address tell.

    ``RAM``, ``SCRATCHPAD``
        Bytes, halfwords and words; a scratchpad word is R bytes.
    ``ACCUMULATORS``
        To read only, words: the C sums of accumulator 0, of accumulator 1, ...
    ``WEIGHTS``
        To write only, words: the C bytes of a weight word, the rest is ignored.
    ``REGISTERS``
        :class:`Register`, and the instruction at :data:`INSTRUCTION_BASE`; words.
    ``FLASH``
        To read only.

    While a MAC runs, accesses to scratchpad and accumulators wait for its end.
    """

    RAM = 0x0000_0000
    SCRATCHPAD = 0x1000_0000
    ACCUMULATORS = 0x2000_0000
    WEIGHTS = 0x3000_0000
    REGISTERS = 0x4000_0000
    FLASH = 0x5000_0000


@unique
class Register(IntEnum):
    """Offset of a register from ``Region.REGISTERS``.

    ``CONTROL``
        Write 1: start the MAC whose fields stand in the instruction, which must not be written
        before it is done. Write 2: reset the array's hardware, after a fault.
    ``STATUS``
        Read: bit 0, a MAC was started and is not done; bit 1, it had a fault, and is none.
    ``FAULT``, ``FAULT_ADDRESS``
        Read, when STATUS has bit 1: :class:`hw.spec.regs.Fault` and the address it is about.
    ``CYCLES``
        Read: clock cycles since reset, modulo 2**32.
    ``UART``
        Write: send a byte, when the one before it is sent. Read: a byte that came, and forget it;
        without one, a number above 255.
    ``LEDS``
        Write: bit 0 the green one, bit 1 the red one.
    """

    CONTROL = 0x00
    STATUS = 0x04
    FAULT = 0x08
    FAULT_ADDRESS = 0x0C
    CYCLES = 0x10
    UART = 0x14
    LEDS = 0x18


#: Where the words of the MAC's instruction are, from ``Region.REGISTERS`` on; to write only.
INSTRUCTION_BASE = 0x80

#: Of the board's oscillator.
CLOCK_HZ = 12_000_000
RAM_BYTES = 64 * 1024
#: The board's. The bitstream is at its beginning.
FLASH_BYTES = 16 * 1024 * 1024
#: Of the firmware, where the processor starts; and of an activations window with inputs.
FIRMWARE_OFFSET = 1024 * 1024
ACTIVATIONS_OFFSET = 8 * 1024 * 1024


#: What the scratchpad's RAM holds.
MOST_SCRATCHPAD_WORDS = 16 * 1024

#: Boards whose system is the small one; the preset of the name is their array.
SMALL = ("icebreaker-up5k",)


def check_small(config: ArrayConfig) -> None:
    """Refuse an array that cannot be that of a small system.

    Raises
    ------
    ConfigError
        The message names the parameter, its rule and its value.
    """
    if config.rows != 4:
        raise ConfigError("rows must be 4, bytes of a word of the processor, in a small system, "
                          f"not {config.rows}")
    if config.columns not in (2, 4):
        raise ConfigError("columns must be 2 or 4 in a small system, where a DSP block serves two, "
                          f"not {config.columns}")
    if config.post_lanes != 1:
        raise ConfigError("post_lanes must be 1 in a small system, whose processor reads one "
                          f"accumulator at a time, not {config.post_lanes}")
    if config.scratchpad_words > MOST_SCRATCHPAD_WORDS:
        raise ConfigError(f"scratchpad_words must be at most {MOST_SCRATCHPAD_WORDS} in a small "
                          f"system, not {config.scratchpad_words}")
