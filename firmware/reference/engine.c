#include <stddef.h>

#include "units.h"

/* Tokens from every queue to every other. */
struct tokens {
    uint32_t counts[MACRAME_QUEUES][MACRAME_QUEUES]; /* [from][to] */
};

/* Take the tokens that an instruction of queue `own` waits for; 0 if one is missing. */
static int take(struct tokens *tokens, uint32_t own, uint32_t wait)
{
    for (uint32_t queue = 0; queue < MACRAME_QUEUES; queue++)
        if (wait >> queue & 1 && tokens->counts[queue][own] == 0)
            return 0;
    for (uint32_t queue = 0; queue < MACRAME_QUEUES; queue++)
        tokens->counts[queue][own] -= wait >> queue & 1;
    return 1;
}

/* Give the tokens of an instruction; 0 if a counter does not hold one more. */
static int give(struct tokens *tokens, uint32_t own, uint32_t signal)
{
    for (uint32_t queue = 0; queue < MACRAME_QUEUES; queue++) {
        uint32_t *count = &tokens->counts[own][queue];
        if ((signal >> queue & 1) && ++*count >> MACRAME_TOKEN_BITS)
            return 0;
    }
    return 1;
}

/* An instruction of a queue: reserved bits, tokens, the operation itself. `UPPER` and `lower` are
 * its names in macrame_isa.h. */
#define RUN(UPPER, lower)                                                                         \
    case MACRAME_OPCODE_##UPPER: {                                                                \
        struct macrame_##lower##_fields fields;                                                   \
        if (!macrame_bits_are_zero(instruction, MACRAME_##UPPER##_BITS))                          \
            return engine_illegal(engine);                                                        \
        macrame_decode_##lower(instruction, &fields);                                             \
        if ((fields.wait | fields.signal) >> MACRAME_##UPPER##_QUEUE & 1)                         \
            return engine_illegal(engine);                                                        \
        if (!take(tokens, MACRAME_##UPPER##_QUEUE, fields.wait))                                  \
            return engine_refuse(engine, MACRAME_FAULT_WATCHDOG, 0);                              \
        if (!engine_##lower(engine, &fields))                                                     \
            return 0;                                                                             \
        if (!give(tokens, MACRAME_##UPPER##_QUEUE, fields.signal))                                \
            return engine_refuse(engine, MACRAME_FAULT_TOKEN_OVERFLOW, 0);                        \
        return 1;                                                                                 \
    }

/* Do one instruction; 0 if it was refused. */
static int step(struct engine *engine, struct tokens *tokens, const uint8_t *instruction)
{
    switch (macrame_bits(instruction, MACRAME_END_OPCODE_LSB, MACRAME_END_OPCODE_WIDTH)) {
        RUN(LOAD, load)
        RUN(LOAD_LINEAR, load_linear)
        RUN(MAC, mac)
        RUN(DRAIN, drain)
        RUN(POOL, pool)
        RUN(ELEMENTWISE, elementwise)
        RUN(STORE, store)
    }
    return engine_illegal(engine);
}

static int is_end(const uint8_t *instruction)
{
    return macrame_bits(instruction, MACRAME_END_OPCODE_LSB, MACRAME_END_OPCODE_WIDTH)
               == MACRAME_OPCODE_END
           && macrame_bits_are_zero(instruction, MACRAME_END_BITS);
}

struct engine_report engine_run(const struct engine_windows *windows, struct engine_memory *memory)
{
    struct engine_report report = {MACRAME_FAULT_PROGRAM_WINDOW, 0, 0};
    if (windows == NULL)
        return report;
    if (memory == NULL) {
        report.fault = MACRAME_FAULT_ON_CHIP_RANGE;
        return report;
    }
    const struct engine_places places = {
        .accumulators = memory->accumulators, .bias = memory->bias, .scale = memory->scale,
        .add_tables = memory->add_tables, .scratchpad = memory->scratchpad,
        .weights = memory->weights, .tables = memory->tables};
    return engine_run_at(windows, &places);
}

struct engine_report engine_run_at(const struct engine_windows *windows,
                                   const struct engine_places *places)
{
    struct engine_report report = {MACRAME_FAULT_PROGRAM_WINDOW, 0, 0};
    struct engine engine = {.windows = *windows, .memory = places};
    if (engine.windows.program == NULL)
        engine.windows.program_bytes = 0;
    if (engine.windows.constants == NULL)
        engine.windows.constants_bytes = 0;
    if (engine.windows.activations == NULL)
        engine.windows.activation_bytes = 0;
    struct tokens tokens = {{{0}}};
    const uint32_t count = engine.windows.program_bytes / MACRAME_INSTRUCTION_BYTES;
    for (uint32_t index = 0; index < count; index++) {
        const uint8_t *instruction =
            engine.windows.program + (size_t)index * MACRAME_INSTRUCTION_BYTES;
        if (is_end(instruction)) {
            report.fault = MACRAME_FAULT_NONE;
            return report;
        }
        engine.instruction = instruction;
        if (!step(&engine, &tokens, instruction)) {
            report.fault = engine.fault;
            report.instruction = index;
            report.address = engine.address;
            return report;
        }
    }
    report.instruction = count;
    report.address = count * MACRAME_INSTRUCTION_BYTES;
    return report;
}
