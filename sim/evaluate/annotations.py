"""Annotations in COCO's format, checked while they are read."""

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sim.errors import SimError

__all__ = ["Annotations", "Picture", "read_annotations"]


@dataclass(frozen=True)
class Picture:
    """One annotated picture: id, name of its file, and the size its annotations refer to."""

    id: int
    file_name: str
    width: int
    height: int


@dataclass(frozen=True)
class Annotations:
    """A file of annotations.

    Parameters
    ----------
    path
        The file.
    pictures
        Ordered by id.
    categories
        Id and name of each category, ordered by id. A network's class i is the i-th of them.
    dataset
        The contents, as pycocotools takes them.
    """

    path: Path
    pictures: tuple[Picture, ...]
    categories: tuple[tuple[int, str], ...]
    dataset: dict[str, Any]


def read_annotations(path: Path) -> Annotations:
    """Read annotations of boxes (``instances_*.json``).

    Raises
    ------
    SimError
        The file cannot be read, or has not what an evaluation of boxes needs.
    """
    try:
        dataset = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SimError(f"annotations {str(path)!r} must be a file that can be read; "
                       f"{error.strerror}.") from error
    except (ValueError, RecursionError) as error:
        raise SimError(f"annotations {str(path)!r} must be JSON; {error}. Is the file complete?"
                       ) from error
    try:
        return _check(path, dataset)
    except KeyError as error:
        raise SimError(f"annotations {str(path)!r} must be in COCO's format for boxes "
                       f"(instances_*.json); an entry has no {error}.") from error
    except (TypeError, AttributeError, ValueError) as error:
        raise SimError(f"annotations {str(path)!r} must be in COCO's format for boxes "
                       f"(instances_*.json); {error}.") from error


def _check(path: Path, dataset: Any) -> Annotations:
    pictures = [Picture(_integer(i["id"], "id of an image"), str(i["file_name"]),
                        _integer(i["width"], "width of an image"),
                        _integer(i["height"], "height of an image")) for i in dataset["images"]]
    categories = [(_integer(c["id"], "id of a category"), str(c["name"]))
                  for c in dataset["categories"]]
    images = {picture.id for picture in pictures}
    known = {identity for identity, _ in categories}
    if len(images) < len(pictures) or len(known) < len(categories):
        raise ValueError("ids of images and of categories must be unique")
    if len({picture.file_name for picture in pictures}) < len(pictures):
        raise ValueError("file names of images must be unique")
    marks = dataset["annotations"]
    if len({_integer(mark["id"], "id of an annotation") for mark in marks}) < len(marks):
        raise ValueError("ids of annotations must be unique")
    for mark in marks:
        if mark["image_id"] not in images or mark["category_id"] not in known:
            raise ValueError(f"annotation {mark['id']} must belong to an image and a category of "
                             f"the file, not to {mark['image_id']!r} and {mark['category_id']!r}")
        numbers = [*mark["bbox"], mark["area"], mark["iscrowd"]]
        if len(numbers) != 6 or not all(math.isfinite(number) for number in numbers):
            raise ValueError(f"bbox of annotation {mark['id']} must be [x, y, width, height], not "
                             f"{mark['bbox']!r}")
    return Annotations(path, tuple(sorted(pictures, key=lambda p: p.id)),
                       tuple(sorted(categories)), dataset)


def _integer(value: Any, what: str) -> int:
    if type(value) is not int:
        raise ValueError(f"{what} must be an integer, not {value!r}")
    return value
