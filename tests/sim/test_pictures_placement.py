"""pictures: where a picture lies in the input, and the ways to read one."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, strategies as st
from PIL import Image

from sim.pictures.fit import fit_picture, place_picture
from sim.pictures.read import PictureError, list_pictures, read_picture

SIDES = st.integers(1, 700)


@given(SIDES, SIDES, st.integers(8, 200), st.integers(8, 200), st.sampled_from(
    ["letterbox", "stretch"]), st.tuples(*[st.floats(0, 1)] * 4))
def test_boxes_go_into_the_input_and_back(width: int, height: int, rows: int, columns: int,
                                          fit: str, box: tuple[float, ...]) -> None:
    image = Image.new("L", (width, height))
    planes, p = place_picture(image, (rows, columns), fit)  # type: ignore[arg-type]
    assert planes.shape == (1, rows, columns)
    assert np.array_equal(planes, fit_picture(image, (rows, columns), fit))
    corners = np.array(box) * [width, height, width, height]
    inside = corners * np.array([p.scale_x, p.scale_y] * 2) + [p.left, p.top] * 2
    assert (inside >= 0).all() and (inside <= np.array([columns, rows] * 2) + 1e-9).all()
    assert p.to_picture(inside[None])[0] == pytest.approx(corners, abs=1e-6)


def test_the_placement_is_where_the_pixels_are() -> None:
    image = Image.new("RGB", (60, 20), (255, 0, 0))
    for fit, expected in (("letterbox", [[0, 15, 30, 25]]), ("stretch", [[0, 0, 30, 40]])):
        planes, placement = place_picture(image, (40, 30), fit)
        x0, y0, x1, y1 = expected[0]
        assert (placement.width, placement.height) == (x1 - x0, y1 - y0)
        rows, columns = np.nonzero(planes[0] == 255)
        assert [[columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]] == expected
        assert placement.to_picture(np.array(expected, float)).tolist() == [[0, 0, 60, 20]]


def test_contents_at_hand_are_read_instead_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    Image.new("RGB", (4, 2), (1, 2, 3)).save(path)
    content = path.read_bytes()
    path.unlink()
    assert read_picture(path, content=content).getpixel((0, 0)) == (1, 2, 3)
    with pytest.raises(PictureError, match=r"^picture '.*a.png' must be a complete file"):
        read_picture(path, content=content[:20])
    with pytest.raises(PictureError, match="must be a file that exists"):
        read_picture(path)


def test_stored_order_of_pixels_on_request(tmp_path: Path) -> None:
    image = Image.new("RGB", (4, 2), (0, 0, 255))
    image.putpixel((0, 0), (255, 0, 0))
    exif = Image.Exif()
    exif[0x0112] = 6
    image.save(tmp_path / "a.png", exif=exif)
    assert read_picture(tmp_path / "a.png").size == (2, 4)
    stored = read_picture(tmp_path / "a.png", upright=False)
    assert stored.size == (4, 2)
    assert stored.getpixel((0, 0)) == (255, 0, 0)


def test_lists_pictures_by_suffix(tmp_path: Path) -> None:
    for name in ("b.JPG", "a.png", "c.txt", "d.webp"):
        (tmp_path / name).touch()
    (tmp_path / "e.png").mkdir()
    assert [path.name for path in list_pictures(tmp_path)] == ["a.png", "b.JPG", "d.webp"]
    with pytest.raises(PictureError, match="must be a folder that can be read; Not a directory"):
        list_pictures(tmp_path / "c.txt")
    with pytest.raises(PictureError, match="must have at least one file of type BMP, JPEG"):
        list_pictures(tmp_path / "e.png")
