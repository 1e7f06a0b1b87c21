"""Write files whole or not at all."""

import os
import shutil
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path

from codegen.errors import BuildError

__all__ = ["write_folder", "write_whole"]


def write_whole(path: Path, content: bytes) -> None:
    """Write a file at once: readers see the old content or the new, never a part.

    Raises
    ------
    OSError
        It cannot be written; the old content is still there.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        temporary.write_bytes(content)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def write_folder(folder: Path, contents: Mapping[str, bytes], *,
                 remove: Iterable[str] = ()) -> None:
    """Write files into a folder, which is made if needed.

    They are written beside the folder first and moved when all are there; other files in the
    folder stay, but for those to `remove`.

    Raises
    ------
    BuildError
        The folder cannot be made or written.
    """
    staging: Path | None = None
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        staging = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
        for name, content in contents.items():
            (staging / name).write_bytes(content)
        folder.mkdir(exist_ok=True)
        for name in contents:
            os.replace(staging / name, folder / name)
        for name in remove:
            (folder / name).unlink(missing_ok=True)
    except OSError as error:
        raise BuildError(f"output folder {str(folder)!r} must be a folder that can be written; "
                         f"{error.strerror} ({error.filename!r}). Choose another one with "
                         f"-o.") from error
    finally:
        if staging is not None:
            shutil.rmtree(staging, ignore_errors=True)
