"""Weights that keep every channel of a network alive, and the ranges of its activations.

Random weights alone die: after a few layers some channels are constant and others saturate. So the
network is run layer by layer on drawn scenes, and each convolution is scaled and shifted until its
channels have a chosen mean and spread.

The run is in 8-bit codes, like that of the quantized model, and its sums are integers below 2**53
held in float64. They are exact whatever the order of summation, so weights and ranges do not
depend on the processor or on the BLAS library: another machine makes the same bytes.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from codegen.zoo.architecture import ALPHA, Architecture, Kind, Layer, Parameters, layers
from codegen.zoo.draws import Draws
from codegen.zoo.scenes import scene

__all__ = ["Calibration", "calibrate"]

_STREAM = 0x3E1647  # keeps the streams of weights apart from those of scenes
_MIN_POSITIONS = 300  # of the coarsest layer, over all scenes: enough to estimate a spread
_WEIGHT_MAX = 127
_DEVIATION = 0.7979  # mean absolute deviation of a normal distribution with standard deviation 1


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """Result of a calibration.

    Parameters
    ----------
    parameters : dict[str, Parameters]
        For each convolution, by the name of its layer.
    ranges : dict[str, tuple[float, float]]
        Smallest and largest value of each tensor, by name; both fit float32 exactly.
    """

    parameters: dict[str, Parameters]
    ranges: dict[str, tuple[float, float]]


@dataclass(frozen=True, kw_only=True)
class _Codes:
    """A quantized tensor, with the scenes behind the channels: ``scale * (codes - zero)``."""

    codes: npt.NDArray[np.uint8]  # [C, N, H, W]
    scale: np.float32
    zero: int  # 0..255

    def values(self) -> npt.NDArray[np.float32]:
        """All 256 values a code can stand for, float32[256]."""
        return self.scale * (np.arange(256, dtype=np.float32) - np.float32(self.zero))


def calibrate(architecture: Architecture, *, seed: int,
              progress: Callable[[str], None] | None = None) -> Calibration:
    """Choose weights and biases, and measure ranges.

    Weights are heavy-tailed: nearly normal times (1 + half its square), so that, as in trained
    networks, the largest is some 8 times the RMS. Spreads of channels are 0.5..1.8, their
    means -0.1..0.7 spreads.

    Parameters
    ----------
    architecture : Architecture
        The network.
    seed : int
        >= 0; selects weights and scenes.
    progress : Callable[[str], None] | None
        Called with a sentence before each convolution.
    """
    grid = architecture.size // 32
    scene_count = max(2, -(-_MIN_POSITIONS // grid**2))
    pixels = np.stack([scene(1000 * seed + i, architecture.size) for i in range(scene_count)])
    tensors = {"images": _Codes(codes=pixels.transpose(3, 0, 1, 2), scale=np.float32(1 / 255),
                                zero=0)}
    ranges = {"images": (0.0, 1.0)}
    parameters: dict[str, Parameters] = {}
    convolved: dict[str, npt.NDArray[np.float32]] = {}  # not quantized before LeakyReLU

    for index, layer in enumerate(layers(architecture)):
        inputs = [tensors[name] for name in layer.inputs if name in tensors]
        if layer.kind is Kind.CONV:
            if progress is not None:
                progress(f"calibrating {layer.name}: {layer.channels} channels, "
                         f"{layer.size}x{layer.size}, {scene_count} scenes")
            parameters[layer.name], y = _balance(layer, inputs[0], Draws(_STREAM, seed, index))
            convolved[layer.output] = y
            ranges[layer.output] = _range(y)
        elif layer.kind is Kind.LEAKY:
            y = convolved.pop(layer.inputs[0])
            y = np.where(y >= 0, y, np.float32(ALPHA) * y)
            ranges[layer.output] = _range(y)
            tensors[layer.output] = _quantize(y, ranges[layer.output])
        elif layer.kind is Kind.UPPER_HALF:
            tensors[layer.output] = _move(inputs[0], inputs[0].codes[layer.channels :])
        elif layer.kind is Kind.CONCAT:
            ends = [ranges[name] for name in layer.inputs if name in ranges]
            both = min(low for low, _ in ends), max(high for _, high in ends)
            ranges[layer.output] = both
            parts = [_quantize(x.values(), both).codes[x.codes] for x in inputs]
            one = _quantize(np.zeros(1, np.float32), both)
            tensors[layer.output] = _move(one, np.concatenate(parts))
        elif layer.kind is Kind.MAX_POOL:
            rows = np.maximum(inputs[0].codes[:, :, ::2], inputs[0].codes[:, :, 1::2])
            pooled = np.maximum(rows[..., ::2], rows[..., 1::2])
            tensors[layer.output] = _move(inputs[0], pooled)
        else:
            up = inputs[0].codes.repeat(2, axis=2).repeat(2, axis=3)
            tensors[layer.output] = _move(inputs[0], up)
            # Its values are those of its input.
            ranges[layer.output] = ranges[layer.inputs[0]]
    return Calibration(parameters=parameters, ranges=ranges)


def _balance(layer: Layer, x: _Codes, draws: Draws,
             ) -> tuple[Parameters, npt.NDArray[np.float32]]:
    """Draw weights and give each output channel its mean and spread.

    Returns the parameters and the output, float32[OC, N, H, W].
    """
    shape = (layer.channels, x.codes.shape[0], layer.kernel, layer.kernel)
    bell = draws.bell(*shape).astype(np.int64)
    unit, largest = 2 * 148**2, 510 * (2 * 148**2 + 510**2)
    # bell * (1 + bell^2 / 2 sigma^2), scaled to -127..127
    weight = (bell * (unit + bell * bell) * _WEIGHT_MAX) // largest  # [OC, IC, K, K]
    sums = _convolve(x, weight.astype(np.float64), stride=layer.stride)
    count = sums[0].size
    mean = np.rint(sums.sum(axis=(1, 2, 3)) / count)  # [OC]
    # Absolute deviations rather than squares: their sum is an integer below 2**53, thus exact.
    deviation = np.abs(sums - mean[:, None, None, None]).sum(axis=(1, 2, 3)) / count
    if not deviation.all():
        raise AssertionError(f"layer {layer.name!r} has a constant channel; choose another seed")
    # Spreads 1/2..1.8, about log-normal; rounded, so that the last bit of the power is not used.
    powers = np.rint(1024 * 2.0 ** (np.arange(-8, 8) / 8)) / 1024
    spread = powers[draws.bell(layer.channels) // 64 + 8]
    target_mean = spread * (draws.octets(layer.channels).astype(np.float64) / 320 - 0.1)
    gain = (_DEVIATION * spread / deviation).astype(np.float32)  # real output per unit of sums
    bias = (target_mean - mean * gain).astype(np.float32)
    scaled = (gain / x.scale)[:, None, None, None] * weight.astype(np.float32)
    column = (slice(None), None, None, None)
    y = (sums * gain.astype(np.float64)[column] + bias[column]).astype(np.float32)
    return Parameters(weight=scaled, bias=bias), y


def _convolve(x: _Codes, weight: npt.NDArray[np.float64], *, stride: int,
              ) -> npt.NDArray[np.float64]:
    """Convolve ``codes - zero`` with integer weights [OC, IC, K, K]; integers [OC, N, H, W]."""
    kernel = weight.shape[2]
    pad = kernel // 2
    centered = x.codes.astype(np.float64) - x.zero
    padded = np.pad(centered, ((0, 0), (0, 0), (pad, pad), (pad, pad)))
    channels, count, height, width = x.codes.shape
    rows, columns = height // stride, width // stride
    sums = np.zeros((weight.shape[0], count * rows * columns))
    for i in range(kernel):
        for j in range(kernel):
            window = padded[:, :, i : i + height : stride, j : j + width : stride]
            sums += weight[:, :, i, j] @ window.reshape(channels, -1)
    return sums.reshape(-1, count, rows, columns)


def _range(values: npt.NDArray[np.float32]) -> tuple[float, float]:
    return float(values.min()), float(values.max())


def _quantize(values: npt.NDArray[np.float32], ends: tuple[float, float]) -> _Codes:
    """Quantize as ONNX Runtime does from MinMax ranges, to unsigned codes."""
    low, high = min(ends[0], 0.0), max(ends[1], 0.0)
    wide = (high - low) / 255
    scale, zero = np.float32(wide), int(np.rint(-low / wide))
    codes = np.clip(np.rint(values / scale) + zero, 0, 255).astype(np.uint8)
    return _Codes(codes=codes, scale=scale, zero=zero)


def _move(like: _Codes, codes: npt.NDArray[np.uint8]) -> _Codes:
    return _Codes(codes=codes, scale=like.scale, zero=like.zero)
