"""ONNX Runtime with every intermediate tensor exposed: the reference of every comparison."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx

from sim.errors import SimError
from sim.ort_session import session

__all__ = ["Golden", "Input", "read_model"]

_TYPES = {f"tensor({onnx_name})": np.dtype(name) for onnx_name, name in (
    ("float", "float32"), ("double", "float64"), ("float16", "float16"), ("bool", "bool"),
    *((name, name) for name in ("int8", "uint8", "int16", "uint16", "int32", "uint32", "int64",
                                "uint64")))}


@dataclass(frozen=True)
class Input:
    """One input that has to be fed.

    Parameters
    ----------
    name
        As in the graph.
    dtype
        Element type.
    shape
        ``None`` for a dimension that is not fixed.
    """

    name: str
    dtype: "np.dtype[Any]"
    shape: tuple[int | None, ...]


class Golden:
    """A model in ONNX Runtime, all node outputs visible.

    Optimisations are off, so that every node of the file is executed as it stands. That this does
    not change results is a measured property of quantized graphs, see docs/numerics.md.

    Parameters
    ----------
    model : Path, str or onnx.ModelProto
        A model is copied, not changed.
    threads : int
        Threads inside one operator. 1 is what the integer reference is defined against.

    Raises
    ------
    SimError
        The file is not a model, or ONNX Runtime refuses it.
    """

    inputs: tuple[Input, ...]
    """What ``run`` must be fed: graph inputs without initializer, in order."""

    def __init__(self, model: Path | str | onnx.ModelProto, *, threads: int = 1) -> None:
        self.model = read_model(model) if isinstance(model, Path | str) else model
        self.threads = threads
        self._what = f"model {str(model)!r}" if isinstance(model, Path | str) else (
            f"model {str(self.model.graph.name)!r}")
        # Outputs are declared by name alone; ONNX Runtime infers the types, also of its own
        # operators, which onnx.shape_inference does not know.
        exposed = onnx.ModelProto()
        exposed.CopyFrom(self.model)
        declared = {str(item.name) for item in exposed.graph.output}
        self._names = [str(name) for node in exposed.graph.node for name in node.output if name]
        exposed.graph.output.extend(onnx.ValueInfoProto(name=name) for name in self._names
                                    if name not in declared)
        try:
            self._session = session(exposed, threads=threads)
        except Exception as error:  # ONNX Runtime's exceptions have no common base class.
            raise SimError(f"{self._what} must be a model that ONNX Runtime can run; it says: "
                           f"{' '.join(str(error).split())}") from error
        constant = {str(item.name) for item in exposed.graph.initializer}
        self.inputs = tuple(_input(item) for item in self._session.get_inputs()
                            if item.name not in constant)

    def run(self, feeds: Mapping[str, npt.NDArray[Any]]) -> dict[str, npt.NDArray[Any]]:
        """Run the model once.

        Parameters
        ----------
        feeds
            One array for each of ``inputs``, of its type and shape.

        Returns
        -------
        Every fed tensor, then every node output in node order, by name.

        Raises
        ------
        SimError
            A feed is missing, unknown, or of another type or shape.
        """
        self._check(feeds)
        try:
            values = self._session.run(self._names, dict(feeds))
        except Exception as error:  # As above.
            raise SimError(f"{self._what} must run on this input; ONNX Runtime says: "
                           f"{' '.join(str(error).split())}") from error
        return {**{item.name: feeds[item.name] for item in self.inputs},
                **dict(zip(self._names, values))}

    def _check(self, feeds: Mapping[str, npt.NDArray[Any]]) -> None:
        expected = [item.name for item in self.inputs]
        if sorted(feeds) != sorted(expected):
            raise SimError(f"{self._what} must be fed exactly its inputs {expected}, not "
                           f"{sorted(feeds)}.")
        for item in self.inputs:
            value = feeds[item.name]
            fits = len(value.shape) == len(item.shape) and all(
                size is None or size == given for size, given in zip(item.shape, value.shape))
            if value.dtype != item.dtype or not fits:
                raise SimError(f"input {item.name!r} of {self._what} must be {item.dtype}"
                               f"{_brackets(item.shape)}, not {value.dtype}"
                               f"{_brackets(value.shape)}.")


def read_model(path: Path | str) -> onnx.ModelProto:
    """Read an ONNX file, external data included.

    Raises
    ------
    SimError
        The file is missing, truncated or not ONNX.
    """
    try:
        model = onnx.load(path)
    except OSError as error:
        raise SimError(f"model file {str(path)!r} must be readable: {error.strerror or error}."
                       ) from error
    except Exception as error:  # protobuf's and onnx's, which differ between their versions.
        raise SimError(f"file {str(path)!r} must be an ONNX model; it cannot be parsed "
                       f"({' '.join(str(error).split())}). Is it complete?") from error
    if not model.graph.node:
        raise SimError(f"file {str(path)!r} must be an ONNX model with at least one node, not an "
                       "empty graph. Is it complete?")
    return model


def _input(item: Any) -> Input:
    """Describe an input of a session."""
    dtype = _TYPES.get(item.type)
    if dtype is None:
        raise SimError(f"input {item.name!r} must be a tensor of numbers, not {item.type!r}.")
    return Input(str(item.name), dtype,
                 tuple(size if isinstance(size, int) else None for size in item.shape))


def _brackets(shape: tuple[int | None, ...]) -> str:
    return "[" + ", ".join("?" if size is None else str(size) for size in shape) + "]"
