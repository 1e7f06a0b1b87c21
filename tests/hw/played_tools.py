"""Tools on PATH that are played: they note how they were run, and leave what a test wants."""

import json
import sys
from pathlib import Path
from typing import Any

from hw.__main__ import main

__all__ = ["NETLIST", "SDRAM", "Tools", "made", "make", "report"]

SYSTEM, SDRAM = "$glbnet$soc_files_crg_clkout0", "$glbnet$sdrio_clk"
NETLIST = json.dumps({"modules": {"soc": {"ports": {"clk": {"bits": [2]}}, "cells": {
    name: {"type": kind, "attributes": {}, "connections": {"C": [2, "0"]}} for name, kind in (
        ("macrame.array.pe_0", "MULT18X18D"), ("macrame.\\load.x_CCU2C_S0", "CCU2C"),
        ("macrame.load.y", "LUT4"), ("VexRiscv.y", "TRELLIS_FF"), ("soc_files_z", "DP16KD"))}}}},
    indent=2)
#: What is routed: as nextpnr writes it, with a clock, a wire, and a net without wires. The x of x.v
#: becomes the number of the time.
ROUTED = json.dumps({"modules": {"top": {
    "settings": {"router2/bbMargin/x": "3", "router/tmg_ripup": "0 ", "target_freq": "5e7",
                 "seed": "1", "placer": "static"},
    "cells": {
        "macrame.array.pe_0": {"attributes": {"NEXTPNR_BEL": "X4/Y3/MULT18_0"}},
        "macrame.load.y": {"parameters": {}, "attributes": {"NEXTPNR_BEL": "X7/Y2/SLICEB.K1"}}},
    "netnames": {
        "$glbnet$sdrio_clk": {"attributes": {"ROUTING": "G_HPBX0;;1"}},
        "wire": {"attributes": {"ROUTING": "X7/Y2/F1;;1", "src": "x.v"}},
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
routed = {routed!r}.replace("x.v", f"{{route}}.v")
pathlib.Path(options["--write"]).write_text(routed)
pathlib.Path(options["--report"]).write_text(json.dumps(report))
"""


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

        If it may leave late what is late, it finds what comes next.

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

    def small(self) -> None:
        """Those for the small board."""
        found = {
            "fmax": {SMALL_CLOCK: {"achieved": 21.5, "constraint": 12}},
            "critical_paths": [{"from": f"posedge {SMALL_CLOCK}", "to": f"posedge {SMALL_CLOCK}",
                                "path": [{"type": "clk-to-q", "delay": 46.5, "from": {"cell": "x"},
                                          "to": {"cell": "cpu.b"}}]}],
            "utilization": {name: {"used": n, "available": 10 * n} for name, n in (
                ("ICESTORM_LC", 7), ("ICESTORM_DSP", 1), ("ICESTORM_RAM", 2), ("ICESTORM_SPRAM", 3),
                ("ICESTORM_PLL", 4))}}
        self.make("yosys", f"pathlib.Path('netlist.json').write_text({SMALL_NETLIST!r})")
        self.make("nextpnr-ice40", SMALL_PLACE.format(cells=SMALL_CELLS, report=found))
        self.make("icepack", "import shutil; shutil.copy(sys.argv[1], sys.argv[2])")


def make(folder: Path, *options: str) -> int:
    return main(["bitstream", "--target", "test-4x4", *options, "-o", str(folder)])


def made(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "hardware.json").read_text())
    return found
