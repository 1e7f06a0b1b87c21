"""Make a model's input from a picture, an array file or a seed."""

import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps

from sim.errors import SimError

__all__ = ["Fit", "Placement", "letterbox", "load_input", "read_picture", "scene"]

Fit: TypeAlias = Literal["letterbox", "stretch"]
Pixels: TypeAlias = npt.NDArray[np.uint8]

PADDING = 114
"""Grey of the borders, as the darknet and Ultralytics tools pad."""

FORMATS = ("BMP", "JPEG", "PNG", "WEBP")


@dataclass(frozen=True)
class Placement:
    """Where a picture lies inside the model's input.

    A point ``(x, y)`` of the picture, in pixels from its top left corner, lies at
    ``(x * scale_x + left, y * scale_y + top)`` of the input.

    Parameters
    ----------
    scale_x, scale_y
        Pixels of the input per pixel of the picture.
    left, top
        Columns and rows of padding before the picture.
    width, height
        Size of the picture inside the input, in pixels.
    """

    scale_x: float
    scale_y: float
    left: int
    top: int
    width: int
    height: int


def letterbox(image: Image.Image, size: tuple[int, int]) -> tuple[Pixels, Placement]:
    """Fit a picture into ``size``, keeping its aspect, with grey borders.

    The picture is scaled by ``min(H / height, W / width)``, up or down, each side rounded to the
    nearest whole pixel and at least 1, resized bicubically with antialiasing, and centred; an odd
    pixel of padding goes to the right or the bottom. Padding is 114 in every channel.

    Parameters
    ----------
    image
        Mode "RGB" or "L"; see ``read_picture``.
    size
        Height and width of the result.

    Raises
    ------
    ValueError
        The picture has another mode.

    Returns
    -------
    ``uint8[H, W, 3]`` (``uint8[H, W]`` of a greyscale picture), and where the picture lies.
    """
    if image.mode not in ("RGB", "L"):
        raise ValueError(f"image must be of mode RGB or L, not {image.mode}")
    height, width = size
    ratio = min(height / image.height, width / image.width)
    inner = (min(max(round(image.width * ratio), 1), width),
             min(max(round(image.height * ratio), 1), height))
    left, top = (width - inner[0]) // 2, (height - inner[1]) // 2
    grey: int | tuple[int, ...] = PADDING if image.mode == "L" else (PADDING,) * 3
    canvas = Image.new(image.mode, (width, height), grey)
    canvas.paste(image.resize(inner, Image.Resampling.BICUBIC), (left, top))
    return np.asarray(canvas), Placement(inner[0] / image.width, inner[1] / image.height, left,
                                         top, *inner)


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
        size = (shape[2], shape[3])
        pixels = letterbox(image, size)[0] if fit == "letterbox" else np.asarray(
            image.resize(size[::-1], Image.Resampling.BICUBIC))
        pixels = pixels[None] if shape[1] == 1 else pixels.transpose(2, 0, 1)
    planes = np.ascontiguousarray(pixels[None])
    return planes if kind == np.uint8 else planes.astype(np.float32) / np.float32(255)


def read_picture(path: Path, *, greyscale: bool = False) -> Image.Image:
    """Read a picture the way a viewer shows it, upright, 8 bits per channel.

    The orientation stored by cameras is applied; transparent parts become white; CMYK, palettes
    and greyscale are converted; 16-bit greyscale is scaled to 8 bits.

    Returns
    -------
    A picture of mode "RGB", or "L" with ``greyscale``.

    Raises
    ------
    SimError
        The file is missing, damaged, too large or not a picture.
    """
    if not path.is_file():
        raise SimError(f"picture {str(path)!r} must be a file that exists.")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(path, formats=FORMATS) as opened:
                opened.load()
                image = ImageOps.exif_transpose(opened)
    except Exception as error:  # Pillow's decoders raise almost anything on damaged files.
        raise SimError(f"picture {str(path)!r} must be a complete file of type "
                       f"{', '.join(FORMATS)}; it cannot be read ({error}).") from error
    if image.mode.startswith("I"):
        wide = np.asarray(image).astype(np.int64)
        image = Image.fromarray(((np.clip(wide, 0, 65535) * 255 + 32767) // 65535)
                                .astype(np.uint8))
    if "A" in image.getbands() or "transparency" in image.info:
        visible = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", visible.size, "white"), visible)
    return image.convert("L" if greyscale else "RGB")


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
