"""What the headers are made of: a build folder, checked while it is read."""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx

from codegen.emit.manifest import MANIFEST_VERSION
from codegen.errors import BuildError
from codegen.frontend.load import model_bytes
from hw.spec.heads import METADATA_KEY, SIDECAR, Heads, HeadsError, parse_heads
from hw.spec.image import Image, ImageError

__all__ = ["Source", "read_source"]


@dataclass(frozen=True)
class Source:
    """A build that was read.

    Parameters
    ----------
    folder
        Where it is.
    manifest
        Contents of ``manifest.json``.
    data
        The bytes of ``program.bin``.
    image
        The same, parsed.
    heads
        What the outputs mean, or None.
    """

    folder: Path
    manifest: dict[str, Any]
    data: bytes
    image: Image
    heads: Heads | None


def read_source(folder: Path, heads: Path | None = None) -> Source:
    """Read a build folder.

    Parameters
    ----------
    heads
        File that says what the outputs mean; else the model's metadata or ``meta.json`` in the
        folder do, if they are there.

    Raises
    ------
    BuildError
        A file is missing, damaged, or does not belong to the others.
    """
    if not folder.is_dir():
        raise BuildError(f"build {str(folder)!r} must be a folder made by `python -m codegen "
                         "build`, and there is none; build the model first.")
    path = folder / "manifest.json"
    try:
        manifest = json.loads(path.read_bytes())
        version, digest = manifest["manifest_version"], manifest["hashes"]["program.bin"]
    except OSError as error:
        raise _unreadable(error, folder) from error
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise _damaged(path, error) from error
    if version != MANIFEST_VERSION:
        raise BuildError(f"{str(path)!r} must have version {MANIFEST_VERSION}, not {version!r}; "
                         "build the model again with this release.")
    path = folder / "program.bin"
    try:
        data = path.read_bytes()
        image = Image.from_bytes(data)
    except OSError as error:
        raise _unreadable(error, folder) from error
    except ImageError as error:
        raise BuildError(f"{str(path)!r} must be an image that can run: {error}.") from error
    if hashlib.sha256(data).hexdigest() != digest:
        raise BuildError(f"{str(path)!r} must be the file that manifest.json describes; it was "
                         "changed or damaged. Build the model again.")
    return Source(folder, manifest, data, image, _find_heads(folder, heads))


def _find_heads(folder: Path, file: Path | None) -> Heads | None:
    try:
        if file is None:
            model = onnx.ModelProto.FromString(model_bytes(folder / "model.onnx"))
            for item in model.metadata_props:
                if item.key == METADATA_KEY:
                    return parse_heads(str(item.value), f"metadata {METADATA_KEY!r} of the model "
                                                        f"in {str(folder)!r}")
            file = folder / SIDECAR
            if not file.exists():
                return None
        return parse_heads(file.read_text(encoding="utf-8"), f"heads file {str(file)!r}")
    except (OSError, UnicodeDecodeError) as error:
        raise BuildError(f"heads file {str(file)!r} must be a text file that can be read; "
                         f"{error}.") from error
    except HeadsError as error:
        raise BuildError(str(error)) from error


def _unreadable(error: OSError, folder: Path) -> BuildError:
    return BuildError(f"build {str(folder)!r} must have the file {error.filename!r}, which cannot "
                      f"be read ({error.strerror}); build the model again.")


def _damaged(path: Path, error: Exception) -> BuildError:
    return BuildError(f"{str(path)!r} must be a manifest made by `python -m codegen build`; it is "
                      f"damaged ({error!r}). Build the model again.")
