#include "macrame.h"

#include <stddef.h>

#include "mmio.h"

/* ---- texts ---- */

const char *macrame_status_text(enum macrame_status status)
{
    switch (status) {
#define TEXT(name, text) case MACRAME_##name: return text;
        MACRAME_STATUS_LIST(TEXT)
#undef TEXT
    case MACRAME_STATUSES: break;
    }
    return "unknown status";
}

const char *macrame_fault_text(enum macrame_fault cause)
{
    switch (cause) {
#define TEXT(name, value, text) case MACRAME_FAULT_##name: return text;
        MACRAME_FAULT_LIST(TEXT)
#undef TEXT
    }
    return "unknown fault";
}

/* ---- checksums: a byte a step, with a table that is made anew each time ---- */

struct crc_table {
    uint32_t of[256];
};

static void make_table(struct crc_table *table)
{
    for (uint32_t i = 0; i < 256; i++) {
        uint32_t crc = i;
        for (int bit = 0; bit < 8; bit++)
            crc = crc >> 1 ^ (crc & 1 ? 0xEDB88320u : 0);
        table->of[i] = crc;
    }
}

/* Continue a checksum, which begins as ~0 and is inverted at its end. */
static uint32_t add_to_crc(const struct crc_table *table, uint32_t crc, const uint8_t *bytes,
                           uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        crc = crc >> 8 ^ table->of[(crc ^ bytes[i]) & 255];
    return crc;
}

uint32_t macrame_crc32(const uint8_t *bytes, uint32_t count)
{
    struct crc_table table;
    make_table(&table);
    return ~add_to_crc(&table, ~0u, bytes, count);
}

/* ---- images ---- */

static uint32_t little_endian(const uint8_t *bytes)
{
    return (uint32_t)bytes[0] | (uint32_t)bytes[1] << 8 | (uint32_t)bytes[2] << 16
           | (uint32_t)bytes[3] << 24;
}

static uint32_t half(const uint8_t *bytes)
{
    return (uint32_t)bytes[0] | (uint32_t)bytes[1] << 8;
}

/* An entry of the table of sections. */
struct section {
    uint32_t kind, offset, bytes, crc32;
};

static struct section read_section(const uint8_t *entry)
{
    return (struct section){.kind = little_endian(entry + MACRAME_ENTRY_KIND),
                            .offset = little_endian(entry + MACRAME_ENTRY_OFFSET),
                            .bytes = little_endian(entry + MACRAME_ENTRY_BYTES),
                            .crc32 = little_endian(entry + MACRAME_ENTRY_CRC32)};
}

/* The checksum of the first `end` bytes, that of the header itself counted as zero. */
static uint32_t header_crc32(const uint8_t *image, uint32_t end)
{
    static const uint8_t zero[4] = {0};
    struct crc_table table;
    make_table(&table);
    uint32_t crc = add_to_crc(&table, ~0u, image, MACRAME_HEADER_CRC32);
    crc = add_to_crc(&table, crc, zero, sizeof zero);
    return ~add_to_crc(&table, crc, image + MACRAME_HEADER_END, end - MACRAME_HEADER_END);
}

static int inside(uint32_t offset, uint32_t count, uint32_t end)
{
    return offset <= end && count <= end - offset;
}

enum macrame_status macrame_read_image(struct macrame_program *program, const uint8_t *image,
                                       uint32_t count, uint32_t address)
{
    if (program == NULL || image == NULL || count == 0)
        return MACRAME_BAD_ARGUMENT;
    if (address % MACRAME_ADDRESS_ALIGNMENT)
        return MACRAME_MISALIGNED;
    /* the magic number is the core's ID */
    if (count < MACRAME_HEADER_END
        || little_endian(image + MACRAME_HEADER_MAGIC) != MACRAME_ID_VALUE)
        return MACRAME_NOT_AN_IMAGE;
    if (half(image + MACRAME_HEADER_FORMAT_VERSION) != MACRAME_FORMAT_VERSION)
        return MACRAME_WRONG_FORMAT_VERSION;
    if (half(image + MACRAME_HEADER_INTERFACE_VERSION) != MACRAME_INTERFACE_VERSION)
        return MACRAME_WRONG_IMAGE_VERSION;
    const uint32_t image_bytes = little_endian(image + MACRAME_HEADER_IMAGE_BYTES);
    const uint32_t config_words = little_endian(image + MACRAME_HEADER_CONFIG_WORDS);
    if (image_bytes > count || config_words > MACRAME_MOST_CONFIG_WORDS
        || little_endian(image + MACRAME_HEADER_SECTIONS) != MACRAME_SECTIONS)
        return MACRAME_INCOMPLETE_IMAGE;
    const uint32_t table = MACRAME_HEADER_END + 4 * config_words;
    const uint32_t end = table + MACRAME_SECTIONS * MACRAME_ENTRY_END;
    if (end > image_bytes)
        return MACRAME_INCOMPLETE_IMAGE;
    if (header_crc32(image, end) != little_endian(image + MACRAME_HEADER_CRC32))
        return MACRAME_WRONG_CHECKSUM;
    const struct section first = read_section(image + table);
    const struct section second = read_section(image + table + MACRAME_ENTRY_END);
    if (first.kind != MACRAME_SECTION_PROGRAM || second.kind != MACRAME_SECTION_CONSTANTS
        || !inside(first.offset, first.bytes, image_bytes)
        || !inside(second.offset, second.bytes, image_bytes))
        return MACRAME_INCOMPLETE_IMAGE;
    *program = (struct macrame_program){
        .image = image, .address = address, .image_bytes = image_bytes,
        .config_offset = MACRAME_HEADER_END, .config_words = config_words,
        .program_offset = first.offset, .program_bytes = first.bytes, .program_crc32 = first.crc32,
        .constants_offset = second.offset, .constants_bytes = second.bytes,
        .constants_crc32 = second.crc32,
        .activation_bytes = little_endian(image + MACRAME_HEADER_ACTIVATION_BYTES),
        .instructions = little_endian(image + MACRAME_HEADER_INSTRUCTIONS)};
    return MACRAME_OK;
}

enum macrame_status macrame_verify_image(const struct macrame_program *program)
{
    if (program == NULL || program->image == NULL)
        return MACRAME_BAD_ARGUMENT;
    const uint8_t *image = program->image;
    if (macrame_crc32(image + program->program_offset, program->program_bytes)
            != program->program_crc32
        || macrame_crc32(image + program->constants_offset, program->constants_bytes)
               != program->constants_crc32)
        return MACRAME_WRONG_CHECKSUM;
    return MACRAME_OK;
}

enum macrame_status macrame_load_image(struct macrame_program *program, const uint8_t *image,
                                       uint32_t count, uint8_t *memory, uint32_t capacity,
                                       uint32_t address)
{
    struct macrame_program found;
    if (program == NULL || memory == NULL)
        return MACRAME_BAD_ARGUMENT;
    enum macrame_status status = macrame_read_image(&found, image, count, address);
    if (status != MACRAME_OK)
        return status;
    if (found.image_bytes > capacity)
        return MACRAME_TOO_LARGE;
    for (uint32_t i = 0; i < found.image_bytes; i++)
        memory[i] = image[i];
    status = macrame_read_image(&found, memory, found.image_bytes, address);
    if (status == MACRAME_OK) status = macrame_verify_image(&found);
    if (status == MACRAME_OK) *program = found;
    return status;
}

/* ---- the core ---- */

static uint32_t get(const struct macrame *device, uint32_t offset)
{
    return mmio_read32(device->registers + offset);
}

static void put(const struct macrame *device, uint32_t offset, uint32_t value)
{
    mmio_write32(device->registers + offset, value);
}

static int is_busy(const struct macrame *device)
{
    return (get(device, MACRAME_REG_STATUS) & MACRAME_STATUS_BUSY_MASK) != 0;
}

static int is_open(const struct macrame *device)
{
    return device != NULL && device->registers != 0;
}

enum macrame_status macrame_open(struct macrame *device, uintptr_t registers)
{
    if (device == NULL || registers == 0)
        return MACRAME_BAD_ARGUMENT;
    if (registers % 4)
        return MACRAME_MISALIGNED;
    const struct macrame found = {.registers = registers, .configured = 0, .interrupted = 0};
    if (get(&found, MACRAME_REG_ID) != MACRAME_ID_VALUE)
        return MACRAME_NO_CORE;
    if (get(&found, MACRAME_REG_VERSION) != MACRAME_INTERFACE_VERSION)
        return MACRAME_WRONG_CORE_VERSION;
    *device = found;
    return MACRAME_OK;
}

enum macrame_status macrame_configure(struct macrame *device, const struct macrame_program *program,
                                      uint32_t activations, uint32_t activation_bytes,
                                      uint32_t watchdog)
{
    if (!is_open(device) || program == NULL || program->image == NULL)
        return MACRAME_BAD_ARGUMENT;
    if (activations % MACRAME_ADDRESS_ALIGNMENT)
        return MACRAME_MISALIGNED;
    if (activation_bytes < program->activation_bytes)
        return MACRAME_TOO_SMALL;
    const uint64_t image = program->address, image_end = image + program->image_bytes;
    const uint64_t end = (uint64_t)activations + activation_bytes;
    if (image_end > 1ull << 32 || end > 1ull << 32 || (activations < image_end && image < end))
        return MACRAME_MISPLACED;

    if (is_busy(device))
        return MACRAME_BUSY;
    for (uint32_t i = 0; i < program->config_words; i++) {
        put(device, MACRAME_REG_CONFIG, i);
        if (get(device, MACRAME_REG_CONFIG_WORD)
            != little_endian(program->image + program->config_offset + 4 * i))
            return MACRAME_WRONG_CONFIGURATION;
    }
    put(device, MACRAME_REG_PROGRAM_BASE, program->address + program->program_offset);
    put(device, MACRAME_REG_PROGRAM_BYTES, program->program_bytes);
    put(device, MACRAME_REG_CONSTANTS_BASE, program->address + program->constants_offset);
    put(device, MACRAME_REG_CONSTANTS_BYTES, program->constants_bytes);
    put(device, MACRAME_REG_ACTIVATIONS_BASE, activations);
    put(device, MACRAME_REG_ACTIVATIONS_BYTES, program->activation_bytes);
    put(device, MACRAME_REG_WATCHDOG, watchdog);
    device->configured = 1;
    return MACRAME_OK;
}

enum macrame_status macrame_start(struct macrame *device, int interrupt)
{
    if (!is_open(device))
        return MACRAME_BAD_ARGUMENT;
    if (!device->configured)
        return MACRAME_NOT_CONFIGURED;
    if (is_busy(device))
        return MACRAME_BUSY;
    /* what the last frame raised must not count for this one */
    put(device, MACRAME_REG_CONTROL, MACRAME_CONTROL_CLEAR_MASK);
    device->interrupted = 0;
    put(device, MACRAME_REG_INTERRUPT_ENABLE,
        interrupt ? MACRAME_INTERRUPT_ENABLE_DONE_MASK | MACRAME_INTERRUPT_ENABLE_FAULT_MASK : 0);
    put(device, MACRAME_REG_CONTROL, MACRAME_CONTROL_START_MASK);
    return MACRAME_OK;
}

enum macrame_status macrame_poll(struct macrame *device)
{
    if (!is_open(device))
        return MACRAME_BAD_ARGUMENT;
    const uint32_t status = get(device, MACRAME_REG_STATUS);
    if (status & MACRAME_STATUS_BUSY_MASK)
        return MACRAME_RUNNING;
    if (status & MACRAME_STATUS_FAULT_MASK)
        return MACRAME_FAULT;
    return status & MACRAME_STATUS_DONE_MASK ? MACRAME_OK : MACRAME_NOT_RUNNING;
}

enum macrame_status macrame_wait(struct macrame *device, uint32_t polls)
{
    if (polls == 0)
        return MACRAME_BAD_ARGUMENT;
    while (polls--) {
        const enum macrame_status status = macrame_poll(device);
        if (status != MACRAME_RUNNING)
            return status;
    }
    return MACRAME_TIMEOUT;
}

enum macrame_status macrame_abort(struct macrame *device, uint32_t polls)
{
    if (!is_open(device) || polls == 0)
        return MACRAME_BAD_ARGUMENT;
    put(device, MACRAME_REG_CONTROL, MACRAME_CONTROL_ABORT_MASK);
    return macrame_wait(device, polls) == MACRAME_TIMEOUT ? MACRAME_STUCK : MACRAME_OK;
}

enum macrame_status macrame_run(struct macrame *device, uint32_t polls)
{
    if (polls == 0)
        return MACRAME_BAD_ARGUMENT;
    enum macrame_status status = macrame_start(device, 0);
    if (status == MACRAME_OK) status = macrame_wait(device, polls);
    if (status == MACRAME_TIMEOUT && macrame_abort(device, polls) != MACRAME_OK)
        status = MACRAME_STUCK;
    return status;
}

void macrame_handle_interrupt(struct macrame *device)
{
    if (!is_open(device))
        return;
    put(device, MACRAME_REG_INTERRUPT_ENABLE, 0);
    device->interrupted = 1;
}

enum macrame_status macrame_read_counters(struct macrame *device,
                                          struct macrame_counters *counters)
{
    if (!is_open(device) || counters == NULL)
        return MACRAME_BAD_ARGUMENT;
    /* the low half may pass its end between the two reads */
    uint32_t high = get(device, MACRAME_REG_CYCLES_HIGH);
    uint32_t low = get(device, MACRAME_REG_CYCLES);
    const uint32_t again = get(device, MACRAME_REG_CYCLES_HIGH);
    if (again != high) {
        high = again;
        low = get(device, MACRAME_REG_CYCLES);
    }
    counters->cycles = (uint64_t)high << 32 | low;
    counters->instructions = get(device, MACRAME_REG_INSTRUCTIONS);
#define QUEUE(member, NAME) \
    counters->member = (struct macrame_queue_cycles){ \
        .busy = get(device, MACRAME_REG_##NAME##_BUSY), \
        .wait = get(device, MACRAME_REG_##NAME##_WAIT), \
        .stall = get(device, MACRAME_REG_##NAME##_STALL)}
    QUEUE(load, LOAD);
    QUEUE(mac, MAC);
    QUEUE(post, POST);
    QUEUE(store, STORE);
#undef QUEUE
    return MACRAME_OK;
}

enum macrame_status macrame_read_fault(struct macrame *device,
                                       struct macrame_fault_report *report)
{
    if (!is_open(device) || report == NULL)
        return MACRAME_BAD_ARGUMENT;
    report->cause = (enum macrame_fault)get(device, MACRAME_REG_FAULT);
    report->instruction = get(device, MACRAME_REG_FAULT_INSTRUCTION);
    report->address = get(device, MACRAME_REG_FAULT_ADDRESS);
    return MACRAME_OK;
}
