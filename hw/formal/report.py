"""What ``python -m hw formal`` shows: a bar while it works, tables, and JSON."""

import json
import sys
from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from hw.formal.proof import Method, Proof
from hw.formal.runner import Result, run_proofs

__all__ = ["print_proofs", "print_results", "run_with_progress", "to_json"]


def run_with_progress(proofs: Sequence[Proof], *, jobs: int) -> list[Result]:
    """Run proofs, with a bar on standard error where that is a terminal."""
    with Progress(console=Console(stderr=True), transient=True,
                  disable=not sys.stderr.isatty()) as bar:
        task = bar.add_task("proofs", total=len(proofs))
        return run_proofs(proofs, jobs=jobs, finished=lambda result: bar.update(
            task, advance=1, description=result.proof.name))


def print_proofs(proofs: Sequence[Proof]) -> None:
    """Print what is proved, and how."""
    table = _table("proof", "method", "fast", "claim")
    for proof in proofs:
        table.add_row(proof.name, _method(proof), "yes" if proof.fast else "", proof.claim)
    _console().print(table)


def print_results(results: Sequence[Result]) -> None:
    """Print what became of proofs, then what fails and where to see it."""
    console = _console()
    table = _table("proof", "claim", "method", "CPU seconds", "result")
    for result in results:
        table.add_row(result.proof.name, result.proof.claim, _method(result.proof),
                      f"{result.seconds:.1f}",
                      "[red]FAILS[/]" if result.failures else "[green]proved[/]")
    console.print(table)
    failing = [result for result in results if result.failures]
    for result in failing:
        console.print(f"[red]{result.proof.name} fails:[/]")
        for line in result.failures:
            console.print(f"  {line}", soft_wrap=True)
        for trace in result.traces:
            console.print(f"  waveform: {trace}", soft_wrap=True)
    colour = "red" if failing else "green"
    console.print(f"[{colour}]proofs: {len(results)}, failing: {len(failing)}[/]")


def to_json(results: Sequence[Result]) -> str:
    """Return the same as JSON."""
    def entry(result: Result) -> dict[str, Any]:
        proof = result.proof
        return {"name": proof.name, "claim": proof.claim, "method": proof.method.value,
                "depth": proof.depth, "proved": not result.failures,
                "failures": list(result.failures), "traces": list(map(str, result.traces)),
                "cpu_seconds": round(result.seconds, 2)}
    return json.dumps([entry(result) for result in results], indent=1) + "\n"


def _method(proof: Proof) -> str:
    return f"induction, {proof.depth}" if proof.method is Method.INDUCTION \
        else f"{proof.depth} cycles"


def _table(*headings: str) -> Table:
    table = Table(show_lines=True)
    for heading in headings:
        table.add_column(heading, overflow="fold", no_wrap=heading in ("proof", "method"),
                         justify="right" if heading == "CPU seconds" else "left")
    return table


def _console() -> Console:
    """Standard output, 150 columns wide if it is not a terminal."""
    return Console(width=None if sys.stdout.isatty() else 150, highlight=False)
