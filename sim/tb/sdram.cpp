// What the SDRAM of soc_tb.sv contains: a file that is mapped into this process. And the far end of
// the UART, which writes what the firmware says to a file, and sends what is in another.

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

namespace {

constexpr size_t words = size_t(1) << 24;  // of 16 bits: sdram.sv's rows, banks and columns
uint16_t *contents;
FILE *uart, *serial;

}  // namespace

extern "C" void sdram_open(const char *path, const char *uart_path, const char *serial_path) {
    const int file = open(path, O_RDWR);
    struct stat found{};
    if (file < 0 || fstat(file, &found) || size_t(found.st_size) != 2 * words) {
        fprintf(stderr, "%s: must be a file of %zu bytes\n", path, 2 * words);
        exit(1);
    }
    void *mapped = mmap(nullptr, 2 * words, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    uart = fopen(uart_path, "wb");
    serial = fopen(serial_path, "rb");
    if (mapped == MAP_FAILED || !uart || !serial) { perror(path); exit(1); }
    close(file);
    contents = static_cast<uint16_t *>(mapped);
}

extern "C" unsigned sdram_read(unsigned word) { return contents[word]; }

extern "C" void sdram_write(unsigned word, unsigned data, unsigned mask) {
    const unsigned bits = (mask & 1 ? 0xff : 0) | (mask & 2 ? 0xff00 : 0);
    contents[word] = uint16_t((contents[word] & ~bits) | (data & bits));
}

extern "C" void uart_write(unsigned byte) {
    fputc(int(byte), uart);
    if (byte == '\n') fflush(uart);
}

extern "C" int uart_read() { return fgetc(serial); }

extern "C" void sdram_close() {
    fclose(uart);
    fclose(serial);
    munmap(contents, 2 * words);
}
