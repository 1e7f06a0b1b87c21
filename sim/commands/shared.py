"""What the commands share: console, progress bar, types of arguments, files written whole."""

import argparse
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.progress import Progress

from sim.errors import SimError

__all__ = ["make_console", "positive", "progress_bar", "seeds", "write_whole"]


def make_console() -> Console:
    """A console for standard output, 150 columns wide if that is not a terminal."""
    return Console(width=None if sys.stdout.isatty() else 150, highlight=False)


@contextmanager
def progress_bar() -> Iterator[Callable[[str, int, int], None]]:
    """A progress bar on standard error; nothing when that is not a terminal."""
    with Progress(console=Console(stderr=True), transient=True,
                  disable=not sys.stderr.isatty()) as bar:
        task = bar.add_task("", total=1)

        def update(stage: str, done: int, total: int) -> None:
            bar.update(task, description=stage, completed=done, total=total)
        yield update


def write_whole(path: Path, text: str) -> None:
    """Write a file whole or not at all."""
    try:
        with tempfile.NamedTemporaryFile("w", dir=path.parent, delete=False) as file:
            file.write(text)
        os.replace(file.name, path)
    except OSError as error:
        raise SimError(f"file {str(path)!r} must be writable; {error.strerror}.") from error


def seeds(text: str) -> range:
    """``7`` or ``0..19``."""
    first, _, last = text.partition("..")
    try:
        return range(int(first), int(last or first) + 1)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"must be SEED or FIRST..LAST, not {text!r}") from error


def positive(text: str) -> float:
    """A positive number, for argparse."""
    try:
        if (value := float(text)) > 0:
            return value
    except ValueError:
        pass
    raise argparse.ArgumentTypeError(f"must be a positive number, not {text!r}")
