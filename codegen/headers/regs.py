"""``macrame_regs.h``: registers and faults, from :mod:`hw.spec.regs`, and where things are in an
image, from :mod:`hw.spec.image`: all that a driver needs.
"""

from codegen.headers.c_text import defines, guarded, x_list
from hw.spec.image import (
    ENTRY_FIELDS,
    FORMAT_VERSION,
    HEADER_FIELDS,
    INTERFACE_VERSION,
    MAGIC,
    MOST_CONFIG_WORDS,
    Section,
    field_offsets,
)
from hw.spec.regs import REGISTERS, Access, Fault

__all__ = ["regs_header"]

_ASSERT = """\
#ifdef __cplusplus
#define MACRAME_STATIC_ASSERT static_assert
#else
#define MACRAME_STATIC_ASSERT _Static_assert
#endif"""


def regs_header() -> str:
    """The text of the header."""
    body = [
        _ASSERT, "",
        *defines([("MACRAME_INTERFACE_VERSION", INTERFACE_VERSION),
                  ("MACRAME_ID_VALUE", f"0x{int.from_bytes(MAGIC, 'little'):08X}u")]), "",
        "/* What the driver may do with a register. */",
        *defines((f"MACRAME_ACCESS_{a.name}", a) for a in Access), "",
        "/* Byte offsets of the registers, 32 bits each. */",
        *defines([*((f"MACRAME_REG_{r.name}", f"0x{r.offset:03x}u") for r in REGISTERS.values()),
                  ("MACRAME_REG_BYTES",
                   f"0x{max(r.offset for r in REGISTERS.values()) + 4:03x}u")]), "",
        *defines((f"MACRAME_REG_{r.name}_ACCESS", f"MACRAME_ACCESS_{r.access.name}")
                 for r in REGISTERS.values()), "",
        "/* X(name, offset, access) for every register. */",
        *x_list("MACRAME_REGISTER_LIST", (
            (r.name, f"MACRAME_REG_{r.name}", f"MACRAME_REG_{r.name}_ACCESS")
            for r in REGISTERS.values()))]
    for register in REGISTERS.values():
        if register.bits:
            body += ["", f"/* Fields of {register.name}. */", *defines(
                pair for b in register.bits for pair in (
                    (f"MACRAME_{register.name}_{b.name.upper()}_LSB", b.lsb),
                    (f"MACRAME_{register.name}_{b.name.upper()}_WIDTH", b.width),
                    (f"MACRAME_{register.name}_{b.name.upper()}_MASK",
                     f"0x{((1 << b.width) - 1) << b.lsb:08x}u")))]
    body += [
        "", "/* Why the core stopped: X(name, value, meaning) for every fault. */",
        *x_list("MACRAME_FAULT_LIST", ((f.name, f"{int(f)}", f'"{f.meaning}"') for f in Fault)),
        "", "enum macrame_fault {",
        ",\n".join(f"    MACRAME_FAULT_{f.name} = {int(f)}" for f in Fault), "};",
        f"#define MACRAME_FAULTS {len(Fault)}u", "",
        "/* An image: offsets in its header, and in an entry of its table of sections. */",
        *defines([
            ("MACRAME_FORMAT_VERSION", FORMAT_VERSION),
            *((f"MACRAME_HEADER_{name.upper()}", at)
              for name, at in field_offsets(HEADER_FIELDS).items()),
            *((f"MACRAME_ENTRY_{name.upper()}", at)
              for name, at in field_offsets(ENTRY_FIELDS).items()),
            ("MACRAME_MOST_CONFIG_WORDS", MOST_CONFIG_WORDS),
            *((f"MACRAME_SECTION_{section.name}", int(section)) for section in Section),
            ("MACRAME_SECTIONS", len(Section))])]
    return guarded("macrame_regs.h", "Registers and faults of the core; images.", body)
