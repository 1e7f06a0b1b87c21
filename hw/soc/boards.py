"""What is around the system: the pins of a board, or of a simulation, its clocks and its memory."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from litedram.modules import MT48LC16M16
from litedram.phy import GENSDRPHY, HalfRateGENSDRPHY
from litex.build.generic_platform import GenericPlatform, IOStandard, Pins, Subsignal
from litex.build.io import DDROutput
from litex.build.lattice.platform import LatticeECP5Platform
from litex.gen import LiteXModule
from litex.soc.cores.clock import ECP5PLL
from litex_boards.platforms import radiona_ulx3s
from migen import ClockDomain, ClockSignal, Signal

__all__ = ["Board", "make_board"]


@dataclass(frozen=True)
class Board:
    """A board, or what simulation has in place of one; both have 32 MB of 16-bit SDRAM.

    Parameters
    ----------
    platform
        LiteX's pins and tools.
    clocks
        Makes the clock generator for a frequency and clocks of the SDRAM per clock of the system:
        domain ``sys``, and ``sys2x`` if that is two.
    uart
        LiteX's name of the UART.
    """

    platform: GenericPlatform
    clocks: Callable[[int, int], LiteXModule]
    uart: str

    def memory_phy(self, clock_hz: int, sdram_rate: int) -> Any:
        """The pins of the SDRAM, at 1 or 2 times the clock."""
        phy = {1: GENSDRPHY, 2: HalfRateGENSDRPHY}[sdram_rate]
        return phy(self.platform.request("sdram"), clock_hz, cl=2)

    def memory_module(self, clock_hz: int, sdram_rate: int) -> Any:
        """Geometry and timing of the chip."""
        return MT48LC16M16(clock_hz, f"1:{sdram_rate}")

    def constraints(self, names: Any) -> str:
        """Pins and clocks for nextpnr-ecp5 (.lpf); empty in simulation.

        `names` is the namespace of the Verilog that LiteX wrote.
        """
        if not isinstance(self.platform, LatticeECP5Platform):
            return ""
        self.platform.do_finalize(None)
        signals, commands = self.platform.resolve_signals(names)
        lines = ["BLOCK RESETPATHS;", "BLOCK ASYNCPATHS;", *commands]
        for signal, pins, rules, _ in signals:
            attributes = [f"IO_TYPE={rule.name}" if isinstance(rule, IOStandard) else rule.misc
                          for rule in rules]
            for n, pin in enumerate(pins):
                port = f"{signal}[{n}]" if len(pins) > 1 else signal
                lines.append(f'LOCATE COMP "{port}" SITE "{pin}";')
                lines += [f'IOBUF PORT "{port}" {attribute};' for attribute in attributes]
        return "\n".join(lines) + "\n"


#: Degrees by which the clock at the SDRAM's pin is behind, by clocks per clock of the system: as in
#: litex-boards' target for this board.
_SDRAM_PIN_PHASE = {1: 90, 2: 180}


class _Ulx3sClocks(LiteXModule):
    """From the board's 25 MHz; the SDRAM's clock is shifted by the delay of the pins."""

    def __init__(self, platform: GenericPlatform, clock_hz: int, sdram_rate: int) -> None:
        self.rst = Signal()
        self.cd_pll = ClockDomain()
        self.cd_sys = ClockDomain()
        self.cd_sdram_pin = ClockDomain()
        self.pll = pll = ECP5PLL()
        self.comb += pll.reset.eq(platform.request("rst") | self.rst)
        pll.register_clkin(platform.request("clk25"), 25e6)
        pll.create_clkout(self.cd_pll, clock_hz)
        # The reset goes far. Of a register that is released with the clock, there can be copies.
        reset = Signal(reset=1)
        self.sync.pll += reset.eq(0)
        self.comb += [self.cd_sys.clk.eq(self.cd_pll.clk), self.cd_sys.rst.eq(reset)]
        if sdram_rate == 2:
            self.cd_sys2x = ClockDomain()
            pll.create_clkout(self.cd_sys2x, 2 * clock_hz)
        pll.create_clkout(self.cd_sdram_pin, sdram_rate * clock_hz,
                          phase=_SDRAM_PIN_PHASE[sdram_rate])
        self.specials += DDROutput(1, 0, platform.request("sdram_clock"),
                                   ClockSignal("sdram_pin"))
        # Keeps the ESP32 from resetting the FPGA.
        self.comb += platform.request("wifi_gpio0").eq(1)


class _SimulationClocks(LiteXModule):
    """Both clocks come from the testbench."""

    def __init__(self, platform: GenericPlatform) -> None:
        self.rst = Signal()
        self.cd_sys = ClockDomain()
        self.cd_sys2x = ClockDomain()
        reset = platform.request("rst")
        for domain, pin in ((self.cd_sys, "clk"), (self.cd_sys2x, "clk2x")):
            self.comb += [domain.clk.eq(platform.request(pin)), domain.rst.eq(reset | self.rst)]


_SIMULATION_PINS = [
    ("clk", 0, Pins(1)), ("clk2x", 0, Pins(1)), ("rst", 0, Pins(1)),
    ("serial", 0, *(Subsignal(f"{name}_{part}", Pins(width)) for name in ("source", "sink")
                    for part, width in (("valid", 1), ("ready", 1), ("data", 8)))),
    ("sdram", 0, *(Subsignal(name, Pins(width)) for name, width in (
        ("a", 13), ("ba", 2), ("dq", 16), ("dm", 2), ("we_n", 1), ("ras_n", 1), ("cas_n", 1),
        ("cs_n", 1), ("cke", 1)))),
]


def make_board(name: str) -> Board:
    """Make "ulx3s-85f" or "simulation", anew each time: platforms remember what was requested."""
    if name == "ulx3s-85f":
        ulx3s = radiona_ulx3s.Platform(device="LFE5U-85F", toolchain="trellis")
        return Board(ulx3s, partial(_Ulx3sClocks, ulx3s), "serial")
    if name == "simulation":
        platform = GenericPlatform("simulation", _SIMULATION_PINS, name="soc")
        return Board(platform, lambda *_: _SimulationClocks(platform), "sim")
    raise ValueError(f"board must be ulx3s-85f or simulation, not {name!r}")
