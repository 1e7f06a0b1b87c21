"""ONNX Runtime as the references use it: CPU, no optimisations, silent.

Separate because the exact options are part of what "equal to ONNX Runtime" means.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime as ort

__all__ = ["run_node", "session"]

IR_VERSION = 10


def session(model: onnx.ModelProto, *, threads: int = 1,
            entries: Mapping[str, str] | None = None) -> Any:
    """Open ``model`` in ONNX Runtime.

    Parameters
    ----------
    model
        The model, at most 2 GB.
    threads
        Threads inside one operator. 1 also fixes how rows are split between kernels.
    entries
        Session configuration entries, such as ``{"session.x64quantprecision": "1"}``.

    Returns
    -------
    An ``onnxruntime.InferenceSession``.
    """
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 4
    for key, value in (entries or {}).items():
        options.add_session_config_entry(key, value)
    return ort.InferenceSession(model.SerializeToString(), options,
                                providers=["CPUExecutionProvider"])


def run_node(node: onnx.NodeProto, inputs: Sequence[npt.NDArray[Any] | None], *, opset: int,
             entries: Mapping[str, str] | None = None) -> list[npt.NDArray[Any]]:
    """Run one node alone, its first input fed and all others constant.

    Parameters
    ----------
    node
        Copied; its names are replaced, so one tensor may stand in two inputs.
    inputs
        One entry for each input, ``None`` for one left out.
    opset
        Version of the default domain.
    entries
        Session configuration entries, as in ``session``.

    Returns
    -------
    All outputs, in order.
    """
    copy = onnx.NodeProto()
    copy.CopyFrom(node)
    del copy.input[:], copy.output[:]
    copy.input.extend("" if value is None else f"i{i}" for i, value in enumerate(inputs))
    copy.output.extend(f"o{i}" for i in range(len(node.output)))
    first = inputs[0]
    assert first is not None, "the first input of a node is never optional here"
    constants = [onnx.numpy_helper.from_array(np.ascontiguousarray(value).reshape(value.shape),
                                              f"i{i}")
                 for i, value in enumerate(inputs) if i > 0 and value is not None]
    graph = onnx.helper.make_graph(
        [copy], "one_node",
        [onnx.helper.make_tensor_value_info(
            "i0", onnx.helper.np_dtype_to_tensor_dtype(first.dtype), first.shape)],
        [onnx.ValueInfoProto(name=name) for name in copy.output], constants)
    model = onnx.helper.make_model(graph, ir_version=IR_VERSION, opset_imports=[
        onnx.helper.make_opsetid("", opset), onnx.helper.make_opsetid("com.microsoft", 1)])
    return list(session(model, entries=entries).run(None, {"i0": first}))
