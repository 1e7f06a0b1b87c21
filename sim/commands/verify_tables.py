"""What ``python -m sim verify`` prints."""

from collections.abc import Callable, Sequence

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from sim.build import BuildFolder
from sim.commands.shared import make_console
from sim.results import LayerResult, RtlResult, TensorResult, Verification

__all__ = ["print_verification"]


def print_verification(result: Verification, build: BuildFolder, *, quiet: bool,
                       waves: Callable[[str], str]) -> None:
    """Print tables, and what is wrong.

    Parameters
    ----------
    quiet
        List only tensors that differ.
    waves
        The command that writes the waveforms of ``LAYER/TILE``.
    """
    console = make_console()
    table = Table(title=f"{build.manifest['name']} on {build.manifest['target']} "
                        f"({build.image.config.rows}x{build.image.config.columns}), "
                        f"{'RTL' if result.rtl else 'simulator'} against ONNX Runtime",
                  title_justify="left")
    for heading, justify in (("tensor", "left"), ("shape", "left"), ("elements", "right"),
                             ("mismatches", "right"), ("max |diff|", "right"), ("note", "left")):
        table.add_column(heading, justify=justify, overflow="fold")  # type: ignore[arg-type]
    for t in result.tensors:
        if quiet and not t.mismatches and not t.host_differs:
            continue
        table.add_row(t.name, "x".join(map(str, t.shape)), str(t.elements),
                      "-" if t.mismatches is None else str(t.mismatches),
                      "-" if t.mismatches is None else f"{t.max_abs_diff:g}", _note(t))
    console.print(table)
    console.print(f"{result.compared} tensors, {result.compared_elements} elements compared; "
                  f"{result.instructions} instructions; {result.cycles_predicted} cycles "
                  f"predicted")
    console.print("CPU seconds: " + ", ".join(f"{k.replace('_', ' ')} {v:.2f}"
                                              for k, v in result.seconds.items()))
    if result.rtl:
        _print_rtl(console, result.rtl, waves)
    if result.shuffles:
        bad = {seed: n for seed, n in result.shuffles.items() if n}
        console.print(f"{len(result.shuffles)} random interleavings: " + (
            f"[red]bytes of memory that differ, by seed: {bad}[/]" if bad
            else "same memory contents"))
    if result.races is not None:
        console.print(f"races: {result.races}")
    if any(t.host_differs for t in result.tensors):
        console.print("[yellow]this host's ONNX Runtime leaves the exact integers (see the notes); "
                      "run `python -m sim doctor`[/]")
    colour = "green" if result.passed else "red"
    hint = "; failed, see above" if not (result.total_mismatches or result.passed) else ""
    console.print(f"[{colour}]total mismatches: {result.total_mismatches}{hint}[/]")


def _print_rtl(console: Console, rtl: RtlResult, waves: Callable[[str], str]) -> None:
    if rtl.layers:
        console.print(_layer_table(rtl.layers, rtl))
    utilization = "" if rtl.utilization is None else f", {rtl.utilization:.1%} of the array used"
    console.print(f"{rtl.cycles} cycles measured (prediction {rtl.error:+.1%}){utilization}; "
                  f"{rtl.read_bytes} bytes read, {rtl.written_bytes} written; "
                  f"{rtl.cycles_per_second / 1e3:.0f} kcycles/s")
    table = Table(title="cycles by queue", title_justify="left")
    for heading in ("queue", "busy", "waited for tokens", "stalled"):
        table.add_column(heading, justify="left" if heading == "queue" else "right")
    for name, spent in rtl.queues.items():
        table.add_row(name, *(str(spent[kind]) for kind in ("busy", "wait", "stall")))
    console.print(table)
    if rtl.memory_differs:
        console.print(f"[red]bytes of memory in which RTL and simulator differ: "
                      f"{rtl.memory_differs}[/]")
    else:
        console.print("memory" + (", scratchpad included," if rtl.layers else "")
                      + " as in the simulator")
    for violation in rtl.violations:
        console.print(f"[red]{violation}[/]")
    if rtl.mismatch:
        console.print(f"[red]first mismatch: {escape(str(rtl.mismatch))}[/]")
        tile = "" if rtl.mismatch.tile is None else f"/{rtl.mismatch.tile}"
        if rtl.waves is None:
            console.print("for its waveforms: " + escape(waves(f"{rtl.mismatch.layer}{tile}")),
                          soft_wrap=True)
    if rtl.waves is not None:
        console.print(f"waveforms: {escape(rtl.waves)}")


def _layer_table(layers: Sequence[LayerResult], total: RtlResult) -> Table:
    """Layers one by one, and for what share of their cycles the queues were not working."""
    table = Table(title="layers by themselves; of each queue, % of the cycles in which it waited "
                        "for tokens / was stalled", title_justify="left")
    table.add_column("", justify="right")
    table.add_column("layer")
    for heading in ("tile", "instr.", "cycles", "predicted", "error", "util.", *total.queues):
        table.add_column(heading, justify="right")

    def row(result: LayerResult | RtlResult, *head: str, predicted: int) -> list[str]:
        shares = [" / ".join(f"{100 * spent[kind] / result.cycles:2.0f}"
                             for kind in ("wait", "stall")) for spent in result.queues.values()]
        used = "" if result.utilization is None else f"{result.utilization:.1%}"
        return [*head, str(result.cycles), str(predicted), f"{result.error:+.2%}", used, *shares]
    for layer in layers:
        first, stop = layer.instructions
        table.add_row(*row(layer, str(layer.layer), layer.name, str(layer.tile or "all"),
                           str(stop - first), predicted=layer.cycles_predicted))
    if len(layers) > 1:
        table.add_section()
        table.add_row(*row(total, "", "sum", "",
                           str(sum(b - a for a, b in (r.instructions for r in layers))),
                           predicted=sum(r.cycles_predicted for r in layers)))
    return table


def _note(t: TensorResult) -> str:
    notes = {"memory": "", "host": "dequantized by the host", "input": "fed to both",
             "table": "inside a table", "fused": "not kept (--keep-tensors)",
             "reused": "memory reused (--keep-tensors)", "skipped": "layer not run"}[t.where]
    if t.first:
        at, expected, found = t.first
        notes += f" first at {list(at)}: expected {expected:g}, got {found:g}"
    if t.host_differs:
        notes += f" [yellow]ONNX Runtime differs from exact integers in {t.host_differs}[/]"
    return notes.strip()
