"""codegen.quantize.static: what ONNX Runtime's quantizer makes, but for dead channels."""

from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
import pytest
from onnx import helper, numpy_helper
from onnxruntime.quantization import QuantFormat, QuantType, quantize_static

from codegen.__main__ import main
from codegen.errors import QuantizeError, UnsupportedModelError
from codegen.frontend.importer import import_model
from codegen.quantize import static
from codegen.quantize.images import PictureSet, picture_files
from codegen.quantize.prepare import prepare
from codegen.quantize.ranges import measure
from codegen.quantize.static import Variant, quantize
from tests.darknet import write_network, write_pictures

X = np.random.default_rng(0).random((1, 4, 6, 6), np.float32) * 8


def conv_model(weight: npt.NDArray[np.float32], bias: npt.NDArray[np.float32]) -> onnx.ModelProto:
    """One 1x1 convolution of 4 channels."""
    x, y = (helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [1, channels, 6, 6])
            for name, channels in (("x", 4), ("y", len(bias))))
    node = helper.make_node("Conv", ["x", "w", "b"], ["y"], "conv", kernel_shape=[1, 1])
    constants = [numpy_helper.from_array(value, name)
                 for name, value in (("w", weight), ("b", bias))]
    return helper.make_model(helper.make_graph([node], "g", [x], [y], constants), ir_version=8,
                             opset_imports=[helper.make_opsetid("", 13)])


def run(model: onnx.ModelProto) -> npt.NDArray[np.float32]:
    session = onnxruntime.InferenceSession(model.SerializeToString())
    [y] = session.run(None, {session.get_inputs()[0].name: X})
    return np.asarray(y)


def constants(model: onnx.ModelProto) -> dict[str, npt.NDArray[np.generic]]:
    return {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}


@pytest.mark.parametrize("per_channel", [False, True])
@pytest.mark.parametrize("unsigned", [False, True])
def test_is_what_quantize_static_makes(tmp_path: Path, per_channel: bool, unsigned: bool) -> None:
    """The same pictures, but ranges measured here or there: equal graphs and constants."""
    cfg, weights = write_network(tmp_path)
    assert main(["darknet", str(cfg), str(weights), "-o", str(tmp_path / "float.onnx")]) == 0
    files = picture_files(write_pictures(tmp_path / "pictures", 3))
    model = prepare(tmp_path / "float.onnx")
    pictures = PictureSet(files, model.shape, "letterbox")
    black_and_white = np.zeros(model.shape, np.float32)  # the whole range of the input
    black_and_white[0, 0, 0, 0] = 1
    inputs = [*pictures.inputs(), black_and_white]
    pictures.inputs = lambda: iter(inputs)  # type: ignore[method-assign]
    ranges = measure(model, pictures, "minmax", lambda *_: None)
    found = quantize(model.proto, ranges, variant=Variant(
        per_channel=per_channel, unsigned_activations=unsigned))
    queue = iter([{model.input: x} for x in inputs])

    class Reader:
        def get_next(self) -> dict | None:
            return next(queue, None)

    kind = QuantType.QUInt8 if unsigned else QuantType.QInt8
    quantize_static(tmp_path / "float.onnx", tmp_path / "expected.onnx", Reader(),
                    quant_format=QuantFormat.QOperator, per_channel=per_channel,
                    activation_type=kind, weight_type=QuantType.QInt8)
    expected = onnx.load(tmp_path / "expected.onnx")
    assert found.graph.node == expected.graph.node
    mine, theirs = constants(found), constants(expected)
    assert mine.keys() == theirs.keys()
    for name, value in theirs.items():
        assert np.array_equal(mine[name], value) and mine[name].dtype == value.dtype, name
    assert [p.key for p in found.metadata_props] == ["macrame.heads"]
    assert found.metadata_props == model.proto.metadata_props
    assert not found.producer_name and not found.graph.value_info


@pytest.mark.parametrize("per_channel", [False, True])
@pytest.mark.parametrize("factor", [0.0, 1e-45, 1e-20, 1e-9, 1e-5])
def test_channels_that_are_all_bias_keep_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                            per_channel: bool, factor: float) -> None:
    weight = np.random.default_rng(1).normal(0, 0.3, (5, 4, 1, 1)).astype(np.float32)
    bias = np.array([0.5, -7.25, 0, 3, -0.01], np.float32)
    weight[1:3 if per_channel else 5] *= np.float32(factor)
    weight[0] *= np.float32(1 if per_channel else factor)
    model = conv_model(weight, bias)
    y = run(model)
    ranges = {"x": (0.0, 8.0), "y": (float(y.min()), float(y.max()))}
    variant = Variant(per_channel=per_channel)
    quantized = quantize(model, ranges, variant=variant)
    step = (ranges["y"][1] - ranges["y"][0]) / 255
    assert np.abs(run(quantized) - y)[0, [1, 2]].max() <= 0.51 * step
    assert np.abs(run(quantized) - y).max() <= 2 * step
    path = tmp_path / "model.onnx"
    onnx.save(quantized, path)
    import_model(path)
    if factor > 1e-40:  # with the scales that the quantizer finds by itself:
        monkeypatch.setattr(static, "weight_floors", lambda _: {})
        onnx.save(quantize(model, ranges, variant=variant), path)
        with pytest.raises(UnsupportedModelError, match="must be proved equal to ONNX Runtime's"):
            import_model(path)


def test_a_network_that_is_all_bias_is_accepted(tmp_path: Path,
                                                monkeypatch: pytest.MonkeyPatch) -> None:
    """By itself the quantizer takes the scale 1, which rescales accumulators by more than 2."""
    path = tmp_path / "model.onnx"
    model = conv_model(np.zeros((2, 4, 1, 1), np.float32), np.array([0.25, -0.75], np.float32))
    for per_channel in (False, True):
        quantized = quantize(model, {"x": (0.0, 800.0), "y": (-0.75, 0.25)},
                             variant=Variant(per_channel=per_channel))
        assert np.abs(run(quantized) - run(model)).max() <= 1 / 255 / 2
        onnx.save(quantized, path)
        import_model(path)
    monkeypatch.setattr(static, "weight_floors", lambda _: {})
    onnx.save(quantize(model, {"x": (0.0, 800.0), "y": (-0.75, 0.25)}, variant=Variant()), path)
    with pytest.raises(UnsupportedModelError, match="conv_quant"):
        import_model(path)


def test_healthy_channels_are_left_alone() -> None:
    weight = np.random.default_rng(1).normal(0, 0.3, (3, 4, 1, 1)).astype(np.float32)
    bias = np.zeros(3, np.float32)
    ranges = {"x": (0.0, 8.0), "y": (-5.0, 5.0)}
    whole = constants(quantize(conv_model(weight, bias), ranges, variant=Variant(per_channel=True)))
    weight[1] = 0
    dead = constants(quantize(conv_model(weight, bias), ranges, variant=Variant(per_channel=True)))
    assert (whole["w_scale"] == dead["w_scale"]).tolist() == [True, False, True]
    assert dead["w_scale"][1] == 10 / 8 * 2.0**-15


def test_names_what_onnx_runtime_cannot_quantize(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise KeyError("conv")

    monkeypatch.setattr(static, "quantize_static", refuse)
    model = conv_model(np.ones((1, 4, 1, 1), np.float32), np.zeros(1, np.float32))
    with pytest.raises(QuantizeError, match="^ONNX Runtime cannot quantize the model: 'conv'$"):
        quantize(model, {}, variant=Variant())
