"""python -m sim evaluate: known precision, results that are kept, pictures that cannot be used."""

import json
import multiprocessing
import pickle
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import pytest
from PIL import Image

from sim.cli import main
from sim.detect.decode import Detections
from sim.errors import SimError
from sim.evaluate.annotations import read_annotations
from sim.evaluate.metrics import Metrics, average_precision
from sim.evaluate.store import open_store
from sim.evaluate.work import Record
from tests.builds import build_folder
from tests.sim.coco import dataset, write_dataset
from tests.sim.squares import quantized_model, write

pytest.importorskip("pycocotools", reason="needs the extra evaluate")


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """float.onnx, int8.onnx and a build of the latter."""
    folder = tmp_path_factory.mktemp("models")
    write(folder)
    build_folder(folder / "int8.onnx", folder / "build", "test-4x4")
    return folder


@pytest.fixture
def coco(tmp_path: Path) -> Path:
    """images/ and instances.json."""
    write_dataset(tmp_path)
    return tmp_path


def evaluate(network: Path, coco: Path, *options: object, status: int = 0) -> dict:
    out = coco / "out.json"
    found = main(["evaluate", str(network), "--images", str(coco / "images"), "--annotations",
                  str(coco / "instances.json"), "--results", str(coco / "results"), "--jobs", "1",
                  "--json", str(out), *map(str, options)])
    assert found == status
    return json.loads(out.read_text())


def change(coco: Path, **parts: object) -> None:
    path = coco / "instances.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | parts))


PERFECT = {"ap": 1.0, "ap50": 1.0, "ap75": 1.0, "small": 1.0, "medium": None, "large": None}


@pytest.mark.parametrize("network", ["float.onnx", "int8.onnx", "build"])
def test_a_network_that_finds_everything_has_precision_one(models: Path, coco: Path, network: str
                                                           ) -> None:
    result = evaluate(models / network, coco)
    [(engine, one)] = result["engines"].items()
    assert engine == ("iss" if network == "build" else "ort")
    assert {key: one[key] for key in PERFECT} == pytest.approx(PERFECT)
    assert one["pictures"] == one["computed"] == 6


def test_engines_agree_to_the_last_digit(models: Path, coco: Path,
                                         capsys: pytest.CaptureFixture[str]) -> None:
    result = evaluate(models / "build", coco, "--engine", "ort", "--engine", "iss")
    ort, iss = result["engines"].values()
    assert all(ort[key] == iss[key] for key in PERFECT)
    assert result["differing"] == {}
    assert ("ort and iss agree in every element of the heads and in every box of 6 pictures"
            in capsys.readouterr().out)
    a, b = (records(Path(one["results"])) for one in (ort, iss))
    assert [r.heads for r in a] == [r.heads for r in b]
    assert [r.boxes for r in a] == [r.boxes for r in b]


def records(path: Path) -> list[Record]:
    return [Record(**json.loads(line)) for line in path.read_text().splitlines()[1:]]


def test_engines_that_differ_fail(models: Path, coco: Path, capsys: pytest.CaptureFixture[str],
                                  monkeypatch: pytest.MonkeyPatch) -> None:
    from sim.detect.engines import IssEngine
    exact, calls = IssEngine.run, iter(range(100))

    def wrong(self: IssEngine, feeds: dict) -> dict:
        found = {name: value.copy() for name, value in exact(self, feeds).items()}
        found["head"][0, 0, 0, 0] += 0.125 * (next(calls) == 2)
        return found
    monkeypatch.setattr(IssEngine, "run", wrong)
    result = evaluate(models / "build", coco, "--engine", "ort", "--engine", "iss", status=1)
    assert result["differing"] == {"002.png": "ort and iss differ in head"}
    printed = capsys.readouterr().out
    assert ("ort and iss differ in 1 of 6 pictures:\n"
            "  002.png: ort and iss differ in head") in printed


def found(*boxes: tuple[float, ...]) -> Detections:
    table = np.array(boxes, np.float64).reshape(-1, 6)
    return Detections(table[:, :4], table[:, 4], table[:, 5].astype(np.int64))


def test_precision_of_known_mistakes(tmp_path: Path) -> None:
    annotations, _ = dataset(1)
    annotations["annotations"] = [
        {"id": n, "image_id": 100, "category_id": 3, "iscrowd": 0, "area": 400.0,
         "bbox": [40 * n, 0, 20, 20]} for n in range(2)]
    path = tmp_path / "a.json"
    path.write_text(json.dumps(annotations))
    marks = read_annotations(path)
    assert [name for _, name in marks.categories] == ["red", "blue"]
    both = [(0, 0, 20, 20, 0.9, 0), (40, 0, 60, 20, 0.8, 0)]
    assert average_precision(marks, {100: found(*both)}).ap == pytest.approx(1.0)
    # Half is found: precision 1 at the recalls 0.00, 0.01 .. 0.50, of 101 that are looked at.
    assert average_precision(marks, {100: found(both[0])}).ap == pytest.approx(51 / 101)
    assert average_precision(marks, {100: found(both[1])}).ap == pytest.approx(51 / 101)
    # A wrong one that scores best: precision 1/2, then 2/3 at recall 1, which counts throughout.
    first = (60, 40, 80, 60, 0.95, 0)
    assert average_precision(marks, {100: found(first, *both)}).ap == pytest.approx(2 / 3)
    # Another class, or nothing at all.
    assert average_precision(marks, {100: found((0, 0, 20, 20, 0.9, 1))}).ap == 0
    assert average_precision(marks, {100: found()}).ap == 0
    # 18 of 20 pixels wide: overlap 0.9, so right at 9 of 10 thresholds.
    narrow = [(x0, y0, x1 - 2, y1, score, index) for x0, y0, x1, y1, score, index in both]
    assert average_precision(marks, {100: found(*narrow)}) == Metrics(
        *(pytest.approx(value) for value in (0.9, 1, 1, 0.9)), None, None)


def test_results_are_kept(models: Path, coco: Path) -> None:
    first = evaluate(models / "build", coco)["engines"]["iss"]
    again = evaluate(models / "build", coco)["engines"]["iss"]
    assert (first["computed"], again["computed"]) == (6, 0)
    assert again | {"computed": 6} == first


def test_a_torn_last_line_is_computed_again(models: Path, coco: Path) -> None:
    first = evaluate(models / "int8.onnx", coco)["engines"]["ort"]
    path = Path(first["results"])
    content = path.read_bytes()
    for cut in (1, 40, len(content.splitlines()[-1]) + 5):
        path.write_bytes(content[:-cut])
        again = evaluate(models / "int8.onnx", coco)["engines"]["ort"]
        assert again["computed"] == (1 if cut < 50 else 2)
        assert {r.image: r.boxes for r in records(path)} == {
            r.image: r.boxes for r in map(lambda line: Record(**json.loads(line)),
                                          content.splitlines()[1:])}
    path.write_bytes(content[:30])  # not even the settings
    assert evaluate(models / "int8.onnx", coco)["engines"]["ort"]["computed"] == 6


def test_a_damaged_line_is_an_error(models: Path, coco: Path, capsys: pytest.CaptureFixture[str]
                                    ) -> None:
    path = Path(evaluate(models / "int8.onnx", coco)["engines"]["ort"]["results"])
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([*lines[:2], b'{"image": 3}\n', *lines[3:]]))
    (coco / "out.json").write_text("{}")
    evaluate(models / "int8.onnx", coco, status=1)
    assert f"error: results file {str(path)!r} must be as it was written" in capsys.readouterr().err


def test_another_model_does_not_use_the_results(models: Path, coco: Path, tmp_path: Path) -> None:
    evaluate(models / "int8.onnx", coco)
    other = tmp_path / "int8.onnx"
    onnx.save(quantized_model(gain=19.0), other)
    assert evaluate(other, coco)["engines"]["ort"]["computed"] == 6
    shutil.copy(models / "int8.onnx", other)
    assert evaluate(other, coco)["engines"]["ort"]["computed"] == 0


def test_other_settings_do_not_use_the_results(models: Path, coco: Path,
                                               monkeypatch: pytest.MonkeyPatch) -> None:
    from sim.evaluate import work
    evaluate(models / "int8.onnx", coco)
    assert evaluate(models / "int8.onnx", coco, "--fit", "stretch")["engines"]["ort"][
        "computed"] == 6
    monkeypatch.setattr(work, "release", lambda: {"numpy": "0"})
    assert evaluate(models / "int8.onnx", coco)["engines"]["ort"]["computed"] == 6


def test_a_changed_picture_is_computed_again(models: Path, coco: Path) -> None:
    evaluate(models / "int8.onnx", coco)
    Image.new("RGB", (128, 64)).save(coco / "images" / "001.png")
    one = evaluate(models / "int8.onnx", coco)["engines"]["ort"]
    assert one["computed"] == 1 and one["pictures"] == 6
    assert one["ap"] < 1
    assert evaluate(models / "int8.onnx", coco)["engines"]["ort"] == one | {
        "computed": 0, "pictures_per_cpu_second": pytest.approx(one["pictures_per_cpu_second"])}


def test_one_evaluation_at_a_time(tmp_path: Path) -> None:
    settings = {"network": "a b/c", "engine": "ort"}
    with open_store(tmp_path, settings) as store:
        assert store.path.name.startswith("a_b_c-ort-")
        with pytest.raises(SimError, match="must be used by one evaluation at a time"):
            with open_store(tmp_path, settings):
                pass
    with open_store(tmp_path, settings):
        pass


def test_pictures_that_cannot_be_used_are_named_and_not_counted(
        models: Path, coco: Path, capsys: pytest.CaptureFixture[str]) -> None:
    images = coco / "images"
    (images / "000.png").write_bytes(b"")
    (images / "001.png").write_bytes((images / "001.png").read_bytes()[:100])
    Image.new("RGB", (64, 64)).save(images / "002.png")
    (images / "003.png").unlink()
    result = evaluate(models / "build", coco, "--engine", "ort", "--engine", "iss")
    for one in result["engines"].values():
        assert one["pictures"] == 2 and one["ap"] == pytest.approx(1.0)
    assert result["absent"] == ["003.png"]
    assert sorted(result["unreadable"]) == ["000.png", "001.png", "002.png"]
    assert result["unreadable"]["002.png"] == ("picture '002.png' must be of the annotated size "
                                               "128x64, not 64x64.")
    printed = capsys.readouterr().out
    assert "1 annotated pictures are not in the folder, and not counted" in printed
    assert "3 pictures could not be used, and are not counted:" in printed
    assert "  picture '001.png' must be a complete file" in printed


def test_no_usable_picture_is_an_error(models: Path, coco: Path,
                                       capsys: pytest.CaptureFixture[str]) -> None:
    for path in (coco / "images").iterdir():
        path.write_bytes(b"x")
    (coco / "out.json").write_text("{}")
    evaluate(models / "int8.onnx", coco, status=1)
    assert "must hold pictures that can be used; none of 6 can" in capsys.readouterr().err
    shutil.rmtree(coco / "images")
    evaluate(models / "int8.onnx", coco, status=1)
    assert "images '" in (error := capsys.readouterr().err) and "must be a folder." in error
    (coco / "images").mkdir()
    evaluate(models / "int8.onnx", coco, status=1)
    assert "there is none of its 6, such as '000.png'" in capsys.readouterr().err


@pytest.mark.parametrize("stored", [False, True])
def test_turned_pictures_count_in_the_order_of_their_annotations(models: Path, coco: Path,
                                                                 stored: bool) -> None:
    """Annotated upright, or as the pixels are stored: the annotated size tells."""
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned right by 90 degrees
    for path in (coco / "images").iterdir():
        with Image.open(path) as image:
            pixels = image.copy() if stored else image.transpose(Image.Transpose.ROTATE_90)
        pixels.save(path, exif=exif)
    assert evaluate(models / "float.onnx", coco)["engines"]["ort"]["ap"] == pytest.approx(1.0)


def test_the_network_is_blamed_before_any_picture(models: Path, coco: Path,
                                                  capsys: pytest.CaptureFixture[str]) -> None:
    (coco / "heads.json").write_text(json.dumps(
        [{"tensor": "head", "stride": 16, "mask": [0], "anchors": [8, 8], "classes": 2}]))
    (coco / "out.json").write_text("{}")
    evaluate(models / "int8.onnx", coco, "--heads", coco / "heads.json", status=1)
    assert "head 'head' must have the shape [1, 7, 4, 4]" in capsys.readouterr().err


FORMAT = "must be in COCO's format for boxes (instances_*.json); "


@pytest.mark.parametrize(("parts", "message"), [
    ({"categories": [], "annotations": []},
     "must have a category for each of the 2 classes of 'int8', not 0."),
    ({"images": None}, f"{FORMAT}'NoneType' object is not iterable."),
    ({"images": [{"id": 1}]}, f"{FORMAT}an entry has no 'file_name'."),
    ({"images": [{"id": "1", "file_name": "a", "width": 1, "height": 1}]},
     f"{FORMAT}id of an image must be an integer, not '1'."),
    ({"images": [{"id": 1, "file_name": "a", "width": 1, "height": 1}] * 2},
     f"{FORMAT}ids of images and of categories must be unique."),
    ({"annotations": [{"id": 1, "image_id": 5, "category_id": 3}]},
     (f"{FORMAT}annotation 1 must belong to an image and a category of the file, not to 5 and "
      "3.")),
    ({"annotations": [{"id": 1, "image_id": 100, "category_id": 3, "bbox": [1, 2], "area": 1,
                       "iscrowd": 0}]},
     f"{FORMAT}bbox of annotation 1 must be [x, y, width, height], not [1, 2]."),
])
def test_refuses_annotations_that_do_not_fit(models: Path, coco: Path, parts: dict, message: str,
                                             capsys: pytest.CaptureFixture[str]) -> None:
    change(coco, **parts)
    (coco / "out.json").write_text("{}")
    evaluate(models / "int8.onnx", coco, status=1)
    assert capsys.readouterr().err == (
        f"error: annotations {str(coco / 'instances.json')!r} {message}\n")


@pytest.mark.parametrize("text", ["", "{", "[1]", "\x00", "[" * 100_000])
def test_refuses_other_files_as_annotations(tmp_path: Path, text: str) -> None:
    path = tmp_path / "a.json"
    path.write_text(text)
    with pytest.raises(SimError, match="^annotations '.*a.json' must be"):
        read_annotations(path)


@pytest.fixture
def no_children() -> Iterator[None]:
    yield
    assert not multiprocessing.active_children()


def test_an_address_without_scheduler_is_an_error(models: Path, coco: Path, no_children: None,
                                                  capsys: pytest.CaptureFixture[str],
                                                  monkeypatch: pytest.MonkeyPatch) -> None:
    dask = pytest.importorskip("dask", reason="needs the extra evaluate")
    (coco / "out.json").write_text("{}")
    with dask.config.set({"distributed.comm.timeouts.connect": "100ms"}):
        evaluate(models / "int8.onnx", coco, "--scheduler", "tcp://127.0.0.1:9", status=1)
    assert ("error: a Dask scheduler with workers must run at 'tcp://127.0.0.1:9'; it cannot be "
            "used (") in capsys.readouterr().err


@pytest.mark.parametrize("value", ["0", "-1", "x", "1.5"])
def test_refuses_numbers_of_jobs(value: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["evaluate", "m", "--images", "i", "--annotations", "a", f"--jobs={value}"])
    assert f"must be a whole number from 1 on, not {value!r}" in capsys.readouterr().err


def test_workers_of_another_release_are_refused(models: Path, monkeypatch: pytest.MonkeyPatch
                                                ) -> None:
    from sim.detect.detector import network_heads
    from sim.detect.network import open_network
    from sim.evaluate import work
    network = open_network(models / "build")
    here = work.Work(network, "iss", network_heads(network, file=None, fit=None))
    sent = pickle.dumps(here)
    assert pickle.loads(sent).start().runner.engine == "iss"
    monkeypatch.setattr(work, "release", lambda: {"numpy": "0"})
    with pytest.raises(SimError, match="must run the same release of everything: .* not "
                                       "{'numpy': '0'}; install it there.$"):
        pickle.loads(sent).start()
