// Makes a placement faster, by simulated annealing; hw/bitstream/refine.py runs it.
//
//   annealer DESIGN RESULT PERIOD MOVES SEED
//
// DESIGN is what design.h says; the RESULT column, row and place of each cell. Paths should take at
// most PERIOD, picoseconds, or somewhat less than they did if that is less. MOVES are tried for each
// cell.
//
// Ref: Betz, Rose, VPR: a new packing, placement and routing tool for FPGA research, FPL 1997;
// Marquardt, Betz, Rose, Timing-driven placement for FPGAs, FPGA 2000.

#include <algorithm>
#include <cmath>

#include "design.h"
#include "moves.h"
#include "timing.h"

namespace {

// Moves between two analyses of timing, and the share of the weights of before.
constexpr int64_t moves_at_a_time = 20000;
// And steps of so many moves between two prices of wires.
constexpr int steps_at_a_price = 2;
constexpr float smoothing = 0.5f;
// Of the longest path of before.
constexpr float somewhat_less = 0.92f;
// Picoseconds at the beginning; the share of the time that is spent at zero, and that whose best
// placement is taken.
constexpr double hottest = 60, cold = 0.15, finish = 0.2;
// Tiles that a cell moves at the beginning, at the end, and how much further a macro does.
constexpr int longest_reach = 15, shortest_reach = 3, macro_reach = 24;
// Of so many moves, some of macros, memories and chains of cells; half of the others, and all of
// chains, are of cells at wires that matter: with at least such a weight.
constexpr int of_moves = 256, of_macros = 2, of_memories = 2, of_chains = 32;
constexpr float hot_weight = 0.8f;
constexpr size_t enough_hot = 50;

Ints movable_cells(const Design &d, int low, int high) {
    Ints found;
    for (int cell = 0; cell < d.cells(); cell++)
        if (d.kind[cell] >= low && d.kind[cell] <= high
            && (d.blocks[d.block_of[cell]].movable || low == WRITE_PORT))
            found.push_back(cell);
    return found;
}

void say(const char *name, const Summary &found, double wires) {
    printf("%s: wires %.0f, longest path %.2f ns, late %.1f ns at %d ends\n", name, wires,
           found.longest / 1e3, found.late / 1e3, found.ends);
    fflush(stdout);
}

}  // namespace

int main(int argc, char **argv) {
    if (argc < 6) {
        fprintf(stderr, "error: annealer DESIGN RESULT PERIOD MOVES SEED\n");
        return 2;
    }
    Design design = Design::read(argv[1]);
    const uint32_t seed = uint32_t(atoi(argv[5]));
    Timing timing(design, float(atof(argv[3])));
    if (float before = timing.analyse().longest; before > 0)
        timing.period = std::min(timing.period, somewhat_less * before);
    const Weights weights;
    Moves moves(design, timing, weights, seed);
    for (int tile = 0; tile < design.tiles(); tile++)
        if (design.tile_kind[tile] == LOGIC && !design.legal(tile)) {
            fprintf(stderr, "error: tile X%d/Y%d must be legal before anything is moved\n",
                    tile % design.width, tile / design.width);
            return 1;
        }
    const Ints cells = movable_cells(design, LUT, FF);
    const Ints macros = movable_cells(design, FF + 1, WRITE_PORT - 1);
    const Ints memories = movable_cells(design, WRITE_PORT, WRITE_PORT);
    const int64_t total = int64_t(atof(argv[4]) * double(cells.size()));
    const int64_t steps = std::max<int64_t>(20, total / moves_at_a_time);

    say("before", timing.analyse(), moves.wires());
    timing.weigh(0);
    Ints hot, best;
    double least = 0;
    for (int64_t step = 0; step <= steps && !cells.empty(); step++) {
        Summary found = timing.analyse();
        if (step % (1 + steps / 100) == 0) {
            char name[20];
            snprintf(name, sizeof name, "%d %%", int(100 * step / steps));
            say(name, found, moves.wires());
        }
        if (step >= int64_t((1 - finish) * double(steps)) && (best.empty() || found.late < least)) {
            least = found.late, best.clear();
            for (const Ints *array : {&design.x, &design.y, &design.place})
                best.insert(best.end(), array->begin(), array->end());
        }
        timing.weigh(step ? smoothing : 0);
        if (step % steps_at_a_price == 0) moves.price();
        hot.clear();
        for (int sink = 0; sink < design.sinks(); sink++)
            if (timing.weight[sink] > hot_weight)
                for (int cell : {design.sink_cell[sink], design.driver[design.sink_net[sink]]})
                    if (design.in_logic(cell) && design.blocks[design.block_of[cell]].movable)
                        hot.push_back(cell);
        double done = double(step) / double(steps);
        double temperature = done > 1 - cold ? 0 : hottest * (1 - done) * (1 - done);
        int reach = std::max(shortest_reach, int(lround(longest_reach * (1 - done))));
        for (int64_t i = 0; i < moves_at_a_time; i++) {
            int which = moves.below(of_moves);
            auto any = [&](const Ints &of) { return of[moves.below(int(of.size()))]; };
            if (which < of_macros && !macros.empty())
                moves.macro(any(macros), macro_reach + reach, temperature);
            else if (which < of_macros + of_memories && !memories.empty())
                moves.memory(any(memories), reach, temperature);
            else if (which >= of_moves - of_chains && hot.size() > enough_hot)
                moves.chain(any(hot), reach, temperature);
            else
                moves.cell(any(which % 2 && hot.size() > enough_hot ? hot : cells), reach,
                           temperature);
        }
    }
    auto from = best.begin();
    for (Ints *array : {&design.x, &design.y, &design.place})
        if (!best.empty()) std::copy_n(from, design.cells(), array->begin()), from += design.cells();
    Timing after(design, timing.period);
    say("after", after.analyse(), Moves(design, after, weights, seed).wires());
    FILE *file = fopen(argv[2], "wb");
    bool written = file != nullptr;
    for (const Ints *array : {&design.x, &design.y, &design.place})
        written = written && fwrite(array->data(), sizeof(int32_t), array->size(), file)
                             == array->size();
    if (!written || fclose(file)) {
        fprintf(stderr, "error: cannot write %s\n", argv[2]);
        return 1;
    }
}
