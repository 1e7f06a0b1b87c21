/* hw.spec.numerics.requantize, step by step; the numbers are those of its docstring. */
#ifndef REQUANTIZE_H
#define REQUANTIZE_H

#include "macrame_isa.h"

#if defined(__riscv) && !defined(__riscv_mul)
#define ENGINE_ADDS_PRODUCTS /* the processor has no multiplier */
#endif

/* a * multiplier, of numbers of 25 and of MACRAME_MULTIPLIER_BITS bits. */
static inline uint64_t engine_product(uint32_t a, uint32_t multiplier)
{
#ifdef ENGINE_ADDS_PRODUCTS
    /* a byte of `a` at a time, whose product fits a register; mostly its upper ones are 0 */
    uint64_t product = 0;
    for (int shift = 0; a != 0; a >>= 8, shift += 8) {
        uint32_t part = 0, term = multiplier;
        for (uint32_t byte = a & 255u; byte != 0; byte >>= 1, term <<= 1)
            part += byte & 1u ? term : 0;
        product += (uint64_t)part << shift;
    }
    return product;
#else
    return (uint64_t)a * multiplier;
#endif
}

static inline int8_t engine_requantize(int32_t acc, uint32_t multiplier, uint32_t shift,
                                       int32_t zero_point, uint32_t odd)
{
    /* 1, 2: magnitude and product */
    uint32_t a = acc < 0 ? 0u - (uint32_t)acc : (uint32_t)acc;
    if (a > UINT32_C(1) << MACRAME_ACC_SATURATION_LOG2)
        a = UINT32_C(1) << MACRAME_ACC_SATURATION_LOG2;
    /* 3: fixed point, and whether anything was lost below it */
    const uint64_t wide = engine_product(a, multiplier)
                          << (MACRAME_FRACTION_BITS - MACRAME_MULTIPLIER_BITS + 1u);
    const uint64_t f = wide >> shift;
    const uint32_t sticky = (f << shift) != wide;
    /* 4: integer part and fraction */
    const uint64_t part = f >> MACRAME_FRACTION_BITS;
    const uint32_t k = part > 256 ? 256 : (uint32_t)part;
    const uint32_t low = (uint32_t)f & ((UINT32_C(1) << MACRAME_FRACTION_BITS) - 1u);
    const int32_t fr = (int32_t)(low << 1 | sticky);
    /* 5: all bits of k below its first one, then twice the next power of two */
    uint32_t ones = k | k >> 1;
    ones |= ones >> 2;
    ones |= ones >> 4;
    const int32_t h = (int32_t)((ones + 1u) << 1);
    /* 6, 7: away from the tie, or at it */
    const int32_t d = fr - (INT32_C(1) << MACRAME_FRACTION_BITS);
    const int32_t up = (k ^ odd) & 1u ? d >= -h : d > h;
    /* 8, 9: round, sign, zero point, clamp */
    const int32_t q = (int32_t)k + up;
    const int32_t y = (acc < 0 ? -q : q) + zero_point;
    return (int8_t)(y < -128 ? -128 : y > 127 ? 127 : y);
}

#endif
