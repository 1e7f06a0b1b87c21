"""``python -m hw bitstream`` with the real tools, on a part of the core that they take seconds for.

What comes after Yosys is too slow for a test with a whole system (minutes with a core of 4x4): that
a system fits and what it reaches is in docs/results.md. Its netlist is simulated in
test_netlist.py.
"""

import json
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from amaranth import Cat, Module, Signal, Value
from amaranth.back import rtlil
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out
from PIL import Image

import hw.bitstream.flow
import hw.bitstream.place
from hw.__main__ import main
from hw.bitstream.tools import find
from hw.rtl.post import PostUnit
from hw.spec.config import ArrayConfig

pytestmark = pytest.mark.rtl

#: Pins of the board for the four signals.
PINS = """\
LOCATE COMP "clk" SITE "G2";
FREQUENCY PORT "clk" 25.0 MHz;
LOCATE COMP "rst" SITE "R1";
LOCATE COMP "rx" SITE "M1";
LOCATE COMP "tx" SITE "L4";
"""


class Small(wiring.Component):
    """The unit behind the array, with its hundreds of ports on one pin each way: what comes in is
    shifted through all inputs, what goes out is the parity of all outputs.
    """

    rx: In(1)
    tx: Out(1)

    def __init__(self, config: ArrayConfig) -> None:
        super().__init__()
        self.config = config

    def elaborate(self, platform):
        m = Module()
        m.submodules.post = unit = PostUnit(self.config)
        inputs, outputs = [], []
        for _, member, port in unit.signature.flatten(unit):
            (inputs if member.flow is In else outputs).append(Value.cast(port))
        chain = Signal(sum(map(len, inputs)))
        m.d.sync += [chain.eq(Cat(self.rx, chain)), self.tx.eq(Cat(*outputs).xor())]
        m.d.comb += Cat(*inputs).eq(chain)
        return m


def make(out: Path, clock_mhz: int) -> None:
    """Run the command for the small circuit."""

    def sources(board: str, config: ArrayConfig, *, clock_hz: int, sdram_rate: int,
                boot: bytes) -> dict[str, str]:
        small = Small(replace(config, post_lanes=1))
        return {"macrame.il": rtlil.convert(small, name="soc", emit_src=False), "soc.lpf": PINS}

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(hw.bitstream.flow, "sources", sources)
        assert main(["bitstream", "--target", "test-4x4", "--clock-mhz", f"{clock_mhz}", "-o",
                     str(out)]) == 0


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the command leaves, for a clock that is reached."""
    out = tmp_path_factory.mktemp("bitstream")
    make(out, 25)
    return out


def test_says_what_it_takes_and_reaches(folder: Path) -> None:
    found = json.loads((folder / "hardware.json").read_text())
    used = {name: n["used"] for name, n in found["resources"].items()}
    assert used["DSP"] >= 5 and used["EBR"] > 0 and used["FF"] > 500 and used["LUT4"] > 500
    assert found["resources"]["LUT4"]["available"] == 83640
    (path,) = found["paths"]
    assert path["start"] == path["end"] and path["asked_mhz"] == 25
    nanoseconds = sum(segment["nanoseconds"] for segment in path["segments"])
    assert nanoseconds * path["reached_mhz"] == pytest.approx(1000, rel=1e-3)
    assert found["reached_hz"] == pytest.approx(path["reached_mhz"] * 1e6, rel=1e-3)
    assert all("unknown" not in tool for tool in found["tools"])
    assert all(n["seconds"] > 0 and n["megabytes"] > 50 for n in found["took"].values())


def test_the_bitstream_is_what_was_placed(folder: Path) -> None:
    bits = (folder / "board.bit").read_bytes()
    assert b"Part: LFE5U-85F" in bits[:200]
    unpacked = folder / "unpacked.config"
    subprocess.run([find("ecpunpack").program, "board.bit", unpacked.name], cwd=folder, check=True)
    placed, found = (lookup_tables(path) for path in (folder / "seed-1.config", unpacked))
    assert len(placed) > 500 and placed == found


def lookup_tables(config: Path) -> set[str]:
    """Place and contents of the lookup tables of a design, but for those that are all ones: the
    bitstream does not tell them from unused ones.
    """
    found, tile = set(), ""
    for line in config.read_text().splitlines():
        if line.startswith("."):
            tile = line
        elif ".INIT " in line and not line.endswith(f" {16 * '1'}"):
            found.add(f"{tile} {line}")
    return found


def test_the_floorplan_has_something_on_it(folder: Path) -> None:
    with Image.open(folder / "floorplan.png") as picture:
        colours = picture.convert("RGB").getcolors(1 << 16)
    assert picture.size[0] > 1100 and colours is not None
    assert any(n > 1000 and rgb == (0x99, 0x99, 0x99) for n, rgb in colours)


def test_nextpnr_goes_on_from_what_it_routed(tmp_path: Path,
                                             monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hw.bitstream.place, "_ROUTES", 2)
    monkeypatch.setattr(hw.bitstream.place, "_MOST_ITERATIONS", 40)
    make(tmp_path, 400)
    first, second = (int(re.search(r"iter=1 wires=\d+ overused=(\d+) ",
                                   (tmp_path / f"seed-1.route-{n}.log").read_text())[1])
                     for n in (1, 2))
    assert second < first / 4
    assert json.loads((tmp_path / "hardware.json").read_text())["reached_hz"] < 400_000_000


def test_sources_are_the_same_in_every_process() -> None:
    text = ("from hw.bitstream.flow import sources, sources_digest; "
            "from hw.spec.config import PRESETS; "
            "print(sources_digest(sources('ulx3s-85f', PRESETS['test-4x4'], clock_hz=50_000_000, "
            "sdram_rate=2, boot=b'')))")
    digests = {subprocess.run([sys.executable, "-c", text], env={"PYTHONHASHSEED": seed,
                              "PYTHONPATH": str(Path(__file__).parents[2])}, cwd=cwd,
                              stdout=subprocess.PIPE, text=True, check=True).stdout
               for seed, cwd in (("1", "/"), ("2", "/tmp"))}
    assert len(digests) == 1 and len(digests.pop()) == 65
