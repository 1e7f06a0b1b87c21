"""Convolutions and matrix products: sums of products, requantized."""

import math

import numpy as np
import numpy.typing as npt

from codegen.exact.requant import (
    Certificate,
    ProofError,
    ScaleError,
    accumulator_bounds,
    certify,
    conv_scale,
)
from codegen.frontend.array_rules import (
    accumulators_fit_int32,
    requantization_is_exact,
    rows_are_pixels,
)
from codegen.frontend.builder import Builder
from codegen.frontend.geometry import Window, window_of
from codegen.frontend.layout import normalized
from codegen.frontend.rules import refuse
from codegen.frontend.site import Site
from codegen.frontend.values import Codes
from codegen.ir import Conv, Tensor
from hw.spec.numerics import INT32_MAX, INT32_MIN, MULTIPLIER_ONE

__all__ = ["average_window", "copy_window", "matrix_product", "qlinear_conv"]

Int16 = npt.NDArray[np.int16]
Int64 = npt.NDArray[np.int64]


def qlinear_conv(site: Site, build: Builder) -> str:
    """Translate QLinearConv."""
    x, weights = site.codes("x").tensor, _weights(site)
    kernel = (weights.shape[2], weights.shape[3])
    window = window_of(site, x.chw[1:], kernel)
    # A Pad before it that is only padding here, see codegen.frontend.movement.pad.
    border = build.borders.get(site.node.inputs[0])
    if border is not None:
        x, more = border
        window = window.padded(more)
    channels = len(weights)
    y = build.tensor(site, site.node.outputs[0], (1, channels, *window.output),
                     unsigned=site.element("y") == "uint8", quantization=site.quantization("y"))
    group = site.integer("group", 1)
    _emit(site, build, x=x, y=y, weights=weights, depthwise=group > 1, window=window)
    build.values[y.name] = Codes(tensor=y)
    return "array"


def matrix_product(site: Site, build: Builder) -> str:
    """Translate QLinearMatMul and QGemm: rows of the first matrix are pixels.

    A single row may also be an image in any order: the product then is a convolution with a
    kernel as large as the image.
    """
    x, matrix = site.codes("x").tensor, _weights(site)
    if not site.integer("transB", 0):
        matrix = matrix.T
    columns, depth = matrix.shape  # N, K
    leading = x.shape[:-1]
    rows = math.prod(leading)  # M
    if not x.shape or x.shape[-1] != depth:
        refuse(site.node, rows_are_pixels,
               f"shape {list(x.shape)} with weights of {depth} input channels")
    c, h, w = x.chw
    order = np.arange(c * h * w) if x.gather is None else x.gather
    if rows == 1:
        weights = np.empty_like(matrix)
        weights[:, order] = matrix
        weights, chw = weights.reshape(columns, c, h, w), (columns, 1, 1)
    elif c == depth and np.array_equal(order.reshape(rows, depth).T.reshape(-1),
                                       np.arange(order.size)):
        weights, chw = matrix.reshape(columns, depth, 1, 1), (columns, h, w)
    else:
        refuse(site.node, rows_are_pixels,
               f"shape {list(x.shape)} of data that stands as [C, H, W] = {list(x.chw)}")
    gather = normalized(np.arange(columns * rows).reshape(columns, rows).T)
    y = build.tensor(site, site.node.outputs[0], (*leading, columns),
                     unsigned=site.element("y") == "uint8", quantization=site.quantization("y"),
                     layout=(chw, gather))
    window = Window(size=(h, w), kernel=weights.shape[2:], strides=(1, 1), pads=(0, 0, 0, 0))
    _emit(site, build, x=x, y=y, weights=weights, depthwise=False, window=window)
    build.values[y.name] = Codes(tensor=y)
    return "array"


def copy_window(site: Site, build: Builder, *, x: Tensor, y: Tensor, window: Window,
                zero_point: int = 0) -> None:
    """Emit a convolution that copies: a strided part of `x`, or `x` inside a border.

    ``(x - z) * 1 + z`` is `x` for every zero point z, which is also what the border gets.
    """
    channels = x.chw[0]
    build.emit(Conv(
        name=site.node.name, kind=site.node.op, y=y.name, x=x.base or x.name,
        weights=np.ones((channels, 1, 1, 1), np.int16), bias=np.zeros(channels, np.int64),
        depthwise=True, strides=window.strides, pads=window.pads, x_zero_point=zero_point,
        y_zero_point=zero_point, multiplier=np.full(channels, MULTIPLIER_ONE, np.int64),
        shift=np.zeros(channels, np.int64), certificate=None))


def average_window(site: Site, build: Builder, *, x: Tensor, y: Tensor, window: Window,
                   certificate: Certificate) -> None:
    """Emit a depthwise convolution with ones: sums of windows, requantized."""
    channels = x.chw[0]
    proof = certificate.broadcast(channels)
    build.emit(Conv(
        name=site.node.name, kind=site.node.op, y=y.name, x=x.base or x.name,
        weights=np.ones((channels, 1, *window.kernel), np.int16),
        bias=np.zeros(channels, np.int64), depthwise=True,
        strides=window.strides if window.output != (1, 1) else (1, 1), pads=window.pads,
        x_zero_point=site.quantization("x").stored_zero_point,
        y_zero_point=site.quantization("y").stored_zero_point, multiplier=proof.multiplier,
        shift=proof.shift, odd=proof.odd, certificate=proof))


def _weights(site: Site) -> Int16:
    """Return the weights without their zero point: int16, shaped as in ONNX."""
    zero_point = int(site.array("w_zero_point").reshape(-1)[0])
    return site.array("w").astype(np.int16) - np.int16(zero_point)


def _emit(site: Site, build: Builder, *, x: Tensor, y: Tensor, weights: Int16, depthwise: bool,
          window: Window) -> None:
    """Emit a convolution and prove its requantization."""
    channels = len(weights)
    bias = np.zeros(channels, np.int64)
    if site.get("bias") is not None:
        bias = np.array(np.broadcast_to(site.array("bias").reshape(-1), channels), np.int64)
    x_zero_point = site.quantization("x").stored_zero_point
    y_zero_point = site.quantization("y").stored_zero_point
    bounds = accumulator_bounds(weights, bias, x_zero_point)
    if not bounds.fits_int32:
        channel = int(np.argmax((bounds.partial_lo < INT32_MIN) | (bounds.partial_hi > INT32_MAX)))
        refuse(site.node, accumulators_fit_int32,
               f"output channel {channel} reaches "
               f"{bounds.partial_lo[channel]}..{bounds.partial_hi[channel]}")
    x_scale = np.float32(site.quantization("x").scale)
    if site.has("alpha"):
        x_scale = np.float32(site.real("alpha", 1.0)) * x_scale
    w_scale = np.broadcast_to(site.array("w_scale").reshape(-1), channels)
    try:
        certificate = certify(conv_scale(x_scale, w_scale, site.quantization("y").scale),
                              y_zero_point, bounds.lo, bounds.hi)
    except (ScaleError, ProofError) as error:
        refuse(site.node, requantization_is_exact, str(error))
    build.emit(Conv(
        name=site.node.name, kind=site.node.op, y=y.name, x=x.base or x.name, weights=weights,
        bias=bias, depthwise=depthwise,
        strides=window.strides if window.output != (1, 1) else (1, 1), pads=window.pads,
        x_zero_point=x_zero_point, y_zero_point=y_zero_point, multiplier=certificate.multiplier,
        shift=certificate.shift, odd=certificate.odd, certificate=certificate))
