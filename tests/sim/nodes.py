"""Random nodes for tests: one node, its inputs, and both witnesses."""

from typing import Any

import numpy as np
import numpy.typing as npt
import onnx

from sim.integer import MICROSOFT, evaluate_node
from sim.ort_session import run_node

__all__ = ["MICROSOFT", "Array", "agree", "codes", "exact_scales", "node", "scale", "scales",
           "zero"]

Array = npt.NDArray[Any]


def node(op: str, inputs: int, *, outputs: int = 1, domain: str = "",
         **attributes: Any) -> onnx.NodeProto:
    """Make a node with numbered names."""
    return onnx.helper.make_node(op, [f"i{i}" for i in range(inputs)],
                                 [f"o{i}" for i in range(outputs)], op, domain=domain,
                                 **attributes)


def codes(rng: np.random.Generator, dtype: Any, *shape: int) -> Array:
    """Draw 8-bit codes, all equally likely."""
    limits = np.iinfo(dtype)
    return rng.integers(limits.min, limits.max + 1, shape).astype(dtype)


def zero(rng: np.random.Generator, dtype: Any) -> Array:
    """Draw a zero point."""
    return codes(rng, dtype)


def scale(value: float) -> Array:
    """Make a float32 scalar."""
    return np.asarray(value, np.float32)


def scales(rng: np.random.Generator, count: int, *, ties: bool) -> list[Array]:
    """Draw scales: any, or small multiples of a power of two (halves and ties all over)."""
    if ties:
        return [scale(float(value) / 64) for value in rng.integers(1, 9, count)]
    return [scale(value) for value in 2.0 ** rng.uniform(-7, -2, count)]


def exact_scales(rng: np.random.Generator, shift: int) -> tuple[Array, Array, Array]:
    """Draw scales with ``fl(fl(x * w) / y) == 2**-shift``, which makes exact ties.

    Any other order of the three operations is off by an ulp half of the time, and misses them.
    """
    x, w = (np.float32(value) for value in rng.uniform(0.5, 2, 2))
    return scale(x), scale(w), scale((x * w) * np.float32(2.0**shift))


def agree(one: onnx.NodeProto, inputs: list[Array | None], *, opset: int = 13,
          context: object = None) -> list[Array]:
    """Assert that ONNX Runtime and the integer reference give the same tensors."""
    expected = run_node(one, inputs, opset=opset)
    found = evaluate_node(one, inputs, opset=opset)
    assert len(found) == len(expected)
    for want, have in zip(expected, found):
        assert (have.dtype, have.shape) == (want.dtype, want.shape), context
        wrong = np.argwhere(have != want)
        assert not len(wrong), f"{len(wrong)} of {want.size} differ, first {wrong[0]}: {context}"
    return expected
