"""The report as a page: well-formed, nothing from elsewhere, names escaped, areas as stated."""

import re
from copy import deepcopy
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import onnx
import pytest

from codegen.compiler import Build, compile_model
from codegen.emit.chart import activity
from codegen.emit.page import page
from codegen.lowered import Instruction
from hw.spec.config import PRESETS
from hw.spec.isa import Opcode, Queue
from hw.spec.timing import Prediction, simulate
from tests import onnx_nodes as n
from tests.builds import compile_zoo
from tests.sim.program_builder import CONFIG, instruction, load, mac

#: Elements without end tag.
VOID = {"meta"}
EVIL = '</svg><script>alert("1")</script> & \'x\' \x01\u202e'


@pytest.fixture(scope="module")
def build() -> Build:
    return compile_zoo()


class Page(HTMLParser):
    """Elements in order, with attributes and text; fails where tags do not match."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.open: list[str] = []
        self.feed(text)
        self.close()
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append(data)

    def numbers(self, name: str, attribute: str) -> list[float]:
        """An attribute of all elements of class `name`."""
        return [float(found[attribute] or "") for _, found in self.elements
                if found.get("class") == name]


def test_areas_are_the_cycles_of_frame_and_array(build: Build) -> None:
    report, drawn = build.report, Page(build.page)
    layers = report["layers"]
    widths = drawn.numbers("time", "width")
    assert widths[:-1] == [layer["cycles"] for layer in layers]
    assert sum(widths) == report["prediction"]["cycles"], "the end of the frame is drawn as well"
    assert drawn.numbers("time", "height") == [1] * (len(layers) + 1)
    ideal = [w * h for w, h in zip(drawn.numbers("used", "width"), drawn.numbers("used", "height"))]
    assert ideal == pytest.approx([layer["ideal_cycles"] for layer in layers])
    assert sum(ideal) == pytest.approx(report["ideal_cycles"])
    starts = drawn.numbers("time", "x")
    assert starts == [sum(widths[:at]) for at in range(len(widths))], "without gaps"


def test_nothing_comes_from_elsewhere(build: Build) -> None:
    text = build.page
    elements = {tag for tag, _ in Page(text).elements}
    assert not elements & {"script", "link", "img", "iframe", "object", "use", "image", "a"}
    assert not re.search(r"https?:|url\(|@import|src=", text)
    assert '<meta http-equiv="Content-Security-Policy" content="default-src \'none\'; ' in text


def test_names_of_the_model_are_text(tmp_path: Path) -> None:
    proto = n.unary("QLinearLeakyRelu", (1, 8, 8, 8), rng=np.random.default_rng(0))
    proto.graph.name = f"net {EVIL}"
    proto.graph.node[0].name = f"node {EVIL}"
    path = tmp_path / "m.onnx"
    onnx.save(proto, path)
    text = compile_model(path, PRESETS["test-4x4"], target="test-4x4").page
    drawn = Page(text)
    assert {tag for tag, _ in drawn.elements}.isdisjoint({"script", "img"})
    assert text.count("<svg") == text.count("</svg>") == 6
    shown = EVIL.replace("\x01", "\\x01").replace("\u202e", "\\u202e")
    assert f"net {shown} on test-4x4" in drawn.texts
    assert f"node {shown}" in drawn.texts
    assert text.isprintable() or set(filter(lambda c: not c.isprintable(), text)) == {"\n"}


def test_every_layer_is_in_the_tables(build: Build) -> None:
    texts = Page(build.page).texts
    for number, layer in enumerate(build.report["layers"], 1):
        assert texts.count(str(number)) >= 2, "number in the table of layers, and of the search"
        for kernel in layer["kernels"]:
            assert any(kernel["name"] in text for text in texts)


def test_layers_without_work_are_drawn(tmp_path: Path) -> None:
    """Nothing to multiply, and nothing for the search to choose."""
    proto = n.unary("QLinearLeakyRelu", (1, 4, 2, 2), rng=np.random.default_rng(0))
    path = tmp_path / "m.onnx"
    onnx.save(proto, path)
    drawn = Page(compile_model(path, PRESETS["test-4x4"], target="x").page)
    assert drawn.numbers("used", "height") == [0]
    assert "none" in drawn.texts


def test_a_layer_may_take_no_cycles(build: Build) -> None:
    report = deepcopy(build.report)
    layer = report["layers"][3]
    layer |= {"cycles": 0, "utilization": 0.0, "limit": "latency"}
    layer["search"]["cost"] = 0.0
    p = simulate([], CONFIG, bytes_per_cycle=4, latency=20, instruction_bytes=48)
    Page(page(report, [], p))


def test_activity_adds_up_to_what_the_queues_did() -> None:
    code = (load(signal="M"), mac("L"), load(), load(), instruction(Opcode.END))
    p = simulate(code, CONFIG, bytes_per_cycle=1, latency=10, instruction_bytes=48)
    program = [Instruction(opcode=o, fields=f, kernel="k") for o, f in code]
    assert p.queues[Queue.LOAD].stall and p.queues[Queue.MAC].wait, "nothing to be seen"
    for bins in (1, 7, p.cycles):
        shares = activity(program, p, bins)
        for queue, states in shares.items():
            spent = p.queues[queue]
            for name, cycles in (("busy", spent.busy), ("waiting", spent.wait),
                                 ("stalled", spent.stall)):
                assert sum(states[name]) * p.cycles / bins == pytest.approx(cycles)
            assert max(map(sum, zip(*states.values()))) <= 1.01


def test_activity_is_where_it_happens() -> None:
    code = (load(signal="M"), mac("L"), instruction(Opcode.END))
    p: Prediction = simulate(code, CONFIG, bytes_per_cycle=4, latency=10, instruction_bytes=48)
    program = [Instruction(opcode=o, fields=f, kernel="k") for o, f in code]
    states = activity(program, p, p.cycles)[Queue.MAC]
    busy = [at for at, share in enumerate(states["busy"]) if share]
    waiting = [at for at, share in enumerate(states["waiting"]) if share]
    assert busy == list(range(p.starts[1], p.releases[1]))
    assert waiting == list(range(p.starts[1] - p.waits[1], p.starts[1]))
