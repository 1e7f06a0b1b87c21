"""Constant tensors of a model file as arrays, without trusting the file.

A declared shape is compared with the bytes that are there before anything is allocated, and
external data is read only from regular files in the folder of the model.
"""

import math
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

import numpy as np
from onnx import TensorProto, numpy_helper

from codegen.errors import ModelFileError
from codegen.frontend.model import Array

__all__ = ["MAX_BYTES", "element_name", "inline_external_data", "text", "to_array"]

MAX_BYTES = 2**31 - 1
"""Of a model, external data included; protobuf's own limit for a message."""

# Where the elements are, if not in raw_data.
_FIELDS = {
    TensorProto.FLOAT: "float_data", TensorProto.DOUBLE: "double_data",
    TensorProto.INT8: "int32_data", TensorProto.UINT8: "int32_data",
    TensorProto.INT16: "int32_data", TensorProto.UINT16: "int32_data",
    TensorProto.INT32: "int32_data", TensorProto.INT64: "int64_data",
    TensorProto.UINT32: "uint64_data", TensorProto.UINT64: "uint64_data",
    TensorProto.BOOL: "int32_data", TensorProto.FLOAT16: "int32_data",
}

_DTYPES: dict[int, np.dtype[Any]] = {
    TensorProto.FLOAT: np.dtype(np.float32), TensorProto.DOUBLE: np.dtype(np.float64),
    TensorProto.INT8: np.dtype(np.int8), TensorProto.UINT8: np.dtype(np.uint8),
    TensorProto.INT16: np.dtype(np.int16), TensorProto.UINT16: np.dtype(np.uint16),
    TensorProto.INT32: np.dtype(np.int32), TensorProto.INT64: np.dtype(np.int64),
    TensorProto.UINT32: np.dtype(np.uint32), TensorProto.UINT64: np.dtype(np.uint64),
    TensorProto.BOOL: np.dtype(np.bool_), TensorProto.FLOAT16: np.dtype(np.float16),
}


def text(value: str | bytes) -> str:
    """Return a string of the file, which is bytes if it is not UTF-8."""
    if isinstance(value, bytes):
        raise ModelFileError(f"names must be UTF-8, not {value[:40]!r}")
    return value


def element_name(element: int) -> str:
    """Return the name of an element type: NumPy's, or ONNX's in lower case."""
    if element in _DTYPES:
        return _DTYPES[element].name
    try:
        return str(TensorProto.DataType.Name(element)).lower()
    except ValueError:
        return f"type {element}"


def inline_external_data(proto: Any, folder: Path) -> bool:
    """Move external data of initializers and Constant nodes into the model.

    Parameters
    ----------
    proto : onnx.ModelProto
        Changed in place.
    folder : Path
        Of the model file.

    Returns
    -------
    Whether there was any.

    Raises
    ------
    ModelFileError
        The data is not completely in regular files inside `folder`.
    """
    tensors = [*proto.graph.initializer,
               *(a.t for node in proto.graph.node for a in node.attribute if a.HasField("t"))]
    external = [t for t in tensors if t.data_location == TensorProto.EXTERNAL]
    left = MAX_BYTES
    for tensor in external:
        size_bytes = _declared_bytes(tensor)
        if size_bytes > left:
            raise ModelFileError(f"external data must have at most {MAX_BYTES} bytes in total")
        left -= size_bytes
        tensor.raw_data = _read_external(tensor, size_bytes, folder)
        tensor.ClearField("external_data")
        tensor.ClearField("data_location")
    return bool(external)


def to_array(tensor: Any) -> Array:
    """Return the elements of a tensor, which are inside the model.

    Raises
    ------
    ModelFileError
        The data is not what the shape and the type declare.
    """
    name, dims = text(tensor.name), tuple(tensor.dims)
    size_bytes = _declared_bytes(tensor)
    dtype = _DTYPES[tensor.data_type]
    if tensor.HasField("raw_data"):
        if len(tensor.raw_data) != size_bytes:
            raise ModelFileError(f"tensor {name!r} must have {size_bytes} bytes for its shape "
                                 f"{list(dims)}, not {len(tensor.raw_data)}")
        raw = np.frombuffer(tensor.raw_data, dtype.newbyteorder("<"))
        return raw.astype(dtype, copy=False).reshape(dims)
    count = len(getattr(tensor, _FIELDS[tensor.data_type]))
    if count != math.prod(dims):
        raise ModelFileError(f"tensor {name!r} must have {math.prod(dims)} elements for its shape "
                             f"{list(dims)}, not {count}")
    try:
        return np.asarray(numpy_helper.to_array(tensor))
    except (ValueError, OverflowError) as error:
        raise ModelFileError(f"elements of tensor {name!r} must be {dtype}; {error}") from error


def _declared_bytes(tensor: Any) -> int:
    """Return the size that type and shape of a tensor promise, which is not yet to be believed."""
    name, dims = text(tensor.name), tuple(tensor.dims)
    if tensor.data_type not in _DTYPES:
        raise ModelFileError(f"elements of tensor {name!r} must be integers or floats, "
                             f"not {element_name(tensor.data_type)}")
    if min(dims, default=0) < 0:
        raise ModelFileError(f"dimensions of tensor {name!r} must not be negative, "
                             f"not {list(dims)}")
    size_bytes = math.prod(dims) * _DTYPES[tensor.data_type].itemsize
    if size_bytes > MAX_BYTES:
        raise ModelFileError(f"tensor {name!r} must have at most {MAX_BYTES} bytes, "
                             f"not the {size_bytes} of its shape {list(dims)}")
    return int(size_bytes)


def _read_external(tensor: Any, size_bytes: int, folder: Path) -> bytes:
    what = f"external data of tensor {text(tensor.name)!r}"
    entry = {text(e.key): text(e.value) for e in tensor.external_data}
    location = entry.get("location", "")
    if (not location or "\0" in location or PureWindowsPath(location).is_absolute()
            or PurePosixPath(location).is_absolute()
            or ".." in PureWindowsPath(location).parts):
        raise ModelFileError(f"{what} must be a file in the model's folder, not {location!r}")
    try:
        folder, path = folder.resolve(), (folder / location).resolve()
        if not path.is_relative_to(folder):
            raise ModelFileError(f"{what} must be a file in the model's folder, not {location!r}, "
                                 f"a link to {str(path)!r}")
        if not path.is_file():
            raise ModelFileError(f"{what} must be a file, but {location!r} is none in "
                                 f"{str(folder)!r}")
        offset = _number(entry.get("offset", "0"), f"offset of {what}")
        length = _number(entry.get("length", str(size_bytes)), f"length of {what}")
        if length != size_bytes:
            raise ModelFileError(f"{what} must have {size_bytes} bytes, not {length}")
        available = path.stat().st_size
        if offset + length > available:
            raise ModelFileError(f"{what} must end inside {location!r}, which has {available} "
                                 f"bytes, not at byte {offset + length}")
        with path.open("rb") as file:
            file.seek(offset)
            return file.read(length)
    except (OSError, RuntimeError) as error:  # RuntimeError: a circle of links
        raise ModelFileError(f"{what} cannot be read: {error}") from error


def _number(value: str, what: str) -> int:
    if not (value.isascii() and value.isdigit() and len(value) < 20):
        raise ModelFileError(f"{what} must be a number, not {value!r}")
    return int(value)
