"""The host's part: tensors into the activations window, and out of it."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from sim.build import BuildFolder

__all__ = ["Array", "host_outputs", "quantize", "read_tensors", "write_inputs"]

Array = npt.NDArray[Any]


def write_inputs(build: BuildFolder, activations: Array, feeds: Mapping[str, Array]) -> None:
    """Put the inputs where the program expects them, quantized if the host has to do that."""
    for entry in build.manifest["inputs"]:
        codes = feeds[entry["name"]]
        if entry["quantize"]:
            codes = quantize(codes, **entry["quantize"], dtype=build.tensors[entry["tensor"]].dtype)
        build.tensors[entry["tensor"]].write(activations, codes)


def read_tensors(build: BuildFolder, activations: Array) -> dict[str, Array]:
    """Read every tensor that reaches memory, whether or not it was overwritten since."""
    return {place.name: place.read(activations) for place in build.tensors.values()
            if place.in_memory}


def host_outputs(build: BuildFolder, found: Mapping[str, Array]) -> dict[str, Array]:
    """Dequantize the outputs that the host has to, of the tensors that were `found`."""
    outputs = dict[str, Array]()
    for entry in build.manifest["outputs"]:
        if entry["dequantize"] and entry["tensor"] in found:
            codes = found[entry["tensor"]].astype(np.int32)
            scale, zero = entry["dequantize"]["scale"], entry["dequantize"]["zero_point"]
            outputs[entry["name"]] = (codes - zero).astype(np.float32) * np.float32(scale)
    return outputs


def quantize(values: Array, *, scale: float, zero_point: int, dtype: "np.dtype[Any]") -> Array:
    """QuantizeLinear as the host computes it: true float32 division, half to even, saturated."""
    limits = np.iinfo(dtype)
    with np.errstate(over="ignore"):
        steps = np.rint(values.astype(np.float32) / np.float32(scale))
    codes = np.clip(steps, limits.min - zero_point, limits.max - zero_point) + zero_point
    return np.asarray(codes.astype(dtype))
