"""Is this host's ONNX Runtime a valid reference? Node by node, and in advance.

ONNX Runtime chooses its kernels by the processor. Some add products in 16 bits that saturate, so
the same model gives other codes on another machine. Each node is therefore recomputed exactly
from ONNX Runtime's *own* inputs of that node: no error propagates, a difference blames one node.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx

from sim.integer import MICROSOFT, constants, default_opset, evaluate_node, node_name
from sim.ort_session import run_node

__all__ = ["CASES", "Canary", "NodeCheck", "canary", "check_nodes"]

CASES = ("s8s8", "u8s8", "u8u8", "add")
"""What ``canary`` probes: types of activations and weights of products, and QLinearAdd."""

_TYPES = {"s8": np.dtype(np.int8), "u8": np.dtype(np.uint8)}
_OPSET = 13


@dataclass(frozen=True)
class NodeCheck:
    """One output of one node, ONNX Runtime against the integer reference.

    Parameters
    ----------
    node, op, output
        Name of the node (of its first output if it has none), operator, name of the output.
    elements
        How many were compared.
    differing
        How many differ; all of them if type or shape differ.
    max_abs_diff
        Largest difference, in codes for integers; infinite if type or shape differ.
    """

    node: str
    op: str
    output: str
    elements: int
    differing: int
    max_abs_diff: float


def check_nodes(model: onnx.ModelProto, tensors: Mapping[str, npt.NDArray[Any]], *,
                only: Collection[str] | None = None, threads: int = 1) -> list[NodeCheck]:
    """Recompute each node from the tensors that ONNX Runtime gave it, and compare.

    Parameters
    ----------
    model
        The model that ``tensors`` come from.
    tensors
        Result of ``sim.golden.Golden.run``.
    only
        Names of nodes to check; all if left out.
    threads
        Nodes checked at the same time. Does not change the result.

    Returns
    -------
    One entry for each output of each node, in node order. ``differing != 0`` means that this
    host's ONNX Runtime left the exact integer result.

    Raises
    ------
    SimError
        A node has no exact evaluation; leave it out with ``only``.
    """
    fixed, opset = constants(model.graph), default_opset(model)

    def check(node: onnx.NodeProto) -> list[NodeCheck]:
        inputs = [None if not name else fixed[name] if name in fixed else tensors[name]
                  for name in map(str, node.input)]
        return [_compare(node, str(name), value, tensors[str(name)])
                for name, value in zip(node.output, evaluate_node(node, inputs, opset=opset))
                if name]

    nodes = [node for node in model.graph.node if only is None or node_name(node) in only]
    with ThreadPoolExecutor(threads) as pool:
        return [result for results in pool.map(check, nodes) for result in results]


def _compare(node: onnx.NodeProto, output: str, exact: npt.NDArray[Any],
             found: npt.NDArray[Any]) -> NodeCheck:
    """Compare one tensor, float32 with NaN equal to NaN."""
    if exact.dtype != found.dtype or exact.shape != found.shape:
        return NodeCheck(node_name(node), str(node.op_type), output, found.size,
                         max(found.size, 1), np.inf)
    unequal = exact != found
    if exact.dtype.kind == "f":
        unequal &= ~(np.isnan(exact) & np.isnan(found))
    count = int(np.count_nonzero(unequal))
    largest = 0.0
    if count:
        largest = float(np.abs(exact[unequal].astype(np.float64)
                               - found[unequal].astype(np.float64)).max())
    return NodeCheck(node_name(node), str(node.op_type), output, found.size, count, largest)


@dataclass(frozen=True)
class Canary:
    """Result of probing one case.

    Parameters
    ----------
    case
        One of ``CASES``.
    elements, differing
        Codes compared, and how many of them differ.
    """

    case: str
    elements: int
    differing: int


def canary(cases: Sequence[str] = CASES, *,
           entries: Mapping[str, str] | None = None) -> list[Canary]:
    """Probe this host's kernels with small nodes that provoke every known fault; below a second.

    Convolutions and matrix products of largest codes and of random ones, several sizes, for each
    combination of types; and sums next to ties, where QLinearAdd depends on how the kernel rounds.

    Parameters
    ----------
    cases
        Which of ``CASES`` to probe.
    entries
        Session configuration entries, such as ``{"session.x64quantprecision": "1"}``.
    """
    results = []
    for case in cases:
        elements = differing = 0
        for node, inputs in _sums() if case == "add" else _products(case):
            found = run_node(node, inputs, opset=_OPSET, entries=entries)[0]
            exact = evaluate_node(node, inputs, opset=_OPSET)[0]
            elements += found.size
            differing += int(np.count_nonzero(found != exact))
        results.append(Canary(case, elements, differing))
    return results


def _products(case: str) -> Iterator[tuple[onnx.NodeProto, list[npt.NDArray[Any]]]]:
    """Yield convolutions and matrix products of one combination of types."""
    x_type, w_type = _TYPES[case[:2]], _TYPES[case[2:]]
    lowest, highest = np.iinfo(x_type).min, np.iinfo(x_type).max
    w_zero = 0 if w_type == np.int8 else 128
    # Input channels, output channels, kernel, size; then rows, columns, depth.
    convs = ((4, 16, 1, 40), (16, 64, 3, 9), (64, 48, 3, 13), (13, 17, 3, 9))
    products = ((1, 48, 256), (33, 17, 100), (64, 64, 64))
    rng = np.random.default_rng(2024)
    for extreme in (True, False):
        def draw(shape: tuple[int, ...], low: int, high: int,
                 extreme: bool = extreme) -> npt.NDArray[Any]:
            return np.full(shape, high) if extreme else rng.integers(low, high + 1, shape)

        def parameters(terms: int, extreme: bool = extreme) -> list[npt.NDArray[Any]]:
            # The results spread over the codes: the largest sum is 100, or the deviation 30.
            scale = 100 / (terms * 255 * 127) if extreme else 30 / (terms**0.5 * 148 * 73)
            return [np.asarray(scale, np.float32), np.asarray(w_zero, w_type),
                    np.asarray(1, np.float32), np.asarray((lowest + highest + 1) // 2, x_type)]

        one, x_zero = np.asarray(1, np.float32), np.asarray(lowest, x_type)
        for channels, outputs, kernel, size in convs:
            x = draw((1, channels, size, size), lowest, highest).astype(x_type)
            w = (draw((outputs, channels, kernel, kernel), -127, 127) + w_zero).astype(w_type)
            node = _node("QLinearConv", 8, pads=[kernel // 2] * 4)
            yield node, [x, one, x_zero, w, *parameters(channels * kernel * kernel)]
        for rows, columns, depth in products:
            a = draw((rows, depth), lowest, highest).astype(x_type)
            b = (draw((depth, columns), -127, 127) + w_zero).astype(w_type)
            yield _node("QLinearMatMul", 8), [a, one, x_zero, b, *parameters(depth)]


def _sums() -> Iterator[tuple[onnx.NodeProto, list[npt.NDArray[Any]]]]:
    """Yield additions of all pairs of codes, with scales that make many ties."""
    rng = np.random.default_rng(2024)
    node = _node("QLinearAdd", 8, domain=MICROSOFT)
    codes = np.arange(256, dtype=np.uint8)
    a, b = np.repeat(codes, 256), np.tile(codes, 256)
    for dtype in (np.int8, np.uint8) * 4:
        limits = np.iinfo(dtype)
        # Sixths are not floats: float32 noise alone decides to which side each tie goes.
        scales = rng.integers(1, 12, 3) / (6, 6, 1) / 16
        s_a, s_b, s_c = (np.asarray(value, np.float32) for value in scales)
        z_a, z_b, z_c = (np.asarray(value, dtype)
                         for value in rng.integers(limits.min, limits.max + 1, 3))
        yield node, [a.view(dtype), s_a, z_a, b.view(dtype), s_b, z_b, s_c, z_c]


def _node(op: str, inputs: int, **attributes: Any) -> onnx.NodeProto:
    return onnx.helper.make_node(op, [f"i{i}" for i in range(inputs)], ["o"], **attributes)
