"""Measure the ranges of all tensors of a float model, picture by picture.

ONNX Runtime's own calibraters keep every tensor of every picture until all are there. Here only
extremes and histograms are kept, so memory does not grow with the number of pictures. Where a
range is cut, given its histogram, is decided by ONNX Runtime's code.
"""

import contextlib
import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt
from onnxruntime.quantization.calibrate import HistogramCollector

from codegen.errors import QuantizeError
from codegen.quantize.images import PictureSet
from codegen.quantize.prepare import FloatModel
from codegen.quantize.taps import Taps, float_tensors

__all__ = ["METHODS", "Method", "Progress", "measure"]

Method: TypeAlias = Literal["minmax", "entropy", "percentile"]
METHODS: tuple[Method, ...] = ("minmax", "entropy", "percentile")

Progress: TypeAlias = Callable[[str, int, int], None]
"""Called with (what is done, steps done, steps)."""

_BINS: dict[Method, int] = {"entropy": 1024, "percentile": 2048}
"""Of a histogram. The search for the least divergence takes their square, in Python."""

_QUANTIZED_BINS = 256
"""Steps of 8 bits; ONNX Runtime's default of 128 is meant for halves of a symmetric range."""

_PERCENTILE = 99.999


@dataclass
class _Extremes:
    low: float = np.inf
    high: float = -np.inf


def measure(model: FloatModel, pictures: PictureSet, method: Method,
            progress: Progress) -> dict[str, tuple[float, float]]:
    """Find a range for every float tensor.

    The input's is 0..1 whatever the pictures, so that its codes are the pixels. The network's
    outputs keep their whole range, since the rare large values there are what a detector finds.

    Parameters
    ----------
    method : Method
        ``minmax``: from the smallest to the largest value. ``percentile``: the same, but cut where
        99.999 % of the absolute values lie. ``entropy``: cut where the distribution that is left,
        at 256 steps, has the least Kullback-Leibler divergence from the whole.

    Raises
    ------
    QuantizeError
        No picture could be read, or a tensor is infinite or no number.
    """
    taps = Taps(model.proto, float_tensors(model.proto))
    ranges = _whole(taps, pictures, progress)
    if len(pictures.unreadable) == len(pictures):
        first = next(iter(pictures.unreadable.values()))
        raise QuantizeError(f"at least one of the {len(pictures)} pictures must be readable, but "
                            f"none is. The first: {first}")
    if method != "minmax":
        outputs = {value.name for value in model.proto.graph.output}
        inner = {name: ends for name, ends in ranges.items() if name not in outputs}
        ranges |= _cut(taps, pictures, inner, method, progress)
    return {model.input: (0.0, 1.0)} | ranges


def _whole(taps: Taps, pictures: PictureSet, progress: Progress) -> dict[str, tuple[float, float]]:
    """Smallest and largest values; infinite if there is no picture."""
    extremes = {name: _Extremes() for name in taps.names}
    for tensors in _runs(taps, pictures, "ranges", progress):
        for name, values in tensors.items():
            _widen(extremes[name], values, name)
    return {name: (own.low, own.high) for name, own in extremes.items()}


def _runs(taps: Taps, pictures: PictureSet, stage: str, progress: Progress,
          ) -> Iterator[dict[str, npt.NDArray[np.float32]]]:
    """The tensors for each picture that can be read."""
    for n, x in enumerate(pictures.inputs()):
        progress(stage, n, len(pictures))
        if x is not None:
            yield taps.run(x)


def _widen(own: _Extremes, values: npt.NDArray[np.float32], name: str) -> None:
    if not values.size:
        return
    low, high = float(values.min()), float(values.max())
    if not (np.isfinite(low) and np.isfinite(high)):
        raise QuantizeError(f"tensor {name!r} must be finite for every picture, but reaches from "
                            f"{low:g} to {high:g}. Are pixels in 0..1 what the model expects?")
    own.low, own.high = min(own.low, low), max(own.high, high)


def _cut(taps: Taps, pictures: PictureSet, ranges: dict[str, tuple[float, float]],
         method: Method, progress: Progress) -> dict[str, tuple[float, float]]:
    """Cut ranges by histograms: of absolute values for percentile, else symmetric about 0."""
    reach = {name: max(-low, high) for name, (low, high) in ranges.items()}
    # What is smaller counts as 0 to the quantizer, and has no room for bins.
    reach = {name: end for name, end in reach.items() if end >= np.finfo(np.float32).tiny}
    bins = _BINS[method]
    counts = {name: np.zeros(bins, np.int64) for name in reach}
    absolute = method == "percentile"
    for tensors in _runs(taps, pictures, "histograms", progress):
        for name, end in reach.items():
            values = np.abs(tensors[name]) if absolute else tensors[name]
            counts[name] += np.histogram(values, bins, range=(0 if absolute else -end, end))[0]
    collector = HistogramCollector(
        method=method, symmetric=absolute, num_bins=bins, num_quantized_bins=_QUANTIZED_BINS,
        percentile=_PERCENTILE, scenario="same")
    found: dict[str, tuple[float, float]] = {}
    for n, (name, end) in enumerate(reach.items()):
        progress("thresholds", n, len(reach))
        edges = np.linspace(0 if absolute else -end, end, bins + 1).astype(np.float32)
        low, high = (np.float32(value) for value in ranges[name])
        collector.histogram_dict = {name: (counts[name], edges, low, high)}
        with contextlib.redirect_stdout(io.StringIO()):  # it prints what it is doing
            result: tuple[Any, ...] = collector.compute_collection_result()[name]
        found[name] = float(result[0]), float(result[1])
    return found
