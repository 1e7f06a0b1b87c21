"""The system: a VexRiscv, a UART, a timer and LiteDRAM around the core.

One class for the board and for simulation; they differ in what is behind their pins
(:mod:`hw.soc.boards`).
"""

from litedram.frontend.axi import LiteDRAMAXI2Native
from litex.soc.integration.soc_core import SoCCore

from hw.soc.boards import Board
from hw.soc.core import SocCore
from hw.soc.write import ROM_BYTES
from hw.spec.config import ArrayConfig

__all__ = ["CORE_ADDRESS", "System"]

#: Where the CPU sees the core's registers: in VexRiscv's uncached half of the address space.
CORE_ADDRESS = 0x9000_0000
_CORE_BYTES = 0x1000
_STACK_BYTES = 2048
#: Beats that may wait between LiteDRAM and the core: more than it takes SDRAM to answer.
_BUFFER_BEATS = 64


class System(SoCCore):
    """CPU, peripherals, memory and the core.

    The CPU has a write-through data cache that sees nothing of what the core writes: the driver
    flushes it. There is no second cache, which would also hide the CPU's writes from the core.
    The core has a port of LiteDRAM to itself.

    Parameters
    ----------
    board
        Pins, clocks and memory chip.
    config
        Of the core.
    clock_hz
        Of CPU, core and memory controller; the memory chip has twice as much.
    """

    def __init__(self, board: Board, config: ArrayConfig, clock_hz: int) -> None:
        self.crg = board.clocks(clock_hz)
        super().__init__(
            board.platform, clock_hz, cpu_type="vexriscv", cpu_variant="standard",
            integrated_rom_size=ROM_BYTES, integrated_sram_size=_STACK_BYTES,
            uart_name=board.uart, uart_baudrate=1_000_000, timer_uptime=False, ident="",
            ident_version=False)
        self.sdrphy = board.memory_phy(clock_hz)
        self.add_sdram("sdram", phy=self.sdrphy, module=board.memory_module(clock_hz),
                       l2_cache_size=0)

        self.macrame = SocCore(config)
        self.bus.add_slave("macrame", self.macrame.control, self.macrame.region(
            CORE_ADDRESS, _CORE_BYTES))
        self.irq.add("macrame")
        self.submodules += LiteDRAMAXI2Native(
            self.macrame.memory, self.sdram.crossbar.get_port(data_width=8 * config.bus_bytes),
            w_buffer_depth=_BUFFER_BEATS, r_buffer_depth=_BUFFER_BEATS,
            base_address=self.bus.regions["main_ram"].origin)
