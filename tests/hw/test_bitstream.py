"""``python -m hw bitstream`` with tools that are played: what is run, kept, printed and refused.

The real tools are in tests/rtl/test_bitstream.py.
"""

import json
import os
import re
import sys
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

import hw.bitstream.flow
from hw.__main__ import main
from hw.bitstream import tools
from hw.bitstream.place import _phase
from hw.bitstream.report import summary
from hw.spec.config import PRESETS, ArrayConfig

SYSTEM, SDRAM = "$glbnet$soc_files_crg_clkout0", "$glbnet$sdrio_clk"
NETLIST = json.dumps({"modules": {"soc": {"ports": {"clk": {"bits": [2]}}, "cells": {
    name: {"type": kind, "attributes": {}, "connections": {"C": [2, "0"]}} for name, kind in (
        ("macrame.array.pe_0", "MULT18X18D"), ("macrame.\\load.x_CCU2C_S0", "CCU2C"),
        ("macrame.load.y", "LUT4"), ("VexRiscv.y", "TRELLIS_FF"), ("soc_files_z", "DP16KD"))}}}},
    indent=2)
#: What is routed: as nextpnr writes it, with a clock, a wire, and a net without wires.
ROUTED = json.dumps({"modules": {"top": {
    "settings": {"router2/bbMargin/x": "3", "router/tmg_ripup": "0 ", "target_freq": "5e7",
                 "seed": "1", "placer": "static"},
    "cells": {
        "macrame.array.pe_0": {"attributes": {"NEXTPNR_BEL": "X4/Y3/MULT18_0"}},
        "macrame.load.y": {"parameters": {}, "attributes": {"NEXTPNR_BEL": "X7/Y2/SLICEB.K1"}}},
    "netnames": {
        "$glbnet$sdrio_clk": {"attributes": {"ROUTING": "G_HPBX0;;1"}},
        "wire": {"attributes": {"ROUTING": "X7/Y2/F1;;1", "src": "x"}},
        "no_wire": {"attributes": {"ROUTING": ""}}}}}}, indent=2)


def report(system: float = 57.0, crossing: tuple[float, ...] = (0.5, 6.0, 0.1)) -> dict[str, Any]:
    """As nextpnr writes it: names and structure of a real one."""
    def path(start: str, end: str, delays: tuple[float, ...]) -> dict[str, Any]:
        kinds = ("clk-to-q", "routing", "setup")
        cells = ("soc_files_a", "macrame.load.y", "macrame.array.pe_0")
        return {"from": start, "to": end, "path": [
            {"type": kind, "delay": delay, "from": {"cell": "x"}, "to": {"cell": cell}}
            for kind, cell, delay in zip(kinds, cells, delays)]}
    return {
        "fmax": {SDRAM: {"achieved": 138.0, "constraint": 100},
                 SYSTEM: {"achieved": system, "constraint": 50}},
        "critical_paths": [
            path(f"posedge {SYSTEM}", f"posedge {SYSTEM}", (0.5, 16.5, 0.5)),
            path("<async>", f"posedge {SYSTEM}", (0.0, 90.0, 0.0)),
            path(f"posedge {SYSTEM}", f"posedge {SDRAM}", crossing)],
        "utilization": {name: {"used": n, "available": 100 * n} for name, n in (
            ("TRELLIS_COMB", 3), ("TRELLIS_FF", 4), ("MULT18X18D", 1), ("DP16KD", 2))}}


TOOL = """\
#!{python} -SEs
import json, pathlib, sys, time
if sys.argv[1:] == ["--version"]:
    print('"x" -- Next Generation Place and Route (Version nextpnr-0.11.1)')
    sys.exit()
with open("calls", "a") as calls:
    print(*sys.argv[1:], file=calls)
options = dict(zip(sys.argv[1:], sys.argv[2:]))
{body}
"""
#: What is moved before it is routed: a lookup table.
PLACED = json.dumps({"modules": {"top": {"settings": {}, "cells": {"macrame.load.y": {
    "type": "TRELLIS_COMB", "parameters": {"MODE": "LOGIC"},
    "attributes": {"NEXTPNR_BEL": "X7/Y2/SLICEB.K1"}, "port_directions": {"F": "output"},
    "connections": {"F": [2]}}}}}})
PLACE = """\
if "--no-route" in sys.argv:
    pathlib.Path(options["--write"]).write_text({placed!r})
    pathlib.Path(options["--sdf"]).write_text("(DELAYFILE)")
    print("Info:     Derived frequency constraint of 50.0 MHz for net sdrio_clk")
    sys.exit()
reports = {reports!r}
by_route = reports[int(options["--seed"]) % len(reports)]
route = int(options["--report"].split(".")[-2].removeprefix("route-"))
if "--tmg-ripup" not in sys.argv:
    route += 1
report = by_route[min(route, len(by_route)) - 1]
if report is None:
    print("Info:     iter=200 wires=9 overused=1", flush=True)
    time.sleep(0.1)
    print("Info:     iter=201 wires=9 overused=1", flush=True)
    time.sleep(60)
for clock in report["fmax"].values():
    clock["constraint"] *= float(options["--freq"]) / 50
pathlib.Path(options["--textcfg"]).write_text("seed " + options["--seed"] + f" route {{route}}")
pathlib.Path(options["--write"]).write_text({routed!r})
pathlib.Path(options["--report"]).write_text(json.dumps(report))
"""


class Tools:
    """Tools on PATH that do what a test says."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.make("yosys", f"pathlib.Path('netlist.json').write_text({NETLIST!r})")
        self.reports(report())
        self.make("ecppack", "import shutil; shutil.copy(sys.argv[2], sys.argv[3])")

    def make(self, name: str, body: str) -> None:
        path = self.folder / name
        path.write_text(TOOL.format(python=sys.executable, body=body))
        path.chmod(0o755)

    def reports(self, *reports: dict[str, Any]) -> None:
        """What nextpnr finds, by seed."""
        self.routes(*((report,) for report in reports))

    def routes(self, *reports: tuple[dict[str, Any] | None, ...], before: str = "") -> None:
        """What nextpnr finds, by seed, each time that it routes; None if it does not end.

        Parameters
        ----------
        before
            What it does first.
        """
        self.make("nextpnr-ecp5",
                  before + PLACE.format(placed=PLACED, routed=ROUTED, reports=reports))

    def calls(self) -> list[str]:
        """What was run, with its options."""
        return (self.folder.parent / "out" / "calls").read_text().splitlines()


@pytest.fixture()
def played(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Tools:
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    monkeypatch.setattr(tools, "_BIN", tmp_path)
    monkeypatch.setattr(tools, "_POLL", 0.005)

    def sources(board: str, config: ArrayConfig, *, clock_hz: int, sdram_rate: int,
                boot: bytes) -> dict[str, str]:
        return {"macrame.il": f"{config}", "soc.v": "", "soc.lpf": "", "soc_rom.init": f"{boot}"}

    monkeypatch.setattr(hw.bitstream.flow, "sources", sources)
    return Tools(folder)


def make(folder: Path, *options: str) -> int:
    return main(["bitstream", "--target", "test-4x4", *options, "-o", str(folder)])


def made(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "hardware.json").read_text())
    return found


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


def test_macros_have_sites_before_nextpnr_begins(played: Tools, tmp_path: Path) -> None:
    played.routes((report(),), before="""
if "--no-pack" not in sys.argv:
    module = json.loads(pathlib.Path(options["--json"]).read_text())["modules"]["soc"]
    pathlib.Path("cells-" + options["--seed"]).write_text(json.dumps(module["cells"]))
""")
    netlist = json.loads(NETLIST)
    cells = netlist["modules"]["soc"]["cells"]
    # without a wire, every site is as good as any other
    cells["loose"] = {"type": "DP16KD", "attributes": {}, "connections": {}}
    played.make("yosys", f"pathlib.Path('netlist.json').write_text({json.dumps(netlist)!r})")
    assert make(tmp_path / "out", "--seeds", "1", "2") == 0
    first, second = (
        {name: cell["attributes"]["BEL"] for name, cell in json.loads(
            (tmp_path / "out" / f"cells-{seed}").read_text()).items() if cell["attributes"]}
        for seed in (1, 2))
    assert first.keys() == {"macrame.array.pe_0", "soc_files_z", "loose"}
    assert re.fullmatch(r"X\d+/Y\d+/MULT18_\d", first["macrame.array.pe_0"])
    assert re.fullmatch(r"X\d+/Y\d+/EBR\d", first["soc_files_z"])
    assert first["loose"] != second["loose"]
    found = made(tmp_path / "out")
    assert all(0 < run["macros"]["tiles"] <= run["macros"]["random"] for run in found["seeds"])
    assert found["took"]["macros"]["seconds"] > 0


#: Keeps what nextpnr is given to route.
KEEP = """
for name in ("--json", "--sdc"):
    if name in options and "--no-pack" in sys.argv:
        kept = options["--report"].split(".")[1] + name
        pathlib.Path(kept).write_text(pathlib.Path(options[name]).read_text())
"""


def test_what_is_placed_is_refined_and_then_routed(played: Tools, tmp_path: Path) -> None:
    played.routes((report(),), before=KEEP)
    assert make(tmp_path / "out") == 0
    place, route = played.calls()[1:3]
    assert "--json seed-1.netlist --lpf soc.lpf" in place and "--no-route" in place
    assert "--json seed-1.moved" in route and "--lpf" not in route
    assert "--freq 50 " in place and "--freq 50 " in route
    assert "--no-pack --no-place --tmg-ripup" in route
    assert "--textcfg seed-1.route-1.config" in route
    moved = json.loads((tmp_path / "out" / "route-1--json").read_text())
    assert moved["modules"]["top"]["cells"].keys() == {"macrame.load.y"}
    assert (tmp_path / "out" / "route-1--sdc").read_text() == (
        "create_clock -period 20.0000000 [get_nets $glbnet$sdrio_clk]\n")
    assert (tmp_path / "out" / "seed-1.anneal.log").read_text().startswith("before: wires 0, ")
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert not any(name.endswith((".placed", ".moved", ".routed", ".source", ".sdf", ".sdc",
                                  ".arrays", ".places")) for name in names)


def freq(call: str) -> float:
    """What nextpnr was asked for, MHz."""
    found = re.search(r"--freq (\S+)", call)
    assert found
    return float(found[1])


def test_what_is_late_is_routed_again_until_it_is_in_time(played: Tools, tmp_path: Path) -> None:
    played.routes((report(45.0), report(48.0), report(50.5), report(60.0)), before=KEEP)
    assert make(tmp_path / "out") == 0
    found = made(tmp_path / "out")
    assert found["reached_hz"] == 50_500_000
    assert found["paths"][0]["asked_mhz"] == 50
    assert (tmp_path / "out" / "board.bit").read_text() == "seed 1 route 3"
    routes = [call for call in played.calls() if "--tmg-ripup" in call]
    # each time 8 % more than it was, but not more than is wanted
    assert [freq(call) for call in routes] == [50, 48.6, 50]
    assert all("--json seed-1.source" in call for call in routes[1:])
    assert (tmp_path / "out" / "route-2--sdc").read_text() == (
        "create_clock -period 20.5761317 [get_nets $glbnet$sdrio_clk]\n")
    # it goes on from all wires but those of clocks, with none of the settings of before
    module = json.loads((tmp_path / "out" / "route-2--json").read_text())["modules"]["top"]
    assert module["settings"] == {"placer": "static"}
    assert {name: net["attributes"] for name, net in module["netnames"].items()} == {
        "$glbnet$sdrio_clk": {}, "wire": {"ROUTING": "X7/Y2/F1;;1", "src": "x"}, "no_wire": {}}
    assert [path.name for path in (tmp_path / "out").glob("*.config")] == ["seed-1.route-3.config"]


def test_what_got_slower_is_dropped_and_less_asked_for(played: Tools, tmp_path: Path) -> None:
    played.routes((report(40.0), report(39.0), report(41.0), report(41.0), report(42.0),
                   report(60.0)))
    assert make(tmp_path / "out") == 0
    assert made(tmp_path / "out")["reached_hz"] == 42_000_000
    assert (tmp_path / "out" / "board.bit").read_text() == "seed 1 route 5"
    assert [freq(call) for call in played.calls()[2:7]] == pytest.approx(
        [50, 40 * 1.08, 40 * 1.04, 41 * 1.04, 41 * 1.02], rel=1e-5)


def test_routing_without_end_is_stopped_and_less_asked_for(played: Tools, tmp_path: Path) -> None:
    played.routes((report(45.0), None, report(46.0), report(55.0)))
    assert make(tmp_path / "out") == 0
    assert made(tmp_path / "out")["reached_hz"] == 55_000_000
    assert [freq(call) for call in played.calls()[2:6]] == pytest.approx(
        [50, 45 * 1.08, 45 * 1.04, 46 * 1.04], rel=1e-5)


def test_a_placement_that_cannot_be_in_time_is_routed_nevertheless(
        played: Tools, tmp_path: Path) -> None:
    played.routes((None, report(45.0), report(52.0)))
    assert make(tmp_path / "out") == 0
    assert made(tmp_path / "out")["reached_hz"] == 52_000_000
    first, second, third, _ = played.calls()[2:6]
    assert "--tmg-ripup" not in second
    assert [freq(call) for call in (first, second, third)] == [50, 75, 48.6]


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


def test_knows_what_nextpnr_is_doing() -> None:
    log = "Info: Packing IOs..\nInfo: Packing LUTs...\n"
    assert _phase(log) == "Packing" and _phase("") == ""
    log += ("Info: Running main analytical placer, max placement attempts per cell = 1.\n"
            "Info:     at iteration #1, type ALL: wirelen\nInfo:     at iteration #12, type ALL\n")
    assert _phase(log) == "Running main analytical placer, iteration 12"
    log += "Info: Running router2...\n"
    assert _phase(log) == "Running router2"
    assert _phase(log + "Info:     iter=3 wires=5\n") == "Running router2, iteration 3"


def test_a_clock_that_is_just_reached_is_not_missed() -> None:
    found = {"clock_hz": 50_000_000, "reached_hz": 50_000_000, "frames": None}
    assert list(summary(found)) == ["timing: asked for 50 MHz, reaches 50.0 MHz"]
    (missed,) = summary(found | {"reached_hz": 49_999_999})
    assert missed.startswith("timing MISSED") and missed.endswith("--clock-mhz 49.5")


SMALL_CLOCK = "clk$SB_IO_IN_$glb_clk"
SMALL_NETLIST = json.dumps({"modules": {"small_system": {
    "ports": {"clk": {"bits": [2]}}, "cells": {
        name: {"type": kind, "attributes": {}, "connections": {"C": [2]}} for name, kind in (
            ("mac.array.x", "SB_MAC16"), ("mac.array.half_0", "SB_RAM40_4K"),
            ("mac.mac.a", "SB_LUT4"), ("cpu.b", "SB_DFFESS"), ("cpu.c", "SB_DFF"),
            ("ram.half_0", "SB_SPRAM256KA"), ("d", "SB_LUT4"))}}}}, indent=2)
SMALL_PLACE = """\
pathlib.Path(options["--asc"]).write_text("text")
pathlib.Path(options["--write"]).write_text({cells!r})
pathlib.Path(options["--report"]).write_text(json.dumps({report!r}))
"""
SMALL_CELLS = """\
    "mac.mac.a": {
      "attributes": {
        "NEXTPNR_BEL": "X7/Y2/lc5",
      }
    },
"""


def play_small(played: Tools) -> None:
    """Tools for the small board."""
    found = {
        "fmax": {SMALL_CLOCK: {"achieved": 21.5, "constraint": 12}},
        "critical_paths": [{"from": f"posedge {SMALL_CLOCK}", "to": f"posedge {SMALL_CLOCK}",
                            "path": [{"type": "clk-to-q", "delay": 46.5, "from": {"cell": "x"},
                                      "to": {"cell": "cpu.b"}}]}],
        "utilization": {name: {"used": n, "available": 10 * n} for name, n in (
            ("ICESTORM_LC", 7), ("ICESTORM_DSP", 1), ("ICESTORM_RAM", 2), ("ICESTORM_SPRAM", 3),
            ("ICESTORM_PLL", 4))}}
    played.make("yosys", f"pathlib.Path('netlist.json').write_text({SMALL_NETLIST!r})")
    played.make("nextpnr-ice40", SMALL_PLACE.format(cells=SMALL_CELLS, report=found))
    played.make("icepack", "import shutil; shutil.copy(sys.argv[1], sys.argv[2])")


def test_a_small_board_has_tools_and_names_of_its_own(
        played: Tools, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    play_small(played)
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
    play_small(played)
    played.make("nextpnr-ice40", """print('''Info: Device utilisation:
Info: \t         ICESTORM_LC:    5573/   5280   105%
Info: \t        ICESTORM_RAM:      28/     30    93%
ERROR: Failed to expand region (0, 0) |_> (25, 31) of 5573 ICESTORM_LCs
'''); sys.exit(1)""")
    assert main(["bitstream", "--board", "icebreaker-up5k", "-o", str(tmp_path / "out")]) == 1
    assert capsys.readouterr().err.endswith(
        "\nThe design must fit the iCE40UP5K-SG48, not take 5573 of 5280 ICESTORM_LC; choose a "
        "smaller core with --target.\n")
