"""The verifier itself: it must notice what is wrong, and refuse what was changed."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from hw.spec.config import PRESETS
from hw.spec.image import Image
from sim.build import read_build
from sim.cli import main
from sim.errors import SimError
from sim.slices.cut import read_layers
from sim.verify import quantize
from tests.builds import build_folder, layer_of, verify_folder, zoo_model


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("verify") / "b"
    build_folder(zoo_model("yolov4-tiny-eighth-64"), folder, "test-4x4", keep_tensors=True)
    return folder


@pytest.fixture
def copy(built: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(built, tmp_path / "b"))


def test_every_tensor_is_compared(built: Path) -> None:
    result = verify_folder(read_build(built))
    assert result.total_mismatches == 0
    assert result.compared == 60
    assert [t.name for t in result.tensors if t.mismatches is None] == ["images"]


def test_a_wrong_weight_is_found_and_located(copy: Path) -> None:
    build = read_build(copy)
    constants = bytearray(build.image.constants)
    where = next(i for i, byte in enumerate(constants) if 8 < byte < 100)
    constants[where] ^= 4
    image = Image(config=build.image.config, program=build.image.program,
                  constants=bytes(constants), activation_bytes=build.image.activation_bytes)
    _replace_image(copy, image.to_bytes())
    result = verify_folder(read_build(copy))
    assert result.total_mismatches > 0
    assert not result.passed
    first = next(t for t in result.tensors if t.mismatches)
    assert first.name == "conv0_out_quantized"
    assert first.first is not None and first.max_abs_diff > 0


def test_exit_status_and_message_of_a_mismatch(copy: Path, capsys: pytest.CaptureFixture[str]
                                               ) -> None:
    manifest = json.loads((copy / "manifest.json").read_text())
    place = next(t for t in manifest["tensors"] if t["name"] == "conv29_out_quantized")
    place["lanes"][0][1] += 1
    (copy / "manifest.json").write_text(json.dumps(manifest))
    assert main(["verify", str(copy), "--quiet"]) == 1
    printed = capsys.readouterr().out
    assert "conv29_out_quantized" in printed
    assert "expected" in printed
    assert "total mismatches: 0" not in printed


@pytest.mark.parametrize(("name", "message"), [
    ("program.bin", "it was changed or damaged"), ("model.onnx", "it was changed or damaged")])
def test_changed_files_are_refused(copy: Path, name: str, message: str) -> None:
    content = bytearray((copy / name).read_bytes())
    content[len(content) // 2] ^= 1
    (copy / name).write_bytes(content)
    with pytest.raises(SimError, match=message):
        read_build(copy)


def test_image_checksum_is_checked_behind_the_manifest(copy: Path) -> None:
    content = bytearray((copy / "program.bin").read_bytes())
    content[len(content) // 2] ^= 1
    _replace_image(copy, bytes(content))
    with pytest.raises(SimError, match="checksum must be"):
        read_build(copy)


@pytest.mark.parametrize("text", ["", "{}", "[1]", '{"manifest_version": 1}', "\x00"])
def test_damaged_manifests_are_refused(copy: Path, text: str) -> None:
    (copy / "manifest.json").write_text(text)
    with pytest.raises(SimError, match="manifest"):
        read_build(copy)


def test_tensors_outside_memory_are_refused(copy: Path) -> None:
    manifest = json.loads((copy / "manifest.json").read_text())
    manifest["tensors"][3]["address"] = 1 << 40
    (copy / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(SimError, match="must be inside the"):
        read_build(copy)


@pytest.mark.parametrize("arguments", [
    ["verify", "nowhere"], ["verify", "{b}", "--input", "nowhere.jpg"],
    ["verify", "{b}", "--json", "nowhere/r.json"]])
def test_bad_arguments_give_one_message(built: Path, arguments: list[str],
                                        capsys: pytest.CaptureFixture[str]) -> None:
    assert main([a.format(b=built) for a in arguments]) == 1
    captured = capsys.readouterr()
    assert captured.err.startswith("error: ")
    assert "nowhere" in captured.err


def test_results_name_the_network_and_the_core(built: Path, tmp_path: Path) -> None:
    assert main(["verify", str(built), "--quiet", "--json", str(tmp_path / "r.json")]) == 0
    found = json.loads((tmp_path / "r.json").read_text())
    assert found["network"] == "yolov4-tiny" and found["passed"]
    assert found["config"] == vars(PRESETS["test-4x4"])


BY_LAYER = {
    "--layers 3": "--layers must be used with --engine rtl, not with --engine iss.",
    "--jobs 2": "--jobs must be used with --engine rtl, not with --engine iss.",
    "--waves 3/1": "--waves must be used with --engine rtl, not with --engine iss.",
    "--stall-seed 1": "--stall-seed must be used with --engine rtl, not with --engine iss.",
    "--engine rtl --jobs 2 --races":
        "--jobs must be used without --shuffle and --races, which are about the order of the whole "
        "program; run them with --engine iss.",
    "--engine rtl --layers 2 --waves 3":
        "--waves must be used without --layers and --jobs, not with --layers: it runs the layer "
        "that it names.",
    "--engine rtl --layers 99": "layer must be in 1..{count}, not 99; report.json lists them.",
    "--engine rtl --waves up33/2": "tile of layer {up} (up33) must be in 1..1, not 2.",
    "--engine rtl --waves pool17":
        "--waves must name one layer, and 'pool17' is part of layers {pool}; say which by its "
        "number.",
}


@pytest.mark.parametrize("options", BY_LAYER)
def test_options_that_do_not_go_together_are_refused(built: Path, options: str,
                                                     capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["verify", str(built), *options.split()]) == 1
    build = read_build(built)
    layers = read_layers(build)
    message = BY_LAYER[options].format(
        count=len(layers), up=layer_of(build, "up33").number,
        pool=[layer.number for layer in layers if "pool17" in layer.nodes])
    assert capsys.readouterr().err == f"error: {message}\n"


@pytest.mark.parametrize("text", ["5..3", "1..", "conv", "3/1", "-1", "1..2/1"])
def test_layers_that_are_not_there_are_refused(built: Path, text: str,
                                               capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["verify", str(built), "--engine", "rtl", f"--layers={text}"]) == 1
    assert capsys.readouterr().err.startswith(
        "error: --layers must be LAYER or FIRST..LAST, with numbers from 1 or a node's name, not "
        f"{text!r}; this build's layers are 1 conv0_quant, 2 conv1_quant")


def test_quantize_is_onnx_runtimes() -> None:
    from sim.integer import evaluate_node
    from tests.sim.nodes import node
    rng = np.random.default_rng(0)
    values = np.concatenate([rng.normal(0, 3, 1000), np.arange(-300, 300) * 0.125 + 0.0625]
                            ).astype(np.float32)
    for dtype in (np.int8, np.uint8):
        expected = evaluate_node(node("QuantizeLinear", 3),
                                 [values, np.float32(0.125), dtype(7)], opset=13)[0]
        found = quantize(values, scale=0.125, zero_point=7, dtype=np.dtype(dtype))
        assert np.array_equal(expected, found)


def _replace_image(folder: Path, content: bytes) -> None:
    """Put another program into a build, with its hash, as somebody who means it would."""
    import hashlib
    (folder / "program.bin").write_bytes(content)
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["hashes"]["program.bin"] = hashlib.sha256(content).hexdigest()
    (folder / "manifest.json").write_text(json.dumps(manifest))
