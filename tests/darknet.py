"""Small darknet networks for tests: their text, random weights, and what darknet computes.

``run`` is darknet's own arithmetic, loop for loop, with batch normalization not folded. Its
sections are read by the code under test; nothing else is.

Ref: AlexeyAB/darknet, src/convolutional_layer.c, src/maxpool_layer.c, src/route_layer.c,
src/shortcut_layer.c, src/upsample_layer.c, src/activations.h, src/batchnorm_layer.c.
"""

from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from codegen.darknet.cfg import Section, read_cfg
from codegen.zoo.scenes import scene

__all__ = ["EVERYTHING", "HEADER", "OFFICIAL_BYTES", "TINY", "random_weights", "run",
           "write_network", "write_pictures"]

Floats = npt.NDArray[np.float32]

HEADER = np.array([0, 2, 5], "<i4").tobytes() + np.array([7], "<u8").tobytes()

OFFICIAL_BYTES = 24_251_276
"""Length of the published yolov4-tiny.weights."""

TINY = """
[net]
width=32
height=32
channels=3

[convolutional]
batch_normalize=1
filters=8
size=3
stride=2
pad=1
activation=leaky

[maxpool]
size=2
stride=2

[convolutional]
batch_normalize=1
filters=12
size=3
stride=1
pad=1
activation=leaky

[convolutional]
filters=21
size=1
stride=1
pad=1
activation=linear

[yolo]
mask = 0,1,2
anchors = 4,6, 10,8.5, 20,28
classes=2
num=3
scale_x_y = 1.05
"""

EVERYTHING = """
[net]
width=64
height=32
channels=3
momentum=0.9  # for training

[convolutional]
batch_normalize=1
filters=8
size=3
stride_x=2
stride_y=1
pad=1
activation=mish

; windows that overhang at the right and the bottom
[maxpool]
size=2
stride=1

[convolutional]
batch_normalize=1
filters=16
size=5
stride=1
padding=2
activation=swish

[convolutional]
groups=16
filters=16
size=3
pad=1
batch_normalize=1
activation=relu

[dropout]
probability=.1

[shortcut]
from=-3
activation=leaky

[route]
layers=-1,2
groups=2
group_id=1

[maxpool]
size=5
stride=1

[maxpool]
size=3
stride=2

[convolutional]
filters=16

[upsample]
stride=2

[route]
layers=-1, -4

[route]
layers=-1
groups=4
group_id=2

[convolutional]
filters=21
size=1
stride_y=2
stride_x=1
activation=linear

[yolo]
mask=0,1,2
anchors=1,2,3,4,5,6.5
classes=2
num=3
"""


def random_weights(sections: tuple[Section, ...], *, channels: int = 3,
                   seed: int = 0) -> list[Floats]:
    """Biases, scales, means and variances (if normalized) and weights of each convolution."""
    rng, made, result = np.random.default_rng(seed), [], []
    for section in sections[1:]:
        if section.type == "convolutional":
            n = section.integer("filters")
            inputs = made[-1] if made else channels
            size = section.integer("size", 1)
            k = inputs // section.integer("groups", 1) * size**2
            parts = [rng.normal(0, 0.3, n)]
            if section.integer("batch_normalize", 0):
                parts += [rng.uniform(0.5, 1.5, n), rng.normal(0, 0.2, n), rng.uniform(0.5, 1.5, n)]
            result += [*parts, rng.normal(0, k**-0.5, n * k)]
            made.append(n)
        elif section.type == "route":
            sources = section.integers("layers")
            made.append(sum(made[i] for i in sources) // section.integer("groups", 1))
        else:
            made.append(made[-1])
    return [part.astype("<f4") for part in result]


def write_network(folder: Path, text: str = TINY, *, seed: int = 0) -> tuple[Path, Path]:
    """Write a cfg and random weights; returns both paths."""
    cfg, weights = folder / "net.cfg", folder / "net.weights"
    cfg.write_text(text)
    parts = random_weights(read_cfg(cfg), seed=seed)
    weights.write_bytes(HEADER + b"".join(part.tobytes() for part in parts))
    return cfg, weights


def write_pictures(folder: Path, count: int, *, size: int = 32) -> Path:
    """Write drawn scenes, 0.png and so on."""
    folder.mkdir(exist_ok=True)
    for n in range(count):
        Image.fromarray(scene(n, size)).save(folder / f"{n}.png")
    return folder


def run(cfg: Path, weights: Path, x: Floats) -> list[npt.NDArray[np.float64]]:
    """Results of all sections for an input float32[C, H, W]; of ``[yolo]`` their inputs."""
    sections = read_cfg(cfg)
    data = iter(np.split(np.frombuffer(weights.read_bytes()[20:], "<f4").astype(np.float64),
                         np.cumsum([part.size for part in random_weights(sections)])))
    image, made = x.astype(np.float64), []
    for section in sections[1:]:
        last = made[-1] if made else image
        if section.type == "convolutional":
            y = _convolve(section, last, data)
        elif section.type == "maxpool":
            y = _max_pool(section, last)
        elif section.type == "route":
            groups, group = section.integer("groups", 1), section.integer("group_id", 0)
            parts = [made[i] for i in section.integers("layers")]
            y = np.concatenate([p[len(p) // groups * group : len(p) // groups * (group + 1)]
                                for p in parts])
        elif section.type == "shortcut":
            y = _activate(section, last + made[section.integer("from", least=-99)], "linear")
        elif section.type == "upsample":
            factor = section.integer("stride")
            y = last.repeat(factor, axis=1).repeat(factor, axis=2)
        else:
            y = last
        made.append(y)
    return made


def _convolve(section: Section, x: npt.NDArray[np.float64], data: object,
              ) -> npt.NDArray[np.float64]:
    n, size, groups = (section.integer(key, 1) for key in ("filters", "size", "groups"))
    pad = size // 2 if section.integer("pad", 0) else section.integer("padding", 0)
    stride = section.integer("stride", 1)
    down, across = section.integer("stride_y", stride), section.integer("stride_x", stride)
    bias = next(data)  # type: ignore[call-overload]
    normal = [next(data) for _ in range(3)] if section.integer("batch_normalize", 0) else None
    weight = next(data).reshape(n, len(x) // groups, size, size)  # type: ignore[call-overload]
    padded = np.pad(x, ((0, 0), (pad, pad), (pad, pad)))
    rows = (x.shape[1] + 2 * pad - size) // down + 1
    columns = (x.shape[2] + 2 * pad - size) // across + 1
    y = np.zeros((n, rows, columns))
    for f in range(n):
        first = f // (n // groups) * weight.shape[1]
        source = padded[first : first + weight.shape[1]]
        for i in range(rows):
            for j in range(columns):
                y[f, i, j] = (source[:, i * down : i * down + size,
                                     j * across : j * across + size] * weight[f]).sum()
    if normal:
        scale, mean, variance = (part[:, None, None] for part in normal)
        y = (y - mean) / np.sqrt(variance + 0.00001) * scale
    return _activate(section, y + bias[:, None, None], "logistic")


def _max_pool(section: Section, x: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    size, stride = section.integer("size"), section.integer("stride")
    pad = size - 1
    rows, columns = ((length + pad - size) // stride + 1 for length in x.shape[1:])
    y = np.full((len(x), rows, columns), -np.inf)
    for i in range(rows):
        for j in range(columns):
            for n in range(size):
                for m in range(size):
                    h, w = -(pad // 2) + i * stride + n, -(pad // 2) + j * stride + m
                    if 0 <= h < x.shape[1] and 0 <= w < x.shape[2]:
                        y[:, i, j] = np.maximum(y[:, i, j], x[:, h, w])
    return y


def _activate(section: Section, x: npt.NDArray[np.float64], default: str,
              ) -> npt.NDArray[np.float64]:
    logistic = 1 / (1 + np.exp(-x))
    return {"linear": x, "leaky": np.where(x > 0, x, 0.1 * x), "relu": x * (x > 0),
            "logistic": logistic, "swish": x * logistic,
            "mish": x * np.tanh(np.log1p(np.exp(x)))}[section.options.get("activation", default)]
