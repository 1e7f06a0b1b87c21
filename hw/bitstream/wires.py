"""How strongly macros pull at each other: the wires between block RAMs, DSPs and pins, through all
the logic in between.

Wires are springs: a design whose cells are at x has a wire length of x' L x in each direction, with
the graph's Laplacian L. Wherever macros are, other cells go where this is least, so they can be
eliminated (Kron reduction): with macros and pins m, and all other cells s,

    K = L_mm - L_ms inv(L_ss) L_sm

is a Laplacian again, of wires between macros alone.

Ref: Kleinhans et al., GORDIAN: VLSI placement by quadratic programming, IEEE TCAD 10 (3), 1991;
Viswanathan, Chu, FastPlace, ISPD 2004, section 4: stars for nets; Doerfler, Bullo, Kron reduction
of graphs, IEEE TCAS I 60 (1), 2013.
"""

from collections import defaultdict
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from itertools import combinations, count, repeat
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array, csr_array, diags_array, eye_array
from scipy.sparse.linalg import splu

__all__ = ["Wires", "wires_between"]

#: Nets with more pins are left out: clocks, resets and enables reach everything, wherever it is.
_MOST_PINS = 40
#: Nets with more are stars, which have fewer arcs.
_MOST_DIRECT = 4
#: Pulls every cell to nowhere, so that what is not connected to a macro has a place, too. So weak
#: that it does not change the others' sixth digit.
_HOLD = 1e-6
#: Columns at a time, each with a double for each node that is eliminated.
_BLOCK = 64


@dataclass(frozen=True)
class Wires:
    """Wires between macros; a way through one cell of logic is half a wire.

    Parameters
    ----------
    names, kinds
        The macros' cells, and their types. [M]
    between
        Wires between each two; symmetric, zero on the diagonal. [M, M]
    to_pins
        Wires from each to the pins. [M]
    """

    names: tuple[str, ...]
    kinds: tuple[str, ...]
    between: NDArray[np.float64]
    to_pins: NDArray[np.float64]


def wires_between(module: Mapping[str, Any], kinds: Collection[str]) -> Wires:
    """Find the wires between cells of types `kinds` of a module, and from them to its ports.

    A net of k pins, on different cells, pulls with 1 / (k - 1) between each two of them; nets with
    more than 40 do not count.

    Parameters
    ----------
    module
        As Yosys writes it as JSON: ``cells``, ``ports``.
    """
    cells = module["cells"]
    macros = [name for name, cell in cells.items() if cell["type"] in kinds]
    if not macros:  # nothing to eliminate all cells for
        return Wires((), (), np.zeros((0, 0)), np.zeros(0))
    pins, fixed = len(macros), len(macros) + 1
    nodes, node_of = count(fixed), {name: n for n, name in enumerate(macros)}
    nets: defaultdict[int, set[int]] = defaultdict(set)
    for name, cell in cells.items():
        node = node_of[name] if name in node_of else next(nodes)
        for bits in cell["connections"].values():
            for bit in bits:
                if isinstance(bit, int):  # otherwise a constant
                    nets[bit].add(node)
    for port in module["ports"].values():
        for bit in port["bits"]:
            nets[bit].add(pins)
    ends: list[tuple[int, int]] = []
    weights: list[float] = []
    for on in nets.values():
        k = len(on)
        if 2 <= k <= _MOST_DIRECT:
            pulls = list(combinations(on, 2))
            weights += [1 / (k - 1)] * len(pulls)
        elif _MOST_DIRECT < k <= _MOST_PINS:
            # Around a node of its own: eliminated, the arcs are those above.
            pulls = list(zip(on, repeat(next(nodes))))
            weights += [k / (k - 1)] * k
        else:
            continue
        ends += pulls
    size = next(nodes)
    rows, columns = np.array(ends, int).reshape(-1, 2).T
    arcs = coo_array((weights, (rows, columns)), (size, size)).tocsr()
    arcs = arcs + arcs.T
    kept = _eliminate(csr_array(diags_array(arcs.sum(1)) - arcs), fixed)
    between = np.maximum(-(kept + kept.T) / 2, 0)
    np.fill_diagonal(between, 0)
    return Wires(tuple(macros), tuple(cells[name]["type"] for name in macros),
                 between[:pins, :pins], between[:pins, pins])


def _eliminate(laplacian: csr_array, fixed: int) -> NDArray[np.float64]:
    """Eliminate all nodes of a Laplacian but the first `fixed`."""
    kept: NDArray[np.float64] = laplacian[:fixed, :fixed].toarray()
    rest = laplacian.shape[0] - fixed
    if not rest:
        return kept
    soft = laplacian[fixed:, fixed:] + _HOLD * eye_array(rest)
    factors = splu(soft.tocsc(), permc_spec="MMD_AT_PLUS_A", diag_pivot_thresh=0.0,
                   options={"SymmetricMode": True})
    across = laplacian[fixed:, :fixed]
    for start in range(0, fixed, _BLOCK):
        columns = slice(start, start + _BLOCK)
        kept[:, columns] -= across.T @ factors.solve(across[:, columns].toarray())
    return kept
