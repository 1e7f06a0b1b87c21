"""The parts of the small system, each against what it is documented to do."""

import importlib
import re
from dataclasses import replace
from pathlib import Path
from random import Random

import pytest
import pythondata_cpu_picorv32
from amaranth import Elaboratable, Module

from hw.__main__ import main
from hw.small.flash import FlashReader
from hw.small.headers import small_header, small_script
from hw.small.mac_port import MacPort
from hw.small.memory import SharedScratchpad
from hw.small.uart import Uart
from hw.small.write import PINS, small_constraints
from hw.spec.config import PRESETS, ArrayConfig, ConfigError
from hw.spec.isa import Isa, Opcode
from hw.spec.regs import Fault
from hw.spec.small import (
    ACTIVATIONS_OFFSET,
    FIRMWARE_OFFSET,
    INSTRUCTION_BASE,
    Region,
    Register,
    check_small,
)
from sim.testing import simulate
from tests.sim.program_builder import mac
from tests.sim.random_instructions import random_instruction
from tests.sim.slow_machine import SlowMachine

CONFIG = replace(PRESETS["test-4x4"], scratchpad_words=256, weight_words=256, accumulator_words=49,
                 post_lanes=1)
CONFIGS = {"4x4": CONFIG, "4x2": replace(CONFIG, columns=2)}


async def access(ctx, bus, address: int, written: int | None = None, strobe: int = 15) -> int:
    """Read, or write, as the processor does; returns what was read."""
    ctx.set(bus.valid, 1)
    ctx.set(bus.address, address)
    ctx.set(bus.strobe, 0 if written is None else strobe)
    ctx.set(bus.written, written or 0)
    for _ in range(2000):
        _, _, ready, read = await ctx.tick().sample(bus.ready, bus.read)
        if ready:
            ctx.set(bus.valid, 0)
            await ctx.tick()
            return int(read)
    raise TimeoutError("the access must end")


class Beside(Elaboratable):
    """Array and scratchpad, as in the system."""

    def __init__(self, config: ArrayConfig) -> None:
        self.config = config
        self.port, self.memory = MacPort(config), SharedScratchpad(config)

    def elaborate(self, platform):
        m = Module()
        m.submodules.port, m.submodules.memory = self.port, self.memory
        m.d.comb += [
            self.memory.busy.eq(self.port.busy),
            self.memory.mac.address.eq(self.port.scratchpad.address),
            self.port.scratchpad.data.eq(self.memory.mac.data)]
        return m

    async def fill(self, ctx, oracle: SlowMachine, rng: Random) -> None:
        """Random words into scratchpad and weights."""
        for word in oracle.scratchpad + oracle.weights:
            word[:] = (rng.choice((-128, 127, rng.randint(-128, 127))) for _ in word)
        for bus, words in ((self.memory.bus, oracle.scratchpad),
                           (self.port.weights, oracle.weights)):
            for address, word in enumerate(words):
                packed = sum((value & 255) << 8 * i for i, value in enumerate(word))
                # what is no weight is ignored
                await access(ctx, bus, address, packed | rng.getrandbits(32) << 8 * len(word)
                             & 0xFFFF_FFFF)

    async def execute(self, ctx, fields: dict[str, int]) -> int:
        """Run a MAC; returns STATUS."""
        code = Isa(self.config).encode(Opcode.MAC, fields)
        for at in range(0, len(code), 4):
            await access(ctx, self.port.registers, (INSTRUCTION_BASE + at) // 4,
                         int.from_bytes(code[at:at + 4], "little"))
        await access(ctx, self.port.registers, Register.CONTROL // 4, 1)
        while (status := await access(ctx, self.port.registers, Register.STATUS // 4)) & 1:
            continue
        return status

    async def sums(self, ctx) -> list[list[int]]:
        columns = self.config.columns
        return [[await access(ctx, self.port.accumulators, word * columns + column)
                 for column in range(columns)] for word in range(self.config.accumulator_words)]


@pytest.mark.parametrize("name", CONFIGS)
def test_array_computes_what_instructions_say(name: str) -> None:
    config, rng = CONFIGS[name], Random(4)
    dut, oracle = Beside(config), SlowMachine(config, b"", b"")

    async def play(ctx):
        await dut.fill(ctx, oracle, rng)
        for n in range(6):
            fields = random_instruction(rng, config, Opcode.MAC, 0, 0)
            if n == 0:  # all sums are defined from here on
                fields |= mac_of_everything(config)
            assert await dut.execute(ctx, fields) == 0
            oracle.execute(Opcode.MAC, fields)
            expected = [[value & 0xFFFF_FFFF for value in word] for word in oracle.accumulators]
            assert await dut.sums(ctx) == expected, fields
    simulate(dut, play)


def mac_of_everything(config: ArrayConfig) -> dict[str, int]:
    """Overwrite all accumulators."""
    _, fields = mac(rows=1, columns=config.accumulator_words, src_rows=1, src_columns=64,
                    src_base=0, src_ring_words=64, src_ring_start=0, src_row_stride=64, y0=0,
                    x0=0, kernel_rows=1, kernel_columns=1, planes=1, accumulator=0, accumulate=0)
    return fields


def test_a_fault_is_told_and_a_reset_ends_it() -> None:
    rng = Random(5)
    dut, oracle = Beside(CONFIG), SlowMachine(CONFIG, b"", b"")
    good = random_instruction(rng, CONFIG, Opcode.MAC, 0, 0) | mac_of_everything(CONFIG)

    async def play(ctx):
        await dut.fill(ctx, oracle, rng)
        for changes, cause, address in (
                ({"kernel_rows": 0}, Fault.ILLEGAL_INSTRUCTION, 0),
                ({"weights": 253}, Fault.ON_CHIP_RANGE, CONFIG.weight_words),
                ({"src_base": 250}, Fault.ON_CHIP_RANGE, CONFIG.scratchpad_words)):
            assert await dut.execute(ctx, good | changes) == 2
            registers = dut.port.registers
            assert await access(ctx, registers, Register.FAULT // 4) == cause
            assert await access(ctx, registers, Register.FAULT_ADDRESS // 4) == address
            await access(ctx, registers, Register.CONTROL // 4, 2)
            assert await access(ctx, registers, Register.STATUS // 4) == 0
        assert await dut.execute(ctx, good) == 0
        oracle.execute(Opcode.MAC, good)
        assert await dut.sums(ctx) == [[v & 0xFFFF_FFFF for v in word]
                                       for word in oracle.accumulators]
    simulate(dut, play)


def test_bytes_of_the_scratchpad_are_written_one_by_one() -> None:
    dut, rng = SharedScratchpad(CONFIG), Random(6)
    words = [rng.getrandbits(32) for _ in range(16)]

    async def play(ctx):
        for address, word in enumerate(words):
            await access(ctx, dut.bus, address, word)
        for _ in range(100):
            address, strobe, new = rng.randrange(16), rng.randrange(1, 16), rng.getrandbits(32)
            mask = sum(255 << 8 * i for i in range(4) if strobe >> i & 1)
            await access(ctx, dut.bus, address, new, strobe)
            words[address] = words[address] & ~mask | new & mask
            assert await access(ctx, dut.bus, address) == words[address]
        for address, word in enumerate(words):
            assert await access(ctx, dut.bus, address) == word
    simulate(dut, play)


def test_the_processor_waits_for_the_array() -> None:
    dut = SharedScratchpad(CONFIG)

    async def play(ctx):
        await access(ctx, dut.bus, 3, 0x01020304)
        await access(ctx, dut.bus, 5, 0x11121314)
        ctx.set(dut.busy, 1)
        ctx.set(dut.bus.valid, 1)
        ctx.set(dut.bus.address, 5)
        ctx.set(dut.bus.strobe, 15)
        ctx.set(dut.bus.written, 0)
        ctx.set(dut.mac.address, 3)
        for _ in range(3):
            *_, ready, read = await ctx.tick().sample(dut.bus.ready, dut.bus.read)
            assert not ready and read == 0
        assert list(ctx.get(dut.mac.data)) == [4, 3, 2, 1]
        ctx.set(dut.mac.address, 5)
        await ctx.tick().repeat(3)
        assert list(ctx.get(dut.mac.data)) == [0x14, 0x13, 0x12, 0x11]
        ctx.set(dut.busy, 0)
        *_, ready = await ctx.tick().sample(dut.bus.ready)
        assert not ready
        *_, ready = await ctx.tick().sample(dut.bus.ready)
        assert ready
        ctx.set(dut.bus.valid, 0)
        assert await access(ctx, dut.bus, 5) == 0
    simulate(dut, play)


@pytest.mark.parametrize("bit_cycles", [4, 12])
def test_uart_sends_and_receives_every_byte(bit_cycles: int) -> None:
    dut, sent = Uart(bit_cycles), [*range(256)]
    random = Random(7)
    random.shuffle(sent)

    async def send(ctx):
        assert ctx.get(dut.tx) == 1
        for byte in sent:
            while ctx.get(dut.sending):
                await ctx.tick()
            ctx.set(dut.written, byte)
            ctx.set(dut.send, 1)
            await ctx.tick()
            ctx.set(dut.send, 0)

    async def line(ctx):
        """Look at the line as the other side does, a bit after the other."""
        ctx.set(dut.rx, 1)
        found, levels = [], []
        while len(found) < len(sent):
            level = ctx.get(dut.tx)
            ctx.set(dut.rx, level)
            levels.append(level)
            await ctx.tick()
            if levels[0]:
                levels.clear()
            elif len(levels) == 10 * bit_cycles:
                bits = [levels[n * bit_cycles:(n + 1) * bit_cycles] for n in range(10)]
                assert all(len(set(bit)) == 1 for bit in bits)
                assert [bit[0] for bit in bits[::9]] == [0, 1]
                found.append(sum(bit[0] << n for n, bit in enumerate(bits[1:9])))
                levels.clear()
        assert found == sent

    async def receive(ctx):
        for byte in sent:
            while not ctx.get(dut.came):
                await ctx.tick()
            assert ctx.get(dut.read) == byte
            ctx.set(dut.take, 1)
            await ctx.tick()
            ctx.set(dut.take, 0)
            assert not ctx.get(dut.came)
    simulate(dut, send, line, receive)


def test_uart_ignores_what_is_no_byte() -> None:
    dut = Uart(8)

    async def play(ctx):
        for low, high in ((2, 100), (8 * 10, 40)):  # too short; without a stop bit
            ctx.set(dut.rx, 0)
            await ctx.tick().repeat(low)
            ctx.set(dut.rx, 1)
            await ctx.tick().repeat(high)
            assert not ctx.get(dut.came)
    simulate(dut, play)


class Flash:
    """An SPI flash that keeps to its data sheet: asleep until command ABh, then command 03h."""

    def __init__(self, dut: FlashReader, contents: bytes) -> None:
        self.dut, self.contents = dut, contents
        self.commands: list[int] = []

    async def play(self, ctx):
        awake, before, bits, clock, shifted = False, 1, 0, 0, 0
        async for csb, clk in ctx.changed(self.dut.csb, self.dut.clk):
            if csb:
                awake |= not before and bits == 8 and self.commands[-1] == 0xAB
                bits = shifted = 0
            elif clk and not clock:
                shifted = shifted << 1 | ctx.get(self.dut.mosi)
                bits += 1
                if bits == 8:
                    self.commands.append(shifted)
                    assert shifted == 0xAB or awake
            elif clock and not clk and bits >= 32 and self.commands[-1] == 0x03:
                n = bits - 32
                first = shifted >> n & 0xFFFFFF
                byte = self.contents[(first + n // 8) % len(self.contents)]
                ctx.set(self.dut.miso, byte >> 7 - n % 8 & 1)
            before, clock = csb, clk


def test_flash_is_read_at_any_address() -> None:
    rng = Random(8)
    dut = FlashReader()
    flash = Flash(dut, rng.randbytes(4096))
    addresses = [0, 0, 1, 2, 2, 3, 100, 101, 100, 1023, 5, *(rng.randrange(1023)
                                                             for _ in range(10))]
    took: list[int] = []

    async def play(ctx):
        for address in addresses:
            ctx.set(dut.bus.valid, 1)
            ctx.set(dut.bus.address, address)
            took.append(0)
            while not ctx.get(dut.bus.ready):
                await ctx.tick()
                took[-1] += 1
            assert ctx.get(dut.bus.read) == int.from_bytes(
                flash.contents[4 * address:4 * address + 4], "little"), address
            await ctx.tick()
            ctx.set(dut.bus.valid, 0)
            assert ctx.get(dut.bus.read) == 0
            await ctx.tick().repeat(rng.randrange(1, 4))
    simulate(dut, play, background=[flash.play])
    assert flash.commands[0] == 0xAB and set(flash.commands[1:]) == {0x03}
    # the first one wakes the flash up; those read just before are there; the ones behind follow
    assert took[1:9] == [0, 65, 65, 0, 65, 130, 65, 130]


def test_pins_are_those_of_others_designs() -> None:
    board = importlib.import_module("litex_boards.platforms.icebreaker")
    known = {name: item for name, number, *item in board._io if number == 0}
    def pin(name: str, part: str = "") -> str:
        found = next(p for p in known[name] if not part or getattr(p, "name", "") == part)
        return str((found.constraints[0] if part else found).identifiers[0])
    assert {port: str(n) for port, n in PINS.items()} == {
        "clk": pin("clk12"), "button": pin("user_btn_n"), "rx": pin("serial", "rx"),
        "tx": pin("serial", "tx"), "led_red": pin("user_ledr_n"), "led_green": pin("user_ledg_n"),
        "flash_csb": pin("spiflash", "cs_n"), "flash_clk": pin("spiflash", "clk"),
        "flash_io0": pin("spiflash", "mosi"), "flash_io1": pin("spiflash", "miso"),
        "flash_io2": pin("spiflash", "wp"), "flash_io3": pin("spiflash", "hold")}
    picosoc = Path(pythondata_cpu_picorv32.__file__).parent / "verilog/picosoc/icebreaker.pcf"
    theirs = dict(re.findall(r"^set_io (\w+) +(\d+)", picosoc.read_text(), re.M))
    names = {"rx": "ser_rx", "tx": "ser_tx", "led_red": "ledr_n", "led_green": "ledg_n"}
    for port, number in PINS.items():
        assert port == "button" or theirs[names.get(port, port)] == str(number)
    assert "set_io clk 35\n" in small_constraints(12_000_000)


def test_header_and_script_have_the_addresses() -> None:
    header = small_header(12_000_000)
    defined = {name: int(value, 0) for name, value in re.findall(
        r"^#define (SMALL_\w+) (\w+)u$", header, re.M)}
    assert defined == {
        "SMALL_CLOCK_HZ": 12_000_000,
        **{f"SMALL_{region.name}_BASE": region for region in Region},
        **{f"SMALL_REGISTER_{r.name}": Region.REGISTERS + r for r in Register},
        "SMALL_INSTRUCTION_BASE": Region.REGISTERS + INSTRUCTION_BASE,
        "SMALL_ACTIVATIONS_IN_FLASH": Region.FLASH + ACTIVATIONS_OFFSET}
    assert f"flash : ORIGIN = 0x{Region.FLASH + FIRMWARE_OFFSET:08x}" in small_script()


@pytest.mark.parametrize(("changes", "message"), [
    ({"rows": 8}, "rows must be 4, bytes of a word of the processor, in a small system, not 8"),
    ({"columns": 8},
     "columns must be 2 or 4 in a small system, where a DSP block serves two, not 8"),
    ({"post_lanes": 2}, ("post_lanes must be 1 in a small system, whose processor reads one "
                         "accumulator at a time, not 2")),
    ({"scratchpad_words": 16385},
     "scratchpad_words must be at most 16384 in a small system, not 16385"),
])
def test_other_arrays_are_refused(changes: dict[str, int], message: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(message)):
        check_small(replace(CONFIG, **changes))


@pytest.mark.parametrize(("options", "message"), [
    (["--clock-mhz", "24"], ("the clock of 'icebreaker-up5k' must be its oscillator's 12 MHz, not "
                             "24; leave --clock-mhz out")),
    (["--sdram-rate", "1"], ("the SDRAM rate of 'icebreaker-up5k' must not be set, for it has no "
                             "SDRAM; leave --sdram-rate out")),
    (["--rom", "x"], ("the boot ROM of 'icebreaker-up5k' must not be filled, for it starts from "
                      "its flash; leave --rom out")),
    (["--target", "test-8x4"],
     "rows must be 4, bytes of a word of the processor, in a small system, not 8"),
])
@pytest.mark.parametrize("command", ["soc", "bitstream"])
def test_what_the_board_has_not_is_refused(command: str, options: list[str], message: str,
                                           tmp_path: Path,
                                           capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    assert main([command, "--board", "icebreaker-up5k", *options, "-o", str(out)]) == 1
    assert capsys.readouterr().err == f"error: {message}.\n"
    assert not out.exists()


def test_the_system_is_written_as_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    assert main(["soc", "--board", "icebreaker-up5k", "-o", str(out)]) == 0
    assert {path.name for path in out.iterdir()} == {
        "small_system.v", "picorv32.v", "small.h", "small.ld", "small.pcf"}
    text = (out / "small_system.v").read_text()
    [ports] = re.findall(r"^module small_system\((.*?)\);", text, re.M)
    assert set(ports.split(", ")) == set(PINS)
    assert text.count("SB_MAC16") == 8 and text.count("SB_SPRAM256KA") == 4
    assert "small_system.v" in capsys.readouterr().out
