"""Make a model's input from a picture, an array file or a seed."""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

import sim.pictures.read
from sim.errors import SimError
from sim.pictures.fit import Fit, Pixels, fit_picture, network_input

__all__ = ["load_input", "read_picture", "scene"]


def load_input(spec: Path | None, *, seed: int | None, shape: tuple[int, ...],
               dtype: npt.DTypeLike = np.float32, fit: Fit = "letterbox") -> npt.NDArray[Any]:
    """Make the array that feeds a model's input.

    Parameters
    ----------
    spec
        A ``.npy`` file of exactly ``dtype`` and ``shape``, or a picture (BMP, JPEG, PNG, WebP).
    seed
        Without ``spec``: seed of a random scene, or of noise where the input is no picture.
        Exactly one of the two must be given.
    shape
        Of the input. Pictures need [1, 3, H, W], red first, or [1, 1, H, W], greyscale.
    dtype
        Of the input. Pixels become ``float32(px) / float32(255)``, or stay as they are for uint8.
    fit
        Whether a picture keeps its aspect or is stretched.

    Raises
    ------
    SimError
        The file cannot be read, or does not fit the input.
    """
    kind = np.dtype(dtype)
    if (spec is None) == (seed is None):
        raise SimError("The input must come from either a file or a seed, not from "
                       f"{'both' if spec else 'neither'}. Give one of them.")
    if spec is not None and spec.suffix.lower() == ".npy":
        return _read_array(spec, shape, kind)
    if len(shape) != 4 or shape[0] != 1 or min(shape) < 1 or kind not in (np.float32, np.uint8):
        if spec is None:
            return _noise(seed or 0, shape, kind)
        raise SimError("A picture can only make an input of type float32 or uint8 and shape "
                       f"[1, C, H, W], not {kind}{list(shape)}. Give a .npy file instead.")
    if spec is None:
        assert seed is not None
        pixels = scene(seed, shape[1:])
    else:
        if shape[1] not in (1, 3):
            raise SimError(f"picture {str(spec)!r} has 1 or 3 channels, but the input must have "
                           f"{shape[1]}. Give a .npy file instead.")
        image = read_picture(spec, greyscale=shape[1] == 1)
        pixels = fit_picture(image, (shape[2], shape[3]), fit)
    return network_input(pixels, kind)


def read_picture(path: Path, **options: Any) -> Image.Image:
    """Read a picture as :func:`sim.pictures.read.read_picture` does, with the simulator's errors.

    Raises
    ------
    SimError
        The file is missing, damaged, too large or not a picture.
    """
    try:
        return sim.pictures.read.read_picture(path, **options)
    except sim.pictures.read.PictureError as error:
        raise SimError(str(error)) from error


def scene(seed: int, shape: tuple[int, ...]) -> Pixels:
    """Draw a random picture with the statistics of photos: smooth shapes and a little noise.

    Parameters
    ----------
    seed
        Any integer that is not negative. The same seed gives the same picture.
    shape
        Channels, height, width.

    Returns
    -------
    ``uint8[C, H, W]``.
    """
    if seed < 0:
        raise SimError(f"The seed must not be negative, not {seed}.")
    channels, height, width = shape
    rng = np.random.default_rng(seed)
    total = rng.normal(0, 6, (channels, height, width))
    for cells, strength in ((2, 60.0), (5, 40.0), (17, 20.0)):
        coarse = rng.normal(0, strength, (channels, cells, cells))
        total += _enlarge(_enlarge(coarse, height, axis=1), width, axis=2)
    return np.clip(np.rint(total + 128), 0, 255).astype(np.uint8)


def _enlarge(values: npt.NDArray[Any], size: int, *, axis: int) -> npt.NDArray[Any]:
    """Interpolate linearly along one axis, from corner to corner."""
    at = np.linspace(0, values.shape[axis] - 1, size)
    low = np.minimum(at.astype(np.int64), values.shape[axis] - 2)
    part = (at - low).reshape([-1 if d == axis else 1 for d in range(values.ndim)])
    return np.asarray(np.take(values, low, axis) * (1 - part)
                      + np.take(values, low + 1, axis) * part)


def _noise(seed: int, shape: tuple[int, ...], kind: "np.dtype[Any]") -> npt.NDArray[Any]:
    """Draw every code, or every value in -1..1, with equal probability."""
    rng = np.random.default_rng(seed)
    if kind.kind in "iu":
        limits = np.iinfo(kind)
        return rng.integers(limits.min, limits.max, shape, dtype=kind, endpoint=True)
    return rng.uniform(-1, 1, shape).astype(kind)


def _read_array(path: Path, shape: tuple[int, ...], dtype: "np.dtype[Any]") -> npt.NDArray[Any]:
    """Read a ``.npy`` file of exactly this type and shape."""
    if not path.is_file():
        raise SimError(f"array file {str(path)!r} must be a file that exists.")
    try:
        # Mapped, so that a wrong header cannot ask for more memory than the file has.
        array = np.load(path, mmap_mode="r", allow_pickle=False)
        found = f"{array.dtype}{list(array.shape)}"
    except Exception as error:  # NumPy parses the header as Python and raises what that raises.
        raise SimError(f"array file {str(path)!r} must be a complete NumPy file of plain numbers; "
                       f"it cannot be read ({error}).") from error
    if array.dtype != dtype or array.shape != shape:
        raise SimError(f"array file {str(path)!r} must hold {dtype}{list(shape)}, the model's "
                       f"input, not {found}.")
    copy = np.array(array, order="C")
    if dtype.kind == "f" and not np.isfinite(copy).all():
        raise SimError(f"array file {str(path)!r} must hold finite numbers only, not "
                       f"{np.count_nonzero(~np.isfinite(copy))} infinities or NaN.")
    return copy
