"""codegen darknet: what is wrong with a cfg or weights is said, and nothing is written."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from codegen.__main__ import main
from codegen.darknet.cfg import read_cfg
from codegen.darknet.network import network
from codegen.errors import ModelFileError
from tests.darknet import EVERYTHING, HEADER, TINY, write_network


def refusal(folder: Path, capsys: pytest.CaptureFixture[str]) -> str:
    """What the command says of net.cfg and net.weights; there must be no output file."""
    out = folder / "out.onnx"
    arguments = ["darknet", str(folder / "net.cfg"), str(folder / "net.weights"), "-o", str(out)]
    assert main(arguments) == 1
    assert not out.exists()
    error = capsys.readouterr().err
    assert error.startswith("error: ") and error.count("\n") == 1
    return error.removeprefix("error: ").strip().replace(f"{folder}/", "")


CFG = "cfg file 'net.cfg'"
NET = f"{CFG}, line 2: [net] must have "
FIRST = f"{CFG}, line 7: section 0 [convolutional] must have "
SECOND = f"{CFG}, line 15: section 1 "
LAST = f"{CFG}, line 27: section 3 "
YOLO = f"{CFG}, line 34: section 4 [yolo] must "
TYPES = "conv, convolutional, dropout, max, maxpool, route, shortcut, upsample, yolo"
KEYS = ("activation, batch_normalize, burnin_update, clip, dilation, dont_update, "
        "dynamic_minibatch, filters, groups, learning_rate, onlyforward, pad, padding, size, "
        "stopbackward, stride, stride_x, stride_y, train_only_bn")
POOL, HEAD = "[maxpool]", "[convolutional]\nfilters=21"
WINDOW = "size=2\nstride=2"


@pytest.mark.parametrize(("old", "new", "message"), [
    ("[net]", "[yolo]", f"{CFG} must begin with the section [net], not with [yolo]"),
    ("width=32", "width=",
     f"{CFG}, line 3: must be [type], or key=value in a section, not 'width='"),
    ("width=32", "width=32.5", NET + "integers as 'width', not '32.5'"),
    ("width=32", "width=0", NET + "an integer of at least 1 as 'width', not '0'"),
    ("width=32", "max_batches=1", NET + "the key 'width'"),
    ("width=32", "width=32\nwidth=64", NET + "the key 'width' once; line 4 repeats it"),
    (POOL, "[avgpool]", SECOND + f"[avgpool] must be one of {TYPES}"),
    ("filters=8", "filters=8\nbinary=1", FIRST + f"only the keys {KEYS}, not 'binary'"),
    ("filters=8", "filters=8\ngroups=2",
     FIRST + "'groups' that divide its input of 3 channels and its 8 filters, not 2"),
    ("filters=8", "filters=8\ndilation=2", FIRST + "'dilation' 1, not 2"),
    ("activation=leaky", "activation=tanh",
     FIRST + "one of leaky, linear, logistic, mish, relu, swish as 'activation', not 'tanh'"),
    (WINDOW, f"{WINDOW}\npadding=3",
     SECOND + "[maxpool] must have at most 2 as 'padding', not 3"),
    (WINDOW, "size=99\nstride=2\npadding=0",
     SECOND + "[maxpool] must have a result, but its window is larger than its input, 8x16x16"),
    (POOL, f"[route]\nlayers=1\n{POOL}",
     SECOND + "[route] must have earlier sections as 'layers', so from -1 to 0, not 1"),
    (HEAD, f"[route]\nlayers=-1,0\n{HEAD}",
     LAST + "[route] must have inputs of one height and width, not 12x8x8 and 8x16x16"),
    (POOL, f"[route]\nlayers=-1\ngroups=3\n{POOL}",
     SECOND + "[route] must have 'groups' that divide 8 channels, not 3"),
    (POOL, f"[route]\nlayers=-1\ngroups=2\ngroup_id=2\n{POOL}",
     SECOND + "[route] must have 'group_id' below 'groups', which is 2, not 2"),
    (HEAD, f"[shortcut]\nfrom=-2\n{HEAD}",
     LAST + "[shortcut] must add one tensor of its input's shape, 12x8x8, not 8x8x8"),
    (POOL, f"[upsample]\nscale=2\n{POOL}", SECOND + "[upsample] must have 'scale' 1, not '2'"),
    ("classes=2", "classes=3",
     YOLO + "read 3 * (5 + 3) = 24 channels, not 21; the filters before it, its mask and its "
            "classes must agree"),
    ("classes=2", "classes=2\nnew_coords=1",
     YOLO + "have 'new_coords' 0, not 1: those boxes are decoded otherwise"),
    ("mask = 0,1,2", "mask = 0,1,3", YOLO + "have anchors from 0 to 2 as 'mask', not [0, 1, 3]"),
    ("num=3", "num=4", YOLO + "have 2 numbers for each of its 4 'anchors', not 6"),
    ("20,28", "20,-28", YOLO + "have positive numbers as 'anchors', not '4,6,10,8.5,20,-28'"),
    ("scale_x_y = 1.05", "scale_x_y = nan",
     YOLO + "have positive numbers as 'scale_x_y', not 'nan'"),
    ("width=32", "width=30",
     YOLO + "have square cells of whole pixels: 21x8x8 do not divide the input, 3x32x30"),
    (TINY[TINY.index("[yolo]"):], "",
     LAST + "[convolutional] must not be the last; there must be at least one [yolo]"),
])
def test_refuses_a_cfg(tmp_path: Path, capsys: pytest.CaptureFixture[str], old: str, new: str,
                       message: str) -> None:
    assert old in TINY
    write_network(tmp_path)
    (tmp_path / "net.cfg").write_text(TINY.replace(old, new, 1))
    assert refusal(tmp_path, capsys) == message


WEIGHTS = "weights file 'net.weights'"
BELONG = "Do the two files belong together?"
COUNT = f"{WEIGHTS} must have 1433 floats behind its header of 20 bytes, as its cfg says, not "
LEFT = "are left behind section 3 [convolutional], the last convolution"


@pytest.mark.parametrize(("content", "message"), [
    (b"", f"{WEIGHTS} must begin with a header of 20 bytes, but has 0 bytes"),
    (HEADER[:19], f"{WEIGHTS} must begin with a header of 20 bytes, but has 19 bytes"),
    (b"PK\x03\x04" + bytes(999),
     f"{WEIGHTS} must begin with a version of darknet below 1000.1000, not 67324752.0; it is no "
     + "file of weights, or one whose matrices are transposed"),
    (HEADER + bytes(4 * 1434), COUNT + f"1434; 1 {LEFT}. {BELONG}"),
    (HEADER + bytes(4 * 1433 + 1), COUNT + f"1433.25; 0.25 {LEFT}. {BELONG}"),
    (HEADER + bytes(4 * 300),
     COUNT + "300; it ends in section 2 [convolutional], which needs 912 and finds 52. Is it cut "
             "off, or without its last layers (like .conv.29 files, from which training starts)?"),
])
def test_refuses_weights_of_another_length(tmp_path: Path, capsys: pytest.CaptureFixture[str],
                                           content: bytes, message: str) -> None:
    _, weights = write_network(tmp_path)
    weights.write_bytes(content)
    assert refusal(tmp_path, capsys) == message


@pytest.mark.parametrize(("at", "value", "message"), [
    (3, np.nan, "biases of section 0 [convolutional] must be finite, not nan at 3"),
    (8, np.inf, "scales of section 0 [convolutional] must be finite, not inf at 0"),
    (24, -2, "variances of section 0 [convolutional] must be finite and not negative, not -2 at 0"),
    (1432, 1e38, "weights of section 3 [convolutional] must be finite, not 1e+38 at 251"),
])
def test_refuses_numbers_that_no_training_leaves(tmp_path: Path,
                                                 capsys: pytest.CaptureFixture[str], at: int,
                                                 value: float, message: str) -> None:
    _, weights = write_network(tmp_path)
    floats = np.frombuffer(weights.read_bytes()[20:], "<f4").copy()
    floats[at] = value
    weights.write_bytes(HEADER + floats.tobytes())
    assert refusal(tmp_path, capsys) == f"{WEIGHTS}: {message}. {BELONG}"


def test_refuses_files_that_are_not_there_or_no_text(tmp_path: Path,
                                                     capsys: pytest.CaptureFixture[str]) -> None:
    cfg, weights = write_network(tmp_path)
    text = cfg.read_bytes()
    cfg.write_bytes(b"\xff\xfe" + text)
    assert refusal(tmp_path, capsys).startswith(f"{CFG} must be a text file that can be read; ")
    cfg.write_bytes(bytes((1 << 20) + 1))
    assert refusal(tmp_path, capsys) == (f"{CFG} must have at most 1048576 bytes, not 1048577; is "
                                         "it the weights?")
    cfg.write_bytes(text)
    weights.unlink()
    assert refusal(tmp_path, capsys).startswith(f"{WEIGHTS} must be a file that can be read; ")


def test_never_overwrites_its_inputs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cfg, weights = write_network(tmp_path)
    before = weights.read_bytes()
    other = "must be another file than the input. Choose another one with -o."
    for out, message in ((weights, other), (tmp_path, "must be a file, not a folder.")):
        assert main(["darknet", str(cfg), str(weights), "-o", str(out)]) == 1
        assert capsys.readouterr().err == f"error: output file {str(out)!r} {message}\n"
    assert weights.read_bytes() == before


@settings(max_examples=100, deadline=None)
@given(st.integers(0, len(EVERYTHING) - 1), st.text(max_size=6), st.integers(0, 8))
def test_mutated_text_gives_a_network_or_an_error(tmp_path_factory: pytest.TempPathFactory,
                                                  at: int, text: str, cut: int) -> None:
    path = tmp_path_factory.getbasetemp() / "mutated.cfg"
    path.write_text(EVERYTHING[:at] + text + EVERYTHING[at + cut :], encoding="utf-8",
                    errors="replace")
    try:
        network(read_cfg(path))
    except ModelFileError as error:
        assert "mutated.cfg" in str(error)
