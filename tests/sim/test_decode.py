"""sim.detect.decode: the same as darknet's formulas in plain loops; exact inverses; real boxes."""

import math

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from PIL import Image

from codegen.zoo.scenes import scene_with_boxes
from hw.spec.heads import Head, Heads
from sim.detect.decode import decode, head_tensor, locate
from sim.detect.detector import Detector, Result, Runner, network_heads
from sim.detect.network import open_network
from sim.errors import SimError
from sim.inputs import read_picture
from sim.pictures.fit import Placement, letterbox, network_input
from tests.data import data

HEAD = Head("h", 16, ((23, 27), (37, 58), (81, 82)), 4, 1.05)


def plain_decode(head: Head, tensor: np.ndarray, score: float) -> list[tuple]:
    """After darknet: cell by cell, in pixels of the input."""
    found = []
    _, _, rows, columns = tensor.shape
    for n, (width, height) in enumerate(head.anchors):
        first = n * (5 + head.classes)
        for j in range(rows):
            for i in range(columns):
                t = [float(tensor[0, first + k, j, i]) for k in range(5 + head.classes)]
                s = head.scale_x_y
                x = (i + logistic(t[0]) * s - 0.5 * (s - 1)) / columns * (columns * head.stride)
                y = (j + logistic(t[1]) * s - 0.5 * (s - 1)) / rows * (rows * head.stride)
                w, h = math.exp(t[2]) * width, math.exp(t[3]) * height
                for c in range(head.classes):
                    probability = logistic(t[4]) * logistic(t[5 + c])
                    if probability > score:
                        found.append((x - w / 2, y - h / 2, x + w / 2, y + h / 2, probability, c))
    return found


def logistic(x: float) -> float:
    return 1 / (1 + math.exp(-x))


def random_tensor(head: Head, rows: int, columns: int, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.normal(0, 2, (1, head.channels, rows, columns)).astype(np.float32)


@pytest.mark.parametrize("scale", [1.0, 1.05, 2.0])
@pytest.mark.parametrize("score", [0.0, 0.001, 0.25, 0.9])
def test_equals_plain_loops(scale: float, score: float) -> None:
    head = Head("h", 16, HEAD.anchors, 4, scale)
    tensor = random_tensor(head, 5, 7, seed=1)
    boxes, scores, classes = decode(head, tensor, score=score)
    expected = plain_decode(head, tensor, score)
    assert len(expected) == len(scores)
    assert len(expected) > 0 or score == 0.9
    found = np.concatenate([boxes, scores[:, None], classes[:, None]], 1)
    assert found == pytest.approx(np.array(expected).reshape(-1, 6), rel=1e-12, abs=1e-9)


def test_extreme_numbers_give_boxes_that_fill_the_picture() -> None:
    heads = Heads((Head("h", 16, ((23, 27),), 4, 1.05),))
    tensor = np.full((1, 9, 2, 2), 3e38, np.float32)
    found = locate(heads, {"h": tensor}, input_size=(32, 32), placement=whole(32, 32),
                   picture_size=(32, 32), score=0.5)
    assert found.boxes.tolist() == [[0, 0, 32, 32]] * 4
    assert found.scores.tolist() == [1.0] * 4
    assert found.classes.tolist() == [0, 1, 2, 3]
    nothing = locate(heads, {"h": -tensor}, input_size=(32, 32), placement=whole(32, 32),
                     picture_size=(32, 32), score=0.0)
    assert len(nothing) == 0 and nothing.boxes.shape == (0, 4)


def whole(width: int, height: int) -> Placement:
    return Placement(1.0, 1.0, 0, 0, width, height)


@settings(max_examples=30)
@given(st.integers(0, 10**6), st.integers(30, 900), st.integers(30, 900))
def test_finds_the_boxes_of_a_scene_again(seed: int, width: int, height: int) -> None:
    """Boxes of a drawn scene, written into head tensors, come back in pixels of the picture."""
    heads = Heads((Head("a", 32, ((81, 82), (135, 169)), 2, 1.05), Head("b", 16, ((23, 27),), 2)))
    scene = scene_with_boxes(seed, 256)
    factors = np.array([width, height] * 2) / 256
    wanted = {}
    tensors = {h.output: np.full((1, h.channels, 416 // h.stride, 416 // h.stride), -20, np.float32)
               for h in heads.heads}
    _, placement = letterbox(Image.new("RGB", (width, height)), (416, 416))
    for n, mark in enumerate(scene.boxes):
        box = np.array([mark.x0, mark.y0, mark.x1, mark.y1]) * factors
        head, anchor = heads.heads[n % 2], n // 2 % len(heads.heads[n % 2].anchors)
        x, y, w, h = in_input(box, placement)
        at = (anchor, min(int(x // head.stride), 12), min(int(y // head.stride), 12))
        key = (head.output, *at)
        if key in wanted or not inside(x / head.stride - at[1], head.scale_x_y) \
                or not inside(y / head.stride - at[2], head.scale_x_y):
            continue
        wanted[key] = box
        t = tensors[head.output].reshape(len(head.anchors), 7, *tensors[head.output].shape[2:])
        t[anchor, :, at[2], at[1]] = [
            logit((x / head.stride - at[1] + (head.scale_x_y - 1) / 2) / head.scale_x_y),
            logit((y / head.stride - at[2] + (head.scale_x_y - 1) / 2) / head.scale_x_y),
            math.log(w / head.anchors[anchor][0]), math.log(h / head.anchors[anchor][1]),
            8, 8 if n % 2 else -20, -20 if n % 2 else 8]
    found = locate(heads, tensors, input_size=(416, 416), placement=placement,
                   picture_size=(width, height), score=0.5)
    boxes = np.array(list(wanted.values())).reshape(-1, 4)
    for box in found.boxes:  # each is one of those; none is invented
        assert np.abs(boxes - box).max(axis=1).min() < 0.01
    assert len(found) == len(boxes) or len(found) < len(boxes) and any_overlap(boxes)


def in_input(box: np.ndarray, placement: Placement) -> tuple[float, float, float, float]:
    x0, x1 = box[[0, 2]] * placement.scale_x + placement.left
    y0, y1 = box[[1, 3]] * placement.scale_y + placement.top
    return (x0 + x1) / 2, (y0 + y1) / 2, x1 - x0, y1 - y0


def inside(fraction: float, scale: float) -> bool:
    """Whether the formula can reach this place in a cell."""
    return -(scale - 1) / 2 + 1e-6 < fraction < 1 + (scale - 1) / 2 - 1e-6


def logit(p: float) -> float:
    return math.log(p / (1 - p))


def any_overlap(boxes: np.ndarray) -> bool:
    from sim.detect.nms import OVERLAP, iou
    return bool((np.triu(iou(boxes, boxes), 1) > OVERLAP - 0.01).any())


def test_boxes_end_at_the_picture_and_those_outside_are_dropped() -> None:
    head = Head("h", 16, ((40, 40),), 1)
    tensor = np.full((1, 6, 4, 4), -20, np.float32)
    tensor[0, :, 0, 0] = (0, 0, 0, 0, 8, 8)    # -12..28 in x and y
    tensor[0, :, 3, 3] = (0, 0, -3, -3, 9, 9)  # around 56, 56: in the padding below
    placement = Placement(1.0, 1.0, 0, 0, 64, 32)
    found = locate(Heads((head,)), {"h": tensor}, input_size=(64, 64), placement=placement,
                   picture_size=(64, 32), score=0.5)
    assert found.boxes.tolist() == [[0, 0, 28, 28]]
    assert found.scores.tolist() == [pytest.approx(logistic(8) ** 2)]


def test_limit_keeps_the_best() -> None:
    tensor = random_tensor(HEAD, 4, 4, seed=3)
    options = {"input_size": (64, 64), "placement": whole(64, 64), "picture_size": (64, 64),
               "score": 0.01}
    every = locate(Heads((HEAD,)), {"h": tensor}, **options)
    best = locate(Heads((HEAD,)), {"h": tensor}, limit=5, **options)
    assert len(every) > 5
    assert np.array_equal(best.boxes, every.boxes[:5])
    assert (np.diff(every.scores) <= 0).all()


@pytest.mark.parametrize(("tensor", "message"), [
    (np.zeros((1, 27, 4, 4), np.int8),
     "head 'h' must be a float32 tensor, not int8; name the dequantized output."),
    (np.zeros((1, 24, 4, 4), np.float32),
     ("head 'h' must have the shape [1, 27, 4, 4] (3 anchors of 5 + 4 channels, stride 16 on an "
      "input of 64x64), not [1, 24, 4, 4]; correct the heads.")),
    (np.zeros((1, 27, 8, 8), np.float32),
     ("head 'h' must have the shape [1, 27, 4, 4] (3 anchors of 5 + 4 channels, stride 16 on an "
      "input of 64x64), not [1, 27, 8, 8]; correct the heads.")),
    (np.full((1, 27, 4, 4), np.nan, np.float32),
     "head 'h' must be finite, not infinite or NaN in 432 elements."),
])
def test_refuses_tensors_that_do_not_fit(tensor: np.ndarray, message: str) -> None:
    with pytest.raises(SimError) as error:
        head_tensor(HEAD, {"h": tensor}, (64, 64))
    assert str(error.value) == message


def test_known_boxes_of_the_real_network() -> None:
    """Boxes that another program found; it resized bilinearly."""
    network = open_network(data("models/yolov4-tiny-voc/yolov4-tiny-416_float.onnx"))
    detector = Detector(Runner(network, "ort"), network_heads(network, file=None, fit=None),
                        score=0.25)
    image = read_picture(data("images/darknet/dog.jpg"))
    _, placement = letterbox(image, (416, 416))
    canvas = Image.new("RGB", (416, 416), (114, 114, 114))
    canvas.paste(image.resize((416, 312), Image.Resampling.BILINEAR), (0, 52))
    x = network_input(np.asarray(canvas).transpose(2, 0, 1))
    tensors = network.start("ort").run({"images": x})
    found = detector.locate(Result(tensors, placement), image.size)
    assert found.classes.tolist() == [2, 16, 1]
    assert found.scores.round(3).tolist() == [0.971, 0.935, 0.855]
    assert found.boxes.astype(int).tolist() == [
        [464, 79, 690, 171], [143, 216, 313, 512], [89, 63, 595, 525]]
