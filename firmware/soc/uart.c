#include "soc/uart.h"

#include "mmio.h"
#include "soc.h"

#define MOST_POLLS (SOC_CLOCK_HZ / 100u)
/* Bit of the events of the UART; writing it takes the byte out of the queue. */
#define RECEIVED 2u

void uart_put(uint8_t byte)
{
    for (uint32_t polls = MOST_POLLS; polls; polls--)
        if (!mmio_read32(SOC_UART_TXFULL)) {
            mmio_write32(SOC_UART_RXTX, byte);
            return;
        }
}

int uart_get(uint8_t *byte, uint32_t polls)
{
    for (; polls; polls--)
        if (!mmio_read32(SOC_UART_RXEMPTY)) {
            *byte = (uint8_t)mmio_read32(SOC_UART_RXTX);
            mmio_write32(SOC_UART_EV_PENDING, RECEIVED);
            return 1;
        }
    return 0;
}
