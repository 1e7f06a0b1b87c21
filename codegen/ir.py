"""The graph the passes work on: what the array has to compute, in the array's own terms.

Everything here is in the *storage domain*: the array knows signed int8 only, so a uint8 tensor is
stored as ``code - 128`` and its zero point as ``zero_point - 128``. Requantization, tables and
maxima are invariant under that shift. Letters used below: C, H, W: channels, rows, columns;
OC, IC: output and input channels; KH, KW: kernel rows and columns.
"""

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from codegen.exact.requant import Certificate

__all__ = ["Add", "Concat", "Conv", "Graph", "Input", "Int8", "MaxPool", "Mul", "Op", "Output",
           "Resize", "Slice", "Table", "Tensor"]

Int8 = npt.NDArray[np.int8]


@dataclass(frozen=True, kw_only=True, eq=False)
class Tensor:
    """A quantized tensor, known by its ONNX name.

    Parameters
    ----------
    name : str
        ONNX name; hidden tensors of the compiler start with ``"%"``.
    shape : tuple of int
        Shape in the ONNX graph.
    chw : tuple of int
        (C, H, W) in which the array holds it.
    unsigned : bool
        uint8 in the ONNX graph, so stored minus 128.
    scale, zero_point : float, int or None
        Quantization where the graph states it; ``zero_point`` in the storage domain.
    base : str or None
        Set for bookkeeping (Reshape, Flatten, Transpose, ...): the tensor that holds the data.
        An alias has the ``chw`` of its base. Ops never name aliases, only outputs do.
    gather : int64[size] or None
        For element i of this tensor in ONNX order (flat), where it stands in (C, H, W) order of
        the data, flat. None: the same place. Set on tensors with data of their own as well where
        the graph has channels last.
    data : int8[C, H, W] or None
        Storage codes of a constant.
    """

    name: str
    shape: tuple[int, ...]
    chw: tuple[int, int, int]
    unsigned: bool
    scale: float | None = None
    zero_point: int | None = None
    base: str | None = None
    gather: npt.NDArray[np.int64] | None = None
    data: Int8 | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class Op:
    """What all operations have.

    Parameters
    ----------
    name : str
        Name of the ONNX node this came from; messages and reports use it.
    kind : str
        ONNX operator type, for reports; ``"DequantizeLinear..QuantizeLinear"`` for a chain.
    y : str
        Name of the tensor it makes.
    """

    name: str
    kind: str
    y: str


@dataclass(frozen=True, kw_only=True, eq=False)
class Conv(Op):
    """Convolution of raw storage codes, requantized: everything that runs on the array.

    ``acc = bias + sum((x - x_zero_point) * weights)``, then
    :func:`hw.spec.numerics.requantize`. Positions outside the input count as `x_zero_point`.

    Parameters
    ----------
    x : str
    weights : int16[OC, IC, KH, KW], or int16[OC, 1, KH, KW] if depthwise
        Zero point subtracted, so in -255..255. A depthwise OC equals the channels of `x`.
        KH and KW have no bound here (a fully connected layer spans its whole input).
    bias : int64[OC]
        In accumulator units; fits int32.
    strides : (int, int)
        Vertical, horizontal.
    pads : (int, int, int, int)
        Rows and columns added at the top, left, bottom, right. Negative at the top or left
        skips rows or columns (Slice).
    multiplier, shift : int64[OC]
        Scale of each output channel, ``multiplier * 2**-(23 + shift)``.
    y_zero_point : int
        Storage domain.
    odd : int
        0 or 1, see :func:`hw.spec.numerics.requantize`.
    certificate : Certificate or None
        Proof that the requantization equals ONNX Runtime's. None where nothing has to be
        proved: an exact copy (Pad, strided Slice).
    """

    x: str
    weights: npt.NDArray[np.int16]
    bias: npt.NDArray[np.int64]
    depthwise: bool = False
    strides: tuple[int, int] = (1, 1)
    pads: tuple[int, int, int, int] = (0, 0, 0, 0)
    x_zero_point: int
    y_zero_point: int
    multiplier: npt.NDArray[np.int64]
    shift: npt.NDArray[np.int64]
    odd: int = 0
    certificate: Certificate | None


@dataclass(frozen=True, kw_only=True, eq=False)
class Table(Op):
    """Unary map: ``y = table[x & 0xFF]``, elementwise. ``table`` is int8[256]."""

    x: str
    table: Int8


@dataclass(frozen=True, kw_only=True, eq=False)
class MaxPool(Op):
    """Maximum over windows. Positions outside the input do not count."""

    x: str
    kernel: tuple[int, int]
    strides: tuple[int, int]
    pads: tuple[int, int, int, int]


@dataclass(frozen=True, kw_only=True, eq=False)
class Add(Op):
    """``requantize(table_a[a & 0xFF] + table_b[b & 0xFF])``, scale ``2**-shift``, zero point 0.

    ``table_a`` and ``table_b`` are int32[256]. An operand of one row and one column, or of one
    channel, is broadcast.
    """

    a: str
    b: str
    table_a: npt.NDArray[np.int32]
    table_b: npt.NDArray[np.int32]
    shift: int


@dataclass(frozen=True, kw_only=True, eq=False)
class Mul(Op):
    """``requantize((a - a_zero_point) * (b - b_zero_point))``. Broadcast as in :class:`Add`."""

    a: str
    b: str
    a_zero_point: int
    b_zero_point: int
    multiplier: int
    shift: int
    y_zero_point: int
    odd: int


@dataclass(frozen=True, kw_only=True, eq=False)
class Concat(Op):
    """Concatenation along the channels of tensors that already have the output's quantization."""

    xs: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, eq=False)
class Slice(Op):
    """Channels ``start..stop-1`` of `x`."""

    x: str
    start: int
    stop: int


@dataclass(frozen=True, kw_only=True, eq=False)
class Resize(Op):
    """Nearest-neighbour upsampling: ``y[c, i, j] = x[c, i // factors[0], j // factors[1]]``."""

    x: str
    factors: tuple[int, int]


@dataclass(frozen=True, kw_only=True, eq=False)
class Input:
    """A graph input: `tensor` is what the host writes.

    If ``quantize`` is set the ONNX input `name` is float and the host computes QuantizeLinear with
    (scale, zero point in the ONNX domain); otherwise the input is already quantized.
    """

    name: str
    tensor: str
    quantize: tuple[float, int] | None


@dataclass(frozen=True, kw_only=True, eq=False)
class Output:
    """A graph output: `tensor` is what the host reads.

    If ``dequantize`` is set the ONNX output `name` is float and the host computes
    DequantizeLinear with (scale, zero point in the ONNX domain).
    """

    name: str
    tensor: str
    dequantize: tuple[float, int] | None


@dataclass(frozen=True, kw_only=True, eq=False)
class Graph:
    """A network in execution order.

    Parameters
    ----------
    tensors : dict
        Every quantized tensor by name: inputs, constants, results of ops, aliases.
    ops : tuple of Op
        Each op's inputs are made by earlier ops, or are inputs or constants.
    folded : tuple of str
        ONNX names of node outputs that are no tensor here: floats inside a
        DequantizeLinear..QuantizeLinear chain, constants, padding folded into a convolution.
    model_sha256 : str
        Of the model file.
    """

    name: str
    tensors: dict[str, Tensor]
    ops: tuple[Op, ...]
    inputs: tuple[Input, ...]
    outputs: tuple[Output, ...]
    folded: tuple[str, ...] = field(default=())
    model_sha256: str = ""
