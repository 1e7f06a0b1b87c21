"""Whole frames in RTL at three bandwidths, each built for its own: ``make bench RTL=1``.

Goals are those of the default network: what share of 256 multipliers is to work, and how much may
move. Layers by themselves have their first loads and last results in the open, which a frame
hides, so their cycles add up to more than the frame's.
"""

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from codegen.emit.chart import short_name
from codegen.zoo.models import DEFAULT

__all__ = ["run"]

LATENCY = 20


@dataclass(frozen=True)
class Case:
    """A memory, the bus to it, and what the default network is to reach with it.

    Parameters
    ----------
    bandwidth
        Bytes per cycle, both ways together.
    bus_bytes
        Of the target's bus; None is the target's own.
    utilization
        Goal: ideal cycles / RTL cycles.
    megabytes
        Goal: traffic of a frame; None if there is none.
    """

    bandwidth: int
    bus_bytes: int | None
    utilization: float
    megabytes: float | None = None


CASES = (Case(2, None, 0.90), Case(4, None, 0.95, 13.0), Case(8, 8, 0.97))


def run(network: str, jobs: int | None, path: Path) -> int:
    """Measure, print the tables, write the JSON; 1 if anything differs from ONNX Runtime.

    Parameters
    ----------
    network
        Zoo model or file.
    jobs
        Also run every layer by itself, so many at a time; None: do not.
    """
    frames = [_measure(network, case, jobs) for case in CASES]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(frames, indent=1) + "\n")
    console = Console(width=None if sys.stdout.isatty() else 160, highlight=False)
    for frame in frames:
        console.print(_layer_table(frame))
    console.print(_frame_table(network, frames))
    print(f"written to {path}")
    return int(not all(frame["passed"] for frame in frames))


def _measure(network: str, case: Case, jobs: int | None) -> dict[str, Any]:
    folder = Path("build/bench") / f"rtl-{Path(network).stem}-{case.bandwidth}"
    memory = ("--dram-bytes-per-cycle", str(case.bandwidth), "--dram-latency", str(LATENCY))
    bus = () if case.bus_bytes is None else ("--bus-bytes", str(case.bus_bytes))
    if _command("codegen", "build", network, "-o", str(folder), "--quiet", *memory, *bus):
        raise SystemExit(1)
    report = json.loads((folder / "report.json").read_text())

    def verify(name: str, *options: str) -> dict[str, Any]:
        """The results, whether or not anything differs."""
        (folder / name).unlink(missing_ok=True)
        status = _command("sim", "verify", str(folder), "--engine", "rtl", "--quiet", *memory,
                          "--json", str(folder / name), *options)
        if not (folder / name).exists():
            raise SystemExit(status)
        result: dict[str, Any] = json.loads((folder / name).read_text())
        return result
    layers, goals = report["layers"], network == DEFAULT
    results = [verify("rtl.json")]
    alone = [None] * len(layers)
    if jobs is not None:
        results.append(verify("rtl-layers.json", "--layers", f"1..{len(layers)}",
                              "--jobs", str(jobs)))
        alone = results[-1]["rtl"]["layers"]
    rtl = results[0]["rtl"]
    return {
        "network": network, "bytes_per_cycle": case.bandwidth, "latency": LATENCY,
        "bus_bytes": report["config"]["bus_bytes"], "ideal_cycles": report["ideal_cycles"],
        "rtl_cycles": rtl["cycles"], "predicted_cycles": results[0]["cycles_predicted"],
        "error": rtl["error"], "utilization": report["ideal_cycles"] / rtl["cycles"],
        "goal_utilization": case.utilization if goals else None,
        "bytes": rtl["read_bytes"] + rtl["written_bytes"],
        "goal_bytes": case.megabytes and case.megabytes * 1e6 if goals else None,
        "mismatches": sum(result["total_mismatches"] for result in results),
        "passed": all(result["passed"] for result in results),
        "layers": [_layer(number, *both) for number, both in enumerate(zip(layers, alone), 1)],
    }


def _command(*arguments: str) -> int:
    """Run a command whose tables are not wanted; its errors and progress are shown."""
    return subprocess.run([sys.executable, "-m", *arguments], stdout=subprocess.DEVNULL).returncode


def _layer(number: int, layer: dict[str, Any], alone: dict[str, Any] | None) -> dict[str, Any]:
    """A layer of the report, and what it takes in RTL by itself."""
    if alone is not None:
        assert (alone["layer"], alone["name"]) == (number, layer["name"]), "another layer was run"
    return {
        "number": number, "name": layer["name"], "short_name": short_name(layer),
        "ideal_cycles": layer["ideal_cycles"], "predicted_cycles": layer["cycles"],
        "predicted_utilization": layer["utilization"],
        "rtl_cycles": alone and alone["cycles"], "rtl_error": alone and alone["error"],
        "rtl_utilization": alone and alone["utilization"],
        "bytes": layer["loaded_bytes"] + layer["stored_bytes"], "limit": layer["limit"],
    }


def _layer_table(frame: dict[str, Any]) -> Table:
    table = Table(title=f"{frame['network']} at {frame['bytes_per_cycle']} B/cycle: layers "
                        f"predicted in their frame, and in RTL by themselves",
                  title_justify="left")
    table.add_column("#", justify="right")
    table.add_column("layer", overflow="fold")
    for heading in ("ideal k cycles", "predicted", "util.", "RTL, alone", "util.", "error",
                    "KB moved"):
        table.add_column(heading, justify="right")
    table.add_column("limit")
    for layer in frame["layers"]:
        rtl = ["-"] * 3 if layer["rtl_cycles"] is None else [
            f"{layer['rtl_cycles'] / 1e3:.1f}", f"{layer['rtl_utilization']:.1%}",
            f"{layer['rtl_error']:+.2%}"]
        table.add_row(str(layer["number"]), layer["short_name"],
                      f"{layer['ideal_cycles'] / 1e3:.1f}",
                      f"{layer['predicted_cycles'] / 1e3:.1f}",
                      f"{layer['predicted_utilization']:.1%}", *rtl,
                      f"{layer['bytes'] / 1024:.0f}", layer["limit"])
    return table


def _frame_table(network: str, frames: list[dict[str, Any]]) -> Table:
    table = Table(title=f"{network}: whole frames in RTL, latency {LATENCY}, each built for its "
                        f"bandwidth", title_justify="left")
    for heading in ("B/cycle", "bus bytes", "RTL cycles", "goal", "predicted", "error",
                    "utilization", "goal", "MB moved", "goal", "mismatches", "goals"):
        table.add_column(heading, justify="right")
    for f in frames:
        goal, goal_bytes = f["goal_utilization"], f["goal_bytes"]
        verdict = ""
        if goal is not None:
            met = f["utilization"] >= goal and (goal_bytes is None or f["bytes"] <= goal_bytes)
            verdict = "met" if met else "missed"
        table.add_row(
            str(f["bytes_per_cycle"]), str(f["bus_bytes"]), str(f["rtl_cycles"]),
            "" if goal is None else f"{f['ideal_cycles'] / goal:.0f}", str(f["predicted_cycles"]),
            f"{f['error']:+.2%}", f"{f['utilization']:.2%}", "" if goal is None else f"{goal:.0%}",
            f"{f['bytes'] / 1e6:.2f}", "" if goal_bytes is None else f"{goal_bytes / 1e6:g}",
            str(f["mismatches"]) if f["passed"] else f"{f['mismatches']}, failed", verdict)
    return table
