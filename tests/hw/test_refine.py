"""The annealer: what it moves, that it stays legal, and that its timing is right.

The designs are written as nextpnr writes them. What is legal, how long paths and wires are, is
computed here once more.
"""

import itertools
import json
import random
import re
from collections import defaultdict
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hw.bitstream.boards import BOARDS, Site
from hw.bitstream.placement import read_placed
from hw.bitstream.refine import build_annealer, refine
from hw.bitstream.tools import Tool, ToolError

#: A small FPGA: three rows of logic, with macros above.
WIDTH, HEIGHT = 14, 5
DEVICE = replace(
    BOARDS["ulx3s-85f"].device, tiles=(WIDTH, HEIGHT),
    logic=tuple((x, y) for y in range(1, 4) for x in range(1, WIDTH - 1)),
    sites={"DP16KD": tuple(Site(x, 4, "EBR0") for x in range(1, 12, 2)),
           "MULT18X18D": tuple(Site(x, 0, "MULT18_0") for x in range(1, 12, 3))})
LUT_DELAY, CLOCK_TO_Q, SETUP, CARRY = 236, 525, 50, 70
BEL = re.compile(r"X(\d+)/Y(\d+)/(?:SLICE([A-D])\.(?:(K|FF)([01])|RAMW)|\w+)$")


@pytest.fixture(scope="session")
def annealer() -> Tool:
    return build_annealer()


class Design:
    """A placed netlist, and the delays of its cells."""

    def __init__(self) -> None:
        self.cells: dict[str, dict[str, Any]] = {}
        self.delays: list[str] = []
        self.bits = itertools.count(2)
        self.free = [(x, y, place) for x, y in DEVICE.logic for place in range(8)]
        random.shuffle(self.free)

    def cell(self, name: str, kind: str, bel: str, inputs: dict[str, int | None],
             outputs: dict[str, int], paths: str = "", **parameters: str) -> None:
        wired = {port: [] if bit is None else [bit] for port, bit in (inputs | outputs).items()}
        self.cells[name] = {
            "type": kind, "parameters": parameters, "attributes": {"NEXTPNR_BEL": bel, "src": "x"},
            "port_directions": dict.fromkeys(inputs, "input") | dict.fromkeys(outputs, "output"),
            "connections": wired}
        escaped = name.replace("$", r"\$")
        self.delays.append(f'  (CELL\n    (CELLTYPE "{kind}")\n    (INSTANCE {escaped})\n'
                           f'{paths}  )')

    def lut(self, name: str, at: tuple[int, int, int], inputs: list[int], out: int) -> None:
        paths = "".join(f"(IOPATH {port} F (1:2:{LUT_DELAY}) (1:2:3))\n" for port, _ in
                        zip("ABCD", inputs))
        self.cell(name, "TRELLIS_COMB", slice_bel(*at, "K"), dict(zip("ABCD", inputs)), {"F": out},
                  paths, MODE="LOGIC")

    def ff(self, name: str, at: tuple[int, int, int], out: int, clock: int, enable: int | None, *,
           lut: int | None = None, data: int | None = None, reset: int | None = None) -> None:
        port, bit = ("M", data) if lut is None else ("DI", lut)
        paths = f"(IOPATH CLK Q (1:2:{CLOCK_TO_Q}) (1:2:3))\n" + "".join(
            f"(SETUPHOLD (posedge {p}) (posedge CLK) (1:2:{SETUP}) (0:0:0))\n" for p, wired in
            ((port, bit), ("CE", enable)) if wired is not None)
        self.cell(name, "TRELLIS_FF", slice_bel(*at, "FF"),
                  {port: bit, "CLK": clock, "CE": enable, "LSR": reset}, {"Q": out}, paths,
                  CEMUX="1" if enable is None else "CE")

    def write(self, folder: Path) -> tuple[Path, Path]:
        netlist, delays = folder / "placed", folder / "sdf"
        netlist.write_text(json.dumps({"modules": {"top": {
            "settings": {"router": "router1", "seed": "1", "arch.type": "lfe5u_85f"},
            "cells": self.cells}}}))
        delays.write_text("(DELAYFILE\n" + "\n".join(self.delays) + "\n)\n")
        return netlist, delays


def slice_bel(x: int, y: int, place: int, kind: str) -> str:
    return f"X{x}/Y{y}/SLICE{'ABCD'[place // 2]}.{kind}{place % 2}"


def random_design(seed: int) -> Design:
    """Registers with logic between them, a carry chain, memory, macros, anywhere on the FPGA."""
    random.seed(seed)
    design, bit = Design(), lambda: next(design.bits)
    clock, other_clock, pin = bit(), bit(), bit()
    design.cell("pad", "TRELLIS_IO", "X0/Y2/PIOA", {}, {"O": pin})
    for net in (clock, other_clock):
        design.cell(f"buffer_{net}", "DCCA", f"X{net}/Y0/DCC0", {}, {"CLKO": net})
    taken: set[tuple[int, int]] = set()
    # a chain over two tiles, with a register beside its third sum
    carries, sums = [bit() for _ in range(12)], [bit() for _ in range(12)]
    for n in range(12):
        x, place = 4 + n // 8, n % 8
        paths = f"(IOPATH FCI FCO (1:2:{CARRY}) (1:2:3))\n" if n else ""
        paths += f"(IOPATH A F (1:2:{LUT_DELAY}) (1:2:3))\n(IOPATH A FCO (1:2:447) (1:2:3))\n"
        design.cell(f"chain$CCU2_{n}", "TRELLIS_COMB", slice_bel(x, 2, place, "K"),
                    {"A": pin, "FCI": carries[n - 1] if n else None},
                    {"F": sums[n], "FCO": carries[n]}, paths, MODE="CCU2")
        taken.add((x, 2))
    design.ff("beside", (4, 2, 3), bit(), clock, None, lut=sums[3])
    # memory: lookup tables, a port in slice C, and a register in slice D
    for place in range(4):
        design.cell(f"ram_{place}", "TRELLIS_COMB", slice_bel(9, 3, place, "K"), {"A": sums[1]},
                    {"F": bit()}, f"(IOPATH A F (1:2:{LUT_DELAY}) (1:2:3))\n", MODE="DPRAM")
    design.cell("port", "TRELLIS_RAMW", "X9/Y3/SLICEC.RAMW", {"A0": sums[2]}, {"WDO0": bit()})
    for place in (4, 5):
        design.cell(f"ram_{place}", "TRELLIS_COMB", slice_bel(9, 3, place, "K"), {}, {},
                    MODE="RAMW_BLOCK")
    ram_out = bit()
    design.ff("ram_ff", (9, 3, 7), ram_out, clock, None, data=sums[0])
    taken.add((9, 3))
    free = [at for at in design.free if at[:2] not in taken]
    # enables of slices, one control set for all of a tile
    enables = [bit(), bit(), None]
    design.cell("enables", "TRELLIS_IO", "X0/Y1/PIOA", {}, {"O": enables[0], "P": enables[1]})
    tile_of: dict[tuple[int, int], int] = {}
    enable_of: dict[tuple[int, int, int], int | None] = {}
    nets = [pin, ram_out, *sums]
    for n in range(70):
        x, y, place = free.pop()
        out, registered = bit(), bit()
        own_clock = tile_of.setdefault((x, y), random.choice((clock, clock, other_clock)))
        enable = enable_of.setdefault((x, y, place // 2), random.choice(enables))
        if n % 3:
            design.lut(f"lut_{n}", (x, y, place), random.sample(nets[-20:], 3), out)
            nets.append(out)
            if n % 3 == 2:
                design.ff(f"ff_{n}", (x, y, place), registered, own_clock, enable, lut=out)
                nets.append(registered)
        else:
            design.ff(f"ff_{n}", (x, y, place), registered, own_clock, enable,
                      data=random.choice(nets))
            nets.append(registered)
    for n, x in enumerate((1, 9)):
        design.cell(f"block_{n}", "DP16KD", f"X{x}/Y4/EBR0",
                    {"CLKA": clock, "DIA0": nets[-n - 1]}, {"DOA0": (out := bit())},
                    "(IOPATH CLKA DOA0 (1:2:5830) (1:2:3))\n"
                    "(SETUPHOLD (posedge DIA0) (posedge CLKA) (1:2:60) (0:0:0))\n")
        nets.append(out)
    design.cell("times", "MULT18X18D", "X7/Y0/MULT18_0", {"A0": nets[-1], "B0": nets[-2]},
                {"P0": (out := bit())}, "(IOPATH A0 P0 (1:2:3000) (1:2:3))\n"
                "(IOPATH B0 P0 (1:2:3100) (1:2:3))\n")
    x, y, place = free.pop()
    design.ff("last", (x, y, place), bit(), tile_of.get((x, y), clock),
              enable_of.get((x, y, place // 2)), data=out)
    return design


def moved_cells(design: Design, annealer: Tool, folder: Path, *, mhz: int = 150,
                seed: int = 1) -> dict[str, Any]:
    """Cells behind the annealer."""
    netlist, delays = design.write(folder)
    refine(annealer, netlist, delays, folder / "moved", DEVICE, clock_hz=mhz * 1_000_000, seed=seed)
    cells: dict[str, Any] = json.loads((folder / "moved").read_text())["modules"]["top"]["cells"]
    return cells


def where(cells: dict[str, Any]) -> dict[str, tuple[int, int]]:
    found = {}
    for name, cell in cells.items():
        at = BEL.match(cell["attributes"]["NEXTPNR_BEL"])
        assert at, cell
        found[name] = int(at[1]), int(at[2])
    return found


def check_legal(cells: dict[str, Any]) -> None:
    """What nextpnr checks: Arch::slices_compatible of its ECP5."""
    bels = [cell["attributes"]["NEXTPNR_BEL"] for cell in cells.values()]
    assert len(set(bels)) == len(bels), "two cells at a place"
    tiles, slices, carries = defaultdict(set), defaultdict(set), defaultdict(set)
    memories, writes = defaultdict(set), set()
    sites = {site.bel for of_kind in DEVICE.sites.values() for site in of_kind}
    for cell in cells.values():
        bel, wired, has = cell["attributes"]["NEXTPNR_BEL"], cell["connections"], cell["parameters"]
        tile, _, at = bel.rpartition("/")
        if cell["type"] == "TRELLIS_FF":
            tiles[tile].add((*wired["CLK"], *(wired["LSR"] or ["-"])))
            slices[bel[:-4]].add((*(wired["CE"] or ["-"]), has["CEMUX"]))
        elif cell["type"] == "TRELLIS_COMB":
            carries[bel[:-3]].add(has["MODE"] == "CCU2")
            if has["MODE"] in ("DPRAM", "RAMW_BLOCK"):
                memories[tile].add((has["MODE"], at))
        elif cell["type"] == "TRELLIS_RAMW":
            writes.add(tile)
        elif cell["type"] in DEVICE.sites:
            assert bel in sites
        if "SLICE" in bel:
            x, y = (int(n[1:]) for n in tile.split("/"))
            assert (x, y) in DEVICE.logic
    for groups in (tiles, slices, carries):
        assert all(len(group) == 1 for group in groups.values())
    assert set(memories) == writes


def timing(cells: dict[str, Any], design: Design, period: float) -> tuple[float, float, int]:
    """Longest path, sum of what ends are late, how many are; picoseconds."""
    at = where(cells)
    driver, sinks = {}, defaultdict(list)
    for name, cell in cells.items():
        for port, bits in cell["connections"].items():
            for bit in bits:
                if cell["port_directions"][port] == "output":
                    driver[bit] = name, port
                else:
                    sinks[bit].append((name, port))
    paths, setups, clocks = defaultdict(list), {}, set()
    for text in design.delays:
        name = re.search(r"INSTANCE (\S+)\)", text)[1].replace("\\", "")  # type: ignore[index]
        for start, end, delay in re.findall(r"IOPATH (\w+) (\w+) \(\d+:\d+:(\d+)\)", text):
            paths[name].append((start, end, int(delay)))
        for port, clock, delay in re.findall(
                r"SETUPHOLD \(posedge (\w+)\) \(posedge (\w+)\) \(\d+:\d+:(\d+)\)", text):
            setups[name, port] = int(delay)
            clocks.add((name, clock))
    inside, base, once, near, far, most = DEVICE.wire_delays

    def wire(start: tuple[str, str], end: tuple[str, str]) -> float:
        if (start[1], end[1]) in (("FCO", "FCI"), ("F", "DI")):
            return 0
        distances = [abs(a - b) for a, b in zip(at[start[0]], at[end[0]])]
        if not any(distances):
            return inside
        return base + sum(once + near * min(d, most) + far * max(0, d - most)
                          for d in distances if d)

    arrivals: dict[int, float | None] = {}

    def arrival(bit: int) -> float | None:
        """When a net has its value; None if that depends on no register."""
        if bit not in arrivals:
            name, port = driver[bit]
            times = []
            for start, end, delay in paths[name]:
                if end != port:
                    continue
                if (name, start) in clocks or start in ("CLK", "CLKA"):
                    times.append(float(delay))
                    continue
                for source in cells[name]["connections"][start]:
                    before = arrival(source) if source in driver else None
                    if before is not None:
                        times.append(before + wire(driver[source], (name, start)) + delay)
            arrivals[bit] = max(times, default=None)
        return arrivals[bit]

    ends = []
    for bit, pins in sinks.items():
        if bit not in driver or cells[driver[bit][0]]["type"] == "DCCA":
            continue
        for pin in pins:
            before = arrival(bit)
            if pin in setups and before is not None:
                ends.append(before + wire(driver[bit], pin) + setups[pin])
    late = [end - period for end in ends if end > period]
    return max(ends), sum(late), len(late)


def wires(cells: dict[str, Any]) -> int:
    """Half the circumferences of all nets of at most 48 sinks, but clocks."""
    at, ends, drivers = where(cells), defaultdict(list), {}
    for name, cell in cells.items():
        for port, bits in cell["connections"].items():
            for bit in bits:
                if cell["port_directions"][port] == "output":
                    drivers[bit] = name
                else:
                    ends[bit].append(name)
    total = 0
    for bit, names in ends.items():
        if bit in drivers and cells[drivers[bit]]["type"] != "DCCA" and len(names) <= 48:
            xs, ys = zip(*(at[name] for name in (drivers[bit], *names)))
            total += max(xs) - min(xs) + max(ys) - min(ys)
    return total


def said(folder: Path, name: str) -> tuple[int, float, float, int]:
    """What the annealer said of a placement: wires, nanoseconds of the longest path, and late,
    ends.
    """
    log = (folder / "moved.anneal.log").read_text()
    found = re.search(rf"^{name}: wires (\d+), longest path (\S+) ns, late (\S+) ns at (\d+) ends$",
                      log, re.M)
    assert found, log
    return int(found[1]), float(found[2]), float(found[3]), int(found[4])


@pytest.mark.parametrize("seed", range(4))
def test_what_it_says_of_time_and_wires_is_so(annealer: Tool, tmp_path: Path, seed: int) -> None:
    design = random_design(seed)
    before = json.loads(json.dumps(design.cells))
    after = moved_cells(design, annealer, tmp_path)
    period = float(f"{1e6 / 150 * 0.92:.0f}")
    for cells, name in ((before, "before"), (after, "after")):
        length, longest, late, ends = said(tmp_path, name)
        expected = timing(cells, design, period)
        assert length == wires(cells)
        assert f"{longest:.2f}" == f"{expected[0] / 1e3:.2f}"
        assert f"{late:.1f}" == f"{expected[1] / 1e3:.1f}" and ends == expected[2]
    assert said(tmp_path, "after")[2] < said(tmp_path, "before")[2] / 2


@pytest.mark.parametrize("seed", range(4))
def test_stays_legal_and_moves_what_belongs_together_as_one(annealer: Tool, tmp_path: Path,
                                                            seed: int) -> None:
    design = random_design(seed)
    before = json.loads(json.dumps(design.cells))
    check_legal(before)
    after = moved_cells(design, annealer, tmp_path)
    check_legal(after)
    names = {name: cell["attributes"].pop("NEXTPNR_BEL") for name, cell in after.items()}
    old = {name: cell["attributes"].pop("NEXTPNR_BEL") for name, cell in before.items()}
    assert after == before, "something else than places changed"
    assert sum(names[name] != old[name] for name in names) > 30
    assert all(names[name] == old[name] for name in names if "PIO" in old[name]
               or "DCC" in old[name])

    def position(name: str) -> tuple[int, int]:
        at = BEL.match(names[name])
        assert at and at[3]
        return int(at[2]), 8 * int(at[1]) + 2 * "ABCD".index(at[3]) + int(at[5] or 0)

    row, first = position("chain$CCU2_0")
    assert first % 8 == 0
    assert all(position(f"chain$CCU2_{n}") == (row, first + n) for n in range(12))
    for name in names:
        if name.startswith("ff_") and int(name[3:]) % 3 == 2:
            assert position(name) == position(f"lut_{name[3:]}")
    assert position("beside") == position("chain$CCU2_3")
    tile = names["port"].rpartition("/")[0]
    assert [names[f"ram_{n}"] for n in range(6)] == [
        f"{tile}/SLICE{'ABC'[n // 2]}.K{n % 2}" for n in range(6)]


def test_everything_that_can_move_does(annealer: Tool, tmp_path: Path) -> None:
    kinds = defaultdict(set)
    for seed in range(6):
        design = random_design(seed)
        before = {n: c["attributes"]["NEXTPNR_BEL"] for n, c in design.cells.items()}
        for name, cell in moved_cells(design, annealer, tmp_path, seed=seed).items():
            kind = "chain" if name.startswith("chain") else cell["type"]
            kinds[kind].add(cell["attributes"]["NEXTPNR_BEL"] != before[name])
    moving = {"chain", "TRELLIS_COMB", "TRELLIS_FF", "TRELLIS_RAMW", "DP16KD", "MULT18X18D"}
    assert {kind for kind, moved in kinds.items() if True in moved} == moving


def test_the_same_seed_gives_the_same_placement(annealer: Tool, tmp_path: Path) -> None:
    first, again, other = (moved_cells(random_design(1), annealer, tmp_path, seed=seed)
                           for seed in (1, 1, 2))
    assert first == again != other


def test_settings_of_the_first_run_do_not_count_in_the_next(annealer: Tool, tmp_path: Path
                                                            ) -> None:
    moved_cells(random_design(0), annealer, tmp_path)
    module = json.loads((tmp_path / "moved").read_text())["modules"]["top"]
    assert module["settings"] == {"arch.type": "lfe5u_85f"}
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "moved", "moved.anneal.log", "placed", "sdf"]


def test_a_multiplier_with_registers_stays_where_it_is(tmp_path: Path) -> None:
    design = random_design(0)
    design.cells["times"]["connections"]["CLK0"] = [2]
    design.cells["times"]["port_directions"]["CLK0"] = "input"
    placed = read_placed(*design.write(tmp_path), DEVICE)
    kinds = placed.arrays[2]
    assert kinds[placed.names.index("times")] == 255
    assert kinds[placed.names.index("block_0")] == 2


def test_the_annealer_is_compiled_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = build_annealer(tmp_path)
    monkeypatch.setattr("subprocess.run", lambda *_, **__: pytest.fail("compiled again"))
    assert build_annealer(tmp_path) == first
    assert list(tmp_path.iterdir()) == [first.program]


def test_a_compiler_that_fails_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hw.bitstream.refine._FLAGS", ("-std=c++nonsense",))
    with pytest.raises(ToolError, match="the annealer must compile; .* said:\n.*nonsense"):
        build_annealer(tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_placement_that_is_not_legal_is_refused(annealer: Tool, tmp_path: Path) -> None:
    design = random_design(0)
    for name, place in (("one", 0), ("two", 1)):
        design.ff(name, (12, 1, place), next(design.bits), 2, None, data=4)
    design.cells["two"]["connections"]["CLK"] = [3]
    with pytest.raises(ToolError, match="tile X12/Y1 must be legal before anything is moved"):
        moved_cells(design, annealer, tmp_path)


def test_a_design_that_ends_too_early_is_refused(annealer: Tool, tmp_path: Path) -> None:
    (tmp_path / "cut").write_bytes(np.int64(2).tobytes() + np.array([3, 4], np.int32).tobytes())
    with pytest.raises(ToolError, match="the design ends too early"):
        annealer.run("cut", "out", "1000", "1", "1", folder=tmp_path, log="log")
    assert not (tmp_path / "out").exists()
