"""What the commands share: which model is meant, console, progress, types of arguments."""

import argparse
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console

from codegen.zoo import models

__all__ = ["make_console", "model_path", "positive", "progress_line"]

_ZOO_FOLDER = Path("build/zoo")


def model_path(model: str | None, progress: Callable[[str], None]) -> Path:
    """A file as it stands; a zoo model's name is built first."""
    if model is None or (model in models.NAMES and not Path(model).exists()):
        return models.build(model or models.DEFAULT, _ZOO_FOLDER, progress=progress)
    return Path(model)


def make_console() -> Console:
    """A console for standard output, 150 columns wide if that is not a terminal."""
    return Console(width=None if sys.stdout.isatty() else 150, highlight=False)


@contextmanager
def progress_line() -> Iterator[Callable[[str], None]]:
    """What is being done, on one line of standard error; nothing when that is not a terminal."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield lambda _: None
        return
    with console.status("") as status:
        yield status.update


def positive(text: str) -> float:
    """A positive number, for argparse."""
    try:
        if (value := float(text)) > 0:
            return value
    except ValueError:
        pass
    raise argparse.ArgumentTypeError(f"must be a positive number, not {text!r}")
