"""From a checked model to a graph for the array, node by node in the order of the model."""

import math
from collections.abc import Callable
from typing import TypeAlias

import numpy as np

from codegen.errors import ModelFileError
from codegen.exact.tables import ELEMENTWISE
from codegen.frontend import bookkeeping, conv, elementwise, movement, parts, pooling, real
from codegen.frontend.array_rules import weights_are_constant
from codegen.frontend.builder import Builder
from codegen.frontend.model import Model, Node
from codegen.frontend.operators import DOMAINS, RULES
from codegen.frontend.rules import (
    input_is_float_or_8_bit,
    input_is_static,
    inputs_are_complete,
    model_is_in_qoperator_form,
    model_is_quantized,
    operator_is_supported,
    output_is_quantized,
    refuse,
    tensors_fit,
)
from codegen.frontend.site import MissingInput, Site
from codegen.frontend.values import Codes, Constant, RealChain, RealInput, Refused, describe
from codegen.ir import Input, Output
from hw.spec.config import MEMORY_BYTES

__all__ = ["TRANSLATIONS", "add_inputs", "add_outputs", "check_form", "translate"]

Translation: TypeAlias = Callable[[Site, Builder], str]


def relu_or_clip(site: Site, build: Builder) -> str:
    """Translate Relu and Clip, which also exist for codes."""
    if isinstance(site.value("x"), Codes):
        codes = {"Relu": elementwise.relu_codes, "Clip": elementwise.clip_codes}[site.node.op]
        return codes(site, build)
    return real.float_operator(site, build)


def constant(site: Site, build: Builder) -> str:
    """Translate Constant."""
    kinds = {"value": None, "value_int": np.int64, "value_ints": np.int64,
             "value_float": np.float32, "value_floats": np.float32}
    given = [(site.node.attributes[name], dtype) for name, dtype in kinds.items() if site.has(name)]
    if len(given) != 1 or given[0][0] is None:
        raise MissingInput(f"attributes {sorted(site.node.attributes)}")
    build.values[site.node.outputs[0]] = Constant(array=np.asarray(*given[0]))
    return "constant"


TRANSLATIONS: dict[str, Translation] = {
    **{op: real.float_operator for op in sorted(ELEMENTWISE)},
    "Clip": relu_or_clip,
    "Concat": movement.concat,
    "Constant": constant,
    "DequantizeLinear": real.dequantize,
    "Flatten": bookkeeping.flatten,
    "Identity": bookkeeping.identity,
    "MaxPool": pooling.max_pool,
    "Pad": movement.pad,
    "QGemm": conv.matrix_product,
    "QLinearAdd": elementwise.qlinear_binary,
    "QLinearAveragePool": pooling.qlinear_average_pool,
    "QLinearConcat": movement.concat,
    "QLinearConv": conv.qlinear_conv,
    "QLinearGlobalAveragePool": pooling.qlinear_global_average_pool,
    "QLinearLeakyRelu": elementwise.qlinear_unary,
    "QLinearMatMul": conv.matrix_product,
    "QLinearMul": elementwise.qlinear_binary,
    "QLinearSigmoid": elementwise.qlinear_unary,
    "QuantizeLinear": real.quantize,
    "Relu": relu_or_clip,
    "Reshape": bookkeeping.reshape,
    "Resize": movement.resize,
    "Slice": parts.slice_,
    "Split": parts.split,
    "Squeeze": bookkeeping.squeeze,
    "Transpose": bookkeeping.transpose,
    "Unsqueeze": bookkeeping.unsqueeze,
}


def check_form(model: Model) -> None:
    """Refuse models that are not quantized, or not in QOperator form."""
    makers = {name: node.op for node in model.nodes for name in node.outputs}
    operators = {node.op for node in model.nodes}
    heavy = ("Conv", "ConvTranspose", "MatMul", "Gemm")
    for node in model.nodes:
        sources = [makers.get(name) for name in node.inputs[:2]]
        if node.op in heavy and sources == ["DequantizeLinear"] * 2:
            refuse(node, model_is_in_qoperator_form, f"{node.op} of two DequantizeLinear")
    is_quantized = any(op.startswith("QLinear") or op in (
        "QuantizeLinear", "DequantizeLinear", "QGemm", "ConvInteger", "MatMulInteger")
        for op in operators)
    # Maxima and data movement of 8-bit inputs need no quantized operator.
    has_codes = any(tensor.element in ("int8", "uint8") for tensor in model.inputs)
    first = next((node for node in model.nodes if node.op in heavy), None)
    if not is_quantized and model.nodes and (first or not has_codes):
        node = first or model.nodes[0]
        refuse(node, model_is_quantized,
               f"a float model: none of its {len(model.nodes)} nodes is quantized")


def add_inputs(build: Builder) -> None:
    """Record the graph inputs."""
    for tensor in build.model.inputs:
        node = Node(name=tensor.name, op="graph input", domain="", inputs=(), outputs=(),
                    attributes={}, proto=None)
        if found := input_is_float_or_8_bit(tensor):
            refuse(node, input_is_float_or_8_bit, found)
        if found := input_is_static(tensor):
            refuse(node, input_is_static, found, hint=(
                "python -m onnxruntime.tools.make_dynamic_shape_fixed --input_name "
                f"{tensor.name} --input_shape {_fixed(tensor.shape)} MODEL.onnx FIXED.onnx"))
        shape = tuple(int(size) for size in tensor.shape or ())
        if min(shape, default=1) < 1 or math.prod(shape) > MEMORY_BYTES:
            refuse(node, tensors_fit, f"shape {list(shape)}")
        for reader in build.consumers.get(tensor.name, ()):
            if build.site(reader, -1).name("w") == tensor.name:
                refuse(reader, weights_are_constant, f"w is the graph input {tensor.name!r}")
        if tensor.element == "float32":
            build.values[tensor.name] = RealInput(name=tensor.name, input_shape=shape, shape=shape)
            continue
        codes = real.quantized_input(build.site(node, -1), build, tensor.name, shape,
                                     unsigned=tensor.element == "uint8")
        build.inputs.append(Input(name=tensor.name, tensor=codes.name, quantize=None))
        build.values[tensor.name] = Codes(tensor=codes)


def translate(build: Builder, node: Node, index: int) -> str:
    """Check one node against its rules, translate it, and say what it becomes.

    Raises
    ------
    UnsupportedModelError
        The node breaks a rule.
    ModelFileError
        The file states another shape or type for a result than the node makes.
    """
    site = build.site(node, index)
    if node.op not in TRANSLATIONS or node.domain not in DOMAINS[node.op]:
        refuse(node, operator_is_supported,
               f"{node.domain}:{node.op}" if node.domain else node.op)
    try:
        for rule in RULES[node.op].rules:
            if found := rule(site):
                refuse(node, rule, found)
        # Scales at the end of float32 overflow here as they do in ONNX Runtime.
        with np.errstate(all="ignore"):
            becomes = TRANSLATIONS[node.op](site, build)
    except MissingInput as error:
        refuse(node, inputs_are_complete, str(error))
    if extra := [name for name in node.outputs if name and name not in build.values]:
        refuse(node, inputs_are_complete, f"outputs {extra}")
    for name in filter(None, node.outputs):
        _check_declaration(build, name)
    return becomes


def _fixed(shape: tuple[int | str, ...] | None) -> str:
    """Return a shape that could stand for a symbolic one: batch 1, other sizes to be filled in."""
    if shape is None:
        return "1,C,H,W"
    return ",".join(str(size) if isinstance(size, int) else "1" if i == 0 else f"<{size}>"
                    for i, size in enumerate(shape))


def add_outputs(build: Builder) -> None:
    """Record the graph outputs."""
    makers = {name: node for node in build.model.nodes for name in node.outputs}
    for output in build.model.outputs:
        value = build.values.get(output.name)
        node = makers.get(output.name) or Node(
            name=output.name, op="graph output", domain="", inputs=(), outputs=(), attributes={},
            proto=None)
        if isinstance(value, Codes):
            build.outputs.append(Output(name=output.name, tensor=value.tensor.name,
                                        dequantize=None))
        elif isinstance(value, RealChain) and len(value.nodes) == 1:
            q = value.quantization
            build.outputs.append(Output(name=output.name, tensor=value.source.name,
                                        dequantize=(q.scale, q.zero_point)))
        elif not isinstance(value, Refused):
            refuse(node, output_is_quantized, f"output {output.name!r} is "
                   f"{'missing' if value is None else describe(value)}")


def _check_declaration(build: Builder, name: str) -> None:
    declared, value = build.model.declared.get(name), build.values.get(name)
    if declared is None or value is None or isinstance(value, Refused):
        return
    if declared.shape is not None and (len(declared.shape) != len(value.shape) or any(
            isinstance(size, int) and size != made
            for size, made in zip(declared.shape, value.shape))):
        raise ModelFileError(f"shape of tensor {name!r} must be {list(value.shape)}, as its node "
                             f"makes it, not {list(declared.shape)}")
    if declared.element not in ("?", "undefined", value.element):
        raise ModelFileError(f"type of tensor {name!r} must be {value.element}, as its node "
                             f"makes it, not {declared.element}")
