/* The array in C: runs the program of an image on the processor itself, word by word as
 * docs/isa_semantics.md says. Portable C11, freestanding, no allocation, no globals.
 *
 * Instructions take effect one after the other, in the order of the program. A program that could
 * go on in another order only (an instruction waits for the token of a later one) is a deadlock
 * here; the compiler makes none. */
#ifndef ENGINE_H
#define ENGINE_H

#include "macrame_isa.h"
#include "macrame_regs.h"

#ifdef __cplusplus
extern "C" {
#endif

/* The memories on the chip. What is in them before the first write does not matter to programs of
 * the compiler. */
struct engine_memory {
    uint32_t accumulators[MACRAME_ACCUMULATOR_WORDS][MACRAME_COLUMNS]; /* two's complement */
    uint32_t bias[MACRAME_PARAMETER_ENTRIES][MACRAME_COLUMNS];         /* likewise */
    uint32_t scale[MACRAME_PARAMETER_ENTRIES][MACRAME_COLUMNS]; /* multiplier | shift << 24 */
    uint32_t add_tables[MACRAME_ADD_TABLE_SLOTS][2][256];       /* two's complement */
    int8_t scratchpad[MACRAME_SCRATCHPAD_WORDS][MACRAME_ROWS];
    int8_t weights[MACRAME_WEIGHT_WORDS][MACRAME_COLUMNS];
    int8_t tables[MACRAME_TABLE_SLOTS][256];
};

/* Where each of them is, for who has some as hardware: then the array's parts, reference/mac.c, are
 * another file. Whoever replaces it decides what `accumulators` and `weights` are; DRAIN reads the
 * former. */
struct engine_places {
    uint32_t (*accumulators)[MACRAME_COLUMNS];
    uint32_t (*bias)[MACRAME_COLUMNS];
    uint32_t (*scale)[MACRAME_COLUMNS];
    uint32_t (*add_tables)[2][256];
    int8_t (*scratchpad)[MACRAME_ROWS];
    int8_t (*weights)[MACRAME_COLUMNS];
    int8_t (*tables)[256];
};

/* The windows of a program: pointers, and sizes in bytes. A null pointer is an empty window. No
 * alignment is needed. The activations must not overlap the others. */
struct engine_windows {
    const uint8_t *program, *constants;
    uint8_t *activations;
    uint32_t program_bytes, constants_bytes, activation_bytes;
};

/* How a program ended; what the registers FAULT, FAULT_INSTRUCTION and FAULT_ADDRESS would say. */
struct engine_report {
    enum macrame_fault fault;      /* MACRAME_FAULT_NONE: it reached END */
    uint32_t instruction, address; /* 0 without a fault */
};

/* Run a program to its END or its first fault.
 *
 * An instruction that faults has no effect, and nothing outside `memory` and the activations
 * window is ever written, whatever the program is. A null pointer for `windows` or `memory` is
 * MACRAME_FAULT_PROGRAM_WINDOW or MACRAME_FAULT_ON_CHIP_RANGE; nothing was done then. */
struct engine_report engine_run(const struct engine_windows *windows,
                                struct engine_memory *memory);

/* The same with memories that are elsewhere; none of both is null. */
struct engine_report engine_run_at(const struct engine_windows *windows,
                                   const struct engine_places *places);

#ifdef __cplusplus
}
#endif

#endif
