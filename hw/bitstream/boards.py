"""Boards: their FPGA, and how the tools are told about it."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from hw.spec import boards
from hw.spec.config import ArrayConfig

__all__ = ["BOARDS", "Board", "Device"]


@dataclass(frozen=True, kw_only=True)
class Device:
    """An FPGA.

    Parameters
    ----------
    name
        Of the part.
    synth
        Yosys' command, without the top module.
    place
        Name of the place-and-route tool, and its options for this part.
    pack
        Name of the packer.
    tiles
        Columns and rows of nextpnr's grid.
    """

    name: str
    synth: str
    place: tuple[str, ...]
    pack: str
    tiles: tuple[int, int]


@dataclass(frozen=True, kw_only=True)
class Board:
    """A board and the core that it gets; what it has is in :mod:`hw.spec.boards`.

    Parameters
    ----------
    device
    target
        Preset of :mod:`hw.spec.config`.
    """

    device: Device
    target: str

    def multiplier(self, config: ArrayConfig) -> tuple[str, ...]:
        """Style of each column of an array, see :func:`hw.spec.resources.multipliers`."""
        return boards.BOARDS[self.target].multipliers(config)


# Without larger multiplexers made of lookup tables, fewer of these are used. The static placer's
# wires are shorter than those of HeAP, nextpnr's default.
_LFE5U_85F = Device(
    name="LFE5U-85F-6BG381", synth="synth_ecp5 -nowidelut",
    place=("nextpnr-ecp5", "--85k", "--package", "CABGA381", "--speed", "6", "--placer", "static"),
    pack="ecppack", tiles=(127, 96))

#: By name, as on the command line.
BOARDS: Mapping[str, Board] = MappingProxyType({
    "ulx3s-85f": Board(device=_LFE5U_85F, target="ulx3s-85f"),
})
