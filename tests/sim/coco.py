"""Annotated pictures of squares in COCO's format."""

import json
from pathlib import Path
from typing import Any

from PIL import Image

from tests.sim.squares import NAMES, picture

__all__ = ["dataset", "write_dataset"]

IDS = (3, 7)
"""Of the categories. They are listed in the other order: a class is the rank of its id."""


def dataset(count: int, *, width: int = 128, height: int = 64,
            ) -> tuple[dict[str, Any], dict[str, Image.Image]]:
    """Annotations of as many pictures, and the pictures by name of the file."""
    images, marks, pictures = [], [], {}
    for n in range(count):
        image, squares = picture(n, width=width, height=height)
        name = f"{n:03}.png"
        pictures[name] = image
        images.append({"id": 100 + n, "file_name": name, "width": width, "height": height})
        for index, (x0, y0, x1, y1) in squares:
            marks.append({"id": len(marks), "image_id": 100 + n, "iscrowd": 0,
                          "category_id": IDS[index], "bbox": [x0, y0, x1 - x0, y1 - y0],
                          "area": (x1 - x0) * (y1 - y0)})
    categories = [{"id": IDS[n], "name": NAMES[n]} for n in (1, 0)]
    return {"images": images, "annotations": marks, "categories": categories}, pictures


def write_dataset(folder: Path, count: int = 6, **options: int) -> Path:
    """Write ``folder/images/*.png`` and ``folder/instances.json``; returns the latter."""
    annotations, pictures = dataset(count, **options)
    (folder / "images").mkdir(parents=True)
    for name, image in pictures.items():
        image.save(folder / "images" / name)
    path = folder / "instances.json"
    path.write_text(json.dumps(annotations))
    return path
