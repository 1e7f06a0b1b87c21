"""An ONNX model as plain data: what is left of the file once it has been read and checked.

Nothing behind this point touches protobuf, except for float operators that are evaluated by
ONNX Runtime and therefore keep their original form.
"""

from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

__all__ = ["Array", "Attribute", "Model", "Node", "TensorType"]

Array: TypeAlias = npt.NDArray[Any]

Attribute: TypeAlias = (int | float | str | tuple[int, ...] | tuple[float, ...] | tuple[str, ...]
                        | npt.NDArray[np.generic] | None)
"""Value of an attribute; None for the kinds that no supported operator has."""


@dataclass(frozen=True, kw_only=True)
class TensorType:
    """What the file says about a tensor.

    Parameters
    ----------
    name : str
    element : str
        Like NumPy's names: ``"float32"``, ``"int8"``; otherwise what ONNX calls it.
    shape : tuple of (int or str), or None
        A str is the name of a symbolic dimension, ``"?"`` one that has none. None: not stated.
    """

    name: str
    element: str
    shape: tuple[int | str, ...] | None


@dataclass(frozen=True, kw_only=True, eq=False)
class Node:
    """An ONNX node.

    Parameters
    ----------
    name : str
        Its own name, or that of its first output if it has none.
    op, domain : str
        Operator type and the set it is from; ``""`` is ONNX's own set.
    inputs, outputs : tuple of str
        Names of tensors; ``""`` for an optional one that is left out.
    attributes : dict
    proto : onnx.NodeProto
        The original.
    """

    name: str
    op: str
    domain: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: dict[str, Attribute]
    proto: Any


@dataclass(frozen=True, kw_only=True, eq=False)
class Model:
    """A model that was read, is well-formed, and holds all of its data.

    Parameters
    ----------
    name : str
        Of the graph.
    sha256 : str
        Of :func:`codegen.frontend.load.model_bytes`, hexadecimal.
    opset : int
        Version of ONNX's own operator set.
    nodes : tuple of Node
        Topologically ordered.
    inputs, outputs : tuple of TensorType
        Of the graph; `inputs` without those that are constants.
    constants : dict of str to array
        Initializers.
    declared : dict of str to TensorType
        What the file says about tensors inside the graph and about its outputs.
    """

    name: str
    sha256: str
    opset: int
    nodes: tuple[Node, ...]
    inputs: tuple[TensorType, ...]
    outputs: tuple[TensorType, ...]
    constants: dict[str, Array]
    declared: dict[str, TensorType]
