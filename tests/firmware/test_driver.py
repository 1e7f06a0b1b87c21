"""firmware/macrame.c on the host, under sanitizers, access by access."""

import subprocess
import zlib
from pathlib import Path

import pytest

from codegen.headers.generate import write_headers
from hw.spec.config import PRESETS
from hw.spec.image import Image
from hw.spec.regs import REGISTERS, Fault
from tests.builds import build_folder, zoo_model
from tests.firmware.compilers import FIRMWARE, GCC, SANITIZED, compile_c

BASE = 0x9000_0000
STARTED = ["R STATUS 0", "W CONTROL 4", "W INTERRUPT_ENABLE 0", "W CONTROL 1"]


class Driver:
    """The driver's program, its image, and what it says to commands."""

    def __init__(self, folder: Path) -> None:
        build = build_folder(zoo_model("yolov4-tiny-eighth-64"), folder / "build")
        write_headers(build.path, folder / "headers")
        self.program = compile_c(
            [FIRMWARE / "macrame.c", Path(__file__).with_name("driver_host.c")],
            folder / "driver", include=[FIRMWARE, folder / "headers"], compiler=GCC,
            flags=[*SANITIZED, "-DMACRAME_MOCK"])
        self.file = build.path / "program.bin"
        self.data = self.file.read_bytes()
        self.image = build.image
        self.folder = folder

    def run(self, *commands: str) -> list[str]:
        """What is printed."""
        done = subprocess.run([self.program], input="\n".join(commands), capture_output=True,
                              text=True, check=False)
        assert done.returncode == 0 and not done.stderr, f"{done.stdout}\n{done.stderr}"
        return done.stdout.splitlines()

    def write(self, data: bytes) -> Path:
        """Another image."""
        path = self.folder / "other.bin"
        path.write_bytes(data)
        return path

    @property
    def ready(self) -> list[str]:
        """Commands that open and configure."""
        return [f"open {BASE}", f"image {self.file} {len(self.data)} {0x4000_0000}",
                f"configure {0x4800_0000} {self.image.activation_bytes} 7"]

    def after(self, *commands: str, setup: str = "core 3 0 0 0") -> list[str]:
        """What commands print when the program was configured."""
        before = self.run(setup, *self.ready)
        assert before[-1] == "= all is well"
        return self.run(setup, *self.ready, *commands)[len(before):]


@pytest.fixture(scope="module")
def driver(tmp_path_factory: pytest.TempPathFactory) -> Driver:
    return Driver(tmp_path_factory.mktemp("driver"))


def statuses(lines: list[str]) -> list[str]:
    return [line.removeprefix("= ") for line in lines if line.startswith("= ")]


def accesses(lines: list[str]) -> list[str]:
    return [line for line in lines if line[0] in "RW"]


def test_opens_a_core_of_its_own_version(driver: Driver) -> None:
    assert driver.run(f"open {BASE}") == [
        f"R ID {0x5243414D}", "R VERSION 1", "= all is well"]
    assert driver.run("set ID 0", f"open {BASE}") == [
        "R ID 0", "= there is no core at this address: its ID is wrong"]
    assert driver.run("set VERSION 2", f"open {BASE}")[-1] == \
        "= the core has another interface version than this driver"


def test_a_core_that_was_not_opened_stays_closed(driver: Driver) -> None:
    lines = driver.run("set ID 0", f"open {BASE}", "poll", "start 0")
    assert accesses(lines) == ["R ID 0"]
    assert statuses(lines)[1:] == ["an argument is NULL, or a size or a number of polls is 0"] * 2


def test_bad_arguments_touch_nothing(driver: Driver) -> None:
    lines = driver.run(*driver.ready, "null")
    after = lines[len(driver.run(*driver.ready)):]
    bad = "an argument is NULL, or a size or a number of polls is 0"
    assert accesses(after) == []
    assert statuses(after) == [bad, bad, "an address is not a multiple of 16"] + [bad] * 26


def test_reads_what_the_header_says(driver: Driver) -> None:
    lines = driver.after()
    assert lines == []
    written = dict(line.split()[1:] for line in driver.run(*driver.ready)
                   if line.startswith("W ") and "CONFIG" not in line)
    program, constants = (driver.data.index(part) for part in
                          (driver.image.program, driver.image.constants))
    assert written == {
        "PROGRAM_BASE": str(0x4000_0000 + program),
        "PROGRAM_BYTES": str(len(driver.image.program)),
        "CONSTANTS_BASE": str(0x4000_0000 + constants),
        "CONSTANTS_BYTES": str(len(driver.image.constants)),
        "ACTIVATIONS_BASE": str(0x4800_0000),
        "ACTIVATIONS_BYTES": str(driver.image.activation_bytes), "WATCHDOG": "7"}


@pytest.mark.parametrize("at, value, status", [
    (0, b"N", "the bytes are not an image: they do not begin with MACR"),
    (4, b"\x02", "the image has another format version than this driver"),
    (6, b"\x02", "the image was compiled for another interface version"),
    (11, b"\x01", "the image is shorter than its header says, or its parts lie outside"),
    (20, b"\x80", "the image is shorter than its header says, or its parts lie outside"),
    (24, b"\x03", "the image is shorter than its header says, or its parts lie outside"),
    (12, b"\xff", "the image was changed or damaged: its checksum is wrong"),
    (32, b"\xff", "the image was changed or damaged: its checksum is wrong"),
    (28, b"\x00\x00", "the image was changed or damaged: its checksum is wrong"),
])
def test_refuses_damaged_headers(driver: Driver, at: int, value: bytes, status: str) -> None:
    data = driver.data[:at] + value + driver.data[at + len(value):]
    lines = driver.run(f"image {driver.write(data)} {len(data)} 0")
    assert lines == [f"= {status}"]


def test_refuses_images_that_were_cut_off(driver: Driver) -> None:
    assert driver.run(f"image {driver.file} 31 0") == [
        "= the bytes are not an image: they do not begin with MACR"]
    short = "= the image is shorter than its header says, or its parts lie outside"
    assert driver.run(f"image {driver.file} {len(driver.data) - 1} 0") == [short]
    # one that states that it is shorter than its own tables
    data = driver.data[:8] + (100).to_bytes(4, "little") + driver.data[12:100]
    assert driver.run(f"image {driver.write(data)} 100 0") == [short]


def test_refuses_sections_outside_the_image(driver: Driver) -> None:
    words = len(PRESETS["test-4x4"].words())
    table = 32 + 4 * words
    for entry in (table, table + 16):
        for field in (0, 4, 8):  # kind, offset, size
            data = bytearray(driver.data)
            data[entry + field:entry + field + 4] = b"\xf0\xff\xff\xff"
            data[28:32] = bytes(4)
            data[28:32] = zlib.crc32(data[:table + 32]).to_bytes(4, "little")
            assert driver.run(f"image {driver.write(bytes(data))} {len(data)} 0") == [
                "= the image is shorter than its header says, or its parts lie outside"]


def test_refuses_a_misaligned_image(driver: Driver) -> None:
    assert driver.run(f"image {driver.file} {len(driver.data)} 8") == [
        "= an address is not a multiple of 16"]


def test_verifies_both_sections(driver: Driver) -> None:
    image = f"image {driver.file} {len(driver.data)} 0"
    assert driver.run(image, "verify") == ["= all is well"] * 2
    for part in (driver.image.program, driver.image.constants):
        at = driver.data.index(part) + len(part) - 1
        data = driver.data[:at] + bytes([driver.data[at] ^ 1]) + driver.data[at + 1:]
        assert statuses(driver.run(f"image {driver.write(data)} {len(data)} 0", "verify")) == [
            "all is well", "the image was changed or damaged: its checksum is wrong"]


def test_checksums_are_zlibs(driver: Driver) -> None:
    for start, end in ((0, 0), (0, 1), (1, 2), (3, 17), (2, 4099), (0, 4096)):
        assert driver.run(f"crc {driver.file} {end} {start}") == [
            str(zlib.crc32(driver.data[start:end]))]


def test_copies_an_image_into_memory(driver: Driver) -> None:
    size = len(driver.data)
    assert driver.run(f"load {driver.file} {size} {size} 16") == ["= all is well"]
    assert driver.run(f"load {driver.file} {size} {size - 1} 16") == [
        "= the image does not fit the memory that it is to be copied to"]
    assert driver.run(f"load {driver.file} {size} {size} 8") == [
        "= an address is not a multiple of 16"]
    at = driver.data.index(driver.image.constants)
    damaged = driver.write(driver.data[:at] + bytes([driver.data[at] ^ 1]) + driver.data[at + 1:])
    assert driver.run(f"load {damaged} {size} {size} 0") == [
        "= the image was changed or damaged: its checksum is wrong"]


@pytest.mark.parametrize("activations, more, status", [
    (0x4800_0008, 0, "an address is not a multiple of 16"),
    (0x4800_0000, -1, "the activations window is smaller than the program needs"),
    (0x4000_0000, 0, "image and activations overlap, or go beyond 2^32"),
    (0x3FFF_FFF0, 0, "image and activations overlap, or go beyond 2^32"),
    (0xFFFF_FFF0, 0, "image and activations overlap, or go beyond 2^32"),
])
def test_refuses_bad_windows_without_a_look_at_the_core(
        driver: Driver, activations: int, more: int, status: str) -> None:
    lines = driver.after(f"configure {activations} {driver.image.activation_bytes + more} 0")
    assert lines == [f"= {status}"]


def test_refuses_an_image_beyond_the_last_address(driver: Driver) -> None:
    lines = driver.run(f"open {BASE}", f"image {driver.file} {len(driver.data)} {0xFFFF_FFF0}",
                       f"configure {0x4800_0000} {driver.image.activation_bytes} 0")
    assert lines[-1] == "= image and activations overlap, or go beyond 2^32"
    assert len(accesses(lines)) == 2


def test_windows_may_touch(driver: Driver) -> None:
    behind = 0x4000_0000 + -(-len(driver.data) // 16) * 16
    lines = driver.after(f"configure {behind} {driver.image.activation_bytes} 0")
    assert statuses(lines) == ["all is well"]


def test_refuses_an_image_of_another_configuration(driver: Driver) -> None:
    for index in (0, len(PRESETS["test-4x4"].words()) - 1):
        lines = driver.run(f"word {index} 99", *driver.ready, "start 0")
        assert statuses(lines)[2:] == [
            "the image was compiled for a core of another configuration",
            "no program was configured"]
        assert [line for line in lines if line.startswith("W ") and "W CONFIG " not in line] == []


def test_runs_a_frame(driver: Driver) -> None:
    assert driver.after("start 0", "poll", "wait 9") == [
        *STARTED, "= all is well", "R STATUS 1", "= the frame is not finished",
        "R STATUS 1", "R STATUS 1", "R STATUS 2", "= all is well"]
    assert driver.after("run 4")[-5:] == [
        "R STATUS 1", "R STATUS 1", "R STATUS 1", "R STATUS 2", "= all is well"]


def test_start_needs_a_program(driver: Driver) -> None:
    lines = driver.run(f"open {BASE}", "start 0")
    assert statuses(lines) == ["all is well", "no program was configured"]
    assert len(accesses(lines)) == 2


def test_touches_nothing_but_status_while_busy(driver: Driver) -> None:
    lines = driver.after("start 0", "start 0", f"configure {0x4800_0000} {1 << 24} 0")
    assert lines[5:] == ["R STATUS 1", "= the core is running"] * 2


def test_names_a_fault_and_runs_the_next_frame(driver: Driver) -> None:
    lines = driver.after("run 9", "set FAULT_INSTRUCTION 12", "set FAULT_ADDRESS 34", "fault",
                         "core 3 0 0 0", "run 9", setup=f"core 3 {Fault.CONSTANTS_WINDOW} 0 0")
    assert statuses(lines) == [
        "the core stopped with a fault; macrame_read_fault says which", "all is well",
        "all is well"]
    assert f"{Fault.CONSTANTS_WINDOW.meaning}, instruction 12, address 34" in lines


def test_aborts_a_frame_that_takes_too_long(driver: Driver) -> None:
    lines = driver.after("run 5", "core 3 0 0 0", "run 9", setup="core 1000000 0 0 0")
    assert lines[:-1 - len(STARTED) - 4][len(STARTED):] == [
        *["R STATUS 1"] * 5, "W CONTROL 2", "R STATUS 4",
        "= the core did not finish in time"]
    assert statuses(lines)[-1] == "all is well"


def test_gives_up_on_a_core_that_does_not_stop(driver: Driver) -> None:
    lines = driver.after("run 5", "start 0", setup="core 1000000 0 1 0")
    assert lines[len(STARTED):] == [
        *["R STATUS 1"] * 5, "W CONTROL 2", *["R STATUS 1"] * 5,
        "= the core did not stop: memory does not answer, only a reset helps",
        "R STATUS 1", "= the core is running"]


def test_an_idle_core_is_not_running(driver: Driver) -> None:
    text = "= the core was not started, or was cleared since"
    assert driver.after("poll", "wait 3") == ["R STATUS 0", text] * 2
    assert driver.after("abort 3") == ["W CONTROL 2", "R STATUS 0", "= all is well"]


def test_time_out_leaves_the_frame_running(driver: Driver) -> None:
    assert driver.after("start 0", "wait 2", "wait 2")[5:] == [
        "R STATUS 1", "R STATUS 1", "= the core did not finish in time",
        "R STATUS 1", "R STATUS 2", "= all is well"]


def test_interrupts_once_per_frame(driver: Driver) -> None:
    lines = driver.after("start 1", "interrupt", "interrupted", "wait 9", "start 1", "interrupted")
    started = ["W CONTROL 4", "W INTERRUPT_ENABLE 3", "W CONTROL 1", "= all is well"]
    assert lines[:7] == ["R STATUS 0", *started, "W INTERRUPT_ENABLE 0", "interrupted 1"]
    assert lines[-6:] == ["R STATUS 2", *started, "interrupted 0"]
    assert driver.run("interrupt", "interrupted") == ["interrupted 0"]


def test_reads_counters(driver: Driver) -> None:
    values = {name: str(1000 + register.offset // 4) for name, register in REGISTERS.items()}
    names = ("INSTRUCTIONS", "LOAD_BUSY", "MAC_WAIT", "POST_STALL", "STORE_STALL")
    cycles = int(values["CYCLES_HIGH"]) << 32 | int(values["CYCLES"])
    assert driver.after("counters")[-1] == " ".join([str(cycles), *(values[n] for n in names)])


def test_cycles_are_read_in_one_piece(driver: Driver) -> None:
    # the low half passes its end behind the first read of the high half
    high = 1000 + REGISTERS["CYCLES_HIGH"].offset // 4
    lines = driver.after("counters", setup="core 3 0 0 1")
    assert lines[-1].split()[0] == str(high + 1 << 32 | 5)


def test_every_status_and_fault_has_a_text(driver: Driver) -> None:
    lines = driver.run("texts")
    assert lines[-1] == "unknown fault" and lines[-len(Fault) - 2] == "unknown status"
    assert lines[-len(Fault) - 1:-1] == [fault.meaning for fault in Fault]
    assert len(set(lines)) == len(lines)


def test_knows_the_format_of_the_compiler(driver: Driver) -> None:
    image = Image(config=PRESETS["test-4x4"], program=driver.image.program,
                  constants=b"", activation_bytes=16).to_bytes()
    assert driver.run(f"image {driver.write(image)} {len(image)} 0", "verify") == [
        "= all is well"] * 2
