"""sim.pictures.fit: letterboxes, and the tensor that a network takes."""

import numpy as np
import pytest
from PIL import Image

from sim.pictures.fit import Placement, letterbox, network_input

RED = (255, 0, 0)


def test_letterbox_of_a_wide_picture():
    pixels, placement = letterbox(Image.new("RGB", (200, 50), RED), (40, 60))
    assert placement == Placement(0.3, 0.3, 0, 12, 60, 15)
    assert pixels.shape == (40, 60, 3)
    assert pixels.dtype == np.uint8
    assert (pixels[12:27] == RED).all()
    assert (pixels[:12] == 114).all()
    assert (pixels[27:] == 114).all()


def test_letterbox_of_a_tall_greyscale_picture():
    pixels, placement = letterbox(Image.new("L", (3, 6), 7), (12, 13))
    assert placement == Placement(2.0, 2.0, 3, 0, 6, 12)
    assert (pixels[:, 3:9] == 7).all()
    assert (np.delete(pixels, range(3, 9), 1) == 114).all()


def test_letterbox_keeps_thin_pictures_visible():
    pixels, placement = letterbox(Image.new("RGB", (1000, 1), RED), (10, 10))
    assert (placement.width, placement.height) == (10, 1)
    assert (pixels == RED).all(2).sum() == 10
    with pytest.raises(ValueError, match="^image must be of mode RGB or L, not RGBA$"):
        letterbox(Image.new("RGBA", (4, 4)), (4, 4))


def test_network_input_is_planar_and_0_to_1():
    planes = np.zeros((3, 32, 32), np.uint8)
    planes[:, 5, 6] = 255, 51, 0
    assert network_input(planes)[0, :, 5, 6].tolist() == [1.0, np.float32(0.2), 0.0]
    assert network_input(planes).flags.c_contiguous
    assert np.array_equal(network_input(planes, np.uint8)[0], planes)
