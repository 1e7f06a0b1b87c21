"""Resize to the nearest element, with the float32 coordinates of ONNX Runtime.

Ref: onnxruntime/core/providers/cpu/tensor/upsamplebase.h, GetOriginalCoordinateFunc and
GetNearestPixelFunc.
"""

import numpy as np

from sim.integer_ops.call import Call, Tensor

__all__ = ["resize"]

F32 = np.float32


def resize(call: Call) -> list[Tensor]:
    """Evaluate Resize in mode ``nearest``, by scales or sizes, operator set 11 and later."""
    x = call.tensor(0)
    mode = call.attribute("mode", "nearest")
    call.require(mode == "nearest" and call.opset >= 11,
                 "The mode must be 'nearest', the operator set at least 11.",
                 f"mode {mode!r}, operator set {call.opset}")
    for name in ("axes", "keep_aspect_ratio_policy"):
        call.require(call.attribute(name) in (None, "stretch"),
                     f"Attribute {name} must not be used.", f"{call.attribute(name)}")
    scales, sizes = call.optional(2), call.optional(3)
    if sizes is not None and sizes.size:
        targets = call.integers(3)
        factors = [F32(out) / F32(size) for out, size in zip(targets, x.shape)]
    else:
        factors = [F32(value) for value in call.tensor(2).reshape(-1)] if scales is not None else []
        targets = [int(np.floor(F32(size) * factor)) for size, factor in zip(x.shape, factors)]
    call.require(len(targets) == x.ndim, "There must be one scale or size per dimension.",
                 f"{len(targets)} for {x.ndim} dimensions")
    for axis, (target, factor) in enumerate(zip(targets, factors)):
        if target != x.shape[axis] or factor != 1:
            x = np.take(x, _sources(call, x.shape[axis], target, factor), axis=axis)
    return [x]


def _sources(call: Call, size: int, target: int, factor: np.float32) -> Tensor:
    """Which of ``size`` inputs each of ``target`` outputs copies."""
    at = np.arange(target, dtype=F32)
    transform = call.attribute("coordinate_transformation_mode", "half_pixel")
    if transform == "asymmetric":
        at = at / factor
    elif transform == "pytorch_half_pixel" and target == 1:
        at = at * F32(0)
    elif transform in ("half_pixel", "pytorch_half_pixel"):
        at = (at + F32(0.5)) / factor - F32(0.5)
    elif transform == "align_corners":
        at = at * F32(size - 1) / F32(max(target - 1, 1))
    else:
        raise call.refuse("The coordinate transformation must be asymmetric, half_pixel, "
                          "pytorch_half_pixel or align_corners.", repr(transform))
    wide = at.astype(np.float64)
    rounded = {"round_prefer_floor": np.ceil(wide - 0.5), "round_prefer_ceil": np.floor(wide + 0.5),
               "floor": np.floor(wide), "ceil": np.ceil(wide)}
    nearest = call.attribute("nearest_mode", "round_prefer_floor")
    call.require(nearest in rounded, "The nearest mode must be known.", repr(nearest))
    return np.clip(rounded[nearest], 0, size - 1).astype(np.int64)
