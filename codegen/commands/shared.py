"""What the commands share: models, output files, console, progress, types of arguments."""

import argparse
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import onnx
from rich.console import Console
from rich.progress import Progress

from codegen.errors import BuildError
from codegen.files import write_whole
from codegen.zoo import models

__all__ = ["check_output", "make_console", "model_path", "positive", "progress_bar",
           "progress_line", "write_model"]

_ZOO_FOLDER = Path("build/zoo")


def model_path(model: str | None, progress: Callable[[str], None]) -> Path:
    """A file as it stands; a zoo model's name is built first."""
    if model is None or (model in models.NAMES and not Path(model).exists()):
        return models.build(model or models.DEFAULT, _ZOO_FOLDER, progress=progress)
    return Path(model)


def check_output(path: Path, *inputs: Path) -> None:
    """Refuse an output file that cannot become one, before work is spent on it.

    Raises
    ------
    BuildError
        It is a folder, or one of the inputs.
    """
    if path.is_dir():
        raise BuildError(f"output file {str(path)!r} must be a file, not a folder.")
    for other in inputs:
        if path.exists() and other.exists() and path.samefile(other):
            raise BuildError(f"output file {str(path)!r} must be another file than the input. "
                             "Choose another one with -o.")


def write_model(model: onnx.ModelProto, path: Path) -> None:
    """Write a model whole or not at all; the folder is made if needed.

    Raises
    ------
    BuildError
        It cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, model.SerializeToString(deterministic=True))
    except OSError as error:
        raise BuildError(f"output file {str(path)!r} must be writable; {error.strerror}. Choose "
                         "another one with -o.") from error


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


@contextmanager
def progress_bar() -> Iterator[Callable[[str, int, int], None]]:
    """A bar on standard error for (what is done, steps done, steps); silent as the line is."""
    with Progress(console=Console(stderr=True), transient=True,
                  disable=not sys.stderr.isatty()) as bar:
        task = bar.add_task("", total=1)

        def update(stage: str, done: int, total: int) -> None:
            bar.update(task, description=stage, completed=done, total=total)
        yield update


def positive(text: str) -> float:
    """A positive number, for argparse."""
    try:
        if (value := float(text)) > 0:
            return value
    except ValueError:
        pass
    raise argparse.ArgumentTypeError(f"must be a positive number, not {text!r}")
