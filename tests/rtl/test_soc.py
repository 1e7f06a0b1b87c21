"""The system from reset to the boxes, and what it says when something is wrong."""

import binascii
import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from codegen.headers.generate import write_headers
from hw.commands.bitstream import read_run
from hw.soc.firmware import build_firmware
from hw.soc.write import soc_files
from hw.spec.config import PRESETS
from hw.spec.regs import Fault
from sim.build import BuildFolder, read_build
from sim.cli import main
from sim.errors import SimError
from sim.pictures.fit import fit_picture, network_input
from sim.tb.soc_runner import CLOCK_HZ, SocRun, System, build_system, run_system
from sim.tensors import write_inputs
from tests.builds import build_folder
from tests.sim.squares import SIZE, example, picture, write

pytestmark = pytest.mark.rtl


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pictures, a build of the network of squares, and its headers."""
    path = tmp_path_factory.mktemp("soc")
    write(path)
    build_folder(path / "int8.onnx", path / "build", "test-4x4")
    write_headers(path / "build", path / "headers")
    return path


@pytest.fixture(scope="module")
def build(folder: Path) -> BuildFolder:
    return read_build(folder / "build")


@pytest.fixture(scope="module")
def system(folder: Path, build: BuildFolder) -> System:
    return build_system(build.image.config, folder / "headers",
                        definitions=["MACRAME_SKIP_CHECKSUM"])


def run(system: System, build: BuildFolder, *, most_cycles: int = 2_000_000,
        serial: bytes = b"") -> SocRun:
    return run_system(system, np.zeros(build.image.activation_bytes, np.uint8),
                      most_cycles=most_cycles, serial=serial)


def with_program(system: System, binary: bytes) -> System:
    """The system with other bytes in its SDRAM."""
    firmware = system.firmware
    return replace(system, firmware=replace(
        firmware, program=replace(firmware.program, binary=binary)))


def test_prints_the_boxes_of_a_picture(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = folder / "out.json"
    assert main(["soc", str(folder / "build"), "--headers", str(folder / "headers"),
                 "--input", str(folder / "a.png"), "--json", str(out)]) == 0
    found = json.loads(out.read_text())
    assert read_run(out, PRESETS["test-4x4"], CLOCK_HZ, 2) == {
        "network": "squares", "cycles": found["cycles"],
        "engine": "whole system in RTL, with its SDRAM"}
    assert found["passed"] and found["memory_differs"] == 0 and found["boxes_differ"] is None
    assert found["boxes"] == len(example()[1]) == found["text"].count("\nbox ")
    assert [t["mismatches"] for t in found["tensors"]] == [0]
    assert 0.9 < found["cycles"] / found["cycles_predicted"] < 1.2
    assert f"frame: {found['cycles']} cycles" in found["text"]
    moved = found["read_bytes"] + found["written_bytes"]
    assert 1 < moved / found["bus_cycles"] < 4
    printed = capsys.readouterr().out
    assert "total mismatches: 0" in printed and "| Macrame: squares for test-4x4" in printed


def test_a_wider_bus_and_a_slower_memory_are_adapted(folder: Path, tmp_path: Path,
                                                     capsys: pytest.CaptureFixture[str]) -> None:
    build_folder(folder / "int8.onnx", tmp_path / "build", "test-4x8")
    write_headers(tmp_path / "build", tmp_path / "headers")
    assert main(["soc", str(tmp_path / "build"), "--headers", str(tmp_path / "headers"),
                 "--input", str(folder / "a.png"), "--sdram-rate", "1"]) == 0
    assert f"boxes as on the host: {len(example()[1])}" in capsys.readouterr().out


def test_refuses_headers_of_another_build(folder: Path, tmp_path: Path,
                                          capsys: pytest.CaptureFixture[str]) -> None:
    build_folder(folder / "int8.onnx", tmp_path / "build", "test-4x4", keep_tensors=True)
    assert main(["soc", str(tmp_path / "build"), "--headers", str(folder / "headers")]) == 1
    assert "must be those of the build" in capsys.readouterr().err


def test_a_damaged_image_is_not_run(folder: Path, build: BuildFolder) -> None:
    system = build_system(build.image.config, folder / "headers")
    address, size = system.firmware.program.symbols["macrame_image"]
    binary = bytearray(system.firmware.program.binary)
    binary[address + size - 17 - system.firmware.program.start] ^= 1
    found = run(with_program(system, bytes(binary)), build)
    assert not found.finished and found.read_bytes == 0
    assert found.text.splitlines()[-1] == (
        "error: image: the image was changed or damaged: its checksum is wrong")


def test_a_fault_is_named_with_its_instruction(system: System, build: BuildFolder) -> None:
    binary = system.firmware.program.binary
    at = binary.index(build.image.program)
    step = len(build.image.program) // build.image.instructions
    bad = binary[:at + 5 * step] + b"\xff" * step + binary[at + 6 * step:]
    found = run(with_program(system, bad), build)
    assert not found.finished
    assert found.text.splitlines()[-2:] == [
        "error: frame: the core stopped with a fault; macrame_read_fault says which",
        f"fault: {Fault.ILLEGAL_INSTRUCTION.meaning} (instruction 5, address 0x00000000)"]


@pytest.mark.parametrize("access, cause", [(0x00112503, 4),  # lw a0, 1(sp)
                                           (0x00a12123, 6)])  # sw a0, 2(sp)
def test_an_access_that_is_not_aligned_is_a_trap(system: System, build: BuildFolder, access: int,
                                                 cause: int) -> None:
    # while the bus is busy with the access before
    program = system.firmware.program
    address, _ = program.symbols["main"]
    at = address - program.start
    code = b"".join(word.to_bytes(4, "little") for word in (0xfea12e23, access))  # sw a0, -4(sp)
    found = run(with_program(system, program.binary[:at] + code + program.binary[at + 8:]), build)
    assert not found.finished
    assert found.text == f"error: trap 0x{cause:08x} at 0x{address + 4:08x}\n"


def activations(build: BuildFolder, image: Image.Image) -> np.ndarray:
    """The activations window with a picture in it."""
    window = np.zeros(build.image.activation_bytes, np.uint8)
    pixels = fit_picture(image, (SIZE, SIZE), "letterbox")
    write_inputs(build, window, {"images": network_input(pixels)})
    return window


def frame(command: int, payload: bytes) -> bytes:
    """A frame of LiteX's serial boot."""
    return bytes([len(payload)]) + binascii.crc_hqx(
        bytes([command]) + payload, 0).to_bytes(2, "big") + bytes([command]) + payload


def test_an_empty_memory_is_filled_over_the_serial_line(system: System,
                                                        build: BuildFolder) -> None:
    program = system.firmware.program
    loads = [frame(1, (program.start + at).to_bytes(4, "big") + program.binary[at:at + 251])
             for at in range(0, len(program.binary), 251)]
    assert len(loads) > 100
    damaged = loads[0][:-1] + bytes([loads[0][-1] ^ 1])
    outside = [frame(1, address.to_bytes(4, "big") + b"1234")
               for address in (program.start - 4, program.start + (32 << 20) - 3)]
    serial = b"".join((
        b"z6IHG7z6IHG7cYDID6o\n", frame(9, b""), damaged, *outside, frame(2, b"123"), *loads,
        frame(2, program.start.to_bytes(4, "big"))))
    found = run(with_program(system, bytes(64)), build, serial=serial, most_cycles=20_000_000)
    assert found.finished
    request, text = found.text.split("\n", 1)
    assert request == "sL5DdSMmkekro"
    assert text.startswith("UCEEU" + "K" * (len(loads) + 1) + "Macrame: squares for test-4x4\n")
    assert "\nframe: " in text and "\nboxes: " in text


def test_the_next_picture_comes_over_the_serial_line(system: System, build: BuildFolder,
                                                     tmp_path: Path) -> None:
    # what the processor has of the first frame must not be in the second one's boxes
    pictures = [picture(seed) for seed in (0, 3)]
    first = activations(build, pictures[0][0])
    pictures[1][0].save(tmp_path / "next.png")
    (tmp_path / "firmware.json").write_text(json.dumps(system.firmware.places()))
    (tmp_path / "firmware.bin").write_bytes(system.firmware.program.binary)
    assert main(["upload", str(build.path), "--firmware", str(tmp_path), "--input",
                 str(tmp_path / "next.png"), "-o", str(tmp_path / "out")]) == 0
    serial = b"z6IHG7cYDID6o\n"
    for name, address in json.loads((tmp_path / "out" / "next.json").read_text()).items():
        content, start = (tmp_path / "out" / name).read_bytes(), int(address, 16)
        serial += b"".join(frame(1, (start + at).to_bytes(4, "big") + content[at:at + 251])
                           for at in range(0, len(content), 251))
    serial += frame(2, start.to_bytes(4, "big"))
    found = run_system(system, first, serial=serial, frames=2, most_cycles=40_000_000)
    assert found.finished
    boxes = [re.findall(r"^box .*", text, re.M) for text in found.text.split("sL5DdSMmkekro\n")]
    assert [len(printed) for printed in boxes] == [len(marks) for _, marks in pictures]
    assert not set(boxes[0]) & set(boxes[1])


def test_without_an_answer_the_boot_code_goes_on_asking(system: System,
                                                        build: BuildFolder) -> None:
    found = run(with_program(system, bytes(64)), build, most_cycles=1_000_000)
    assert not found.finished and found.text.startswith("sL5DdSMmkekro\n")


def test_a_run_is_bounded(system: System, build: BuildFolder) -> None:
    found = run(system, build, most_cycles=1000)
    assert not found.finished and found.text == "" and found.cycles < 100_000


@pytest.mark.parametrize("step, rule", [
    # the mode register is never loaded; commands come too early
    (r"COMMAND\(0x0fu.*\n", "rows must wait for two refreshes and the mode register"),
    (r"CONTROL\(0x0eu, 0x0000u, 0u, 20000u\)", "commands must wait 100 us from power-up"),
])
def test_the_memory_model_knows_how_it_must_be_woken(
        folder: Path, system: System, build: BuildFolder, step: str, rule: str) -> None:
    files = soc_files("simulation", build.image.config, clock_hz=CLOCK_HZ)
    for command in re.findall(step, files["soc.h"]):
        other = " \\\n" if command.endswith("\n") else "CONTROL(0x0eu, 0u, 0u, 10u)"
        files["soc.h"] = files["soc.h"].replace(command, other)
    firmware = build_firmware(folder / "headers", files)
    with pytest.raises(SimError, match=rule):
        run(replace(system, firmware=firmware), build)
