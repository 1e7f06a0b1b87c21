"""The core as LiteX sees it: a black box with two buses and an interrupt."""

from types import SimpleNamespace

from litex.gen import LiteXModule
from litex.soc.integration.soc import SoCRegion
from litex.soc.interconnect.axi import AXIInterface, AXILiteInterface
from migen import ClockSignal, Instance, Signal

from hw.generate import MODULE
from hw.spec.config import ArrayConfig

__all__ = ["SocCore"]

_ADDRESS = ("id", "addr", "len", "size", "burst")
#: Signals of each channel beside `valid` and `ready`.
_PAYLOADS = {
    "m_axi": {"aw": _ADDRESS, "w": ("data", "strb", "last"), "b": ("id", "resp"),
              "ar": _ADDRESS, "r": ("id", "data", "resp", "last")},
    "s_axil": {"aw": ("addr", "prot"), "w": ("data", "strb"), "b": ("resp",),
               "ar": ("addr", "prot"), "r": ("data", "resp")}}


class SocCore(LiteXModule):
    """An instance of the module that :func:`hw.generate.core_verilog` writes.

    Members
    -------
    control : AXILiteInterface
        Its registers.
    memory : AXIInterface
        What it masters.
    ev.irq : Signal
        Its interrupt, where LiteX looks for it.
    """

    def __init__(self, config: ArrayConfig) -> None:
        self.control = AXILiteInterface(data_width=32, address_width=32)
        self.memory = AXIInterface(data_width=8 * config.bus_bytes, address_width=32, id_width=1)
        interrupt = Signal()
        self.ev = SimpleNamespace(irq=interrupt)
        # A register of its own: the system's reset goes to a thousand others.
        reset = Signal(reset=1)
        self.sync += reset.eq(0)
        ports = {"i_clk": ClockSignal(), "i_rst": reset, "o_irq": interrupt}
        for prefix, bus, master in (("m_axi", self.memory, True), ("s_axil", self.control, False)):
            for channel, names in _PAYLOADS[prefix].items():
                endpoint = getattr(bus, channel)
                sent = (channel in ("aw", "w", "ar")) == master  # by the core
                there, back = ("o", "i") if sent else ("i", "o")
                for name in (*names, "valid"):
                    ports[f"{there}_{prefix}_{channel}{name}"] = getattr(endpoint, name)
                ports[f"{back}_{prefix}_{channel}ready"] = endpoint.ready
        for channel in ("aw", "ar"):  # the bus has addresses of 32 bits
            ports[f"i_s_axil_{channel}addr"] = getattr(self.control, channel).addr[:12]
        self.specials += Instance(MODULE, **ports)

    @staticmethod
    def region(origin: int, size: int) -> SoCRegion:
        """Where the registers are on the CPU's bus."""
        return SoCRegion(origin=origin, size=size, cached=False)
