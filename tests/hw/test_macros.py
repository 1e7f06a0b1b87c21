"""Sites of block RAMs and DSPs: the wires between them, their assignment, the netlist with it."""

import itertools
import json
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hw.bitstream import macros
from hw.bitstream.boards import BOARDS, Board, Site
from hw.bitstream.macros import assign_macros, write_placed
from hw.bitstream.tools import ToolError
from hw.bitstream.wires import Wires, wires_between

DEVICE = BOARDS["ulx3s-85f"].device


def module(cells: dict[str, str], nets: Iterable[str]) -> dict[str, Any]:
    """A netlist: types of cells, and nets as cells' names; of these, ``@`` is a port."""
    made: dict[str, Any] = {name: {"type": kind, "attributes": {}, "connections": {"C": ["0"]}}
                            for name, kind in cells.items()}
    ports: dict[str, Any] = {}
    for bit, net in enumerate(nets):
        for n, name in enumerate(net.split()):
            if name == "@":
                ports[f"P{bit}"] = {"bits": [bit]}
            else:
                made[name]["connections"][f"N{bit}_{n}"] = [bit]
    return {"cells": made, "ports": ports}


def between(nets: Iterable[str], **cells: str) -> Wires:
    """Wires between cells ``a`` to ``d``, RAMs; others are logic."""
    names = sorted({name for net in nets for name in net.split()} - {"@"})
    return wires_between(module({n: "RAM" if n in "abcd" else "LUT" for n in names}, nets),
                         {"RAM"})


def close(found: Any, expected: Any) -> bool:
    """Equal but for what holds unconnected cells, a millionth of a wire."""
    return np.allclose(found, expected, rtol=0, atol=3e-6)


def test_a_net_of_k_pins_pulls_each_two_with_a_wire_in_k_minus_1() -> None:
    wires = between(["a b c d", "a b"])
    assert wires.names == ("a", "b", "c", "d") and wires.kinds == ("RAM",) * 4
    third = 1 / 3
    assert close(wires.between, [[0, 1 + third, third, third], [1 + third, 0, third, third],
                                 [third, third, 0, third], [third, third, third, 0]])
    assert not wires.to_pins.any()


def test_nets_of_more_pins_pull_as_if_they_were_direct() -> None:
    # 6 pins: 1/5 of a wire for each two; x, y, e pull at nothing else, and share theirs out
    wires = between(["a b c x y e"])
    # a set of 6, complete: eliminating one of n equal ones leaves w (1 + 1/(n-1)) between others
    expected = 1 / 5 * 6 / 5 * 5 / 4 * 4 / 3
    assert close(wires.between, expected * (1 - np.eye(3)))


def test_logic_between_two_is_resistance() -> None:
    # springs in series: 1 / (1/1 + 1/1 + 1/1), beside a direct one
    wires = between(["a x", "x y", "y b", "a b"])
    assert close(wires.between, [[0, 4 / 3], [4 / 3, 0]])


def test_a_star_of_logic_becomes_a_triangle() -> None:
    # a, b, c at x with 1, 1, 2 wires: w_i w_j / (1 + 1 + 2)
    wires = between(["a x", "b x", "c x", "c x"])
    assert close(wires.between, [[0, 1 / 4, 1 / 2], [1 / 4, 0, 1 / 2], [1 / 2, 1 / 2, 0]])


def test_ports_are_one_place() -> None:
    wires = between(["a @", "b x", "x @", "c @ y", "y @"])
    assert close(wires.between, np.zeros((3, 3)))
    # y pulls c with 1/2, and is pulled by 1/2 + 1
    assert close(wires.to_pins, [1, 1 / 2, 1 / 2 + 1 / 2 * 3 / 2 / 2])


@pytest.mark.parametrize("pins, counts", [(40, True), (41, False)])
def test_nets_that_reach_everything_do_not_count(pins: int, counts: bool) -> None:
    wires = between([" ".join(["a", "b", *(f"x{n}" for n in range(pins - 2))])])
    assert bool(wires.between[0, 1] > 0.01) is counts


def test_two_pins_of_a_cell_are_one() -> None:
    assert close(between(["a a b"]).between, [[0, 1], [1, 0]])


def test_logic_that_no_macro_is_at_does_not_matter() -> None:
    assert close(between(["a b", "x y", "y z"]).between, [[0, 1], [1, 0]])


def test_blocks_of_columns_are_those_of_all(monkeypatch: pytest.MonkeyPatch) -> None:
    nets = ["a x y", "b y z", "c z @", "d x z", "a b c x y z"]
    expected = between(nets)
    monkeypatch.setattr("hw.bitstream.wires._BLOCK", 2)
    found = between(nets)
    assert close(found.between, expected.between) and close(found.to_pins, expected.to_pins)


def board(ram: int, dsp: int = 0, pins: tuple[int, int] = (0, 0)) -> Board:
    """A board with RAMs in row 2, DSPs in row 5, a column each."""
    sites = {"RAM": tuple(Site(n, 2, "R") for n in range(ram)),
             "DSP": tuple(Site(n, 5, "D") for n in range(dsp))}
    return replace(BOARDS["ulx3s-85f"], device=replace(DEVICE, sites=sites), target="test-4x4",
                   pins=pins)


def wires(kinds: list[str], arcs: dict[tuple[int, int], float],
          to_pins: dict[int, float] | None = None) -> Wires:
    between = np.zeros((len(kinds), len(kinds)))
    for (i, j), n in arcs.items():
        between[i, j] = between[j, i] = n
    pins = np.zeros(len(kinds))
    for i, n in (to_pins or {}).items():
        pins[i] = n
    return Wires(tuple(f"m{n}" for n in range(len(kinds))), tuple(kinds), between, pins)


def cost(found: Wires, bels: dict[str, str], pins: tuple[int, int]) -> float:
    """Wire length in tiles, by its definition."""
    at = [tuple(int(n[1:]) for n in bels[name].split("/")[:2]) for name in found.names]
    far = [[abs(a[0] - b[0]) + abs(a[1] - b[1]) for b in [*at, pins]] for a in at]
    return sum(found.between[i, j] * far[i][j] for i, j in itertools.combinations(range(len(at)), 2)
               ) + sum(found.to_pins[i] * far[i][-1] for i in range(len(at)))


def test_a_chain_is_placed_in_order_from_the_pins_on() -> None:
    order = [3, 0, 5, 2, 7, 1, 6, 4]
    chain = wires(["RAM"] * 8, {pair: 1 for pair in itertools.pairwise(order)}, {3: 1})
    found = assign_macros(chain, board(8, pins=(0, 2)), seed=1)
    assert [found.bels[f"m{n}"] for n in order] == [f"X{n}/Y2/R" for n in range(8)]
    assert found.tiles == 7 < found.random_tiles


@pytest.mark.parametrize("seed", range(5))
def test_finds_the_best_of_all_assignments(seed: int) -> None:
    rng = np.random.default_rng(seed)
    kinds, spot = ["RAM", "DSP", "RAM", "DSP", "RAM"], board(5, 3, pins=(4, 9))
    random = wires(kinds, {pair: rng.random() for pair in itertools.combinations(range(5), 2)},
                   {n: rng.random() for n in range(5)})
    least = min(
        cost(random, {"m0": r[0], "m1": d[0], "m2": r[1], "m3": d[1], "m4": r[2]}, spot.pins)
        for r in itertools.permutations([f"X{n}/Y2/R" for n in range(5)], 3)
        for d in itertools.permutations([f"X{n}/Y5/D" for n in range(3)], 2))
    found = assign_macros(random, spot, seed=seed)
    assert found.tiles == pytest.approx(least)
    assert cost(random, found.bels, spot.pins) == pytest.approx(found.tiles)


@pytest.fixture()
def large(monkeypatch: pytest.MonkeyPatch) -> Wires:
    """Many macros, each tied to some others; annealed in a hurry, so that much is left to do."""
    monkeypatch.setattr(macros, "_SWAPS", 200)
    rng = np.random.default_rng(3)
    kinds = rng.permutation(["DP16KD"] * 40 + ["MULT18X18D"] * 30).tolist()
    arcs = {(i, int(j)): rng.random() for i in range(70) for j in rng.choice(70, 4) if i != j}
    return wires(kinds, arcs, {n: rng.random() for n in range(5)})


def test_macros_get_different_sites_of_their_type_where_no_swap_makes_it_better(
        large: Wires) -> None:
    found = assign_macros(large, BOARDS["ulx3s-85f"], seed=1)
    assert list(found.bels) == list(large.names)
    assert len(set(found.bels.values())) == len(large.names)
    kind_of = dict(zip(large.names, large.kinds))
    used = {bel: name for name, bel in found.bels.items()}
    assert found.tiles == pytest.approx(cost(large, found.bels, (126, 48)))
    for name, bel in found.bels.items():
        sites = {site.bel for site in DEVICE.sites[kind_of[name]]}
        assert bel in sites
        for other in sorted(sites)[::40]:
            swapped = found.bels | {name: other}
            if other in used:
                swapped[used[other]] = bel
            assert cost(large, swapped, (126, 48)) > found.tiles * (1 - 1e-8)


def test_a_seed_gives_the_same_and_another_another(large: Wires) -> None:
    first, again, other = (assign_macros(large, BOARDS["ulx3s-85f"], seed=n) for n in (1, 1, 2))
    assert first == again
    assert first.bels != other.bels and first.random_tiles != other.random_tiles


def test_annealing_is_better_than_the_best_swap_each_time(
        large: Wires, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(macros, "_SWAPS", 0)
    descended = assign_macros(large, BOARDS["ulx3s-85f"], seed=1)
    monkeypatch.setattr(macros, "_SWAPS", 1000)
    assert assign_macros(large, BOARDS["ulx3s-85f"], seed=1).tiles < 0.95 * descended.tiles


def test_refuses_more_macros_than_sites() -> None:
    with pytest.raises(ToolError) as caught:
        assign_macros(wires(["RAM"] * 5 + ["DSP"] * 3, {}), board(5, 2), seed=1)
    assert str(caught.value) == ("The design must fit the LFE5U-85F-6BG381, not take 3 of 2 DSP; "
                                 "choose a smaller core with --target")


def test_macros_without_wires_get_sites() -> None:
    assert set(assign_macros(wires(["RAM"] * 3, {}), board(3), seed=1).bels.values()) == {
        "X0/Y2/R", "X1/Y2/R", "X2/Y2/R"}


@pytest.mark.parametrize("of", [BOARDS["ulx3s-85f"], replace(
    BOARDS["ulx3s-85f"], device=replace(DEVICE, sites={}))])
def test_a_design_without_macros_stays_as_it_is(of: Board, tmp_path: Path) -> None:
    small = module({"x": "LUT", "y": "LUT"}, ["x y", "y @"])
    found = assign_macros(wires_between(small, of.device.sites), of, seed=1)
    assert (found.bels, found.tiles, found.random_tiles) == ({}, 0, 0)
    design = {"modules": {"soc": small, "LUT": {"cells": {}}}}
    write_placed(design, "soc", found.bels, tmp_path / "out")
    assert json.loads((tmp_path / "out").read_text()) == design


def test_the_netlist_gets_attributes_and_nothing_else(tmp_path: Path) -> None:
    design = {"creator": "Yosys", "modules": {
        "soc": module({"a": "RAM", "b": "LUT"}, ["a b"]), "other": module({"a": "RAM"}, [])}}
    design["modules"]["soc"]["cells"]["a"]["attributes"]["src"] = "f"  # type: ignore[index]
    before = json.dumps(design)
    write_placed(design, "soc", {"a": "X1/Y2/EBR0"}, tmp_path / "out")
    assert json.dumps(design) == before
    expected = json.loads(before)
    expected["modules"]["soc"]["cells"]["a"]["attributes"]["BEL"] = "X1/Y2/EBR0"
    assert json.loads((tmp_path / "out").read_text()) == expected


def test_the_fpga_has_as_many_sites_as_its_data_sheet_says() -> None:
    bels = {kind: {site.bel for site in sites} for kind, sites in DEVICE.sites.items()}
    assert {kind: len(found) for kind, found in bels.items()} == {"DP16KD": 208, "MULT18X18D": 156}
    assert {"X4/Y22/EBR0", "X64/Y82/EBR3", "X120/Y46/EBR3"} <= bels["DP16KD"]
    assert {"X4/Y10/MULT18_0", "X63/Y58/MULT18_5", "X73/Y34/MULT18_4"} <= bels["MULT18X18D"]
    assert all(site.x < DEVICE.tiles[0] and site.y < DEVICE.tiles[1]
               for sites in DEVICE.sites.values() for site in sites)
