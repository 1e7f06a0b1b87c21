/* Requantization and what follows: DRAIN, POOL and ELEMENTWISE. */
#include <stddef.h>

#include "requantize.h"
#include "window.h"

/* The table that ends an instruction, or NULL. */
static const int8_t *table_of(const struct engine *engine, uint32_t use_table, uint32_t table)
{
    return use_table ? engine->memory->tables[table] : NULL;
}

static int table_in_range(struct engine *engine, uint32_t use_table, uint32_t table)
{
    return !use_table || engine_in_range(engine, table, MACRAME_TABLE_SLOTS);
}

static int8_t mapped(const int8_t *table, int8_t code)
{
    return table == NULL ? code : table[(uint8_t)code];
}

/* Refuse the instruction unless all words of a surface are in the scratchpad; planes first. */
static int words_in_range(struct engine *engine, const struct macrame_surface *surface,
                          uint32_t planes, uint32_t rows, uint32_t columns)
{
    if (engine_surface_is_inside(surface, planes, columns))
        return 1;
    for (uint32_t p = 0; p < planes; p++)
        for (uint32_t y = 0; y < rows; y++)
            for (uint32_t x = 0; x < columns; x++)
                if (!engine_in_range(engine, engine_word(surface, p, y) + x,
                                     MACRAME_SCRATCHPAD_WORDS))
                    return 0;
    return 1;
}

/* Refuse a DRAIN unless accumulators and words are in their memories: by blocks of the pool, and
 * of a pixel all planes. */
static int drain_in_range(struct engine *engine, const struct macrame_drain_fields *f)
{
    const uint32_t block = 1 + f->pool;
    const int inside = f->accumulator + f->rows * f->columns <= MACRAME_ACCUMULATOR_WORDS;
    for (uint32_t y = 0; y < f->rows && !inside; y += block)
        for (uint32_t x = 0; x < f->columns; x += block)
            for (uint32_t n = 0; n < block * block; n++) {
                const uint64_t pixel = (uint64_t)(y + n / block) * f->columns + x + n % block;
                if (!engine_in_range(engine, f->accumulator + pixel, MACRAME_ACCUMULATOR_WORDS))
                    return 0;
            }
    if (!engine_in_range(engine, f->parameter, MACRAME_PARAMETER_ENTRIES)
        || !table_in_range(engine, f->use_table, f->table))
        return 0;
    if (engine_surface_is_inside(&f->dst, MACRAME_PLANES_PER_DRAIN, f->columns))
        return 1;
    for (uint32_t y = 0; y < f->rows >> f->pool; y++)
        for (uint32_t x = 0; x < f->columns >> f->pool; x++)
            for (uint32_t p = 0; p < MACRAME_PLANES_PER_DRAIN; p++)
                if (!engine_in_range(engine, engine_word(&f->dst, p, y) + x,
                                     MACRAME_SCRATCHPAD_WORDS))
                    return 0;
    return 1;
}

int engine_drain(struct engine *engine, const struct macrame_drain_fields *f)
{
    if (f->rows == 0 || f->columns == 0 || (f->pool && (f->rows % 2 || f->columns % 2))
        || !engine_surface_takes(&f->dst, f->rows >> f->pool)
        || f->lane_group >= MACRAME_LANE_GROUPS)
        return engine_illegal(engine);
    if (!drain_in_range(engine, f))
        return 0;
    const struct engine_places *memory = engine->memory;
    const int8_t *table = table_of(engine, f->use_table, f->table);
    const uint32_t *bias = memory->bias[f->parameter], *scale = memory->scale[f->parameter];
    const uint32_t pooled = f->pool; /* rows and columns of a block, log2 */
    uint32_t first = f->accumulator; /* of the row */
    for (uint32_t y = 0; y < f->rows >> pooled; y++, first += f->columns << pooled) {
        engine_word_t words[MACRAME_PLANES_PER_DRAIN];
        for (uint32_t p = 0; p < MACRAME_PLANES_PER_DRAIN; p++)
            words[p] = engine_word(&f->dst, p, y);
        for (uint32_t x = 0; x < f->columns >> pooled; x++)
            for (uint32_t c = 0; c < MACRAME_COLUMNS; c++) {
                int8_t best = INT8_MIN;
                for (uint32_t n = 0; n < 1u << 2 * pooled; n++) {
                    const uint32_t pixel = (x << pooled) + (n & 1) + (n >> 1 ? f->columns : 0);
                    const uint32_t acc = memory->accumulators[first + pixel][c];
                    const int8_t code = mapped(table, engine_requantize(
                        engine_signed(acc + bias[c]),
                        scale[c] & ((UINT32_C(1) << MACRAME_MULTIPLIER_BITS) - 1u),
                        scale[c] >> MACRAME_MULTIPLIER_BITS & 31u, f->zero_point, f->odd));
                    best = code > best ? code : best;
                }
                const uint32_t lane = f->lane_group * MACRAME_COLUMNS + c;
                memory->scratchpad[words[lane / MACRAME_ROWS] + x][lane % MACRAME_ROWS] = best;
            }
    }
    return 1;
}

/* The maxima of all lanes over the taps of a pixel. */
static void highest(const struct engine *engine, const struct engine_window *w, uint32_t p,
                    uint32_t y, uint32_t x, int8_t *best)
{
    uint64_t word;
    for (uint32_t r = 0; r < MACRAME_ROWS; r++)
        best[r] = INT8_MIN;
    for (uint32_t ky = 0; ky < w->kernel_rows; ky++)
        for (uint32_t kx = 0; kx < w->kernel_columns; kx++)
            if (engine_tap(w, p, y, x, ky, kx, &word))
                for (uint32_t r = 0; r < MACRAME_ROWS; r++) {
                    const int8_t code = engine->memory->scratchpad[word][r];
                    best[r] = code > best[r] ? code : best[r];
                }
}

/* Refuse a POOL unless every word that it reads is in the scratchpad. */
static int pool_reads_in_range(struct engine *engine, const struct engine_window *w)
{
    uint64_t word;
    if (engine_window_is_inside(w))
        return 1;
    for (uint32_t p = 0; p < w->planes; p++)
        for (uint32_t y = 0; y < w->rows; y++)
            for (uint32_t x = 0; x < w->columns; x++)
                for (uint32_t ky = 0; ky < w->kernel_rows; ky++)
                    for (uint32_t kx = 0; kx < w->kernel_columns; kx++)
                        if (engine_tap(w, p, y, x, ky, kx, &word)
                            && !engine_in_range(engine, word, MACRAME_SCRATCHPAD_WORDS))
                            return 0;
    return 1;
}

int engine_pool(struct engine *engine, const struct macrame_pool_fields *f)
{
    const struct engine_window w = ENGINE_WINDOW(f, 0u, 0u);
    if (!engine_window_is_legal(&w) || !engine_surface_takes(&f->dst, f->rows))
        return engine_illegal(engine);
    if (!table_in_range(engine, f->use_table, f->table) || !pool_reads_in_range(engine, &w)
        || !words_in_range(engine, &f->dst, f->planes, f->rows, f->columns))
        return 0;
    const int8_t *table = table_of(engine, f->use_table, f->table);
    for (uint32_t p = 0; p < f->planes; p++)
        for (uint32_t y = 0; y < f->rows; y++)
            for (uint32_t x = 0; x < f->columns; x++) {
                int8_t best[MACRAME_ROWS];
                int8_t *to = engine->memory->scratchpad[engine_word(&f->dst, p, y) + x];
                highest(engine, &w, p, y, x, best);
                for (uint32_t r = 0; r < MACRAME_ROWS; r++)
                    to[r] = mapped(table, best[r]);
            }
    return 1;
}

/* Where an ELEMENTWISE reads its operands. */
static uint64_t word_a(const struct macrame_elementwise_fields *f, uint32_t p, uint32_t y,
                       uint32_t x)
{
    return engine_word(&f->a, p, y / f->repeat_y) + x / f->repeat_x;
}

static uint64_t word_b(const struct macrame_elementwise_fields *f, uint32_t p, uint32_t y,
                       uint32_t x)
{
    return engine_word(&f->b, p, y) + (f->b_broadcast ? 0 : x);
}

static int elementwise_in_range(struct engine *engine, const struct macrame_elementwise_fields *f)
{
    if (!table_in_range(engine, f->use_table, f->table)
        || (f->operation == MACRAME_OPERATION_ADD
            && !engine_in_range(engine, f->add_tables, MACRAME_ADD_TABLE_SLOTS)))
        return 0;
    const int inside = engine_surface_is_inside(&f->a, f->planes, f->columns)
                       && (f->operation == MACRAME_OPERATION_MAP
                           || engine_surface_is_inside(&f->b, f->planes, f->columns));
    for (uint32_t p = 0; p < f->planes && !inside; p++)
        for (uint32_t y = 0; y < f->rows; y++)
            for (uint32_t x = 0; x < f->columns; x++)
                if (!engine_in_range(engine, word_a(f, p, y, x), MACRAME_SCRATCHPAD_WORDS)
                    || (f->operation != MACRAME_OPERATION_MAP
                        && !engine_in_range(engine, word_b(f, p, y, x), MACRAME_SCRATCHPAD_WORDS)))
                    return 0;
    return words_in_range(engine, &f->dst, f->planes, f->rows, f->columns);
}

/* ADD or MUL of two codes. */
static int8_t combined(const struct engine *engine, const struct macrame_elementwise_fields *f,
                       int8_t a, int8_t b)
{
    int32_t front = (a - f->a_zero_point) * (b - f->b_zero_point);
    if (f->operation == MACRAME_OPERATION_ADD) {
        uint32_t (*tables)[256] = engine->memory->add_tables[f->add_tables];
        front = engine_signed(tables[0][(uint8_t)a] + tables[1][(uint8_t)b]);
    }
    return engine_requantize(front, f->multiplier, f->shift, f->zero_point, f->odd);
}

int engine_elementwise(struct engine *engine, const struct macrame_elementwise_fields *f)
{
    if (f->planes == 0 || f->rows == 0 || f->columns == 0 || f->repeat_y == 0 || f->repeat_x == 0
        || f->operation > MACRAME_OPERATION_MUL || !engine_surface_is_legal(&f->a)
        || (f->operation != MACRAME_OPERATION_MAP && !engine_surface_is_legal(&f->b))
        || !engine_surface_takes(&f->dst, f->rows))
        return engine_illegal(engine);
    if (!elementwise_in_range(engine, f))
        return 0;
    int8_t (*scratchpad)[MACRAME_ROWS] = engine->memory->scratchpad;
    const int8_t *table = table_of(engine, f->use_table, f->table);
    for (uint32_t p = 0; p < f->planes; p++)
        for (uint32_t y = 0; y < f->rows; y++) {
            int8_t (*to)[MACRAME_ROWS] = &scratchpad[engine_word(&f->dst, p, y)];
            int8_t (*a)[MACRAME_ROWS] = &scratchpad[word_a(f, p, y, 0)], (*b)[MACRAME_ROWS] = a;
            if (f->operation != MACRAME_OPERATION_MAP)
                b = &scratchpad[word_b(f, p, y, 0)];
            for (uint32_t x = 0, repeated = 0; x < f->columns; x++) {
                for (uint32_t r = 0; r < MACRAME_ROWS; r++)
                    to[x][r] = mapped(table, f->operation == MACRAME_OPERATION_MAP
                                                 ? (*a)[r] : combined(engine, f, (*a)[r], (*b)[r]));
                b += !f->b_broadcast;
                if (++repeated == f->repeat_x) {
                    repeated = 0;
                    a++;
                }
            }
        }
    return 1;
}
