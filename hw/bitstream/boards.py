"""Boards: their FPGA, and how the tools are told about it."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from hw.spec import boards
from hw.spec.config import ArrayConfig

__all__ = ["BOARDS", "Board", "Device", "Site"]


@dataclass(frozen=True)
class Site:
    """Where a macro can be: column, row, and nextpnr's name of what is there."""

    x: int
    y: int
    name: str

    @property
    def bel(self) -> str:
        """The place, as nextpnr calls it."""
        return f"X{self.x}/Y{self.y}/{self.name}"


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
        Name of the packer, and its options.
    tiles
        Columns and rows of nextpnr's grid.
    sites
        Of each type of macros, block RAMs and DSPs, where they can be. Without, nextpnr decides it
        (:mod:`hw.bitstream.macros`).
    pins
        Options of the place-and-route tool for a file of pins, whose name follows the first.
    text
        Its option for the design as text, which the packer reads.
    bitstream
        Name of what the packer writes.
    resources
        What is scarce by the place-and-route tool's name, and ours.
    cells
        What is scarce by our name: how many of it each cell of the netlist is, by its type.
    logic
        Columns and rows of the tiles with lookup tables. Without, the placement stays as nextpnr
        makes it (:mod:`hw.bitstream.refine`).
    wire_delays
        Of a wire, picoseconds: inside a tile; between two tiles, and what is added in each of both
        directions: at all, for each near tile, for each other one; and how many are near.
    wire_capacity
        Horizontal and vertical wires that a tile has room for, as the annealer estimates them.
    """

    name: str
    synth: str
    place: tuple[str, ...]
    pack: tuple[str, ...]
    tiles: tuple[int, int]
    sites: Mapping[str, tuple[Site, ...]] = field(default_factory=lambda: MappingProxyType({}))
    pins: tuple[str, ...]
    text: str
    bitstream: str
    resources: Mapping[str, str]
    cells: Mapping[str, Mapping[str, int]]
    logic: tuple[tuple[int, int], ...] = ()
    wire_delays: tuple[float, ...] = ()
    wire_capacity: tuple[float, float] = (0, 0)

    def too_large(self, cells: Iterable[tuple[str, int, int]]) -> str:
        """Say that a design does not fit: types of cells, how many it takes, and how many there
        are. Types of which there are enough are not told.
        """
        wanted = [f"{n} of {most} {kind}" for kind, n, most in cells if n > most]
        return (f"The design must fit the {self.name}"
                + (f", not take {', '.join(wanted)}" if wanted else "")
                + "; choose a smaller core with --target")


@dataclass(frozen=True, kw_only=True)
class Board:
    """A board and the core that it gets; what it has is in :mod:`hw.spec.boards`.

    Parameters
    ----------
    device
    target
        Preset of :mod:`hw.spec.config`.
    pins
        Column and row that all pins are taken to be at when macros are placed: the middle of the
        memory's, which are nearly all.
    constraints
        Name of the file of pins.
    components
        Beginnings of cells' paths, and the component that they are part of.
    clock_hz
        Of the system, if none is asked for.
    """

    device: Device
    target: str
    pins: tuple[int, int]
    constraints: str
    components: Mapping[str, str]
    clock_hz: int

    def multiplier(self, config: ArrayConfig) -> tuple[str, ...]:
        """Style of each column of an array, see :func:`hw.spec.resources.multipliers`."""
        return boards.BOARDS[self.target].multipliers(config)


def _ecp5_85k_sites(name: str, rows: tuple[int, ...], columns: Mapping[int, int]
                    ) -> tuple[Site, ...]:
    """Sites of a type, row by row.

    The macros of an 85k stand in rows, in groups of nine columns, with the middle of the FPGA
    between the seventh and the eighth.

    Parameters
    ----------
    columns
        Number of a site in its group, by its column there.
    """
    groups = [*range(4, 67, 9), *range(69, 123, 9)]
    return tuple(Site(group + column, row, f"{name}{n}")
                 for row in rows for group in groups for column, n in columns.items())


#: Rows of macros of an 85k.
_EBR_ROWS, _DSP_ROWS = (22, 46, 70, 82), (10, 34, 58)

# Without larger multiplexers made of lookup tables, fewer of these are used. The static placer's
# wires are shorter than those of HeAP, nextpnr's default. Delays of wires are near the mean of what
# router2 made of nets of up to three sinks, for the default core, speed grade 6 (docs/board.md).
_LFE5U_85F = Device(
    name="LFE5U-85F-6BG381", synth="synth_ecp5 -nowidelut",
    place=("nextpnr-ecp5", "--85k", "--package", "CABGA381", "--speed", "6", "--placer", "static",
           "--router", "router2"),
    pack=("ecppack", "--compress"), tiles=(127, 96), pins=("--lpf", "--lpf-allow-unconstrained"),
    text="--textcfg", bitstream="board.bit",
    resources=MappingProxyType({"TRELLIS_COMB": "LUT4", "TRELLIS_FF": "FF", "MULT18X18D": "DSP",
                                "DP16KD": "EBR"}),
    cells=MappingProxyType({"LUT4": {"LUT4": 1, "CCU2C": 2, "TRELLIS_DPR16X4": 4},
                            "FF": {"TRELLIS_FF": 1}, "DSP": {"MULT18X18D": 1},
                            "EBR": {"DP16KD": 1}}),
    sites=MappingProxyType({
        "DP16KD": _ecp5_85k_sites("EBR", _EBR_ROWS, {0: 0, 2: 1, 4: 2, 6: 3}),
        "MULT18X18D": _ecp5_85k_sites("MULT18_", _DSP_ROWS, {0: 0, 1: 1, 4: 4, 5: 5})}),
    logic=tuple((x, y) for y in range(2, 94) if y not in (*_EBR_ROWS, *_DSP_ROWS)
                for x in range(2, 125)),
    wire_delays=(550, 600, 70, 108, 57, 3), wire_capacity=(62, 50))

_FLIP_FLOPS = ("SB_DFF", "SB_DFFE", *(f"SB_DFF{enable}{kind}" for enable in ("", "E")
                                      for kind in ("R", "S", "SR", "SS")))
_ICE40UP5K = Device(
    name="iCE40UP5K-SG48", synth="synth_ice40 -device u -spram",
    place=("nextpnr-ice40", "--up5k", "--package", "sg48"), pack=("icepack",), tiles=(26, 32),
    pins=("--pcf",), text="--asc", bitstream="board.bin",
    resources=MappingProxyType({"ICESTORM_LC": "logic cells", "ICESTORM_DSP": "DSP",
                                "ICESTORM_RAM": "EBR", "ICESTORM_SPRAM": "SPRAM"}),
    cells=MappingProxyType({"LUT4": {"SB_LUT4": 1}, "FF": dict.fromkeys(_FLIP_FLOPS, 1),
                            "DSP": {"SB_MAC16": 1}, "EBR": {"SB_RAM40_4K": 1},
                            "SPRAM": {"SB_SPRAM256KA": 1}}))

#: By name, as on the command line.
BOARDS: Mapping[str, Board] = MappingProxyType({
    "ulx3s-85f": Board(
        device=_LFE5U_85F, target="ulx3s-85f", pins=(126, 48), constraints="soc.lpf",
        clock_hz=50_000_000, components=MappingProxyType({
            "macrame.array": "array", "macrame.post": "post", "macrame.load": "load",
            "macrame.store": "store", "macrame.mac": "mac", "macrame.scratchpad": "scratchpad",
            "macrame.sequencer": "sequencer", "macrame.read": "bus", "macrame.write": "bus",
            "macrame": "core, other", "VexRiscv": "processor",
            "": "SDRAM controller, UART, other"})),
    "icebreaker-up5k": Board(
        device=_ICE40UP5K, target="icebreaker-up5k", pins=(13, 0), constraints="small.pcf",
        clock_hz=12_000_000, components=MappingProxyType({
            "mac.array": "array", "mac.mac": "mac", "mac": "registers of the array",
            "scratchpad": "scratchpad", "ram": "RAM", "cpu": "processor", "flash": "flash",
            "uart": "UART", "": "other"})),
})
