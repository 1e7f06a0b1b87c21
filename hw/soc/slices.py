"""Registers on buses: a cycle later, and no path from one side to the other."""

from copy import copy
from typing import Any

from litedram.common import LiteDRAMNativePort
from litedram.phy import dfi
from litex.gen import LiteXModule
from litex.soc.interconnect import stream, wishbone
from litex.soc.interconnect.axi import AXIInterface
from migen import If, Signal, log2_int

__all__ = ["AxiSlice", "CommandSlice", "DownConverter", "PinSlice", "WishboneSlice"]


class AxiSlice(LiteXModule):
    """Registers in both directions of all five channels.

    On an FPGA, a core and a memory controller are far from each other, and each has logic before
    its first register. Costs a cycle of latency each way, and no bandwidth.

    Parameters
    ----------
    master : AXIInterface
        What asks.

    Members
    -------
    bus : AXIInterface
        The same, for what answers.
    """

    def __init__(self, master: AXIInterface) -> None:
        self.bus = AXIInterface(data_width=master.data_width, address_width=master.address_width,
                                id_width=master.id_width)
        for name in ("aw", "w", "b", "ar", "r"):
            there, back = getattr(master, name), getattr(self.bus, name)
            source, sink = (back, there) if name in ("b", "r") else (there, back)
            _buffered(self, name, source, sink)


class CommandSlice(LiteXModule):
    """Registers before the commands of a port of LiteDRAM.

    Who asks must have the data of a write, and room for those of a read, when it gives the command,
    as always: LiteDRAM takes and gives them when it has carried the command out.

    Parameters
    ----------
    port : LiteDRAMNativePort
        Of the crossbar.

    Members
    -------
    port : LiteDRAMNativePort
        The same, for the master.
    """

    def __init__(self, port: LiteDRAMNativePort) -> None:
        self.port = LiteDRAMNativePort(port.mode, port.address_width, port.data_width)
        _buffered(self, "command", self.port.cmd, port.cmd)
        self.comb += [self.port.wdata.connect(port.wdata), port.rdata.connect(self.port.rdata),
                      port.flush.eq(self.port.flush), self.port.lock.eq(port.lock)]


class DownConverter(LiteXModule):
    """A port of LiteDRAM as wide as its master's words.

    LiteDRAM's own takes a cycle more for each word than it has parts, a third of the bandwidth
    where there are two. This one takes none.

    Parameters
    ----------
    port : LiteDRAMNativePort
        Of the crossbar, or a :class:`CommandSlice` of it.
    width
        Bits of the master's words, a power of two times the port's.

    Members
    -------
    port : LiteDRAMNativePort
        For the master, who keeps a command until it is taken.
    """

    def __init__(self, port: LiteDRAMNativePort, width: int) -> None:
        parts = width // port.data_width
        bits = log2_int(parts)
        self.port = LiteDRAMNativePort(port.mode, port.address_width - bits, width)
        part = Signal(max(bits, 1))
        self.comb += [
            port.cmd.valid.eq(self.port.cmd.valid), port.cmd.we.eq(self.port.cmd.we),
            port.cmd.last.eq(self.port.cmd.last & (part == parts - 1)),
            port.cmd.addr.eq((self.port.cmd.addr << bits) | part),
            self.port.cmd.ready.eq(port.cmd.ready & (part == parts - 1)),
            port.flush.eq(self.port.flush), self.port.lock.eq(port.lock),
        ]
        if parts > 1:
            self.sync += If(port.cmd.valid & port.cmd.ready, part.eq(part + 1))
        for name, source, sink in (("write", self.port.wdata, port.wdata),
                                   ("read", port.rdata, self.port.rdata)):
            words = stream.StrideConverter(source.description, sink.description)
            self.add_module(name=f"{name}_words", module=words)
            self.comb += [source.connect(words.sink), words.source.connect(sink)]


class PinSlice(LiteXModule):
    """Registers between the memory controller and those of the SDRAM's pins, in both directions.

    Those stand at the FPGA's edge, and the controller does not.

    Parameters
    ----------
    phy
        Of LiteDRAM.

    Members
    -------
    dfi : dfi.Interface
    settings : PhySettings
        As of a PHY, with two cycles more until an answer.
    """

    def __init__(self, phy: Any) -> None:
        self.settings = copy(phy.settings)
        self.settings.read_latency += 2
        first, *_ = phases = phy.dfi.phases
        self.dfi = dfi.Interface(len(first.address), len(first.bank), len(first.cs_n),
                                 len(first.wrdata), len(phases))
        self.sync += self.dfi.connect(phy.dfi)


class WishboneSlice(LiteXModule):
    """Registers in both directions of a Wishbone bus: every access is one of its own.

    Costs two cycles for each access.

    Parameters
    ----------
    master : wishbone.Interface
        What asks.

    Members
    -------
    bus : wishbone.Interface
        The same, for what answers.
    """

    def __init__(self, master: wishbone.Interface) -> None:
        self.bus = bus = wishbone.Interface.like(master)
        asking = Signal()
        answered = Signal()  # the master takes its request back in this cycle
        self.comb += [bus.cyc.eq(asking), bus.stb.eq(asking),
                      master.ack.eq(answered & ~master.err)]
        self.sync += [
            answered.eq(0), master.err.eq(0),
            If(asking,
                If(bus.ack | bus.err,
                    asking.eq(0), answered.eq(1), master.err.eq(bus.err),
                    master.dat_r.eq(bus.dat_r)))
            .Elif(master.cyc & master.stb & ~answered,
                asking.eq(1), bus.we.eq(master.we), bus.adr.eq(master.adr),
                bus.sel.eq(master.sel), bus.dat_w.eq(master.dat_w)),
        ]


def _buffered(module: LiteXModule, name: str, source: stream.Endpoint,
              sink: stream.Endpoint) -> None:
    """Let a stream go through two places: neither `valid` nor `ready` goes through."""
    buffer = stream.Buffer(source.description, pipe_valid=True, pipe_ready=True)
    module.add_module(name=f"{name}_buffer", module=buffer)
    module.comb += [source.connect(buffer.sink), buffer.source.connect(sink)]
