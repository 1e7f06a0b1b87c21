"""Run a model with its inner tensors as outputs."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
from onnx import helper

from codegen.errors import QuantizeError

__all__ = ["Taps", "float_tensors"]


class Taps:
    """A session that returns chosen tensors.

    ONNX Runtime runs the graph as it stands, without optimisations. The number of threads does
    not change results: a sum is never divided among them.

    Parameters
    ----------
    model : onnx.ModelProto
        One input.
    names : sequence of str
        Tensors to return.
    """

    def __init__(self, model: onnx.ModelProto, names: Sequence[str]) -> None:
        self.names = tuple(names)
        tapped = onnx.ModelProto()
        tapped.CopyFrom(model)
        tapped.graph.ClearField("output")
        tapped.graph.output.extend(map(helper.make_empty_tensor_value_info, self.names))
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        self._session = onnxruntime.InferenceSession(tapped.SerializeToString(), options,
                                                     providers=["CPUExecutionProvider"])
        self._input = self._session.get_inputs()[0].name

    def run(self, x: npt.NDArray[np.float32]) -> dict[str, npt.NDArray[Any]]:
        """Return the tensors for an input, by name.

        Raises
        ------
        QuantizeError
            ONNX Runtime fails.
        """
        try:
            return dict(zip(self.names, self._session.run(None, {self._input: x})))
        except Exception as error:  # of a dozen types
            reason = " ".join(str(error).split())
            raise QuantizeError(f"ONNX Runtime cannot run the model: {reason[:500]}") from error


def float_tensors(model: onnx.ModelProto) -> tuple[str, ...]:
    """Names of all float32 tensors that nodes make, in their order.

    The model's shapes, and so its types, must have been inferred.
    """
    graph = model.graph
    kinds = {value.name: value.type.tensor_type.elem_type
             for value in (*graph.value_info, *graph.output)}
    return tuple(y for node in graph.node for y in node.output
                 if kinds.get(y) == onnx.TensorProto.FLOAT)
