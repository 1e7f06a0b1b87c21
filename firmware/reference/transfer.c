/* Data between memory and chip: LOAD, LOAD_LINEAR and STORE. */
#include <stddef.h>

#include "units.h"

/* A block of a window: `span` bytes of every row of every plane, from `first`. */
struct block {
    uint64_t first, span;
    uint32_t plane_stride, row_stride, planes, rows;
};

static int is_aligned(struct engine *engine, uint32_t address)
{
    return address % MACRAME_ALIGNMENT_BYTES == 0
           || engine_refuse(engine, MACRAME_FAULT_ALIGNMENT, address);
}

static uint64_t row_address(const struct block *block, uint32_t plane, uint32_t row)
{
    return block->first + (uint64_t)plane * block->plane_stride
           + (uint64_t)row * block->row_stride;
}

/* Refuse the instruction unless the block is inside a window of `bytes`. */
static int is_inside(struct engine *engine, const struct block *block, uint32_t bytes,
                     enum macrame_fault fault)
{
    const uint64_t last = row_address(block, block->planes - 1, block->rows - 1);
    if (block->span == 0 || last + block->span <= bytes)
        return 1;
    return engine_refuse(engine, fault, last > bytes ? last : bytes);
}

/* Refuse the instruction unless all words of a surface are in the scratchpad. */
static int words_in_range(struct engine *engine, const struct macrame_surface *surface,
                          uint32_t planes, uint32_t rows, uint32_t columns)
{
    uint64_t highest = 0;
    if (engine_surface_is_inside(surface, planes, columns))
        return 1;
    for (uint32_t row = 0; row < rows; row++) {
        const uint64_t word = engine_word(surface, planes - 1, row) + columns - 1;
        highest = word > highest ? word : highest;
    }
    return engine_in_range(engine, highest, MACRAME_SCRATCHPAD_WORDS);
}

/* Lanes of a row of words from a row of memory, of which `bytes` are valid. */
static void load_row(const struct macrame_load_fields *f, int8_t (*words)[MACRAME_ROWS],
                     const uint8_t *memory)
{
    int32_t first = -f->head; /* of the word, in the row of memory */
    for (uint32_t x = 0; x < f->columns; x++, first += (int32_t)f->word_step)
        for (uint32_t i = 0; i < f->lane_count; i++) {
            const int32_t q = first + (int32_t)i;
            words[x][f->lane_first + i] = q >= 0 && (uint32_t)q < f->row_bytes
                                              ? engine_signed_byte(memory[q])
                                              : (int8_t)f->fill;
        }
}

int engine_load(struct engine *engine, const struct macrame_load_fields *f)
{
    if (f->planes == 0 || f->rows == 0 || f->columns == 0 || f->lane_count == 0
        || f->lane_first + f->lane_count > MACRAME_ROWS || !engine_surface_takes(&f->dst, f->rows))
        return engine_illegal(engine);
    if (!is_aligned(engine, f->address) || !is_aligned(engine, f->memory_plane_stride)
        || !is_aligned(engine, f->memory_row_stride)
        || !words_in_range(engine, &f->dst, f->planes, f->rows, f->columns))
        return 0;

    const int64_t skip = f->head < 0 ? -f->head : 0;
    int64_t end = ((int64_t)f->columns - 1) * f->word_step + f->lane_count - f->head;
    end = end < f->row_bytes ? end : f->row_bytes;
    const struct block block = {
        .first = (uint64_t)(f->address + skip), .span = end > skip ? (uint64_t)(end - skip) : 0,
        .plane_stride = f->memory_plane_stride, .row_stride = f->memory_row_stride,
        .planes = f->planes, .rows = f->rows};
    const int constant = f->window == MACRAME_WINDOW_CONSTANTS;
    const uint8_t *window = constant ? engine->windows.constants : engine->windows.activations;
    if (!is_inside(engine, &block,
                   constant ? engine->windows.constants_bytes : engine->windows.activation_bytes,
                   constant ? MACRAME_FAULT_CONSTANTS_WINDOW : MACRAME_FAULT_ACTIVATIONS_WINDOW))
        return 0;

    for (uint32_t plane = 0; plane < f->planes; plane++)
        for (uint32_t row = 0; row < f->rows; row++)
            /* where all is fill, nothing is read, and the row may be nowhere */
            load_row(f, &engine->memory->scratchpad[engine_word(&f->dst, plane, row)],
                     block.span == 0 ? NULL
                                     : window + (row_address(&block, plane, row) - (uint64_t)skip));
    return 1;
}

int engine_store(struct engine *engine, const struct macrame_store_fields *f)
{
    if (f->planes == 0 || f->rows == 0 || f->columns == 0 || !engine_surface_is_legal(&f->src))
        return engine_illegal(engine);
    const struct block block = {
        .first = f->address, .span = (uint64_t)f->columns * MACRAME_ROWS,
        .plane_stride = f->memory_plane_stride, .row_stride = f->memory_row_stride,
        .planes = f->planes, .rows = f->rows};
    if (!is_aligned(engine, f->address) || !is_aligned(engine, f->memory_plane_stride)
        || !is_aligned(engine, f->memory_row_stride)
        || !words_in_range(engine, &f->src, f->planes, f->rows, f->columns)
        || !is_inside(engine, &block, engine->windows.activation_bytes,
                      MACRAME_FAULT_ACTIVATIONS_WINDOW))
        return 0;
    for (uint32_t plane = 0; plane < f->planes; plane++)
        for (uint32_t row = 0; row < f->rows; row++) {
            uint8_t *to = engine->windows.activations + row_address(&block, plane, row);
            int8_t (*from)[MACRAME_ROWS] =
                &engine->memory->scratchpad[engine_word(&f->src, plane, row)];
            for (uint32_t x = 0; x < f->columns; x++)
                for (uint32_t r = 0; r < MACRAME_ROWS; r++)
                    *to++ = (uint8_t)from[x][r];
        }
    return 1;
}

static uint32_t little_endian(const uint8_t *bytes)
{
    return bytes[0] | (uint32_t)bytes[1] << 8 | (uint32_t)bytes[2] << 16
           | (uint32_t)bytes[3] << 24;
}

static int load_parameters(struct engine *engine, const struct macrame_load_linear_fields *f,
                           const uint8_t *from)
{
    for (uint32_t n = 0; n < f->count * MACRAME_COLUMNS; n++)
        if (little_endian(from + 8 * n + 4) >> (MACRAME_MULTIPLIER_BITS + MACRAME_SHIFT_BITS))
            return engine_refuse(engine, MACRAME_FAULT_ILLEGAL_INSTRUCTION, f->address + 8 * n);
    for (uint32_t unit = f->dst; unit < f->dst + f->count; unit++)
        for (uint32_t c = 0; c < MACRAME_COLUMNS; c++, from += 8) {
            engine->memory->bias[unit][c] = little_endian(from);
            engine->memory->scale[unit][c] = little_endian(from + 4);
        }
    return 1;
}

int engine_load_linear(struct engine *engine, const struct macrame_load_linear_fields *f)
{
    static const uint32_t sizes[] = {MACRAME_WEIGHT_WORDS, MACRAME_PARAMETER_ENTRIES,
                                     MACRAME_TABLE_SLOTS, MACRAME_ADD_TABLE_SLOTS};
    static const uint32_t unit_bytes[] = {MACRAME_COLUMNS, MACRAME_PARAMETER_ENTRY_BYTES, 256,
                                          2 * 256 * 4};
    if (f->count == 0)
        return engine_illegal(engine);
    const struct block block = {.first = f->address, .planes = 1, .rows = 1,
                                .span = (uint64_t)f->count * unit_bytes[f->target]};
    if (!is_aligned(engine, f->address)
        || !engine_in_range(engine, (uint64_t)f->dst + f->count - 1, sizes[f->target])
        || !is_inside(engine, &block, engine->windows.constants_bytes,
                      MACRAME_FAULT_CONSTANTS_WINDOW))
        return 0;
    const uint8_t *from = engine->windows.constants + f->address;
    if (f->target == MACRAME_TARGET_WEIGHTS)
        return engine_load_weights(engine, f, from);
    if (f->target == MACRAME_TARGET_PARAMETERS)
        return load_parameters(engine, f, from);
    for (uint32_t unit = f->dst; unit < f->dst + f->count; unit++)
        if (f->target == MACRAME_TARGET_TABLE)
            for (uint32_t n = 0; n < 256; n++)
                engine->memory->tables[unit][n] = engine_signed_byte(*from++);
        else
            for (uint32_t n = 0; n < 2 * 256; n++, from += 4)
                engine->memory->add_tables[unit][n / 256][n % 256] = little_endian(from);
    return 1;
}
