"""Run a slice of a program on the core's RTL."""

from dataclasses import dataclass
from typing import Any

from hw.spec.regs import Fault
from sim.errors import SimError
from sim.slices.programs import Programs
from sim.slices.reference import Memories
from sim.tb.runner import CoreRun, run_core
from sim.tb.toolchain import Simulation

__all__ = ["SliceRun", "run_slice"]

#: Which part of the memory is which window, in the three runs.
_RUNS = (
    {"PROGRAM": "RESTORE", "CONSTANTS": "CONSTANTS", "ACTIVATIONS": "SCRATCHPAD"},
    {"PROGRAM": "OWN", "CONSTANTS": "CONSTANTS", "ACTIVATIONS": "ACTIVATIONS"},
    {"PROGRAM": "SAVE", "CONSTANTS": "CONSTANTS", "ACTIVATIONS": "SAVED"})
_OWN = 1


@dataclass(frozen=True, kw_only=True)
class SliceRun:
    """What the run of a slice left behind.

    Parameters
    ----------
    run
        Of the slice itself; its instructions count from the first of the slice.
    after
        Contents at the end; the scratchpad is zeros if the slice ended with a fault.
    violations
        What the memory found wrong in all three runs.
    cycles, seconds
        Of all three runs.
    """

    run: CoreRun
    after: Memories
    violations: tuple[str, ...]
    cycles: int
    seconds: float


def run_slice(simulation: Simulation, programs: Programs, constants: bytes, before: Memories,
              **options: Any) -> SliceRun:
    """Put the state on chip, run the slice, and bring the scratchpad back.

    Parameters
    ----------
    simulation
        Made by :func:`~sim.tb.runner.build_core` for the slice's configuration.
    programs
        What to run.
    constants
        The constants window.
    before
        What the slice finds.
    options
        As for :func:`~sim.tb.runner.run_core`. Waveforms show the slice alone.

    Raises
    ------
    SimError
        The state could not be put on chip or brought back, or the simulation failed.
    """
    parts = {"RESTORE": programs.encode(programs.restore), "CONSTANTS": constants,
             "SCRATCHPAD": before.scratchpad.tobytes(), "OWN": programs.encode(programs.own),
             "SAVE": programs.encode(programs.save),
             "ACTIVATIONS": before.activations.tobytes(),
             "SAVED": bytes(before.scratchpad.nbytes)}
    runs, found = run_core(simulation, programs.config, parts, _RUNS, traced_run=_OWN, **options)
    last = len(runs) - 1
    if last != _OWN and runs[last].fault != Fault.NONE:
        what = ("put on chip before the slice", "", "brought back after the slice")[last]
        raise SimError(f"the core's state must be {what}, by a program that cannot fail; the RTL "
                       f"stopped it: {runs[last].fault.name} at instruction "
                       f"{runs[last].instruction}.")
    return SliceRun(run=runs[_OWN], after=Memories(found["ACTIVATIONS"], found["SAVED"]),
                    violations=tuple(v for run in runs for v in run.violations),
                    cycles=sum(run.cycles for run in runs),
                    seconds=sum(run.seconds for run in runs))
