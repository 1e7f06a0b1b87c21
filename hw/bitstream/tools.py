"""The tools: native ones where they are on PATH, which are faster, else those of the wheels."""

import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Stopped", "Tool", "ToolError", "Used", "find"]

#: Where wheels put their programs.
_BIN = Path(sys.executable).parent
#: How many lines of a log an error shows, and how much of its end is looked at.
_LINES, _TAIL_BYTES = 12, 1 << 16
#: Seconds between two looks at a running tool.
_POLL = 0.1


@dataclass(frozen=True)
class Used:
    """What a run took: processor time in seconds, most memory in MB."""

    seconds: float
    megabytes: float

    def __add__(self, other: "Used") -> "Used":
        """One after the other."""
        return Used(self.seconds + other.seconds, max(self.megabytes, other.megabytes))


class ToolError(Exception):
    """A tool is missing or failed; the message says which, and what to do.

    Parameters
    ----------
    used
        What it took until then.
    """

    def __init__(self, message: str, used: Used = Used(0, 0)) -> None:
        super().__init__(message)
        self.used = used


class Stopped(ToolError):
    """A tool was stopped because it did not get on."""


@dataclass(frozen=True)
class Tool:
    """A program.

    Parameters
    ----------
    name
        As a native one is called.
    program
        The file.
    """

    name: str
    program: Path

    def version(self) -> str:
        """What it says of itself."""
        result = subprocess.run([self.program, "--version"], capture_output=True, text=True)
        found = re.search(r"(?:Yosys|Version nextpnr-|Version) ?([\w.+-]*\d[\w.+-]*)",
                          result.stdout + result.stderr)
        return f"{self.program.name} {found.group(1) if found else 'unknown'}"

    def run(self, *arguments: str, folder: Path, log: str,
            follow: Callable[[str], None] = lambda _: None,
            hopeless: Callable[[str], bool] = lambda _: False) -> Used:
        """Run in `folder`, with all output to the file `log` there.

        Parameters
        ----------
        follow
            Called now and then with the end of the log.
        hopeless
            Likewise; says whether to stop.

        Raises
        ------
        ToolError
            It ends with another status than 0; the message has its errors, or the end of its
            output.
        Stopped
            It was hopeless.
        """
        with open(folder / log, "w") as output:
            process = subprocess.Popen([self.program, *arguments], cwd=folder, stdout=output,
                                       stderr=subprocess.STDOUT)
            stopped = False
            try:
                while not (ended := os.wait4(process.pid, os.WNOHANG))[0]:
                    end = _tail(folder / log)
                    follow(end)
                    if not stopped and hopeless(end):
                        stopped = True
                        process.kill()
                    time.sleep(_POLL)
            except BaseException:
                process.kill()
                process.wait()
                raise
        _, status, usage = ended
        process.returncode = os.waitstatus_to_exitcode(status)
        used = Used(usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024)
        if stopped:
            raise Stopped(f"{self.name} was stopped, since it did not get on; see "
                          f"{str(folder / log)!r}", used)
        if process.returncode:
            lines = _tail(folder / log).splitlines()
            errors = [line for line in lines if re.match(r"error\b", line, re.I)]
            said = "\n".join(f"  {_shorten(line)}" for line in (errors or lines)[-_LINES:])
            raise ToolError(f"{self.name} must end with status 0, not {process.returncode}; it "
                            f"said:\n{said or '  nothing'}\nall of it is in "
                            f"{str(folder / log)!r}", used)
        return used


def _tail(log: Path) -> str:
    with open(log, "rb") as file:
        file.seek(max(0, log.stat().st_size - _TAIL_BYTES))
        return file.read().decode(errors="replace")


def _shorten(line: str) -> str:
    """Names of cells have hundreds of letters, what is wrong with them stands behind."""
    return line if len(line) <= 200 else f"{line[:90]} ... {line[-100:]}"


def find(name: str) -> Tool:
    """The native tool, or that of the wheel.

    Raises
    ------
    ToolError
        There is neither.
    """
    native = shutil.which(name)
    if native is not None:
        return Tool(name, Path(native))
    wheel = _BIN / f"yowasp-{name}"
    if wheel.exists():
        return Tool(name, wheel)
    raise ToolError(f"{name} must be on PATH, or installed as a wheel, and is neither; run "
                    f"`make setup`, or `pip install -e '.[board]'`")
