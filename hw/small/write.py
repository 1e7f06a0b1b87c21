"""The small system as files: Verilog, RTLIL, pins."""

from importlib.util import find_spec
from pathlib import Path

from amaranth.back import rtlil, verilog

from hw.generate import colliding, uncleared
from hw.rtl.ice40 import Ice40
from hw.small.headers import HEADER, SCRIPT, small_header, small_script
from hw.small.system import SmallSystem
from hw.spec.config import ArrayConfig

__all__ = ["CONSTRAINTS", "PINS", "SMALL_MODULE", "cpu_verilog", "small_constraints",
           "small_files", "small_rtlil", "small_sources", "small_verilog"]

#: Name of the top module.
SMALL_MODULE = "small_system"
#: Name of the file of pins.
CONSTRAINTS = "small.pcf"

#: Of an iCEBreaker: port to pin of the FPGA.
#: Ref: iCEBreaker 1.0e, schematic; the same in litex-boards and PicoSoC, tests/hw/test_small.py.
PINS = {"clk": 35, "button": 10, "rx": 6, "tx": 9, "led_red": 11, "led_green": 37,
        "flash_csb": 16, "flash_clk": 15, "flash_io0": 14, "flash_io1": 17, "flash_io2": 12,
        "flash_io3": 13}


def small_verilog(config: ArrayConfig, *, clock_hz: int) -> str:
    """Generate the system for a simulator, without the processor and the FPGA's blocks."""
    system = SmallSystem(config, clock_hz=clock_hz)
    return uncleared(verilog.convert(system, name=SMALL_MODULE, emit_src=False,
                                     strip_internal_attrs=True, platform=Ice40()))


def small_rtlil(config: ArrayConfig, *, clock_hz: int) -> str:
    """Generate the system for Yosys, see :func:`hw.generate.core_rtlil`."""
    system = SmallSystem(config, clock_hz=clock_hz)
    return colliding(rtlil.convert(system, name=SMALL_MODULE, emit_src=False, platform=Ice40()))


def cpu_verilog() -> dict[str, str]:
    """The processor, by name of file."""
    spec = find_spec("pythondata_cpu_picorv32")
    assert spec and spec.origin, "pythondata-cpu-picorv32 is a dependency of the group `soc`"
    path = Path(spec.origin).parent / "verilog" / "picorv32.v"
    return {path.name: path.read_text()}


def small_constraints(clock_hz: int) -> str:
    """Pins, and the clock, for nextpnr-ice40."""
    pins = "".join(f"set_io {port} {pin}\n" for port, pin in PINS.items())
    return f"{pins}set_frequency clk {clock_hz / 1e6:g}\n"


def small_files(config: ArrayConfig, *, clock_hz: int) -> dict[str, str]:
    """Everything that is known of the system, by name of file."""
    return {f"{SMALL_MODULE}.v": small_verilog(config, clock_hz=clock_hz), **cpu_verilog(),
            HEADER: small_header(clock_hz), SCRIPT: small_script(),
            CONSTRAINTS: small_constraints(clock_hz)}


def small_sources(config: ArrayConfig, *, clock_hz: int) -> dict[str, str]:
    """What is synthesized, and its constraints, by name of file."""
    return {f"{SMALL_MODULE}.il": small_rtlil(config, clock_hz=clock_hz), **cpu_verilog(),
            CONSTRAINTS: small_constraints(clock_hz)}
