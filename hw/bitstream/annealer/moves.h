// Moves of cells, and what they cost: length of wires, time, crowded tiles.

#pragma once

#include <array>
#include <random>
#include <utility>

#include "design.h"
#include "timing.h"

struct Weights {
    double wire = 70;          // a tile of wire, in picoseconds on a path that is late
    double jam = 7;            // more for each wire of a tile, in its direction, above the capacity
    double crowd = 20;         // per square of the nets that enter a tile above ...
    int uncrowded = 16;        // ... so many
    int most_pins = 48;        // of nets whose length counts: others are everywhere anyway
};

// Makes moves, and takes those back that make it worse by more than the temperature lets through.
class Moves {
  public:
    Moves(Design &design, Timing &timing, const Weights &weights, uint32_t seed);

    // A random cell to somewhere at most `reach` tiles away, or to where its wires pull.
    void cell(int cell, int reach, double temperature);
    // A cell and those behind it on its slowest way, all by the same distance.
    void chain(int cell, int reach, double temperature);
    // All that is in a tile with memory, with another tile's.
    void memory(int write_port, int reach, double temperature);
    void macro(int cell, int reach, double temperature);

    double wires() const;  // total length, tiles
    void price();          // wires anew by where the others are; now and then
    int below(int n) { return int((uint64_t(random()) * uint64_t(n)) >> 32); }

  private:
    Design &design;
    Timing &timing;
    const Weights weights;
    std::mt19937 random;

    std::vector<char> counts;  // whether the length of a net does
    Floats cost;             // of nets
    // What a tile of wire costs in each direction, by column and row; summed up from the corner.
    std::array<std::vector<double>, 2> prices, sums;
    Ints entering;           // nets that come into a tile
    Ints tile_before;        // of cells

    // The move that is being tried.
    Ints moved, touched_nets, touched_sinks;
    Floats new_cost, new_delay;
    std::vector<std::pair<int, int>> changed_tiles, seen;
    Ints net_mark, sink_mark;
    int mark = 0;

    bool accept(double temperature);
    double change();
    double crowding();
    double time_of(int sink, float delay) const;
    double crowd_of(int nets) const;
    double enter(int tile, int by);
    void touch(int net);
    void touch_sink(int sink);
    struct Box {
        int left, right, low, high;
    };
    Box around(int net) const;
    double cost_of(const Box &box) const;
    struct Swap {
        int tile, place, other_tile, other_place, kinds;
    };
    std::vector<Swap> swaps;
    void exchange(const Swap &swap);
    bool plan(int cell, int tile, int place);
    void make(double temperature);
    int behind(int cell) const;
    void block(const Block &block, int x, int y, double temperature);
    bool whole(int tile) const;
    std::pair<int, int> target(int cell, int reach);
};
