/* Runs one frame on the small system: takes the activations window with its input from the flash,
 * executes the program, whose MACs are the hardware's, and says on the serial line how long that took,
 * what came out, and the boxes. */
#include <stddef.h>
#include <stdint.h>

#include "console.h"
#include "engine.h"
#include "macrame_model.h"
#include "macrame_weights.h"
#include "mmio.h"
#include "small.h"
#include "soc/uart.h"
#include "tensor.h"
#include "yolo.h"

/* How the text ends: all is well, or it cannot go on. */
#define END_OF_TRANSMISSION 0x04u
#define CANCEL 0x18u
#define LED_GREEN 1u
#define LED_RED 2u

#define BOXES 64u
/* What the score of a box must exceed. */
#ifndef MACRAME_SCORE
#define MACRAME_SCORE 0.25f
#endif

extern uint8_t activations[MACRAME_ACTIVATION_BYTES];
uint8_t activations[MACRAME_ACTIVATION_BYTES] __attribute__((aligned(16), section(".activations")));

int main(void);

static _Noreturn void finish(uint8_t last, uint32_t led)
{
    mmio_write32(SMALL_REGISTER_LEDS, led);
    uart_put(last);
    for (;;)
        continue;
}

static _Noreturn void stop(const char *why)
{
    console_text("error: ");
    console_text(why);
    console_text("\n");
    finish(CANCEL, LED_RED);
}

/* CRC-32 as zlib's, four bits at a time. */
static uint32_t add_to_crc32(uint32_t crc, uint8_t byte)
{
    static const uint32_t table[16] = {
        0x00000000u, 0x1db71064u, 0x3b6e20c8u, 0x26d930acu, 0x76dc4190u, 0x6b6b51f4u, 0x4db26158u,
        0x5005713cu, 0xedb88320u, 0xf00f9344u, 0xd6d6a3e8u, 0xcb61b38cu, 0x9b64c2b0u, 0x86d3d2d4u,
        0xa00ae278u, 0xbdbdf21cu};
    crc = table[(crc ^ byte) & 15u] ^ crc >> 4;
    return table[(crc ^ byte >> 4) & 15u] ^ crc >> 4;
}

static uint32_t crc32(const uint8_t *bytes, uint32_t count)
{
    uint32_t crc = 0xffffffffu;
    for (uint32_t n = 0; n < count; n++)
        crc = add_to_crc32(crc, bytes[n]);
    return ~crc;
}

static void prepare(void)
{
#ifndef MACRAME_SKIP_CHECKSUM
    if (crc32(macrame_image, MACRAME_IMAGE_BYTES) != MACRAME_IMAGE_CRC32)
        stop("image: it was changed or damaged: its checksum is wrong");
#endif
    console_text("image: ");
    console_number(MACRAME_IMAGE_BYTES);
    console_text(" bytes, ");
    console_number(MACRAME_INSTRUCTIONS);
    console_text(" instructions\n");
    const uint8_t *from = (const uint8_t *)SMALL_ACTIVATIONS_IN_FLASH;
    for (uint32_t n = 0; n < MACRAME_ACTIVATION_BYTES; n++)
        activations[n] = from[n];
}

static void run_frame(void)
{
    static uint32_t bias[MACRAME_PARAMETER_ENTRIES][MACRAME_COLUMNS];
    static uint32_t scale[MACRAME_PARAMETER_ENTRIES][MACRAME_COLUMNS];
    static uint32_t add_tables[MACRAME_ADD_TABLE_SLOTS][2][256];
    static int8_t tables[MACRAME_TABLE_SLOTS][256];
    static const struct engine_places places = {
        .accumulators = (uint32_t (*)[MACRAME_COLUMNS])SMALL_ACCUMULATORS_BASE,
        .scratchpad = (int8_t (*)[MACRAME_ROWS])SMALL_SCRATCHPAD_BASE,
        .bias = bias, .scale = scale, .add_tables = add_tables, .tables = tables};
    const struct engine_windows windows = {
        .program = macrame_image + MACRAME_PROGRAM_OFFSET, .program_bytes = MACRAME_PROGRAM_BYTES,
        .constants = macrame_image + MACRAME_CONSTANTS_OFFSET,
        .constants_bytes = MACRAME_CONSTANTS_BYTES,
        .activations = activations, .activation_bytes = MACRAME_ACTIVATION_BYTES};
    const uint32_t begin = mmio_read32(SMALL_REGISTER_CYCLES);
    const struct engine_report report = engine_run_at(&windows, &places);
    const uint32_t cycles = mmio_read32(SMALL_REGISTER_CYCLES) - begin;
    if (report.fault != MACRAME_FAULT_NONE) {
        console_text("fault: ");
        console_number((uint32_t)report.fault);
        console_text(" (instruction ");
        console_number(report.instruction);
        console_text(", address ");
        console_hex(report.address);
        console_text(")\n");
        stop("the program stopped with a fault");
    }
    console_text("frame: ");
    console_number(cycles);
    console_text(" cycles, ");
    console_number(MACRAME_INSTRUCTIONS);
    console_text(" instructions\n");
}

/* The model's codes of each output, as they could be compared with anybody's; the scratchpad is
 * free. */
static void print_outputs(void)
{
    uint8_t *codes = (uint8_t *)SMALL_SCRATCHPAD_BASE;
    for (uint32_t n = 0; n < MACRAME_OUTPUTS; n++) {
        const struct macrame_tensor *output = &macrame_outputs[n];
        if (output->elements > MACRAME_SCRATCHPAD_BYTES)
            stop("an output must fit the scratchpad for its checksum");
        if (tensor_read_codes(output, activations, sizeof activations, codes, output->elements)
            != TENSOR_OK)
            stop("an output is outside the activations window");
        console_text("output ");
        console_text(output->name);
        console_text(": ");
        console_number(output->elements);
        console_text(" elements, crc32 ");
        console_hex(crc32(codes, output->elements));
        console_text("\n");
    }
}

#if MACRAME_HEADS
static void print_box(const struct yolo_box *box)
{
    console_text("box ");
    console_number(box->class_index);
    console_text(" ");
    console_fixed(box->score, 4);
    const float ends[] = {box->x0, box->y0, box->x1, box->y1};
    for (unsigned n = 0; n < 4; n++) {
        console_text(" ");
        console_fixed(ends[n], 2);
    }
    console_text("\n");
}

/* Boxes are in pixels of the input, as if it were the picture. */
static void print_boxes(void)
{
    static struct yolo_box boxes[BOXES];
    static const struct yolo_limits limits = {.score = MACRAME_SCORE, .overlap = 0.45f};
    const struct macrame_tensor *input = &macrame_inputs[0];
    struct yolo_placement placement;
    uint32_t count = 0;
    enum yolo_status status = yolo_place(input->columns, input->rows, input->columns, input->rows,
                                         0, &placement);
    if (status == YOLO_OK)
        status = yolo_detect(macrame_heads, MACRAME_HEADS, macrame_outputs, MACRAME_OUTPUTS,
                             activations, sizeof activations, &placement, &limits, boxes, BOXES,
                             &count);
    console_text("boxes: ");
    console_number(count);
    if (status != YOLO_OK) {
        console_text(" (");
        console_text(yolo_status_text(status));
        console_text(")");
    }
    console_text("\n");
    for (uint32_t n = 0; n < count; n++)
        print_box(&boxes[n]);
}
#else
static void print_boxes(void)
{
    console_text("boxes: the model does not say what its outputs mean\n");
}
#endif

int main(void)
{
    mmio_write32(SMALL_REGISTER_LEDS, 0);
    console_text("Macrame: " MACRAME_MODEL_NAME " for " MACRAME_MODEL_TARGET "\n");
    prepare();
    run_frame();
    print_outputs();
    print_boxes();
    finish(END_OF_TRANSMISSION, LED_GREEN);
}
