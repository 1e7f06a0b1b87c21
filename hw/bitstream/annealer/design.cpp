#include "design.h"

#include <algorithm>

namespace {

template <typename T> void read_array(FILE *file, std::vector<T> &array) {
    int64_t length;
    if (fread(&length, sizeof length, 1, file) == 1 && length >= 0) {
        array.resize(length);
        if (fread(array.data(), sizeof(T), length, file) == size_t(length)) return;
    }
    fprintf(stderr, "error: the design ends too early\n");
    exit(1);
}

}  // namespace

Design Design::read(const char *path) {
    Design d;
    FILE *file = fopen(path, "rb");
    if (!file) {
        fprintf(stderr, "error: cannot read %s\n", path);
        exit(1);
    }
    Ints size;
    read_array(file, size);
    d.width = size.at(0), d.height = size.at(1);
    for (Ints *array : {&d.tile_kind, &d.kind, &d.x, &d.y, &d.place, &d.block_of, &d.carry,
                        &d.tile_control, &d.slice_control, &d.site_kind, &d.site_x, &d.site_y,
                        &d.driver})
        read_array(file, *array);
    read_array(file, d.clock_to_net);
    for (Ints *array : {&d.first_sink, &d.sink_cell, &d.direct}) read_array(file, *array);
    read_array(file, d.setup);
    for (Ints *array : {&d.first_way, &d.way_net}) read_array(file, *array);
    for (Floats *array : {&d.way_delay, &d.wire_delays, &d.capacity})
        read_array(file, *array);
    fclose(file);
    d.index();
    return d;
}

void Design::index() {
    inputs.resize(cells()), outputs.resize(cells()), sink_net.resize(sinks());
    for (int net = 0; net < nets(); net++) {
        if (driver[net] != none) outputs[driver[net]].push_back(net);
        for (int sink = first_sink[net]; sink < first_sink[net + 1]; sink++) {
            if (driver[net] != none) inputs[sink_cell[sink]].push_back(sink);
            sink_net[sink] = net;
        }
    }
    at_slot.assign(tiles() * slots, none), write_port.assign(tiles(), none);
    at_site.assign(site_kind.size(), none);
    blocks.resize(cells() ? 1 + *std::max_element(block_of.begin(), block_of.end()) : 0);
    for (int cell = 0; cell < cells(); cell++) {
        Block &block = blocks[block_of[cell]];
        block.cells.push_back(cell);
        if (in_logic(cell)) {
            slot(tile(cell), place[cell], kind[cell]) = cell;
            block.movable &= tile_kind[tile(cell)] == LOGIC;
        } else if (kind[cell] < WRITE_PORT) {
            at_site[place[cell]] = cell;
        } else {
            if (kind[cell] == WRITE_PORT) write_port[tile(cell)] = cell;
            block.movable = false;
        }
    }
    auto position = [&](int cell) { return places * x[cell] + place[cell]; };
    for (Block &block : blocks) {
        std::stable_sort(block.cells.begin(), block.cells.end(),
                         [&](int a, int b) { return position(a) < position(b); });
        if (in_logic(block.cells.front()))
            block.length = 1 + position(block.cells.back()) - position(block.cells.front());
    }
}

bool Design::legal(int tile) const {
    const int32_t *at = &at_slot[tile * slots];
    int control = none;
    for (int slice = 0; slice < places / 2; slice++, at += 4) {
        if (at[LUT] != none && at[2 + LUT] != none && carry[at[LUT]] != carry[at[2 + LUT]])
            return false;
        int enable = none;
        for (int cell : {at[FF], at[2 + FF]}) {
            if (cell == none) continue;
            if (enable != none && enable != slice_control[cell]) return false;
            if (control != none && control != tile_control[cell]) return false;
            enable = slice_control[cell], control = tile_control[cell];
        }
    }
    return true;
}
