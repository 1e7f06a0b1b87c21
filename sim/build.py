"""A build folder: what ``python -m codegen build`` leaves behind, checked while it is read."""

import base64
import hashlib
import json
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from hw.spec.image import Image, ImageError
from sim.errors import SimError

__all__ = ["BuildFolder", "TensorPlace", "read_build"]

_MANIFEST_VERSION = 1

Bytes = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class TensorPlace:
    """Where a tensor of the model stands in the activations window; see docs/artifacts.md.

    Parameters
    ----------
    name
        ONNX name.
    entry
        Its entry of the manifest.
    row_lanes
        R: channels of a brick.
    """

    name: str
    entry: dict[str, Any]
    row_lanes: int

    @property
    def in_memory(self) -> bool:
        """Whether the program leaves it in memory."""
        return bool(self.entry["in_memory"])

    @property
    def dtype(self) -> "np.dtype[Any]":
        """int8 or uint8, as in the model."""
        return np.dtype(str(self.entry["dtype"]))

    @property
    def shape(self) -> tuple[int, ...]:
        """As in the model."""
        return tuple(self.entry["shape"])

    @property
    def stop(self) -> int:
        """Address behind its last byte."""
        e = self.entry
        bricks = e["bricks"] if e["layout"] == "bricks" else 1
        return int(e["address"] + e["rows"] * e["pitch"] * max(1, bricks))

    def read(self, window: Bytes) -> npt.NDArray[Any]:
        """The tensor as the model has it, from the activations window."""
        lanes = self._lanes(window).view(np.int8)
        chw = np.concatenate([lanes[lane:lane + count]
                              for _, lane, count in self.entry["lanes"]]).astype(np.int16)
        flat = (chw + self.entry["offset"]).reshape(-1)
        if "gather" in self.entry:
            flat = flat[self.gather()]
        return np.asarray(flat.astype(self.dtype).reshape(self.shape))

    def write(self, window: Bytes, codes: npt.NDArray[Any]) -> None:
        """Put `codes` (of the model's type and shape) into the activations window."""
        e = self.entry
        stored = (codes.astype(np.int16) - e["offset"]).astype(np.int8).view(np.uint8).reshape(-1)
        if "gather" in e:
            ordered = np.empty_like(stored)
            ordered[self.gather()] = stored
            stored = ordered
        lanes = self._lanes(window)
        for first, lane, count in e["lanes"]:
            lanes[lane:lane + count] = stored.reshape(e["chw"])[first:first + count]
        target = self._memory(window)
        target[...] = lanes.reshape(target.shape)

    def addresses(self) -> npt.NDArray[np.int64]:
        """Where the byte of each channel, row and column is: int64[chw]."""
        e, r = self.entry, self.row_lanes
        lane = np.concatenate([np.arange(lane, lane + count) for _, lane, count in e["lanes"]])
        row, column = np.arange(e["rows"])[:, None], np.arange(e["columns"])
        lane = lane[:, None, None]
        if e["layout"] == "packed":
            return np.asarray(e["address"] + row * e["pitch"] + column * e["chw"][0] + lane)
        brick = (lane // r * e["rows"] + row) * e["columns"] + column
        return np.asarray(e["address"] + brick * r + lane % r)

    def gather(self) -> npt.NDArray[np.int32]:
        """Where each element stands in channel-row-column order."""
        raw = zlib.decompress(base64.b64decode(self.entry["gather"]))
        return np.frombuffer(raw, "<i4")

    def _memory(self, window: Bytes) -> Bytes:
        """The tensor's bytes as a view of `window`: uint8[channels, rows, columns] if packed,
        else uint8[bricks, R, rows, columns].
        """
        e, r = self.entry, self.row_lanes
        here = window[e["address"]:]
        if e["layout"] == "packed":
            c = e["chw"][0]
            return np.lib.stride_tricks.as_strided(here, (c, e["rows"], e["columns"]),
                                                   (1, e["pitch"], c))
        return np.lib.stride_tricks.as_strided(
            here, (e["bricks"], r, e["rows"], e["columns"]),
            (e["rows"] * e["columns"] * r, 1, e["columns"] * r, r))

    def _lanes(self, window: Bytes) -> Bytes:
        """A copy of the tensor's bytes as uint8[lanes, rows, columns]."""
        e = self.entry
        return self._memory(window).reshape(-1, e["rows"], e["columns"]).copy()


@dataclass(frozen=True)
class BuildFolder:
    """A build that was read.

    Parameters
    ----------
    path
        The folder.
    manifest
        Contents of ``manifest.json``.
    image
        The parsed ``program.bin``.
    tensors
        Tensors of the model by name, in the model's order.
    """

    path: Path
    manifest: dict[str, Any]
    image: Image
    tensors: dict[str, TensorPlace]

    @property
    def model(self) -> Path:
        """The model that it was built from."""
        return self.path / "model.onnx"

    @property
    def identity(self) -> dict[str, Any]:
        """What a run was of, for its results: network, and configuration of the core."""
        return {"network": self.manifest["name"], "config": vars(self.image.config)}


def read_build(path: Path) -> BuildFolder:
    """Read a build folder.

    Raises
    ------
    SimError
        A file is missing, damaged, or does not belong to the others.
    """
    if not path.is_dir():
        raise SimError(f"build {str(path)!r} must be a folder made by `python -m codegen build`, "
                       f"and there is none; build the model first.")
    try:
        manifest = json.loads((path / "manifest.json").read_text())
        if manifest["manifest_version"] != _MANIFEST_VERSION:
            raise SimError(f"{str(path / 'manifest.json')!r} must have version "
                           f"{_MANIFEST_VERSION}, not {manifest['manifest_version']!r}; build "
                           f"the model again with this release.")
        for name, digest in manifest["hashes"].items():
            found = hashlib.sha256((path / name).read_bytes()).hexdigest()
            if found != digest:
                raise SimError(f"{str(path / name)!r} must be the file that manifest.json "
                               f"describes (SHA-256 {digest[:16]}...), not one with {found[:16]}"
                               f"...: it was changed or damaged; build the model again.")
        image = Image.from_bytes((path / "program.bin").read_bytes())
        tensors = {e["name"]: TensorPlace(e["name"], e, image.config.rows)
                   for e in manifest["tensors"]}
        for tensor in tensors.values():
            _check_place(tensor, image.activation_bytes)
    except ImageError as error:
        raise SimError(f"{str(path / 'program.bin')!r} cannot be run: {error}.") from error
    except OSError as error:
        raise SimError(f"build {str(path)!r} must have the file {error.filename!r}, which cannot "
                       f"be read ({error.strerror}); build the model again.") from error
    except (ValueError, KeyError, TypeError) as error:
        raise SimError(f"{str(path / 'manifest.json')!r} must be a manifest made by "
                       f"`python -m codegen build`; it is damaged ({error!r}).") from error
    return BuildFolder(path, manifest, image, tensors)


def _check_place(tensor: TensorPlace, size: int) -> None:
    """Refuse a tensor that is not inside the activations window."""
    if not tensor.in_memory:
        return
    e = tensor.entry
    if "gather" in e:
        where = tensor.gather()
        if len(where) != int(np.prod(tensor.shape)) or where.min(initial=0) < 0 \
                or where.max(initial=0) >= int(np.prod(e["chw"])):
            raise SimError(f"tensor {tensor.name!r} must be a view of its {e['chw']} elements; "
                           f"build the model again.")
    if not 0 <= e["address"] <= tensor.stop <= size:
        raise SimError(f"tensor {tensor.name!r} must be inside the {size} bytes of activations, "
                       f"not at {e['address']} with {tensor.stop - e['address']} bytes; build the "
                       f"model again.")
