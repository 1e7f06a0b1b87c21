"""Times, cycles and traffic of the default and the real networks: ``make bench``.

Deterministic figures (cycles, bytes, mismatches) are the point; seconds depend on the machine and
are printed beside ONNX Runtime's on the same machine. Writes ``build/bench.json``. With ``--rtl``
tests/bench_rtl.py measures instead, and writes ``build/bench-rtl.json``.
"""

import argparse
import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from codegen.zoo.models import DEFAULT
from tests import bench_rtl
from tests.data import data_folder

NETWORKS = {
    "yolov4-tiny-416 (zoo)": "yolov4-tiny-416",
    "yolov4-tiny-voc": "models/yolov4-tiny-voc/yolov4-tiny-416_int8_qop.onnx",
    "yolov4-tiny-voc per channel":
        "models/yolov4-tiny-voc/yolov4-tiny-416_int8_qop_perchannel.onnx",
    "yolov4-tiny-320 (zoo)": "yolov4-tiny-320",
    "yolov4-tiny-608 (zoo)": "yolov4-tiny-608",
    "yolov4-tiny-aix2023": "models/yolov4-tiny-aix2023/yolov4-tiny-aix2023_int8_qop.onnx",
    "yolo-fastest-1.1": "models/yolo-fastest-1.1-coco/yolo-fastest-1.1_int8_qop.onnx",
    "mobilenet-v2 cifar-10": "models/qop/mbv2_cifar10_int8.onnx",
}
#: Arrays on which the default network is scheduled as well.
ARRAYS = ((8, 8), (8, 16), (16, 8), (16, 16), (16, 32))


def command(*arguments: str) -> tuple[float, float]:
    """Run a command; CPU seconds and peak memory in MB of it alone."""
    child = subprocess.Popen([sys.executable, "-m", *arguments], stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(child.pid, 0)
    if os.waitstatus_to_exitcode(status):
        raise SystemExit(f"error: python -m {' '.join(arguments)} failed")
    return usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024


def measure(name: str, model: str, *options: str) -> dict[str, Any]:
    """Build and verify one network."""
    folder = Path("build/bench") / "".join(c if c.isalnum() else "-" for c in name)
    path = model if "/" not in model else str(data_folder() / model)
    command("codegen", "build", path, "-o", str(folder), "--quiet", *options)  # fills the zoo
    build_s, build_mb = command("codegen", "build", path, "-o", str(folder), "--quiet", *options)
    command("sim", "verify", str(folder), "--json", str(folder / "verify.json"))
    report = json.loads((folder / "report.json").read_text())
    result = json.loads((folder / "verify.json").read_text())
    return {
        "name": name, "macs": report["macs"], "instructions": report["instructions"],
        "bandwidths": {f"{b['bytes_per_cycle']:g}": {
            "cycles": b["cycles"], "utilization": b["utilization"],
            "bytes": b["read_bytes"] + b["written_bytes"]} for b in report["bandwidths"]},
        "limits": _limits(report["layers"]),
        "build_cpu_seconds": build_s, "build_peak_mb": build_mb,
        "simulator_cpu_seconds": result["seconds"]["simulator"] + result["seconds"]["load"],
        "onnxruntime_cpu_seconds": result["seconds"]["onnxruntime"],
        "mismatches": result["total_mismatches"], "elements": result["compared_elements"],
    }


def _limits(layers: list[dict[str, Any]]) -> dict[str, float]:
    """Share of the cycles of a frame by what limits its layers, largest first."""
    shares = Counter[str]()
    for layer in layers:
        shares[layer["limit"]] += layer["cycles"]
    return {limit: cycles / shares.total() for limit, cycles in shares.most_common()}


def main() -> int:
    """Measure all, print the tables, write the JSON."""
    arguments = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    arguments.add_argument("--json", type=Path, help="where to write the results")
    arguments.add_argument("--only", default="", help="part of the name of what to measure")
    arguments.add_argument("--rtl", action="store_true",
                           help="whole frames in RTL at 2, 4 and 8 B/cycle (minutes)")
    arguments.add_argument("--network", default=DEFAULT, metavar="MODEL",
                           help=f"of --rtl: file or zoo model (default: {DEFAULT})")
    arguments.add_argument("--jobs", type=int, metavar="N",
                           help="of --rtl: also run every layer by itself, N at a time")
    args = arguments.parse_args()
    if args.rtl and args.only:
        arguments.error("--rtl must be used with --network, not with --only")
    if not args.rtl and (args.jobs is not None or args.network != DEFAULT):
        arguments.error("--network and --jobs must be used with --rtl")
    if args.rtl:
        return bench_rtl.run(args.network, args.jobs, args.json or Path("build/bench-rtl.json"))
    path = args.json or Path("build/bench.json")
    rows = [measure(name, model) for name, model in NETWORKS.items()
            if args.only in name and ("/" not in model or (data_folder() / model).exists())]
    rows += [measure(f"yolov4-tiny-416 on {r}x{c}", "yolov4-tiny-416", "--rows", str(r),
                     "--columns", str(c), "--any-size")
             for r, c in ARRAYS if args.only in f"on {r}x{c}"]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(rows, indent=1) + "\n")
    console = Console(width=None if sys.stdout.isatty() else 200, highlight=False)
    console.print(_table(rows))
    return int(any(row["mismatches"] for row in rows))


def _table(rows: list[dict[str, Any]]) -> Table:
    table = Table(title="Predicted cycles (latency 20), and CPU seconds on this machine",
                  title_justify="left")
    table.add_column("network", no_wrap=True)
    for heading in ("M MAC", "instr.", "M cycles 2 B", "util.", "4 B", "util.", "8 B", "util.",
                    "MB moved", "limits at 4 B", "build s", "build MB", "ISS s", "ORT s",
                    "mismatches"):
        table.add_column(heading, justify="right")
    for row in rows:
        cells = [row["name"], f"{row['macs'] / 1e6:.0f}", str(row["instructions"])]
        for b in ("2", "4", "8"):
            cells += [f"{row['bandwidths'][b]['cycles'] / 1e6:.2f}",
                      f"{row['bandwidths'][b]['utilization']:.1%}"]
        table.add_row(*cells, f"{row['bandwidths']['4']['bytes'] / 1e6:.1f}",
                      ", ".join(f"{limit} {share:.0%}" for limit, share in row["limits"].items()
                                if share >= 0.005),
                      f"{row['build_cpu_seconds']:.1f}", f"{row['build_peak_mb']:.0f}",
                      f"{row['simulator_cpu_seconds']:.2f}",
                      f"{row['onnxruntime_cpu_seconds']:.2f}", str(row["mismatches"]))
    return table


if __name__ == "__main__":
    sys.exit(main())
