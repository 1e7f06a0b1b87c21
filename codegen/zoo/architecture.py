"""The layers of YOLOv4-tiny and its smaller relatives, and their float ONNX graph.

Ref: AlexeyAB/darknet, cfg/yolov4-tiny.cfg. A layer is numbered like its section in that file,
and nodes and tensors are named after the number, as darknet converters do: node ``conv4`` makes
``conv4_out``, node ``act4`` makes ``act4_out``.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from fractions import Fraction

import numpy as np
import numpy.typing as npt
import onnx
from onnx import helper, numpy_helper

from hw.spec.heads import METADATA_KEY

__all__ = ["ALPHA", "Architecture", "Kind", "Layer", "Parameters", "float_model", "layers"]

ALPHA = 0.1
"""Slope of LeakyReLU below zero."""


#: Of an input of 416 pixels, by output; and what the cfg calls scale_x_y.
_ANCHORS = {"conv29_out": ((81, 82), (135, 169), (344, 319)),
            "conv36_out": ((23, 27), (37, 58), (81, 82))}
_SCALE_X_Y = 1.05


class Kind(Enum):
    """What a layer does."""

    CONV = "conv"          # square kernel, zero padding of kernel // 2
    LEAKY = "leaky"        # LeakyReLU
    UPPER_HALF = "split"   # the second half of the channels
    CONCAT = "concat"      # along the channels
    MAX_POOL = "pool"      # 2x2, stride 2
    UPSAMPLE = "up"        # nearest neighbor, x2


@dataclass(frozen=True, kw_only=True)
class Architecture:
    """What distinguishes one relative from another.

    Parameters
    ----------
    size : int
        Height and width of the input in pixels, a multiple of 32.
    width : Fraction
        Channels of every layer but the heads, relative to YOLOv4-tiny. Every channel count must
        stay a positive integer, and even where it is split: 1/16 is the smallest power of two.
    head_channels : int
        Channels of both outputs: three anchors times (5 + classes).

    Raises
    ------
    ValueError
        If a parameter is out of range.
    """

    size: int
    width: Fraction = Fraction(1)
    head_channels: int = 255

    def __post_init__(self) -> None:
        if self.size < 32 or self.size % 32:
            raise ValueError(f"size must be a positive multiple of 32 pixels, not {self.size}")
        if self.width <= 0 or (32 * self.width).denominator != 1:
            raise ValueError(f"width must be a positive multiple of 1/32, not {self.width}")
        if self.head_channels < 18 or self.head_channels % 3:
            raise ValueError(f"head_channels must be a multiple of 3, at least 18, not "
                             f"{self.head_channels}")


@dataclass(frozen=True, kw_only=True)
class Layer:
    """One layer; its output has the shape [1, channels, size, size].

    Parameters
    ----------
    kind : Kind
        What it does.
    name : str
        Name of the ONNX node.
    inputs : tuple[str, ...]
        Names of the tensors it reads; one, except for a concatenation.
    output : str
        Name of the tensor it makes.
    channels, size : int
        Shape of the output.
    kernel, stride : int
        Of a convolution; 1 for others.
    """

    kind: Kind
    name: str
    inputs: tuple[str, ...]
    output: str
    channels: int
    size: int
    kernel: int = 1
    stride: int = 1


@dataclass(frozen=True, kw_only=True)
class Parameters:
    """Of one convolution: weight float32[OC, IC, K, K] and bias float32[OC]."""

    weight: npt.NDArray[np.float32]
    bias: npt.NDArray[np.float32]


def layers(architecture: Architecture) -> tuple[Layer, ...]:
    """List the layers in order of execution; the outputs are ``conv29_out`` and ``conv36_out``."""
    made: dict[str, Layer] = {}  # by output

    def add(kind: Kind, name: str, *inputs: str, channels: int, size: int, output: str = "",
            kernel: int = 1, stride: int = 1) -> str:
        layer = Layer(kind=kind, name=name, inputs=inputs, output=output or f"{name}_out",
                      channels=channels, size=size, kernel=kernel, stride=stride)
        made[layer.output] = layer
        return layer.output

    def conv(index: int, x: str, filters: int, kernel: int, *, stride: int = 1,
             head: bool = False) -> str:
        size = (made[x].size if x in made else architecture.size) // stride
        channels = architecture.head_channels if head else int(filters * architecture.width)
        y = add(Kind.CONV, f"conv{index}", x, channels=channels, size=size, kernel=kernel,
                stride=stride)
        return y if head else add(Kind.LEAKY, f"act{index}", y, channels=channels, size=size)

    def concat(index: int, *xs: str) -> str:
        channels = sum(made[x].channels for x in xs)
        return add(Kind.CONCAT, f"route{index}", *xs, channels=channels, size=made[xs[0]].size)

    x = conv(1, conv(0, "images", 32, 3, stride=2), 64, 3, stride=2)
    merged = ""
    for first, filters in (2, 64), (10, 128), (18, 256):
        whole = conv(first, x, filters, 3)
        half = add(Kind.UPPER_HALF, f"route{first + 1}_split", whole,
                   output=f"route{first + 1}_part1", channels=made[whole].channels // 2,
                   size=made[whole].size)
        a = conv(first + 2, half, filters // 2, 3)
        b = conv(first + 3, a, filters // 2, 3)
        merged = conv(first + 5, concat(first + 4, b, a), filters, 1)
        both = concat(first + 6, whole, merged)
        x = add(Kind.MAX_POOL, f"pool{first + 7}", both, channels=made[both].channels,
                size=made[both].size // 2)
    neck = conv(27, conv(26, x, 512, 3), 256, 1)
    conv(29, conv(28, neck, 512, 3), 255, 1, head=True)
    small = conv(32, neck, 128, 1)
    up = add(Kind.UPSAMPLE, "up33", small, channels=made[small].channels,
             size=2 * made[small].size)
    conv(36, conv(35, concat(34, up, merged), 256, 3), 255, 1, head=True)
    return tuple(made.values())


def float_model(architecture: Architecture, parameters: Mapping[str, Parameters],
                ) -> onnx.ModelProto:
    """Build the float graph: opset 13, input ``images`` float32[1, 3, size, size] in 0..1, and in
    the metadata what the outputs mean (:mod:`hw.spec.heads`).

    Parameters
    ----------
    architecture : Architecture
        The relative to build.
    parameters : Mapping[str, Parameters]
        For each convolution, by the name of its layer.
    """
    nodes: list[onnx.NodeProto] = []
    constants: list[onnx.TensorProto] = []
    outputs: list[onnx.ValueInfoProto] = []

    def constant(name: str, value: npt.NDArray[np.generic]) -> str:
        constants.append(numpy_helper.from_array(value, name))
        return name

    def node(op_type: str, layer: Layer, *extra: str, outputs: tuple[str, ...] = (),
             **attributes: object) -> None:
        nodes.append(helper.make_node(op_type, [*layer.inputs, *extra],
                                      outputs or (layer.output,), name=layer.name, **attributes))

    for layer in layers(architecture):
        if layer.kind is Kind.CONV:
            own, k = parameters[layer.name], layer.kernel
            node("Conv", layer, constant(f"{layer.name}.weight", own.weight),
                 constant(f"{layer.name}.bias", own.bias), dilations=[1, 1], group=1,
                 kernel_shape=[k, k], pads=[k // 2] * 4, strides=[layer.stride] * 2)
        elif layer.kind is Kind.LEAKY:
            node("LeakyRelu", layer, alpha=ALPHA)
        elif layer.kind is Kind.UPPER_HALF:
            base = layer.output.removesuffix("_part1")
            sizes = constant(f"{base}.split", np.array([layer.channels] * 2, np.int64))
            node("Split", layer, sizes, outputs=(f"{base}_part0", layer.output), axis=1)
        elif layer.kind is Kind.CONCAT:
            node("Concat", layer, axis=1)
        elif layer.kind is Kind.MAX_POOL:
            node("MaxPool", layer, kernel_shape=[2, 2], pads=[0] * 4, strides=[2, 2])
        else:
            scales = constant(f"{layer.name}.scales", np.array([1, 1, 2, 2], np.float32))
            node("Resize", layer, "", scales, mode="nearest", nearest_mode="floor",
                 coordinate_transformation_mode="asymmetric")
        if layer.output in _ANCHORS:
            outputs.append(helper.make_tensor_value_info(
                layer.output, onnx.TensorProto.FLOAT, [1, layer.channels, layer.size, layer.size]))
    images = helper.make_tensor_value_info(
        "images", onnx.TensorProto.FLOAT, [1, 3, architecture.size, architecture.size])
    graph = helper.make_graph(nodes, "yolov4-tiny", [images], outputs, constants)
    model: onnx.ModelProto = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    helper.set_model_props(model, {METADATA_KEY: _heads(architecture)})
    return model


def _heads(architecture: Architecture) -> str:
    """What the outputs mean; anchors grow with the input."""
    scale = architecture.size / 416
    return json.dumps({"heads": [
        {"output": layer.output, "stride": architecture.size // layer.size,
         "anchors": [[max(1, round(w * scale)), max(1, round(h * scale))]
                     for w, h in _ANCHORS[layer.output]],
         "classes": architecture.head_channels // 3 - 5, "scale_x_y": _SCALE_X_Y}
        for layer in layers(architecture) if layer.output in _ANCHORS], "fit": "letterbox"})
