"""Rules of the operators that slide windows or multiply matrices."""

import math

import numpy as np

from codegen.frontend.geometry import Window, window_of
from codegen.frontend.layout import is_plain
from codegen.frontend.site import Site
from codegen.frontend.values import Codes, Constant, RealChain, describe
from hw.spec.config import MAX_KERNEL

__all__ = [
    "STRIDES", "accumulators_fit_int32", "alpha_is_positive", "bias_is_int32",
    "channels_come_first", "dilations_are_one", "groups_are_none_or_all", "input_is_image",
    "kernel_is_small", "matrix_is_not_transposed", "only_values_are_used", "padding_counts",
    "pads_are_not_negative", "pads_are_smaller_than_kernel", "requantization_is_exact",
    "result_is_quantized", "rows_are_pixels", "slope_is_finite", "strides_are_powers_of_two",
    "weight_scales_are_per_channel", "weight_zero_points_are_equal", "weights_are_constant",
    "weights_match_input", "window_fits",
]

STRIDES = (1, 2, 4)


def input_is_image(site: Site) -> str | None:
    """The input must be [1, C, H, W] and stand in memory in that order.

    A Reshape or Transpose before the node changes the order; remove it or move it to the end.
    """
    value = site.value("x")
    tensor = value.tensor if isinstance(value, Codes) else None
    tensor = value.source if isinstance(value, RealChain) else tensor
    if tensor is not None and not is_plain(tensor):
        return f"shape {list(tensor.shape)} of data that stands as [C, H, W] = {list(tensor.chw)}"
    return None


# Windows


def strides_are_powers_of_two(site: Site) -> str | None:
    """Strides must be 1, 2 or 4."""
    window = _window(site)
    if window.output == (1, 1):
        return None
    return None if set(window.strides) <= set(STRIDES) else f"strides {list(window.strides)}"


def dilations_are_one(site: Site) -> str | None:
    """Dilations must be 1."""
    dilations = site.integers("dilations", (1, 1))
    used = [d for d, k in zip(dilations, _window(site).kernel) if k > 1]
    return None if set(used) <= {1} else f"dilations {list(dilations)}"


def kernel_is_small(site: Site) -> str | None:
    window = _window(site)
    if max(window.kernel) <= MAX_KERNEL or window.is_whole:
        return None
    return f"a kernel of {window.kernel[0]}x{window.kernel[1]}"


kernel_is_small.__doc__ = (
    f"Kernels must have at most {MAX_KERNEL}x{MAX_KERNEL} elements, or be as large as the whole "
    "input.")


def pads_are_not_negative(site: Site) -> str | None:
    """Padding must not be negative."""
    pads = _window(site).pads
    return None if min(pads) >= 0 else f"pads {list(pads)}"


def pads_are_smaller_than_kernel(site: Site) -> str | None:
    """Padding must be smaller than the kernel, so that every window has an element."""
    window = _window(site)
    return None if all(p < k for p, k in zip(window.pads, window.kernel * 2)) else (
        f"pads {list(window.pads)} with a kernel of {window.kernel[0]}x{window.kernel[1]}")


def window_fits(site: Site) -> str | None:
    """The kernel must fit into the padded input."""
    window = _window(site)
    return None if min(window.output) >= 1 else (
        f"a kernel of {window.kernel[0]}x{window.kernel[1]} on {window.size[0]}x{window.size[1]} "
        f"with pads {list(window.pads)}")


# Convolutions and matrix products


def weights_are_constant(site: Site) -> str | None:
    """Weights must be constant, int8 or uint8, [OC, IC, KH, KW], or a matrix in matrix products."""
    value, rank = site.value("w"), 4 if site.node.op == "QLinearConv" else 2
    if not isinstance(value, Constant):
        return f"w is {describe(value)}"
    if value.element not in ("int8", "uint8") or len(value.shape) != rank or not value.array.size:
        return f"w of type {value.element} and shape {list(value.shape)}"
    kernel = site.integers("kernel_shape", value.shape[2:])
    return None if kernel == value.shape[2:] else (
        f"w of shape {list(value.shape)} with kernel_shape {list(kernel)}")


def weights_match_input(site: Site) -> str | None:
    """The weights must have as many input channels as the input."""
    channels, (oc, ic) = site.codes("x").tensor.chw[0], site.array("w").shape[:2]
    group = site.integer("group", 1)
    if group == 1 and ic == channels:
        return None
    return None if group > 1 and ic * group == channels and oc % group == 0 else (
        f"w of shape {list(site.array('w').shape)} and group {group} for {channels} channels")


def groups_are_none_or_all(site: Site) -> str | None:
    """Convolutions must have group 1, or as many groups as input and output channels each
    (depthwise).
    """
    group = site.integer("group", 1)
    channels, outputs = site.codes("x").tensor.chw[0], len(site.array("w"))
    return None if group == 1 or group == channels == outputs else (
        f"group {group} with {channels} input and {outputs} output channels")


def weight_scales_are_per_channel(site: Site) -> str | None:
    """Weights must have one scale, or one for each output channel."""
    channels = _output_channels(site)
    for role in "w_scale", "w_zero_point":
        shape = site.array(role).shape
        if site.array(role).size != 1 and shape not in ((channels,), (1, channels)):
            return f"{role} of shape {list(shape)} for {channels} output channels"
    return None


def weight_zero_points_are_equal(site: Site) -> str | None:
    """All output channels must have the same zero point of weights, as ONNX Runtime wants it."""
    values = np.unique(site.array("w_zero_point"))
    return None if values.size == 1 else f"zero points {values[:4].tolist()}"


def bias_is_int32(site: Site) -> str | None:
    """A bias must be constant, int32, with one element for each output channel."""
    value = site.get("bias")
    if value is None:
        return None
    if not isinstance(value, Constant):
        return f"bias is {describe(value)}"
    channels = _output_channels(site)
    if value.element != "int32":
        return f"bias of type {value.element}"
    if site.node.op == "QGemm" and value.array.size == 1:
        return None
    return None if value.shape in ((channels,), (1, channels)) else (
        f"bias of shape {list(value.shape)} for {channels} output channels")


def accumulators_fit_int32(site: Site) -> str | None:
    """No sum of products may leave int32, whatever the input."""


def requantization_is_exact(site: Site) -> str | None:
    """The result must be proved equal to ONNX Runtime's for every input."""


def rows_are_pixels(site: Site) -> str | None:
    """The input of a matrix product must be rows of channels, or a flattened image in one row."""


def matrix_is_not_transposed(site: Site) -> str | None:
    """The first matrix must not be transposed."""
    return f"transA {site.integer('transA', 0)}" if site.integer("transA", 0) else None


def alpha_is_positive(site: Site) -> str | None:
    """The factor alpha must be finite and positive."""
    alpha = site.real("alpha", 1.0)
    return None if math.isfinite(alpha) and alpha > 0 else f"alpha {alpha!r}"


def slope_is_finite(site: Site) -> str | None:
    """The slope alpha must be finite."""
    alpha = site.real("alpha", 0.01)
    return None if math.isfinite(alpha) else f"alpha {alpha!r}"


def result_is_quantized(site: Site) -> str | None:
    """The result must be quantized: y_scale and y_zero_point must be given."""
    missing = [role for role in ("y_scale", "y_zero_point") if site.get(role) is None]
    return f"no {' and no '.join(missing)}" if missing else None


# Pooling


def only_values_are_used(site: Site) -> str | None:
    """Only the values of a maximum can be used, not their indices."""
    return None if len([o for o in site.node.outputs if o]) == 1 else "a second output"


def channels_come_first(site: Site) -> str | None:
    """The channels must come first (channels_last = 0)."""
    found = site.integer("channels_last", 0)
    return f"channels_last {found}" if found else None


def padding_counts(site: Site) -> str | None:
    """Averages must divide by the same number everywhere: no padding, or count_include_pad = 1 and
    ceil_mode = 0.
    """
    window = _window(site)
    if not any(window.pads):
        return None
    include, ceil = site.integer("count_include_pad", 0), site.integer("ceil_mode", 0)
    return None if include and not ceil else (
        f"pads {list(window.pads)} with count_include_pad {include} and ceil_mode {ceil}")


def _output_channels(site: Site) -> int:
    w = site.array("w")
    if site.node.op == "QLinearConv":
        return int(w.shape[0])
    return int(w.shape[0 if site.integer("transB", 0) else 1])


def _window(site: Site) -> Window:
    value = site.value("x")
    assert isinstance(value, Codes), "rules about the input come first"
    _, rows, columns = value.tensor.chw
    if site.node.op == "QLinearConv":
        kh, kw = site.array("w").shape[2:]
        return window_of(site, (rows, columns), (kh, kw))
    return window_of(site, (rows, columns))
