"""From a float model and the ranges of its tensors to a quantized model, by ONNX Runtime's tool."""

import json
import logging
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import onnx
from onnxruntime.quantization import CalibrationMethod, QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.quant_utils import add_pre_process_metadata

from codegen.errors import QuantizeError
from codegen.quantize.floors import Overrides, weight_floors

__all__ = ["Ranges", "Variant", "quantize"]

Ranges = Mapping[str, tuple[float, float]]
"""Smallest and largest value of tensors, by name; both fit float32 exactly."""


@dataclass(frozen=True, kw_only=True)
class Variant:
    """A way to quantize; activations are asymmetric, weights symmetric, both 8 bits wide.

    Parameters
    ----------
    per_channel : bool
        One weight scale for each output channel instead of one for each convolution.
    unsigned_activations, unsigned_weights : bool
        uint8 instead of int8. The zero point of unsigned weights is 128.
    """

    per_channel: bool = False
    unsigned_activations: bool = False
    unsigned_weights: bool = False


def quantize(model: onnx.ModelProto, ranges: Ranges, *, variant: Variant) -> onnx.ModelProto:
    """Quantize to QOperator form; input and outputs stay float32.

    What ONNX Runtime's ``quantize_static`` makes, except for channels that hardly depend on
    their input; see `weight_floors`.

    The result has no names of programs, versions or stale shapes in it, so equal arguments
    give equal bytes, at least with one release of onnx and onnxruntime. The metadata of the
    model is kept.

    Parameters
    ----------
    model : onnx.ModelProto
        Float model; not changed.
    ranges : Ranges
        Of every activation. Tensors that only move values need none.
    variant : Variant
        Types and granularity.

    Raises
    ------
    QuantizeError
        ONNX Runtime cannot quantize the model.
    """
    result = _quantize_static(model, ranges, variant, {})
    if floors := weight_floors(result):
        result = _quantize_static(model, ranges, variant, floors)
    for field in "producer_name", "producer_version", "metadata_props", "doc_string":
        result.ClearField(field)
    result.metadata_props.extend(sorted(model.metadata_props, key=lambda entry: entry.key))
    result.graph.ClearField("value_info")  # of the float tensors, which are gone
    onnx.checker.check_model(result)
    return result


def _quantize_static(model: onnx.ModelProto, ranges: Ranges, variant: Variant,
                     overrides: Overrides) -> onnx.ModelProto:
    with tempfile.TemporaryDirectory(prefix="codegen-quantize-") as name:
        directory = Path(name)
        # Ranges go in as a calibration cache: the tool then has no need to run the float model.
        cache = directory / "ranges.json"
        cache.write_text(json.dumps(_calibration_cache(ranges)))
        prepared = onnx.ModelProto()
        prepared.CopyFrom(model)
        add_pre_process_metadata(prepared)  # else the tool warns that it was not pre-processed
        onnx.save(prepared, directory / "float.onnx")
        try:
            with _silent_root_logger():
                quantize_static(
                    directory / "float.onnx", directory / "quantized.onnx",
                    quant_format=QuantFormat.QOperator, calibrate_method=CalibrationMethod.MinMax,
                    calibration_cache_path=cache, per_channel=variant.per_channel,
                    activation_type=_type(variant.unsigned_activations),
                    weight_type=_type(variant.unsigned_weights),
                    extra_options={"ActivationSymmetric": False, "WeightSymmetric": True,
                                   "TensorQuantOverrides": overrides})
        except Exception as error:  # of many types
            reason = " ".join(str(error).split())
            raise QuantizeError(f"ONNX Runtime cannot quantize the model: {reason[:500]}"
                                ) from error
        result: onnx.ModelProto = onnx.load(directory / "quantized.onnx")
    return result


def _type(unsigned: bool) -> object:
    return QuantType.QUInt8 if unsigned else QuantType.QInt8


@contextmanager
def _silent_root_logger() -> Iterator[None]:
    """Drop what is logged to the root logger itself: advice that QDQ is faster on x86.

    ``logging.warning`` also installs a handler for good if there is none; the null handler
    keeps it from that.
    """
    root, handler = logging.getLogger(), logging.NullHandler()

    def drop(record: logging.LogRecord) -> bool:
        return False

    root.addHandler(handler)
    root.addFilter(drop)
    try:
        yield
    finally:
        root.removeFilter(drop)
        root.removeHandler(handler)


def _calibration_cache(ranges: Ranges) -> dict[str, object]:
    """Content of the file that ``onnxruntime.quantization.calibrate.load_tensors_data`` reads.

    Ranges count as those of MinMax calibration, whichever method found them: the quantizer uses
    their ends and nothing else.
    """
    data = {name: {"CLS": "TensorData", "lowest": low, "highest": high}
            for name, (low, high) in ranges.items()}
    method = {"CLS": "CalibrationMethod", "value": str(CalibrationMethod.MinMax)}
    return {"CLS": "TensorsData", "calibration_method": method, "data": data,
            "smooth_quant": False}
