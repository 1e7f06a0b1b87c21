/* The host's part of a model on files: `host pixels|write|read|boxes`, standard input to output.
 *
 * pixels: all of the first input's pixels; write: the codes of the first input. Both print the
 * activations window, which is 0xA5 elsewhere, behind the status.
 * read: an activations window; prints the codes of the first output behind the status.
 * boxes: sizes of picture and input, letterbox, capacity (uint32 each), score and overlap (float),
 * an activations window; prints the status of yolo_place, the placement, the status of
 * yolo_detect, count, and the boxes as x0, y0, x1, y1, score and, as uint32, class. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tensor.h"
#include "yolo.h"

static uint8_t activations[MACRAME_ACTIVATION_BYTES];

static uint8_t *rest(uint32_t *count)
{
    static uint8_t bytes[1 << 22];
    *count = (uint32_t)fread(bytes, 1, sizeof bytes, stdin);
    return bytes;
}

static void put(const void *data, size_t count)
{
    fwrite(data, 1, count, stdout);
}

static void put_status(uint32_t status)
{
    put(&status, sizeof status);
}

#if MACRAME_HEADS > 0
static int boxes(void)
{
    uint32_t numbers[6], count = 0;
    struct yolo_limits limits;
    struct yolo_placement placement;
    if (fread(numbers, sizeof numbers, 1, stdin) != 1 || fread(&limits, sizeof limits, 1, stdin) != 1
        || fread(activations, sizeof activations, 1, stdin) != 1)
        return 2;
    put_status(yolo_place(numbers[0], numbers[1], numbers[2], numbers[3], (int)numbers[4],
                          &placement));
    put(&placement, sizeof placement);
    struct yolo_box *found = malloc(numbers[5] * sizeof *found);
    put_status(yolo_detect(macrame_heads, MACRAME_HEADS, macrame_outputs, MACRAME_OUTPUTS,
                           activations, sizeof activations, &placement, &limits, found,
                           numbers[5], &count));
    put(&count, sizeof count);
    for (uint32_t n = 0; n < count; n++) {
        const float box[] = {found[n].x0, found[n].y0, found[n].x1, found[n].y1, found[n].score};
        put(box, sizeof box);
        put_status(found[n].class_index);
    }
    free(found);
    return 0;
}
#endif

int main(int argc, char **argv)
{
    uint32_t count;
    if (argc != 2)
        return 2;
#if MACRAME_HEADS > 0
    if (strcmp(argv[1], "boxes") == 0)
        return boxes();
#endif
    const uint8_t *bytes = rest(&count);
    if (strcmp(argv[1], "read") == 0) {
        const uint32_t elements = macrame_outputs[0].elements;
        uint8_t *codes = malloc(elements);
        put_status(tensor_read_codes(&macrame_outputs[0], bytes, count, codes, elements));
        put(codes, elements);
        free(codes);
        return 0;
    }
    memset(activations, 0xA5, sizeof activations);
    const int pixels = strcmp(argv[1], "pixels") == 0;
    put_status((pixels ? tensor_write_pixels : tensor_write_codes)(
        &macrame_inputs[0], activations, sizeof activations, bytes, count));
    put(activations, sizeof activations);
    return 0;
}
