"""Comparison of an imported graph with ONNX Runtime, tensor by tensor."""

import zlib
from pathlib import Path

import numpy as np
import onnx
import pytest

from codegen import ir
from codegen.frontend.importer import import_model
from sim.golden import Golden
from tests import onnx_nodes as n
from tests.ir_eval import evaluate

__all__ = ["check", "compare", "imported", "rng"]


@pytest.fixture
def rng(request: pytest.FixtureRequest) -> np.random.Generator:
    """Numbers that differ from test to test, not from run to run."""
    return np.random.default_rng(zlib.crc32(request.node.name.encode()))


def imported(proto: onnx.ModelProto, folder: Path) -> ir.Graph:
    """Import a model by way of a file."""
    path = folder / "model.onnx"
    onnx.save(proto, path)
    return import_model(path)


def check(proto: onnx.ModelProto, folder: Path, rng: np.random.Generator) -> ir.Graph:
    """Import a model and compare every tensor with ONNX Runtime, on two random inputs."""
    graph, golden = imported(proto, folder), Golden(proto)
    for _ in range(2):
        compare(graph, golden, random_feeds(golden, rng))
    return graph


def random_feeds(golden: Golden, rng: np.random.Generator) -> dict[str, n.Array]:
    """Draw codes, or normal floats."""
    feeds = {}
    for item in golden.inputs:
        shape = [int(size or 0) for size in item.shape]
        feeds[item.name] = (n.codes(rng, item.dtype, *shape) if item.dtype != np.float32
                            else rng.normal(0, 1, shape).astype(np.float32))
    return feeds


def compare(graph: ir.Graph, golden: Golden, feeds: dict[str, n.Array]) -> int:
    """Assert that all tensors but those inside of chains are equal; return their elements."""
    want, got = golden.run(feeds), evaluate(graph, feeds)
    elements = 0
    for name, value in want.items():
        if name in graph.folded or name in feeds:
            continue
        assert (got[name].dtype, got[name].shape) == (value.dtype, value.shape), name
        wrong = np.argwhere(got[name] != value)
        assert not len(wrong), (name, len(wrong), value.size, wrong[0].tolist(),
                                got[name][tuple(wrong[0])], value[tuple(wrong[0])])
        elements += value.size
    return elements
