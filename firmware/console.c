#include "console.h"

#include "soc/uart.h"

void console_text(const char *text)
{
    while (*text) {
        if (*text == '\n')
            uart_put('\r');
        uart_put((uint8_t)*text++);
    }
}

void console_number(uint64_t value)
{
    char digits[21];
    char *first = digits + sizeof digits - 1;
    *first = '\0';
    do {
        *--first = (char)('0' + value % 10);
        value /= 10;
    } while (value);
    console_text(first);
}

void console_hex(uint32_t value)
{
    console_text("0x");
    for (int shift = 28; shift >= 0; shift -= 4)
        uart_put((uint8_t)"0123456789abcdef"[value >> shift & 15]);
}

void console_fixed(float value, int decimals)
{
    uint32_t unit = 1;
    for (int n = 0; n < decimals; n++)
        unit *= 10;
    if (value < 0) {
        console_text("-");
        value = -value;
    }
    const uint64_t units = (uint64_t)(value * (float)unit + 0.5f);
    console_number(units / unit);
    console_text(".");
    for (uint32_t rest = (uint32_t)(units % unit); unit > 1; rest %= unit) {
        unit /= 10;
        uart_put((uint8_t)('0' + rest / unit));
    }
}
