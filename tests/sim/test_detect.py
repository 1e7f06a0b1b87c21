"""python -m sim detect: boxes of drawn squares, on all engines, from all kinds of files."""

import copy
import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from PIL import Image

from sim.cli import main
from sim.detect.network import open_network
from sim.errors import SimError
from tests.builds import build_folder
from tests.sim.squares import Mark, example, float_model, picture, write


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With float.onnx, int8.onnx, a build of the latter, class names, and a picture."""
    folder = tmp_path_factory.mktemp("detect")
    write(folder)
    build_folder(folder / "int8.onnx", folder / "build", "test-4x4")
    return folder


def detect(*arguments: object) -> int:
    return main(["detect", *map(str, arguments)])


def results(folder: Path, *arguments: object) -> list[dict]:
    out = folder / "out.json"
    assert detect(*arguments, "--json", out) == 0
    return json.loads(out.read_text())


def marks(result: dict) -> list[Mark]:
    """Class and box of everything that was found, in whole pixels, sorted."""
    for box in result["boxes"]:
        assert np.abs(np.array(box["box"]) - np.rint(box["box"])).max() < 1e-6
        assert 0.9 < box["score"] <= 1
    return sorted((b["class"], tuple(map(round, b["box"]))) for b in result["boxes"])


@pytest.mark.parametrize("size", [(128, 64), (64, 128), (64, 64), (64, 16), (256, 192)])
def test_squares_are_found_where_they_were_drawn(folder: Path, tmp_path: Path,
                                                 size: tuple[int, int]) -> None:
    for seed in range(4):
        image, expected = picture(seed, width=size[0], height=size[1])
        image.save(tmp_path / f"{seed}.png")
        for network in ("float.onnx", "int8.onnx"):
            [found] = results(folder, folder / network, tmp_path / f"{seed}.png")
            assert marks(found["results"][0]) == sorted(expected)
            assert (found["width"], found["height"]) == size


def test_stretched_pictures(folder: Path, tmp_path: Path) -> None:
    image, _ = picture(5, width=64, height=64)
    image.resize((64, 128), Image.Resampling.NEAREST).save(tmp_path / "a.png")
    [found] = results(folder, folder / "float.onnx", tmp_path / "a.png", "--fit", "stretch")
    assert marks(found["results"][0]) == sorted(
        (index, (x0, 2 * y0, x1, 2 * y1)) for index, (x0, y0, x1, y1) in picture(
            5, width=64, height=64)[1])


def test_engines_and_networks_side_by_side(folder: Path, capsys: pytest.CaptureFixture[str]
                                           ) -> None:
    out = folder / "out.png"
    [found] = results(folder, folder / "build", folder / "a.png", "--engine", "ort", "--engine",
                      "iss", "--beside", folder / "float.onnx", "--names", folder / "names",
                      "-o", out)
    assert [(Path(r["network"]).name, r["engine"]) for r in found["results"]] == [
        ("build", "ort"), ("build", "iss"), ("float.onnx", "ort")]
    ort, iss, _ = found["results"]
    assert ort["boxes"] == iss["boxes"]
    assert marks(iss) == sorted(example()[1])
    printed = capsys.readouterr().out
    assert "build: iss and ort agree in all 448 elements of the heads" in printed
    assert "blue" in printed and "float (ort)" in printed
    with Image.open(out) as sheet:
        assert sheet.width == 3 * 320 + 4 * 6


def test_engines_that_differ_are_told(folder: Path, capsys: pytest.CaptureFixture[str],
                                      monkeypatch: pytest.MonkeyPatch) -> None:
    from sim.detect.engines import IssEngine
    exact = IssEngine.run

    def wrong(self: IssEngine, feeds: dict) -> dict:
        found = {name: value.copy() for name, value in exact(self, feeds).items()}
        found["head"][0, 0, 0, 0] += 1
        return found
    monkeypatch.setattr(IssEngine, "run", wrong)
    assert detect(folder / "build", folder / "a.png", "--engine", "iss", "--engine", "ort") == 1
    assert "build: ort and iss differ in 1 of 448 elements of the heads" in capsys.readouterr().out


def kinds(image: Image.Image, folder: Path) -> dict[str, Path]:
    """One picture in every kind of file that users have."""
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned right by 90 degrees
    image.transpose(Image.Transpose.ROTATE_90).save(folder / "turned.png", exif=exif)
    image.convert("CMYK").save(folder / "cmyk.jpg", quality=100, subsampling=0)
    image.convert("RGBA").save(folder / "alpha.png")
    image.quantize(8).save(folder / "palette.png")
    image.save(folder / "a.webp", lossless=True)
    image.save(folder / "a.bmp")
    image.save(folder / "a.jpg", quality=100, subsampling=0)
    return {path.name: path for path in folder.iterdir()}


def test_all_kinds_of_files_show_the_same(folder: Path, tmp_path: Path) -> None:
    image, expected = picture(2)
    for name, path in kinds(image, tmp_path).items():
        [found] = results(folder, folder / "float.onnx", path)
        assert (found["width"], found["height"]) == image.size, name
        assert marks(found["results"][0]) == sorted(expected), name


def test_grey_pictures_of_8_and_16_bits_look_alike(folder: Path, tmp_path: Path) -> None:
    """The network finds what is not grey, so nothing; the heads say how grey it was."""
    from sim.detect.detector import Detector, Runner, network_heads
    from sim.inputs import read_picture
    grey = picture(2)[0].convert("L")
    grey.save(tmp_path / "8.png")
    Image.fromarray(np.asarray(grey).astype(np.uint16) * 257).save(tmp_path / "16.png")
    network = open_network(folder / "float.onnx")
    detector = Detector(Runner(network, "ort"), network_heads(network, file=None, fit=None),
                        score=0.25)
    (a, heads_a), (b, heads_b) = (detector.detect(read_picture(tmp_path / name))
                                  for name in ("8.png", "16.png"))
    assert np.array_equal(heads_a["mean2"], heads_b["mean2"])
    assert len(a) == len(b) == 0


def test_a_bad_picture_does_not_stop_the_others(folder: Path, tmp_path: Path,
                                                capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "broken.png").write_bytes((folder / "a.png").read_bytes()[:60])
    out = tmp_path / "out.json"
    assert detect(folder / "float.onnx", tmp_path / "broken.png", tmp_path / "none.png",
                  folder / "a.png", "--json", out) == 1
    [one] = json.loads(out.read_text())
    assert marks(one["results"][0]) == sorted(example()[1])
    errors = capsys.readouterr().err.splitlines()
    assert [error.split(" must be ")[0] for error in errors] == [
        f"error: picture {str(tmp_path / name)!r}" for name in ("broken.png", "none.png")]


def test_refuses_what_cannot_be_run(folder: Path, tmp_path: Path,
                                    capsys: pytest.CaptureFixture[str]) -> None:
    plain = copy.deepcopy(float_model())
    del plain.metadata_props[:]
    onnx.save(plain, tmp_path / "plain.onnx")
    (tmp_path / "heads.json").write_text(json.dumps(
        [{"tensor": "x", "stride": 8, "mask": [0], "anchors": [8, 8], "classes": 2}]))
    picture_file, model = folder / "a.png", folder / "float.onnx"
    for arguments, message in (
        ((model, picture_file, "--engine", "iss"),
         (f"engine must be ort for the model file {str(model)!r}, not iss; the array needs a "
          f"build: python -m codegen build {model}.")),
        ((tmp_path / "plain.onnx", picture_file),
         (f"{str(tmp_path / 'plain.onnx')!r} must say what its outputs mean: in the model's "
          "metadata (macrame.heads), in a file meta.json beside it, or with --heads FILE. None of "
          "them is there; see docs/accuracy.md.")),
        ((model, picture_file, "--heads", tmp_path / "heads.json"),
         f"head 'x' must be an output of {str(model)!r}, which has 'head'; correct the heads."),
        ((model, picture_file, "-o", "x.gif"),
         "output 'x.gif' must be a picture, its name ending in .bmp, .jpeg, .jpg, .png, .webp."),
        ((model, picture_file, "--names", tmp_path / "heads.json"),
         (f"names file {str(tmp_path / 'heads.json')!r} must have a line for each of the 2 "
          "classes, not 1.")),
        ((tmp_path / "none.onnx", picture_file),
         (f"model file {str(tmp_path / 'none.onnx')!r} must be readable: No such file or "
          "directory.")),
    ):
        assert detect(*arguments) == 1
        assert capsys.readouterr().err == f"error: {message}\n"


@pytest.mark.parametrize("value", ["-0.1", "1.5", "nan", "x"])
def test_refuses_scores_out_of_range(value: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        detect("m.onnx", "a.png", f"--score={value}")
    assert f"must be a number from 0 to 1, not {value!r}" in capsys.readouterr().err


@pytest.mark.parametrize("shape", [[1, 3, 64, "w"], [2, 3, 64, 64], [1, 4, 64, 64], [1, 3, 64]])
def test_refuses_models_that_take_no_pictures(shape: list) -> None:
    model = copy.deepcopy(float_model())
    model.graph.input[0].CopyFrom(onnx.helper.make_tensor_value_info(
        "images", onnx.TensorProto.FLOAT, shape))
    from sim.detect.network import Network
    with pytest.raises(SimError, match=r"^model of 'm.onnx' must have one input, float32 or uint8"):
        Network(Path("m.onnx"), model, None).picture_input()
