#include "timing.h"

#include <algorithm>
#include <cmath>

namespace {

constexpr float never = -1e9f, always = 1e9f;
// How close to the latest input another one arrives that still matters, and how close to the period
// a path that is in time, picoseconds; and the most that an end of a path weighs.
constexpr float soft_width = 300, end_width = 400, most_late = 8;
// What the weight of a wire cannot tell: how far it can grow until the path is late.
constexpr float share_of_slack = 0.5f, most_ends = 50;

bool constrained(float time) { return time > never / 2 && time < always / 2; }

}  // namespace

Timing::Timing(const Design &d, float period)
    : period(period), delay(d.sinks()), weight(d.sinks()), limit(d.sinks(), always),
      excess(d.sinks()), slack(d.sinks()), design(d), arrival(d.nets()), required(d.nets()),
      soft(d.nets()), late(d.nets()), ends(d.nets()) {
    Ints inputs(d.nets());
    for (int32_t net : d.way_net) inputs[net]++;
    for (int net = 0; net < d.nets(); net++)
        if (!inputs[net]) order.push_back(net);
    for (size_t i = 0; i < order.size(); i++)  // nets in a loop of logic have no place in it
        for (int sink = d.first_sink[order[i]]; sink < d.first_sink[order[i] + 1]; sink++)
            for (int way = d.first_way[sink]; way < d.first_way[sink + 1]; way++)
                if (!--inputs[d.way_net[way]]) order.push_back(d.way_net[way]);
    for (int sink = 0; sink < d.sinks(); sink++) delay[sink] = wire_delay(sink);
}

float Timing::wire_delay(int sink) const {
    const Design &d = design;
    int from = d.driver[d.sink_net[sink]], to = d.sink_cell[sink];
    if (from == none || d.direct[sink]) return 0;
    const Floats &w = d.wire_delays;
    int dx = std::abs(d.x[from] - d.x[to]), dy = std::abs(d.y[from] - d.y[to]);
    if (!dx && !dy) return w[0];
    float sum = w[1];
    for (int distance : {dx, dy})
        if (distance) {
            int near = std::min(distance, int(w[5]));
            sum += w[2] + w[3] * near + w[4] * (distance - near);
        }
    return sum;
}

Summary Timing::analyse() {
    const Design &d = design;
    for (int net = 0; net < d.nets(); net++) {
        arrival[net] = d.driver[net] != none && d.clock_to_net[net] >= 0 ? d.clock_to_net[net]
                                                                        : never;
        required[net] = always;
    }
    for (int net : order) {
        if (!constrained(arrival[net])) continue;
        for (int sink = d.first_sink[net]; sink < d.first_sink[net + 1]; sink++)
            for (int way = d.first_way[sink]; way < d.first_way[sink + 1]; way++) {
                float &there = arrival[d.way_net[way]];
                there = std::max(there, arrival[net] + delay[sink] + d.way_delay[way]);
            }
    }
    Summary found;
    std::fill(slack.begin(), slack.end(), always);
    for (auto net = order.rbegin(); net != order.rend(); net++) {
        if (!constrained(arrival[*net])) continue;
        for (int sink = d.first_sink[*net]; sink < d.first_sink[*net + 1]; sink++) {
            float there = arrival[*net] + delay[sink], until = always;
            if (d.setup[sink] > never / 2) {
                until = period - d.setup[sink];
                found.longest = std::max(found.longest, there + d.setup[sink]);
                if (there > until) found.late += there - until, found.ends++;
            }
            for (int way = d.first_way[sink]; way < d.first_way[sink + 1]; way++)
                until = std::min(until, required[d.way_net[way]] - d.way_delay[way]);
            if (until >= always / 2) continue;
            slack[sink] = until - there;
            required[*net] = std::min(required[*net], until - delay[sink]);
        }
    }
    return found;
}

void Timing::weigh(float smoothing) {
    const Design &d = design;
    std::fill(soft.begin(), soft.end(), 0.f);
    std::fill(late.begin(), late.end(), 0.f);
    std::fill(ends.begin(), ends.end(), 0.f);
    auto share = [&](float there, int way) {
        float before = (there + d.way_delay[way] - arrival[d.way_net[way]]) / soft_width;
        return before > -12 ? std::exp(before) : 0;
    };
    for (int net : order) {
        if (!constrained(arrival[net])) continue;
        for (int sink = d.first_sink[net]; sink < d.first_sink[net + 1]; sink++)
            for (int way = d.first_way[sink]; way < d.first_way[sink + 1]; way++)
                soft[d.way_net[way]] += share(arrival[net] + delay[sink], way);
    }
    for (auto net = order.rbegin(); net != order.rend(); net++)
        for (int sink = d.first_sink[*net]; sink < d.first_sink[*net + 1]; sink++) {
            float now = 0, on_it = 0;
            limit[sink] = always;
            if (constrained(slack[sink])) {
                float there = arrival[*net] + delay[sink];
                if (d.setup[sink] > never / 2) {
                    float left = (period - d.setup[sink] - there) / end_width;
                    now += left > 0 ? std::exp(-left) : std::min(1 - left, most_late);
                    on_it += 1;
                }
                for (int way = d.first_way[sink]; way < d.first_way[sink + 1]; way++)
                    if (int to = d.way_net[way]; soft[to] > 0) {
                        now += late[to] * share(there, way) / soft[to];
                        on_it += ends[to] * share(there, way) / soft[to];
                    }
                if (slack[sink] > 0) limit[sink] = delay[sink] + share_of_slack * slack[sink];
                late[*net] += now, ends[*net] += on_it;
            }
            weight[sink] = smoothing * weight[sink] + (1 - smoothing) * now;
            excess[sink] = std::min(on_it, most_ends);
        }
}
