"""Running single nodes in ONNX Runtime at compile time.

Where a table cannot be computed from a published formula (a polynomial inside a kernel), it is
read from the reference itself.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime as ort
from onnx import TensorProto, helper, numpy_helper

__all__ = ["all_codes", "run_nodes", "to_storage"]

Array = npt.NDArray[np.generic]

_IR_VERSION = 8
_ELEMENT_TYPES = {"int8": TensorProto.INT8, "uint8": TensorProto.UINT8}


def all_codes(*, unsigned: bool) -> Array:
    """Return all 256 ONNX codes in table order, as int8[256] or uint8[256].

    Entry i is the code whose storage byte (``code`` or ``code - 128``, two's complement) is i.
    """
    codes = np.arange(256, dtype=np.uint8)
    return codes ^ np.uint8(0x80) if unsigned else codes.view(np.int8)


def to_storage(codes: Array) -> npt.NDArray[np.int8]:
    """Turn uint8 or int8 ONNX codes into int8 storage codes of the same shape."""
    if codes.dtype == np.uint8:
        return (codes.view(np.uint8) ^ np.uint8(0x80)).view(np.int8)
    if codes.dtype != np.int8:
        raise TypeError(f"codes must be int8 or uint8, not {codes.dtype}")
    return np.asarray(codes, np.int8)


def run_nodes(
    nodes: Sequence[onnx.NodeProto],
    feeds: Sequence[Mapping[str, Array]],
    output: str,
    *,
    initializers: Mapping[str, Array] | None = None,
    opset: int = 13,
) -> list[Array]:
    """Evaluate a few nodes in ONNX Runtime, one thread, graph optimizations off.

    Parameters
    ----------
    nodes
        In topological order.
    feeds
        Inputs (int8 or uint8) by name, for one run each. Ranks and types are the same in all.
    output
        Name of the tensor to return.
    initializers
        Constants by name.
    opset
        Of the ONNX domain. The domain of Microsoft's operators is at version 1.

    Returns
    -------
    `output` of each run.
    """
    inputs = [
        helper.make_tensor_value_info(
            name, _ELEMENT_TYPES[str(value.dtype)], [None] * value.ndim
        )
        for name, value in feeds[0].items()
    ]
    constants = [numpy_helper.from_array(np.asarray(v), k) for k, v in (initializers or {}).items()]
    graph = helper.make_graph(
        list(nodes), "reference", inputs, [onnx.ValueInfoProto(name=output)], constants
    )
    model = helper.make_model(
        graph,
        ir_version=_IR_VERSION,
        opset_imports=[helper.make_opsetid("", opset), helper.make_opsetid("com.microsoft", 1)],
    )
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    session = ort.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    return [np.asarray(session.run([output], dict(feed))[0]) for feed in feeds]
