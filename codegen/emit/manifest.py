"""The manifest: what the image's memory means, in terms of the ONNX model.

Whoever reads tensors out of memory (the verifier, the firmware header generator) needs this and
the image, never the compiler.
"""

import base64
import hashlib
import zlib
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from codegen import ir
from codegen.lowered import Buffer, Instruction, Lowered, View, layer_name
from hw.spec.config import ArrayConfig
from hw.spec.image import FORMAT_VERSION, INTERFACE_VERSION
from hw.spec.isa import Isa, Opcode

__all__ = ["MANIFEST_VERSION", "manifest"]

MANIFEST_VERSION = 1


def manifest(lowered: Lowered, addresses: dict[Buffer, int], config: ArrayConfig,
             program: list[Instruction], *, target: str, image: bytes,
             activation_bytes: int) -> dict[str, Any]:
    """The manifest as JSON values.

    ``tensors`` lists every tensor of the ONNX graph in order. One that is in memory has:

    - ``address``: of its first brick, relative to the activations window;
    - ``layout``: ``"bricks"``: int8[bricks][rows][columns][R], or ``"packed"``:
      int8[rows][pitch], channels interleaved;
    - ``lanes``: runs ``[first channel, first lane, count]``; lane = brick * R + position;
    - ``complete_at``: index of the instruction after which it is complete, in program order; -1
      for an input. Without ``keep_tensors`` later instructions may reuse its memory;
    - ``offset``: what was subtracted from each code to store it (128 for uint8);
    - ``gather``, for bookkeeping aliases: base64 of zlib of int32[size], where each element
      stands in channel-row-column order; absent if in place.

    A layer is a kernel, or a cascade of several. Its ``instructions`` are ``[first, stop]``, from
    behind the last store of the layer before to behind its own: the layers' ranges follow one
    another, and have all instructions but END. Loads that were hoisted are in the range of an
    earlier layer.
    """
    graph = lowered.graph
    last_store = {i.kernel: n for n, i in enumerate(program) if i.opcode == Opcode.STORE}
    written = [(s.buffer, s.brick, s.brick + k.out.bricks, last_store[k.name])
               for k in lowered.kernels for s in k.sinks if s.stored]

    def complete_at(view: View) -> int:
        first, last = view.brick, view.brick + view.layout.bricks
        return max((at for buffer, a, b, at in written
                    if buffer is view.buffer and a < last and first < b), default=-1)
    stops = [max(last_store.get(k.name, -1) for k in group) + 1 for group in lowered.groups]
    return {
        "manifest_version": MANIFEST_VERSION,
        "name": graph.name,
        "target": target,
        "config": {**vars(config)},
        "format_version": FORMAT_VERSION,
        "interface_version": INTERFACE_VERSION,
        "instruction_bytes": Isa(config).instruction_bytes,
        "activation_bytes": activation_bytes,
        "keep_tensors": lowered.keep_tensors,
        "hashes": {"model.onnx": graph.model_sha256,
                   "program.bin": hashlib.sha256(image).hexdigest()},
        "inputs": [{"name": i.name, "tensor": i.tensor, "quantize": _pair(i.quantize)}
                   for i in graph.inputs],
        "outputs": [{"name": o.name, "tensor": o.tensor, "dequantize": _pair(o.dequantize)}
                    for o in graph.outputs],
        "tensors": [_tensor(t, lowered.views.get(name), addresses, config, complete_at)
                    for name, t in graph.tensors.items()
                    if not name.startswith("%") and t.data is None],
        "folded": list(graph.folded),
        "layers": [{"name": layer_name(group), "instructions": [first, stop], "kernels": [
                        {"name": k.name, "kind": k.kind, "fused": list(k.fused),
                         "tensors": [s.tensor for s in k.sinks]} for k in group]}
                   for group, first, stop in zip(lowered.groups, [0, *stops], stops)],
    }


def _pair(parameters: tuple[float, int] | None) -> dict[str, float | int] | None:
    return None if parameters is None else {"scale": float(parameters[0]),
                                            "zero_point": int(parameters[1])}


def _tensor(tensor: ir.Tensor, view: View | None, addresses: dict[Buffer, int],
            config: ArrayConfig, complete_at: Callable[[View], int]) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "name": tensor.name, "shape": list(tensor.shape),
        "dtype": "uint8" if tensor.unsigned else "int8",
        "offset": 128 if tensor.unsigned else 0,
        "scale": tensor.scale,
        "zero_point": None if tensor.zero_point is None
        else tensor.zero_point + (128 if tensor.unsigned else 0),
        "in_memory": view is not None,
    }
    if view is None:
        return entry
    buffer = view.buffer
    pitch = buffer.row_pitch(config)
    entry |= {
        "chw": list(tensor.chw),
        "layout": "packed" if buffer.packed_channels else "bricks",
        "address": addresses[buffer] + view.brick * buffer.rows * pitch,
        "bricks": view.layout.bricks, "rows": buffer.rows, "columns": buffer.columns,
        "pitch": pitch,
        "lanes": lane_runs(view.layout.lanes), "complete_at": complete_at(view),
    }
    if tensor.gather is not None:
        packed = zlib.compress(tensor.gather.astype("<i4").tobytes(), 9)
        entry["gather"] = base64.b64encode(packed).decode()
    return entry


def lane_runs(lanes: npt.NDArray[np.int64]) -> list[list[int]]:
    """Ascending `lanes` as runs of [first channel, first lane, count]."""
    breaks = np.flatnonzero(np.diff(lanes) != 1) + 1
    return [[int(run[0]), int(lanes[run[0]]), len(run)]
            for run in np.split(np.arange(len(lanes)), breaks)]
