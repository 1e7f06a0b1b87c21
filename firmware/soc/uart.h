/* LiteX's UART: 1,000,000 baud, 8N1; in simulation a byte takes a cycle. */
#ifndef UART_H
#define UART_H

#include <stdint.h>

/* Send a byte; it is lost if the line does not take it within some 100 ms. */
void uart_put(uint8_t byte);

/* Take a byte that has arrived; returns 0 if none does within `polls` looks. */
int uart_get(uint8_t *byte, uint32_t polls);

#endif
