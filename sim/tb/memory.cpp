// Memory behind the core's AXI4 master: a file that is mapped into this process, with a model of
// bandwidth and latency, random stalls, errors on demand, and a check that the core touches nothing
// but its windows; the rules of the protocol are axi_checker.sv's business.
// Called from tb.sv at every rising edge of the clock. Ref: Arm IHI 0022, chapters A2 and A3.
//
// A simulation is a sequence of runs of the core, numbered from 0; each has windows of its own.
//
// Settings are lines of a text file:
//   file PATH BYTES ADDRESS      what the memory contains, and where it begins
//   log PATH                     violations, one a line, and at the end what each run transferred
//   bus BYTES
//   bandwidth BYTES              per cycle, reads and writes together
//   latency CYCLES               from a request to its first data, from the last data to its answer
//   seed NUMBER                  0: no random stalls
//   window RUN read|write ADDRESS BYTES
//   error read|write ADDRESS     beats with this byte are answered with SLVERR
//   trace RUN                    which run the waveforms show

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

struct Run {
    std::vector<Range> windows;
    uint64_t read_beats = 0, write_beats = 0;
};

struct Burst {
    uint64_t address;
    unsigned beats, done;
    uint64_t ready_at;
};

struct Memory {
    uint8_t *bytes = nullptr;
    uint64_t base = 0, size = 0, bus = 4, latency = 0, random = 0;
    double bandwidth = 4, credit = 0;
    std::vector<Run> runs;
    std::vector<Range> errors;
    unsigned run = 0, traced = 0;
    FILE *log = nullptr;

    uint64_t cycle = 0, violations = 0;
    std::deque<Burst> reads, writes;
    std::deque<std::pair<uint64_t, unsigned>> responses;  // when, and which
    bool write_failed = false, served_write = false;

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
    void read_beat();
    void write_beat(const uint8_t *data, const uint8_t *strobes);
};

Memory memory;

void Memory::open(const char *path) {
    FILE *settings = fopen(path, "r");
    if (!settings) { perror(path); exit(1); }
    char word[32], text[4096];
    unsigned number;
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
            fields = fscanf(settings, "%u %31s %lu %lu", &number, word, &range.address,
                            &range.bytes) == 4;
            range.write = std::string(word) == "write";
            if (fields && number >= runs.size()) runs.resize(number + 1);
            if (fields) runs[number].windows.push_back(range);
        } else if (key == "error") {
            fields = fscanf(settings, "%31s %lu", word, &range.address) == 2;
            range.write = std::string(word) == "write";
            errors.push_back(range);
        } else if (key == "trace") {
            fields = fscanf(settings, "%u", &traced) == 1;
        }
        if (!fields) {
            fprintf(stderr, "%s: line %s must be as memory.cpp describes\n", path, key.c_str());
            exit(1);
        }
    }
    fclose(settings);
    if (!bytes || !log || runs.empty()) {
        fprintf(stderr, "%s: must name file, log and windows\n", path);
        exit(1);
    }
}

void Memory::close() {
    for (const Run &r : runs) fprintf(log, "beats %lu %lu\n", r.read_beats, r.write_beats);
    fclose(log);
    munmap(bytes, size);
}

void Memory::violation(const char *what, uint64_t address) {
    if (violations++ < most_violations)
        fprintf(log, "violation %u cycle %lu address %#lx: %s\n", run, cycle, address, what),
            fflush(log);
}

bool Memory::stall(unsigned of_256) {
    if (!random) return false;
    random ^= random << 13, random ^= random >> 7, random ^= random << 17;
    return (random >> 20 & 255) < of_256;
}

bool Memory::inside(bool write, uint64_t address, uint64_t count) const {
    for (const Range &w : runs[run].windows)
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
    runs[run].read_beats++;
    if (rlast) reads.pop_front();
}

void Memory::write_beat(const uint8_t *data, const uint8_t *strobes) {
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
    credit -= bus;
    runs[run].write_beats++;
    if (++burst.done == burst.beats) {
        const uint64_t extra = stall(64) ? random >> 30 & 31 : 0;
        responses.emplace_back(cycle + latency + extra, write_failed ? 2 : 0);
        writes.pop_front();
        write_failed = false;
    }
}

}  // namespace

extern "C" void axi_memory_open(const char *path) { memory.open(path); }

extern "C" void axi_memory_close() { memory.close(); }

// Whether the run is the one that waveforms are wanted of; see trace.h.
extern "C" bool axi_memory_traced() { return memory.run == memory.traced; }

extern "C" void axi_memory_edge(
    svBit reset, unsigned run,
    svBit arvalid, unsigned araddr, unsigned arlen, unsigned, unsigned, svBit rready,
    svBit awvalid, unsigned awaddr, unsigned awlen, unsigned, unsigned,
    svBit wvalid, const svBitVecVal *wdata, const svBitVecVal *wstrb, svBit, svBit bready,
    svBit *arready, svBit *rvalid, svBitVecVal *rdata, unsigned *rresp, svBit *rlast,
    svBit *awready, svBit *wready, svBit *bvalid, unsigned *bresp) {
    Memory &m = memory;
    m.cycle++;
    if (run >= m.runs.size()) { fprintf(stderr, "run %u has no windows\n", run); exit(1); }
    m.run = run;
    if (reset) {
        m.arready = m.awready = m.wready = m.rvalid = m.bvalid = false;
        m.reads.clear(), m.writes.clear(), m.responses.clear();
    } else {
        // What was transferred at this edge.
        const bool ar = m.arready && arvalid, aw = m.awready && awvalid;
        if (m.rvalid && rready) m.rvalid = false;
        if (m.bvalid && bready) m.bvalid = false;
        if (m.wready && wvalid) m.write_beat(reinterpret_cast<const uint8_t *>(wdata),
                                             reinterpret_cast<const uint8_t *>(wstrb));
        if (ar) {
            if (!m.inside(false, araddr, (arlen + 1) * m.bus))
                m.violation("a read must be inside a window", araddr);
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
