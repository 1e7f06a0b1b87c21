"""From a file to a :class:`codegen.frontend.model.Model`. The file is untrusted."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import onnx
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
from onnx import AttributeProto, TensorProto

from codegen.errors import ModelFileError
from codegen.frontend.model import Array, Attribute, Model, Node, TensorType
from codegen.frontend.tensor_data import (
    MAX_BYTES,
    element_name,
    inline_external_data,
    text,
    to_array,
)

__all__ = ["MAX_IR_VERSION", "MAX_OPSET", "MIN_OPSET", "load_model", "model_bytes"]

MIN_OPSET = 10
"""QLinearConv came with it."""

MAX_OPSET = 26
"""The newest that ONNX Runtime 1.31.1 runs."""

MAX_IR_VERSION = 13
"""The newest that ONNX Runtime 1.31.1 reads."""

_ONNX_DOMAINS = ("", "ai.onnx")


def load_model(path: Path) -> Model:
    """Read and check a model file.

    Raises
    ------
    ModelFileError
        The file cannot be read, or is not a well-formed ONNX model with all of its data. The
        message is one paragraph.
    """
    with _naming(path):
        content, proto = _read(path)
        return _load(content, proto)


def model_bytes(path: Path) -> bytes:
    """Return a model that needs no other file: the file itself, or with external data inside.

    Raises
    ------
    ModelFileError
        The file cannot be read, or is not an ONNX model with all of its data.
    """
    with _naming(path):
        return _read(path)[0]


@contextmanager
def _naming(path: Path) -> Iterator[None]:
    """Begin every message with the file."""
    try:
        yield
    except ModelFileError as error:
        raise ModelFileError(f"model file {str(path)!r}: {error}") from error
    except (OSError, ValueError) as error:  # ValueError: a path with a null byte
        raise ModelFileError(f"model file {str(path)!r} cannot be read: {error}") from error


def _read(path: Path) -> tuple[bytes, Any]:
    """Return a model with external data inside, as bytes and as a message."""
    if path.is_dir():
        raise ModelFileError("must be a file, not a directory")
    if not path.exists():
        raise ModelFileError("does not exist")
    if not path.is_file():
        raise ModelFileError("must be a regular file, not a device or pipe")
    size = path.stat().st_size
    if size == 0:
        raise ModelFileError("must be an ONNX model, not empty")
    if size > MAX_BYTES:
        raise ModelFileError(f"must have at most {MAX_BYTES} bytes, not {size}")
    content = path.read_bytes()
    try:
        proto = onnx.ModelProto.FromString(content)
    except DecodeError as error:
        raise ModelFileError(f"not an ONNX model, or truncated: its {len(content)} bytes are not "
                             "a protobuf message") from error
    if not proto.HasField("graph") or not proto.ir_version:
        raise ModelFileError("not an ONNX model: it has no graph or no IR version")
    if inline_external_data(proto, path.parent):
        if proto.ByteSize() > MAX_BYTES:
            raise ModelFileError(f"must have at most {MAX_BYTES} bytes with its external data, "
                                 f"not {proto.ByteSize()}")
        content = proto.SerializeToString(deterministic=True)
    return content, proto


def _load(content: bytes, proto: Any) -> Model:
    opset = _check_versions(proto)
    graph = proto.graph
    if len(graph.sparse_initializer):
        raise ModelFileError("initializers must be dense, not sparse "
                             f"({len(graph.sparse_initializer)} are)")
    constants: dict[str, Array] = {}
    for tensor in graph.initializer:
        constants[text(tensor.name)] = to_array(tensor)
    nodes = tuple(_node(node) for node in graph.node)
    _check_format(proto)
    inputs = tuple(_tensor_type(value) for value in graph.input)
    outputs = tuple(_tensor_type(value) for value in graph.output)
    declared = {t.name: t for t in map(_tensor_type, (*graph.value_info, *graph.output))}
    for name in (*constants, *declared, *(t.name for t in inputs),
                 *(name for node in nodes for name in node.outputs)):
        if name.startswith("%"):
            raise ModelFileError("tensor names must not begin with '%', which marks tensors of "
                                 f"the compiler, not be {name!r}")
    made = [*(t.name for t in inputs if t.name not in constants), *constants,
            *(name for node in nodes for name in node.outputs if name)]
    if len(set(made)) != len(made):
        twice = next(name for i, name in enumerate(made) if name in made[:i])
        raise ModelFileError(f"tensors must be made once, not {twice!r} twice")
    return Model(
        name=text(graph.name), sha256=hashlib.sha256(content).hexdigest(), opset=opset,
        nodes=nodes, inputs=tuple(t for t in inputs if t.name not in constants), outputs=outputs,
        constants=constants, declared=declared)


def _check_versions(proto: Any) -> int:
    """Check the versions the file states and return that of the ONNX operator set."""
    if not 3 <= proto.ir_version <= MAX_IR_VERSION:
        raise ModelFileError(f"IR version must be 3..{MAX_IR_VERSION}, not {proto.ir_version}")
    versions = {text(entry.domain): entry.version for entry in proto.opset_import}
    found = [versions[domain] for domain in _ONNX_DOMAINS if domain in versions]
    if not found:
        raise ModelFileError("the model must import the ONNX operator set, "
                             f"not only {sorted(versions)!r}")
    if not MIN_OPSET <= found[0] <= MAX_OPSET:
        raise ModelFileError(f"ONNX operator set must be {MIN_OPSET}..{MAX_OPSET}, not {found[0]}; "
                             "onnx.version_converter.convert_version changes it")
    return int(found[0])


def _check_format(proto: Any) -> None:
    """Run onnx.checker on everything but the data of initializers, which was checked already."""
    skeleton = onnx.ModelProto()
    skeleton.CopyFrom(proto)
    for tensor in skeleton.graph.initializer:
        # Their data would have to be inside the message, wherever the file has it.
        name = tensor.name
        tensor.Clear()
        tensor.name, tensor.data_type = name, TensorProto.FLOAT
        tensor.dims.append(0)
    for value in (*skeleton.graph.input, *skeleton.graph.output):
        # ONNX Runtime does not insist on a shape; what it is, the rules and the nodes say.
        if value.type.HasField("tensor_type"):
            value.type.tensor_type.shape.SetInParent()
    try:
        onnx.checker.check_model(skeleton.SerializeToString())
    except Exception as error:  # the checker's own, but also UnicodeDecodeError of its messages
        reason = " ".join(str(error).split())
        raise ModelFileError(f"onnx.checker refuses it: {reason[:500]}") from error


def _node(proto: Any) -> Node:
    outputs = tuple(text(name) for name in proto.output)
    domain = text(proto.domain)
    return Node(
        name=text(proto.name) or next(filter(None, outputs), "unnamed"), op=text(proto.op_type),
        domain="" if domain in _ONNX_DOMAINS else domain,
        inputs=tuple(text(name) for name in proto.input), outputs=outputs,
        attributes={text(a.name): _attribute(a) for a in proto.attribute}, proto=proto)


def _attribute(proto: Any) -> Attribute:
    match proto.type:
        case AttributeProto.INT:
            return int(proto.i)
        case AttributeProto.FLOAT:
            return float(proto.f)
        case AttributeProto.STRING:
            return bytes(proto.s).decode("utf-8", "replace")
        case AttributeProto.INTS:
            return tuple(proto.ints)
        case AttributeProto.FLOATS:
            return tuple(proto.floats)
        case AttributeProto.STRINGS:
            return tuple(bytes(s).decode("utf-8", "replace") for s in proto.strings)
        case AttributeProto.TENSOR:
            return to_array(proto.t)
    return None


def _tensor_type(proto: Any) -> TensorType:
    name = text(proto.name)
    kind = proto.type.WhichOneof("value")
    if kind != "tensor_type":
        return TensorType(name=name, element=kind or "?", shape=None)
    tensor = proto.type.tensor_type
    shape: tuple[int | str, ...] | None = None
    if tensor.HasField("shape"):
        shape = tuple(int(d.dim_value) if d.HasField("dim_value") else text(d.dim_param) or "?"
                      for d in tensor.shape.dim)
    return TensorType(name=name, element=element_name(tensor.elem_type), shape=shape)
