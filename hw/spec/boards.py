"""Boards: what their FPGA has, what the system beside the core takes of it, and what is missing."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

from hw.spec.block_ram import Storage, storage
from hw.spec.config import ArrayConfig
from hw.spec.resources import Resources, estimate, memories, multipliers

__all__ = ["BOARDS", "ERROR", "Board", "Fpga", "PLACED", "missing"]

#: LUTs of a placed system to those of its netlist: nextpnr adds some at the ends of carry chains.
PLACED = 1.122
#: Share by which the estimate of LUTs, or of registers, may be wrong. It was 3 % for two
#: cores that were synthesized, 1 % for the system that was placed.
ERROR = 0.10


@dataclass(frozen=True, kw_only=True)
class Fpga:
    """An FPGA.

    Parameters
    ----------
    name
        Of the part.
    has
        How much of everything.
    dsp_name, ebr_name
        What its maker calls a DSP block and a block RAM.
    ebr_kbit
        Size of a block RAM, parity included.
    """

    name: str
    has: Resources
    dsp_name: str
    ebr_name: str
    ebr_kbit: int

    @property
    def names(self) -> dict[str, str]:
        """What to call each resource that it has, by field of :class:`Resources`."""
        names = {"lut4": "LUT4", "ff": "registers", "dsp": self.dsp_name,
                 "ebr": f"{self.ebr_name}, {self.ebr_kbit} Kbit",
                 "spram": "SB_SPRAM256KA, 256 Kbit"}
        return {key: name for key, name in names.items() if getattr(self.has, key)}


@dataclass(frozen=True, kw_only=True)
class Board:
    """A board; the preset of its name is the core for it.

    Parameters
    ----------
    fpga
    system
        What the processor, the memory controller and the UART take, placed; None if what a core
        takes of this FPGA cannot be told.
    """

    fpga: Fpga
    system: Resources | None = None

    def multipliers(self, config: ArrayConfig) -> tuple[str, ...]:
        """:func:`hw.spec.resources.multipliers` with the DSP blocks that the rest leaves."""
        rest = estimate(config, ())["post"] + (self.system or Resources())
        return multipliers(config, self.fpga.has.dsp - rest.dsp)

    def core(self, config: ArrayConfig) -> Resources | None:
        """What a core takes, placed; None if that cannot be told."""
        if self.system is None:
            return None
        netlist = sum(estimate(config, self.multipliers(config)).values(), Resources())
        return replace(netlist, lut4=round(PLACED * netlist.lut4))


_LFE5U_85F = Fpga(name="LFE5U-85F", dsp_name="MULT18X18D", ebr_name="DP16KD", ebr_kbit=18,
                  has=Resources(lut4=83640, ff=83640, dsp=156, ebr=208))
_ICE40UP5K = Fpga(name="iCE40UP5K", dsp_name="SB_MAC16", ebr_name="SB_RAM40_4K", ebr_kbit=4,
                  has=Resources(lut4=5280, ff=5280, dsp=8, ebr=30, spram=4))

#: By name.
BOARDS: Mapping[str, Board] = MappingProxyType({
    # A placed system less its core, with SDRAM at the system's clock.
    "ulx3s-85f": Board(fpga=_LFE5U_85F, system=Resources(lut4=6270, ff=3035, dsp=0, ebr=7)),
    "icebreaker-up5k": Board(fpga=_ICE40UP5K),
})


def missing(name: str, config: ArrayConfig) -> list[str]:
    """Say why a core does not fit a board: for each resource that there is not enough of, its
    numbers and what to do. Nothing if it fits, or if that cannot be told.
    """
    board = BOARDS[name]
    core, system, has = board.core(config), board.system, board.fpga.has
    if core is None or system is None:
        return []
    blocks = {holds: sum((storage(m) for m in found), Storage()).blocks
              for holds, found in memories(config).items()}
    of_blocks = ", ".join(f"{holds} {n}" for holds, n in blocks.items() if n)
    from_luts = board.multipliers(config).count("lut")
    smaller = "Lower --rows, --columns or --post-lanes"
    share = (", or let columns share DSP blocks with --weight-min -127"
             if from_luts and config.weight_min < -127 else "")
    found = []
    for key, what, detail, remedy in (
            ("ebr", f"block RAMs ({board.fpga.ebr_name})", f" ({of_blocks})",
             "Lower --scratchpad-words, --weight-words, --accumulator-words or --post-lanes"),
            ("dsp", f"DSP blocks ({board.fpga.dsp_name})", "", "Lower --post-lanes"),
            ("lut4", "LUTs", f" ({from_luts} of {config.columns} columns multiply with LUTs)"
             if from_luts else "", smaller + share),
            ("ff", "registers", "", smaller)):
        need, rest, limit = (getattr(r, key) for r in (core, system, has))
        if need + rest > limit:
            about = "" if key in ("ebr", "dsp") else "about "
            found.append(f"{what} must be at most {limit}, not {about}{need + rest}: {need} of the "
                         f"core{detail} and {rest} of the system. {remedy}.")
    return found
