"""python -m sim compare: ratios of known noise, boxes that belong together, a page by itself."""

import base64
import copy
import io
import json
import math
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given, strategies as st
from onnx import helper
from PIL import Image

from sim.cli import main
from sim.compare.boxes import SAME, agreement, match
from sim.compare.layers import Layers
from sim.compare.tensors import dropped_activations, real_tensors, scales
from sim.detect.decode import Detections
from sim.detect.nms import iou
from sim.errors import SimError
from sim.golden import Golden
from tests.builds import build_folder, zoo_model
from tests.data import data
from tests.sim.squares import float_model, picture, quantized_model, write


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """float.onnx, int8.onnx, a build, names, and pictures of which one cannot be read."""
    folder = tmp_path_factory.mktemp("compare")
    write(folder)
    build_folder(folder / "int8.onnx", folder / "build", "test-4x4")
    (folder / "names").write_text("<red>\nblue & green")
    (folder / "images").mkdir()
    for seed in range(3):
        picture(seed)[0].save(folder / "images" / f"<{seed}>.png")
    (folder / "images" / "broken.jpg").write_bytes(b"\xff\xd8")
    return folder


def compare(folder: Path, a: str, b: str, *options: object) -> dict:
    out = folder / "out.json"
    assert main(["compare", str(folder / a), str(folder / b), "--images", str(folder / "images"),
                 "--json", str(out), *map(str, options)]) == 0
    return json.loads(out.read_text())


@pytest.mark.parametrize("b", ["int8.onnx", "build"])
def test_a_quantized_network_against_its_float_model(folder: Path, b: str) -> None:
    result = compare(folder, "float.onnx", b)
    assert [t["name"] for t in result["tensors"]] == ["images", "mean0", "mean1", "mean2", "head"]
    assert all(25 < t["sqnr"] < 160 and 0.99 < t["cosine"] <= 1 for t in result["tensors"])
    boxes = result["boxes"]
    assert boxes["matched"] == sum(len(picture(seed)[1]) for seed in range(3))
    assert boxes["only_a"] == boxes["only_b"] == 0
    assert boxes["score_difference"] < 0.01 and boxes["overlap"] == pytest.approx(1)
    assert list(result["unreadable"]) == [str(folder / "images" / "broken.jpg")]


def test_a_model_equals_itself(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    result = compare(folder, "int8.onnx", "int8.onnx")
    assert all(t["sqnr"] is None and t["cosine"] == 1 for t in result["tensors"])
    assert result["boxes"]["largest_difference"] == 0
    printed = capsys.readouterr().out
    assert printed.count("│    equal │ 1.00000 │") == 5
    assert "lowest" not in printed
    assert "1 pictures could not be used:" in printed


def test_scores_of_another_network_differ_by_what_it_computes(folder: Path) -> None:
    onnx.save(float_model(gain=6.0), folder / "mild.onnx")
    result = compare(folder, "float.onnx", "mild.onnx")

    def score(gain: float) -> float:
        return 1 / (1 + math.exp(-gain / 2)) / (1 + math.exp(-gain))
    expected = score(20) - score(6)  # but for soft edges
    assert result["boxes"]["score_difference"] == pytest.approx(expected, abs=0.01)
    assert result["pictures"][0]["matches"][0]["score_b"] == pytest.approx(
        score(6), abs=0.01)
    assert [t["name"] for t in result["tensors"] if t["sqnr"] is not None] == ["head"]


class Page(HTMLParser):
    """Tags that are open at the end, pictures, and addresses of anything."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open, self.pictures, self.addresses, self.text = [], [], [], ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attributes: list) -> None:
        if tag not in ("meta", "img"):
            self.open.append(tag)
        for key, value in attributes:
            if key in ("src", "href"):
                (self.pictures if value.startswith("data:image/jpeg;base64,")
                 else self.addresses).append(value)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def test_the_page_stands_alone(folder: Path) -> None:
    out = folder / "page.html"
    compare(folder, "float.onnx", "int8.onnx", "-o", out, "--names", folder / "names")
    text = out.read_text(encoding="utf-8")
    page = Page(text)
    assert page.open == [] and page.addresses == []
    assert "url(" not in text and "@import" not in text and "<script" not in text
    assert len(page.pictures) == 6
    for address in page.pictures:
        with Image.open(io.BytesIO(base64.b64decode(address.split(",")[1]))) as image:
            assert image.size == (128, 64)
    for name in ("<0>.png", "<red>", "blue & green", "mean2", "broken.jpg"):
        assert name in page.text
    assert "<red>" not in text and "<0>" not in text


def test_networks_without_heads_are_compared_by_tensors(tmp_path: Path,
                                                        capsys: pytest.CaptureFixture[str]
                                                        ) -> None:
    names = ("yolov4-tiny-eighth-64", "yolov4-tiny-eighth-64-perchannel")
    for name in names:
        model = onnx.load(zoo_model(name))
        del model.metadata_props[:]
        onnx.save(model, tmp_path / f"{name}.onnx")
    (tmp_path / "images").mkdir()
    picture(0)[0].save(tmp_path / "images" / "a.png")
    result = compare(tmp_path, *(f"{name}.onnx" for name in names), "-o", tmp_path / "page.html")
    assert len(result["tensors"]) > 50
    assert result["boxes"] is None
    assert "no heads are known" in capsys.readouterr().out
    assert "No heads are known" in (tmp_path / "page.html").read_text()


def test_every_tensor_of_the_real_network_has_a_partner() -> None:
    base = "models/yolov4-tiny-voc/yolov4-tiny-416_"
    model = onnx.load(data(f"{base}float.onnx"))
    codes = onnx.load(data(f"{base}int8_qop.onnx"))
    made = {str(name) for node in model.graph.node for name in node.output} | {"images"}
    shapes = {str(name): np.zeros((1,), np.int8) for node in codes.graph.node
              for name in node.output if "quantized" in name}
    assert set(real_tensors(shapes, scales(codes))) == made


def test_codes_count_where_a_tensor_is_also_there_as_numbers() -> None:
    golden = Golden(quantized_model())
    x = np.random.default_rng(0).random((1, 3, 64, 64)).astype(np.float32)
    tensors = golden.run({"images": x})
    real = real_tensors(tensors, scales(golden.model))
    assert sorted(real) == ["head", "images", "mean0", "mean1", "mean2"]
    assert 0 < np.abs(real["images"] - x).max() < 1 / 255
    assert np.array_equal(real["head"], tensors["head"])


def test_scales_go_with_codes_that_are_only_moved() -> None:
    """Through pooling and both results of a split, not through a result that is not a code."""
    nodes = [helper.make_node("QuantizeLinear", ["x", "s", "z"], ["a_quantized"]),
             helper.make_node("MaxPool", ["a_quantized"], ["b_quantized"], kernel_shape=[1, 1]),
             helper.make_node("Split", ["b_quantized"], ["cquantized", "dquantized"], axis=1),
             helper.make_node("DequantizeLinear", ["dquantized", "s", "z"], ["d"]),
             helper.make_node("QuantizeLinear", ["x", "runtime", "z"], ["e_quantized"]),
             helper.make_node("QuantizeLinear", ["x", "s"], ["f_quantized"])]
    constants = [helper.make_tensor("s", onnx.TensorProto.FLOAT, [], [0.5]),
                 helper.make_tensor("z", onnx.TensorProto.INT8, [], [-3])]
    model = helper.make_model(helper.make_graph(nodes, "g", [], [], constants))
    known = scales(model)
    assert known == {name: (0.5, zero) for name, zero in (
        ("a_quantized", -3), ("b_quantized", -3), ("cquantized", -3), ("dquantized", -3),
        ("f_quantized", 0))}
    real = real_tensors({"cquantized": np.array([-3, 5], np.int8)}, known)
    assert real["c"].tolist() == [0, 4]


def test_relus_that_the_quantizer_dropped_are_found() -> None:
    nodes = [helper.make_node("Conv", ["x", "w"], ["c"]), helper.make_node("Relu", ["c"], ["r"]),
             helper.make_node("Clip", ["r"], ["k"])]
    model = helper.make_model(helper.make_graph(nodes, "g", [], []))
    assert dropped_activations(model, {"c", "k"}) == {"c": "r"}
    assert dropped_activations(model, {"c", "r", "k"}) == {}


def test_ratio_and_angle_of_known_noise() -> None:
    layers = Layers()
    rng = np.random.default_rng(0)
    a, b = np.ones((2, 2), np.float32), np.ones((2, 2), np.float32)
    layers.add({"same": a, "off": a, "left": a, "zero": a * 0, "shape": a, "alone": a},
               {"same": b, "off": b * 1.1, "left": b * [1, -1], "zero": b * 0, "shape": b[0]})
    layers.add({"same": a, "off": a * 3, "left": a, "zero": a * 0},
               {"same": b, "off": a * 3, "left": b * [1, -1], "zero": b * rng.random((2, 2))})
    same, off, left, zero = layers.results()
    assert (same.name, same.sqnr, same.cosine, same.shape) == ("same", math.inf, 1.0, (2, 2))
    assert same.decibels == "equal"
    # Squares 4 * 1 + 4 * 9, noise 4 * 0.01 in the first picture alone.
    assert (off.sqnr, off.cosine) == (pytest.approx(30, abs=1e-4), pytest.approx(1, abs=1e-3))
    assert (left.sqnr, left.cosine) == (pytest.approx(-10 * math.log10(2)), 0)
    assert (zero.sqnr, zero.cosine) == (-math.inf, 0)


def test_networks_must_have_something_in_common(folder: Path, tmp_path: Path,
                                                capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SimError, match="^both networks must have tensors of the same names"):
        Layers().add({"a": np.ones(1)}, {"b": np.ones(1)})
    small = copy.deepcopy(float_model())
    small.graph.input[0].type.tensor_type.shape.dim[3].dim_value = 128
    small.graph.output[0].type.tensor_type.shape.dim[3].dim_value = 16
    onnx.save(small, tmp_path / "wide.onnx")
    assert main(["compare", str(folder / "float.onnx"), str(tmp_path / "wide.onnx"), "--images",
                 str(folder / "images")]) == 1
    assert ("error: both networks must have inputs of the same shape, not [1, 3, 64, 64] and "
            "[1, 3, 64, 128].") in capsys.readouterr().err


@pytest.mark.parametrize("content", [None, b"no picture"])
def test_a_folder_without_pictures_is_an_error(folder: Path, tmp_path: Path, content: bytes | None,
                                               capsys: pytest.CaptureFixture[str]) -> None:
    if content:
        (tmp_path / "a.png").write_bytes(content)
    assert main(["compare", str(folder / "float.onnx"), str(folder / "int8.onnx"), "--images",
                 str(tmp_path)]) == 1
    assert re.match("error: at least one of 1 pictures must be one that can be read; such as: "
                    "picture" if content else "error: picture folder '.*' must have at least one",
                    capsys.readouterr().err)


BOXES = st.lists(st.tuples(st.integers(0, 20), st.integers(0, 20), st.integers(1, 12),
                           st.integers(1, 12), st.integers(0, 2)), max_size=8)


def detections(drawn: list) -> Detections:
    table = np.array(drawn, np.float64).reshape(-1, 5)
    return Detections(np.concatenate([table[:, :2], table[:, :2] + table[:, 2:4]], 1),
                      np.linspace(0.9, 0.3, len(table)), table[:, 4].astype(np.int64))


@given(BOXES, BOXES)
def test_matches_pair_boxes_of_one_class_that_overlap(first: list, second: list) -> None:
    a, b = detections(first), detections(second)
    matches = match(a, b)
    assert len({m.a for m in matches}) == len({m.b for m in matches}) == len(matches)
    overlaps = iou(a.boxes, b.boxes)
    for m in matches:
        assert a.classes[m.a] == b.classes[m.b]
        assert m.overlap == overlaps[m.a, m.b] >= SAME
        assert (m.score_a, m.score_b) == (a.scores[m.a], b.scores[m.b])
    for i in set(range(len(a))) - {m.a for m in matches}:  # nobody was left out
        for j in set(range(len(b))) - {m.b for m in matches}:
            assert a.classes[i] != b.classes[j] or overlaps[i, j] < SAME


def test_agreement_counts_all_pictures() -> None:
    a = detections([(0, 0, 10, 10, 0), (20, 0, 10, 10, 1)])
    b = detections([(0, 0, 10, 9, 0), (20, 0, 10, 10, 0), (0, 20, 5, 5, 2)])
    one = agreement([(a, b, match(a, b)), (b, b, match(b, b))])
    assert (one.matched, one.only_a, one.only_b) == (4, 1, 2)
    assert one.overlap == pytest.approx((0.9 + 3) / 4)
    assert one.score_difference == pytest.approx(0) and one.largest_difference == 0
    empty = agreement([(a, detections([]), [])])
    assert (empty.matched, empty.only_a, empty.score_difference) == (0, 2, None)
