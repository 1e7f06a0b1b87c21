"""Boards: what their FPGA has, what the system beside the core takes of it, and what is missing."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

from hw.spec.block_ram import Storage, storage
from hw.spec.config import ArrayConfig, ConfigError
from hw.spec.resources import Resources, estimate, memories, multipliers
from hw.spec.small import check_small
from hw.spec.small_resources import SMALL_SYSTEM, small_blocks, small_core

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
    lut_name
        What LUTs are counted as.
    """

    name: str
    has: Resources
    dsp_name: str
    ebr_name: str
    ebr_kbit: int
    lut_name: str = "LUT4"

    @property
    def names(self) -> dict[str, str]:
        """What to call each resource that it has, by field of :class:`Resources`."""
        names = {"lut4": self.lut_name, "ff": "registers", "dsp": self.dsp_name,
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
        What the processor, the memory controller and the UART take, placed.
    small
        Its system is the small one, :mod:`hw.spec.small`.
    """

    fpga: Fpga
    system: Resources
    small: bool = False

    def multipliers(self, config: ArrayConfig) -> tuple[str, ...]:
        """:func:`hw.spec.resources.multipliers` with the DSP blocks that the rest leaves."""
        if self.small:
            return ("dual",) * config.columns
        rest = estimate(config, ())["post"] + self.system
        return multipliers(config, self.fpga.has.dsp - rest.dsp)

    def core(self, config: ArrayConfig) -> Resources:
        """What a core takes, placed."""
        if self.small:
            return small_core(config)
        netlist = sum(estimate(config, self.multipliers(config)).values(), Resources())
        return replace(netlist, lut4=round(PLACED * netlist.lut4))


_LFE5U_85F = Fpga(name="LFE5U-85F", dsp_name="MULT18X18D", ebr_name="DP16KD", ebr_kbit=18,
                  has=Resources(lut4=83640, ff=83640, dsp=156, ebr=208))
_ICE40UP5K = Fpga(name="iCE40UP5K", dsp_name="SB_MAC16", ebr_name="SB_RAM40_4K", ebr_kbit=4,
                  lut_name="logic cells",
                  has=Resources(lut4=5280, ff=5280, dsp=8, ebr=30, spram=4))

#: By name.
BOARDS: Mapping[str, Board] = MappingProxyType({
    # A placed system less its core, with SDRAM at the system's clock.
    "ulx3s-85f": Board(fpga=_LFE5U_85F, system=Resources(lut4=6270, ff=3035, dsp=0, ebr=7)),
    "icebreaker-up5k": Board(fpga=_ICE40UP5K, system=SMALL_SYSTEM, small=True),
})


def missing(name: str, config: ArrayConfig) -> list[str]:
    """Say why a core does not fit a board: for each resource that there is not enough of, its
    numbers and what to do, or the rule that it breaks. Nothing if it fits.
    """
    board = BOARDS[name]
    if board.small:
        try:
            check_small(config)
        except ConfigError as error:
            return [f"{error}."]
    core, system, has = board.core(config), board.system, board.fpga.has
    if board.small:
        half = -(-config.accumulator_words // 2)
        blocks = {"weights": config.columns * small_blocks(config.weight_words, 8),
                  "accumulators": 2 * config.columns * small_blocks(half, 32)}
    else:
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
             "Lower --weight-words, --accumulator-words or --columns" if board.small else
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
