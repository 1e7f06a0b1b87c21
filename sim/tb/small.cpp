// What the flash of small_tb.sv contains, the far end of the UART, and where the RAM's contents go in
// the end.

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <vector>

namespace {

std::vector<uint8_t> flash;
std::vector<uint32_t> ram;
FILE *uart;

}  // namespace

extern "C" void small_open(const char *path, const char *uart_path) {
    FILE *file = fopen(path, "rb");
    uart = fopen(uart_path, "wb");
    if (!file || !uart) { perror(path); exit(1); }
    uint8_t block[1 << 16];
    while (size_t count = fread(block, 1, sizeof block, file))
        flash.insert(flash.end(), block, block + count);
    fclose(file);
}

// What was never written is erased.
extern "C" unsigned char flash_read(unsigned address) {
    return address < flash.size() ? flash[address] : 0xff;
}

extern "C" void ram_write(unsigned word, unsigned data) {
    if (ram.size() <= word) ram.resize(word + 1);
    ram[word] = data;
}

extern "C" void uart_write(unsigned byte) {
    fputc(int(byte), uart);
    if (byte == '\n') fflush(uart);
}

extern "C" void small_close(const char *path) {
    fclose(uart);
    FILE *file = fopen(path, "wb");
    if (!file || fwrite(ram.data(), sizeof ram[0], ram.size(), file) != ram.size()) {
        perror(path);
        exit(1);
    }
    fclose(file);
}
