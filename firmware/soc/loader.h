/* LiteX's serial boot: memory is filled over the UART, then a program is started. The host's side is
 * `litex_term`, which comes with LiteX. */
#ifndef LOADER_H
#define LOADER_H

#include <stdint.h>

/* Ask for a program until there is one; returns where it is to be started. Writes where the host
 * says, but never outside the SDRAM. */
uint32_t load_over_uart(void);

#endif
