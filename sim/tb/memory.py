"""The memory behind the core: what it contains, and the settings of sim/tb/memory.cpp."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["WINDOWS", "BusError", "Bytes", "Memory"]

Bytes = npt.NDArray[np.uint8]

#: The windows, as their registers are called; the core writes to the last one only.
WINDOWS = ("PROGRAM", "CONSTANTS", "ACTIVATIONS")

#: Parts begin somewhere inside a page, and have nothing around them.
_FIRST_ADDRESS = 0x8000_0000
_OFFSETS = (0x30, 0xFD0, 0x410)
_GAP = 4096


@dataclass(frozen=True, kw_only=True)
class BusError:
    """An answer that the memory is to give.

    Parameters
    ----------
    write
        To a write, or else to a read.
    window
        Name of a part of the memory: "PROGRAM", "CONSTANTS" or "ACTIVATIONS" of a whole program.
    offset
        Which byte of it: every beat with that byte fails.
    """

    write: bool
    window: str
    offset: int


class Memory:
    """Parts with gaps between them, in a file that the simulation maps.

    Parameters
    ----------
    folder
        Where the files are made.
    parts
        Contents by name.
    """

    def __init__(self, folder: Path, parts: Mapping[str, bytes]) -> None:
        self.folder = folder
        self.parts = parts
        self._bases = dict[str, int]()
        end = _FIRST_ADDRESS
        for n, (name, content) in enumerate(parts.items()):
            self._bases[name] = -(-(end + _GAP) // 4096) * 4096 + _OFFSETS[n % len(_OFFSETS)]
            end = self._bases[name] + len(content)
        self._size = end + _GAP - _FIRST_ADDRESS
        with self._file.open("wb") as file:
            file.truncate(self._size)
            for name, content in parts.items():
                file.seek(self._bases[name] - _FIRST_ADDRESS)
                file.write(content)

    @property
    def _file(self) -> Path:
        return self.folder / "memory.bin"

    def registers(self, windows: Mapping[str, str]) -> dict[str, int]:
        """Values that make parts windows; `windows` names the part of each."""
        return {f"{window}_{what}": value for window, part in windows.items()
                for what, value in (("BASE", self._bases[part]), ("BYTES", len(self.parts[part])))}

    def write_settings(self, runs: Sequence[Mapping[str, str]], *, bus_bytes: int,
                       bytes_per_cycle: float, latency: int, stall_seed: int | None,
                       errors: Sequence[BusError], traced: int) -> Path:
        """Write what memory.cpp reads; `runs` are the windows of each, `traced` counts from 0."""
        # xorshift needs a seed with bits all over
        seed = 0 if stall_seed is None else (stall_seed + 1) * 0x9E3779B97F4A7C15 % 2**64 | 1
        lines = [f"file {self._file} {self._size} {_FIRST_ADDRESS}",
                 f"log {self.folder / 'memory.log'}", f"bus {bus_bytes}",
                 f"bandwidth {bytes_per_cycle}", f"latency {latency}", f"seed {seed}",
                 f"trace {traced}"]
        lines += [f"window {n} {'write' if window == WINDOWS[-1] else 'read'} "
                  f"{self._bases[part]} {len(self.parts[part])}"
                  for n, windows in enumerate(runs) for window, part in windows.items()]
        lines += [f"error {'write' if e.write else 'read'} {self._bases[e.window] + e.offset}"
                  for e in errors]
        path = self.folder / "memory.txt"
        path.write_text("\n".join(lines) + "\n")
        return path

    def read(self) -> dict[str, Bytes]:
        """The parts as they are now."""
        whole = np.fromfile(self._file, np.uint8)
        return {name: whole[base - _FIRST_ADDRESS:][:len(self.parts[name])]
                for name, base in self._bases.items()}

    def log(self) -> tuple[list[tuple[int, int]], list[list[str]]]:
        """By run: beats read and written, and violations. After the simulation has ended."""
        lines = [line.split(maxsplit=1)
                 for line in (self.folder / "memory.log").read_text().splitlines()]
        beats: list[Any] = [tuple(map(int, rest.split())) for kind, rest in lines
                            if kind == "beats"]
        violations: list[list[str]] = [[] for _ in beats]
        for kind, rest in lines:
            if kind == "violation":
                run, _, what = rest.partition(" ")
                violations[int(run)].append(f"violation {what}")
        return beats, violations
