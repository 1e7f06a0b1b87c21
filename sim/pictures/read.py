"""Read a picture file the way a viewer shows it."""

import io
import warnings
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

__all__ = ["FORMATS", "SUFFIXES", "PictureError", "list_pictures", "read_picture"]

FORMATS = ("BMP", "JPEG", "PNG", "WEBP")

SUFFIXES = (".bmp", ".jpeg", ".jpg", ".png", ".webp")
"""Of files of these formats, in lower case."""


class PictureError(Exception):
    """The file is not a picture that can be read; the message names it."""


def list_pictures(folder: Path) -> list[Path]:
    """All picture files of a folder, not of the folders in it, sorted by name.

    A picture is known by its suffix here; whether it can be read turns out later.

    Raises
    ------
    PictureError
        There is no such folder, or no picture in it.
    """
    try:
        files = sorted(path for path in folder.iterdir()
                       if path.suffix.lower() in SUFFIXES and path.is_file())
    except OSError as error:
        raise PictureError(f"picture folder {str(folder)!r} must be a folder that can be read; "
                           f"{error.strerror}.") from error
    if not files:
        raise PictureError(f"picture folder {str(folder)!r} must have at least one file of type "
                           f"{', '.join(FORMATS)} ({', '.join(SUFFIXES)}) in it.")
    return files


def read_picture(path: Path, *, greyscale: bool = False, upright: bool = True,
                 content: bytes | None = None) -> Image.Image:
    """Read a picture upright, 8 bits per channel.

    The orientation stored by cameras is applied; transparent parts become white; CMYK, palettes
    and greyscale are converted; 16-bit greyscale is scaled to 8 bits.

    Parameters
    ----------
    path
        Its file.
    greyscale
        Return one channel.
    upright
        False leaves the pixels in the order in which they are stored.
    content
        Of the file, where it is at hand; ``path`` only names it then.

    Returns
    -------
    A picture of mode "RGB", or "L" with ``greyscale``.

    Raises
    ------
    PictureError
        The file is missing, damaged, too large or not a picture.
    """
    if content is None and not path.is_file():
        raise PictureError(f"picture {str(path)!r} must be a file that exists.")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            source = path if content is None else io.BytesIO(content)
            with Image.open(source, formats=FORMATS) as opened:
                opened.load()
                image = ImageOps.exif_transpose(opened) if upright else opened.copy()
    except Exception as error:  # Pillow's decoders raise almost anything on damaged files.
        raise PictureError(f"picture {str(path)!r} must be a complete file of type "
                           f"{', '.join(FORMATS)}; it cannot be read ({error}).") from error
    if image.mode.startswith("I"):
        wide = np.asarray(image).astype(np.int64)
        image = Image.fromarray(((np.clip(wide, 0, 65535) * 255 + 32767) // 65535)
                                .astype(np.uint8))
    if "A" in image.getbands() or "transparency" in image.info:
        visible = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", visible.size, "white"), visible)
    return image.convert("L" if greyscale else "RGB")
