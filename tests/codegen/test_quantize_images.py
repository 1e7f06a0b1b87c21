"""codegen.quantize.images: which pictures are used, and that odd ones do no harm."""

import random
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from codegen.errors import QuantizeError
from codegen.quantize.images import PictureSet, overlap, picture_files, sample
from codegen.zoo.scenes import scene
from tests.darknet import write_pictures

SHAPE = (1, 3, 24, 32)


def test_the_sample_is_that_of_pythons_random(tmp_path: Path) -> None:
    files = picture_files(write_pictures(tmp_path / "p", 12))
    names = [f"{n}.png" for n in (0, 1, 10, 11, 2, 3, 4, 5, 6, 7, 8, 9)]
    assert [path.name for path in files] == names
    expected = random.Random(42).sample(names, 5)
    assert [path.name for path in sample(files, 5, 42)] == expected
    assert [path.name for path in sample(files, 5, 43)] != expected
    assert sorted(sample(files, 1000, 42)) == files


def test_only_picture_files_count(tmp_path: Path) -> None:
    write_pictures(tmp_path, 1)
    (tmp_path / "1.PNG").write_bytes((tmp_path / "0.png").read_bytes())
    (tmp_path / "labels.txt").touch()
    (tmp_path / "folder.jpg").mkdir()
    assert [path.name for path in picture_files(tmp_path)] == ["0.png", "1.PNG"]


@pytest.mark.parametrize(("name", "message"), [
    ("none", "must be a folder that can be read; No such file or directory."),
    ("empty", "must have at least one file of type BMP, JPEG, PNG, WEBP ({}) in it.".format(
        ".bmp, .jpeg, .jpg, .png, .webp")),
])
def test_refuses_folders_without_pictures(tmp_path: Path, name: str, message: str) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(QuantizeError) as caught:
        picture_files(tmp_path / name)
    assert str(caught.value) == f"picture folder {str(tmp_path / name)!r} {message}"


def test_odd_pictures_look_as_in_a_viewer(tmp_path: Path) -> None:
    """All of one photo, in every mode; only what cannot be read is left out, by name."""
    photo = Image.fromarray(scene(3, 64)).resize((64, 48))
    exif = Image.Exif()
    exif[0x0112] = 3  # upside down
    photo.save(tmp_path / "a.png")
    photo.rotate(180).save(tmp_path / "exif.png", exif=exif)
    photo.convert("RGBA").save(tmp_path / "rgba.png")
    photo.convert("CMYK").save(tmp_path / "cmyk.jpg", quality=100)
    photo.quantize(256).save(tmp_path / "palette.png", transparency=255)
    grey = photo.convert("L")
    grey.save(tmp_path / "grey.png")
    Image.fromarray(np.asarray(grey).astype(np.uint16) * 257).save(tmp_path / "grey16.png")
    (tmp_path / "cut.png").write_bytes((tmp_path / "a.png").read_bytes()[:500])
    (tmp_path / "text.jpg").write_text("no picture")
    pictures = PictureSet(picture_files(tmp_path), SHAPE, "letterbox")
    found = {path.name: x for path, x in zip(pictures.files, pictures.inputs())}
    for name in ("exif.png", "rgba.png"):
        assert np.array_equal(found[name], found["a.png"]), name
    assert np.array_equal(found["grey16.png"], found["grey.png"])
    for name in ("cmyk.jpg", "palette.png"):
        assert np.abs(found[name] - found["a.png"]).mean() < 0.06, name
    for x in filter(lambda x: x is not None, found.values()):
        assert x.shape == SHAPE and x.dtype == np.float32 and 0 <= x.min() and x.max() <= 1
    assert [path.name for path in pictures.unreadable] == ["cut.png", "text.jpg"]
    assert found["cut.png"] is None and found["text.jpg"] is None
    assert all(str(path) in reason for path, reason in pictures.unreadable.items())


def test_greyscale_networks_and_stretching(tmp_path: Path) -> None:
    Image.new("RGB", (16, 8), (51, 51, 51)).save(tmp_path / "a.png")
    [x] = PictureSet(picture_files(tmp_path), (1, 1, 8, 8), "letterbox").inputs()
    assert x.shape == (1, 1, 8, 8) and len(np.unique(x)) == 2
    [x] = PictureSet(picture_files(tmp_path), (1, 1, 8, 8), "stretch").inputs()
    assert (x == np.float32(0.2)).all()


def test_overlap_is_found_by_name_and_by_content(tmp_path: Path) -> None:
    mine = picture_files(write_pictures(tmp_path / "a", 4))
    other = tmp_path / "b"
    other.mkdir()
    shutil.copy(mine[1], other / "renamed.png")
    Image.new("RGB", (9, 9)).save(other / "2.png")  # another picture of the same name
    shutil.copy(mine[3], other / "3.png")
    Image.new("RGB", (9, 9), "red").save(other / "x.png")
    found = overlap(mine, picture_files(other))
    assert found.names == ("1.png", "2.png", "3.png")
    assert found.same_content == 2
    assert overlap(mine[:1], picture_files(other)).names == ()
