"""The whole way from a float model and pictures to a quantized model and what it loses."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx

from codegen.quantize.images import Overlap, PictureSet, overlap, picture_files, sample
from codegen.quantize.prepare import prepare
from codegen.quantize.ranges import Method, Progress, measure
from codegen.quantize.sqnr import TensorNoise, compare
from codegen.quantize.static import Variant, quantize
from sim.pictures.fit import Fit

__all__ = ["Quantization", "quantize_file"]

_COMPARED_PICTURES = 4


@dataclass(frozen=True, kw_only=True)
class Quantization:
    """A quantized model, and how it came about.

    Parameters
    ----------
    model : onnx.ModelProto
        In QOperator form.
    pictures : PictureSet
        With which it was calibrated.
    noise : list of TensorNoise
        What every tensor lost in the first pictures.
    compared : int
        How many pictures these are.
    overlap : Overlap or None
        With the evaluation pictures, if there are any.
    """

    model: onnx.ModelProto
    pictures: PictureSet
    noise: list[TensorNoise]
    compared: int
    overlap: Overlap | None


def quantize_file(path: Path, images: Path, *, count: int, seed: int, variant: Variant,
                  method: Method, fit: Fit | None, evaluation: Path | None,
                  progress: Progress) -> Quantization:
    """Calibrate and quantize a float model.

    Equal files and options give an equal model.

    Parameters
    ----------
    path : Path
        Float ONNX model.
    images : Path
        Folder of pictures to choose from.
    count, seed : int
        How many pictures, and which; see :func:`codegen.quantize.images.sample`.
    fit : Fit or None
        How pictures fill the input; None: as the model's metadata say.
    evaluation : Path or None
        Folder of pictures that must not be among those.

    Raises
    ------
    CodegenError
        The model, the folders or all of the pictures cannot be used.
    """
    progress(f"reading {path.name}", 0, 1)
    model = prepare(path)
    files = sample(picture_files(images), count, seed)
    shared = overlap(files, picture_files(evaluation)) if evaluation else None
    pictures = PictureSet(files, model.shape, fit or model.fit)
    ranges = measure(model, pictures, method, progress)
    progress("quantizing", 0, 1)
    quantized = quantize(model.proto, ranges, variant=variant)
    compared = list(islice(_readable(pictures), _COMPARED_PICTURES))
    return Quantization(model=quantized, pictures=pictures, compared=len(compared),
                        noise=compare(model, quantized, compared, progress), overlap=shared)


def _readable(pictures: PictureSet) -> Iterator[npt.NDArray[np.float32]]:
    return (x for x in pictures.inputs() if x is not None)
