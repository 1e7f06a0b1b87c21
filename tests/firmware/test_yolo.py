"""tensor.c and yolo.c on the host: the same bits as NumPy, the same boxes as sim detect."""

import json
import struct
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
import pytest

from codegen.__main__ import main
from hw.spec.heads import Heads, parse_heads
from sim.build import BuildFolder
from sim.detect.decode import locate as locate64
from sim.golden import Golden
from sim.pictures.fit import Placement, letterbox, network_input, place_picture
from sim.pictures.read import read_picture
from sim.tensors import quantize, write_inputs
from tests import onnx_nodes as n
from tests.builds import build_folder, zoo_model
from tests.data import data
from tests.firmware.compilers import FIRMWARE, SANITIZED, compile_c
from tests.firmware.float_boxes import Place, locate
from tests.sim.squares import picture, quantized_model

HOST = [Path(__file__).with_name("host.c"), FIRMWARE / "tensor.c", FIRMWARE / "yolo.c"]

TINY = json.dumps({"heads": [
    {"output": "conv36_out", "stride": 16, "anchors": [[5, 6], [9, 13], [19, 11]], "classes": 4,
     "scale_x_y": 1.05},
    {"output": "conv29_out", "stride": 32, "anchors": [[19, 19], [31, 39.5], [79, 74]],
     "classes": 4, "scale_x_y": 1.2}]})


@dataclass(frozen=True)
class Host:
    """The host's program for a build."""

    build: BuildFolder
    program: Path

    def run(self, command: str, given: bytes) -> tuple[int, npt.NDArray[np.uint8]]:
        """Status and what is printed behind it."""
        done = subprocess.run([self.program, command], input=given, capture_output=True,
                              check=False)
        assert done.returncode == 0, done.stderr.decode()
        return struct.unpack_from("<I", done.stdout)[0], np.frombuffer(done.stdout, np.uint8)[4:]

    def window(self) -> npt.NDArray[np.uint8]:
        return np.full(self.build.image.activation_bytes, 0xA5, np.uint8)

    def boxes(self, codes: Mapping[str, npt.NDArray[np.generic]], picture: tuple[int, int],
              *, score: float, capacity: int = 4096, box: bool = True
              ) -> tuple[int, Place, npt.NDArray[np.void]]:
        """Status, placement and boxes, of head tensors given by their tensor's name."""
        window = self.window()
        for name, value in codes.items():
            self.build.tensors[name].write(window, value)
        *_, height, width = self.build.tensors[self.build.manifest["inputs"][0]["tensor"]].shape
        given = struct.pack("<6Iff", *picture, width, height, box, capacity, score, 0.45)
        place_status, out = self.run("boxes", given + window.tobytes())
        assert place_status == 0
        sx, sy, left, top, w, h, status, count = struct.unpack_from("<ffIIIIII", out)
        kind = np.dtype([("box", "<f4", 4), ("score", "<f4"), ("class", "<u4")])
        found = np.frombuffer(out[32:].tobytes(), kind)
        assert len(found) == count
        return status, Place((np.float32(sx), np.float32(sy)), (left, top), (w, h)), found


def host(model: Path, folder: Path, heads: Path | None = None, *, target: str = "test-4x4",
         flags: Sequence[str] = SANITIZED) -> Host:
    build = build_folder(model, folder / "build", target)
    options = ["--heads", str(heads)] if heads else []
    assert main(["header", str(build.path), "-o", str(folder / "h"), *options]) == 0
    program = compile_c([*HOST, folder / "h" / "macrame_model.c"], folder / "host",
                        include=[folder / "h", FIRMWARE], flags=flags)
    return Host(build, program)


@pytest.fixture(scope="module")
def squares(tmp_path_factory: pytest.TempPathFactory) -> Host:
    folder = tmp_path_factory.mktemp("squares")
    onnx.save(quantized_model(), folder / "m.onnx")
    return host(folder / "m.onnx", folder)


@pytest.fixture(scope="module", params=["", "-u8act"], ids=["int8", "uint8"])
def tiny(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Host:
    """Two heads of three anchors."""
    folder = tmp_path_factory.mktemp("tiny")
    (folder / "heads.json").write_text(TINY)
    return host(zoo_model(f"yolov4-tiny-eighth-64{request.param}"), folder, folder / "heads.json")


def small(folder: Path, op: str, *nodes: onnx.NodeProto, dtype: type = np.int8) -> Host:
    """A model of `op` and the nodes that follow it."""
    proto = n.unary(op, (1, 6, 3, 5), rng=np.random.default_rng(0), dtype=dtype)
    proto.graph.node.extend(nodes)
    proto.graph.output[0].name = proto.graph.node[-1].output[0]
    proto.graph.output[0].type.tensor_type.ClearField("shape")
    folder.mkdir(parents=True, exist_ok=True)
    onnx.save(proto, folder / "m.onnx")
    return host(folder / "m.onnx", folder)


def test_squares_are_found(squares: Host) -> None:
    heads = parse_heads(onnx.load(squares.build.model).metadata_props[0].value, "it")
    golden, [item] = Golden(squares.build.model), squares.build.manifest["outputs"]
    for seed in range(8):
        image, marks = picture(seed)
        planes, _ = place_picture(image, (64, 64), "letterbox")
        outputs = golden.run({"images": network_input(planes)})
        codes = {item["tensor"]: quantize(outputs[item["name"]], **item["dequantize"],
                                          dtype=np.int8)}
        found = compare(squares, heads, codes, image.size, score=0.25, photo=True)
        assert sorted(found["class"].tolist()) == sorted(index for index, _ in marks)


def test_pixels_become_the_codes_that_the_host_quantizes(squares: Host) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (64, 64, 3)).astype(np.uint8)
    pixels.reshape(-1)[:256] = np.arange(256)
    expected = squares.window()
    write_inputs(squares.build, expected,
                 {"images": network_input(pixels.transpose(2, 0, 1))})
    assert_prints(squares.run("pixels", pixels.tobytes()), expected)
    assert squares.run("pixels", pixels.tobytes()[1:])[0] == 1


@pytest.mark.parametrize(("scale", "zero_point", "dtype"), [
    (2 / 255, 0, np.int8), (0.001, 3, np.uint8), (2 / 255, 250, np.uint8)])
def test_pixels_are_rounded_and_saturated_as_by_onnx_runtime(
        tmp_path: Path, scale: float, zero_point: int, dtype: type) -> None:
    constants = {"s": np.float32(scale), "z": dtype(zero_point), "t": np.float32(0.1)}
    proto = n.model([n.node("QuantizeLinear", ["x", "s", "z"], ["q"]),
                     n.node("QLinearLeakyRelu", ["q", "s", "z", "t", "z"])],
                    {"x": (np.float32, (1, 3, 16, 16))}, constants)
    onnx.save(proto, tmp_path / "m.onnx")
    machine = host(tmp_path / "m.onnx", tmp_path)
    pixels = np.arange(768).astype(np.uint8).reshape(16, 16, 3)
    feeds = {"x": network_input(pixels.transpose(2, 0, 1))}
    expected = machine.window()
    machine.build.tensors["q"].write(expected, Golden(machine.build.model).run(feeds)["q"])
    assert_prints(machine.run("pixels", pixels.tobytes()), expected)


def test_channels_are_found_in_their_lanes(tmp_path: Path) -> None:
    onnx.save(n.concat([(1, 3, 4, 4), (1, 6, 4, 4), (1, 1, 4, 4)], rng=np.random.default_rng(0)),
              tmp_path / "m.onnx")
    machine = host(tmp_path / "m.onnx", tmp_path)
    place = machine.build.tensors["y"]
    assert len(place.entry["lanes"]) > 1
    window = np.random.default_rng(1).integers(0, 256, len(machine.window())).astype(np.uint8)
    assert_prints(machine.run("read", window.tobytes()),
                  place.read(window).reshape(-1).view(np.uint8))


def assert_prints(printed: tuple[int, npt.NDArray[np.uint8]],
                  expected: npt.NDArray[np.uint8]) -> None:
    assert printed[0] == 0
    assert np.array_equal(printed[1], expected)


@pytest.mark.parametrize("dtype", [np.int8, np.uint8])
@pytest.mark.parametrize("transposed", [False, True])
def test_codes_go_in_and_out_as_the_manifest_says(tmp_path: Path, dtype: type,
                                                  transposed: bool) -> None:
    nodes = [n.node("Transpose", ["y"], ["z"], perm=[0, 2, 3, 1])] if transposed else []
    machine = small(tmp_path, "QLinearLeakyRelu", *nodes, dtype=dtype)
    rng = np.random.default_rng(1)
    codes = n.codes(rng, dtype, 1, 6, 3, 5)
    expected = machine.window()
    machine.build.tensors["x"].write(expected, codes)
    assert_prints(machine.run("write", codes.tobytes()), expected)
    assert machine.run("write", codes.tobytes() + b"x")[0] == 1
    window = rng.integers(0, 256, len(expected)).astype(np.uint8)
    place = machine.build.tensors["z" if transposed else "y"]
    assert ("gather" in place.entry) == transposed
    assert_prints(machine.run("read", window.tobytes()),
                  place.read(window).reshape(-1).view(np.uint8))
    assert machine.run("read", window[:place.entry["address"] + 1].tobytes())[0] == 2


def test_pixels_are_for_pictures_only(tmp_path: Path) -> None:
    pixels = np.arange(90, dtype=np.uint8)
    assert small(tmp_path / "s", "QLinearLeakyRelu").run("pixels", pixels.tobytes())[0] == 3
    raw = small(tmp_path / "u", "QLinearLeakyRelu", dtype=np.uint8)
    expected = raw.window()
    raw.build.tensors["x"].write(expected, pixels.reshape(3, 5, 6).transpose(2, 0, 1)[None])
    assert_prints(raw.run("pixels", pixels.tobytes()), expected)


def compare(machine: Host, heads: Heads, codes: Mapping[str, npt.NDArray[np.generic]],
            picture: tuple[int, int], *, score: float, capacity: int = 4096,
            fit: str = "letterbox", photo: bool = False) -> npt.NDArray[np.void]:
    """The same bits as NumPy in float32; of a photo, the same boxes as sim detect.

    Of noise they can differ: there float32 makes equal what float64 tells apart.
    """
    status, place, found = machine.boxes(codes, picture, score=score, capacity=capacity,
                                         box=fit == "letterbox")
    tensors = {}
    for item in machine.build.manifest["outputs"]:
        pair = item["dequantize"]
        tensors[item["name"]] = ((codes[item["tensor"]].astype(np.int32) - pair["zero_point"])
                                 .astype(np.float32) * np.float32(pair["scale"]))
    expected = locate(heads, tensors, place, score=score, overlap=0.45, capacity=capacity)
    assert np.array_equal(found["class"], expected.classes)
    assert found["score"].tobytes() == expected.scores.astype("<f4").tobytes()
    assert found["box"].tobytes() == expected.boxes.astype("<f4").tobytes()
    assert status == (capacity < 4096)
    if photo:
        placement = Placement(float(place.scale[0]), float(place.scale[1]), *place.origin, 0, 0)
        input_size = machine.build.tensors[machine.build.manifest["inputs"][0]["tensor"]].shape[2:]
        exact = locate64(heads, tensors, input_size=(input_size[0], input_size[1]),
                         placement=placement, picture_size=picture, score=score)
        assert np.array_equal(found["class"], exact.classes)
        assert np.allclose(found["score"], exact.scores, rtol=3e-7, atol=0)
        assert np.allclose(found["box"], exact.boxes, rtol=0, atol=4e-7 * max(picture))
    return found


def random_heads(machine: Host, rng: np.random.Generator) -> dict[str, npt.NDArray[np.generic]]:
    places = [machine.build.tensors[item["tensor"]] for item in machine.build.manifest["outputs"]]
    return {place.name: n.codes(rng, place.dtype, *place.shape) for place in places}


def test_boxes_of_random_heads_are_numpys(tiny: Host) -> None:
    heads, rng = parse_heads(TINY, "it"), np.random.default_rng(2)
    for seed in range(20):
        codes = random_heads(tiny, rng)
        size = tuple(int(v) for v in rng.integers(1, 2000, 2))
        found = compare(tiny, heads, codes, size, score=float(rng.uniform(0, 0.6)),
                        fit=("letterbox", "stretch")[seed % 2])
        assert len(found) > 10


def test_the_best_candidates_are_used_if_there_is_no_room_for_all(tiny: Host) -> None:
    heads, codes = parse_heads(TINY, "it"), random_heads(tiny, np.random.default_rng(3))
    for capacity in (1, 2, 7, 40):
        assert 0 < len(compare(tiny, heads, codes, (64, 64), score=0.01,
                               capacity=capacity)) <= capacity


def test_equal_scores_keep_their_order(tiny: Host) -> None:
    heads, codes = parse_heads(TINY, "it"), random_heads(tiny, np.random.default_rng(4))
    for value in codes.values():
        for anchor in range(3):
            value[0, 9 * anchor + 4:9 * anchor + 9] = np.iinfo(value.dtype).max
    for capacity in (3, 50, 4096):
        compare(tiny, heads, codes, (64, 64), score=0.1, capacity=capacity)


@pytest.mark.parametrize(("limits", "capacity", "status"), [
    ((-0.1, 0.45), 8, 2), ((1.5, 0.45), 8, 2), ((float("nan"), 0.45), 8, 2), ((0.2, 2.0), 8, 2),
    ((0.2, 0.45), 0, 2), ((0.2, 0.45), 8, 0)])
def test_bad_limits_are_refused(squares: Host, limits: tuple[float, float], capacity: int,
                                status: int) -> None:
    given = struct.pack("<6Iff", 64, 64, 64, 64, 1, capacity, *limits)
    window = np.full(squares.build.image.activation_bytes, 0x80, np.uint8)
    _, out = squares.run("boxes", given + window.tobytes())
    assert struct.unpack_from("<II", out, 24) == (status, 0)


def test_pictures_without_size_are_refused(squares: Host) -> None:
    for sizes in ((0, 64, 64, 64), (64, 64, 64, 65536)):
        given = struct.pack("<6Iff", *sizes, 1, 8, 0.2, 0.45)
        assert squares.run("boxes", given + squares.window().tobytes())[0] == 4


def test_pictures_are_placed_as_sim_places_them(squares: Host) -> None:
    from PIL import Image

    rng = np.random.default_rng(5)
    ties = [(128, 101), (128, 103), (101, 128), (103, 128), (1000, 1), (1, 1000)]
    for size in [*ties, *(tuple(map(int, rng.integers(1, 700, 2))) for _ in range(40))]:
        _, place, _ = squares.boxes({}, size, score=1.0)
        _, expected = letterbox(Image.new("L", size), (64, 64))
        assert place.origin == (expected.left, expected.top) and place.size == size
        assert place.scale == (np.float32(expected.scale_x), np.float32(expected.scale_y))


@pytest.mark.e2e
@pytest.mark.parametrize(("folder", "model"), [
    ("yolo-fastest-1.1-coco", "yolo-fastest-1.1_int8_qop"),
    ("yolov4-tiny-voc", "yolov4-tiny-416_int8_qop"),
    ("yolov4-tiny-aix2023", "yolov4-tiny-aix2023_int8_qop_perchannel")])
def test_boxes_of_photos_are_those_of_sim_detect(tmp_path: Path, folder: str, model: str) -> None:
    meta = data(f"models/{folder}/meta.json")
    machine = host(data(f"models/{folder}/{model}.onnx"), tmp_path, meta, target="ulx3s-85f",
                   flags=["-O2"])
    heads, total = parse_heads(meta.read_text(), "it"), 0
    golden = Golden(machine.build.model)
    size = golden.inputs[0].shape[2:]
    for path in sorted(data("images/coco_val2017").glob("*.jpg"))[:16]:
        image = read_picture(path)
        planes, _ = place_picture(image, (size[0] or 0, size[1] or 0), heads.fit)
        outputs = golden.run({golden.inputs[0].name: network_input(planes)})
        codes = {}
        for item in machine.build.manifest["outputs"]:
            pair = item["dequantize"]
            place = machine.build.tensors[item["tensor"]]
            codes[item["tensor"]] = quantize(outputs[item["name"]], **pair, dtype=place.dtype)
        for score in (0.25, 0.01):
            total += len(compare(machine, heads, codes, image.size, score=score, fit=heads.fit,
                                 photo=True))
    assert total > 50
