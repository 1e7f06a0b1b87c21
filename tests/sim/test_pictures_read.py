"""sim.pictures.read: files look as in a viewer."""

import pytest
from PIL import Image

from sim.pictures.read import read_picture

RED, GREEN, BLUE = (255, 0, 0), (0, 255, 0), (0, 0, 255)


def save(tmp_path, image, name="picture.png", **options):
    image.save(tmp_path / name, **options)
    return tmp_path / name


def test_pictures_are_turned_upright(tmp_path):
    image = Image.new("RGB", (4, 2), BLUE)
    image.putpixel((0, 0), RED)
    exif = Image.Exif()
    exif[0x0112] = 6  # The camera was held so that the top is on the right.
    upright = read_picture(save(tmp_path, image, exif=exif))
    assert upright.size == (2, 4)
    assert upright.getpixel((1, 0)) == RED


@pytest.mark.parametrize("mode, color, expected", (
    ("L", 77, (77, 77, 77)),
    ("1", 1, (255, 255, 255)),
    ("LA", (0, 0), (255, 255, 255)),
    ("RGBA", (255, 0, 0, 255), RED),
    ("RGBA", (0, 0, 0, 0), (255, 255, 255)),
    ("RGBA", (0, 0, 0, 128), (127, 127, 127)),
    ("I;16", 65535, (255, 255, 255)),
    ("I;16", 257 * 9, (9, 9, 9)),
))
def test_modes_look_as_in_a_viewer(tmp_path, mode, color, expected):
    image = Image.new(mode, (4, 4), color)
    assert read_picture(save(tmp_path, image)).getpixel((1, 1)) == expected


def test_cmyk_and_palettes(tmp_path):
    cmyk = save(tmp_path, Image.new("CMYK", (8, 8), (0, 255, 255, 0)), "cmyk.jpg", quality=95)
    red, green, blue = read_picture(cmyk).getpixel((4, 4))
    assert red > 240 and green < 15 and blue < 15
    palette = Image.new("RGB", (4, 4), GREEN).quantize(4)
    assert read_picture(save(tmp_path, palette)).getpixel((0, 0)) == GREEN
    clear = save(tmp_path, palette, "clear.png", transparency=palette.getpixel((0, 0)))
    assert read_picture(clear).getpixel((0, 0)) == (255, 255, 255)
    assert read_picture(clear, greyscale=True).mode == "L"
