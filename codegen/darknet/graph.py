"""From a darknet network and its weights to a float ONNX model."""

import json
from collections.abc import Mapping
from typing import Literal

import numpy as np
import numpy.typing as npt
import onnx
from onnx import helper, numpy_helper

from codegen.darknet.layers import (
    Convolution,
    Layer,
    MaxPool,
    Network,
    Route,
    Shortcut,
    Tensor,
    Upsample,
)
from codegen.darknet.weights import Parameters
from hw.spec.heads import METADATA_KEY

__all__ = ["float_model"]

_LEAKY_SLOPE = 0.1
_OPSET = 13


def float_model(network: Network, parameters: Mapping[str, Parameters], *, name: str,
                fit: Literal["letterbox", "stretch"]) -> onnx.ModelProto:
    """Build the model: input ``images`` float32[1, C, H, W] in 0..1, an output for each head.

    Parameters
    ----------
    parameters : Mapping[str, Parameters]
        For each convolution, by the name of its output.
    name : str
        Of the graph.
    fit : str
        How a picture fills the input; goes into the metadata.
    """
    build = _Graph(parameters)
    for layer in network.layers:
        build.add(layer)
    outputs = {head.output.name: _value(head.output) for head in network.heads}
    graph = helper.make_graph(build.nodes, name, [_value(network.input)], list(outputs.values()),
                              build.constants)
    model: onnx.ModelProto = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", _OPSET)], ir_version=8)
    helper.set_model_props(model, {METADATA_KEY: _heads(network, fit)})
    onnx.checker.check_model(model, full_check=True)
    return model


class _Graph:
    """The nodes and constants made so far."""

    def __init__(self, parameters: Mapping[str, Parameters]) -> None:
        self.parameters = parameters
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []

    def add(self, layer: Layer) -> None:
        """Append what computes a layer."""
        inputs = [x.name for x in layer.inputs]
        y = layer.output.name
        match layer:
            case Convolution():
                own = self.parameters[y]
                self.node("Conv", [*inputs, self.constant(f"{y}.weight", own.weight),
                                   self.constant(f"{y}.bias", own.bias)], y,
                          dilations=[1, 1], group=layer.groups, kernel_shape=[layer.size] * 2,
                          pads=[layer.padding] * 4, strides=layer.strides)
                self.activation(layer, layer.activation)
            case MaxPool():
                self.node("MaxPool", inputs, y, kernel_shape=[layer.size] * 2, pads=layer.pads,
                          strides=layer.strides)
            case Route():
                self.route(layer)
            case Shortcut():
                self.node("Add", inputs, y)
                self.activation(layer, layer.activation)
            case Upsample():
                scales = np.array([1, 1, layer.factor, layer.factor], np.float32)
                self.node("Resize", [*inputs, "", self.constant(f"{y}.scales", scales)], y,
                          mode="nearest", nearest_mode="floor",
                          coordinate_transformation_mode="asymmetric")

    def activation(self, layer: Layer, kind: str) -> None:
        x, n = layer.output.name, layer.section.index
        y = f"{kind}_{n}"
        match kind:
            case "leaky":
                self.node("LeakyRelu", [x], y, alpha=_LEAKY_SLOPE)
            case "relu":
                self.node("Relu", [x], y)
            case "logistic":
                self.node("Sigmoid", [x], y)
            case "swish":
                self.node("Sigmoid", [x], f"logistic_{n}")
                self.node("Mul", [x, f"logistic_{n}"], y)
            case "mish":
                self.node("Softplus", [x], f"softplus_{n}")
                self.node("Tanh", [f"softplus_{n}"], f"tanh_{n}")
                self.node("Mul", [x, f"tanh_{n}"], y)

    def route(self, layer: Route) -> None:
        y = layer.output.name
        parts = []
        for n, x in enumerate(layer.inputs):
            if layer.groups == 1:
                parts.append(x.name)
                continue
            base = y if len(layer.inputs) == 1 else f"{y}_input{n}"
            names = [base if g == layer.group_id else f"{base}_group{g}"
                     for g in range(layer.groups)]
            sizes = np.full(layer.groups, x.channels // layer.groups, np.int64)
            self.node("Split", [x.name, self.constant(f"{base}.split", sizes)], *names, axis=1)
            parts.append(base)
        if len(parts) > 1:
            self.node("Concat", parts, y, axis=1)

    def constant(self, name: str, value: npt.NDArray[np.generic]) -> str:
        self.constants.append(numpy_helper.from_array(value, name))
        return name

    def node(self, op_type: str, inputs: list[str], *outputs: str, **attributes: object) -> None:
        """Append a node; it is named like its result."""
        name = next(y for y in outputs if "_group" not in y)
        self.nodes.append(helper.make_node(op_type, inputs, outputs, name=name, **attributes))


def _value(tensor: Tensor) -> onnx.ValueInfoProto:
    shape = [1, tensor.channels, tensor.height, tensor.width]
    return helper.make_tensor_value_info(tensor.name, onnx.TensorProto.FLOAT, shape)


def _heads(network: Network, fit: str) -> str:
    return json.dumps({"heads": [
        {"output": head.output.name, "stride": head.stride,
         "anchors": [[_plain(side) for side in pair] for pair in head.anchors],
         "classes": head.classes, "scale_x_y": head.scale_x_y} for head in network.heads],
        "fit": fit})


def _plain(number: float) -> int | float:
    """Without ``.0``."""
    return int(number) if number.is_integer() else number
