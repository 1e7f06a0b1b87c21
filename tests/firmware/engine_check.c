/* Runs programs on the reference engine: cases from standard input, results to standard output.
 *
 * A case: sizes of program, constants and activations, uint32 each; their bytes; the engine's
 * memory. A result: fault, instruction, address, uint32 each; activations; memory. */
#include <stdio.h>
#include <stdlib.h>

#include "engine.h"

static struct engine_memory memory;

/* Exactly as long as asked for, so that the sanitizer sees every byte too many. */
static uint8_t *read_bytes(size_t count)
{
    uint8_t *bytes = malloc(count);
    if (count > 0 && (bytes == NULL || fread(bytes, 1, count, stdin) != count))
        exit(2);
    return bytes;
}

int main(void)
{
    uint32_t sizes[3];
    while (fread(sizes, sizeof sizes, 1, stdin) == 1) {
        uint8_t *program = read_bytes(sizes[0]), *constants = read_bytes(sizes[1]);
        uint8_t *activations = read_bytes(sizes[2]);
        if (fread(&memory, sizeof memory, 1, stdin) != 1)
            return 2;
        const struct engine_windows windows = {
            .program = program, .program_bytes = sizes[0], .constants = constants,
            .constants_bytes = sizes[1], .activations = activations, .activation_bytes = sizes[2]};
        const struct engine_report report = engine_run(&windows, &memory);
        const uint32_t result[] = {report.fault, report.instruction, report.address};
        fwrite(result, sizeof result, 1, stdout);
        fwrite(activations, 1, sizes[2], stdout);
        fwrite(&memory, sizeof memory, 1, stdout);
        free(program);
        free(constants);
        free(activations);
    }
    return 0;
}
