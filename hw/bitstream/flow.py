"""From a board's name to its bitstream."""

import hashlib
import json
import os
import resource
import subprocess
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from hw.bitstream.boards import BOARDS
from hw.bitstream.floorplan import draw_floorplan
from hw.bitstream.place import pack, place
from hw.bitstream.refine import build_annealer
from hw.bitstream.report import Attempt, describe, frames
from hw.bitstream.synthesize import cells_by_component, synthesize
from hw.bitstream.tools import Used, find
from hw.soc.write import ROM_FILE, SOC_MODULE, rom_words, soc_files
from hw.spec.config import ArrayConfig
from hw.spec.small import SMALL

__all__ = ["FLOORPLAN", "REPORT", "Step", "make_bitstream", "sources", "sources_digest"]

#: What comes out beside the bitstream: the report of it, and a picture.
REPORT, FLOORPLAN = "hardware.json", "floorplan.png"

#: Begins a step of that name, ends it, and in between is told what it is doing.
Step = Callable[[str], AbstractContextManager[Callable[[str], None]]]


def sources(board_name: str, config: ArrayConfig, *, clock_hz: int, sdram_rate: int | None,
            boot: bytes) -> dict[str, str]:
    """What is synthesized, and the file of pins, by name of file."""
    # The generator takes seconds to load.
    from hw.generate import MODULE, core_rtlil
    from hw.small.write import small_sources
    board = BOARDS[board_name]
    if board_name in SMALL:
        return small_sources(config, clock_hz=clock_hz)
    assert sdram_rate is not None, "a system with an SDRAM has its rate"
    files = soc_files(board_name, config, clock_hz=clock_hz, sdram_rate=sdram_rate)
    return {f"{MODULE}.il": core_rtlil(config, board.multiplier(config)),
            ROM_FILE: rom_words(boot), **files}


def sources_digest(files: dict[str, str]) -> str:
    """SHA-256 of :func:`sources`, without the boot code; the same sources have the same, in any
    process and folder.
    """
    text = json.dumps({name: content for name, content in files.items() if name != ROM_FILE},
                      sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def make_bitstream(board_name: str, config: ArrayConfig, folder: Path, *, clock_hz: int,
                   sdram_rate: int | None, seeds: Sequence[int], boot: bytes, step: Step,
                   command: str, jobs: int = 1, run: dict[str, Any] | None = None
                   ) -> dict[str, Any]:
    """Synthesize; place macros, place the rest, refine that and route it with each seed; pack the
    fastest.

    Parameters
    ----------
    step
        Told what is going on.
    command
        What this is made by, for the report.
    jobs
        Seeds at a time; each needs a core and 2 GB.
    run
        A run of the RTL, for frames per second: ``network``, ``cycles`` and ``engine``.

    Returns
    -------
    What is in ``hardware.json``.

    Raises
    ------
    ToolError
        A tool is missing or fails.
    OSError
        A file cannot be written.
    """
    # SciPy takes a second to load.
    from hw.bitstream.macros import assign_macros, write_placed
    from hw.bitstream.wires import wires_between
    from hw.small.write import SMALL_MODULE
    board = BOARDS[board_name]
    folder.mkdir(parents=True, exist_ok=True)
    top = SMALL_MODULE if board_name in SMALL else SOC_MODULE
    for stale in (board.device.bitstream, REPORT, FLOORPLAN):
        (folder / stale).unlink(missing_ok=True)
    tools = [find(name) for name in ("yosys", board.device.place[0], board.device.pack[0])]
    with step("generation"):
        files = sources(board_name, config, clock_hz=clock_hz, sdram_rate=sdram_rate, boot=boot)
    with step("synthesis") as say:
        netlist = synthesize(folder, files, top=top, synth=board.device.synth, say=say)
    with step("wires between macros"):
        started = time.thread_time()
        wires = wires_between(json.loads(netlist.path.read_text())["modules"][top],
                              board.device.sites)
        wires_seconds = time.thread_time() - started
    annealer = None
    if board.device.logic:
        with step("annealer"):
            annealer = build_annealer()

    def attempt(seed: int) -> Attempt:
        with step(f"macros, seed {seed}") as say:
            started = time.thread_time()
            macros = assign_macros(wires, board, seed=seed, say=say)
            with_sites = folder / f"seed-{seed}.netlist"
            write_placed(json.loads(netlist.path.read_text()), top, macros.bels, with_sites)
            took = Used(wires_seconds + time.thread_time() - started,
                        resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
        with step(f"place and route, seed {seed}") as say:
            placed = place(with_sites, board.device, folder / board.constraints, clock_hz=clock_hz,
                           seed=seed, annealer=annealer, say=say)
        with_sites.unlink()
        return Attempt(placed, macros.tiles, macros.random_tiles, took)

    with ThreadPoolExecutor(jobs) as pool:
        runs = list(pool.map(attempt, seeds))
    fastest = max(runs, key=lambda run: run.placed.reached)
    best = fastest.placed
    with step("packing"):
        packed = pack(best, board.device, folder / board.device.bitstream)
        draw_floorplan(best.bels, board.device.tiles, board.components, folder / FLOORPLAN)
    found = {
        "made": {"by": command, "on": datetime.now(UTC).date().isoformat(), "from": _commit()},
        "board": board_name, "device": board.device.name, "config": vars(config),
        "clock_hz": clock_hz, "sdram_rate": sdram_rate, "sources_sha256": sources_digest(files),
        "tools": [tool.version() for tool in tools],
        **describe(board, fastest, runs, cells_by_component(netlist.path, board.components)),
        "took": {"synthesis": asdict(netlist.used), "macros": asdict(fastest.macros_took),
                 "place and route": asdict(best.took), "packing": asdict(packed)},
    }
    found["reached_hz"] = round(clock_hz * best.reached)
    found["frames"] = frames(found, run)
    temporary = folder / f"{REPORT}.tmp"
    temporary.write_text(json.dumps(found, indent=1) + "\n")
    os.replace(temporary, folder / REPORT)
    return found


def _commit() -> str | None:
    """The commit of the sources, marked if they were changed since; None outside of git."""
    try:
        done = subprocess.run(["git", "describe", "--always", "--dirty", "--exclude", "*"],
                              cwd=Path(__file__).parent, capture_output=True, text=True)
    except OSError:
        return None
    return done.stdout.strip() or None
