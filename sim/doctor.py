"""Report on this host: can its ONNX Runtime be trusted as a reference, and if not, what to do."""

import json
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from rich.console import Console
from rich.table import Table

from sim.hostcheck import CASES, canary

__all__ = ["cpu_flags", "run_doctor"]

FLAGS = ("avx2", "fma", "avx512bw", "avx512_vnni", "avx_vnni", "avx_vnni_int8", "amx_int8")
"""Processor features by which ONNX Runtime chooses its 8-bit kernels."""

PACKAGES = ("macrame", "onnxruntime", "onnx", "numpy", "pillow")

_PRECISE = {"session.x64quantprecision": "1"}

_NAMES = {
    "s8s8": "products, int8 activations x int8 weights",
    "u8s8": "products, uint8 activations x int8 weights",
    "u8u8": "products, uint8 activations x uint8 weights",
    "add": "QLinearAdd",
}

_ADVICE = {
    "s8s8": "Quantize with uint8 activations and weights, or use another host: this one's "
            "ONNX Runtime has a faulty int8 kernel.",
    "u8s8": "Quantize with int8 activations, which are exact here if the line above says so; or "
            "with weights of 7 bits (reduce_range).",
    "u8u8": "Quantize with int8 activations and weights, or use another host.",
    "add": "Compare models with QLinearAdd on an x86-64 host with AVX2 and FMA: other kernels "
           "round the sum differently.",
}


def cpu_flags(cpuinfo: Path = Path("/proc/cpuinfo")) -> dict[str, str]:
    """Tell for each of ``FLAGS`` whether the processor has it: "yes", "no" or "unknown"."""
    try:
        lines = cpuinfo.read_text(errors="replace").splitlines()
    except OSError:
        lines = []
    for line in lines:
        key, _, value = line.partition(":")
        if key.strip() == "flags":
            present = set(value.split())
            return {flag: "yes" if flag in present else "no" for flag in FLAGS}
    return dict.fromkeys(FLAGS, "unknown")


def run_doctor(console: Console, json_path: Path | None = None) -> int:
    """Print versions, processor, the canary's findings and what follows from them.

    Parameters
    ----------
    console
        Where the report goes.
    json_path
        Also write it there, as JSON.

    Returns
    -------
    Exit status: 0 if every case of ``sim.hostcheck.CASES`` is exact on this host, 1 if not.
    """
    versions = {"python": platform.python_version(), **{name: _version(name)
                                                        for name in PACKAGES}}
    flags = cpu_flags()
    found = canary()
    exact = {item.case: item.differing == 0 for item in found}
    advice = {case: _ADVICE[case] for case in CASES if not exact[case]}
    if not exact["u8s8"] and canary(("u8s8",), entries=_PRECISE)[0].differing == 0:
        advice["u8s8"] += (" Or open the model with session option session.x64quantprecision=1, "
                           "which makes it exact on this host.")
    console.print(_table("Versions", versions))
    console.print(_table(f"Processor ({platform.machine()})", flags))
    table = Table(title="ONNX Runtime against exact integers", title_justify="left")
    for heading in ("case", "codes", "different", "verdict"):
        table.add_column(heading, justify="right" if heading in ("codes", "different") else "left")
    for item in found:
        table.add_row(_NAMES[item.case], str(item.elements), str(item.differing),
                      "[green]exact[/]" if exact[item.case] else "[red]not a reference here[/]")
    console.print(table)
    for case, text in advice.items():
        console.print(f"[red]{_NAMES[case]}:[/] {text}", soft_wrap=True)
    status = 1 if advice else 0
    if not status:
        console.print("This host's ONNX Runtime is a valid reference for every combination.")
    if json_path is not None:
        json_path.write_text(json.dumps({
            "versions": versions, "machine": platform.machine(), "flags": flags,
            "canary": {item.case: {"elements": item.elements, "differing": item.differing}
                       for item in found},
            "advice": advice, "status": status}, indent=2) + "\n")
    return status


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def _table(title: str, rows: dict[str, str]) -> Table:
    table = Table(title=title, title_justify="left", show_header=False)
    for key, value in rows.items():
        table.add_row(key, value)
    return table
