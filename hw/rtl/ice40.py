"""The iCE40 UltraPlus' blocks that no tool infers as they are used here: all that is vendor's.

An object of :class:`Ice40` is the platform that a design is converted for; components that have a
block for themselves ask it. Without it, in Amaranth's simulator, they are plain logic.

Ref: Lattice, iCE40 Technology Library, FPGA-TN-02026; DSP Function Usage Guide for iCE40 Devices,
FPGA-TN-02007; SPRAM Usage Guide for iCE40 Devices, FPGA-TN-02022.
"""

from amaranth import Cat, ClockSignal, Const, Instance, Module, Signal

__all__ = ["Ice40"]


class Ice40:
    """What to make of multipliers in pairs and of large single-port memories."""

    def dual_multiplier(self, multiplier) -> Module:
        """Both products of a :class:`hw.rtl.multiplier.Multiplier` of style "dual": a SB_MAC16
        that multiplies its upper bytes and its lower bytes, with registers for the weights, and
        one behind each product.
        """
        m = Module()
        products = Signal(32)
        m.submodules.dsp = Instance(
            "SB_MAC16",
            # Both bytes of either operand are signed, and its output is what was multiplied.
            p_MODE_8x8=Const(1, 1), p_A_SIGNED=Const(1, 1), p_B_SIGNED=Const(1, 1),
            p_A_REG=Const(1, 1), p_TOP_8x8_MULT_REG=Const(1, 1), p_BOT_8x8_MULT_REG=Const(1, 1),
            p_TOPOUTPUT_SELECT=Const(2, 2), p_BOTOUTPUT_SELECT=Const(2, 2),
            i_CLK=ClockSignal(), i_CE=Const(1), i_AHOLD=~multiplier.take,
            i_A=multiplier.weights.as_value(), i_B=multiplier.activation.replicate(2),
            i_C=Const(0, 16), i_D=Const(0, 16),
            **{f"i_{name}": Const(0) for name in (
                "BHOLD", "CHOLD", "DHOLD", "IRSTTOP", "IRSTBOT", "ORSTTOP", "ORSTBOT",
                "OLOADTOP", "OLOADBOT", "ADDSUBTOP", "ADDSUBBOT", "OHOLDTOP", "OHOLDBOT", "CI",
                "ACCUMCI", "SIGNEXTIN")},
            o_O=products)
        m.d.comb += multiplier.products.eq(products)
        return m

    def single_port(self, memory) -> Module:
        """A :class:`hw.small.memory.SinglePort`: two SB_SPRAM256KA side by side."""
        m = Module()
        for half in range(2):
            written = memory.strobe[2 * half:2 * half + 2]
            m.submodules[f"half_{half}"] = Instance(
                "SB_SPRAM256KA",
                i_ADDRESS=Cat(memory.address, Const(0, 14 - len(memory.address))),
                i_DATAIN=memory.written[16 * half:16 * half + 16],
                # A bit for every four.
                i_MASKWREN=Cat(written[0], written[0], written[1], written[1]),
                i_WREN=written.any(), i_CHIPSELECT=memory.enable, i_CLOCK=ClockSignal(),
                i_STANDBY=Const(0), i_SLEEP=Const(0), i_POWEROFF=Const(1),  # low means off
                o_DATAOUT=memory.read[16 * half:16 * half + 16])
        return m
