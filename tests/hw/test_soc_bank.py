"""LiteDRAM's controller with rows compared early: every access is to the row that was asked for."""

import random
from collections.abc import Generator
from typing import Any

import pytest
from litedram.common import PhySettings
from litedram.core.controller import ControllerSettings, LiteDRAMController
from litedram.modules import MT48LC16M16
from migen import passive, run_simulation

from hw.soc.bank import compare_rows_early

CLOCK_HZ = 75_000_000
COMMANDS = 80
BANK = 2


def controller(auto_precharge: bool) -> LiteDRAMController:
    module = MT48LC16M16(CLOCK_HZ, "1:1")
    made = LiteDRAMController(
        PhySettings("test", "SDR", databits=16, dfi_databits=16, nphases=1, rdphase=0, wrphase=0,
                    cl=2, read_latency=4, write_latency=0),
        module.geom_settings, module.timing_settings, CLOCK_HZ,
        ControllerSettings(with_auto_precharge=auto_precharge))
    compare_rows_early(made)
    return made


@pytest.mark.parametrize("auto_precharge", [False, True])
@pytest.mark.parametrize("pause", [0, 0.6])
def test_every_access_is_to_its_row(auto_precharge: bool, pause: float) -> None:
    memory = controller(auto_precharge)
    draw = random.Random(auto_precharge)
    bank, pins = getattr(memory.interface, f"bank{BANK}"), memory.dfi.p0
    asked = [(draw.randrange(3), draw.randrange(512), draw.random() < 0.5)
             for _ in range(COMMANDS)]
    done: list[tuple[int, int, bool]] = []

    def ask() -> Generator[Any, int, None]:
        for row, column, write in asked:
            while draw.random() < pause:
                yield
            yield bank.valid.eq(1)
            yield bank.addr.eq(row << 9 | column)
            yield bank.we.eq(write)
            yield
            while not (yield bank.ready):
                yield
            yield bank.valid.eq(0)
        while len(done) < COMMANDS:
            yield

    def watch() -> Generator[Any, int, None]:
        opened = None
        while True:
            command = ((yield pins.ras_n), (yield pins.cas_n), (yield pins.we_n))
            address = yield pins.address
            if command == (0, 1, 1):
                assert opened is None, "a row is open"
                opened = address
            elif command == (0, 1, 0):
                opened = None
            elif command[:2] == (1, 0):
                assert opened is not None, "no row is open"
                done.append((opened, address & 0x1ff, not command[2]))
                if address >> 10 & 1:
                    opened = None
            yield

    run_simulation(memory, [ask(), passive(watch)()])
    assert done == asked
