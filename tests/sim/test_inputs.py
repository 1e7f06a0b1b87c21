"""sim.inputs: pictures, arrays and seeds become the model's input, or an error by name."""

import numpy as np
import pytest
from PIL import Image

from sim.errors import SimError
from sim.inputs import load_input, scene

SHAPE = (1, 3, 8, 8)


def save(tmp_path, image, name="picture.png", **options):
    image.save(tmp_path / name, **options)
    return tmp_path / name


def test_a_picture_becomes_red_green_blue_planes(tmp_path):
    image = Image.new("RGB", (8, 8), (10, 20, 30))
    path = save(tmp_path, image)
    x = load_input(path, seed=None, shape=SHAPE)
    assert x.dtype == np.float32
    assert x.flags.c_contiguous
    assert x.shape == SHAPE
    for plane, value in enumerate((10, 20, 30)):
        assert (x[0, plane] == np.float32(value) / np.float32(255)).all()
    codes = load_input(path, seed=None, shape=SHAPE, dtype=np.uint8)
    assert codes[0, :, 0, 0].tolist() == [10, 20, 30]


def test_greyscale_input_and_stretching(tmp_path):
    path = save(tmp_path, Image.new("RGB", (16, 8), (50, 50, 50)))
    x = load_input(path, seed=None, shape=(1, 1, 8, 8), dtype=np.uint8)
    assert x.shape == (1, 1, 8, 8)
    assert sorted(set(x.ravel().tolist())) == [50, 114]
    x = load_input(path, seed=None, shape=(1, 1, 8, 8), dtype=np.uint8, fit="stretch")
    assert (x == 50).all()


def test_scenes_depend_on_the_seed_alone():
    first = scene(1, (3, 40, 50))
    assert first.shape == (3, 40, 50)
    assert first.dtype == np.uint8
    assert (first == scene(1, (3, 40, 50))).all()
    assert (first != scene(2, (3, 40, 50))).any()
    assert first.std() > 20
    assert scene(0, (1, 1, 1)).shape == (1, 1, 1)
    x = load_input(None, seed=1, shape=(1, 3, 40, 50))
    assert (x[0] == first / np.float32(255)).all()


def test_array_files(tmp_path):
    path = tmp_path / "x.npy"
    for dtype in (np.float32, np.int8):
        value = np.arange(192).reshape(SHAPE).astype(dtype)
        np.save(path, np.asfortranarray(value))
        x = load_input(path, seed=None, shape=SHAPE, dtype=dtype)
        assert (x == value).all()
        assert x.flags.c_contiguous and x.flags.writeable
        assert type(x) is np.ndarray


@pytest.mark.parametrize("value, message", (
    (np.zeros(SHAPE), "must hold float32[1, 3, 8, 8], the model's input, not float64[1, 3, 8, 8]."),
    (np.zeros((3, 8, 8), np.float32),
     "must hold float32[1, 3, 8, 8], the model's input, not float32[3, 8, 8]."),
    (np.full(SHAPE, np.nan, np.float32),
     "must hold finite numbers only, not 192 infinities or NaN."),
))
def test_refuses_arrays_that_do_not_fit(tmp_path, value, message):
    path = tmp_path / "x.npy"
    np.save(path, value)
    with pytest.raises(SimError) as error:
        load_input(path, seed=None, shape=SHAPE)
    assert str(error.value) == f"array file {str(path)!r} {message}"


def test_refuses_objects_and_archives_as_arrays(tmp_path):
    path = tmp_path / "x.npy"
    np.save(path, np.array([{}], object), allow_pickle=True)
    np.savez(tmp_path / "x.npz", np.zeros(SHAPE, np.float32))
    archive = (tmp_path / "x.npz").read_bytes()
    for content in (path.read_bytes(), archive, b"", b"\x93NUMPY\x01\x00\x06\x00{'a':("):
        path.write_bytes(content)
        with pytest.raises(SimError, match="^array file .* must be a complete NumPy file"):
            load_input(path, seed=None, shape=SHAPE)


def test_refuses_damaged_pictures(tmp_path):
    noise = Image.fromarray(scene(0, (3, 40, 50)).transpose(1, 2, 0))
    for name in ("a.png", "a.jpg", "a.bmp", "a.webp"):
        whole = save(tmp_path, noise, name).read_bytes()
        for cut in (0, 1, 10, len(whole) // 2):
            (tmp_path / name).write_bytes(whole[:cut])
            with pytest.raises(SimError, match=rf"^picture '.*{name}' must be a complete file"):
                load_input(tmp_path / name, seed=None, shape=SHAPE)


def test_mutated_files_give_an_input_or_an_error(tmp_path):
    rng = np.random.default_rng(0)
    noise = Image.fromarray(scene(0, (3, 20, 20)).transpose(1, 2, 0))
    np.save(tmp_path / "a.npy", np.zeros(SHAPE, np.float32))
    for name in ("a.png", "a.jpg", "a.bmp", "a.webp", "a.npy"):
        path = tmp_path / name
        whole = path.read_bytes() if name == "a.npy" else save(tmp_path, noise, name).read_bytes()
        for _ in range(100):
            content = bytearray(whole)
            for at in rng.integers(0, min(len(content), 200), 3):
                content[at] = rng.integers(0, 256)
            path.unlink()
            path.write_bytes(content)
            try:
                x = load_input(path, seed=None, shape=SHAPE)
            except SimError as error:
                assert name in str(error)
            else:
                assert x.shape == SHAPE


@pytest.mark.parametrize("name", ("none.png", "none.npy", ""))
def test_refuses_files_that_are_not_there(tmp_path, name):
    with pytest.raises(SimError, match="must be a file that exists.$"):
        load_input(tmp_path / name, seed=None, shape=SHAPE)


@pytest.mark.parametrize("shape, dtype", (((1, 3, 8), np.float32), ((2, 3, 8, 8), np.float32),
                                          (SHAPE, np.int8), ((1, 3, 0, 8), np.float32)))
def test_refuses_inputs_that_pictures_cannot_make(tmp_path, shape, dtype):
    with pytest.raises(SimError) as error:
        load_input(save(tmp_path, Image.new("RGB", (4, 4))), seed=None, shape=shape, dtype=dtype)
    assert str(error.value) == (
        "A picture can only make an input of type float32 or uint8 and shape "
        f"[1, C, H, W], not {np.dtype(dtype)}{list(shape)}. Give a .npy file instead.")


@pytest.mark.parametrize("shape, dtype", (((1, 3, 80), np.float32), ((7, 50), np.int8),
                                          ((1, 3, 8, 8), np.int8), ((500,), np.uint8)))
def test_seeds_make_noise_where_the_input_is_no_picture(shape, dtype):
    found = load_input(None, seed=1, shape=shape, dtype=dtype)
    assert found.shape == shape and found.dtype == dtype
    assert np.array_equal(found, load_input(None, seed=1, shape=shape, dtype=dtype))
    assert not np.array_equal(found, load_input(None, seed=2, shape=shape, dtype=dtype))
    assert len(np.unique(found)) > 80


def test_refuses_other_numbers_of_channels(tmp_path):
    path = save(tmp_path, Image.new("RGB", (4, 4)))
    with pytest.raises(SimError) as error:
        load_input(path, seed=None, shape=(1, 4, 8, 8))
    assert str(error.value) == (f"picture {str(path)!r} has 1 or 3 channels, but the input must "
                                "have 4. Give a .npy file instead.")


def test_refuses_ambiguous_sources(tmp_path):
    for spec, seed, found in ((None, None, "neither"), (tmp_path, 1, "both")):
        with pytest.raises(SimError) as error:
            load_input(spec, seed=seed, shape=SHAPE)
        assert str(error.value) == ("The input must come from either a file or a seed, not from "
                                    f"{found}. Give one of them.")
    with pytest.raises(SimError, match="^The seed must not be negative, not -1.$"):
        load_input(None, seed=-1, shape=SHAPE)
