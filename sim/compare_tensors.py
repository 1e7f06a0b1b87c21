"""Compare what an engine found with ONNX Runtime's tensors, element by element."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from sim.build import BuildFolder
from sim.results import TensorResult

__all__ = ["compare_tensors"]

Array = npt.NDArray[Any]


def compare_tensors(build: BuildFolder, expected: Mapping[str, Array], found: Mapping[str, Array],
                    host: Mapping[str, int], absent: Mapping[str, str]) -> list[TensorResult]:
    """One result for each tensor of the model, in its order.

    Parameters
    ----------
    expected
        ONNX Runtime's values of all tensors.
    found
        The engine's values of those that it left behind.
    host
        Elements in which ONNX Runtime differs from exact integers, by name.
    absent
        Why tensors that the program leaves in memory were not found, if there is a reason.
    """
    return [_compare(name, value, found.get(name), absent.get(name) or _where(build, name),
                     host.get(name, 0)) for name, value in expected.items()]


def _where(build: BuildFolder, name: str) -> str:
    if name in build.manifest["folded"]:
        return "table"
    if name in build.tensors:
        return "memory" if build.tensors[name].in_memory else "fused"
    return "input" if any(i["name"] == name for i in build.manifest["inputs"]) else "host"


def _compare(name: str, expected: Array, found: Array | None, where: str,
             host: int) -> TensorResult:
    shape = tuple(expected.shape)
    if found is None:
        return TensorResult(name, shape, expected.size, None, 0.0, None, where, host)
    differs = expected.reshape(-1) != found.reshape(-1) if shape == found.shape \
        else np.ones(expected.size, bool)
    count = int(np.count_nonzero(differs))
    if not count:
        return TensorResult(name, shape, expected.size, 0, 0.0, None, where, host)
    at = int(np.argmax(differs))
    a, b = (v.reshape(-1).astype(np.float64) for v in (expected, found))
    return TensorResult(
        name, shape, expected.size, count, float(np.abs(a - b).max()),
        (tuple(int(i) for i in np.unravel_index(at, shape)), float(a[at]), float(b[at])), where,
        host)
