"""float32 operators between DequantizeLinear and QuantizeLinear.

Those that networks use most and that are single IEEE operations are computed in NumPy. The others
are run in ONNX Runtime, on these values, and witness nothing: most are whatever polynomial it has.
"""

from collections.abc import Callable

import numpy as np

from sim.integer_ops.call import Call, Tensor
from sim.ort_session import run_node

__all__ = ["BORROWED", "arithmetic", "borrowed", "cast", "clip", "leaky_relu", "relu"]

BORROWED = ("Abs", "Ceil", "Celu", "Elu", "Erf", "Exp", "Floor", "Gelu", "HardSigmoid",
            "HardSwish", "Log", "Max", "Min", "Mish", "Neg", "PRelu", "Pow", "Reciprocal", "Round",
            "Selu", "Sigmoid", "Sign", "Softplus", "Softsign", "Sqrt", "Swish", "Tanh",
            "ThresholdedRelu")
"""Operators whose values come from ONNX Runtime."""


def borrowed(call: Call) -> list[Tensor]:
    """Evaluate a function that is not elementary by running ONNX Runtime on the values."""
    _require_float(call, 0)
    return run_node(call.node, call.inputs, opset=call.opset)


def arithmetic(function: Callable[[Tensor, Tensor], Tensor]) -> Callable[[Call], list[Tensor]]:
    """Return the evaluation of Add, Sub, Mul or Div of float32, which is ``function``."""
    def evaluate(call: Call) -> list[Tensor]:
        _require_float(call, 0)
        _require_float(call, 1)
        return [np.asarray(function(call.tensor(0), call.tensor(1)))]
    return evaluate


def relu(call: Call) -> list[Tensor]:
    """Evaluate Relu of float32, int8 or int32."""
    x = call.tensor(0)
    return [np.maximum(x, x.dtype.type(0))]


def leaky_relu(call: Call) -> list[Tensor]:
    """Evaluate LeakyRelu: ``x`` where it is at least 0, else ``fl(alpha * x)``."""
    x = _require_float(call, 0)
    return [np.where(x >= 0, x, np.float32(call.attribute("alpha", 0.01)) * x)]


def clip(call: Call) -> list[Tensor]:
    """Evaluate Clip, bounds from attributes before operator set 11 and from inputs since."""
    x = call.tensor(0)
    if call.opset < 11:
        low, high = call.attribute("min"), call.attribute("max")
    else:
        low, high = call.optional(1), call.optional(2)
    if low is not None:
        x = np.maximum(x, np.asarray(low, x.dtype))
    return [x if high is None else np.minimum(x, np.asarray(high, x.dtype))]


def cast(call: Call) -> list[Tensor]:
    """Evaluate Cast of int8 or uint8 to float32."""
    x = call.eight_bit(0)
    call.require(int(call.attribute("to")) == 1, "The target type must be float32.",
                 f"type {call.attribute('to')}")
    return [x.astype(np.float32)]


def _require_float(call: Call, index: int) -> Tensor:
    x = call.tensor(index)
    call.require(x.dtype == np.float32, f"Input {index} must be float32.", str(x.dtype))
    return x
