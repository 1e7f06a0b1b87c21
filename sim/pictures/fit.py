"""From a picture to the tensor that a network for pictures takes."""

from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt
from PIL import Image

__all__ = ["Fit", "PADDING", "Pixels", "Placement", "fit_picture", "letterbox", "network_input",
           "place_picture"]

Fit: TypeAlias = Literal["letterbox", "stretch"]
Pixels: TypeAlias = npt.NDArray[np.uint8]

PADDING = 114
"""Grey of the borders, as the darknet and Ultralytics tools pad."""


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

    def to_picture(self, boxes: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """Turn boxes of the input, float64[N, 4] as x0, y0, x1, y1, into boxes of the picture."""
        origin = np.array([self.left, self.top] * 2, np.float64)
        return np.asarray((boxes - origin) / np.array([self.scale_x, self.scale_y] * 2))


def letterbox(image: Image.Image, size: tuple[int, int]) -> tuple[Pixels, Placement]:
    """Fit a picture into ``size``, keeping its aspect, with grey borders.

    The picture is scaled by ``min(H / height, W / width)``, up or down, each side rounded to the
    nearest whole pixel and at least 1, resized bicubically with antialiasing, and centred; an odd
    pixel of padding goes to the right or the bottom. Padding is 114 in every channel.

    Parameters
    ----------
    image
        Mode "RGB" or "L"; see :func:`sim.pictures.read.read_picture`.
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


def fit_picture(image: Image.Image, size: tuple[int, int], fit: Fit) -> Pixels:
    """Make ``uint8[C, H, W]`` of a picture; see :func:`place_picture`."""
    return place_picture(image, size, fit)[0]


def place_picture(image: Image.Image, size: tuple[int, int], fit: Fit) -> tuple[Pixels, Placement]:
    """Make ``uint8[C, H, W]`` of a picture, with its aspect kept or stretched.

    Parameters
    ----------
    image
        Mode "RGB" or "L"; see :func:`sim.pictures.read.read_picture`.
    size
        Height and width of the result.

    Returns
    -------
    The pixels, and where the picture lies in them.
    """
    if fit == "letterbox":
        pixels, placement = letterbox(image, size)
    else:
        pixels = np.asarray(image.resize(size[::-1], Image.Resampling.BICUBIC))
        placement = Placement(size[1] / image.width, size[0] / image.height, 0, 0, *size[::-1])
    return pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1), placement


def network_input(planes: Pixels, dtype: npt.DTypeLike = np.float32) -> npt.NDArray[Any]:
    """Turn ``uint8[C, H, W]`` into ``[1, C, H, W]``: float32 in 0..1, or uint8 as it is."""
    whole = np.ascontiguousarray(planes[None])
    return whole if np.dtype(dtype) == np.uint8 else whole.astype(np.float32) / np.float32(255)
