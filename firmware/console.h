/* Text on the serial line. */
#ifndef CONSOLE_H
#define CONSOLE_H

#include <stdint.h>

void console_text(const char *text);

/* Decimal, and hexadecimal with eight digits. */
void console_number(uint64_t value);
void console_hex(uint32_t value);

/* A number of -4e9..4e9 with 1 to 6 decimals, rounded half up. */
void console_fixed(float value, int decimals);

#endif
