/* Windows that slide over a surface: what MAC and POOL read. */
#ifndef WINDOW_H
#define WINDOW_H

#include "units.h"

struct engine_window {
    struct macrame_surface src;
    uint32_t src_rows, src_columns;   /* enlarged */
    int32_t y0, x0;
    uint32_t kernel_rows, kernel_columns, stride_y, stride_x, up_y, up_x, rows, columns, planes;
};

/* The window of MAC or POOL fields; POOL enlarges nothing. */
#define ENGINE_WINDOW(f, log2_y, log2_x)                                                          \
    {                                                                                             \
        .src = (f)->src, .src_rows = (f)->src_rows << (log2_y),                                   \
        .src_columns = (f)->src_columns << (log2_x), .y0 = (f)->y0, .x0 = (f)->x0,                \
        .kernel_rows = (f)->kernel_rows, .kernel_columns = (f)->kernel_columns,                   \
        .stride_y = (f)->stride_y, .stride_x = (f)->stride_x, .up_y = (log2_y),                   \
        .up_x = (log2_x), .rows = (f)->rows, .columns = (f)->columns, .planes = (f)->planes       \
    }

static inline int engine_window_is_legal(const struct engine_window *w)
{
    return engine_surface_is_legal(&w->src) && w->src_rows > 0 && w->src_columns > 0
           && w->rows > 0 && w->columns > 0 && w->planes > 0 && w->kernel_rows > 0
           && w->kernel_columns > 0 && w->stride_y > 0 && w->stride_y <= MACRAME_MAX_STRIDE
           && w->stride_x > 0 && w->stride_x <= MACRAME_MAX_STRIDE && w->y0 < 1 << w->up_y
           && w->x0 < 1 << w->up_x;
}

/* Whether no word of the source, inside the input or not, is beyond the scratchpad. */
static inline int engine_window_is_inside(const struct engine_window *w)
{
    return w->src.base + (uint64_t)(w->planes - 1) * w->src.plane_stride + w->src.ring_words
               + (w->src_columns >> w->up_x) <= MACRAME_SCRATCHPAD_WORDS;
}

/* Whether tap (ky, kx) of pixel (y, x) is inside the input; then `word` is where. */
static inline int engine_tap(const struct engine_window *w, uint32_t plane, uint32_t y, uint32_t x,
                             uint32_t ky, uint32_t kx, uint64_t *word)
{
    const int64_t iy = w->y0 + (int64_t)y * w->stride_y + ky;
    const int64_t ix = w->x0 + (int64_t)x * w->stride_x + kx;
    if (iy < 0 || iy >= w->src_rows || ix < 0 || ix >= w->src_columns)
        return 0;
    *word = engine_word(&w->src, plane, (uint32_t)iy >> w->up_y) + ((uint32_t)ix >> w->up_x);
    return 1;
}

#endif
