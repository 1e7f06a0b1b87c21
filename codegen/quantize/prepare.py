"""Read a float model and bring it into the form that is calibrated and quantized."""

import json
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import onnx
import onnxruntime

from codegen.errors import ModelFileError
from codegen.frontend.load import load_model, model_bytes
from codegen.frontend.model import Model
from hw.spec.heads import METADATA_KEY
from sim.pictures.fit import Fit

__all__ = ["FloatModel", "prepare"]

_OPSET = 13
"""The least that is quantized; older models are converted. Integer MaxPool came with 12, weight
scales per channel with 13."""


@dataclass(frozen=True, kw_only=True)
class FloatModel:
    """A float model, ready for calibration.

    Parameters
    ----------
    proto : onnx.ModelProto
        Batch normalization and other constants are folded; all shapes are known.
    input : str
        Name of its only input.
    shape : tuple of int
        (1, 3, H, W) or (1, 1, H, W).
    fit : Fit
        How a picture fills the input, by the model's metadata; "letterbox" if they do not say.
    """

    proto: onnx.ModelProto
    input: str
    shape: tuple[int, ...]
    fit: Fit


def prepare(path: Path) -> FloatModel:
    """Read a model, check it, and fold what is constant.

    Raises
    ------
    ModelFileError
        The file cannot be read, the model is quantized already, takes other inputs than one
        picture of fixed size, or cannot be run by ONNX Runtime.
    """
    model = load_model(path)
    for node in model.nodes:
        if node.op.startswith("QLinear") or node.op.endswith(("QuantizeLinear", "Integer")):
            raise _error(path, f"must be a float model, but its node {node.name!r} is "
                               f"{node.op}: it is quantized already. `python -m codegen build` "
                               "takes it as it is")
    shape = _shape(model, path)
    proto = onnx.ModelProto.FromString(model_bytes(path))
    # Constants that old exporters list as inputs too could be replaced, and so were not folded.
    pictures = [x for x in proto.graph.input if x.name == model.inputs[0].name]
    proto.graph.ClearField("input")
    proto.graph.input.extend(pictures)
    try:
        if model.opset < _OPSET:
            proto = onnx.version_converter.convert_version(proto, _OPSET)
        folded = _fold(proto)
    except Exception as error:  # ONNX's converter and ONNX Runtime have no common type
        reason = " ".join(str(error).split())
        raise _error(path, f"ONNX Runtime cannot run it: {reason[:500]}") from error
    return FloatModel(proto=folded, input=model.inputs[0].name, shape=shape,
                      fit=_fit(folded, path))


def _shape(model: Model, path: Path) -> tuple[int, ...]:
    """Check the input and return its shape."""
    if len(model.inputs) != 1 or model.inputs[0].element != "float32":
        found = ", ".join(f"{x.name!r} of {x.element}" for x in model.inputs)
        raise _error(path, f"must have one input, of float32, not {found or 'none'}")
    name, shape = model.inputs[0].name, model.inputs[0].shape or ()
    fixed = tuple(size for size in shape if isinstance(size, int) and size > 0)
    if len(fixed) != 4 or fixed != shape or fixed[0] != 1 or fixed[1] not in (1, 3):
        raise _error(path, f"input {name!r} must have a fixed shape of [1, 3, H, W] or "
                           f"[1, 1, H, W], not {list(shape)}; to fix the size: python -m "
                           "onnxruntime.tools.make_dynamic_shape_fixed --input_name "
                           f"{name} --input_shape 1,3,416,416 {path.name} FIXED.onnx")
    return fixed


def _fold(proto: onnx.ModelProto) -> onnx.ModelProto:
    """Let ONNX Runtime fold constants and batch normalization, then infer shapes."""
    with tempfile.TemporaryDirectory(prefix="codegen-quantize-") as name:
        source, target = Path(name) / "float.onnx", Path(name) / "folded.onnx"
        onnx.save(proto, source)
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        options.optimized_model_filepath = str(target)
        # Basic: nothing that depends on the processor, no operators of ONNX Runtime's own.
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
        onnxruntime.InferenceSession(str(source), options, providers=["CPUExecutionProvider"])
        folded: onnx.ModelProto = onnx.load(target)
    used = {node.domain for node in folded.graph.node} | {""}
    versions = [entry for entry in folded.opset_import if entry.domain in used]
    folded.ClearField("opset_import")  # ONNX Runtime adds all that it knows
    folded.opset_import.extend(versions)
    folded.ClearField("metadata_props")
    folded.metadata_props.extend(proto.metadata_props)
    return cast(onnx.ModelProto, onnx.shape_inference.infer_shapes(folded, strict_mode=True))


def _fit(proto: onnx.ModelProto, path: Path) -> Fit:
    text = next((item.value for item in proto.metadata_props if item.key == METADATA_KEY), "{}")
    try:
        fit = json.loads(text).get("fit", "letterbox")
    except (ValueError, AttributeError) as error:
        raise _error(path, f"metadata {METADATA_KEY!r} must be a JSON object, "
                           f"not {text[:80]!r}") from error
    if fit not in ("letterbox", "stretch"):
        raise _error(path, f"metadata {METADATA_KEY!r} must have \"letterbox\" or \"stretch\" as "
                           f"\"fit\", not {fit!r}")
    return cast(Fit, fit)


def _error(path: Path, text: str) -> ModelFileError:
    return ModelFileError(f"model file {str(path)!r}: {text}")
