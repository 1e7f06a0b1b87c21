/* The only two ways to a register. Built with MACRAME_MOCK, tests bring their own. */
#ifndef MACRAME_MMIO_H
#define MACRAME_MMIO_H

#include <stdint.h>

#ifdef MACRAME_MOCK
uint32_t mmio_read32(uintptr_t address);
void mmio_write32(uintptr_t address, uint32_t value);
#else
static inline uint32_t mmio_read32(uintptr_t address)
{
    return *(const volatile uint32_t *)address;
}

static inline void mmio_write32(uintptr_t address, uint32_t value)
{
    *(volatile uint32_t *)address = value;
}
#endif

#endif
