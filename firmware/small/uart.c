/* The small system's UART: a write waits for the byte before it, a read gives a byte or -1. */
#include "soc/uart.h"

#include "mmio.h"
#include "small.h"

void uart_put(uint8_t byte)
{
    mmio_write32(SMALL_REGISTER_UART, byte);
}

int uart_get(uint8_t *byte, uint32_t polls)
{
    for (; polls; polls--) {
        const uint32_t found = mmio_read32(SMALL_REGISTER_UART);
        if (found <= UINT8_MAX) {
            *byte = (uint8_t)found;
            return 1;
        }
    }
    return 0;
}
