"""C compilers, with every warning an error."""

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

__all__ = ["C", "CPP", "FIRMWARE", "GCC", "SANITIZED", "WARNINGS", "ZIG", "compile_c"]

FIRMWARE = Path(__file__).parents[2] / "firmware"

GCC, ZIG = ("gcc",), (sys.executable, "-m", "ziglang", "cc")
C, CPP = ("-x", "c", "-std=c11"), ("-x", "c++", "-std=c++11")
WARNINGS = ("-Wall", "-Wextra", "-Wpedantic", "-Wconversion", "-Wno-sign-conversion", "-Werror")
SANITIZED = ("-g", "-O1", "-fsanitize=address,undefined", "-fno-sanitize-recover=all")


def compile_c(sources: Sequence[Path], output: Path, *, include: Sequence[Path],
              flags: Sequence[str] = ("-O2",), compiler: Sequence[str] = GCC,
              language: Sequence[str] = ("-std=c11",)) -> Path:
    """Compile to `output`: a program, or an object if its name says so."""
    mode = ["-c"] if output.suffix == ".o" else []
    command = [*compiler, *language, *WARNINGS, *flags, *mode,
               *(f"-I{folder}" for folder in include), *map(str, sources), "-o", str(output)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0 and not done.stderr, f"{' '.join(command)}\n{done.stderr}"
    return output
