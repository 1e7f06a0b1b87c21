// The two functions of LZ4 that Verilator's FST writer calls. No pip package brings this header.
// Greedy matching with a hash table; the result is an ordinary LZ4 block.
// Ref: LZ4 block format description, https://github.com/lz4/lz4/blob/dev/doc/lz4_Block_format.md
#pragma once
#include <cstdint>
#include <cstring>
#include <vector>

inline int LZ4_compressBound(int size) { return size + size / 255 + 16; }

// Returns the size of what was written to `out`; `room` must be LZ4_compressBound(size).
inline int LZ4_compress_default(const char *in, char *out, int size, int room) {
    constexpr int hash_bits = 12, shortest = 4, farthest = 65535;
    // A block's last 5 bytes are literals, and its last match begins 12 bytes before the end.
    const int last_match = size - 12, last_byte = size - 5;
    std::vector<int> seen(1 << hash_bits, -1);
    char *o = out;
    int literals = 0;  // where those begin that are not written yet

    const auto length = [&](int more) {
        for (; more >= 255; more -= 255) *o++ = char(255);
        *o++ = char(more);
    };
    const auto sequence = [&](int at, int match) {  // a match of 0 bytes: the last one
        const int count = at - literals, extra = match - shortest;
        *o++ = char((count < 15 ? count : 15) << 4 | (!match ? 0 : extra < 15 ? extra : 15));
        if (count >= 15) length(count - 15);
        memcpy(o, in + literals, count);
        o += count;
    };
    for (int at = 0; at <= last_match;) {
        uint32_t word;
        memcpy(&word, in + at, 4);
        int &slot = seen[word * 2654435761u >> (32 - hash_bits)];
        const int before = slot;
        slot = at;
        if (before < 0 || at - before > farthest || memcmp(in + before, in + at, shortest)) {
            at++;
            continue;
        }
        int match = shortest;
        while (at + match < last_byte && in[before + match] == in[at + match]) match++;
        sequence(at, match);
        *o++ = char(at - before), *o++ = char((at - before) >> 8);
        if (match - shortest >= 15) length(match - shortest - 15);
        literals = at += match;
    }
    sequence(size, 0);
    return int(o - out);
}
