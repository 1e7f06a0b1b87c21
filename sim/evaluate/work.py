"""What is done for one picture, in whatever process or machine, and what is kept of it."""

import hashlib
import importlib.metadata
import json
import platform
import threading
import time
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

import hw.spec
import sim
from hw.spec.heads import Heads
from sim.detect.decode import Detections
from sim.detect.detector import Detector, Runner
from sim.detect.network import Network
from sim.detect.nms import OVERLAP
from sim.errors import SimError
from sim.evaluate.annotations import Picture
from sim.evaluate.metrics import LIMIT, SCORE
from sim.inputs import read_picture

__all__ = ["Record", "Work", "release"]

_NO_PART = ("commands", "compare", "tb")
"""Parts of ``sim`` that results do not depend on."""


@dataclass(frozen=True)
class Record:
    """Result for one picture.

    Parameters
    ----------
    image
        Name of its file.
    sha256
        Of the file.
    heads
        SHA-256 of each head's tensor.
    boxes
        ``[x0, y0, x1, y1, score, class]`` each, best first; floats as they were computed.
    cpu_seconds
        What it took.
    error
        Why there is no result; None if there is one.
    """

    image: str
    sha256: str
    heads: dict[str, str]
    boxes: list[list[float]]
    cpu_seconds: float
    error: str | None = None

    @property
    def detections(self) -> Detections:
        """The boxes."""
        table = np.array(self.boxes, np.float64).reshape(-1, 6)
        return Detections(table[:, :4], table[:, 4], table[:, 5].astype(np.int64))


class Work:
    """Finds the objects in one picture after the other, on one engine.

    It can be sent to other processes and machines, which start the engine when they need it.

    Parameters
    ----------
    network, engine, heads
        What runs.
    """

    def __init__(self, network: Network, engine: str, heads: Heads) -> None:
        self.network, self.engine, self.heads = network, engine, heads
        self.release = release()
        self._detector: Detector | None = None
        self._lock = threading.Lock()

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_detector": None, "_lock": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._lock = threading.Lock()

    @property
    def settings(self) -> dict[str, Any]:
        """All that the results depend on, but the pictures; JSON values."""
        return {"network": self.network.name, "engine": self.engine,
                "sha256": self.network.digest(self.engine), "heads": asdict(self.heads),
                "score": SCORE, "overlap": OVERLAP, "limit": LIMIT, "release": self.release}

    def start(self) -> Detector:
        """Start the engine, unless it runs.

        Raises
        ------
        SimError
            It does not start, or other releases are installed here than where the work began.
        """
        if self.release != release():
            raise SimError(f"worker {platform.node()!r} must run the same release of everything: "
                           f"{self.release}, not {release()}; install it there.")
        if self._detector is None:
            self._detector = Detector(Runner(self.network, self.engine), self.heads, score=SCORE,
                                      limit=LIMIT)
        return self._detector

    def __call__(self, item: tuple[Picture, bytes]) -> Record:
        """Find the objects in one picture; its file's contents are given.

        A picture that cannot be used makes a record with an error.

        Raises
        ------
        SimError
            The network cannot be run, or does not fit its heads.
        """
        picture, content = item
        digest = hashlib.sha256(content).hexdigest()
        with self._lock:  # one machine, one picture at a time
            detector = self.start()
            begun = time.thread_time()
            try:
                image = _read(picture, content)
            except SimError as error:
                return Record(picture.file_name, digest, {}, [], 0.0, str(error))
            d, tensors = detector.detect(image)
            seconds = time.thread_time() - begun
        table = np.concatenate([d.boxes, d.scores[:, None], d.classes[:, None]], axis=1)
        return Record(
            picture.file_name, digest,
            {head.output: hashlib.sha256(tensors[head.output].tobytes()).hexdigest()
             for head in self.heads.heads}, table.tolist(), seconds)


def _read(picture: Picture, content: bytes) -> Image.Image:
    """Decode a picture so that its pixels are those that the annotations count.

    Upright, as viewers, OpenCV and Detectron2 show it; if only the stored order of the pixels has
    the annotated size, as annotated by tools that ignore the camera's orientation, in that order.
    """
    size = (picture.width, picture.height)
    path = Path(picture.file_name)
    image = read_picture(path, content=content)
    if image.size == size:
        return image
    stored = read_picture(path, content=content, upright=False)
    if stored.size == size:
        return stored
    raise SimError(f"picture {picture.file_name!r} must be of the annotated size {size[0]}x"
                   f"{size[1]}, not {image.width}x{image.height}.")


@lru_cache
def release() -> dict[str, str]:
    """Version of everything that results depend on: the libraries, and hashes of this code."""
    versions = {name: importlib.metadata.version(name)
                for name in ("numpy", "onnx", "onnxruntime", "pillow")}
    return versions | {package.__name__: _hash_of_sources(package)
                       for package in (hw.spec, sim)}


def _hash_of_sources(package: Any) -> str:
    root = Path(package.__path__[0])
    paths = sorted(path for path in root.rglob("*.py")
                   if path.relative_to(root).parts[0] not in _NO_PART)
    listing = json.dumps({path.relative_to(root).as_posix():
                          hashlib.sha256(path.read_bytes()).hexdigest() for path in paths})
    return hashlib.sha256(listing.encode()).hexdigest()[:16]
