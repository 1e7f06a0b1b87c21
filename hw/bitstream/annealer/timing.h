// Static timing analysis, and how much each wire matters.
//
// How late a design is: the sum over all ends of paths of a function of their slack, which rises
// steeply where that is negative. A wire's weight is the derivative of that sum by its delay. With
// a soft maximum of the times at which the inputs of a cell arrive, a derivative at a cell's output
// is shared out among its inputs, from the ends back to the beginnings: a wire that a hundred late
// ends hang on weighs as much as these together.
//
// Ref: Guo, Lin, Differentiable-timing-driven global placement, DAC 2022.

#pragma once

#include "design.h"

struct Summary {
    double late = 0;   // sum of all negative slacks, picoseconds, positive
    int ends = 0;      // how many slacks are negative
    float longest = 0; // path, setup time included, picoseconds
};

class Timing {
  public:
    Timing(const Design &design, float period);
    // Of a wire, from where its cells are.
    float wire_delay(int sink) const;
    // Analyse, with `delay`.
    Summary analyse();
    // Weigh wires, after an analysis; `smoothing` is the share of the weights of before.
    void weigh(float smoothing);

    float period;   // that paths should have at most
    Floats delay;   // of each wire, to a sink
    Floats weight;  // how much the design gets later for each picosecond more
    Floats limit;   // a delay from which on it gets later faster than `weight` says ...
    Floats excess;  // ... by so much
    Floats slack;

  private:
    const Design &design;
    Ints order;  // of nets, drivers first
    Floats arrival, required, soft, late, ends;
};
