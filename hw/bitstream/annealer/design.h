// A placed design: cells and where they are, nets, and the grid of logic tiles.
//
// A logic tile has eight places, each with a slot for a lookup table and one for a flip-flop; two
// neighbouring places are a slice. Cells that only work next to each other are a block, which moves
// as one: a lookup table and the flip-flop behind it, a carry chain. Tiles whose lookup tables are
// memory have contents that stay together.

#pragma once

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <vector>

using Ints = std::vector<int32_t>;
using Floats = std::vector<float>;

// Kinds of cells; those between FF and WRITE_PORT are macros, each kind with sites of its own.
enum { LUT = 0, FF = 1, WRITE_PORT = 254, FIXED = 255 };
// Kinds of tiles.
enum { NO_LOGIC = 0, LOGIC = 1, MEMORY = 2 };
constexpr int places = 8, slots = 2 * places;
constexpr int none = -1;

struct Block {
    Ints cells;      // in order of place
    int length = 1;  // places, from that of the first cell on
    bool movable = true;
};

// Arrays come from hw/bitstream/placement.py, in this order, each with its length before it.
struct Design {
    // Of tiles, by y * width + x.
    int width = 0, height = 0;
    Ints tile_kind;
    // Of cells: where they are; place in the tile, or number of the site for macros; which block
    // they are part of; whether a lookup table is part of a carry chain; what flip-flops of a tile,
    // and of a slice, must have in common: clock and reset, and enable.
    Ints kind, x, y, place, block_of, carry, tile_control, slice_control;
    // Of sites: kind of macro, and where.
    Ints site_kind, site_x, site_y;
    // Of nets: the cell that drives it, none for one that is not moved for (clocks); picoseconds
    // from the clock to it, negative if it does not come from a register; its first sink.
    Ints driver;
    Floats clock_to_net;
    Ints first_sink;
    // Of sinks: the cell; whether the wire is part of the cells, and takes no time; setup time,
    // negative and large if it does not end at a register; its first way through the cell.
    Ints sink_cell, direct;
    Floats setup;
    Ints first_way;
    // Of ways from a sink through its cell: to which net, and picoseconds.
    Ints way_net;
    Floats way_delay;
    // Picoseconds of a wire inside a tile; of one that leaves it, without what it takes in a
    // direction: at all, for each of the near tiles, for each other one; and how many are near.
    Floats wire_delays;
    // Wires that a tile has room for, horizontal and vertical ones.
    Floats capacity;

    // Made from these.
    std::vector<Block> blocks;
    std::vector<Ints> inputs, outputs;  // of cells: sinks, and nets
    Ints sink_net;
    Ints at_slot;     // cells, by (tile * places + place) * 2 + kind
    Ints at_site;     // macros, by site
    Ints write_port;  // of tiles

    int cells() const { return int(kind.size()); }
    int nets() const { return int(driver.size()); }
    int sinks() const { return int(sink_cell.size()); }
    int tiles() const { return width * height; }
    int tile(int cell) const { return y[cell] * width + x[cell]; }
    bool in_logic(int cell) const { return kind[cell] <= FF; }
    int &slot(int tile, int place, int kind) { return at_slot[tile * slots + 2 * place + kind]; }
    int fanout(int net) const { return first_sink[net + 1] - first_sink[net]; }

    static Design read(const char *path);
    void index();
    // Whether what is in a tile may be there together.
    bool legal(int tile) const;
};
