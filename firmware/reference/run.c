/* Run a frame on the reference engine: `run INPUTS OUTPUTS [SCORE]`.
 *
 * INPUTS: the model's codes of all inputs, in the order of macrame_inputs. OUTPUTS: those of all
 * outputs are written there. If the model has heads, boxes are printed, as pixels of the input.
 * This file needs a C library; the engine does not. */
#include <stdio.h>
#include <stdlib.h>

#include "engine.h"
#include "macrame_weights.h"
#include "tensor.h"
#include "yolo.h"

static struct engine_memory memory;
static uint8_t activations[MACRAME_ACTIVATION_BYTES];

static int read_inputs(const char *path)
{
    FILE *file = fopen(path, "rb");
    int good = file != NULL;
    for (uint32_t n = 0; n < MACRAME_INPUTS && good; n++) {
        const uint32_t count = macrame_inputs[n].elements;
        uint8_t *codes = malloc(count);
        good = codes != NULL && fread(codes, 1, count, file) == count
               && tensor_write_codes(&macrame_inputs[n], activations, sizeof activations, codes,
                                     count) == TENSOR_OK;
        free(codes);
    }
    good = good && fgetc(file) == EOF;
    if (file != NULL)
        fclose(file);
    return good;
}

static int write_outputs(const char *path)
{
    FILE *file = fopen(path, "wb");
    int good = file != NULL;
    for (uint32_t n = 0; n < MACRAME_OUTPUTS && good; n++) {
        const uint32_t count = macrame_outputs[n].elements;
        uint8_t *codes = malloc(count);
        good = codes != NULL
               && tensor_read_codes(&macrame_outputs[n], activations, sizeof activations, codes,
                                    count) == TENSOR_OK
               && fwrite(codes, 1, count, file) == count;
        free(codes);
    }
    if (file != NULL && fclose(file) != 0)
        good = 0;
    return good;
}

static int print_boxes(float score)
{
#if MACRAME_HEADS > 0
    static struct yolo_box boxes[256];
    const uint32_t height = macrame_inputs[0].shape[2], width = macrame_inputs[0].shape[3];
    const struct yolo_limits limits = {.score = score, .overlap = 0.45f};
    struct yolo_placement placement;
    uint32_t count = 0;
    enum yolo_status status = yolo_place(width, height, width, height, 0, &placement);
    if (status == YOLO_OK)
        status = yolo_detect(macrame_heads, MACRAME_HEADS, macrame_outputs, MACRAME_OUTPUTS,
                             activations, sizeof activations, &placement, &limits, boxes,
                             sizeof boxes / sizeof boxes[0], &count);
    if (status != YOLO_OK)
        fprintf(stderr, "boxes: %s\n", yolo_status_text(status));
    for (uint32_t n = 0; n < count; n++)
        printf("class %d score %.3f box %.1f %.1f %.1f %.1f\n", boxes[n].class_index,
               (double)boxes[n].score, (double)boxes[n].x0, (double)boxes[n].y0,
               (double)boxes[n].x1, (double)boxes[n].y1);
    return status == YOLO_OK || status == YOLO_DROPPED;
#else
    (void)score;
    return 1;
#endif
}

int main(int argc, char **argv)
{
    if (argc != 3 && argc != 4) {
        fprintf(stderr, "usage: %s INPUTS OUTPUTS [SCORE]\n", argv[0]);
        return 2;
    }
    if (!read_inputs(argv[1])) {
        fprintf(stderr, "error: %s must be a file with the codes of all inputs\n", argv[1]);
        return 1;
    }
    const struct engine_windows windows = {
        .program = macrame_image + MACRAME_PROGRAM_OFFSET, .program_bytes = MACRAME_PROGRAM_BYTES,
        .constants = macrame_image + MACRAME_CONSTANTS_OFFSET,
        .constants_bytes = MACRAME_CONSTANTS_BYTES,
        .activations = activations, .activation_bytes = sizeof activations};
    const struct engine_report report = engine_run(&windows, &memory);
    if (report.fault != MACRAME_FAULT_NONE) {
        fprintf(stderr, "error: fault %d at instruction %lu, address %lu\n", (int)report.fault,
                (unsigned long)report.instruction, (unsigned long)report.address);
        return 1;
    }
    if (!write_outputs(argv[2])) {
        fprintf(stderr, "error: %s must be a file that can be written\n", argv[2]);
        return 1;
    }
    return !print_boxes(argc == 4 ? strtof(argv[3], NULL) : 0.25f);
}
