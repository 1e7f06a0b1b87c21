/* What the parts of the engine share. */
#ifndef UNITS_H
#define UNITS_H

#include "engine.h"

/* One run. The fault and its address are set by whoever finds it. */
struct engine {
    struct engine_windows windows;
    const struct engine_places *memory;
    const uint8_t *instruction; /* that is being done */
    enum macrame_fault fault;
    uint32_t address;
};

/* Each checks its instruction, then does it; 0 if it was refused. */
int engine_load(struct engine *engine, const struct macrame_load_fields *fields);
int engine_load_linear(struct engine *engine, const struct macrame_load_linear_fields *fields);
int engine_store(struct engine *engine, const struct macrame_store_fields *fields);
int engine_mac(struct engine *engine, const struct macrame_mac_fields *fields);
/* The weights of a LOAD_LINEAR, which are in the constants from `from` on. */
int engine_load_weights(struct engine *engine, const struct macrame_load_linear_fields *fields,
                        const uint8_t *from);
int engine_drain(struct engine *engine, const struct macrame_drain_fields *fields);
int engine_pool(struct engine *engine, const struct macrame_pool_fields *fields);
int engine_elementwise(struct engine *engine, const struct macrame_elementwise_fields *fields);

/* Refuse an instruction; returns 0. */
static inline int engine_refuse(struct engine *engine, enum macrame_fault fault, uint64_t address)
{
    engine->fault = fault;
    engine->address = (uint32_t)address;
    return 0;
}

static inline int engine_illegal(struct engine *engine)
{
    return engine_refuse(engine, MACRAME_FAULT_ILLEGAL_INSTRUCTION, 0);
}

/* Refuse the instruction unless a word, entry or slot is in its memory. */
static inline int engine_in_range(struct engine *engine, uint64_t word, uint32_t size)
{
    return word < size || engine_refuse(engine, MACRAME_FAULT_ON_CHIP_RANGE, word);
}

/* Whether a surface is one; and whether `rows` rows can be written to it. */
static inline int engine_surface_is_legal(const struct macrame_surface *surface)
{
    return surface->ring_words > 0 && surface->row_stride <= surface->ring_words
           && surface->ring_start < surface->ring_words;
}

static inline int engine_surface_takes(const struct macrame_surface *surface, uint32_t rows)
{
    return engine_surface_is_legal(surface)
           && (uint64_t)rows * surface->row_stride <= surface->ring_words;
}

/* Holds the number of every word that an instruction can name. With so small a scratchpad strides
 * have 17 bits, planes and rows 13; wider products are slow where the processor has none. */
#if MACRAME_SCRATCHPAD_WORDS <= 65536
typedef uint32_t engine_word_t;
#else
typedef uint64_t engine_word_t;
#endif

/* The word of column 0. */
static inline engine_word_t engine_word(const struct macrame_surface *surface, uint32_t plane,
                                        uint32_t row)
{
    engine_word_t in_ring = surface->ring_start + (engine_word_t)row * surface->row_stride;
    if (in_ring >= surface->ring_words) /* divisions are slow */
        in_ring %= surface->ring_words;
    return surface->base + (engine_word_t)plane * surface->plane_stride + in_ring;
}

/* Whether all words of `planes` planes of a surface are in the scratchpad, and some beyond: what is
 * true for nearly every instruction, and found out without going through all of them. */
static inline int engine_surface_is_inside(const struct macrame_surface *surface, uint32_t planes,
                                           uint32_t columns)
{
    return surface->base + (uint64_t)(planes - 1) * surface->plane_stride + surface->ring_words
               + columns <= MACRAME_SCRATCHPAD_WORDS;
}

/* Reinterpret two's complement. */
static inline int32_t engine_signed(uint32_t value)
{
    return value <= INT32_MAX ? (int32_t)value : (int32_t)(value - INT32_MAX - 1u) + INT32_MIN;
}

static inline int8_t engine_signed_byte(uint8_t value)
{
    return (int8_t)(value < 128 ? value : value - 256);
}

#endif
