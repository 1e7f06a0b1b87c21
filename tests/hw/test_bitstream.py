"""``python -m hw bitstream`` with tools that are played: what is run, kept, printed and refused.

The real tools are in tests/rtl/test_bitstream.py.
"""

import json
import os
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from hw.__main__ import main
from hw.bitstream.report import summary
from hw.spec.config import PRESETS
from tests.hw.played_tools import SDRAM, Tools, made, make, report


def test_reports_what_it_takes_and_reaches(played: Tools, tmp_path: Path,
                                           capsys: pytest.CaptureFixture[str]) -> None:
    assert make(tmp_path / "out") == 0
    found = made(tmp_path / "out")
    assert found["resources"]["LUT4"] == {"used": 3, "available": 300}
    assert found["components"]["array"] == {"LUT4": 0, "FF": 0, "DSP": 1, "EBR": 0}
    assert found["components"]["load"]["LUT4"] == 3
    assert found["components"]["processor"]["FF"] == 1
    assert found["components"]["SDRAM controller, UART, other"]["EBR"] == 1
    assert found["reached_hz"] == 57_000_000 and found["frames"] is None
    assert found["tools"][1] == "nextpnr-ecp5 0.11.1"
    assert found["made"]["by"] == ("python -m hw bitstream --board ulx3s-85f --target test-4x4 "
                                   f"--clock-mhz 50 --sdram-rate 2 --seeds 1 -o {tmp_path / 'out'}")
    system, crossing = found["paths"]
    assert (system["start"], system["end"]) == ("soc_files_crg_clkout0",) * 2
    assert [s["component"] for s in system["segments"]] == [
        "SDRAM controller, UART, other", "load", "array"]
    assert crossing["end"] == "sdrio_clk" and crossing["asked_mhz"] == 100
    out = capsys.readouterr()
    assert "timing: asked for 50 MHz, reaches 57.0 MHz" in out.out
    assert "SDRAM controller, UART, other > load > array" in out.out
    assert "the boot ROM is empty" in out.out and out.err == ""
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert {"board.bit", "floorplan.png", "hardware.json"} < names
    assert not any(name.endswith((".tmp", ".routed", ".netlist", ".moved")) for name in names)


def test_each_seed_is_placed_and_the_fastest_packed(played: Tools, tmp_path: Path,
                                                    capsys: pytest.CaptureFixture[str]) -> None:
    played.reports(report(52.0), report(51.0), report(55.5), report(54.0))
    assert make(tmp_path / "out", "--seeds", "1", "2", "3", "2", "--jobs", "2") == 0
    found = made(tmp_path / "out")
    assert found["seed"] == 2 and found["reached_hz"] == 55_500_000
    assert [run["seed"] for run in found["seeds"]] == [1, 2, 3]
    assert (tmp_path / "out" / "board.bit").read_text() == "seed 2 route 1"
    assert capsys.readouterr().out.count("51.0") == 1


def test_too_many_macros_are_told_without_nextpnr(played: Tools, tmp_path: Path,
                                                  capsys: pytest.CaptureFixture[str]) -> None:
    cell = {"type": "DP16KD", "attributes": {}, "connections": {}}
    netlist = json.dumps({"modules": {"soc": {"ports": {}, "cells": {
        f"ram_{n}": cell for n in range(209)}}}})
    played.make("yosys", f"pathlib.Path('netlist.json').write_text({netlist!r})")
    played.make("nextpnr-ecp5", "sys.exit('was run')")
    assert make(tmp_path / "out") == 1
    assert capsys.readouterr().err == (
        "error: The design must fit the LFE5U-85F-6BG381, not take 209 of 208 DP16KD; choose a "
        "smaller core with --target.\n")


def test_a_path_between_two_clocks_counts(played: Tools, tmp_path: Path,
                                          capsys: pytest.CaptureFixture[str]) -> None:
    # from the system's clock to the SDRAM's there are 10 ns, of which nextpnr says nothing
    played.reports(report(57.0, (0.5, 11.9, 0.1)))
    assert make(tmp_path / "out") == 0
    assert made(tmp_path / "out")["reached_hz"] == 40_000_000
    assert ("timing MISSED: asked for 50 MHz, reaches 40.0 MHz; the bitstream runs at 50 MHz and "
            "may compute wrong results: try other --seeds, or --clock-mhz 40\n"
            ) in capsys.readouterr().out


def test_an_edge_of_the_other_kind_comes_after_half_a_period(played: Tools, tmp_path: Path) -> None:
    slow = report(57.0, (0.5, 5.4, 0.1))
    slow["critical_paths"][2]["to"] = f"negedge {SDRAM}"
    played.reports(slow)
    assert make(tmp_path / "out") == 0
    assert made(tmp_path / "out")["reached_hz"] == 41_666_667


def run_of(folder: Path, **changes: Any) -> Path:
    """A result of ``sim soc``, without what is changed to `...`."""
    found = {"network": "net", "config": vars(PRESETS["test-4x4"]), "passed": True,
             "cycles": 10_000_000, "system_cycles": 12_000_000, **changes}
    path = folder / "run.json"
    path.write_text(json.dumps({name: value for name, value in found.items() if value is not ...}))
    return path


@pytest.mark.parametrize("reached, clock, fps", [(57.0, 50_000_000, "5.00"),
                                                 (45.0, 45_000_000, "4.50")])
def test_frames_per_second_are_those_of_a_clock_that_is_reached(
        reached: float, clock: int, fps: str, played: Tools, tmp_path: Path,
        capsys: pytest.CaptureFixture[str]) -> None:
    played.reports(report(reached))
    assert make(tmp_path / "out", "--cycles-from", str(run_of(tmp_path))) == 0
    found = made(tmp_path / "out")["frames"]
    assert found["clock_hz"] == clock and found["cycles"] == 10_000_000
    assert (f"net: {fps} frames per second = {clock / 1e6} MHz / 10,000,000 cycles (whole system "
            "in RTL, with its SDRAM)") in capsys.readouterr().out


def test_cycles_of_the_core_alone_are_called_that(played: Tools, tmp_path: Path,
                                                  capsys: pytest.CaptureFixture[str]) -> None:
    core = {"network": "net", "config": vars(PRESETS["test-4x4"]), "passed": True, "engine": "rtl",
            "rtl": {"cycles": 5_000_000, "layers": []}}
    (tmp_path / "core.json").write_text(json.dumps(core))
    assert make(tmp_path / "out", "--cycles-from", str(tmp_path / "core.json")) == 0
    assert "10.00 frames per second" in (out := capsys.readouterr().out)
    assert "(core in RTL, with a memory that never pauses)" in out


@pytest.mark.parametrize("changes, message", [
    ({"passed": False}, "must have passed, and has not"),
    ({"config": vars(PRESETS["test-4x8"])},
     "must be of the same core; columns, post_lanes, bus_bytes differs"),
    ({"clock_hz": 75_000_000},
     "must be of the same system, `sim soc --clock-mhz 50`; its clock_hz is 75000000"),
    ({"clock_hz": 50_000_000, "sdram_rate": 1},
     "must be of the same system, `sim soc --sdram-rate 2`; its sdram_rate is 1"),
    ({"network": ...}, "must be about a whole frame in RTL, as `python -m sim soc --json` writes"),
    ({"system_cycles": ..., "engine": "iss", "rtl": None},
     "`python -m sim soc --json` writes it, not about single layers or the simulator"),
    ({"system_cycles": ..., "engine": "rtl", "rtl": {"cycles": 1, "layers": [{}]}},
     "not about single layers"),
])
def test_refuses_cycles_of_another_run(changes: dict[str, Any], message: str, played: Tools,
                                       tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert make(tmp_path / "out", "--cycles-from", str(run_of(tmp_path, **changes))) == 1
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("content, message", [
    (None, "must be readable; No such file"), ("{", "must be JSON; "), ("[]", "must be about a")])
def test_refuses_a_run_that_is_none(content: str | None, message: str, played: Tools,
                                    tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "run.json"
    if content is not None:
        path.write_text(content)
    assert make(tmp_path / "out", "--cycles-from", str(path)) == 1
    assert message in capsys.readouterr().err


def test_a_missing_tool_is_named_before_anything_is_run(
        played: Tools, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (played.folder / "ecppack").unlink()
    assert make(tmp_path / "out") == 1
    assert capsys.readouterr().err == (
        "error: ecppack must be on PATH, or installed as a wheel, and is neither; run "
        "`make setup`, or `pip install -e '.[board]'`.\n")
    assert not list((tmp_path / "out").iterdir())


def test_a_wheel_serves_where_there_is_no_native_tool(played: Tools, tmp_path: Path) -> None:
    (played.folder / "ecppack").rename(tmp_path / "yowasp-ecppack")
    assert make(tmp_path / "out") == 0
    assert made(tmp_path / "out")["tools"][2].startswith("yowasp-ecppack ")


@pytest.mark.parametrize("tool", ["yosys", "nextpnr-ecp5", "ecppack"])
def test_nothing_is_left_of_an_earlier_run_when_a_tool_fails(
        tool: str, played: Tools, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    assert make(out) == 0
    capsys.readouterr()
    played.make(tool, "print('Info: a\\nERROR: ' + 50 * 'abcdefg' + ' is bad\\nb'); sys.exit(3)")
    assert make(out) == 1
    error = capsys.readouterr().err
    assert error.startswith(f"error: {tool} must end with status 0, not 3; it said:\n  ERROR: abc")
    assert " is bad\nall of it is in " in error and len(error) < 500
    assert not {"board.bit", "hardware.json", "floorplan.png"} & set(os.listdir(out))


def test_a_tool_that_says_nothing_is_reported_too(played: Tools, tmp_path: Path,
                                                  capsys: pytest.CaptureFixture[str]) -> None:
    played.make("yosys", "import os; os.kill(os.getpid(), 9)")
    assert make(tmp_path / "out") == 1
    assert "error: yosys must end with status 0, not -9; it said:\n  nothing\n" in \
        capsys.readouterr().err


def test_says_what_there_is_too_much_of(played: Tools, tmp_path: Path,
                                        capsys: pytest.CaptureFixture[str]) -> None:
    played.make("nextpnr-ecp5", """print('''Info: Device utilisation:
Info: \t              DP16KD:      26/    56    46%
Info: \t          MULT18X18D:      30/    28   107%
ERROR: Unable to place cell 'x', no BELs remaining to implement cell type 'MULT18X18D'
0 warnings, 1 error'''); sys.exit(1)""")
    assert make(tmp_path / "out") == 1
    assert capsys.readouterr().err.endswith(
        "\nThe design must fit the LFE5U-85F-6BG381, not take 30 of 28 MULT18X18D; choose a "
        "smaller core with --target.\n")


def test_a_folder_that_cannot_be_written_is_named(played: Tools, tmp_path: Path,
                                                  capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("")
    assert make(tmp_path / "file" / "out") == 1
    assert capsys.readouterr().err.startswith(
        f"error: folder {str(tmp_path / 'file' / 'out')!r} must be writable; ")


def test_draws_where_components_are(played: Tools, tmp_path: Path) -> None:
    assert make(tmp_path / "out") == 0
    with Image.open(tmp_path / "out" / "floorplan.png") as picture:
        image = picture.convert("RGB")
    blue, green = (0x1f, 0x77, 0xb4), (0x2c, 0xa0, 0x2c)
    assert image.getpixel((12 + 4 * 9, 12 + 3 * 9)) == blue       # the multiplier's tile
    assert image.getpixel((12 + 4 * 9 + 7, 12 + 3 * 9 + 7)) == blue
    left, top = 12 + 7 * 9 + 2, 12 + 2 * 9 + 2                    # slice B, second lookup table
    assert [image.getpixel((left + x, top + y)) for x, y in ((0, 0), (1, 1), (2, 0), (0, 2))] == [
        green, green, (0xee,) * 3, (0xee,) * 3]


def test_a_clock_that_is_just_reached_is_not_missed() -> None:
    found = {"clock_hz": 50_000_000, "reached_hz": 50_000_000, "frames": None}
    assert list(summary(found)) == ["timing: asked for 50 MHz, reaches 50.0 MHz"]
    (missed,) = summary(found | {"reached_hz": 49_999_999})
    assert missed.startswith("timing MISSED") and missed.endswith("--clock-mhz 49.5")


def test_a_small_board_has_tools_and_names_of_its_own(
        played: Tools, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    played.small()
    out = tmp_path / "out"
    assert main(["bitstream", "--board", "icebreaker-up5k", "-o", str(out)]) == 0
    found = made(out)
    assert found["resources"] == {
        "logic cells": {"used": 7, "available": 70}, "DSP": {"used": 1, "available": 10},
        "EBR": {"used": 2, "available": 20}, "SPRAM": {"used": 3, "available": 30}}
    empty = {"LUT4": 0, "FF": 0, "DSP": 0, "EBR": 0, "SPRAM": 0}
    assert {name: cells for name, cells in found["components"].items() if any(cells.values())} == {
        "array": empty | {"DSP": 1, "EBR": 1}, "mac": empty | {"LUT4": 1},
        "processor": empty | {"FF": 2}, "RAM": empty | {"SPRAM": 1}, "other": empty | {"LUT4": 1}}
    assert (found["clock_hz"], found["reached_hz"], found["sdram_rate"]) == (
        12_000_000, 21_500_000, None)
    assert found["paths"][0]["start"] == "clk" and found["seeds"][0]["macros"]["tiles"] == 0
    assert found["made"]["by"] == ("python -m hw bitstream --board icebreaker-up5k --target "
                                   f"icebreaker-up5k --clock-mhz 12 --seeds 1 -o {out}")
    assert (out / "board.bin").read_text() == "text" and not (out / "board.bit").exists()
    calls = (out / "calls").read_text()
    assert "--up5k --package sg48" in calls and "--pcf small.pcf" in calls and "--lpf" not in calls
    with Image.open(out / "floorplan.png") as picture:
        assert picture.width >= 500
    printed = capsys.readouterr().out
    assert "timing: asked for 12 MHz, reaches 21.5 MHz" in printed
    assert "board.bin" in printed and "ROM" not in printed


def test_says_that_the_small_board_has_too_few_logic_cells(
        played: Tools, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    played.small()
    played.make("nextpnr-ice40", """print('''Info: Device utilisation:
Info: \t         ICESTORM_LC:    5573/   5280   105%
Info: \t        ICESTORM_RAM:      28/     30    93%
ERROR: Failed to expand region (0, 0) |_> (25, 31) of 5573 ICESTORM_LCs
'''); sys.exit(1)""")
    assert main(["bitstream", "--board", "icebreaker-up5k", "-o", str(tmp_path / "out")]) == 1
    assert capsys.readouterr().err.endswith(
        "\nThe design must fit the iCE40UP5K-SG48, not take 5573 of 5280 ICESTORM_LC; choose a "
        "smaller core with --target.\n")
