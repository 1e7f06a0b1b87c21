/* The driver on the host, with a core of a few lines behind its registers.
 *
 * Reads commands from standard input, one a line; prints what the driver returned and every access
 * that it made: "R NAME value", "W NAME value". An access that the register does not allow, or that
 * is outside the registers, ends the program. */

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "macrame.h"
#include "macrame_isa.h"
#include "mmio.h"

#define BASE 0x90000000u
#define MOST_BYTES (1u << 20)

/* The core. */
static uint32_t registers[MACRAME_REG_BYTES / 4];
static uint32_t config[] = {
#define WORD(name, value) (uint32_t)(value),
    MACRAME_CONFIG_WORD_LIST(WORD)
#undef WORD
};
static uint32_t run_polls = 3;    /* reads of STATUS until a frame ends */
static uint32_t fault;            /* with which it ends, 0: none */
static uint32_t left;
static int stuck;                 /* an abort is ignored */
static uint32_t carry;            /* reads of CYCLES_HIGH after which it counts up */

static const struct {
    const char *name;
    uint32_t offset;
    int access;
} names[] = {
#define NAME(name, offset, access) {#name, offset, access},
    MACRAME_REGISTER_LIST(NAME)
#undef NAME
};

static const char *check(uintptr_t address, int access)
{
    for (size_t n = 0; n < sizeof names / sizeof *names; n++)
        if (BASE + names[n].offset == address && names[n].access & access)
            return names[n].name;
    printf("BAD ACCESS %#" PRIxPTR "\n", address);
    exit(1);
}

static uint32_t *reg(uint32_t offset)
{
    return &registers[offset / 4];
}

static void end_frame(uint32_t cause)
{
    *reg(MACRAME_REG_FAULT) = cause;
    *reg(MACRAME_REG_STATUS) = cause ? MACRAME_STATUS_FAULT_MASK : MACRAME_STATUS_DONE_MASK;
}

uint32_t mmio_read32(uintptr_t address)
{
    const char *name = check(address, MACRAME_ACCESS_READ);
    uint32_t *status = reg(MACRAME_REG_STATUS);
    uint32_t value = registers[(address - BASE) / 4];
    if (!strcmp(name, "STATUS") && *status & MACRAME_STATUS_BUSY_MASK && left-- == 0) {
        end_frame(fault);
        value = *status;
    }
    if (!strcmp(name, "CONFIG_WORD")) {
        const uint32_t index = *reg(MACRAME_REG_CONFIG);
        value = index < MACRAME_CONFIG_WORDS ? config[index] : 0;
    }
    if (!strcmp(name, "CYCLES_HIGH") && carry && --carry == 0) {
        *reg(MACRAME_REG_CYCLES_HIGH) += 1;
        *reg(MACRAME_REG_CYCLES) = 5;
    }
    printf("R %s %" PRIu32 "\n", name, value);
    return value;
}

void mmio_write32(uintptr_t address, uint32_t value)
{
    const char *name = check(address, MACRAME_ACCESS_WRITE);
    const int busy = (*reg(MACRAME_REG_STATUS) & MACRAME_STATUS_BUSY_MASK) != 0;
    printf("W %s %" PRIu32 "\n", name, value);
    if (strcmp(name, "CONTROL")) {
        registers[(address - BASE) / 4] = value;
    } else if (value & MACRAME_CONTROL_START_MASK && !busy) {
        *reg(MACRAME_REG_STATUS) = MACRAME_STATUS_BUSY_MASK;
        *reg(MACRAME_REG_FAULT) = 0;
        left = run_polls;
    } else if (value & MACRAME_CONTROL_CLEAR_MASK && !busy) {
        *reg(MACRAME_REG_STATUS) = *reg(MACRAME_REG_FAULT) = 0;
    } else if (value & MACRAME_CONTROL_ABORT_MASK && busy && !stuck) {
        end_frame(MACRAME_FAULT_ABORTED);
    }
}

/* The images, each in memory of its own size, so that the sanitizer sees what is behind it. */
static uint8_t *read_file(const char *path, uint32_t count)
{
    FILE *file = fopen(path, "rb");
    uint8_t *bytes = malloc(count ? count : 1);
    if (!file || !bytes || fread(bytes, 1, count, file) != count) {
        perror(path);
        exit(1);
    }
    fclose(file);
    return bytes;
}

static void returned(enum macrame_status status)
{
    printf("= %s\n", macrame_status_text(status));
}

int main(void)
{
    struct macrame device = {0}, none = {0};
    struct macrame_program program = {0};
    struct macrame_counters counters;
    struct macrame_fault_report report;
    char command[32], path[4096];
    uint32_t a, b, c, d;
    uint8_t *image = NULL, *memory = NULL;
    *reg(MACRAME_REG_ID) = MACRAME_ID_VALUE;
    *reg(MACRAME_REG_VERSION) = MACRAME_INTERFACE_VERSION;
    for (uint32_t n = 0; n < MACRAME_REG_BYTES / 4; n++)
        if (n * 4 >= MACRAME_REG_CYCLES)
            registers[n] = 1000 + n;
    while (scanf("%31s", command) == 1) {
        if (!strcmp(command, "set") && scanf("%31s %" SCNu32, command, &a) == 2) {
            for (size_t n = 0; n < sizeof names / sizeof *names; n++)
                if (!strcmp(command, names[n].name))
                    registers[names[n].offset / 4] = a;
        } else if (!strcmp(command, "word") && scanf("%" SCNu32 " %" SCNu32, &a, &b) == 2) {
            config[a] = b;
        } else if (!strcmp(command, "core")
                   && scanf("%" SCNu32 " %" SCNu32 " %d %" SCNu32, &run_polls, &fault, &stuck,
                            &carry) == 4) {
        } else if (!strcmp(command, "open") && scanf("%" SCNu32, &a) == 1) {
            returned(macrame_open(&device, a));
        } else if (!strcmp(command, "image") && scanf("%4095s %" SCNu32 " %" SCNu32, path, &a, &b)
                   == 3) {
            free(image);
            image = read_file(path, a);
            returned(macrame_read_image(&program, image, a, b));
        } else if (!strcmp(command, "verify")) {
            returned(macrame_verify_image(&program));
        } else if (!strcmp(command, "load") && scanf("%4095s %" SCNu32 " %" SCNu32 " %" SCNu32,
                                                     path, &a, &b, &c) == 4) {
            free(image);
            image = read_file(path, a);
            free(memory);
            memory = malloc(b);
            returned(macrame_load_image(&program, image, a, memory, b, c));
            if (memory && program.image == memory && memcmp(memory, image, program.image_bytes))
                printf("the copy differs\n");
        } else if (!strcmp(command, "configure")
                   && scanf("%" SCNu32 " %" SCNu32 " %" SCNu32, &a, &b, &d) == 3) {
            returned(macrame_configure(&device, &program, a, b, d));
        } else if (!strcmp(command, "start") && scanf("%" SCNu32, &a) == 1) {
            returned(macrame_start(&device, (int)a));
        } else if (!strcmp(command, "poll")) {
            returned(macrame_poll(&device));
        } else if (!strcmp(command, "wait") && scanf("%" SCNu32, &a) == 1) {
            returned(macrame_wait(&device, a));
        } else if (!strcmp(command, "abort") && scanf("%" SCNu32, &a) == 1) {
            returned(macrame_abort(&device, a));
        } else if (!strcmp(command, "run") && scanf("%" SCNu32, &a) == 1) {
            returned(macrame_run(&device, a));
        } else if (!strcmp(command, "interrupt")) {
            macrame_handle_interrupt(&device);
        } else if (!strcmp(command, "interrupted")) {
            printf("interrupted %d\n", device.interrupted);
        } else if (!strcmp(command, "counters")) {
            returned(macrame_read_counters(&device, &counters));
            printf("%" PRIu64 " %" PRIu32 " %" PRIu32 " %" PRIu32 " %" PRIu32 " %" PRIu32 "\n",
                   counters.cycles, counters.instructions, counters.load.busy, counters.mac.wait,
                   counters.post.stall, counters.store.stall);
        } else if (!strcmp(command, "fault")) {
            returned(macrame_read_fault(&device, &report));
            printf("%s, instruction %" PRIu32 ", address %" PRIu32 "\n",
                   macrame_fault_text(report.cause), report.instruction, report.address);
        } else if (!strcmp(command, "null")) {
            /* everything that must be refused without a look at any register */
            returned(macrame_open(NULL, BASE));
            returned(macrame_open(&device, 0));
            returned(macrame_open(&device, BASE + 2));
            returned(macrame_read_image(NULL, image, 1, 0));
            returned(macrame_read_image(&program, NULL, 1, 0));
            returned(macrame_read_image(&program, image, 0, 0));
            returned(macrame_verify_image(NULL));
            returned(macrame_verify_image(&(struct macrame_program){0}));
            returned(macrame_load_image(NULL, image, 1, image, 1, 0));
            returned(macrame_load_image(&program, image, 1, NULL, 1, 0));
            returned(macrame_load_image(&program, NULL, 1, image, 1, 0));
            returned(macrame_configure(NULL, &program, 0, 16, 0));
            returned(macrame_configure(&none, &program, 0, 16, 0));
            returned(macrame_configure(&device, NULL, 0, 16, 0));
            returned(macrame_configure(&device, &(struct macrame_program){0}, 0, 16, 0));
            returned(macrame_start(NULL, 0));
            returned(macrame_start(&none, 0));
            returned(macrame_poll(NULL));
            returned(macrame_poll(&none));
            returned(macrame_wait(NULL, 1));
            returned(macrame_wait(&device, 0));
            returned(macrame_abort(NULL, 1));
            returned(macrame_abort(&device, 0));
            returned(macrame_run(NULL, 1));
            returned(macrame_run(&device, 0));
            returned(macrame_read_counters(NULL, &counters));
            returned(macrame_read_counters(&device, NULL));
            returned(macrame_read_fault(NULL, &report));
            returned(macrame_read_fault(&device, NULL));
        } else if (!strcmp(command, "texts")) {
            for (int n = 0; n <= MACRAME_STATUSES; n++)
                printf("%s\n", macrame_status_text((enum macrame_status)n));
            for (uint32_t n = 0; n <= MACRAME_FAULTS; n++)
                printf("%s\n", macrame_fault_text((enum macrame_fault)n));
        } else if (!strcmp(command, "crc") && scanf("%4095s %" SCNu32 " %" SCNu32, path, &a, &b)
                   == 3) {
            uint8_t *bytes = read_file(path, a);
            printf("%" PRIu32 "\n", macrame_crc32(bytes + b, a - b));
            free(bytes);
        } else {
            printf("BAD COMMAND %s\n", command);
            return 1;
        }
    }
    free(image);
    free(memory);
    return 0;
}
