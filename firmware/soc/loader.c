/* A frame is: bytes of its payload, CRC-16 of command and payload (big-endian), command, payload.
 * Ref: LiteX 2024.12, litex/tools/litex_term.py and litex/soc/software/bios/sfl.h. */

#include "soc/loader.h"

#include "mmio.h"
#include "soc.h"
#include "soc/uart.h"

#define REQUEST "sL5DdSMmkekro\n"
#define ANSWER "z6IHG7cYDID6o\n"

enum { COMMAND_ABORT = 0, COMMAND_LOAD = 1, COMMAND_JUMP = 2 };
enum { SUCCESS = 'K', WRONG_CRC = 'C', UNKNOWN = 'U', ERROR = 'E' };

#define ADDRESS_BYTES 4u
/* A look at the UART takes some ten cycles: about a second, and some milliseconds. */
#define REQUEST_POLLS (SOC_CLOCK_HZ / 10u)
#define BYTE_POLLS (SOC_CLOCK_HZ / 1000u)

struct frame {
    uint8_t bytes, command;
    uint16_t crc;
    uint8_t payload[255];
};

static uint16_t add_to_crc(uint16_t crc, uint8_t byte)
{
    crc = (uint16_t)(crc ^ byte << 8);
    for (int bit = 0; bit < 8; bit++)
        crc = (uint16_t)(crc & 0x8000 ? crc << 1 ^ 0x1021 : crc << 1);
    return crc;
}

/* Whether the host answers with its own word. */
static int answered(void)
{
    static const char answer[] = ANSWER;
    unsigned right = 0;
    uint8_t byte;
    for (const char *c = REQUEST; *c; c++)
        uart_put((uint8_t)*c);
    while (right < sizeof answer - 1 && uart_get(&byte, right ? BYTE_POLLS : REQUEST_POLLS))
        right = byte == (uint8_t)answer[right] ? right + 1 : byte == (uint8_t)answer[0];
    return right == sizeof answer - 1;
}

/* Wait for a frame; 0 if its bytes stop coming. */
static int receive(struct frame *frame)
{
    uint8_t head[3];
    while (!uart_get(&frame->bytes, REQUEST_POLLS))
        continue;
    for (unsigned n = 0; n < sizeof head; n++)
        if (!uart_get(&head[n], BYTE_POLLS))
            return 0;
    frame->crc = (uint16_t)(head[0] << 8 | head[1]);
    frame->command = head[2];
    for (unsigned n = 0; n < frame->bytes; n++)
        if (!uart_get(&frame->payload[n], BYTE_POLLS))
            return 0;
    return 1;
}

static int is_whole(const struct frame *frame)
{
    uint16_t crc = add_to_crc(0, frame->command);
    for (unsigned n = 0; n < frame->bytes; n++)
        crc = add_to_crc(crc, frame->payload[n]);
    return crc == frame->crc;
}

static uint32_t address_of(const struct frame *frame)
{
    return (uint32_t)frame->payload[0] << 24 | (uint32_t)frame->payload[1] << 16
           | (uint32_t)frame->payload[2] << 8 | frame->payload[3];
}

static int store(const struct frame *frame)
{
    const uint32_t address = address_of(frame), count = frame->bytes - ADDRESS_BYTES;
    if (address < SOC_MAIN_RAM_BASE || address - SOC_MAIN_RAM_BASE > SOC_MAIN_RAM_BYTES - count)
        return 0;
    volatile uint8_t *memory = (volatile uint8_t *)(uintptr_t)address;
    for (uint32_t n = 0; n < count; n++)
        memory[n] = frame->payload[ADDRESS_BYTES + n];
    return 1;
}

uint32_t load_over_uart(void)
{
    struct frame frame;
    while (!answered())
        continue;
    for (;;) {
        if (!receive(&frame)) {
            uart_put(ERROR);
        } else if (!is_whole(&frame)) {
            uart_put(WRONG_CRC);
        } else if (frame.command == COMMAND_LOAD && frame.bytes >= ADDRESS_BYTES) {
            uart_put(store(&frame) ? SUCCESS : ERROR);
        } else if (frame.command == COMMAND_JUMP && frame.bytes == ADDRESS_BYTES) {
            uart_put(SUCCESS);
            return address_of(&frame);
        } else if (frame.command == COMMAND_ABORT) {
            uart_put(SUCCESS);
            while (!answered())
                continue;
        } else {
            uart_put(UNKNOWN);
        }
    }
}
