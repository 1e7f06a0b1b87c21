"""Copies of registers: what they drive, where they are, and that the design stays the same."""

import copy
import random
from collections import defaultdict
from typing import Any

import pytest

from hw.bitstream.boards import BOARDS
from hw.bitstream.replicate import replicate

DEVICE = BOARDS["ulx3s-85f"].device
CLOCK, RESET, DATA = 2, 3, 4


def register(bel: str, out: int, **wired: int) -> dict[str, Any]:
    inputs = {"CLK": CLOCK, "LSR": RESET, "M": DATA} | wired
    return {"type": "TRELLIS_FF", "parameters": {"SD": "1" if "DI" in wired else "0 "},
            "attributes": {"NEXTPNR_BEL": bel},
            "port_directions": dict.fromkeys(inputs, "input") | {"Q": "output"},
            "connections": {port: [bit] for port, bit in (inputs | {"Q": out}).items()}}


def module(seed: int, sinks: int, *, tiles: int = 60) -> dict[str, Any]:
    """One register, ``big``, that is reset, enable and data of others."""
    random.seed(seed)
    big = 10
    where = random.sample(DEVICE.logic, tiles)
    cells = {"big": register(f"X{where[0][0]}/Y{where[0][1]}/SLICEB.FF1", big)}
    for n in range(sinks):
        x, y = where[1:][n % (tiles - 1)]
        port = ("LSR", "CE")[(n % (tiles - 1)) % 2]
        cells[f"sink_{n}"] = register(
            f"X{x}/Y{y}/SLICE{'ABCD'[n // (tiles - 1) % 8 // 2]}.FF{n // (tiles - 1) % 2}",
            100 + n, **{port: big})
    cells["last"] = register("X2/Y2/SLICED.FF1", 99, M=big)
    return {"cells": cells, "netnames": {"big": {"bits": [big]}}}


def driven(cells: dict[str, Any]) -> dict[str, list[tuple[str, str]]]:
    drivers = {cell["connections"]["Q"][0]: name for name, cell in cells.items()}
    found = defaultdict(list)
    for name, cell in cells.items():
        for port, bits in cell["connections"].items():
            if port != "Q" and bits[0] in drivers:
                found[drivers[bits[0]]].append((name, port))
    return found


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("sinks", [20, 129, 400])
def test_sinks_are_divided_among_copies_of_the_same_register(seed: int, sinks: int) -> None:
    made = module(seed, sinks)
    before = copy.deepcopy(made["cells"])
    copies = replicate(made, DEVICE)
    cells = made["cells"]
    assert set(cells) == set(before) | set(copies)
    assert set(copies.values()) <= {"big"}
    parts = driven(cells)
    assert all(len(parts[name]) <= 128 for name in ("big", *copies))
    assert bool(copies) == (sinks + 1 > 128)
    assert sorted(pin for name in ("big", *copies) for pin in parts[name]) == sorted(
        driven(before)["big"])
    outputs = [cell["connections"]["Q"][0] for cell in cells.values()]
    assert len(set(outputs)) == len(outputs)
    for name in copies:
        own, of = cells[name], cells["big"]
        assert own["parameters"] == of["parameters"] and own["type"] == of["type"]
        assert own["connections"] | {"Q": 0} == of["connections"] | {"Q": 0}
        assert made["netnames"][name]["bits"] == own["connections"]["Q"]
    # Nothing else changed, but where it is driven from.
    for name, cell in before.items():
        assert cells[name]["attributes"] == cell["attributes"]


def test_copies_are_alone_and_tiles_keep_one_reset() -> None:
    made = module(7, 500)
    copies = replicate(made, DEVICE)
    tiles, resets = defaultdict(list), defaultdict(set)
    for name, cell in made["cells"].items():
        tile = cell["attributes"]["NEXTPNR_BEL"].rsplit("/", 1)[0]
        tiles[tile].append(name)
        resets[tile].add(cell["connections"]["LSR"][0])
    for name in copies:
        tile = made["cells"][name]["attributes"]["NEXTPNR_BEL"].rsplit("/", 1)[0]
        assert tiles[tile] == [name]
        x, y = (int(part[1:]) for part in tile.split("/"))
        assert (x, y) in DEVICE.logic
    assert all(len(nets) == 1 for nets in resets.values())


def test_a_region_is_smaller_than_what_the_register_drove() -> None:
    made = module(3, 500, tiles=200)

    def spread(names: list[str]) -> float:
        places = [made["cells"][name]["attributes"]["NEXTPNR_BEL"].split("/") for name in names]
        xs, ys = ([int(place[axis][1:]) for place in places] for axis in (0, 1))
        return max(xs) - min(xs) + max(ys) - min(ys)

    whole = spread([name for name, _ in driven(made["cells"])["big"]])
    copies = replicate(made, DEVICE)
    parts = driven(made["cells"])
    assert all(spread([name for name, _ in parts[one]]) < 0.8 * whole for one in copies)


def test_the_input_of_a_copy_comes_over_a_wire() -> None:
    made = module(1, 200)
    big = made["cells"]["big"]
    big["connections"]["DI"] = big["connections"].pop("M")
    big["port_directions"]["DI"] = big["port_directions"].pop("M")
    big["parameters"]["SD"] = "1"
    copies = replicate(made, DEVICE)
    assert copies
    for name in copies:
        cell = made["cells"][name]
        assert cell["connections"]["M"] == [DATA] and "DI" not in cell["connections"]
        assert cell["port_directions"]["M"] == "input" and "DI" not in cell["port_directions"]
        assert cell["parameters"]["SD"] == "0 "
    assert big["connections"]["DI"] == [DATA] and big["parameters"]["SD"] == "1"


def test_a_lookup_table_is_copied_but_for_the_register_beside_it() -> None:
    made = module(2, 300)
    cells = made["cells"]
    big, beside = cells["big"], register(cells["big"]["attributes"]["NEXTPNR_BEL"], 98, DI=10)
    cells["big"] = {
        "type": "TRELLIS_COMB", "parameters": {"MODE": "LOGIC", "INITVAL": "1010"},
        "attributes": {"NEXTPNR_BEL": big["attributes"]["NEXTPNR_BEL"].replace("FF", "K")},
        "port_directions": {"A": "input", "F": "output"}, "connections": {"A": [DATA], "F": [10]}}
    cells["beside"] = beside
    taken = {name: cell["attributes"]["NEXTPNR_BEL"] for name, cell in cells.items()}
    copies = replicate(made, DEVICE)
    assert copies and set(copies.values()) == {"big"}
    assert beside["connections"]["DI"] == [10]
    for name in copies:
        own = cells[name]
        assert own["parameters"] == cells["big"]["parameters"]
        assert own["connections"]["A"] == [DATA]
        bel = own["attributes"]["NEXTPNR_BEL"]
        assert bel.endswith("/SLICEA.K0") and bel not in taken.values()
    outputs = [cells[name]["connections"]["F"][0] for name in ("big", *copies)]
    inputs = [bits for cell in cells.values() for port, bits in cell["connections"].items()
              if port in ("LSR", "CE", "M", "DI")]
    users = [inputs.count([out]) for out in outputs]
    assert sum(users) == 302 and max(users) <= 129


@pytest.mark.parametrize("mode", ["CCU2", "DPRAM"])
def test_carries_and_memory_are_not_copied(mode: str) -> None:
    made = module(2, 300)
    big = made["cells"]["big"]
    big.update(type="TRELLIS_COMB", parameters={"MODE": mode}, port_directions={"F": "output"},
               connections={"F": [10]})
    assert not replicate(made, DEVICE)


def test_an_asynchronous_reset_stays_that_of_one_register() -> None:
    made = module(1, 300)
    made["cells"]["big"]["parameters"]["SRMODE"] = "ASYNC"
    before = copy.deepcopy(made)
    assert not replicate(made, DEVICE)
    assert made == before
