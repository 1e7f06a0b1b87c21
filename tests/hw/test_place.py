"""How ``python -m hw bitstream`` has nextpnr place and route: with a nextpnr that is played."""

import json
import re
import sys
from pathlib import Path

import pytest

from hw.bitstream.place import _phase
from hw.bitstream.tools import Stopped, Tool
from tests.hw.played_tools import NETLIST, Tools, made, make, report


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
    for n in (2, 3):
        design = json.loads((tmp_path / "out" / f"route-{n}--json").read_text())
        module = design["modules"]["top"]
        assert module["settings"] == {"placer": "static"}
        assert {name: net["attributes"] for name, net in module["netnames"].items()} == {
            "$glbnet$sdrio_clk": {}, "no_wire": {},
            "wire": {"ROUTING": "X7/Y2/F1;;1", "src": f"{n - 1}.v"}}
    assert [path.name for path in (tmp_path / "out").glob("*.config")] == ["seed-1.config"]


def test_what_got_slower_is_dropped_and_less_asked_for(played: Tools, tmp_path: Path) -> None:
    played.routes((report(40.0), report(39.0), report(41.0), report(41.0), report(42.0),
                   report(41.0), report(60.0)))
    assert make(tmp_path / "out") == 0
    assert made(tmp_path / "out")["reached_hz"] == 42_000_000
    assert (tmp_path / "out" / "board.bit").read_text() == "seed 1 route 5"
    # 8 % more than 40, 4 % more; the same of 41; 8 % more than 42
    assert [freq(call) for call in played.calls()[2:-1]] == [50, 43.2, 41.6, 44.28, 42.64, 45.36]


def test_routing_without_end_is_stopped_and_less_asked_for(played: Tools, tmp_path: Path) -> None:
    played.routes((report(48.0), None, None, report(48.6), report(55.0)))
    assert make(tmp_path / "out") == 0
    assert made(tmp_path / "out")["reached_hz"] == 55_000_000
    # what is between what was reached and what was too much, which is not more than is wanted
    assert [freq(call) for call in played.calls()[2:-1]] == [50, 50, 49, 48.5, 50]


def test_a_placement_that_cannot_be_in_time_is_routed_nevertheless(
        played: Tools, tmp_path: Path) -> None:
    played.routes((None, report(45.0), report(52.0)))
    assert make(tmp_path / "out") == 0
    assert made(tmp_path / "out")["reached_hz"] == 52_000_000
    first, second, third, _ = played.calls()[2:6]
    assert "--tmg-ripup" not in second
    assert [freq(call) for call in (first, second, third)] == [50, 75, 48.6]


def test_what_a_stopped_tool_took_is_known(tmp_path: Path) -> None:
    with pytest.raises(Stopped, match="python was stopped, .*/log'") as stopped:
        Tool("python", Path(sys.executable)).run(
            "-c", "import time; print('on and on', flush=True); time.sleep(60)", folder=tmp_path,
            log="log", hopeless=lambda log: log == "on and on\n")
    assert stopped.value.used.seconds > 0 and stopped.value.used.megabytes > 1


def test_knows_what_nextpnr_is_doing() -> None:
    log = "Info: Packing IOs..\nInfo: Packing LUTs...\n"
    assert _phase(log) == "Packing" and _phase("") == ""
    log += ("Info: Running main analytical placer, max placement attempts per cell = 1.\n"
            "Info:     at iteration #1, type ALL: wirelen\nInfo:     at iteration #12, type ALL\n")
    assert _phase(log) == "Running main analytical placer, iteration 12"
    log += "Info: Running router2...\n"
    assert _phase(log) == "Running router2"
    assert _phase(log + "Info:     iter=3 wires=5\n") == "Running router2, iteration 3"
