"""Files that are no models, or bad ones: one clear paragraph, never a traceback."""

import hashlib
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from codegen.errors import CodegenError, ModelFileError
from codegen.frontend.importer import import_model, node_mapping
from codegen.frontend.load import load_model, model_bytes
from tests import onnx_nodes as n


@pytest.fixture
def proto() -> onnx.ModelProto:
    """A convolution and its activation."""
    rng = np.random.default_rng(0)
    made = n.conv((1, 3, 6, 7), n.codes(rng, np.int8, 4, 3, 3, 3), rng=rng, pads=(1, 1, 1, 1))
    made.graph.node[0].output[0] = "c"
    made.graph.node.append(n.node(
        "QLinearLeakyRelu", ["c", "y_scale", "y_zero_point", "x_scale", "x_zero_point"], alpha=0.1))
    return made


def write(path: Path, content: bytes) -> Path:
    """Write a file and return its path."""
    path.write_bytes(content)
    return path


def message(path: Path) -> str:
    """Return what the import of a file says, without the file's name; one line."""
    with pytest.raises(ModelFileError) as caught:
        import_model(path)
    text = str(caught.value)
    assert "\n" not in text and text.startswith(f"model file {str(path)!r}"), text
    return text.removeprefix(f"model file {str(path)!r}")


def test_files_that_are_no_models(tmp_path: Path, proto: onnx.ModelProto) -> None:
    content = proto.SerializeToString()
    cases: dict[str, bytes] = {
        ": must be an ONNX model, not empty": b"",
        ": not an ONNX model, or truncated: its 18 bytes are not a protobuf message":
            b"this is not a model"[:18],
        f": not an ONNX model, or truncated: its {len(content) - 9} bytes are not a protobuf "
        "message": content[:-9],
        ": not an ONNX model: it has no graph or no IR version":
            onnx.ModelProto(ir_version=8).SerializeToString(),
    }
    for expected, data in cases.items():
        assert message(write(tmp_path / "model.onnx", data)) == expected
    assert message(tmp_path) == ": must be a file, not a directory"
    assert message(tmp_path / "missing.onnx") == ": does not exist"
    os.mkfifo(tmp_path / "pipe")
    assert message(tmp_path / "pipe") == ": must be a regular file, not a device or pipe"
    assert message(Path("nul\0.onnx")).startswith(
        (" cannot be read: ", ": does not exist"))


def changed(proto: onnx.ModelProto, change: Callable[[Any], object]) -> bytes:
    """Return the bytes of a changed copy."""
    copy = onnx.ModelProto()
    copy.CopyFrom(proto)
    change(copy)
    return copy.SerializeToString()


def initializer(proto: onnx.ModelProto, name: str) -> Any:
    """Return an initializer."""
    return next(item for item in proto.graph.initializer if item.name == name)


def test_models_that_are_malformed(tmp_path: Path, proto: onnx.ModelProto) -> None:
    def huge(m: Any) -> None:
        w = initializer(m, "w")
        w.ClearField("raw_data")
        w.ClearField("dims")
        w.dims.extend([2**31, 1, 1, 1])

    def cases() -> dict[str, Callable[[Any], object]]:
        return {
            ": IR version must be 3..13, not 99": lambda m: setattr(m, "ir_version", 99),
            ": the model must import the ONNX operator set, not only ['com.microsoft']":
                lambda m: m.opset_import.__delitem__(0),
            ": ONNX operator set must be 10..26, not 9; onnx.version_converter.convert_version "
            "changes it": lambda m: setattr(m.opset_import[0], "version", 9),
            ": ONNX operator set must be 10..26, not 99; onnx.version_converter.convert_version "
            "changes it": lambda m: setattr(m.opset_import[0], "version", 99),
            ": tensor 'w' must have at most 2147483647 bytes, not the 2147483648 of its shape "
            "[2147483648, 1, 1, 1]": huge,
            ": tensor 'w' must have 216 bytes for its shape [8, 3, 3, 3], not 108":
                lambda m: initializer(m, "w").dims.__setitem__(0, 8),
            ": dimensions of tensor 'w' must not be negative, not [-4, 3, 3, 3]":
                lambda m: initializer(m, "w").dims.__setitem__(0, -4),
            ": elements of tensor 'w' must be integers or floats, not string":
                lambda m: setattr(initializer(m, "w"), "data_type", onnx.TensorProto.STRING),
            ": elements of tensor 'w' must be integers or floats, not type 77":
                lambda m: setattr(initializer(m, "w"), "data_type", 77),
            ": initializers must be dense, not sparse (1 are)":
                lambda m: m.graph.sparse_initializer.add(),
            ": tensor names must not begin with '%', which marks tensors of the compiler, not be "
            "'%c'": lambda m: (m.graph.node[0].output.__setitem__(0, "%c"),
                               m.graph.node[1].input.__setitem__(0, "%c")),
        }

    for expected, change in cases().items():
        assert message(write(tmp_path / "model.onnx", changed(proto, change))) == expected
    # What onnx.checker finds, in its words.
    for change in (lambda m: m.graph.node[0].output.__setitem__(0, "y"),
                   lambda m: m.graph.node[1].input.__setitem__(0, "nowhere"),
                   lambda m: m.graph.node[0].ClearField("op_type")):
        text = message(write(tmp_path / "model.onnx", changed(proto, change)))
        assert text.startswith(": onnx.checker refuses it: ") and len(text) < 600


def test_names_that_are_not_unicode_are_refused(tmp_path: Path, proto: onnx.ModelProto) -> None:
    proto.graph.node[0].name = "CONVOLUTION"
    content = proto.SerializeToString().replace(b"CONVOLUTION", b"CONV\xff\xfeUTION")
    assert message(write(tmp_path / "m.onnx", content)) == (
        ": names must be UTF-8, not b'CONV\\xff\\xfeUTION'")


def test_shape_that_the_file_states_must_be_the_one_the_node_makes(
        tmp_path: Path, proto: onnx.ModelProto) -> None:
    info = onnx.helper.make_tensor_value_info("c", onnx.TensorProto.INT8, [1, 4, 6, 9])
    path = write(tmp_path / "m.onnx", changed(proto, lambda m: m.graph.value_info.append(info)))
    with pytest.raises(ModelFileError) as caught:
        import_model(path)
    assert str(caught.value) == ("shape of tensor 'c' must be [1, 4, 6, 7], as its node makes it, "
                                 "not [1, 4, 6, 9]")
    info = onnx.helper.make_tensor_value_info("c", onnx.TensorProto.UINT8, ["N", 4, 6, 7])
    path = write(tmp_path / "m.onnx", changed(proto, lambda m: m.graph.value_info.append(info)))
    with pytest.raises(ModelFileError) as caught:
        import_model(path)
    assert str(caught.value) == ("type of tensor 'c' must be int8, as its node makes it, not uint8")


def external(proto: onnx.ModelProto, **entries: str) -> bytes:
    """Return a model whose weights are elsewhere."""
    def change(m: Any) -> None:
        w = initializer(m, "w")
        w.ClearField("raw_data")
        w.data_location = onnx.TensorProto.EXTERNAL
        for key, value in entries.items():
            w.external_data.add(key=key, value=value)
    return changed(proto, change)


def test_external_data_is_read_from_the_folder_of_the_model(tmp_path: Path,
                                                            proto: onnx.ModelProto) -> None:
    raw = initializer(proto, "w").raw_data
    (tmp_path / "sub").mkdir()
    write(tmp_path / "sub" / "weights.bin", b"1234" + raw + b"56")
    plain = import_model(write(tmp_path / "plain.onnx", proto.SerializeToString()))
    path = write(tmp_path / "m.onnx", external(proto, location="sub/weights.bin", offset="4",
                                               length=str(len(raw))))
    graph = import_model(path)
    np.testing.assert_array_equal(graph.ops[0].weights,  # type: ignore[attr-defined]
                                  plain.ops[0].weights)  # type: ignore[attr-defined]
    # The bytes that stand for the model need no other file, and are what the hash is of.
    whole = model_bytes(path)
    assert graph.model_sha256 == hashlib.sha256(whole).hexdigest()
    assert import_model(write(tmp_path / "whole.onnx", whole)).model_sha256 == graph.model_sha256
    assert model_bytes(tmp_path / "plain.onnx") == proto.SerializeToString()


def test_external_data_elsewhere_is_refused(tmp_path: Path, proto: onnx.ModelProto) -> None:
    folder = tmp_path / "models"
    folder.mkdir()
    outside = write(tmp_path / "secret", b"0" * 4096)
    (folder / "link").symlink_to(outside)
    write(folder / "short", b"0" * 100)
    (folder / "circle").symlink_to(folder / "circle")
    elsewhere = " must be a file in the model's folder, not"
    inside = f"{str(folder.resolve())!r}"
    cases = [
        ({"location": str(outside)},
         f" must be a file in the model's folder, not {str(outside)!r}"),
        ({"location": "../secret"}, " must be a file in the model's folder, not '../secret'"),
        ({"location": "a\\..\\..\\secret"},
         " must be a file in the model's folder, not 'a\\\\..\\\\..\\\\secret'"),
        ({"location": "C:\\secret"}, " must be a file in the model's folder, not 'C:\\\\secret'"),
        ({}, " must be a file in the model's folder, not ''"),
        ({"location": "link"}, f"{elsewhere} 'link', a link to {str(outside.resolve())!r}"),
        ({"location": "none"}, f" must be a file, but 'none' is none in {inside}"),
        ({"location": "."}, f" must be a file, but '.' is none in {inside}"),
        ({"location": "short"}, " must end inside 'short', which has 100 bytes, not at byte 108"),
        ({"location": "short", "length": "99"}, " must have 108 bytes, not 99"),
    ]
    for entries, expected in cases:
        path = write(folder / "m.onnx", external(proto, **entries))
        assert message(path) == ": external data of tensor 'w'" + expected
    path = write(folder / "m.onnx", external(proto, location="short", offset="-8"))
    assert message(path) == (": offset of external data of tensor 'w' must be a number, not '-8'")
    path = write(folder / "m.onnx", external(proto, location="circle"))
    assert message(path).startswith(": external data of tensor 'w' ")


def test_deep_nesting_is_refused(tmp_path: Path, proto: onnx.ModelProto) -> None:
    graph = onnx.GraphProto(name="g")
    for _ in range(300):
        outer = onnx.GraphProto(name="g")
        node = outer.node.add(op_type="If")
        attribute = node.attribute.add(name="then_branch", type=onnx.AttributeProto.GRAPH)
        attribute.g.CopyFrom(graph)
        graph = outer
    copy = onnx.ModelProto()
    copy.CopyFrom(proto)
    copy.graph.CopyFrom(graph)
    with pytest.raises(CodegenError):
        import_model(write(tmp_path / "m.onnx", copy.SerializeToString()))


@pytest.mark.parametrize("seed", range(8))
def test_damaged_file_is_imported_or_refused(seed: int, tmp_path: Path,
                                             proto: onnx.ModelProto) -> None:
    rng = np.random.default_rng(seed)
    content = np.frombuffer(proto.SerializeToString(), np.uint8)
    path, refused, start = tmp_path / "m.onnx", 0, time.monotonic()
    for _ in range(150):
        damaged = content.copy()
        match rng.integers(4):
            case 0:
                damaged = damaged[:rng.integers(1, len(damaged))]
            case 1:
                where = rng.integers(0, len(damaged), rng.integers(1, 4))
                damaged[where] ^= (1 << rng.integers(0, 8, len(where))).astype(np.uint8)
            case 2:
                where = rng.integers(0, len(damaged), rng.integers(1, 4))
                damaged[where] = rng.integers(0, 256, len(where))
            case 3:
                a, b = sorted(rng.integers(0, len(damaged), 2))
                damaged = np.concatenate([damaged[:a], damaged[b:], damaged[a:b]])
        path.write_bytes(damaged.tobytes())
        try:
            import_model(path)
            node_mapping(path)
        except CodegenError as error:
            assert str(error)
            refused += 1
    assert refused > 50 and time.monotonic() - start < 20


def test_loading_keeps_constants_exactly(tmp_path: Path, proto: onnx.ModelProto) -> None:
    bias = initializer(proto, "bias")
    values = onnx.numpy_helper.to_array(bias)
    bias.ClearField("raw_data")
    bias.int32_data.extend(values.tolist())
    model = load_model(write(tmp_path / "m.onnx", proto.SerializeToString()))
    np.testing.assert_array_equal(model.constants["bias"], values)
    assert model.constants["bias"].dtype == np.int32
    bias.int32_data.append(1)
    assert message(write(tmp_path / "m.onnx", proto.SerializeToString())) == (
        ": tensor 'bias' must have 4 elements for its shape [4], not 5")
