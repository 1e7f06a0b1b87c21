"""What the commands share: console, progress bar, types of arguments, files written whole."""

import argparse
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.progress import Progress

from sim.errors import SimError
from sim.golden import Input
from sim.inputs import load_input
from sim.tensors import Array

__all__ = ["add_input", "at_least_one", "make_console", "positive", "progress_bar", "read_feeds",
           "seeds", "write_whole"]


def add_input(parser: argparse.ArgumentParser) -> None:
    """Add what says where a build's input comes from: file, seed, fit."""
    source = parser.add_mutually_exclusive_group()
    source.add_argument("--input", type=Path, metavar="FILE",
                        help="picture (letterboxed) or .npy for the first input")
    source.add_argument("--seed", type=int, help="draw the input at random (default: seed 0)")
    parser.add_argument("--fit", choices=("letterbox", "stretch"), default="letterbox",
                        help="how a picture fills the input")


def read_feeds(inputs: Sequence[Input], args: argparse.Namespace) -> dict[str, Array]:
    """An array for each input of a model, from the options of :func:`add_input`.

    Raises
    ------
    SimError
        An input has no fixed shape, or the file does not fit.
    """
    feeds = {}
    for n, item in enumerate(inputs):
        if any(size is None for size in item.shape):
            raise SimError(f"input {item.name!r} must have a fixed shape, not {item.shape}.")
        shape = tuple(size or 0 for size in item.shape)
        # the file feeds the first input; further ones are drawn
        file = args.input if n == 0 else None
        feeds[item.name] = load_input(file, seed=None if file else (args.seed or 0) + n,
                                      shape=shape, dtype=item.dtype, fit=args.fit)
    return feeds


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


def write_whole(path: Path, content: str | bytes) -> None:
    """Write a file whole or not at all; text as UTF-8."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        temporary.write_bytes(content.encode() if isinstance(content, str) else content)
        os.replace(temporary, path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
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


def at_least_one(text: str) -> int:
    """A whole number from 1 on, for argparse."""
    if text.isdecimal() and int(text) > 0:
        return int(text)
    raise argparse.ArgumentTypeError(f"must be a whole number from 1 on, not {text!r}")
