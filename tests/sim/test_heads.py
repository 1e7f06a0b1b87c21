"""sim.detect.heads and names: both notations, where they are looked for, what is refused."""

import copy
import json
from pathlib import Path

import pytest
from onnx import helper

from hw.spec.heads import Head, Heads, HeadsError, parse_heads
from sim.detect.heads import find_heads
from sim.detect.names import class_names
from sim.errors import SimError
from tests.data import data
from tests.sim.squares import HEADS, float_model

OWN = {"heads": [
    {"output": "a", "stride": 32, "anchors": [[81, 82], [135, 169.5]], "classes": 3,
     "scale_x_y": 1.05},
    {"output": "b", "stride": 16, "anchors": [[10, 14]], "classes": 3}], "fit": "stretch"}
DARKNET = [{"layer": 7, "tensor": "a", "shape": [16, 13, 13], "mask": [1, 2],
            "anchors": [10.0, 14.0, 81.0, 82.0, 135.0, 169.5], "classes": 3, "scale_x_y": 1.05,
            "stride": 32}]


def test_reads_its_own_notation() -> None:
    heads = parse_heads(json.dumps(OWN), "it")
    assert heads == Heads((Head("a", 32, ((81, 82), (135, 169.5)), 3, 1.05),
                           Head("b", 16, ((10, 14),), 3, 1.0)), "stretch")
    assert [head.channels for head in heads.heads] == [16, 8]
    del (without := copy.deepcopy(OWN))["fit"]
    assert parse_heads(json.dumps(without), "it").fit == "letterbox"


def test_masks_choose_anchors_of_darknets_notation() -> None:
    assert parse_heads(json.dumps(DARKNET), "it") == Heads(
        (Head("a", 32, ((81, 82), (135, 169.5)), 3, 1.05),))


def test_reads_the_files_beside_real_models() -> None:
    text = data("models/yolov4-tiny-voc/meta.json").read_text()
    heads = parse_heads(text, "it")
    assert [(h.output, h.stride, h.classes, h.channels) for h in heads.heads] == [
        ("conv29_out", 32, 80, 255), ("conv36_out", 16, 80, 255)]
    assert heads.heads[1].anchors == ((23, 27), (37, 58), (81, 82))


@pytest.mark.parametrize(("path", "value", "message"), [
    (("heads", 0, "output"), "", "output must be the name of a tensor, not ''"),
    (("heads", 0, "stride"), 0, "stride must be a positive integer, not 0"),
    (("heads", 0, "stride"), 32.0, "stride must be a positive integer, not 32.0"),
    (("heads", 0, "classes"), True, "classes must be a positive integer, not True"),
    (("heads", 0, "anchors"), [],
     "anchors must be pairs of positive numbers, at least one, not ()"),
    (("heads", 0, "anchors"), [[1, -1]],
     "anchors must be pairs of positive numbers, at least one, not ((1, -1),)"),
    (("heads", 0, "anchors"), [[1, "2"]],
     "anchors must be pairs of positive numbers, at least one, not ((1, '2'),)"),
    (("heads", 0, "scale_x_y"), 0, "scale_x_y must be a positive number, not 0"),
    (("heads", 0, "scale_x_y"), float("nan"), "scale_x_y must be a positive number, not nan"),
    (("heads", 1, "classes"), 4,
     ("heads must be a list of at least one, all with the same number of classes, not "
      "[3, 4]")),
    (("heads",), [],
     "heads must be a list of at least one, all with the same number of classes, not []"),
    (("fit",), "crop", "fit must be 'letterbox' or 'stretch', not 'crop'"),
])
def test_refuses_values_by_name(path: tuple, value: object, message: str) -> None:
    wrong = copy.deepcopy(OWN)
    inner = wrong
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = value
    with pytest.raises(HeadsError) as error:
        parse_heads(json.dumps(wrong), "it")
    assert str(error.value) == f"it must describe heads; {message}. See docs/accuracy.md."


@pytest.mark.parametrize("text", ["", "{", "3", "null", '"a"', "{}", '{"heads": 3}', "[3]", "[[]]",
                                  '{"heads": [{}]}', ('{"heads": [{"output": "a", "stride": 8, '
                                  '"classes": 1, "anchors": [[1, 2, 3]]}]}'), "[" * 100_000])
def test_refuses_what_is_something_else(text: str) -> None:
    with pytest.raises(HeadsError, match="^it must describe heads; "):
        parse_heads(text, "it")


@pytest.mark.parametrize("mask", [[3], [-1], ["0"], [0.0]])
def test_refuses_masks_outside_the_anchors(mask: list) -> None:
    wrong = [DARKNET[0] | {"mask": mask}]
    with pytest.raises(HeadsError, match="mask must be indices of 3 anchors, not "):
        parse_heads(json.dumps(wrong), "it")


def test_a_named_file_goes_first_then_metadata_then_the_file_beside(tmp_path: Path) -> None:
    plain = copy.deepcopy(float_model())
    del plain.metadata_props[:]
    assert find_heads(plain, tmp_path, None) is None
    (tmp_path / "meta.json").write_text(json.dumps(DARKNET))
    assert find_heads(plain, tmp_path, None).heads[0].output == "a"
    assert find_heads(float_model(), tmp_path, None) == parse_heads(json.dumps(HEADS), "it")
    named = tmp_path / "other.json"
    named.write_text(json.dumps(OWN))
    assert find_heads(float_model(), tmp_path, named).heads[1].output == "b"


def test_damaged_heads_are_refused_wherever_they_are(tmp_path: Path) -> None:
    model = copy.deepcopy(float_model())
    helper.set_model_props(model, {"macrame.heads": "{"})
    with pytest.raises(SimError, match="^metadata 'macrame.heads' of the model in "):
        find_heads(model, tmp_path, None)
    with pytest.raises(SimError, match="^heads file '.*none.json' must be a text file"):
        find_heads(model, tmp_path, tmp_path / "none.json")
    (tmp_path / "bytes.json").write_bytes(b"\xff\xfe\xff")
    with pytest.raises(SimError, match="^heads file '.*bytes.json' must be a text file"):
        find_heads(model, tmp_path, tmp_path / "bytes.json")


def test_names_of_classes(tmp_path: Path) -> None:
    names = class_names(80)
    assert (names[0], names[2], names[16], names[79]) == ("person", "car", "dog", "toothbrush")
    assert len(set(names)) == 80
    assert class_names(2) == ("class 0", "class 1")
    file = tmp_path / "x.names"
    file.write_text("eins\nzwei \n\n", encoding="utf-8")
    assert class_names(2, file) == ("eins", "zwei")
    with pytest.raises(SimError) as error:
        class_names(3, file)
    assert str(error.value) == (f"names file {str(file)!r} must have a line for each of the 3 "
                                "classes, not 2.")
    with pytest.raises(SimError, match="must be a text file that can be read"):
        class_names(3, tmp_path / "none")
