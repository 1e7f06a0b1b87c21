"""Read darknet's weights: a header, then the floats of every convolution, layer by layer.

Ref: AlexeyAB/darknet, src/parser.c (load_weights_upto, load_convolutional_weights) and
src/network.c (fuse_conv_batchnorm).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from codegen.darknet.layers import Convolution
from codegen.errors import ModelFileError

__all__ = ["Header", "Parameters", "float_count", "read_weights"]

Floats = npt.NDArray[np.float32]

_EPSILON = 1e-5
"""Added to the variance by batch normalization."""

_NORMALIZED = ("biases", "scales", "means", "variances", "weights")
_PLAIN = ("biases", "weights")


@dataclass(frozen=True, kw_only=True)
class Header:
    """Version of the format, pictures seen in training, and how many bytes say so."""

    major: int
    minor: int
    revision: int
    seen: int
    size: int


@dataclass(frozen=True, kw_only=True)
class Parameters:
    """Of one convolution: weight float32[OC, IC, K, K] and bias float32[OC]."""

    weight: Floats
    bias: Floats


def float_count(layer: Convolution) -> int:
    """How many floats of the file belong to a layer."""
    return sum(_part(layer, name) for name in _parts(layer))


def read_weights(path: Path, layers: tuple[Convolution, ...],
                 ) -> tuple[Header, Mapping[str, Parameters]]:
    """Read the weights of all convolutions, with batch normalization folded into them.

    Returns
    -------
    The header, and the parameters by the name of the layer's output.

    Raises
    ------
    ModelFileError
        The file cannot be read, has another length than the layers need, or has numbers in it
        that no training leaves behind.
    """
    try:
        content = path.read_bytes()
    except (OSError, ValueError) as error:
        raise ModelFileError(f"weights file {str(path)!r} must be a file that can be read; "
                             f"{error}") from error
    header = _header(content, path)
    _check_length((len(content) - header.size) / 4, layers, path, header)
    data = np.frombuffer(content, "<f4", offset=header.size)
    parameters, at = {}, 0
    for layer in layers:
        parts = {}
        for name in _parts(layer):
            parts[name] = data[at : at + _part(layer, name)]
            at += parts[name].size
            _check_numbers(parts[name], name, layer, path)
        parameters[layer.output.name] = _fold(parts, layer)
    return header, parameters


def _header(content: bytes, path: Path) -> Header:
    words = np.frombuffer(content[:12], "<i4")
    if len(content) < 20:
        raise ModelFileError(f"weights file {str(path)!r} must begin with a header of 20 bytes, "
                             f"but has {len(content)} bytes")
    major, minor, revision = (int(word) for word in words)
    if not (0 <= major < 1000 and 0 <= minor < 1000):
        raise ModelFileError(f"weights file {str(path)!r} must begin with a version of darknet "
                             f"below 1000.1000, not {major}.{minor}; it is no file of weights, "
                             "or one whose matrices are transposed")
    seen_bytes = 8 if 10 * major + minor >= 2 else 4
    return Header(major=major, minor=minor, revision=revision, size=12 + seen_bytes,
                  seen=int.from_bytes(content[12 : 12 + seen_bytes], "little"))


def _check_length(found: float, layers: tuple[Convolution, ...], path: Path,
                  header: Header) -> None:
    """Refuse a file that has more or fewer floats than the layers need."""
    expected = sum(float_count(layer) for layer in layers)
    if found == expected:
        return
    text = (f"weights file {str(path)!r} must have {expected} floats behind its header of "
            f"{header.size} bytes, as its cfg says, not {found:.10g}; ")
    if found > expected:
        raise ModelFileError(text + f"{found - expected:.10g} are left behind "
                             f"{layers[-1].section.title}, the last convolution. Do the two files "
                             "belong together?")
    left = found
    for layer in layers:
        if left < float_count(layer):
            break
        left -= float_count(layer)
    raise ModelFileError(text + f"it ends in {layer.section.title}, which needs "
                         f"{float_count(layer)} and finds {left:.10g}. Is it cut off, or without "
                         "its last layers (like .conv.29 files, from which training starts)?")


def _check_numbers(numbers: Floats, name: str, layer: Convolution, path: Path) -> None:
    bad = ~np.isfinite(numbers) | (np.abs(numbers) > 1e30)
    if name == "variances":
        bad |= numbers < 0
    if bad.any():
        at = int(bad.argmax())
        rule = "finite and not negative" if name == "variances" else "finite"
        raise ModelFileError(f"weights file {str(path)!r}: {name} of {layer.section.title} must "
                             f"be {rule}, not {numbers[at]:g} at {at}. Do the two files belong "
                             "together?")


def _parts(layer: Convolution) -> tuple[str, ...]:
    """What the file has of a layer, in this order."""
    return _NORMALIZED if layer.batch_normalize else _PLAIN


def _part(layer: Convolution, name: str) -> int:
    oc, ic, height, width = layer.weight_shape
    return oc * ic * height * width if name == "weights" else oc


def _fold(parts: Mapping[str, Floats], layer: Convolution) -> Parameters:
    """Make ``weight * x + bias`` of ``scale * (weight * x - mean) / sqrt(variance) + bias``.

    In float64, rounded once at the end.
    """
    weight, bias = parts["weights"].reshape(layer.weight_shape), parts["biases"]
    if layer.batch_normalize:
        wide = {name: part.astype(np.float64) for name, part in parts.items()}
        factor = wide["scales"] / np.sqrt(wide["variances"] + _EPSILON)
        weight = (weight * factor[:, None, None, None]).astype(np.float32)
        bias = (wide["biases"] - factor * wide["means"]).astype(np.float32)
    return Parameters(weight=weight.astype(np.float32), bias=bias.astype(np.float32))
