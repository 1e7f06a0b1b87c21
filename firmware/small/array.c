/* The array as hardware: what reference/mac.c does in C. Its weights and the instruction are written
 * word by word, and it checks the instruction by itself. */
#include "units.h"

#include "mmio.h"
#include "small.h"

#define STATUS_BUSY 1u
#define STATUS_FAULT 2u
#define CONTROL_START 1u
#define CONTROL_RESET 2u

static uint32_t word_of(const uint8_t *bytes, uint32_t count)
{
    uint32_t word = 0;
    while (count--)
        word = word << 8 | bytes[count];
    return word;
}

int engine_load_weights(struct engine *engine, const struct macrame_load_linear_fields *f,
                        const uint8_t *from)
{
#if MACRAME_WEIGHT_MIN > -128
    for (uint32_t n = 0; n < f->count * MACRAME_COLUMNS; n++)
        if (engine_signed_byte(from[n]) < MACRAME_WEIGHT_MIN)
            return engine_illegal(engine);
#else
    (void)engine; /* every byte is a weight */
#endif
    for (uint32_t unit = f->dst; unit < f->dst + f->count; unit++, from += MACRAME_COLUMNS)
        mmio_write32(SMALL_WEIGHTS_BASE + 4 * unit, word_of(from, MACRAME_COLUMNS));
    return 1;
}

int engine_mac(struct engine *engine, const struct macrame_mac_fields *f)
{
    (void)f; /* the hardware decodes it */
    for (uint32_t at = 0; at < (MACRAME_MAC_BITS + 31) / 32 * 4; at += 4)
        mmio_write32(SMALL_INSTRUCTION_BASE + at, word_of(engine->instruction + at, 4));
    mmio_write32(SMALL_REGISTER_CONTROL, CONTROL_START);
    while (mmio_read32(SMALL_REGISTER_STATUS) & STATUS_BUSY)
        continue;
    /* it has written the accumulators, which the compiler does not know */
    __asm__ volatile("" ::: "memory");
    if (!(mmio_read32(SMALL_REGISTER_STATUS) & STATUS_FAULT))
        return 1;
    engine_refuse(engine, (enum macrame_fault)mmio_read32(SMALL_REGISTER_FAULT),
                  mmio_read32(SMALL_REGISTER_FAULT_ADDRESS));
    mmio_write32(SMALL_REGISTER_CONTROL, CONTROL_RESET);
    return 0;
}
