"""Between the core and LiteDRAM: a port as wide as the core's words."""

import random
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import pytest
from litedram.common import LiteDRAMNativePort
from migen import passive, run_simulation

from hw.soc.slices import DownConverter

WORDS = 40


class Memory:
    """LiteDRAM behind its crossbar: takes a command when it likes, moves data later, unasked."""

    def __init__(self, port: LiteDRAMNativePort, *, pause: float, latency: int, seed: int) -> None:
        self.port, self.pause, self.latency = port, pause, latency
        self.contents: dict[int, int] = {}
        self.commands: list[int] = []  # when they were taken
        self.written = 0
        self.random = random.Random(seed)

    def run(self) -> Iterator[Any]:
        port, due = self.port, [None] * self.latency
        cycle = 0
        while True:
            if (yield port.cmd.valid) and (yield port.cmd.ready):
                due.append(((yield port.cmd.addr), (yield port.cmd.we)))
                self.commands.append(cycle)
            else:
                due.append(None)
            address, write = due.pop(0) or (None, False)
            if (yield port.wdata.ready):
                assert (yield port.wdata.valid), "data of a write must be there"
                enabled, data = (yield port.wdata.we), (yield port.wdata.data)
                old = self.contents.get(self.written, 0)
                mask = sum(0xff << 8 * i for i in range(2) if enabled >> i & 1)
                self.contents[self.written] = old & ~mask | data & mask
            yield port.wdata.ready.eq(address is not None and write)
            yield port.rdata.valid.eq(address is not None and not write)
            if address is not None:
                self.written = address
                yield port.rdata.data.eq(self.contents.get(address, 0))
            yield port.cmd.ready.eq(self.random.random() >= self.pause)
            cycle += 1
            yield


def send(endpoint: Any, payloads: Iterable[Mapping[str, int]]) -> Iterator[Any]:
    """Offer each until it is taken, without a pause."""
    for payload in payloads:
        yield endpoint.valid.eq(1)
        for name, value in payload.items():
            yield getattr(endpoint, name).eq(value)
        yield
        while not (yield endpoint.ready):
            yield
    yield endpoint.valid.eq(0)


@pytest.mark.parametrize("width", [16, 32, 64])
@pytest.mark.parametrize("pause", [0, 0.5])
def test_words_are_parts_in_order_one_a_cycle(width: int, pause: float) -> None:
    below = LiteDRAMNativePort("both", 24, 16)
    converter = DownConverter(below, width)
    memory = Memory(below, pause=pause, latency=5, seed=width)
    draw = random.Random(1)
    words = [draw.getrandbits(width) for _ in range(WORDS)]
    enabled = [draw.getrandbits(width // 8) for _ in range(WORDS)]
    read: list[int] = []

    def read_data() -> Iterator[Any]:
        port = converter.port
        yield port.rdata.ready.eq(1)
        while len(read) < WORDS:
            if (yield port.rdata.valid):
                read.append((yield port.rdata.data))
            yield

    run_simulation(converter, [
        send(converter.port.cmd, [{"we": write, "addr": 1000 + n}
                                  for write in (True, False) for n in range(WORDS)]),
        send(converter.port.wdata, [{"data": word, "we": strobes}
                                    for word, strobes in zip(words, enabled, strict=True)]),
        read_data(), passive(memory.run)()])
    masks = [sum(0xff << 8 * i for i in range(width // 8) if strobes >> i & 1)
             for strobes in enabled]
    assert read == [word & mask for word, mask in zip(words, masks, strict=True)]
    if not pause:
        parts = 2 * WORDS * (width // 16)
        assert memory.commands[-1] - memory.commands[0] == parts - 1, "a command every cycle"
