/* Wakes the SDRAM up, and starts the firmware in it; if there is none, asks for it over the UART. */

#include <stdint.h>

#include "mmio.h"
#include "soc.h"
#include "soc/loader.h"

#define FIRMWARE_MARK 0x4643414Du /* "MACF", its second word; soc/crt0.S */
/* In a register that a reset sets to something else. */
#define SDRAM_IS_AWAKE 0x4B415741u

void boot(void);

/* At least as many cycles. */
static void wait(uint32_t cycles)
{
    for (volatile uint32_t n = 0; n < cycles; n++)
        continue;
}

static void control(uint32_t bits, uint32_t cycles)
{
    mmio_write32(SOC_SDRAM_DFII_CONTROL, bits);
    wait(cycles);
}

static void command(uint32_t bits, uint32_t address, uint32_t bank, uint32_t cycles)
{
    mmio_write32(SOC_SDRAM_DFII_PI0_ADDRESS, address);
    mmio_write32(SOC_SDRAM_DFII_PI0_BADDRESS, bank);
    mmio_write32(SOC_SDRAM_DFII_PI0_COMMAND, bits);
    mmio_write32(SOC_SDRAM_DFII_PI0_COMMAND_ISSUE, 1);
    wait(cycles);
}

static void wake_sdram(void)
{
#define CONTROL(bits, address, bank, cycles) control(bits, cycles);
#define COMMAND(bits, address, bank, cycles) command(bits, address, bank, cycles);
    SOC_SDRAM_INIT(CONTROL, COMMAND)
    control(SOC_SDRAM_CONTROL_HARDWARE, 0);
}

void boot(void)
{
    uint32_t start = SOC_MAIN_RAM_BASE;
    /* the firmware comes back here, and then the SDRAM must go on being refreshed */
    if (mmio_read32(SOC_CTRL_SCRATCH) != SDRAM_IS_AWAKE) {
        wake_sdram();
        mmio_write32(SOC_CTRL_SCRATCH, SDRAM_IS_AWAKE);
    }
    if (mmio_read32(SOC_MAIN_RAM_BASE + 4) != FIRMWARE_MARK)
        start = load_over_uart();
    /* what the instruction cache has is old: fence.i */
    __asm__ volatile(".word 0x0000100F" : : : "memory");
    ((void (*)(void))(uintptr_t)start)();
}
