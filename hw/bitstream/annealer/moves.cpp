#include "moves.h"

#include <algorithm>
#include <cmath>

namespace {

constexpr int lut_slot = 1, ff_slot = 2, both_slots = 3;
// Of eight moves of a cell, one goes to the middle of its wires, three towards one of its wires'
// ends, the others anywhere.
constexpr int of_moves = 8, to_middle = 1, to_end = 3;
constexpr int most_ends_of_middle = 64;
// Cells that move together at most, on a path.
constexpr int most_of_chain = 4;
// More wire for each sink of a net behind the second, as a share; and tiles along a side of the
// areas whose demand is averaged.
constexpr double per_pin = 0.05;
constexpr int area = 4;

}  // namespace

Moves::Moves(Design &d, Timing &t, const Weights &w, uint32_t seed)
    : design(d), timing(t), weights(w), random(seed), counts(d.nets()), cost(d.nets()), entering(d.tiles()), net_mark(d.nets()), sink_mark(d.sinks()) {
    for (int cell = 0; cell < d.cells(); cell++) tile_before.push_back(d.tile(cell));
    Ints tiles;
    for (int net = 0; net < d.nets(); net++) {
        counts[net] = d.driver[net] != none && d.fanout(net) && d.fanout(net) <= w.most_pins;
        if (!counts[net]) continue;
        tiles.clear();
        for (int sink = d.first_sink[net]; sink < d.first_sink[net + 1]; sink++)
            if (int cell = d.sink_cell[sink]; !d.direct[sink] && d.in_logic(cell))
                tiles.push_back(d.tile(cell));
        std::sort(tiles.begin(), tiles.end());
        for (auto end = std::unique(tiles.begin(), tiles.end()); end != tiles.begin();)
            entering[*--end]++;
    }
    price();
}

double Moves::wires() const {
    double sum = 0;
    for (int net = 0; net < design.nets(); net++)
        if (counts[net]) {
            Box box = around(net);
            sum += box.right - box.left + box.high - box.low;
        }
    return sum;
}

Moves::Box Moves::around(int net) const {
    const Design &d = design;
    int cell = d.driver[net];
    Box box{d.x[cell], d.x[cell], d.y[cell], d.y[cell]};
    for (int sink = d.first_sink[net]; sink < d.first_sink[net + 1]; sink++) {
        cell = d.sink_cell[sink];
        box.left = std::min(box.left, d.x[cell]), box.right = std::max(box.right, d.x[cell]);
        box.low = std::min(box.low, d.y[cell]), box.high = std::max(box.high, d.y[cell]);
    }
    return box;
}

// Half the circumference, a direction at the mean of its prices in the box.
double Moves::cost_of(const Box &box) const {
    const int row = design.width + 1;
    auto mean = [&](const std::vector<double> &sum) {
        return (sum[(box.high + 1) * row + box.right + 1] - sum[box.low * row + box.right + 1]
                - sum[(box.high + 1) * row + box.left] + sum[box.low * row + box.left])
               / ((box.right - box.left + 1) * (box.high - box.low + 1));
    };
    return (box.right - box.left) * mean(sums[0]) + (box.high - box.low) * mean(sums[1]);
}

// A net's wires are anywhere in the box around it; above the capacity of an area they cost more.
// Ref: Spindler, Johannes, Fast and accurate routing demand estimation (RUDY), DATE 2007.
void Moves::price() {
    const Design &d = design;
    const int row = d.width + 1;
    for (int way = 0; way < 2; way++) {
        std::vector<double> demand(row * (d.height + 1));
        for (int net = 0; net < d.nets(); net++) {
            if (!counts[net]) continue;
            Box box = around(net);
            double length = way ? box.high - box.low : box.right - box.left;
            double share = length * (1 + per_pin * std::max(0, d.fanout(net) - 2))
                           / ((box.right - box.left + 1) * (box.high - box.low + 1));
            demand[box.low * row + box.left] += share;
            demand[(box.high + 1) * row + box.left] -= share;
            demand[box.low * row + box.right + 1] -= share;
            demand[(box.high + 1) * row + box.right + 1] += share;
        }
        for (int y = 0; y <= d.height; y++)
            for (int x = 1; x < row; x++) demand[y * row + x] += demand[y * row + x - 1];
        for (int y = 1; y <= d.height; y++)
            for (int x = 0; x < row; x++) demand[y * row + x] += demand[(y - 1) * row + x];
        bool first = prices[way].empty();
        prices[way].resize(d.tiles()), sums[way].assign(row * (d.height + 1), 0);
        for (int y = 0; y < d.height; y++)
            for (int x = 0; x < d.width; x++) {
                double sum = 0, tiles = 0;
                for (int v = y / area * area; v < std::min(d.height, (y / area + 1) * area); v++)
                    for (int u = x / area * area; u < std::min(d.width, (x / area + 1) * area); u++)
                        sum += demand[v * row + u], tiles++;
                double now = weights.wire
                             + weights.jam * std::max(0., sum / tiles - d.capacity[way]);
                double &price = prices[way][y * d.width + x];
                price = first ? now : (price + now) / 2;
            }
        for (int y = 0; y < d.height; y++)
            for (int x = 0; x < d.width; x++)
                sums[way][(y + 1) * row + x + 1] =
                    prices[way][y * d.width + x] + sums[way][y * row + x + 1]
                    + sums[way][(y + 1) * row + x] - sums[way][y * row + x];
    }
    for (int net = 0; net < d.nets(); net++)
        if (counts[net]) cost[net] = cost_of(around(net));
}

double Moves::time_of(int sink, float delay) const {
    return timing.weight[sink] * delay
           + timing.excess[sink] * std::max(0.f, delay - timing.limit[sink]);
}

double Moves::crowd_of(int nets) const {
    int over = std::max(0, nets - weights.uncrowded);
    return weights.crowd * over * over;
}

double Moves::enter(int tile, int by) {
    double before = crowd_of(entering[tile]);
    entering[tile] += by;
    changed_tiles.push_back({tile, by});
    return crowd_of(entering[tile]) - before;
}

void Moves::touch(int net) {
    if (counts[net] && net_mark[net] != mark) net_mark[net] = mark, touched_nets.push_back(net);
}

void Moves::touch_sink(int sink) {
    if (sink_mark[sink] != mark) sink_mark[sink] = mark, touched_sinks.push_back(sink);
}

// What the move of `moved` adds to the cost of wires and time.
double Moves::change() {
    const Design &d = design;
    mark++;
    touched_nets.clear(), touched_sinks.clear(), new_cost.clear(), new_delay.clear();
    for (int cell : moved) {
        for (int sink : d.inputs[cell]) touch(d.sink_net[sink]), touch_sink(sink);
        for (int net : d.outputs[cell]) {
            touch(net);
            for (int sink = d.first_sink[net]; sink < d.first_sink[net + 1]; sink++)
                touch_sink(sink);
        }
    }
    double sum = 0;
    for (int net : touched_nets) {
        new_cost.push_back(cost_of(around(net)));
        sum += new_cost.back() - cost[net];
    }
    for (int sink : touched_sinks) {
        new_delay.push_back(timing.wire_delay(sink));
        sum += time_of(sink, new_delay.back()) - time_of(sink, timing.delay[sink]);
    }
    return sum;
}

// What the move adds to the cost of crowded tiles; `entering` is then that behind the move.
double Moves::crowding() {
    const Design &d = design;
    changed_tiles.clear(), seen.clear();
    double sum = 0;
    for (int cell : moved) {
        if (!d.in_logic(cell)) continue;
        int to = d.tile(cell), from = tile_before[cell];
        if (to == from) continue;
        for (int input : d.inputs[cell]) {
            int net = d.sink_net[input];
            if (d.direct[input] || !counts[net]) continue;
            auto is_new = [&](int tile) {
                std::pair<int, int> both(net, tile);
                if (std::find(seen.begin(), seen.end(), both) != seen.end()) return false;
                seen.push_back(both);
                return true;
            };
            bool look_from = is_new(from), look_to = is_new(to);
            if (!look_from && !look_to) continue;
            bool still_from = false, before_to = false;
            for (int sink = d.first_sink[net]; sink < d.first_sink[net + 1]; sink++) {
                int other = d.sink_cell[sink];
                if (d.direct[sink] || !d.in_logic(other)) continue;
                still_from |= d.tile(other) == from;
                before_to |= tile_before[other] == to;
            }
            if (look_to && !before_to) sum += enter(to, 1);
            if (look_from && !still_from) sum += enter(from, -1);
        }
    }
    return sum;
}

// Decides about the move of `moved`, and notes what it changes if it stays.
bool Moves::accept(double temperature) {
    double worse = change() + crowding();
    bool stays = worse <= 0 || (temperature > 0 && random() < 0x1p32 * exp(-worse / temperature));
    if (!stays) {
        for (auto [tile, by] : changed_tiles) entering[tile] -= by;
        return false;
    }
    for (size_t i = 0; i < touched_nets.size(); i++) cost[touched_nets[i]] = new_cost[i];
    for (size_t i = 0; i < touched_sinks.size(); i++)
        timing.delay[touched_sinks[i]] = new_delay[i];
    for (int cell : moved) tile_before[cell] = design.tile(cell);
    return true;
}

// Swaps what is in the slots of two places.
void Moves::exchange(const Swap &swap) {
    Design &d = design;
    for (int kind : {LUT, FF}) {
        if (!(swap.kinds & 1 << kind)) continue;
        int32_t &one = d.slot(swap.tile, swap.place, kind);
        int32_t &other = d.slot(swap.other_tile, swap.other_place, kind);
        std::swap(one, other);
        auto put = [&](int cell, int tile, int place) {
            if (cell == none) return;
            d.x[cell] = tile % d.width, d.y[cell] = tile / d.width, d.place[cell] = place;
            moved.push_back(cell);
        };
        put(one, swap.tile, swap.place), put(other, swap.other_tile, swap.other_place);
    }
}

// A cell, or what is in its place, to another place: made at once, and noted. False if it cannot be.
bool Moves::plan(int cell, int tile, int place) {
    Design &d = design;
    int from = d.tile(cell), from_place = d.place[cell], kind = d.kind[cell];
    int other = d.slot(tile, place, kind);
    if (other == cell) return false;
    auto alone = [&](int c) { return c == none || d.blocks[d.block_of[c]].cells.size() == 1; };
    auto small = [&](int c) {
        return c == none || (d.blocks[d.block_of[c]].movable && d.blocks[d.block_of[c]].length == 1);
    };
    int kinds = !alone(cell) || !alone(other) ? both_slots : kind == LUT ? lut_slot : ff_slot;
    for (int k : {LUT, FF})
        if (kinds & 1 << k && !(small(d.slot(from, from_place, k)) && small(d.slot(tile, place, k))))
            return false;
    swaps.push_back({from, from_place, tile, place, kinds});
    exchange(swaps.back());
    return true;
}

// Keeps what was planned, or takes it back.
void Moves::make(double temperature) {
    bool legal = true;
    for (const Swap &swap : swaps)
        legal &= design.legal(swap.tile) && design.legal(swap.other_tile);
    if (!legal || !accept(temperature))
        for (auto swap = swaps.rbegin(); swap != swaps.rend(); swap++) exchange(*swap);
}

// A carry chain, with all that is beside it, to the same places from another tile on.
void Moves::block(const Block &block, int x, int y, double temperature) {
    Design &d = design;
    int first = block.cells.front(), from = d.tile(first), start = d.place[first];
    int tiles = (start + block.length + places - 1) / places, to = y * d.width + x;
    if (x + tiles > d.width || (y == d.y[first] && std::abs(x - d.x[first]) < tiles)) return;
    for (int t = 0; t < tiles; t++)
        if (d.tile_kind[to + t] != LOGIC) return;
    for (int p = start; p < start + block.length; p++)
        for (int kind : {LUT, FF}) {
            int there = d.slot(to + p / places, p % places, kind);
            if (there != none && d.blocks[d.block_of[there]].length > 1) return;
        }
    auto swap = [&] {
        moved.clear();
        for (int p = start; p < start + block.length; p++)
            exchange({from + p / places, p % places, to + p / places, p % places, both_slots});
    };
    swap();
    bool legal = true;
    for (int t = 0; t < tiles; t++) legal &= d.legal(from + t) && d.legal(to + t);
    if (!legal || !accept(temperature)) swap();
}

// Whether no block is partly in the tile.
bool Moves::whole(int tile) const {
    const Design &d = design;
    for (int slot = tile * slots; slot < (tile + 1) * slots; slot++) {
        if (d.at_slot[slot] == none) continue;
        const Block &block = d.blocks[d.block_of[d.at_slot[slot]]];
        if (d.tile(block.cells.front()) != tile || d.tile(block.cells.back()) != tile) return false;
    }
    return true;
}

// Where a move of a cell goes: column and row, perhaps outside.
std::pair<int, int> Moves::target(int cell, int reach) {
    const Design &d = design;
    int way = below(of_moves);
    const Ints &in = d.inputs[cell], &out = d.outputs[cell];
    if (way < to_middle) {
        double sum = 0, x = 0, y = 0;
        auto pull = [&](int sink, int other) {
            int net = d.sink_net[sink];
            double by = timing.weight[sink] * d.wire_delays[3]
                        + (counts[net] ? weights.wire / d.fanout(net) : 0);
            sum += by, x += by * d.x[other], y += by * d.y[other];
        };
        for (int sink : in) pull(sink, d.driver[d.sink_net[sink]]);
        for (int net : out)
            if (d.fanout(net) <= most_ends_of_middle)
                for (int sink = d.first_sink[net]; sink < d.first_sink[net + 1]; sink++)
                    pull(sink, d.sink_cell[sink]);
        if (sum > 0)
            return {int(std::lround(x / sum)) - 2 + below(5), int(std::lround(y / sum)) - 2 + below(5)};
    } else if (int ends = int(in.size() + out.size()); way < to_middle + to_end && ends) {
        int end = below(ends), other = none;
        if (end < int(in.size())) {
            other = d.driver[d.sink_net[in[end]]];
        } else if (int net = out[end - in.size()]; d.fanout(net)) {
            other = d.sink_cell[d.first_sink[net] + below(d.fanout(net))];
        }
        if (other != none) {
            int share = below(257);
            return {d.x[cell] + (d.x[other] - d.x[cell]) * share / 256 - 1 + below(3),
                    d.y[cell] + (d.y[other] - d.y[cell]) * share / 256 - 1 + below(3)};
        }
    }
    return {d.x[cell] - reach + below(2 * reach + 1), d.y[cell] - reach + below(2 * reach + 1)};
}

void Moves::cell(int cell, int reach, double temperature) {
    Design &d = design;
    const Block &all = d.blocks[d.block_of[cell]];
    auto [x, y] = target(cell, reach);
    if (all.length > 1) x += d.x[all.cells.front()] - d.x[cell];
    if (x < 0 || x >= d.width || y < 0 || y >= d.height) return;
    if (d.tile_kind[y * d.width + x] != LOGIC) return;
    if (all.length > 1) return block(all, x, y, temperature);
    moved.clear(), swaps.clear();
    if (plan(cell, y * d.width + x, below(places))) make(temperature);
}

// The cell at the wire of most weight that begins here; none if that cannot move alone.
int Moves::behind(int cell) const {
    const Design &d = design;
    int found = none;
    float most = 0;
    for (int net : d.outputs[cell])
        for (int sink = d.first_sink[net]; sink < d.first_sink[net + 1]; sink++)
            if (timing.weight[sink] > most) most = timing.weight[sink], found = d.sink_cell[sink];
    if (found == none || !d.in_logic(found)) return none;
    const Block &block = d.blocks[d.block_of[found]];
    return block.movable && block.length == 1 ? found : none;
}

// A path gets no shorter by moving a cell in the middle of it along the way: one wire gains what the
// other one loses. What is behind a long wire has to come along.
void Moves::chain(int cell, int reach, double temperature) {
    Design &d = design;
    if (d.blocks[d.block_of[cell]].length > 1) return;
    auto [x, y] = target(cell, reach);
    int dx = x - d.x[cell], dy = y - d.y[cell];
    moved.clear(), swaps.clear();
    bool possible = true;
    for (int n = 0; possible && n < most_of_chain && cell != none; n++) {
        int next = d.kind[cell] == LUT ? behind(cell) : none;
        int to_x = d.x[cell] + dx, to_y = d.y[cell] + dy;
        // A lookup table takes the register behind it along in any case.
        if (next != none && d.block_of[next] == d.block_of[cell]) next = none;
        possible = to_x >= 0 && to_x < d.width && to_y >= 0 && to_y < d.height
                   && d.tile_kind[to_y * d.width + to_x] == LOGIC
                   && plan(cell, to_y * d.width + to_x, below(places));
        cell = next;
    }
    if (possible && swaps.size() > 1)
        make(temperature);
    else
        for (auto swap = swaps.rbegin(); swap != swaps.rend(); swap++) exchange(*swap);
}

void Moves::memory(int port, int reach, double temperature) {
    Design &d = design;
    auto [x, y] = target(port, reach);
    if (x < 0 || x >= d.width || y < 0 || y >= d.height) return;
    int from = d.tile(port), to = y * d.width + x;
    if (from == to || d.tile_kind[to] == NO_LOGIC || !whole(from) || !whole(to)) return;
    auto swap = [&] {
        moved.clear();
        for (int place = 0; place < places; place++) exchange({from, place, to, place, both_slots});
        std::swap(d.write_port[from], d.write_port[to]);
        std::swap(d.tile_kind[from], d.tile_kind[to]);
        for (int tile : {from, to})
            if (int c = d.write_port[tile]; c != none)
                d.x[c] = tile % d.width, d.y[c] = tile / d.width, moved.push_back(c);
    };
    swap();
    if (!accept(temperature)) swap();
}

void Moves::macro(int cell, int reach, double temperature) {
    Design &d = design;
    int from = d.place[cell], to = below(int(d.site_kind.size()));
    if (d.site_kind[to] != d.kind[cell] || from == to) return;
    if (std::abs(d.site_x[to] - d.x[cell]) + std::abs(d.site_y[to] - d.y[cell]) > reach) return;
    auto swap = [&] {
        moved.clear();
        std::swap(d.at_site[from], d.at_site[to]);
        for (int site : {from, to})
            if (int c = d.at_site[site]; c != none) {
                d.x[c] = d.site_x[site], d.y[c] = d.site_y[site], d.place[c] = site;
                moved.push_back(c);
            }
    };
    swap();
    if (!accept(temperature)) swap();
}
