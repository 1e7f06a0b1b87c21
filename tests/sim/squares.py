"""A network that finds red and blue squares, and pictures of them: detection with known results.

The network is exact by construction, not trained: three convolutions average 8 x 8 pixels, a
fourth makes of a cell's mean colour the numbers of a YOLO head. Pictures are grey, with squares
that fill cells. ``python -m tests.sim.squares FOLDER`` writes network and picture to files.
"""

import json
import sys
from functools import lru_cache
from pathlib import Path
from typing import TypeAlias

import numpy as np
import onnx
from onnx import helper, numpy_helper
from PIL import Image, ImageDraw

from codegen.quantize.static import Variant, quantize
from hw.spec.heads import METADATA_KEY
from sim.golden import Golden
from sim.pictures.fit import fit_picture, network_input

__all__ = ["CELL", "HEADS", "NAMES", "SIZE", "Mark", "example", "float_model", "picture",
           "quantized_model", "write"]

Mark: TypeAlias = tuple[int, tuple[int, int, int, int]]
"""Class and box of a square."""

SIZE = 64
CELL = 8
NAMES = ("red", "blue")
HEADS = {"heads": [{"output": "head", "stride": CELL, "anchors": [[CELL, CELL]], "classes": 2}],
         "fit": "letterbox"}


@lru_cache
def float_model(gain: float = 20.0) -> onnx.ModelProto:
    """Input images float32[1, 3, 64, 64], output head float32[1, 7, 8, 8]; ``gain`` sets scores."""
    nodes, constants = [], []

    def conv(x: str, y: str, weight: np.ndarray, bias: np.ndarray, stride: int) -> None:
        constants.extend([numpy_helper.from_array(weight.astype(np.float32), f"{y}.weight"),
                          numpy_helper.from_array(bias.astype(np.float32), f"{y}.bias")])
        nodes.append(helper.make_node("Conv", [x, f"{y}.weight", f"{y}.bias"], [y], name=y,
                                      kernel_shape=weight.shape[2:], strides=[stride] * 2))

    x = "images"
    for step in range(3):
        mean = np.zeros((3, 3, 2, 2))
        mean[range(3), range(3)] = 0.25
        conv(x, f"mean{step}", mean, np.zeros(3), 2)
        x = f"mean{step}"
    weight = np.zeros((7, 3, 1, 1))
    weight[4, :, 0, 0] = gain * np.array([1, -2, 1])   # neither grey nor green
    weight[5, :, 0, 0] = gain * np.array([1, 0, -1])
    weight[6] = -weight[5]
    conv(x, "head", weight, np.array([0, 0, 0, 0, -gain / 2, 0, 0]), 1)
    graph = helper.make_graph(
        nodes, "squares",
        [helper.make_tensor_value_info("images", onnx.TensorProto.FLOAT, [1, 3, SIZE, SIZE])],
        [helper.make_tensor_value_info("head", onnx.TensorProto.FLOAT, [1, 7, 8, 8])], constants)
    model = helper.make_model(graph, ir_version=8, opset_imports=[helper.make_opsetid("", 13)])
    helper.set_model_props(model, {METADATA_KEY: json.dumps(HEADS)})
    return model


@lru_cache
def quantized_model(gain: float = 20.0) -> onnx.ModelProto:
    """The same in QOperator form."""
    model, ranges = float_model(gain), dict[str, tuple[float, float]]()
    golden = Golden(model)
    for seed in range(4):
        image, _ = picture(seed)
        x = network_input(fit_picture(image, (SIZE, SIZE), "letterbox"))
        for name, value in golden.run({"images": x}).items():
            low, high = ranges.get(name, (0.0, 0.0))
            ranges[name] = (min(low, float(value.min())), max(high, float(value.max())))
    return quantize(model, ranges, variant=Variant())


def picture(seed: int, *, width: int = 128, height: int = 64) -> tuple[Image.Image, list[Mark]]:
    """Draw 1..4 squares; returns the picture, and class and box of each.

    The longer side is 64 n, the other a multiple of 16 n: so squares that fill cells of the
    letterboxed input are whole pixels.
    """
    rng = np.random.default_rng(seed)
    side = CELL * max(width, height) // SIZE
    columns, rows = width // side, height // side
    image = Image.new("RGB", (width, height), (114, 114, 114))
    pen, marks = ImageDraw.Draw(image), []
    for cell in rng.choice(columns * rows, rng.integers(1, 5), replace=False):
        x, y = int(cell) % columns * side, int(cell) // columns * side
        index = int(rng.integers(2))
        pen.rectangle((x, y, x + side - 1, y + side - 1), fill=NAMES[index])
        marks.append((index, (x, y, x + side, y + side)))
    return image, marks


def example() -> tuple[Image.Image, list[Mark]]:
    """The picture that ``write`` writes."""
    return picture(0, width=320, height=160)


def write(folder: Path) -> None:
    """Write float.onnx, int8.onnx, names (of the classes), and a.png, the example."""
    folder.mkdir(parents=True, exist_ok=True)
    onnx.save(float_model(), folder / "float.onnx")
    onnx.save(quantized_model(), folder / "int8.onnx")
    (folder / "names").write_text("\n".join(NAMES))
    example()[0].save(folder / "a.png")


if __name__ == "__main__":
    write(Path(sys.argv[1]))
