"""Write a build to its folder, all files or none."""

import json
import os
import shutil
import tempfile
from pathlib import Path

from codegen.compiler import Build
from codegen.errors import BuildError

__all__ = ["write_build"]


def write_build(build: Build, model: bytes, folder: Path) -> None:
    """Write the files of a build, which docs/artifacts.md describes.

    Files are written beside the folder first and moved when all are there; other files in the
    folder stay.

    Raises
    ------
    BuildError
        The folder cannot be made or written.
    """
    contents = {
        "model.onnx": model,
        "program.bin": build.image,
        "listing.txt": build.listing.encode(),
        "report.json": _json(build.report),
        "report.html": build.page.encode(),
        "timeline.json": build.timeline.encode(),
        "manifest.json": _json(build.manifest),
    }
    staging: Path | None = None
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        staging = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
        for name, content in contents.items():
            (staging / name).write_bytes(content)
        folder.mkdir(exist_ok=True)
        for name in contents:
            os.replace(staging / name, folder / name)
    except OSError as error:
        raise BuildError(f"output folder {str(folder)!r} must be a folder that can be written; "
                         f"{error.strerror} ({error.filename!r}). Choose another one with "
                         f"-o.") from error
    finally:
        if staging is not None:
            shutil.rmtree(staging, ignore_errors=True)


def _json(value: object) -> bytes:
    return (json.dumps(value, indent=1) + "\n").encode()
