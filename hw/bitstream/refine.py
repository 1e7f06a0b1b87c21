"""Moves what nextpnr placed, so that paths become shorter in time.

nextpnr's static placer makes wires short, and pays attention to time only with the slowest few
paths; hundreds of others are then as slow. The annealer (hw/bitstream/annealer, C++) moves cells by
simulated annealing of all paths' time and the length of all wires; nextpnr routes the result.
"""

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from hw.bitstream.boards import Device
from hw.bitstream.placement import read_placed
from hw.bitstream.tools import Tool, ToolError, Used

__all__ = ["CACHE", "build_annealer", "refine"]

#: Where the compiled annealer is kept, relative to the working directory.
CACHE = Path("build") / "annealer"

_SOURCES = Path(__file__).parent / "annealer"
#: No fused multiplications, so that every compiler's program does the same.
_FLAGS = ("-std=c++17", "-O3", "-ffp-contract=off", "-Wall", "-Wextra")
#: Of the period that is asked for: the router makes some paths slower.
_MARGIN = 0.92
#: Moves that are tried for each cell: four minutes for the default core.
_MOVES = 400


def build_annealer(cache: Path = CACHE) -> Tool:
    """Compile the annealer, or find it in the cache.

    Parameters
    ----------
    cache
        Folder of programs, each under the hash of what it was compiled from.

    Raises
    ------
    ToolError
        There is no C++ compiler, or it fails.
    OSError
        The cache cannot be written.
    """
    compiler = _compiler()
    sources = sorted(_SOURCES.iterdir())
    digest = hashlib.sha256(repr(
        (compiler, _FLAGS, [(path.name, path.read_bytes()) for path in sources])).encode())
    program = (cache / f"annealer-{digest.hexdigest()[:20]}").absolute()
    if not program.exists():
        program.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=program.parent) as work:
            compiled = Path(work) / program.name
            done = subprocess.run(
                [*compiler, *_FLAGS, "-o", str(compiled),
                 *(str(path) for path in sources if path.suffix == ".cpp")],
                stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace")
            if done.returncode:
                said = "\n".join(done.stdout.splitlines()[:12])
                raise ToolError(f"the annealer must compile; {compiler[0]} said:\n{said}")
            os.replace(compiled, program)
    return Tool("annealer", program)


def _compiler() -> tuple[str, ...]:
    """A C++ compiler: of the machine, which is there at once, else that of the ziglang wheel, which
    compiles its library first.
    """
    for name in ("g++", "clang++"):
        if shutil.which(name):
            return (name,)
    if find_spec("ziglang"):
        return (sys.executable, "-m", "ziglang", "c++", "-fno-sanitize=all")
    raise ToolError("the annealer needs a C++ compiler, and there is none; install g++, or run "
                    "`pip install ziglang`")


def refine(annealer: Tool, netlist: Path, delays: Path, moved: Path, device: Device, *,
           clock_hz: int, seed: int, say: Callable[[str], None] = lambda _: None) -> Used:
    """Move cells of a placed design.

    Parameters
    ----------
    annealer
        :func:`build_annealer`.
    netlist, delays
        What nextpnr wrote: JSON, and SDF.
    moved
        The same JSON with other places, to be written; names of other files here begin with its.
    clock_hz
        That all paths should reach.
    seed
        The same gives the same placement.
    say
        Called with what it is doing.

    Raises
    ------
    ToolError
        The annealer fails.
    """
    say("reading the placement")
    placed = read_placed(netlist, delays, device)
    arrays, places = moved.with_suffix(".arrays"), moved.with_suffix(".places")
    placed.write_arrays(arrays)
    used = annealer.run(
        arrays.name, places.name, f"{1e12 / clock_hz * _MARGIN:.0f}", str(_MOVES), str(seed),
        folder=moved.parent, log=f"{moved.stem}.anneal.log",
        follow=lambda log: say("".join(log.splitlines()[-1:])))
    placed.write_moved(np.fromfile(places, np.int32).reshape(3, -1), moved)
    for temporary in (arrays, places):
        temporary.unlink()
    return used
