"""Run a core between cocotbext-axi's bus models: slower than sim/tb/runner.py, and more agile.

Both ends of the core's buses are somebody else's here, so that a misunderstanding of AXI that the
core and memory.cpp share would show. Python sees every access, so that memory can fail, fall
silent or be reset at any beat, and a core can be started, disturbed and started again. For tests:
needs cocotbext-axi, which comes with the `dev` extra.
"""

import pickle
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from cocotb_tools.runner import get_runner

from hw.spec.config import ArrayConfig
from sim.errors import SimError
from sim.tb.toolchain import Simulation, Testbench, build_simulation, cached_verilog

__all__ = ["AXI", "Episode", "Job", "Outcome", "Silence", "run_cocotb", "run_episodes"]

_HERE = Path(__file__).parent
#: The core and nothing else. What it does not initialize is random at the start.
AXI = Testbench(top="macrame", verilog=(_HERE / "core.vlt", _HERE / "axi_checker.sv"), cpp=(),
                options=("--x-assign", "unique", "--x-initial", "unique"))
_SLVERR = 2


@dataclass(frozen=True, kw_only=True)
class Silence:
    """Memory that stops answering.

    Parameters
    ----------
    write
        To writes, or else to reads.
    address
        Of the first beat that gets no answer.
    cycles
        For so long; None: until reset.
    """

    write: bool
    address: int
    cycles: int | None = None


@dataclass(frozen=True, kw_only=True)
class Episode:
    """The core is started once, perhaps disturbed, and then watched until it is not busy.

    Parameters
    ----------
    memory
        What is written to memory before, by address.
    registers
        What is written to registers before, in order.
    commands
        Writes to registers ``(cycles after start, name, value)``, in the order of time.
    reset_after
        Reset core and memory after so many cycles, which ends the episode.
    errors
        Beats ``(write, address)`` that the memory answers with `response`.
    response
        SLVERR is 2, DECERR 3.
    silence
        When the memory does not answer.
    limit_cycles
        Leave the core when it is busy for longer.
    """

    memory: Mapping[int, bytes] = field(default_factory=dict)
    registers: Mapping[str, int] = field(default_factory=dict)
    commands: tuple[tuple[int, str, int], ...] = ()
    reset_after: int | None = None
    errors: frozenset[tuple[bool, int]] = frozenset()
    response: int = _SLVERR
    silence: Silence | None = None
    limit_cycles: int = 100_000


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How the core was found after an episode.

    Parameters
    ----------
    registers
        All of them.
    interrupts
        The interrupt's level before the start and at the end.
    memory
        Contents of the job's areas.
    reads, writes
        Addresses of the beats that were read, and of the bytes that were written.
    """

    registers: dict[str, int]
    interrupts: tuple[bool, bool]
    memory: dict[int, bytes]
    reads: frozenset[int]
    writes: frozenset[int]


@dataclass(frozen=True, kw_only=True)
class Job:
    """What sim/tb/axi_tests.py is to do: `episodes`, one after the other, with random pauses on
    every channel if there is a `seed`; ``areas`` is what memory is asked for, bytes by address.
    """

    episodes: tuple[Episode, ...]
    areas: dict[int, int]
    seed: int | None


def run_episodes(config: ArrayConfig, episodes: Sequence[Episode], *,
                 areas: Mapping[int, int] | None = None, seed: int | None = None,
                 power_up: int = 1) -> list[Outcome]:
    """Run one core through all `episodes`.

    Parameters
    ----------
    config
        The core's.
    episodes
        One after the other, without a reset between them.
    areas
        Which bytes of memory the outcomes contain: how many, by address.
    seed
        Makes every channel pause at random.
    power_up
        Seed of what is in the core's memories at power-up.

    Raises
    ------
    SimError
        A tool failed, or a rule of the bus was broken; the message ends with what was said.
    """
    simulation = build_simulation(cached_verilog(config), bus_bytes=None, bench=AXI)
    job = Job(episodes=tuple(episodes), areas=dict(areas or {}), seed=seed)
    with tempfile.TemporaryDirectory(prefix="macrame-") as name:
        folder = Path(name)
        (folder / "job").write_bytes(pickle.dumps(job))
        said = run_cocotb(simulation, AXI, "sim.tb.axi_tests", folder, (
            f"+job={folder / 'job'}", f"+result={folder / 'result'}",
            "+verilator+rand+reset+2", f"+verilator+seed+{power_up}"))
        if not (folder / "result").exists():
            said = "\n".join(said.splitlines()[-15:])
            raise SimError(f"the simulation must end with a result; it said:\n{said}")
        outcomes: list[Outcome] = pickle.loads((folder / "result").read_bytes())
    return outcomes


def run_cocotb(simulation: Simulation, bench: Testbench, module: str, folder: Path,
               plusargs: Sequence[str]) -> str:
    """Run the tests of a Python module in a simulation; what was said, whether they pass or not."""
    log = folder / "simulation.log"
    try:
        get_runner("verilator").test(
            test_module=module, hdl_toplevel=bench.top, hdl_toplevel_lang="verilog",
            build_dir=str(simulation.folder), test_dir=str(folder), log_file=str(log),
            results_xml=str(folder / "results.xml"), plusargs=list(plusargs))
    except (RuntimeError, SystemExit) as error:
        return f"{log.read_text(errors='replace')}\n{error}"
    return log.read_text(errors="replace")
