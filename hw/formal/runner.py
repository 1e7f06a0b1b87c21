"""Runs proofs in SymbiYosys: RTLIL, Yosys and SMT solvers, all from wheels."""

import fcntl
import os
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path

from amaranth.back import rtlil

from hw.formal.errors import FormalError
from hw.formal.proof import Method, Proof

__all__ = ["FOLDER", "Result", "run_proof", "run_proofs"]

#: Where scripts, logs and counterexamples go, relative to the working directory.
FOLDER = Path("build") / "formal"
#: sby calls these by name; the wheels have them under another.
_WRAPPED = ("yosys", "yosys-smtbmc", "yosys-witness")
#: Where the wheels put their programs.
_BIN = Path(sys.executable).parent
#: Exit statuses of sby. Others, FAIL and UNKNOWN, come with an explanation in its summary.
_PASS, _EXPLAINED = 0, (2, 4)

_SCRIPT = """\
[options]
mode {mode}
depth {depth}
[engines]
smtbmc yices
[script]
read_rtlil design.il
prep -top top
[files]
design.il
"""

#: Amaranth's elaboration is not made for threads.
_elaborating = threading.Lock()


@dataclass(frozen=True)
class Result:
    """What became of a proof.

    Parameters
    ----------
    proof
    failures
        Why it does not hold, a line for each: what fails, and where it is written. Empty: proved.
    traces
        Waveforms of the counterexamples.
    seconds
        Processor time of all tools.
    """

    proof: Proof
    failures: tuple[str, ...]
    traces: tuple[Path, ...]
    seconds: float


def run_proof(proof: Proof, *, folder: Path = FOLDER) -> Result:
    """Prove `proof` and reach its covers, with files in a folder of its name inside `folder`.

    If an induction fails, a counterexample that begins with reset is looked for as well, in as
    many cycles as the covers have: there may be none, if an assertion is missing.

    Raises
    ------
    FormalError
        If a tool fails other than by finding a counterexample, or somebody else runs this proof.
    """
    where = folder.resolve() / proof.name
    where.parent.mkdir(parents=True, exist_ok=True)
    with open(where.with_name(f"{proof.name}.lock"), "w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise FormalError(f"proof {proof.name!r} must not be run twice at the same time in "
                              f"{str(folder)!r}; wait for the other run") from None
        return _run_proof(proof, folder, where)


def _run_proof(proof: Proof, folder: Path, where: Path) -> Result:
    shutil.rmtree(where, ignore_errors=True)
    environment = os.environ | {"PATH": os.pathsep.join(
        (str(_wrappers(folder.resolve() / "bin")), str(_BIN), os.environ.get("PATH", "")))}
    with _elaborating:
        text = rtlil.convert(proof.harness(), name="top")
    assert '"cover"' in text, f"proof {proof.name!r} must have a Cover"
    mode = "prove" if proof.method is Method.INDUCTION else "bmc"
    failures, traces, seconds = [], [], 0.0
    tasks = [(mode, proof.depth), ("cover", proof.cover_depth)]
    for task, depth in tasks:
        inside = where / task
        inside.mkdir(parents=True)
        (inside / "design.il").write_text(text)
        (inside / "task.sby").write_text(_SCRIPT.format(mode=task, depth=depth))
        status, log, used = _run_sby(inside, environment)
        seconds += used
        if status == _PASS:
            continue
        found = list(_failures(log))
        if status not in _EXPLAINED or not found:
            (inside / "output.txt").write_text(log)
            raise FormalError(f"proof {proof.name!r} must run to its end; for what went wrong see "
                              f"{inside / 'output.txt'}")
        if task == "prove":
            tasks.append(("bmc", proof.cover_depth))
        failures += found
        traces += [inside / path for path in re.findall(r"counterexample trace.*: (\S+)", log)]
    return Result(proof, tuple(failures), tuple(traces), seconds)


def run_proofs(proofs: Iterable[Proof], *, jobs: int = 1, folder: Path = FOLDER,
               finished: Callable[[Result], None] = lambda result: None) -> list[Result]:
    """Run `jobs` proofs side by side; results in the order of `proofs`.

    `finished` is called with each as it comes.
    """
    with ThreadPoolExecutor(jobs) as pool:
        futures = [pool.submit(run_proof, proof, folder=folder) for proof in proofs]
        try:
            for future in as_completed(futures):
                finished(future.result())
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
        return [future.result() for future in futures]


def _wrappers(folder: Path) -> Path:
    """Give the tools the names that sby expects."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("yices-smt2", "yowasp-sby", *(f"yowasp-{name}" for name in _WRAPPED)):
        if not (_BIN / name).exists():
            raise FormalError(f"program {str(_BIN / name)!r} must be there; "
                              "pip install -e '.[formal]'")
    for name in _WRAPPED:
        program = _BIN / f"yowasp-{name}"
        script = folder / f"{name}.{threading.get_native_id()}"
        script.write_text(f'#!/bin/sh\nexec "{program}" "$@"\n')
        script.chmod(0o755)
        script.replace(folder / name)
    return folder


def _run_sby(inside: Path, environment: dict[str, str]) -> tuple[int, str, float]:
    """Run a task; return exit status, output, and processor time with that of all children."""
    process = subprocess.Popen([_BIN / "yowasp-sby", "-f", "task.sby"], cwd=inside, text=True,
                               env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    with process.stdout as output:
        log = output.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    return process.returncode, log, usage.ru_utime + usage.ru_stime


def _failures(log: str) -> Iterator[str]:
    """Take out of sby's summary what failed, and where it is written."""
    meaning = ""
    for line in re.findall(r"summary: (.*)", log):
        if line.startswith("counterexample trace [induction]"):
            meaning = "is not inductive"
        elif line.startswith("counterexample trace"):
            meaning = "fails"
        elif line.startswith("unreached cover"):
            meaning = "cannot be reached"
        elif found := re.match(r"  (?:failed assertion )?\S+ at (\S+?)(?: step (\d+))?$", line):
            place, step = found.groups()
            yield f"{_relative(place)} {meaning}" + (f" in cycle {step}" if step else "")


def _relative(place: str) -> str:
    path, _, line = place.rpartition(":")
    return f"{os.path.relpath(path)}:{line}"
