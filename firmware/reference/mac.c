/* The array itself: what is hardware where there is an array. */
#include "window.h"

int engine_load_weights(struct engine *engine, const struct macrame_load_linear_fields *f,
                        const uint8_t *from)
{
    for (uint32_t n = 0; n < f->count * MACRAME_COLUMNS; n++) {
        const int32_t weight = engine_signed_byte(from[n]);
        if (weight < MACRAME_WEIGHT_MIN)
            return engine_illegal(engine);
    }
    for (uint32_t unit = 0; unit < f->count; unit++)
        for (uint32_t c = 0; c < MACRAME_COLUMNS; c++)
            engine->memory->weights[f->dst + unit][c] = engine_signed_byte(*from++);
    return 1;
}

/* Add the products of one word with one tile of weights. Unsigned sums wrap as the hardware's. */
static void multiply(uint32_t *sums, const int8_t *word, int8_t (*tile)[MACRAME_COLUMNS])
{
    for (uint32_t r = 0; r < MACRAME_ROWS; r++) {
        const int32_t a = word[r];
        for (uint32_t c = 0; c < MACRAME_COLUMNS; c++)
            sums[c] += (uint32_t)(a * tile[r][c]);
    }
}

/* Refuse the instruction unless every word that it reads is in the scratchpad. */
static int reads_in_range(struct engine *engine, const struct engine_window *w)
{
    uint64_t word;
    if (engine_window_is_inside(w))
        return 1;
    for (uint32_t p = 0; p < w->planes; p++)
        for (uint32_t ky = 0; ky < w->kernel_rows; ky++)
            for (uint32_t kx = 0; kx < w->kernel_columns; kx++)
                for (uint32_t y = 0; y < w->rows; y++)
                    for (uint32_t x = 0; x < w->columns; x++)
                        if (engine_tap(w, p, y, x, ky, kx, &word)
                            && !engine_in_range(engine, word, MACRAME_SCRATCHPAD_WORDS))
                            return 0;
    return 1;
}

int engine_mac(struct engine *engine, const struct macrame_mac_fields *f)
{
    const struct engine_window w = ENGINE_WINDOW(f, f->up_y, f->up_x);
    if (!engine_window_is_legal(&w))
        return engine_illegal(engine);
    const uint64_t tiles = (uint64_t)f->planes * f->kernel_rows * f->kernel_columns;
    const uint64_t pixels = (uint64_t)f->rows * f->columns;
    if (!reads_in_range(engine, &w))
        return 0;
    if (f->weights + tiles * MACRAME_ROWS > MACRAME_WEIGHT_WORDS)
        return engine_refuse(engine, MACRAME_FAULT_ON_CHIP_RANGE, MACRAME_WEIGHT_WORDS);
    if (f->accumulator + pixels > MACRAME_ACCUMULATOR_WORDS)
        return engine_refuse(engine, MACRAME_FAULT_ON_CHIP_RANGE, MACRAME_ACCUMULATOR_WORDS);

    const struct engine_places *memory = engine->memory;
    int8_t padding[MACRAME_ROWS];
    for (uint32_t r = 0; r < MACRAME_ROWS; r++)
        padding[r] = (int8_t)f->pad;
    for (uint32_t y = 0; y < f->rows; y++)
        for (uint32_t x = 0; x < f->columns; x++) {
            uint32_t *out = memory->accumulators[f->accumulator + y * f->columns + x];
            uint32_t sums[MACRAME_COLUMNS];
            for (uint32_t c = 0; c < MACRAME_COLUMNS; c++)
                sums[c] = f->accumulate ? out[c] : 0;
            int8_t (*tile)[MACRAME_COLUMNS] = &memory->weights[f->weights];
            for (uint32_t p = 0; p < f->planes; p++)
                for (uint32_t ky = 0; ky < f->kernel_rows; ky++)
                    for (uint32_t kx = 0; kx < f->kernel_columns; kx++, tile += MACRAME_ROWS) {
                        uint64_t word;
                        const int inside = engine_tap(&w, p, y, x, ky, kx, &word);
                        multiply(sums, inside ? memory->scratchpad[word] : padding, tile);
                    }
            for (uint32_t c = 0; c < MACRAME_COLUMNS; c++)
                out[c] = sums[c];
        }
    return 1;
}
