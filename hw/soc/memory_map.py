"""Where everything is: the system's addresses as JSON and as a C header."""

import json
from collections.abc import Iterator

from litedram.init import get_sdram_phy_init_sequence
from litex.soc.integration.export import get_csr_json

from hw.soc.system import System

__all__ = ["memory_map_header", "memory_map_json", "memory_map_script"]

#: Bits of the SDRAM's control and command registers, as LiteDRAM's sequences name them.
_DFII = {"DFII_CONTROL_SEL": 1, "DFII_CONTROL_CKE": 2, "DFII_CONTROL_ODT": 4,
         "DFII_CONTROL_RESET_N": 8,
         "DFII_COMMAND_CS": 1, "DFII_COMMAND_WE": 2, "DFII_COMMAND_CAS": 4, "DFII_COMMAND_RAS": 8}


def memory_map_json(system: System) -> str:
    """LiteX's ``csr.json``: bases and sizes of memories, registers, constants."""
    return str(get_csr_json(system.csr.regions, system.constants, system.mem_regions)) + "\n"


def memory_map_header(system: System) -> str:
    """The same for the firmware, with the commands that the SDRAM needs after power-up."""
    return "".join(f"{line}\n" for line in _header(system))


def memory_map_script(system: System) -> str:
    """The memories for the linker."""
    regions = json.loads(memory_map_json(system))["memories"]
    lines = [f"    {name} : ORIGIN = 0x{regions[name]['base']:08x}, "
             f"LENGTH = 0x{regions[name]['size']:x}\n" for name in ("rom", "sram", "main_ram")]
    return "MEMORY\n{\n" + "".join(lines) + "}\n"


def _header(system: System) -> Iterator[str]:
    found = json.loads(memory_map_json(system))
    yield "/* Addresses of the system; made by `python -m hw soc`. */"
    yield "#ifndef MACRAME_SOC_H"
    yield "#define MACRAME_SOC_H"
    yield ""
    yield f"#define SOC_CLOCK_HZ {int(system.sys_clk_freq)}u"
    yield ""
    yield "/* Memories and the core's registers: first byte and size. */"
    for name, region in found["memories"].items():
        yield f"#define SOC_{name.upper()}_BASE 0x{region['base']:08x}u"
        yield f"#define SOC_{name.upper()}_BYTES 0x{region['size']:x}u"
    yield ""
    yield "/* Registers of the peripherals. */"
    for name, register in found["csr_registers"].items():
        yield f"#define SOC_{name.upper()} 0x{register['addr']:08x}u"
    yield ""
    yield "/* Bits of the CPU's interrupt mask. */"
    for name, number in system.irq.locs.items():
        yield f"#define SOC_{name.upper()}_INTERRUPT {number}u"
    yield ""
    yield "/* What wakes the SDRAM up: X(control or command, address, bank, cycles to wait). */"
    yield f"#define SOC_SDRAM_CONTROL_HARDWARE 0x{_DFII['DFII_CONTROL_SEL']:02x}u"
    yield "#define SOC_SDRAM_INIT(CONTROL, COMMAND) \\"
    settings = system.sdram.controller.settings
    steps, _ = get_sdram_phy_init_sequence(settings.phy, settings.timing)
    for n, (_, address, bank, what, cycles) in enumerate(steps):
        bits = sum(_DFII[name] for name in what.split("|"))
        kind = "CONTROL" if "CONTROL" in what else "COMMAND"
        yield (f"    {kind}(0x{bits:02x}u, 0x{address:04x}u, {bank}u, {cycles}u)"
               + (" \\" if n + 1 < len(steps) else ""))
    yield ""
    yield "#endif"
