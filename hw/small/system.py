"""The small system: a PicoRV32, its memories, flash and UART, and the array.

The processor is by Claire Xenia Wolf (ISC licence), from the wheel ``pythondata-cpu-picorv32``.
"""

from amaranth import (
    Cat,
    ClockDomain,
    ClockSignal,
    Const,
    Instance,
    Module,
    Mux,
    ResetSignal,
    Signal,
)
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from hw.small.flash import FlashReader
from hw.small.mac_port import MacPort
from hw.small.memory import SharedScratchpad, SinglePort
from hw.small.uart import Uart
from hw.spec.config import ArrayConfig
from hw.spec.small import FIRMWARE_OFFSET, RAM_BYTES, Region, Register, check_small

__all__ = ["BAUD", "SmallSystem"]

BAUD = 1_000_000
#: Cycles after configuration, and after the button, until the processor starts.
_RESET_CYCLES = 64
#: Of the processor: nothing that a compiler's program would not use.
_CPU = {
    "ENABLE_COUNTERS": Const(0, 1), "ENABLE_COUNTERS64": Const(0, 1),
    "CATCH_MISALIGN": Const(0, 1), "CATCH_ILLINSN": Const(0, 1),
    "PROGADDR_RESET": Const(Region.FLASH + FIRMWARE_OFFSET, 32),
}


class SmallSystem(wiring.Component):
    """Everything behind the pins.

    Parameters
    ----------
    config : ArrayConfig
    clock_hz : int
        Of `clk`; a multiple of :data:`BAUD`.

    Members
    -------
    clk : In(1)
    button : In(1)
        Low: reset.
    flash_csb, flash_clk, flash_io0, flash_io1, flash_io2, flash_io3
        SPI flash, read with command 03h: io0 is its input, io1 its output, io2 and io3 stay high.
    tx, rx : Out(1), In(1)
        UART, :data:`BAUD`, 8N1.
    led_green, led_red : Out(1)
        Low: on.

    Raises
    ------
    ConfigError
        The array cannot be that of a small system.
    """

    def __init__(self, config: ArrayConfig, *, clock_hz: int) -> None:
        check_small(config)
        if clock_hz % BAUD:
            raise ValueError(f"clock_hz must be a multiple of {BAUD}, not {clock_hz}")
        self.config = config
        self.clock_hz = clock_hz
        super().__init__({
            "clk": In(1), "button": In(1), "flash_csb": Out(1), "flash_clk": Out(1),
            "flash_io0": Out(1), "flash_io1": In(1), "flash_io2": Out(1), "flash_io3": Out(1),
            "tx": Out(1), "rx": In(1), "led_green": Out(1), "led_red": Out(1)})

    def elaborate(self, platform):
        m = Module()
        m.domains.sync = ClockDomain()
        m.d.comb += ClockSignal().eq(self.clk)

        # Reset: block RAMs are not ready at once, and the button bounces.
        m.domains.start = ClockDomain(reset_less=True)
        m.d.comb += ClockSignal("start").eq(self.clk)
        button, count = Signal(2), Signal(range(_RESET_CYCLES))
        m.d.start += [
            button.eq(Cat(self.button, button)),
            count.eq(Mux(button[1], count + (count != _RESET_CYCLES - 1), 0)),
            ResetSignal().eq(count != _RESET_CYCLES - 1),
        ]

        # The processor.
        valid, ready = Signal(), Signal()
        address, written, read, strobe = Signal(32), Signal(32), Signal(32), Signal(4)
        next_read, next_write, next_strobe = Signal(), Signal(), Signal(4)
        next_address, next_written = Signal(32), Signal(32)
        m.submodules.cpu = Instance(
            "picorv32", **{f"p_{name}": value for name, value in _CPU.items()},
            i_clk=ClockSignal(), i_resetn=~ResetSignal(),
            o_mem_valid=valid, i_mem_ready=ready, o_mem_addr=address, o_mem_wdata=written,
            o_mem_wstrb=strobe, i_mem_rdata=read, o_mem_la_read=next_read,
            o_mem_la_write=next_write, o_mem_la_addr=next_address, o_mem_la_wdata=next_written,
            o_mem_la_wstrb=next_strobe,
            i_pcpi_wr=Const(0), i_pcpi_rd=Const(0, 32), i_pcpi_wait=Const(0),
            i_pcpi_ready=Const(0), i_irq=Const(0, 32))

        # Who is asked. Only who is asked answers, with anything but 0.
        m.submodules.mac = mac = MacPort(self.config)
        m.submodules.flash = flash = FlashReader()
        m.submodules.ram = ram = SinglePort(RAM_BYTES // 4)
        m.submodules.scratchpad = scratchpad = SharedScratchpad(self.config)
        wiring.connect(m, mac.scratchpad, scratchpad.mac)
        m.d.comb += scratchpad.busy.eq(mac.busy)
        asked = {region: Signal(name=f"asks_{region.name.lower()}") for region in Region}
        for region, flag in asked.items():
            m.d.comb += flag.eq(valid & (address[28:31] == region >> 28))
        answers, reads = [], []
        # The RAM learns of an access a cycle before, and answers at once.
        m.d.comb += [
            ram.enable.eq((next_read | next_write) & (next_address[28:31] == Region.RAM >> 28)),
            ram.address.eq(next_address[2:]), ram.written.eq(next_written),
            ram.strobe.eq(Mux(next_write, next_strobe, 0)),
        ]
        reads.append(Mux(asked[Region.RAM], ram.read, 0))
        answers.append(asked[Region.RAM])
        for region, bus in ((Region.SCRATCHPAD, scratchpad.bus), (Region.WEIGHTS, mac.weights),
                            (Region.ACCUMULATORS, mac.accumulators), (Region.FLASH, flash.bus),
                            (Region.REGISTERS, mac.registers)):
            m.d.comb += [bus.valid.eq(asked[region]), bus.address.eq(address[2:]),
                         bus.written.eq(written), bus.strobe.eq(strobe)]
            reads.append(bus.read)
            if region != Region.REGISTERS:
                answers.append(bus.ready)

        m.d.comb += [
            self.flash_csb.eq(flash.csb), self.flash_clk.eq(flash.clk),
            self.flash_io0.eq(flash.mosi), flash.miso.eq(self.flash_io1),
            self.flash_io2.eq(1), self.flash_io3.eq(1),
        ]

        # Registers beside the array's: UART, LEDs, cycles.
        register = {r: Signal(name=f"asks_{r.name.lower()}") for r in Register}
        for which, flag in register.items():
            m.d.comb += flag.eq(asked[Region.REGISTERS] & (address[2:8] == which // 4))
        m.submodules.uart = uart = Uart(self.clock_hz // BAUD)
        m.d.comb += [
            self.tx.eq(uart.tx), uart.rx.eq(self.rx), uart.written.eq(written),
            uart.send.eq(register[Register.UART] & strobe.any()),
            uart.take.eq(register[Register.UART] & ~strobe.any()),
        ]
        cycles, leds = Signal(32), Signal(2)
        m.d.sync += cycles.eq(cycles + 1)
        with m.If(register[Register.LEDS] & strobe.any()):
            m.d.sync += leds.eq(written)
        m.d.comb += [self.led_green.eq(~leds[0]), self.led_red.eq(~leds[1])]
        reads += [Mux(register[Register.UART], Cat(uart.read, (~uart.came).replicate(24)), 0),
                  Mux(register[Register.CYCLES], cycles, 0)]
        answers.append(asked[Region.REGISTERS] & ~(uart.send & uart.sending))

        m.d.comb += [ready.eq(_any(answers)), read.eq(_any(reads))]
        return m


def _any(values):
    """Bitwise or of signals."""
    result = values[0]
    for value in values[1:]:
        result |= value
    return result
