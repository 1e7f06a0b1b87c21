/* Boxes from the outputs of a YOLO network. Freestanding C11; no allocation, no C library.
 *
 * All numbers are float32, and the order of operations is fixed, so that a NumPy program with the
 * same steps gives the same bits (tests/firmware/float_boxes.py). The steps are those of
 * `python -m sim detect`, which computes in float64. */
#ifndef YOLO_H
#define YOLO_H

#include "macrame_model.h"

#ifdef __cplusplus
extern "C" {
#endif

enum yolo_status {
    YOLO_OK = 0,
    YOLO_DROPPED,          /* there were more candidates than room: the best ones were used */
    YOLO_BAD_ARGUMENT,     /* a null pointer, no room, or a limit outside 0..1 */
    YOLO_BAD_HEAD,         /* a head does not fit its output, or this not the activations window */
    YOLO_BAD_PLACEMENT     /* a size or scale is not positive */
};

/* A status as text. */
const char *yolo_status_text(enum yolo_status status);

/* What was found: pixels of the picture from its top left corner, 0 <= x0 < x1, 0 <= y0 < y1. */
struct yolo_box {
    float x0, y0, x1, y1;
    float score;           /* 0..1 */
    uint16_t class_index;  /* from 0 */
};

/* Where the picture lies in the network's input: point (x, y) of the picture is at
 * (x * scale_x + left, y * scale_y + top). */
struct yolo_placement {
    float scale_x, scale_y;
    uint32_t left, top;                     /* pixels of padding before the picture */
    uint32_t picture_width, picture_height; /* pixels */
};

struct yolo_limits {
    float score;           /* what a score must exceed: 0..1 */
    float overlap;         /* of two boxes of a class that overlap by more, the worse one goes: 0..1 */
};

/* Where a picture lies that fills the input.
 *
 * All sizes are pixels, 1..65535. With `letterbox` the picture keeps its aspect: it is scaled by
 * min(input_height / picture_height, input_width / picture_width), each side rounded half to even
 * and at least 1, and centred; an odd pixel of padding goes to the right or the bottom. Without,
 * it is stretched. */
enum yolo_status yolo_place(uint32_t picture_width, uint32_t picture_height, uint32_t input_width,
                            uint32_t input_height, int letterbox,
                            struct yolo_placement *placement);

/* Find the boxes of a frame.
 *
 * heads, outputs: of macrame_model.h.
 * activations: the activations window after the frame, of `activation_bytes` bytes.
 * boxes: room for `capacity` candidates, at least 1; afterwards the boxes, best score first.
 * count: how many boxes there are.
 *
 * A class of an anchor is a candidate if its score, sigmoid(objectness) * sigmoid(class), exceeds
 * limits->score. Equal scores keep the order of heads, anchors, rows, columns, classes. With any
 * status but YOLO_OK and YOLO_DROPPED nothing was written. */
enum yolo_status yolo_detect(const struct macrame_head *heads, uint32_t head_count,
                             const struct macrame_tensor *outputs, uint32_t output_count,
                             const uint8_t *activations, uint32_t activation_bytes,
                             const struct yolo_placement *placement,
                             const struct yolo_limits *limits, struct yolo_box *boxes,
                             uint32_t capacity, uint32_t *count);

#ifdef __cplusplus
}
#endif

#endif
