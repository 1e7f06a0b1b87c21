"""LiteDRAM with some of its decisions in registers: they are the same."""

import random
from collections.abc import Generator
from typing import Any

import pytest
from litedram.common import LiteDRAMNativePort, PhySettings
from litedram.core.controller import ControllerSettings, LiteDRAMController
from litedram.frontend.axi import LiteDRAMAXI2NativeW
from litedram.modules import MT48LC16M16
from litex.soc.interconnect.axi import AXIInterface
from migen import If, Signal, passive, run_simulation
from migen.fhdl.structure import _Operator

from hw.soc.early import compare_rows_early, count_words_early

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


@pytest.mark.parametrize("fast", [0.3, 0.9])
def test_words_that_wait_for_a_command_are_counted(fast: float) -> None:
    """As LiteDRAM did: those in the buffer, but those of which the commands are under way."""
    bus = AXIInterface(data_width=32, address_width=32, id_width=1)
    port = LiteDRAMNativePort("both", 25, 32)
    writer = LiteDRAMAXI2NativeW(bus, port, buffer_depth=4, base_address=0)
    [can_write] = [part for part in writer._fragment.comb
                   if isinstance(getattr(part, "r", None), _Operator) and part.r.op == ">"]
    before = Signal()
    writer.comb += If(can_write.r, before.eq(1))
    count_words_early(writer, port)
    draw = random.Random(3)
    seen = set()

    def play() -> Generator[Any, int, None]:
        owed = 0
        yield writer.cmd_grant.eq(1)
        for _ in range(600):
            assert (yield can_write.l) == (yield before)
            seen.add((yield before))
            owed += (yield port.cmd.valid) & (yield port.cmd.ready)
            owed -= (yield port.wdata.ready) & (yield port.wdata.valid)
            if (yield bus.aw.ready):
                yield bus.aw.valid.eq(draw.random() < 0.8)
                yield bus.aw.len.eq(draw.randrange(4))
                yield bus.aw.size.eq(2)
                yield bus.aw.burst.eq(1)
            if (yield bus.w.ready):
                yield bus.w.valid.eq(draw.random() < fast)
                yield bus.w.last.eq(draw.random() < 0.3)
            yield bus.b.ready.eq(1)
            yield port.cmd.ready.eq(draw.random() < 0.6)
            yield port.wdata.ready.eq(owed > 0 and draw.random() < 0.5)
            yield

    run_simulation(writer, play())
    assert seen == {0, 1}
