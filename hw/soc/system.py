"""The system: a VexRiscv, a UART, a timer and LiteDRAM around the core.

One class for the board and for simulation; they differ in what is behind their pins
(:mod:`hw.soc.boards`).
"""

from litedram.core.controller import ControllerSettings
from litedram.frontend.axi import LiteDRAMAXI2Native
from litex.soc.integration.soc_core import SoCCore
from litex.soc.interconnect import wishbone

from hw.soc.boards import Board
from hw.soc.core import SocCore
from hw.soc.early import compare_rows_early, count_words_early
from hw.soc.slices import AxiSlice, CommandSlice, DownConverter, PinSlice, WishboneSlice
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

    The CPU has no data cache, which would not see what the core writes: it reads the outputs of a
    frame once. Registers between it and its buses, and between those and the memory, let the clock
    be faster than the CPU's way to memory and back. The core has a port of LiteDRAM to itself.

    Parameters
    ----------
    board
        Pins, clocks and memory chip.
    config
        Of the core.
    clock_hz
        Of CPU, core and memory controller.
    sdram_rate
        Clocks of the memory chip per clock of the system: 1 or 2.
    """

    def __init__(self, board: Board, config: ArrayConfig, clock_hz: int,
                 sdram_rate: int) -> None:
        self.crg = board.clocks(clock_hz, sdram_rate)
        super().__init__(
            board.platform, clock_hz, cpu_type="vexriscv", cpu_variant="lite",
            integrated_rom_size=ROM_BYTES, integrated_sram_size=_STACK_BYTES,
            uart_name=board.uart, uart_baudrate=1_000_000, timer_uptime=False, ident="",
            ident_version=False)
        for name, master in self.bus.masters.items():
            part = WishboneSlice(master)
            self.add_module(name=f"{name}_slice", module=part)
            self.bus.masters[name] = part.bus
        self.sdrphy = board.memory_phy(clock_hz, sdram_rate)
        self.memory_pins = PinSlice(self.sdrphy)
        self.add_sdram("sdram", phy=self.memory_pins, l2_cache_size=0,
                       module=board.memory_module(clock_hz, sdram_rate),
                       controller_settings=ControllerSettings(
                           cmd_buffer_depth=4, with_auto_precharge=False))
        compare_rows_early(self.sdram.controller)
        # Between the arbiter of the CPU's buses and LiteDRAM's.
        memory = self.bus.slaves["main_ram"]
        asked = wishbone.Interface.like(memory)
        self.main_ram_slice = WishboneSlice(asked)
        self.comb += self.main_ram_slice.bus.connect(memory)
        self.bus.slaves["main_ram"] = asked

        self.macrame = SocCore(config)
        self.bus.add_slave("macrame", self.macrame.control, self.macrame.region(
            CORE_ADDRESS, _CORE_BYTES))
        self.irq.add("macrame")
        self.memory_slice = AxiSlice(self.macrame.memory)
        self.command_slice = CommandSlice(self.sdram.crossbar.get_port())
        self.memory_words = DownConverter(self.command_slice.port, 8 * config.bus_bytes)
        self.word_slice = CommandSlice(self.memory_words.port)
        self.memory_adapter = LiteDRAMAXI2Native(
            self.memory_slice.bus, self.word_slice.port,
            w_buffer_depth=_BUFFER_BEATS, r_buffer_depth=_BUFFER_BEATS,
            base_address=self.bus.regions["main_ram"].origin)
        count_words_early(self.memory_adapter.write, self.word_slice.port)
