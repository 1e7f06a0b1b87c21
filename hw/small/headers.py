"""Where everything is, for the small system's firmware: a C header, and memories to link for."""

from hw.spec.small import (
    ACTIVATIONS_OFFSET,
    FIRMWARE_OFFSET,
    FLASH_BYTES,
    INSTRUCTION_BASE,
    RAM_BYTES,
    Region,
    Register,
)

__all__ = ["HEADER", "SCRIPT", "small_header", "small_script"]

#: Names of the files.
HEADER, SCRIPT = "small.h", "small.ld"


def small_header(clock_hz: int) -> str:
    """Write :mod:`hw.spec.small` for C."""
    lines = [
        "/* Addresses of the small system; made from hw/spec/small.py. */",
        "#ifndef MACRAME_SMALL_H", "#define MACRAME_SMALL_H", "",
        f"#define SMALL_CLOCK_HZ {clock_hz}u", "",
        "/* What the processor reaches: first byte. */",
        *(f"#define SMALL_{region.name}_BASE 0x{region:08x}u" for region in Region), "",
        "/* Registers, and the first word of the instruction. */",
        *(f"#define SMALL_REGISTER_{register.name} 0x{Region.REGISTERS + register:08x}u"
          for register in Register),
        f"#define SMALL_INSTRUCTION_BASE 0x{Region.REGISTERS + INSTRUCTION_BASE:08x}u", "",
        "/* The activations window that a frame begins with. */",
        f"#define SMALL_ACTIVATIONS_IN_FLASH 0x{Region.FLASH + ACTIVATIONS_OFFSET:08x}u", "",
        "#endif"]
    return "".join(f"{line}\n" for line in lines)


def small_script() -> str:
    """The memories for the linker. The firmware's part of the flash ends before the input."""
    first = Region.FLASH + FIRMWARE_OFFSET
    assert FIRMWARE_OFFSET < ACTIVATIONS_OFFSET < FLASH_BYTES
    return ("MEMORY\n{\n"
            f"    flash : ORIGIN = 0x{first:08x}, "
            f"LENGTH = 0x{ACTIVATIONS_OFFSET - FIRMWARE_OFFSET:x}\n"
            f"    ram : ORIGIN = 0x{Region.RAM:08x}, LENGTH = 0x{RAM_BYTES:x}\n"
            "}\n")
