"""Integer arithmetic of the accelerator, bit for bit.

The contract between compiler, simulator and gateware. Everything is written with operators only,
without a decision on a value, so that every function takes Python integers and, element by
element, NumPy ``int64`` arrays (broadcast against each other) alike. Integers come back as
``int``, arrays as ``int64`` arrays. Narrower array types would overflow and must not be used.

Activations are signed 8 bit. A ``uint8`` tensor is stored as ``code - 128`` with the zero point
``zero_point - 128``; no function here can tell the difference.

Ref: docs/numerics.md; ONNX Runtime 1.31.1, mlas/lib/quantize.cpp, MlasRequantizeOutput.
"""

from typing import Any, TypeAlias

__all__ = [
    "ACC_SATURATION_LOG2",
    "FRACTION_BITS",
    "INT32_MAX",
    "INT32_MIN",
    "Integers",
    "MULTIPLIER_BITS",
    "MULTIPLIER_ONE",
    "QMAX",
    "QMIN",
    "SHIFT_BITS",
    "STORAGE_OFFSET",
    "add_front",
    "mul_front",
    "requantize",
    "wrap32",
]

Integers: TypeAlias = Any
"""``int`` or a NumPy ``int64`` array; this module does not know NumPy."""

QMIN = -128
QMAX = 127
INT32_MIN = -(1 << 31)
INT32_MAX = (1 << 31) - 1

STORAGE_OFFSET = 128
"""A ``uint8`` code and its zero point minus this are the stored code and zero point."""

MULTIPLIER_BITS = 24
"""Width of a multiplier, unsigned: the significand of a normal float32."""

MULTIPLIER_ONE = 1 << (MULTIPLIER_BITS - 1)
"""The smallest normalised multiplier. With it the scale is exactly ``2**-shift``."""

SHIFT_BITS = 5
"""Width of a shift, unsigned: 0..31."""

ACC_SATURATION_LOG2 = 24
"""Magnitudes of accumulators saturate at two to this; it is the last exact integer of float32."""

FRACTION_BITS = 25
"""Fraction bits kept by the shifter, below which all others are gathered in one sticky bit."""


def wrap32(x: Integers) -> Integers:
    """Reduce an integer to 32 bits, two's complement, as the accumulators do.

    Returns
    -------
    ``-2**31 .. 2**31 - 1``, congruent to ``x`` modulo ``2**32``.
    """
    return ((x - INT32_MIN) & 0xFFFF_FFFF) + INT32_MIN


def requantize(
    acc: Integers,
    *,
    multiplier: Integers,
    shift: Integers,
    zero_point: Integers,
    odd: Integers = 0,
) -> Integers:
    """Scale an accumulator to a stored code, rounding as float32 arithmetic does.

    For a normalised multiplier, ``scale = multiplier * 2**-(23 + shift)`` is a normal float32 and,
    if ``scale >= 2**-16`` or ``|acc| <= 2**24``, the result is exactly ::

        clamp(zero_point + rint(float32(acc) * scale), -128, 127)

    with a float32 product and ``rint`` rounding half to even. With ``multiplier == 2**23`` and
    ``|acc| <= 2**24`` that is ``acc * 2**-shift``, rounded half to even.

    Other multipliers, zero included, are defined by the steps below. For every choice of
    parameters the result is a non-decreasing function of ``acc``.

    Parameters
    ----------
    acc
        int32, bias included.
    multiplier
        uint24. 0, or normalised to ``2**23 .. 2**24 - 1``, unless a proof says otherwise.
    shift
        ``0..31``.
    zero_point
        int8, of the stored code.
    odd
        0 or 1. 1 sends products next to a tie to the odd neighbour: what the operators need that
        add an odd zero point before they round.

    Returns
    -------
    ``-128..127``.

    Notes
    -----
    Bit level; widths are sufficient and all values but ``acc``, ``d`` and the last are unsigned:

    ====  ==============================================================  ==============
    step  value                                                           width
    ====  ==============================================================  ==============
    1     ``a = min(|acc|, 2**24)``                                       25
    2     ``p = a * multiplier``, at most ``2**48``                       49
    3     ``f = (p << 2) >> shift``: 25 fraction bits;                    51
          ``sticky`` = OR of all bits shifted out                         1
    4     ``k = f >> 25``, saturated to 256;                              9
          ``fr = {f[24:0], sticky}``, unit ``2**-26``                     26
    5     ``L`` = number of bits of ``k`` (0 for 0);                      4
          ``h = 2**(L + 1)``: half a float32 ulp at ``k + 1/2``,          10
          same unit
    6     ``d = fr - 2**25``: signed distance from the tie                27, signed
    7     ``up = d >= -h`` if ``k`` is odd, XOR ``odd``; else ``d > h``   1
    8     ``q = k + up``                                                  9
    9     ``y = (acc < 0 ? -q : q) + zero_point``, clamped to int8        11, signed
    ====  ==============================================================  ==============

    A product that lies within ``h`` of a tie is what float32 rounds *onto* the tie (the interval
    is closed because the significand of ``k + 1/2`` is even); the tie then goes to the even
    neighbour. Below 1/2 the float32 ulp is smaller than ``h`` says, but both neighbours of that
    tie zone give 0. A saturated ``k`` (256) clamps for every int8 zero point, so ``h`` does not
    matter there.
    """
    # 1, 2: magnitude and product.
    a = _minimum(abs(acc), 1 << ACC_SATURATION_LOG2)
    p = a * multiplier
    # 3: fixed point, and whether anything was lost below it.
    wide = p << (FRACTION_BITS - MULTIPLIER_BITS + 1)
    f = wide >> shift
    sticky = (f << shift) != wide
    # 4: integer part and fraction.
    k = _minimum(f >> FRACTION_BITS, QMAX - QMIN + 1)
    fr = ((f & ((1 << FRACTION_BITS) - 1)) << 1) | sticky
    # 5: all bits of k below its first one, then twice the next power of two.
    ones = k | (k >> 1)
    ones = ones | (ones >> 2)
    ones = ones | (ones >> 4)
    h = (ones + 1) << 1
    # 6, 7: "d >= -h" is "d > h - (2 * h + 1)".
    d = fr - (1 << FRACTION_BITS)
    toward_up = (k ^ odd) & 1
    up = d > h - toward_up * (2 * h + 1)
    # 8, 9: round, sign, zero point, clamp.
    q = k + up
    y = q * (1 - 2 * (acc < 0)) + zero_point
    return _maximum(_minimum(y, QMAX), QMIN)


def add_front(a_code: Integers, b_code: Integers, table_a: Any, table_b: Any) -> Integers:
    """Look up and add two stored codes: what an element-wise sum hands to the requantizer.

    The sum itself is ``requantize(..., multiplier=2**23, shift=..., zero_point=0)``.

    Parameters
    ----------
    a_code, b_code
        int8.
    table_a, table_b
        int32[256] each (list or array), indexed by the raw byte of the code. Entries stay below
        ``2**23`` in magnitude, so that no sum saturates.
    """
    return table_a[a_code & 0xFF] + table_b[b_code & 0xFF]


def mul_front(
    a: Integers, b: Integers, zero_point_a: Integers, zero_point_b: Integers
) -> Integers:
    """Multiply two stored codes: what an element-wise product hands to the requantizer.

    All arguments are int8; the result needs 17 bits and a sign (``-65025..65025``).
    """
    return (a - zero_point_a) * (b - zero_point_b)


def _minimum(x: Integers, y: Integers) -> Integers:
    return x - (x - y) * (x > y)


def _maximum(x: Integers, y: Integers) -> Integers:
    return x + (y - x) * (y > x)
