// Memory behind the core's AXI4 master: a file that is mapped into this process, with a model of
// bandwidth and latency, random stalls, errors on demand, and checks of the protocol.
// Called from tb.sv at every rising edge of the clock. Ref: Arm IHI 0022, chapters A2 and A3.
//
// Settings are lines of a text file:
//   file PATH BYTES ADDRESS      what the memory contains, and where it begins
//   log PATH                     violations, one a line, and at the end what was transferred
//   bus BYTES
//   bandwidth BYTES              per cycle, reads and writes together
//   latency CYCLES               from a request to its first data, from the last data to its answer
//   seed NUMBER                  0: no random stalls
//   window read|write ADDRESS BYTES
//   error read|write ADDRESS     beats with this byte are answered with SLVERR

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <fcntl.h>
#include <string>
#include <sys/mman.h>
#include <unistd.h>
#include <vector>

#include "svdpi.h"

namespace {

constexpr size_t most_outstanding = 16;
constexpr uint64_t most_violations = 100;

struct Range {
    bool write;
    uint64_t address, bytes;
};

struct Burst {
    uint64_t address;
    unsigned beats, done;
    uint64_t ready_at;
};

struct Request {
    bool valid;
    uint64_t address;
    unsigned len, size, burst;
    bool operator==(const Request &o) const {
        return address == o.address && len == o.len && size == o.size && burst == o.burst;
    }
};

struct Memory {
    uint8_t *bytes = nullptr;
    uint64_t base = 0, size = 0, bus = 4, latency = 0, random = 0;
    double bandwidth = 4, credit = 0;
    std::vector<Range> windows, errors;
    FILE *log = nullptr;

    uint64_t cycle = 0, read_beats = 0, write_beats = 0, violations = 0;
    std::deque<Burst> reads, writes;
    std::deque<std::pair<uint64_t, unsigned>> responses;  // when, and which
    bool write_failed = false, served_write = false;
    Request last_ar{}, last_aw{};
    bool last_w = false, last_w_last = false;
    uint8_t last_data[16] = {}, last_strobes[16] = {};

    // What the core sees until the next edge.
    bool arready = false, awready = false, wready = false, rvalid = false, bvalid = false;
    bool rlast = false;
    unsigned rresp = 0, bresp = 0;
    uint8_t rdata[16] = {};

    void open(const char *path);
    void close();
    void violation(const char *what, uint64_t address);
    bool stall(unsigned of_256);
    bool inside(bool write, uint64_t address, uint64_t bytes) const;
    bool injected(bool write, uint64_t address) const;
    void check(bool write, const Request &now, Request &before, bool accepted);
    void read_beat();
    void write_beat(const uint8_t *data, const uint8_t *strobes, bool last);
};

Memory memory;

void Memory::open(const char *path) {
    FILE *settings = fopen(path, "r");
    if (!settings) { perror(path); exit(1); }
    char word[32], text[4096];
    while (fscanf(settings, "%31s", word) == 1) {
        const std::string key = word;
        Range range{};
        int fields = 0;
        if (key == "file") {
            fields = fscanf(settings, " %4095s %lu %lu", text, &size, &base) == 3;
            const int fd = ::open(text, O_RDWR);
            void *mapped = mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
            if (fd < 0 || mapped == MAP_FAILED) { perror(text); exit(1); }
            ::close(fd);
            bytes = static_cast<uint8_t *>(mapped);
        } else if (key == "log") {
            fields = fscanf(settings, " %4095s", text) == 1 && (log = fopen(text, "w"));
        } else if (key == "bus") {
            fields = fscanf(settings, "%lu", &bus) == 1;
        } else if (key == "bandwidth") {
            fields = fscanf(settings, "%lf", &bandwidth) == 1;
        } else if (key == "latency") {
            fields = fscanf(settings, "%lu", &latency) == 1;
        } else if (key == "seed") {
            fields = fscanf(settings, "%lu", &random) == 1;
        } else if (key == "window") {
            fields = fscanf(settings, "%31s %lu %lu", word, &range.address, &range.bytes) == 3;
            range.write = std::string(word) == "write";
            windows.push_back(range);
        } else if (key == "error") {
            fields = fscanf(settings, "%31s %lu", word, &range.address) == 2;
            range.write = std::string(word) == "write";
            errors.push_back(range);
        }
        if (!fields) {
            fprintf(stderr, "%s: line %s must be as memory.cpp describes\n", path, key.c_str());
            exit(1);
        }
    }
    fclose(settings);
    if (!bytes || !log) { fprintf(stderr, "%s: must name file and log\n", path); exit(1); }
}

void Memory::close() {
    fprintf(log, "read_beats %lu\nwrite_beats %lu\nviolations %lu\n", read_beats, write_beats,
            violations);
    fclose(log);
    munmap(bytes, size);
}

void Memory::violation(const char *what, uint64_t address) {
    if (violations++ < most_violations)
        fprintf(log, "violation cycle %lu address %#lx: %s\n", cycle, address, what), fflush(log);
}

bool Memory::stall(unsigned of_256) {
    if (!random) return false;
    random ^= random << 13, random ^= random >> 7, random ^= random << 17;
    return (random >> 20 & 255) < of_256;
}

bool Memory::inside(bool write, uint64_t address, uint64_t count) const {
    for (const Range &w : windows)
        // A read may fetch whole words of the bus around the first and last byte of a window.
        if (!write && address / bus >= w.address / bus
                && address + count <= (w.address + w.bytes + bus - 1) / bus * bus)
            return true;
        else if (write && w.write && address >= w.address
                && address + count <= w.address + w.bytes)
            return true;
    return false;
}

bool Memory::injected(bool write, uint64_t address) const {
    for (const Range &e : errors)
        if (e.write == write && e.address / bus == address / bus) return true;
    return false;
}

void Memory::check(bool write, const Request &now, Request &before, bool accepted) {
    // A request that was not accepted must stay.
    if (before.valid && !(now.valid && now == before))
        violation("a request must stay until it is accepted", before.address);
    before = now;
    before.valid = now.valid && !accepted;
    if (!accepted) return;
    const uint64_t count = (now.len + 1) * bus;
    if (now.burst != 1) violation("a burst must be INCR", now.address);
    if (1u << now.size != bus) violation("a beat must be as wide as the bus", now.address);
    if (now.address % bus) violation("a burst must begin at a whole word", now.address);
    if (now.address / 4096 != (now.address + count - 1) / 4096)
        violation("a burst must not cross 4096 bytes", now.address);
    if (!write && !inside(false, now.address, count))
        violation("a read must be inside a window", now.address);
}

void Memory::read_beat() {
    Burst &burst = reads.front();
    const uint64_t address = (burst.address + burst.done * bus) / bus * bus;
    const bool known = address >= base && address + bus <= base + size;
    memset(rdata, 0, sizeof rdata);
    if (known) memcpy(rdata, bytes + (address - base), bus);
    rresp = injected(false, address) ? 2 : known ? 0 : 3;
    rlast = ++burst.done == burst.beats;
    rvalid = true;
    credit -= bus;
    read_beats++;
    if (rlast) reads.pop_front();
}

void Memory::write_beat(const uint8_t *data, const uint8_t *strobes, bool last) {
    Burst &burst = writes.front();
    const uint64_t address = (burst.address + burst.done * bus) / bus * bus;
    for (unsigned i = 0; i < bus; i++) {
        if (!(strobes[i / 8] >> i % 8 & 1)) continue;
        if (!inside(true, address + i, 1)) {
            violation("a written byte must be inside a window for writing", address + i);
            write_failed = true;
        } else {
            bytes[address + i - base] = data[i];
        }
    }
    write_failed |= injected(true, address);
    if (last != (++burst.done == burst.beats))
        violation("WLAST must come with the last beat, and only there", address);
    credit -= bus;
    write_beats++;
    if (burst.done == burst.beats) {
        const uint64_t extra = stall(64) ? random >> 30 & 31 : 0;
        responses.emplace_back(cycle + latency + extra, write_failed ? 2 : 0);
        writes.pop_front();
        write_failed = false;
    }
}

}  // namespace

extern "C" void axi_memory_open(const char *path) { memory.open(path); }

extern "C" void axi_memory_close() { memory.close(); }

extern "C" void axi_memory_edge(
    svBit reset,
    svBit arvalid, unsigned araddr, unsigned arlen, unsigned arsize, unsigned arburst, svBit rready,
    svBit awvalid, unsigned awaddr, unsigned awlen, unsigned awsize, unsigned awburst,
    svBit wvalid, const svBitVecVal *wdata, const svBitVecVal *wstrb, svBit wlast, svBit bready,
    svBit *arready, svBit *rvalid, svBitVecVal *rdata, unsigned *rresp, svBit *rlast,
    svBit *awready, svBit *wready, svBit *bvalid, unsigned *bresp) {
    Memory &m = memory;
    m.cycle++;
    if (reset) {
        m.arready = m.awready = m.wready = m.rvalid = m.bvalid = false;
        m.reads.clear(), m.writes.clear(), m.responses.clear();
        m.last_ar.valid = m.last_aw.valid = m.last_w = false;
    } else {
        // What was transferred at this edge.
        const bool ar = m.arready && arvalid, aw = m.awready && awvalid;
        m.check(false, {bool(arvalid), araddr, arlen, arsize, arburst}, m.last_ar, ar);
        m.check(true, {bool(awvalid), awaddr, awlen, awsize, awburst}, m.last_aw, aw);
        if (m.rvalid && rready) m.rvalid = false;
        if (m.bvalid && bready) m.bvalid = false;
        const bool w = m.wready && wvalid;
        if (m.last_w && !(wvalid && m.last_w_last == bool(wlast)
                          && !memcmp(m.last_data, wdata, m.bus)
                          && !memcmp(m.last_strobes, wstrb, (m.bus + 7) / 8)))
            m.violation("write data must stay until they are accepted", 0);
        m.last_w = wvalid && !w;
        m.last_w_last = wlast;
        memcpy(m.last_data, wdata, m.bus);
        memcpy(m.last_strobes, wstrb, (m.bus + 7) / 8);
        if (w) m.write_beat(reinterpret_cast<const uint8_t *>(wdata),
                            reinterpret_cast<const uint8_t *>(wstrb), wlast);
        if (ar) {
            const uint64_t extra = m.stall(64) ? m.random >> 30 & 31 : 0;
            m.reads.push_back({araddr, arlen + 1, 0, m.cycle + m.latency + extra});
        }
        if (aw) m.writes.push_back({awaddr, awlen + 1, 0, 0});

        // What the core sees next. Reads and writes share the bandwidth in turn.
        m.credit = std::min(m.credit + m.bandwidth, 2.0 * m.bus + m.bandwidth);
        const bool can_read = !m.rvalid && !m.reads.empty()
                              && m.reads.front().ready_at <= m.cycle && !m.stall(96);
        const bool can_write = !m.writes.empty() && !m.stall(96);
        const bool writes_first = can_write && wvalid && !m.served_write;
        double credit = m.credit - (writes_first ? m.bus : 0);
        if (can_read && credit >= m.bus) m.read_beat(), credit -= m.bus;
        m.wready = can_write && (writes_first ? m.credit >= m.bus : credit >= m.bus);
        if (can_read && can_write && wvalid) m.served_write = m.wready;
        if (!m.bvalid && !m.responses.empty() && m.responses.front().first <= m.cycle
            && !m.stall(64)) {
            m.bvalid = true;
            m.bresp = m.responses.front().second;
            m.responses.pop_front();
        }
        m.arready = m.reads.size() < most_outstanding && !m.stall(96);
        m.awready = m.writes.size() + m.responses.size() < most_outstanding && !m.stall(96);
        if (!m.rvalid && m.random) memset(m.rdata, int(m.random), sizeof m.rdata);
    }
    *arready = m.arready, *rvalid = m.rvalid, *rresp = m.rresp, *rlast = m.rlast;
    *awready = m.awready, *wready = m.wready, *bvalid = m.bvalid, *bresp = m.bresp;
    memcpy(rdata, m.rdata, sizeof m.rdata);
}
