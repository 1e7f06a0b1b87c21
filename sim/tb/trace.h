// Waveforms of one run: cocotb's main program, which includes this file first, dumps at every step
// of time, and here it is asked whether the memory's settings want the run that is under way.
#include "verilated_fst_c.h"

extern "C" bool axi_memory_traced();

class TraceOfRun : public VerilatedFstC {
public:
    void dump(uint64_t time) {
        if (axi_memory_traced()) VerilatedFstC::dump(time);
    }
};
#define VerilatedFstC TraceOfRun
