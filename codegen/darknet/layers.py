"""The layers of a darknet network, with shapes and without weights."""

from dataclasses import dataclass

from codegen.darknet.cfg import Section

__all__ = ["Convolution", "Head", "Layer", "MaxPool", "Network", "Route", "Shortcut", "Tensor",
           "Upsample"]


@dataclass(frozen=True, kw_only=True)
class Tensor:
    """A result, float32[1, channels, height, width]."""

    name: str
    channels: int
    height: int
    width: int


@dataclass(frozen=True, kw_only=True)
class Layer:
    """What all layers have.

    Parameters
    ----------
    section : Section
        Where it comes from.
    inputs : tuple of Tensor
        What it reads.
    output : Tensor
        What it makes; named ``<type>_<index>``.
    """

    section: Section
    inputs: tuple[Tensor, ...]
    output: Tensor


@dataclass(frozen=True, kw_only=True)
class Convolution(Layer):
    """Square kernel, zero padding. The activation makes a tensor ``<activation>_<index>``."""

    size: int
    strides: tuple[int, int]  # vertical, horizontal
    padding: int
    groups: int
    batch_normalize: bool
    activation: str

    @property
    def weight_shape(self) -> tuple[int, int, int, int]:
        """[OC, IC, K, K], as in the file of weights and in ONNX."""
        return (self.output.channels, self.inputs[0].channels // self.groups, self.size, self.size)


@dataclass(frozen=True, kw_only=True)
class MaxPool(Layer):
    """Square window; ``pads`` are rows and columns at the top, left, bottom and right."""

    size: int
    strides: tuple[int, int]
    pads: tuple[int, int, int, int]


@dataclass(frozen=True, kw_only=True)
class Route(Layer):
    """Part `group_id` of `groups` equal parts of the channels of each input, concatenated."""

    groups: int
    group_id: int


@dataclass(frozen=True, kw_only=True)
class Shortcut(Layer):
    """Sum of two tensors. The activation makes a tensor ``<activation>_<index>``."""

    activation: str


@dataclass(frozen=True, kw_only=True)
class Upsample(Layer):
    """Nearest neighbour."""

    factor: int


@dataclass(frozen=True, kw_only=True)
class Head:
    """A ``[yolo]`` section: what an output of the network means.

    Parameters
    ----------
    output : Tensor
        For each anchor: x, y, width, height, objectness, and a score for each class.
    stride : int
        Pixels of the network's input per cell.
    anchors : tuple of (float, float)
        Width and height in pixels of the input, those of the mask only.
    classes : int
    scale_x_y : float
        By how much a centre can leave its cell.
    """

    output: Tensor
    stride: int
    anchors: tuple[tuple[float, float], ...]
    classes: int
    scale_x_y: float


@dataclass(frozen=True, kw_only=True)
class Network:
    """All layers in order, and what the outputs mean."""

    input: Tensor
    layers: tuple[Layer, ...]
    heads: tuple[Head, ...]
