"""Compile small networks for tests, and run what came out."""

from functools import lru_cache
from pathlib import Path

import numpy as np

from codegen.compiler import Build, compile_model
from codegen.emit.files import write_build
from codegen.zoo import models
from hw.spec.config import PRESETS, ArrayConfig
from sim.build import BuildFolder, read_build
from sim.golden import Golden
from sim.inputs import load_input
from sim.slices.cut import Layer, read_layers
from sim.verify import Verification, verify

__all__ = ["build_folder", "compile_zoo", "layer_of", "verify_folder", "zoo_model"]


@lru_cache(maxsize=None)
def zoo_model(name: str) -> Path:
    """File of a zoo model, built once and kept under build/."""
    return models.build(name, Path(__file__).parents[1] / "build" / "zoo")


def compile_zoo(name: str = "yolov4-tiny-eighth-64", target: str = "test-4x4",
                **options: object) -> Build:
    """A zoo model compiled in memory."""
    return compile_model(zoo_model(name), PRESETS[target], target=target,
                         **options)  # type: ignore[arg-type]


def build_folder(model: Path, folder: Path, config: ArrayConfig | str = "test-4x4",
                 **options: object) -> BuildFolder:
    """Compile `model` into `folder` and read it back."""
    target = config if isinstance(config, str) else "custom"
    size = PRESETS[config] if isinstance(config, str) else config
    build = compile_model(model, size, target=target, **options)  # type: ignore[arg-type]
    write_build(build, model.read_bytes(), folder)
    return read_build(folder)


def layer_of(build: BuildFolder, node: str) -> Layer:
    """The layer that does a node: how the compiler groups nodes is none of a test's business."""
    (layer,) = (layer for layer in read_layers(build) if node in layer.nodes)
    return layer


def verify_folder(build: BuildFolder, *, picture: Path | None = None, seed: int = 0,
                  **options: object) -> Verification:
    """Run a build on a picture or a random input, against ONNX Runtime."""
    feeds = {}
    for n, item in enumerate(Golden(build.model).inputs):
        shape = tuple(size or 0 for size in item.shape)
        if item.dtype.kind in "iu":
            limits = np.iinfo(item.dtype)
            feeds[item.name] = np.random.default_rng(seed).integers(
                limits.min, limits.max + 1, shape).astype(item.dtype)
        else:
            feeds[item.name] = load_input(picture if n == 0 else None, shape=shape,
                                          seed=None if picture and n == 0 else seed + n)
    return verify(build, feeds, **options)  # type: ignore[arg-type]
