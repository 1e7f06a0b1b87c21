"""The pictures that a model is calibrated with."""

import hashlib
import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from codegen.errors import QuantizeError
from sim.pictures.fit import Fit, fit_picture, network_input
from sim.pictures.read import PictureError, list_pictures, read_picture

__all__ = ["Overlap", "PictureSet", "overlap", "picture_files", "sample"]


def picture_files(folder: Path) -> list[Path]:
    """Picture files of a folder as :func:`sim.pictures.read.list_pictures` does.

    Raises
    ------
    QuantizeError
        There is no such folder, or no picture in it.
    """
    try:
        return list_pictures(folder)
    except PictureError as error:
        raise QuantizeError(str(error)) from error


def sample(files: list[Path], count: int, seed: int) -> list[Path]:
    """Draw `count` of the files, or all if there are fewer: ``random.Random(seed).sample``."""
    return random.Random(seed).sample(files, min(count, len(files)))


@dataclass
class PictureSet:
    """Pictures as inputs of a model, read anew each time: none is kept in memory.

    Parameters
    ----------
    files : list of Path
    shape : tuple of int
        Of the input: (1, 3, H, W), red first, or (1, 1, H, W), greyscale.
    fit : Fit
        How a picture fills the input.
    unreadable : dict of Path to str
        Files that turned out to be no pictures, and why; grows while pictures are read.
    """

    files: list[Path]
    shape: tuple[int, ...]
    fit: Fit
    unreadable: dict[Path, str] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.files)

    def inputs(self) -> Iterator[npt.NDArray[np.float32] | None]:
        """For each file float32 of `shape` in 0..1, or None if it cannot be read."""
        for path in self.files:
            yield self._input(path)

    def _input(self, path: Path) -> npt.NDArray[np.float32] | None:
        if path in self.unreadable:
            return None
        try:
            image = read_picture(path, greyscale=self.shape[1] == 1)
        except PictureError as error:
            self.unreadable[path] = str(error)
            return None
        return network_input(fit_picture(image, (self.shape[2], self.shape[3]), self.fit))


@dataclass(frozen=True, kw_only=True)
class Overlap:
    """Calibration pictures that are evaluation pictures too, by name or by content."""

    names: tuple[str, ...]
    same_content: int


def overlap(calibration: list[Path], evaluation: list[Path]) -> Overlap:
    """Find pictures of one set in the other.

    Equal are files of one name, or with the same bytes; the same photo in another encoding is
    not found.
    """
    names = {path.name for path in evaluation}
    by_size: dict[int, list[Path]] = {}
    for path in evaluation:
        by_size.setdefault(path.stat().st_size, []).append(path)
    found, copies = [], 0
    for path in calibration:
        twins = by_size.get(path.stat().st_size, [])
        is_copy = bool(twins) and _digest(path) in {_digest(twin) for twin in twins}
        copies += is_copy
        if is_copy or path.name in names:
            found.append(path.name)
    return Overlap(names=tuple(sorted(found)), same_content=copies)


def _digest(path: Path) -> bytes:
    """A hash of the content; a file that cannot be read is like no other."""
    try:
        return hashlib.sha256(path.read_bytes()).digest()
    except OSError:
        return str(path).encode()
