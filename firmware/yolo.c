#include <stddef.h>

#include "tensor.h"
#include "yolo.h"

#ifdef __clang__
#pragma STDC FP_CONTRACT OFF /* GCC contracts nothing in -std=c11 */
#endif

/* Boxes under way, best score first. */
struct candidates {
    struct yolo_box *boxes;
    uint32_t capacity, count;
    int dropped;
};

const char *yolo_status_text(enum yolo_status status)
{
    switch (status) {
    case YOLO_OK:
        return "ok";
    case YOLO_DROPPED:
        return "more candidates than room; the best ones were used";
    case YOLO_BAD_ARGUMENT:
        return "an argument is null, or outside its range";
    case YOLO_BAD_HEAD:
        return "a head does not fit its output, or this not the activations window";
    case YOLO_BAD_PLACEMENT:
        return "sizes and scales of the picture must be positive";
    }
    return "unknown status";
}

/* a * b / c, rounded half to even, in 1..largest. */
static uint32_t scaled(uint32_t a, uint32_t b, uint32_t c, uint32_t largest)
{
    const uint32_t product = a * b, rest = product % c;
    uint32_t whole = product / c;
    whole += rest > c - rest || (rest == c - rest && whole % 2 == 1);
    return whole < 1 ? 1 : whole > largest ? largest : whole;
}

enum yolo_status yolo_place(uint32_t picture_width, uint32_t picture_height, uint32_t input_width,
                            uint32_t input_height, int letterbox,
                            struct yolo_placement *placement)
{
    if (placement == NULL)
        return YOLO_BAD_ARGUMENT;
    const uint32_t sides[] = {picture_width, picture_height, input_width, input_height};
    for (uint32_t n = 0; n < 4; n++)
        if (sides[n] < 1 || sides[n] > 65535)
            return YOLO_BAD_PLACEMENT;
    uint32_t width = input_width, height = input_height;
    if (letterbox) {
        if (input_height * picture_width < input_width * picture_height)
            width = scaled(picture_width, input_height, picture_height, input_width);
        else
            height = scaled(picture_height, input_width, picture_width, input_height);
    }
    placement->scale_x = (float)width / (float)picture_width;
    placement->scale_y = (float)height / (float)picture_height;
    placement->left = (input_width - width) / 2;
    placement->top = (input_height - height) / 2;
    placement->picture_width = picture_width;
    placement->picture_height = picture_height;
    return YOLO_OK;
}

static int head_fits(const struct macrame_head *head, const struct macrame_tensor *outputs,
                     uint32_t output_count, const uint8_t *activations, uint32_t bytes)
{
    if (head->output >= output_count || head->sizes == NULL || head->sigmoid == NULL
        || head->exponential == NULL || head->anchors == 0 || head->classes == 0)
        return 0;
    const struct macrame_tensor *tensor = &outputs[head->output];
    return tensor_check(tensor, activations, bytes) == TENSOR_OK && tensor->gather == NULL
           && tensor->channels == head->anchors * (5u + head->classes);
}

/* Put a box behind those that are as good; the last one goes if there is no room. */
static void insert(struct candidates *found, const struct yolo_box *box)
{
    uint32_t at = found->count;
    if (at == found->capacity) {
        found->dropped = 1;
        if (box->score <= found->boxes[at - 1].score)
            return;
        at--;
    } else {
        found->count++;
    }
    for (; at > 0 && found->boxes[at - 1].score < box->score; at--)
        found->boxes[at] = found->boxes[at - 1];
    found->boxes[at] = *box;
}

/* One cell of a head: where its bytes are, and what they stand for. */
struct cell {
    const struct macrame_head *head;
    const struct macrame_tensor *tensor;
    const uint8_t *bytes;              /* of lane 0 */
    uint32_t anchor, row, column;
};

/* The stored byte of number `n` of the cell's anchor. */
static uint8_t stored(const struct cell *cell, uint32_t n)
{
    const struct macrame_tensor *tensor = cell->tensor;
    const uint32_t lane = tensor_lane(tensor, cell->anchor * (5u + cell->head->classes) + n);
    return cell->bytes[lane / tensor->lanes * tensor->plane_stride + lane % tensor->lanes];
}

/* Low and high end of a box along one axis, in pixels of the picture. */
static void extent(const struct cell *cell, uint32_t axis, const struct yolo_placement *placement,
                   float *low, float *high)
{
    const struct macrame_head *head = cell->head;
    const float s = head->scale_x_y, index = (float)(axis == 0 ? cell->column : cell->row);
    const float origin = (float)(axis == 0 ? placement->left : placement->top);
    const float scale = axis == 0 ? placement->scale_x : placement->scale_y;
    const float shift = s * head->sigmoid[stored(cell, axis)];
    const float centre = (index + shift - (s - 1.0f) / 2.0f) * (float)head->stride;
    const float side = head->sizes[cell->anchor][axis] * head->exponential[stored(cell, 2 + axis)];
    const float half = side / 2.0f;
    *low = (centre - half - origin) / scale;
    *high = (centre + half - origin) / scale;
}

static void decode_cell(const struct cell *cell, const struct yolo_placement *placement,
                        float threshold, struct candidates *found)
{
    const struct macrame_head *head = cell->head;
    const float objectness = head->sigmoid[stored(cell, 4)];
    if (!(objectness > threshold))
        return;                        /* a class scores no more */
    struct yolo_box box;
    extent(cell, 0, placement, &box.x0, &box.x1);
    extent(cell, 1, placement, &box.y0, &box.y1);
    for (uint32_t class_index = 0; class_index < head->classes; class_index++) {
        box.score = objectness * head->sigmoid[stored(cell, 5 + class_index)];
        box.class_index = (uint16_t)class_index;
        if (box.score > threshold)
            insert(found, &box);
    }
}

static void decode(const struct macrame_head *head, const struct macrame_tensor *tensor,
                   const uint8_t *activations, const struct yolo_placement *placement,
                   float threshold, struct candidates *found)
{
    struct cell cell = {.head = head, .tensor = tensor};
    for (cell.anchor = 0; cell.anchor < head->anchors; cell.anchor++)
        for (cell.row = 0; cell.row < tensor->rows; cell.row++)
            for (cell.column = 0; cell.column < tensor->columns; cell.column++) {
                cell.bytes = activations + tensor->address + cell.row * tensor->row_stride
                             + cell.column * tensor->column_stride;
                decode_cell(&cell, placement, threshold, found);
            }
}

static float larger(float a, float b)
{
    return a > b ? a : b;
}

static float smaller(float a, float b)
{
    return a < b ? a : b;
}

static float area(const struct yolo_box *box)
{
    return larger(box->x1 - box->x0, 0.0f) * larger(box->y1 - box->y0, 0.0f);
}

/* Intersection over union, 0 if neither box has an area. */
static float overlap(const struct yolo_box *a, const struct yolo_box *b)
{
    const float width = smaller(a->x1, b->x1) - larger(a->x0, b->x0);
    const float height = smaller(a->y1, b->y1) - larger(a->y0, b->y0);
    const float common = larger(width, 0.0f) * larger(height, 0.0f);
    const float both = area(a) + area(b) - common;
    return both > 0.0f ? common / both : 0.0f;
}

/* Of boxes of a class that overlap the best one stays; they are ordered by score. */
static void suppress(struct candidates *found, float limit)
{
    uint32_t kept = 0;
    for (uint32_t n = 0; n < found->count; n++) {
        const struct yolo_box *box = &found->boxes[n];
        int stays = 1;
        for (uint32_t m = 0; m < kept && stays; m++)
            stays = found->boxes[m].class_index != box->class_index
                    || !(overlap(&found->boxes[m], box) > limit);
        if (stays)
            found->boxes[kept++] = *box;
    }
    found->count = kept;
}

/* Cut boxes to the picture; those outside go. */
static void clip(struct candidates *found, const struct yolo_placement *placement)
{
    const float width = (float)placement->picture_width;
    const float height = (float)placement->picture_height;
    uint32_t kept = 0;
    for (uint32_t n = 0; n < found->count; n++) {
        struct yolo_box box = found->boxes[n];
        box.x0 = smaller(larger(box.x0, 0.0f), width);
        box.x1 = smaller(larger(box.x1, 0.0f), width);
        box.y0 = smaller(larger(box.y0, 0.0f), height);
        box.y1 = smaller(larger(box.y1, 0.0f), height);
        if (box.x1 > box.x0 && box.y1 > box.y0)
            found->boxes[kept++] = box;
    }
    found->count = kept;
}

enum yolo_status yolo_detect(const struct macrame_head *heads, uint32_t head_count,
                             const struct macrame_tensor *outputs, uint32_t output_count,
                             const uint8_t *activations, uint32_t activation_bytes,
                             const struct yolo_placement *placement,
                             const struct yolo_limits *limits, struct yolo_box *boxes,
                             uint32_t capacity, uint32_t *count)
{
    if (heads == NULL || outputs == NULL || activations == NULL || placement == NULL
        || limits == NULL || boxes == NULL || count == NULL || capacity == 0
        || !(limits->score >= 0.0f && limits->score <= 1.0f)
        || !(limits->overlap >= 0.0f && limits->overlap <= 1.0f))
        return YOLO_BAD_ARGUMENT;
    if (!(placement->scale_x > 0.0f) || !(placement->scale_y > 0.0f)
        || placement->picture_width == 0 || placement->picture_height == 0)
        return YOLO_BAD_PLACEMENT;
    for (uint32_t n = 0; n < head_count; n++)
        if (!head_fits(&heads[n], outputs, output_count, activations, activation_bytes))
            return YOLO_BAD_HEAD;

    struct candidates found = {.boxes = boxes, .capacity = capacity};
    for (uint32_t n = 0; n < head_count; n++)
        decode(&heads[n], &outputs[heads[n].output], activations, placement, limits->score, &found);
    suppress(&found, limits->overlap);
    clip(&found, placement);
    *count = found.count;
    return found.dropped ? YOLO_DROPPED : YOLO_OK;
}
