"""Whole compilations: deterministic, complete, and refused with a message where they must be."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper

from codegen.__main__ import main
from codegen.compiler import compile_model, encode
from codegen.errors import BuildError
from codegen.lowered import Instruction
from hw.spec.config import PRESETS
from hw.spec.image import Image
from hw.spec.isa import Opcode
from tests import onnx_nodes as n
from tests.builds import build_folder, compile_zoo, verify_folder, zoo_model


def test_same_input_gives_the_same_bytes() -> None:
    first, second = compile_zoo(), compile_zoo()
    assert first.image == second.image
    assert json.dumps(first.manifest) == json.dumps(second.manifest)
    assert first.listing == second.listing
    assert (first.timeline, first.page) == (second.timeline, second.page)
    assert json.dumps(first.report) == json.dumps(second.report)


def test_listing_names_the_node_of_every_instruction() -> None:
    build = compile_zoo()
    lines = [line for line in build.listing.splitlines() if line and not line.startswith(";")]
    assert len(lines) == Image.from_bytes(build.image).instructions
    for layer in build.manifest["layers"]:
        for kernel in layer["kernels"]:
            assert f"\n; {kernel['name']}\n" in build.listing


def test_report_adds_up() -> None:
    report = compile_zoo().report
    layers = report["layers"]
    assert sum(layer["macs"] for layer in layers) == report["macs"]
    assert sum(layer["cycles"] for layer in layers) <= report["prediction"]["cycles"]
    assert report["ideal_cycles"] <= report["prediction"]["cycles"]
    cycles = [row["cycles"] for row in report["bandwidths"]]
    assert cycles == sorted(cycles, reverse=True), "more bandwidth must not be slower"
    kernels = [kernel for layer in layers for kernel in layer["kernels"]]
    proofs = [k["requantization"] for k in kernels if k["kind"] == "QLinearConv"]
    for what in ("macs", "instructions", "loaded_bytes", "stored_bytes"):
        assert sum(layer[what] for layer in layers) == sum(kernel[what] for kernel in kernels)
    assert len(proofs) == 21
    assert report["certified_channels"] == sum(p["channels"] for p in proofs)


def test_a_window_beyond_the_scratchpad_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    onnx.save(n.unary("QLinearLeakyRelu", (1, 4, 9, 9), rng=np.random.default_rng(0)), path)
    proto = onnx.load(path)
    proto.graph.node.append(n.node("MaxPool", ["y"], ["z"], kernel_shape=[9, 9]))
    proto.graph.output[0].name = "z"
    onnx.save(proto, path)
    config = replace(PRESETS["test-4x4"], scratchpad_words=64)
    with pytest.raises(BuildError) as refused:
        compile_model(path, config, target="x")
    assert str(refused.value) == (
        "node 'MaxPool_z' needs more scratchpad than the 64 words of this configuration; choose a "
        "larger one")


def test_activations_beyond_the_address_space_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    onnx.save(n.unary("QLinearLeakyRelu", (1, 48, 1024, 1024), rng=np.random.default_rng(0)),
              path)
    with pytest.raises(BuildError) as refused:
        compile_model(path, PRESETS["test-4x4"], target="x")
    assert str(refused.value) == (
        "activations must fit 67108864 bytes of memory, not 100663296; use a smaller input size, "
        "or build without --keep-tensors")


def test_numbers_beyond_a_field_are_refused_by_name() -> None:
    instruction = Instruction(opcode=Opcode.LOAD_LINEAR, kernel="conv7", fields={
        "wait": 0, "signal": 0, "target": 0, "address": 1 << 26, "dst": 0, "count": 1})
    with pytest.raises(BuildError) as refused:
        encode([instruction], PRESETS["test-4x4"])
    assert str(refused.value) == (
        "node 'conv7' must fit the instructions of this configuration; LOAD_LINEAR: field "
        "'address' must be in 0..67108863 bytes, not 67108864")


def test_a_falling_table_behind_a_pool_is_not_moved_before_it(tmp_path: Path) -> None:
    """conv, pool, table, falling table: maxima are taken before the last."""
    rng = np.random.default_rng(3)
    proto = n.conv((1, 3, 8, 8), n.codes(rng, np.int8, 5, 3, 3, 3), rng=rng, pads=[1, 1, 1, 1])
    first, second = (n.unary("QLinearLeakyRelu", (1, 5, 4, 4), rng=rng, alpha=alpha)
                     for alpha in (0.5, -0.7))
    proto.graph.node.append(n.node("MaxPool", ["y"], ["p"], kernel_shape=[2, 2], strides=[2, 2]))
    for i, (part, x, y) in enumerate(((first, "p", "q"), (second, "q", "z"))):
        names = {c.name: f"c{i}_{c.name}" for c in part.graph.initializer}
        for constant in part.graph.initializer:
            constant.name = names[constant.name]
            proto.graph.initializer.append(constant)
        table = part.graph.node[0]
        table.input[:] = [x, *(names[i] for i in table.input[1:])]
        table.output[:] = [y]
        table.name = f"table{i}"
        proto.graph.node.append(table)
    proto.opset_import.extend(o for o in first.opset_import if o.domain)
    proto.graph.output[0].name = "z"
    path = tmp_path / "m.onnx"
    onnx.save(proto, path)
    for keep in (False, True):
        result = verify_folder(build_folder(path, tmp_path / f"b{keep}", keep_tensors=keep))
        assert result.total_mismatches == 0
    report = compile_model(path, PRESETS["test-4x4"], target="x").report
    assert [kernel["fused"] for layer in report["layers"] for kernel in layer["kernels"]] == [
        ["MaxPool_p", "table0"], []]


def test_layers_of_one_name_are_told_apart(tmp_path: Path) -> None:
    """Two inputs joined: a copy each, both for the one node."""
    proto = n.model([n.node("Concat", ["a", "b"], ["j"], axis=1),
                     n.node("QLinearLeakyRelu", ["j", "s", "zp", "s", "zp"], alpha=0.1)],
                    {"a": (np.int8, (1, 3, 4, 4)), "b": (np.int8, (1, 5, 4, 4))},
                    {"s": np.float32(0.1), "zp": np.int8(3)})
    path = tmp_path / "m.onnx"
    onnx.save(proto, path)
    build = build_folder(path, tmp_path / "b")
    layers = json.loads((tmp_path / "b" / "report.json").read_text())["layers"]
    assert [(layer["name"], layer["instructions"]) for layer in layers] == [
        ("Concat_j", 3), ("Concat_j#2", 3), ("the_QLinearLeakyRelu", 4)]
    assert verify_folder(build).passed


def test_channels_last_inputs_are_written_in_order(tmp_path: Path) -> None:
    rng = np.random.default_rng(5)
    proto = n.unary("QLinearLeakyRelu", (1, 3, 6, 5), rng=rng)
    proto.graph.node.insert(0, n.node("Transpose", ["image"], ["x"], perm=[0, 3, 1, 2]))
    proto.graph.input[0].CopyFrom(helper.make_tensor_value_info(
        "image", onnx.TensorProto.INT8, [1, 6, 5, 3]))
    path = tmp_path / "m.onnx"
    onnx.save(proto, path)
    result = verify_folder(build_folder(path, tmp_path / "b", keep_tensors=True))
    assert result.passed
    assert {t.name for t in result.tensors if t.mismatches == 0} == {"image", "x", "y"}


def test_command_line_builds_and_prints(tmp_path: Path, capsys: pytest.CaptureFixture[str]
                                        ) -> None:
    out = tmp_path / "b"
    model = zoo_model("yolov4-tiny-eighth-64")
    assert main(["build", str(model), "--target", "test-4x4", "-o", str(out)]) == 0
    printed = capsys.readouterr().out
    assert "output channels proved exact" in printed
    assert sorted(p.name for p in out.iterdir()) == [
        "listing.txt", "manifest.json", "model.onnx", "program.bin", "report.html", "report.json",
        "timeline.json"]


def test_brackets_in_names_are_printed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What looks like markup to the library that prints is a name."""
    proto = n.unary("QLinearLeakyRelu", (1, 4, 4, 4), rng=np.random.default_rng(0))
    proto.graph.name, proto.graph.node[0].name = "net[/bold]", "[red]node[/]"
    path = tmp_path / "m.onnx"
    onnx.save(proto, path)
    assert main(["build", str(path), "-o", str(tmp_path / "b")]) == 0
    printed = capsys.readouterr().out
    assert "net[/bold] on ulx3s-85f" in printed and "[red]node[/]" in printed


@pytest.mark.parametrize(("arguments", "message"), [
    (["build", "nowhere.onnx"], "nowhere.onnx"),
    (["build", "{model}", "--rows", "3"], "rows must be a power of two in 2..64, not 3"),
    (["build", "{model}", "--target", "test-4x4", "-o", "{file}"], "{file}"),
    (["build", "{text}"], "{text}"),
])
def test_errors_are_one_paragraph_and_nothing_is_written(
        arguments: list[str], message: str, tmp_path: Path,
        capsys: pytest.CaptureFixture[str]) -> None:
    names = {"model": str(zoo_model("yolov4-tiny-eighth-64")), "file": str(tmp_path / "file"),
             "text": str(tmp_path / "text.onnx")}
    (tmp_path / "file").write_text("in the way")
    (tmp_path / "text.onnx").write_text("not a model\n" * 10)
    arguments = [a.format(**names) for a in arguments]
    if "-o" not in arguments:
        arguments += ["-o", str(tmp_path / "out")]
    assert main(arguments) == 1
    captured = capsys.readouterr()
    assert captured.err.startswith("error: ")
    assert message.format(**names) in captured.err
    assert "Traceback" not in captured.err
    assert sorted(p.name for p in tmp_path.iterdir()) == ["file", "text.onnx"]
