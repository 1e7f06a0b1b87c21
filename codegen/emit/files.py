"""Write a build to its folder, all files or none."""

import json
from pathlib import Path

from codegen.compiler import Build
from codegen.files import write_folder

__all__ = ["write_build"]


def write_build(build: Build, model: bytes, folder: Path) -> None:
    """Write the files of a build, which docs/artifacts.md describes.

    Raises
    ------
    BuildError
        The folder cannot be made or written.
    """
    write_folder(folder, {
        "model.onnx": model,
        "program.bin": build.image,
        "listing.txt": build.listing.encode(),
        "report.json": _json(build.report),
        "report.html": build.page.encode(),
        "timeline.json": build.timeline.encode(),
        "manifest.json": _json(build.manifest),
    })


def _json(value: object) -> bytes:
    return (json.dumps(value, indent=1) + "\n").encode()
