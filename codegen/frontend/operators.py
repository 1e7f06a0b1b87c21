"""The table of supported operators: what each becomes, and its rules."""

from dataclasses import dataclass

from codegen.exact.tables import ELEMENTWISE
from codegen.frontend import array_rules as a, data_rules as d, rules as r
from codegen.frontend.rules import Rule

__all__ = ["COMMON", "DOMAINS", "OpRules", "RULES"]

MICROSOFT = "com.microsoft"

COMMON: tuple[Rule, ...] = (
    r.inputs_are_complete, r.sizes_are_constant, r.quantization_is_constant,
    r.scales_are_positive, r.activations_have_one_scale, r.zero_points_are_8_bit)
"""Rules of every operator; most ask nothing of operators without scales."""


@dataclass(frozen=True, kw_only=True)
class OpRules:
    """An operator in the table.

    Parameters
    ----------
    becomes : str
        What it becomes on the array.
    own : tuple of Rule
        Its rules besides the common ones, in the order in which they are checked.
    judged : tuple of Rule
        Rules that its translation judges.
    """

    becomes: str
    own: tuple[Rule, ...] = ()
    judged: tuple[Rule, ...] = ()

    @property
    def rules(self) -> tuple[Rule, ...]:
        """All rules that are checked before the translation."""
        return (*COMMON, *self.own)


_IMAGE = (r.inputs_are_quantized, a.input_is_image)
_WINDOW = (a.dilations_are_one, a.kernel_is_small, a.pads_are_not_negative, a.window_fits,
           a.strides_are_powers_of_two)
_MATRIX = (r.inputs_are_quantized, a.weights_are_constant, a.weight_scales_are_per_channel,
           a.weight_zero_points_are_equal)
_SUMS = (a.accumulators_fit_int32, a.requantization_is_exact)
_PARTS = (d.input_is_movable, d.slice_is_constant)

RULES: dict[str, OpRules] = {
    "QLinearConv": OpRules(
        becomes="array",
        own=(*_IMAGE, a.weights_are_constant, a.weights_match_input, a.groups_are_none_or_all,
             a.weight_scales_are_per_channel, a.weight_zero_points_are_equal, a.bias_is_int32,
             *_WINDOW),
        judged=_SUMS),
    "QLinearMatMul": OpRules(
        becomes="array", own=_MATRIX, judged=(a.rows_are_pixels, *_SUMS)),
    "QGemm": OpRules(
        becomes="array",
        own=(a.result_is_quantized, a.matrix_is_not_transposed, a.alpha_is_positive, *_MATRIX,
             a.bias_is_int32),
        judged=(a.rows_are_pixels, *_SUMS)),
    "QLinearGlobalAveragePool": OpRules(
        becomes="array", own=(*_IMAGE, r.types_agree, a.channels_come_first), judged=_SUMS),
    "QLinearAveragePool": OpRules(
        becomes="array",
        own=(*_IMAGE, r.types_agree, a.channels_come_first, *_WINDOW,
             a.pads_are_smaller_than_kernel, a.padding_counts),
        judged=_SUMS),
    "MaxPool": OpRules(
        becomes="max pool",
        own=(a.only_values_are_used, *_IMAGE, *_WINDOW, a.pads_are_smaller_than_kernel)),
    "QLinearLeakyRelu": OpRules(
        becomes="table", own=(r.inputs_are_quantized, r.types_agree, a.slope_is_finite)),
    "QLinearSigmoid": OpRules(
        becomes="table", own=(r.inputs_are_quantized, r.types_agree)),
    "QLinearAdd": OpRules(
        becomes="sum", own=(r.inputs_are_quantized_or_constant, r.types_agree),
        judged=(d.shapes_broadcast, a.requantization_is_exact)),
    "QLinearMul": OpRules(
        becomes="product", own=(r.inputs_are_quantized_or_constant, r.types_agree),
        judged=(d.shapes_broadcast, a.requantization_is_exact)),
    "QLinearConcat": OpRules(
        becomes="address arithmetic, with a table for each input of another scale",
        own=(r.inputs_are_quantized_or_constant, r.types_agree),
        judged=(d.joins_channels,)),
    "Concat": OpRules(
        becomes="address arithmetic", own=(r.inputs_are_quantized_or_constant, r.types_agree),
        judged=(d.joins_channels,)),
    "Split": OpRules(
        becomes="address arithmetic", own=_PARTS, judged=(d.slice_is_box,)),
    "Slice": OpRules(
        becomes="address arithmetic; array for a part of the rows or columns", own=_PARTS,
        judged=(d.slice_is_box, d.shape_is_possible)),
    "Pad": OpRules(
        becomes="padding of the convolution behind it; otherwise array",
        own=(*_IMAGE, d.pads_are_constant_mode), judged=(d.pads_are_spatial,)),
    "Resize": OpRules(
        becomes="address arithmetic", own=(d.input_is_movable, a.input_is_image),
        judged=(d.resize_is_nearest_integer,)),
    **{op: OpRules(becomes="address arithmetic", judged=(d.shape_is_possible,))
       for op in ("Reshape", "Flatten", "Squeeze", "Unsqueeze", "Transpose", "Identity")},
    "Constant": OpRules(becomes="constant"),
    "QuantizeLinear": OpRules(
        becomes="host for a graph input, table behind float operators",
        judged=(d.table_is_possible, r.batch_is_one)),
    "DequantizeLinear": OpRules(
        becomes="host for a graph output, table before float operators",
        own=(r.inputs_are_quantized,), judged=(r.output_is_quantized,)),
    **{op: OpRules(becomes="table", own=(d.codes_or_chain,), judged=(d.table_is_possible,))
       for op in ("Relu", "Clip")},
    **{op: OpRules(becomes="table", judged=(d.table_is_possible,))
       for op in sorted(ELEMENTWISE - {"Identity", "Relu", "Clip"})},
}
"""Operators in the order of the manual."""

DOMAINS: dict[str, tuple[str, ...]] = {
    op: (MICROSOFT,) if op.startswith("QLinear") and op not in ("QLinearConv", "QLinearMatMul")
    or op == "QGemm"
    else ("", MICROSOFT) if op in ("QuantizeLinear", "DequantizeLinear") else ("",)
    for op in RULES
}
"""Operator sets in which an operator has this meaning."""
