/* Runs one frame on the system: checks core and image, starts the core, waits for its interrupt,
 * and says on the serial line what it counted and what it found.
 *
 * Whoever loads the firmware puts the input into the activations window, which begins at the symbol
 * `activations`, as the network expects it (tensor.h does it, and so does `python -m sim soc`). */

#include <stddef.h>
#include <stdint.h>

#include "console.h"
#include "macrame.h"
#include "macrame_model.h"
#include "macrame_weights.h"
#include "mmio.h"
#include "soc.h"
#include "soc/uart.h"
#include "yolo.h"

/* How the text ends: all is well, or it cannot go on. */
#define END_OF_TRANSMISSION 0x04u
#define CANCEL 0x18u

#define EXTERNAL_INTERRUPT 0x8000000Bu
/* Bits of mstatus and mie. */
#define INTERRUPTS_ON 0x8u
#define EXTERNAL_ON 0x800u

#define WATCHDOG_CYCLES 1000000u
/* Loops of some ten cycles: about 20 seconds at 50 MHz. */
#define FRAME_LOOPS 100000000u
#define STOP_POLLS 100000u
#define BOXES 256u
/* What the score of a box must exceed. */
#ifndef MACRAME_SCORE
#define MACRAME_SCORE 0.25f
#endif

extern uint8_t activations[MACRAME_ACTIVATION_BYTES];
uint8_t activations[MACRAME_ACTIVATION_BYTES]
    __attribute__((aligned(4096), section(".activations")));

static struct macrame device;

int main(void);
void trap(uint32_t cause, uint32_t address);

/* Say so, and go back to the boot code, which then asks for the next program or picture. */
static _Noreturn void finish(uint8_t last)
{
    extern uint32_t firmware_mark; /* soc/crt0.S */
    uart_put(last);
    mmio_write32((uintptr_t)&firmware_mark, 0);
    __asm__ volatile("csrc mstatus, %0" : : "r"(INTERRUPTS_ON));
    __asm__ volatile("jr %0" : : "r"(SOC_ROM_BASE));
    for (;;)
        continue;
}

static void stop_if_bad(enum macrame_status status, const char *what)
{
    struct macrame_fault_report fault;
    if (status == MACRAME_OK)
        return;
    console_text("error: ");
    console_text(what);
    console_text(": ");
    console_text(macrame_status_text(status));
    if (status == MACRAME_FAULT && macrame_read_fault(&device, &fault) == MACRAME_OK) {
        console_text("\nfault: ");
        console_text(macrame_fault_text(fault.cause));
        console_text(" (instruction ");
        console_number(fault.instruction);
        console_text(", address ");
        console_hex(fault.address);
        console_text(")");
    }
    console_text("\n");
    finish(CANCEL);
}

/* Called by soc/crt0.S. */
void trap(uint32_t cause, uint32_t address)
{
    if (cause == EXTERNAL_INTERRUPT) {
        macrame_handle_interrupt(&device);
        return;
    }
    console_text("error: trap ");
    console_hex(cause);
    console_text(" at ");
    console_hex(address);
    console_text("\n");
    finish(CANCEL);
}

static void enable_interrupts(void)
{
    /* VexRiscv's own mask of external interrupts, then the standard ones */
    __asm__ volatile("csrw 0xBC0, %0" : : "r"(1u << SOC_MACRAME_INTERRUPT));
    __asm__ volatile("csrs mie, %0" : : "r"(EXTERNAL_ON));
    __asm__ volatile("csrs mstatus, %0" : : "r"(INTERRUPTS_ON));
}

static void prepare(void)
{
    struct macrame_program program;
    stop_if_bad(macrame_open(&device, SOC_MACRAME_BASE), "core");
    stop_if_bad(macrame_read_image(&program, macrame_image, MACRAME_IMAGE_BYTES,
                                   (uint32_t)(uintptr_t)macrame_image),
                "image");
#ifndef MACRAME_SKIP_CHECKSUM
    stop_if_bad(macrame_verify_image(&program), "image");
#endif
    stop_if_bad(macrame_configure(&device, &program, (uint32_t)(uintptr_t)activations,
                                  sizeof activations, WATCHDOG_CYCLES),
                "program");
    console_text("image: ");
    console_number(program.image_bytes);
    console_text(" bytes, ");
    console_number(program.instructions);
    console_text(" instructions\n");
}

static void run_frame(void)
{
    stop_if_bad(macrame_start(&device, 1), "start");
    for (uint32_t loops = FRAME_LOOPS; loops && !device.interrupted; loops--)
        continue;
    enum macrame_status status = macrame_wait(&device, STOP_POLLS);
    if (status == MACRAME_TIMEOUT && macrame_abort(&device, STOP_POLLS) != MACRAME_OK)
        status = MACRAME_STUCK;
    stop_if_bad(status, "frame");
}

static void print_queue(const char *name, const struct macrame_queue_cycles *queue)
{
    console_text(name);
    console_text(" busy ");
    console_number(queue->busy);
    console_text(", wait ");
    console_number(queue->wait);
    console_text(", stall ");
    console_number(queue->stall);
    console_text("\n");
}

static void print_counters(void)
{
    struct macrame_counters counters;
    stop_if_bad(macrame_read_counters(&device, &counters), "counters");
    console_text("frame: ");
    console_number(counters.cycles);
    console_text(" cycles, ");
    console_number(counters.instructions);
    console_text(" instructions\n");
    print_queue("LOAD ", &counters.load);
    print_queue("MAC  ", &counters.mac);
    print_queue("POST ", &counters.post);
    print_queue("STORE", &counters.store);
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
    console_text("Macrame: " MACRAME_MODEL_NAME " for " MACRAME_MODEL_TARGET "\n");
    enable_interrupts();
    prepare();
    run_frame();
    print_counters();
    print_boxes();
    finish(END_OF_TRANSMISSION);
}
