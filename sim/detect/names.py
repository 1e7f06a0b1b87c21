"""Names of classes."""

from pathlib import Path

from sim.errors import SimError

__all__ = ["COCO", "class_names"]

COCO = Path(__file__).with_name("coco.names")
"""The 80 classes of COCO in the order of their ids, as detectors number them."""


def class_names(classes: int, file: Path | None = None) -> tuple[str, ...]:
    """Name every class.

    Parameters
    ----------
    classes
        How many there are.
    file
        A name a line, UTF-8. If there is none, 80 classes are COCO's, and others have numbers.

    Raises
    ------
    SimError
        The file cannot be read, or has another number of names.
    """
    if file is None:
        if classes != 80:
            return tuple(f"class {i}" for i in range(classes))
        file = COCO
    try:
        names = tuple(file.read_text(encoding="utf-8-sig").rstrip().splitlines())
    except (OSError, UnicodeDecodeError) as error:
        raise SimError(f"names file {str(file)!r} must be a text file that can be read; {error}."
                       ) from error
    if len(names) != classes:
        raise SimError(f"names file {str(file)!r} must have a line for each of the {classes} "
                       f"classes, not {len(names)}.")
    return tuple(name.strip() for name in names)
