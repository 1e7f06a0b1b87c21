"""``python -m sim upload``: what litex_term sends is what ``sim soc`` puts into its SDRAM."""

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import sim.soc
import sim.tb.soc_runner
from sim.build import BuildFolder, read_build
from sim.cli import main
from sim.golden import Golden
from sim.upload import make_upload
from tests.builds import build_folder
from tests.sim.squares import write

ACTIVATIONS = 0x4001_2000


class Captured(Exception):
    """Ends a run of the system before it begins."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A build, pictures, and what ``hw firmware`` says of its program."""
    path = tmp_path_factory.mktemp("upload")
    write(path)
    build_folder(path / "int8.onnx", path / "build", "test-4x4")
    image = (path / "build" / "program.bin").read_bytes()
    (path / "firmware").mkdir()
    (path / "firmware" / "firmware.bin").write_bytes(bytes(range(64)))
    (path / "firmware" / "firmware.json").write_text(json.dumps({
        "program": 0x4000_0000, "activations": ACTIVATIONS, "activation_bytes": 1,
        "image_sha256": hashlib.sha256(image).hexdigest()}))
    return path


def upload(folder: Path, out: Path, *options: str) -> int:
    return main(["upload", str(folder / "build"), "--firmware", str(folder / "firmware"),
                 "-o", str(out), *options])


@pytest.mark.parametrize("options", [("--input", "a.png"), ("--seed", "7")])
def test_sends_what_the_simulated_system_begins_with(
        options: tuple[str, str], folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str]) -> None:
    option, value = options
    value = str(folder / value) if option == "--input" else value
    assert upload(folder, tmp_path / "out", option, value) == 0
    begun = window(folder, monkeypatch, option, value)
    found = np.zeros_like(begun)
    listed = json.loads((tmp_path / "out" / "images.json").read_text())
    for name, address in list(listed.items())[:-1]:
        content = np.frombuffer((tmp_path / "out" / name).read_bytes(), np.uint8)
        at = int(address, 16) - ACTIVATIONS
        found[at:at + len(content)] = content
    assert np.any(begun) and np.array_equal(found, begun)
    assert "litex_term" in capsys.readouterr().out


def window(folder: Path, monkeypatch: pytest.MonkeyPatch, *options: str) -> Any:
    """The activations window that ``sim soc`` gives to the system."""
    windows = []

    def run_system(system: object, activations: Any, **_: object) -> None:
        windows.append(activations.copy())
        raise Captured

    monkeypatch.setattr(sim.tb.soc_runner, "build_system", lambda *_, **__: FakeSystem)
    monkeypatch.setattr(sim.tb.soc_runner, "run_system", run_system)
    monkeypatch.setattr(sim.soc, "check_headers", lambda *_: None)
    with pytest.raises(Captured):
        main(["soc", str(folder / "build"), "--headers", str(folder), *options])
    return windows[0]


class FakeSystem:
    """What ``sim soc`` asks a system for before it runs."""

    class firmware:
        image, image_bytes = b"", 0


def test_an_input_is_sent_to_where_it_is_in_the_window(folder: Path, tmp_path: Path) -> None:
    build = read_build(folder / "build")
    (item,) = Golden(build.model).inputs
    place = build.tensors[build.manifest["inputs"][0]["tensor"]]
    place.entry["address"] += 64
    feeds = {item.name: np.full([size or 0 for size in item.shape], 5, item.dtype)}
    files = make_upload(build, folder / "firmware", feeds, tmp_path)
    listed = json.loads(files["next.json"])
    assert int(listed["input.bin"], 16) == ACTIVATIONS + place.entry["address"] > ACTIVATIONS
    assert len(files["input.bin"]) == place.stop - place.entry["address"]
    assert any(files["input.bin"])


def test_the_program_comes_last_and_is_found_from_the_list(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "a" / "out"
    assert upload(folder, out) == 0
    name, address = list(json.loads((out / "images.json").read_text()).items())[-1]
    assert (out / name).resolve() == (folder / "firmware" / "firmware.bin").resolve()
    assert address == "0x40000000"


def test_the_next_picture_comes_with_the_start_of_the_program(folder: Path, tmp_path: Path) -> None:
    assert upload(folder, tmp_path) == 0
    every, following = (json.loads((tmp_path / name).read_text())
                        for name in ("images.json", "next.json"))
    assert list(following.items())[:-1] == list(every.items())[:-1]
    assert list(following.items())[-1] == ("start.bin", "0x40000000")
    assert (tmp_path / "start.bin").read_bytes() == bytes(range(16))


def test_firmware_of_another_build_is_refused(folder: Path, tmp_path: Path,
                                              capsys: pytest.CaptureFixture[str]) -> None:
    build: BuildFolder = build_folder(folder / "int8.onnx", tmp_path / "build", "test-4x8")
    assert main(["upload", str(build.path), "--firmware", str(folder / "firmware"), "-o",
                 str(tmp_path / "out")]) == 1
    assert "must be made of the build" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_folder_without_firmware_is_refused(folder: Path, tmp_path: Path,
                                              capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["upload", str(folder / "build"), "--firmware", str(tmp_path), "-o",
                 str(tmp_path / "out")]) == 1
    assert capsys.readouterr().err == (
        f"error: firmware {str(tmp_path)!r} must be a folder made by `python -m hw firmware`; its "
        "firmware.json cannot be read.\n")


def test_a_folder_that_cannot_be_written_is_named(folder: Path, tmp_path: Path,
                                                  capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("")
    assert upload(folder, tmp_path / "file") == 1
    assert "must be writable" in capsys.readouterr().err


def test_a_small_system_gets_its_whole_window(folder: Path, tmp_path: Path,
                                              monkeypatch: pytest.MonkeyPatch,
                                              capsys: pytest.CaptureFixture[str]) -> None:
    """Which is what its simulation has in the flash."""
    image = (folder / "build" / "program.bin").read_bytes()
    firmware = tmp_path / "firmware"
    firmware.mkdir()
    (firmware / "firmware.json").write_text(json.dumps({
        "firmware": 1 << 20, "activations": 8 << 20, "activation_bytes": 1,
        "image_sha256": hashlib.sha256(image).hexdigest()}))
    assert main(["upload", str(folder / "build"), "--firmware", str(firmware), "--seed", "7",
                 "-o", str(tmp_path / "out")]) == 0
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["activations.bin"]
    assert "iceprog -o 8M" in capsys.readouterr().out
    begun = window(folder, monkeypatch, "--seed", "7")
    assert (tmp_path / "out" / "activations.bin").read_bytes() == begun.tobytes()
