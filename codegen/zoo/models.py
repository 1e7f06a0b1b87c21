"""The models by name, and files of them that are built once.

A model comes with a second file, ``<name>.json``, that says how it was made. The model is used
again only if that is how it would be made now, and its bytes are those that were written.
"""

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from fractions import Fraction
from pathlib import Path
from types import MappingProxyType

import onnx
import onnxruntime

from codegen.errors import CodegenError
from codegen.files import write_whole
from codegen.quantize.static import Variant
from codegen.zoo.architecture import Architecture, float_model
from codegen.zoo.calibrate import calibrate
from codegen.zoo.quantize import quantize_yolo

__all__ = ["DEFAULT", "NAMES", "RECIPES", "Recipe", "build"]

_VERSION = 2
"""To be raised whenever any file of this package changes the bytes of a model."""


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Everything the bytes of a model depend on, except this package and its libraries.

    Parameters
    ----------
    architecture : Architecture
        Layers and shapes.
    variant : Variant
        How it is quantized.
    seed : int
        >= 0; selects weights and calibration scenes.
    """

    architecture: Architecture
    variant: Variant = Variant()
    seed: int = 1


_RELATIVES = {
    "yolov4-tiny-416": Architecture(size=416),
    "yolov4-tiny-320": Architecture(size=320),
    "yolov4-tiny-608": Architecture(size=608),
    "yolov4-tiny-quarter-96": Architecture(size=96, width=Fraction(1, 4), head_channels=27),
    "yolov4-tiny-quarter-64": Architecture(size=64, width=Fraction(1, 4), head_channels=27),
    "yolov4-tiny-eighth-64": Architecture(size=64, width=Fraction(1, 8), head_channels=27),
}
_VARIANTS = {
    "": Variant(),
    "-perchannel": Variant(per_channel=True),
    "-u8act": Variant(unsigned_activations=True),
    "-u8u8": Variant(unsigned_activations=True, unsigned_weights=True),
}

RECIPES: Mapping[str, Recipe] = MappingProxyType({
    name + suffix: Recipe(architecture=architecture, variant=variant)
    for name, architecture in _RELATIVES.items() for suffix, variant in _VARIANTS.items()
})
"""Every model of the zoo, by name."""

NAMES = tuple(RECIPES)
"""Names of all models, the full-size ones first."""

DEFAULT = "yolov4-tiny-416"
"""The model to take if the user does not name one."""


def build(name: str, directory: Path, *, progress: Callable[[str], None] | None = None) -> Path:
    """Make sure that ``<directory>/<name>.onnx`` exists and is up to date; return its path.

    The directory is created if needed. A model that is there and was made the same way is left
    as it is. An interrupted build leaves no damaged model behind.

    Parameters
    ----------
    name : str
        One of ``NAMES``.
    directory : Path
        Where the model and ``<name>.json`` are.
    progress : Callable[[str], None] | None
        Called with a short sentence at each step; not called if nothing is to be done.

    Raises
    ------
    CodegenError
        If there is no model of that name, or the files cannot be written.
    """
    if name not in RECIPES:
        raise CodegenError(f"zoo model must be one of {', '.join(NAMES)}, not {name!r}")
    path, sidecar = directory / f"{name}.onnx", directory / f"{name}.json"
    origin = _origin(RECIPES[name])
    try:
        if _is_current(path, sidecar, origin):
            return path
        directory.mkdir(parents=True, exist_ok=True)
        content = _model_bytes(RECIPES[name], progress or (lambda sentence: None))
        record = origin | {"sha256": hashlib.sha256(content).hexdigest()}
        write_whole(path, content)
        write_whole(sidecar, (json.dumps(record, indent=2) + "\n").encode())
    except OSError as error:
        raise CodegenError(f"zoo model {name!r} cannot be written to {str(directory)!r}: "
                           f"{error}") from error
    return path


def _model_bytes(recipe: Recipe, progress: Callable[[str], None]) -> bytes:
    calibration = calibrate(recipe.architecture, seed=recipe.seed, progress=progress)
    progress("quantizing")
    model = float_model(recipe.architecture, calibration.parameters)
    quantized = quantize_yolo(model, calibration.ranges, variant=recipe.variant)
    content: bytes = quantized.SerializeToString(deterministic=True)
    return content


def _origin(recipe: Recipe) -> dict[str, object]:
    """What must be equal for a model to be used again; JSON types only."""
    architecture = asdict(recipe.architecture) | {"width": str(recipe.architecture.width)}
    return {
        "version": _VERSION, "onnx": str(onnx.__version__),
        "onnxruntime": str(onnxruntime.__version__),
        "recipe": {"architecture": architecture, "variant": asdict(recipe.variant),
                   "seed": recipe.seed},
    }


def _is_current(path: Path, sidecar: Path, origin: dict[str, object]) -> bool:
    try:
        record = json.loads(sidecar.read_bytes())
        content = path.read_bytes()
    except (FileNotFoundError, ValueError):  # not there, or not JSON
        return False
    return bool(record == origin | {"sha256": hashlib.sha256(content).hexdigest()})
