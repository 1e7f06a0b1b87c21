"""Which block RAM and which DSP of the netlist gets which site of the FPGA.

nextpnr moves macros to the nearest free sites when it has placed everything, which ruins the
placement of a design that needs nearly all of them. This assigns them before it: a quadratic
assignment problem, solved by simulated annealing of swaps.

Ref: Koopmans, Beckmann, Assignment problems and the location of economic activities, Econometrica
25 (1), 1957; Burkard, Rendl, A thermodynamically motivated simulation procedure for combinatorial
optimization problems, EJOR 17 (2), 1984.
"""

import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hw.bitstream.boards import Board, Site
from hw.bitstream.tools import ToolError
from hw.bitstream.wires import Wires

__all__ = ["Assignment", "assign_macros", "write_placed"]

#: Swaps that are tried for each macro, and how many are looked at together.
_SWAPS, _TOGETHER = 8_000, 32
#: Temperature at the start, in standard deviations of what a swap changes in a random assignment.
_START = 0.2


@dataclass(frozen=True)
class Assignment:
    """A site for each macro.

    Parameters
    ----------
    bels
        nextpnr's names of the sites, by cell.
    tiles, random_tiles
        Length of the wires between macros, and from them to the pins: of this assignment, and of
        the random one in the beginning.
    """

    bels: dict[str, str]
    tiles: float
    random_tiles: float


def assign_macros(wires: Wires, board: Board, *, seed: int,
                  say: Callable[[str], None] = lambda _: None) -> Assignment:
    """Choose a site of its type for each macro, so that wires are short.

    With F wires between macros i and j, f from i to the pins, and Manhattan distances between the
    sites p(i), the sum of F[i, j] |p(i) - p(j)| over all pairs, plus that of f[i] |p(i) - pins|, is
    a local minimum: no swap of two sites of a type, used or not, makes it less. The same seed gives
    the same result.

    Parameters
    ----------
    say
        Called with how far it is.

    Raises
    ------
    ToolError
        There are more macros of a type than sites.
    """
    device = board.device
    needed = Counter(wires.kinds)
    if any(needed[kind] > len(sites) for kind, sites in device.sites.items()):
        raise ToolError(device.too_large((kind, needed[kind], len(sites))
                                         for kind, sites in device.sites.items()))
    if not wires.names:
        return Assignment({}, 0.0, 0.0)
    sites = [site for of_kind in device.sites.values() for site in of_kind]
    numbers = [len(of_kind) for of_kind in device.sites.values()]
    # Macros in the order of sites, with one that has no wires for each site that stays free.
    free = dict(zip(device.sites, map(count, np.cumsum([0, *numbers]).tolist())))
    slots = np.array([next(free[kind]) for kind in wires.kinds])
    swaps = _Swaps(wires, slots, _distances(sites, board.pins),
                   np.repeat(np.arange(len(numbers)), numbers), np.random.default_rng(seed))
    random_tiles = swaps.cost()
    swaps.anneal(say)
    swaps.descend()
    bels = {name: sites[swaps.at[slot]].bel for name, slot in zip(wires.names, slots)}
    return Assignment(bels, swaps.cost(), random_tiles)


def _distances(sites: Sequence[Site], pins: tuple[int, int]) -> NDArray[np.float64]:
    """Manhattan distances between sites, and to the pins, the last."""
    places = np.array([*((site.x, site.y) for site in sites), pins], float)
    distances: NDArray[np.float64] = np.abs(places[:, None] - places[None]).sum(2)
    return distances


class _Swaps:
    """An assignment, and what swaps would change.

    Parameters
    ----------
    wires
    slots
        Which of the assigned each macro is; the others stand for free sites.
    distances
        Between sites, and to the pins, the last.
    kinds
        Of sites, and of what is assigned to them, in order: numbers from 0.
    rng
    """

    def __init__(self, wires: Wires, slots: NDArray[np.int_], distances: NDArray[np.float64],
                 kinds: NDArray[np.int_], rng: np.random.Generator) -> None:
        size = len(kinds)
        self.slots, self.rng, self.kinds = slots, rng, kinds
        self.distances = distances[:-1, :-1]
        self.wires = np.zeros((size, size))
        self.wires[np.ix_(slots, slots)] = wires.between
        to_pins = np.zeros(size)
        to_pins[slots] = wires.to_pins
        self.first, self.number = np.searchsorted(kinds, kinds), np.bincount(kinds)[kinds]
        bounds = [0, *np.cumsum(np.bincount(kinds)).tolist()]
        self.of_kind = [slice(low, high) for low, high in zip(bounds, bounds[1:])]
        #: Site of each.
        self.at = np.lexsort((rng.random(size), kinds))
        self._to_pins = np.outer(to_pins, distances[-1, :-1])
        #: What each would cost at each site of its type if the others stayed where they are.
        self.costs = self.wires @ self.distances[self.at] + self._to_pins

    def cost(self) -> float:
        """Of the assignment."""
        each = np.arange(len(self.at))
        both = self.wires * self.distances[np.ix_(self.at, self.at)]
        return float(both.sum() / 2 + self._to_pins[each, self.at].sum())

    def change(self, r: Any, s: Any) -> Any:
        """What swaps of r and s add to the cost; the wires between both stay as long as they were,
        which `costs` does not know.
        """
        a, b = self.at[r], self.at[s]
        return (self.costs[r, b] - self.costs[r, a] + self.costs[s, a] - self.costs[s, b]
                + 2 * self.wires[r, s] * self.distances[a, b])

    def swap(self, r: int, s: int) -> None:
        a, b = self.at[r], self.at[s]
        pull, longer = self.wires[r] - self.wires[s], self.distances[b] - self.distances[a]
        for kind in self.of_kind:
            self.costs[kind, kind] += np.multiply.outer(pull[kind], longer[kind])
        self.at[r], self.at[s] = b, a

    def candidates(self, number: int) -> tuple[NDArray[np.int_], NDArray[np.int_]]:
        """Random macros, and what each is swapped with: of its type, or itself."""
        r = self.rng.choice(self.slots, number)
        return r, self.first[r] + (self.rng.random(number) * self.number[r]).astype(int)

    def anneal(self, say: Callable[[str], None]) -> None:
        """Swap while it cools down from a temperature at which most of the order is still open.

        What is looked at together is decided in order up to the first swap, so that the result is
        that of one after the other.
        """
        total = _SWAPS * len(self.slots)
        start = _START * self.change(*self.candidates(10_000)).std()
        done = shown = 0
        while done < total:
            r, s = self.candidates(_TOGETHER)
            limit = -start * (1 - done / total) ** 3 * np.log(self.rng.random(_TOGETHER))
            taken = (self.change(r, s) < limit) & (r != s)
            first = int(taken.argmax())
            if taken[first]:
                self.swap(r[first], s[first])
                done += first + 1
            else:
                done += _TOGETHER
            if done >= shown:
                say(f"{done / total:.0%}")
                shown += total // 100

    def descend(self) -> None:
        """Do the best swap until none makes it better."""
        each = np.arange(len(self.at))
        r, s = np.meshgrid(each, each, indexing="ij")
        other_kind = self.kinds[r] != self.kinds[s]
        while True:
            change = np.where(other_kind, 0, self.change(r, s))
            best = np.unravel_index(change.argmin(), change.shape)
            if change[best] >= -1e-9 * (1 + self.cost()):
                return
            self.swap(int(best[0]), int(best[1]))


def write_placed(design: Mapping[str, Any], top: str, bels: Mapping[str, str], path: Path) -> None:
    """Write a netlist of Yosys with the sites of some cells of its top module, for nextpnr."""
    module = design["modules"][top]
    cells = module["cells"] | {
        name: cell | {"attributes": cell["attributes"] | {"BEL": bels[name]}}
        for name, cell in module["cells"].items() if name in bels}
    modules = design["modules"] | {top: module | {"cells": cells}}
    path.write_text(json.dumps({**design, "modules": modules}))
