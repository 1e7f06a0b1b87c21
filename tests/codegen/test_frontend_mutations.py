"""Well-formed models with absurd contents: imported or refused, never anything else."""

import time
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from codegen.errors import CodegenError
from codegen.frontend.importer import import_model
from tests import onnx_nodes as n
from tests.codegen.test_frontend_chains import chain, random_network

_NUMBERS = (-2**63, -2**31, -7, -1, 0, 1, 2, 3, 4, 5, 8, 100, 4096, 2**20, 2**31, 2**62, 2**63 - 1)
_FLOATS = (0.0, -0.0, -1.0, 1e-45, 1e-38, 0.5, 3e38, float("inf"), float("nan"))
_TYPES = (np.float32, np.float64, np.int8, np.uint8, np.int32, np.int64, np.bool_)


def models(rng: np.random.Generator) -> onnx.ModelProto:
    """Draw a model that is accepted."""
    w = n.codes(rng, np.int8, 4, 4, 3, 3)
    chained = [n.node("Slice", ["v", "starts", "ends", "axes", "steps"], ["a"]),
               n.node("Clip", ["a", "low", "high"], ["b"]), n.node("Mul", ["a", "b"], ["c"]),
               n.node("Reshape", ["c", "shape"], ["w"])]
    constants = {"starts": np.array([1]), "ends": np.array([3]), "axes": np.array([1]),
                 "steps": np.array([1]), "shape": np.array([1, -1, 8]), "low": np.float32(0),
                 "high": np.float32(6)}
    x = {"x": (np.int8, (1, 4, 8, 8))}
    match rng.integers(9):
        case 0:
            return random_network(rng)
        case 1:
            return n.conv((1, 4, 8, 8), w, rng=rng, strides=(2, 1), pads=(1, 0, 1, 0), group=1,
                          auto_pad="NOTSET", dilations=(1, 1), kernel_shape=(3, 3))
        case 2:
            return chain(chained, "w", constants=constants)
        case 3:
            return n.binary("QLinearAdd", (1, 4, 8, 8), n.codes(rng, np.int8, 1, 4, 1, 1), rng=rng)
        case 4:
            return n.pool("QLinearAveragePool", (1, 4, 8, 8), rng=rng, kernel_shape=(2, 2),
                          strides=(2, 2), pads=(0, 0, 0, 0), ceil_mode=0, count_include_pad=1)
        case 5:
            return n.matmul((3, 6), n.codes(rng, np.int8, 5, 6), rng=rng, gemm=True, bias=True,
                            transA=0, transB=1, alpha=1.0)
        case 6:
            return n.concat([(1, 4, 8, 8), (1, 2, 8, 8)], rng=rng, equal=[0])
        case 7:
            return n.model([n.node("Pad", ["x", "pads", "value"], ["p"], mode="constant"),
                            n.node("Resize", ["p", "", "", "sizes"], mode="nearest")], x,
                           {"pads": np.array((0, 0, 1, 1, 0, 0, 0, 0)), "value": np.int8(3),
                            "sizes": np.array((1, 4, 18, 18))})
    return n.model([n.node("Split", ["x", "split"], ["a", "b"], axis=1),
                    n.node("Transpose", ["a"], ["t"], perm=(0, 2, 3, 1)),
                    n.node("Squeeze", ["t", "axes"], ["s"]), n.node("Unsqueeze", ["s", "axes"]),
                    n.node("MaxPool", ["b"], ["z"], kernel_shape=(2, 2), ceil_mode=1)], x,
                   {"split": np.array([1, 3]), "axes": np.array([0])}, outputs=("y", "z"))


def mutate(proto: onnx.ModelProto, rng: np.random.Generator) -> None:
    """Change one thing that a program can write and a person would not."""
    def pick(items: Any) -> Any:
        return items[int(rng.integers(len(items)))]

    graph, node = proto.graph, pick(proto.graph.node)
    match rng.integers(8):
        case 0 | 1 if node.attribute:
            attribute = pick(node.attribute)
            if attribute.type == onnx.AttributeProto.INTS and rng.random() < 0.8:
                values = list(attribute.ints)
                values[int(rng.integers(len(values)))] = pick(_NUMBERS)
                if rng.random() < 0.2:
                    values = values[1:]
                attribute.ClearField("ints")
                attribute.ints.extend(values)
            elif attribute.type == onnx.AttributeProto.STRING:
                attribute.s = pick((b"", b"VALID", b"SAME_LOWER", b"linear", b"\xff", b"reflect"))
            elif attribute.type == onnx.AttributeProto.FLOAT:
                attribute.f = pick(_FLOATS)
            elif attribute.type == onnx.AttributeProto.INT:
                attribute.i = pick(_NUMBERS)
            else:
                node.attribute.remove(attribute)
        case 2 | 3 if graph.initializer:
            item = pick(graph.initializer)
            array = onnx.numpy_helper.to_array(item).copy()
            with np.errstate(all="ignore"):
                if array.size and rng.random() < 0.5:
                    values = _FLOATS if array.dtype.kind == "f" else _NUMBERS
                    array.reshape(-1)[int(rng.integers(array.size))] = (
                        np.asarray(pick(values)).astype(array.dtype))
                else:
                    shape = pick(((), (0,), (1,), (2,), (1, 1), array.shape[:-1],
                                  (*array.shape, 1), array.shape[::-1]))
                    array = np.resize(array, shape).astype(
                        pick((array.dtype, array.dtype, pick(_TYPES))))
            item.CopyFrom(onnx.numpy_helper.from_array(np.ascontiguousarray(array).reshape(
                array.shape), item.name))
        case 4:
            names = [name for other in graph.node for name in (*other.input, *other.output)]
            if node.input:
                node.input[int(rng.integers(len(node.input)))] = pick([*names, ""])
        case 5:
            node.op_type = pick(graph.node).op_type if rng.random() < 0.5 else pick(
                ("Relu", "Concat", "Flatten", "Reshape", "Transpose", "MaxPool", "Identity", "Clip",
                 "Slice", "DequantizeLinear", "QuantizeLinear", "QLinearSigmoid"))
            node.domain = pick(("", n.MICROSOFT, "ai.onnx"))
        case 6:
            dims = graph.input[0].type.tensor_type.shape.dim
            if len(dims):
                pick(dims).dim_value = pick(_NUMBERS)
        case _:
            if len(node.input):
                del node.input[int(rng.integers(len(node.input))):]


@pytest.mark.parametrize("seed", range(10))
def test_absurd_model_is_imported_or_refused(seed: int, tmp_path: Path) -> None:
    rng = np.random.default_rng(seed)
    imported = refused = 0
    for _ in range(60):
        proto = models(rng)
        for _ in range(int(rng.integers(1, 3))):
            mutate(proto, rng)
        path = tmp_path / "m.onnx"
        path.write_bytes(proto.SerializeToString())
        start = time.monotonic()
        try:
            import_model(path)
            imported += 1
        except CodegenError as error:
            assert str(error)
            refused += 1
        assert time.monotonic() - start < 10
    assert refused > 10 and imported
