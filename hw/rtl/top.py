"""The core: everything in docs/rtl.md, connected."""

from collections.abc import Sequence

from amaranth import ClockDomain, ClockSignal, DomainRenamer, Module, ResetInserter, ResetSignal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from hw.rtl.array import Array
from hw.rtl.axi import AxiLite, AxiRead, AxiWrite
from hw.rtl.axi_read import ReadMaster
from hw.rtl.axi_write import WriteMaster
from hw.rtl.load import LoadUnit
from hw.rtl.mac import MacUnit
from hw.rtl.post import PostUnit
from hw.rtl.scratchpad import Scratchpad
from hw.rtl.sequencer import Sequencer
from hw.rtl.store import StoreUnit
from hw.spec.config import ArrayConfig
from hw.spec.isa import Queue

__all__ = ["Core"]


class Core(wiring.Component):
    """The accelerator: an AXI4 master for memory, an AXI4-Lite slave for the driver.

    Parameters
    ----------
    config
    multiplier
        Of :class:`hw.rtl.array.Array`.

    Members
    -------
    m_axi_* : AXI4
        As :class:`hw.rtl.axi.AxiRead` and :class:`hw.rtl.axi.AxiWrite`.
    s_axil_* : AXI4-Lite
        The registers of :mod:`hw.spec.regs`.
    irq : Out(1)
        The interrupt, a level.

    The reset must last for two cycles. It acts on the sequencer, which resets the rest as at the
    end of a run: a wire to all registers of the core would be the slowest of all. Hence a clock
    domain of the core's own, with the same clock. In Amaranth's simulator that would be later than
    the clock itself; the core is simulated as Verilog.
    """

    def __init__(self, config: ArrayConfig, multiplier: str | Sequence[str] = "inferred") -> None:
        self.config = config
        self.multiplier = multiplier
        # Flat, for the names that other tools expect.
        self.buses = (("m_axi", AxiRead(config.bus_bytes)), ("m_axi", AxiWrite(config.bus_bytes)),
                      ("s_axil", AxiLite().flip()))
        super().__init__({"irq": Out(1), **{
            f"{prefix}_{name}": member for prefix, bus in self.buses
            for name, member in bus.members.items()}})

    def elaborate(self, platform):
        m = Module()
        config = self.config

        m.domains.core = ClockDomain("core", reset_less=True, local=True)
        m.d.comb += ClockSignal("core").eq(ClockSignal())
        sequencer = Sequencer(config)
        m.submodules.sequencer = DomainRenamer("core")(sequencer)
        m.d.comb += sequencer.rst.eq(ResetSignal())
        reset = sequencer.reset

        def placed(component, reset):
            return DomainRenamer("core")(ResetInserter(reset)(component))

        # The bus sees a reset at once.
        bus_reset = sequencer.rst | reset.bus
        m.submodules.read = placed(read := ReadMaster(config.bus_bytes), bus_reset)
        m.submodules.write = placed(write := WriteMaster(config.bus_bytes), bus_reset)
        m.submodules.scratchpad = placed(scratchpad := Scratchpad(config), reset.scratchpad)
        m.submodules.array = placed(array := Array(config, self.multiplier), reset.array)
        units = {Queue.LOAD: (load := LoadUnit(config)),
                 Queue.MAC: (mac := MacUnit(config, latency=array.latency)),
                 Queue.POST: (post := PostUnit(config)), Queue.STORE: (store := StoreUnit(config))}
        for queue, unit in units.items():
            m.submodules[queue.name.lower()] = placed(unit, reset.units[queue])

        def connect(*interfaces):
            wiring.connect(m, *interfaces)

        # Instructions, and what becomes of them.
        for queue, unit in units.items():
            connect(sequencer.units[queue], unit.unit)
        connect(sequencer.fetch, read.fetch)

        # Memory.
        connect(load.read, read.data)
        connect(store.write, write.client)
        m.d.comb += [
            read.halt.eq(sequencer.halt.bus),
            write.halt.eq(sequencer.halt.bus),
            sequencer.bus_idle.eq(read.idle & write.idle),
            sequencer.bus_active.eq(read.axi.rvalid | (write.axi.wvalid & write.axi.wready)
                                    | write.axi.bvalid),
        ]
        for unit, windows in ((load, ("constants", "activations")), (store, ("activations",))):
            for name in windows:
                window = getattr(sequencer, name)
                m.d.comb += [getattr(unit, f"{name}_base").eq(window.base),
                             getattr(unit, f"{name}_bytes").eq(window.size)]

        # On-chip memories.
        connect(load.scratchpad, scratchpad.load)
        connect(post.scratchpad, scratchpad.post)
        connect(store.scratchpad, scratchpad.store)
        connect(mac.scratchpad, scratchpad.mac)
        connect(mac.array, array.i)
        connect(post.accumulators, array.accumulators)
        for memory in (array.linear, post.linear):
            m.d.comb += [getattr(memory, name).eq(getattr(load.linear, name))
                         for name in memory.signature.members]

        # Ports.
        for port, bus in (("m_axi", read.axi), ("m_axi", write.axi), ("s_axil", sequencer.control)):
            for name, member in bus.signature.members.items():
                inner, outer = getattr(bus, name), getattr(self, f"{port}_{name}")
                m.d.comb += inner.eq(outer) if member.flow is In else outer.eq(inner)
        m.d.comb += self.irq.eq(sequencer.interrupt)
        return m
