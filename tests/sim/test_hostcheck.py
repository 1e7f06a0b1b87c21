"""sim.hostcheck and sim.doctor: what they find when ONNX Runtime is right, and when it is not."""

import io
import json

import numpy as np
import pytest
from rich.console import Console

from sim import doctor, hostcheck
from sim.doctor import cpu_flags, run_doctor
from sim.errors import SimError
from sim.golden import Golden
from sim.hostcheck import CASES, Canary, NodeCheck, canary, check_nodes
from sim.inputs import load_input
from tests.data import data
from tests.sim.test_golden import X, example

MODELS = (
    "yolov4-tiny-voc/yolov4-tiny-416_int8_qop", "yolov4-tiny-voc/yolov4-tiny-416_int8_qop_u8act",
    "yolov4-tiny-voc/yolov4-tiny-416_int8_qop_perchannel",
    "yolov4-tiny-aix2023/yolov4-tiny-aix2023_int8_qop",
    "yolov4-tiny-aix2023/yolov4-tiny-aix2023_int8_qop_perchannel",
    "yolov4-tiny-aix2023/yolov4-tiny-aix2023_int8_qop_slice",
    "yolo-fastest-1.1-coco/yolo-fastest-1.1_int8_qop", "qop/ece_v2_int8", "qop/mbv2_cifar10_int8",
)


def test_every_node_is_checked():
    golden = Golden(example())
    tensors = golden.run({"x": X})
    found = check_nodes(golden.model, tensors)
    assert found == [
        NodeCheck("quantize", "QuantizeLinear", "q", 4, 0, 0.0),
        NodeCheck("r", "QLinearLeakyRelu", "r", 4, 0, 0.0),
        NodeCheck("left", "Split", "left", 2, 0, 0.0),
        NodeCheck("left", "Split", "right", 2, 0, 0.0),
        NodeCheck("y", "DequantizeLinear", "y", 2, 0, 0.0),
    ]
    assert check_nodes(golden.model, tensors, threads=3) == found
    assert check_nodes(golden.model, tensors, only={"quantize"}) == found[:1]


def test_a_wrong_tensor_is_blamed_on_its_node_alone():
    golden = Golden(example())
    tensors = golden.run({"x": X})
    tensors["y"] = np.array([[-0.5, 7]], np.float32)
    tensors["right"] = tensors["right"].astype(np.int16)
    found = {check.output: check for check in check_nodes(golden.model, tensors)}
    assert found["y"] == NodeCheck("y", "DequantizeLinear", "y", 2, 1, 7.0)
    assert found["right"] == NodeCheck("left", "Split", "right", 2, 2, np.inf)
    assert sum(check.differing for check in found.values()) == 3


def test_refuses_a_node_without_exact_evaluation():
    golden = Golden(example())
    tensors = golden.run({"x": X})
    golden.model.graph.node[0].op_type = "Softmax"
    with pytest.raises(SimError, match="^node 'quantize' \\(Softmax\\) cannot be evaluated"):
        check_nodes(golden.model, tensors)
    assert len(check_nodes(golden.model, tensors, only={"r", "left", "y"})) == 4


def saturating(node, inputs, *, opset, entries=None):
    """Stand in for a processor that adds pairs of U8S8 products in 16 bits, with saturation."""
    if node.op_type != "QLinearMatMul" or inputs[0].dtype != np.uint8 or entries:
        return hostcheck.evaluate_node(node, inputs, opset=opset)
    a, one, _, b, *_, y_zero = inputs
    pairs = a.astype(np.int64)[:, ::2, None] * b[::2] + a.astype(np.int64)[:, 1::2, None] * b[1::2]
    total = np.clip(pairs, -32768, 32767).sum(1)
    scaled = np.rint(total.astype(np.float32) * inputs[4]) + int(y_zero)
    return [np.clip(scaled, 0, 255).astype(np.uint8)]


def test_canary_finds_saturation(monkeypatch):
    assert [item.case for item in canary()] == list(CASES)
    assert [item.differing for item in canary()] == [0, 0, 0, 0]
    monkeypatch.setattr(hostcheck, "run_node", saturating)
    assert canary(("u8s8",))[0].differing > 100


def test_canary_finds_another_rounding_of_sums(monkeypatch):
    def separate(node, inputs, *, opset, entries=None):
        a, s_a, z_a, b, s_b, z_b, s_c, z_c = inputs
        r_a, r_b = s_a / s_c, s_b / s_c
        z_a, z_b, z_c = (np.float32(int(zero)) for zero in (z_a, z_b, z_c))
        y = (z_c - (r_a * z_a + r_b * z_b)) + a.astype(np.float32) * r_a + b.astype(
            np.float32) * r_b
        limits = np.iinfo(a.dtype)
        return [np.clip(np.rint(y), limits.min, limits.max).astype(a.dtype)]
    monkeypatch.setattr(hostcheck, "run_node", separate)
    assert canary(("add",))[0].differing > 1000


def report(tmp_path):
    text = io.StringIO()
    status = run_doctor(Console(file=text, width=100), tmp_path / "doctor.json")
    return status, text.getvalue(), json.loads((tmp_path / "doctor.json").read_text())


def test_doctor_is_content_with_an_exact_host(tmp_path, monkeypatch):
    monkeypatch.setattr(doctor, "canary", lambda: [Canary(case, 9, 0) for case in CASES])
    status, text, written = report(tmp_path)
    assert status == written["status"] == 0
    assert "valid reference for every combination" in text
    assert written["canary"]["u8s8"] == {"elements": 9, "differing": 0}
    assert written["advice"] == {}


def test_doctor_says_what_to_do(tmp_path, monkeypatch):
    def faulty(cases=CASES, *, entries=None):
        return [Canary(case, 9, 5 if case == "u8s8" and not entries else 0) for case in cases]
    monkeypatch.setattr(doctor, "canary", faulty)
    status, text, written = report(tmp_path)
    assert status == written["status"] == 1
    assert "not a reference here" in text
    assert list(written["advice"]) == ["u8s8"]
    assert "Quantize with int8 activations" in text
    assert "session.x64quantprecision=1" in text


def test_cpu_flags(tmp_path):
    info = tmp_path / "cpuinfo"
    info.write_text("model name\t: x\nflags\t\t: fpu avx2 fma\n")
    assert cpu_flags(info)["avx2"] == "yes"
    assert cpu_flags(info)["avx512_vnni"] == "no"
    assert set(cpu_flags(tmp_path / "none").values()) == {"unknown"}


@pytest.mark.e2e
@pytest.mark.parametrize("model", MODELS)
def test_real_models_are_exact_on_this_host(model):
    golden = Golden(data(f"models/{model}.onnx"))
    item, = golden.inputs
    feeds = [load_input(data("images/darknet/dog.jpg"), seed=None, shape=item.shape),
             load_input(None, seed=1, shape=item.shape)]
    for feed in feeds:
        checks = check_nodes(golden.model, golden.run({item.name: feed}), threads=2)
        assert len(checks) >= len(golden.model.graph.node)
        assert [check for check in checks if check.differing] == []
