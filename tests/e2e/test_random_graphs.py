"""Random graphs of supported ops on random arrays with small memories: 0 mismatches."""

import tempfile
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import HealthCheck, Phase, given, settings, strategies as st

from codegen.errors import BuildError, UnsupportedModelError
from hw.spec.config import ArrayConfig
from tests.builds import build_folder, verify_folder
from tests.random_graphs import random_graph

#: What a random graph may be refused for: no array arithmetic reproduces these parameters, or the
#: drawn memories are smaller than one window.
_REASONS = ("The result must be proved equal to ONNX Runtime's for every input.",
            "needs more scratchpad")


@st.composite
def configurations(draw: st.DrawFn) -> ArrayConfig:
    rows, columns = (2 ** draw(st.integers(1, 4)) for _ in range(2))
    return ArrayConfig(
        rows=rows, columns=columns,
        scratchpad_words=draw(st.sampled_from([256, 512, 1024, 8192])),
        weight_words=rows * draw(st.sampled_from([4, 8, 32, 256])),
        accumulator_words=draw(st.sampled_from([4, 8, 16, 64, 256])),
        parameter_entries=draw(st.sampled_from([2, 4, 16])),
        table_slots=draw(st.sampled_from([1, 2, 4])),
        add_table_slots=draw(st.sampled_from([1, 2])),
        post_lanes=2 ** draw(st.integers(0, min(rows, columns).bit_length() - 1)),
        bus_bytes=draw(st.sampled_from([4, 8, 16])), queue_depth=draw(st.sampled_from([2, 4, 16])),
        weight_min=draw(st.sampled_from([-128, -127])))


def check(seed: int, nodes: int, config: ArrayConfig, keep: bool) -> int:
    """Compile and verify one graph; returns how many elements were compared."""
    model = random_graph(seed, nodes)
    if model is None:
        return 0
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "m.onnx"
        onnx.save(model, path)
        try:
            build = build_folder(path, Path(folder) / "b", config, keep_tensors=keep)
        except (UnsupportedModelError, BuildError) as refusal:
            assert any(reason in str(refusal) for reason in _REASONS), refusal
            return 0
        result = verify_folder(build, seed=seed, shuffles=[seed], races=True)
    assert result.total_mismatches == 0, [t for t in result.tensors if t.mismatches][:3]
    assert result.passed
    return result.compared_elements


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck),
          phases=[Phase.explicit, Phase.generate])
@given(seed=st.integers(0, 2 ** 32 - 1), nodes=st.integers(1, 9), config=configurations(),
       keep=st.booleans())
def test_random_graphs(seed: int, nodes: int, config: ArrayConfig, keep: bool) -> None:
    check(seed, nodes, config, keep)


@pytest.mark.e2e
def test_many_random_graphs() -> None:
    """The same with fixed seeds, and a count, so that refusals cannot hide everything."""
    rng = np.random.default_rng(0)
    done = 0
    for seed in range(150):
        rows, columns = (int(2 ** rng.integers(1, 5)) for _ in range(2))
        config = ArrayConfig(
            rows=rows, columns=columns, scratchpad_words=int(rng.choice([512, 1024, 8192])),
            weight_words=int(rows * rng.choice([4, 16, 256])),
            accumulator_words=int(rng.choice([4, 16, 64, 256])), parameter_entries=4,
            table_slots=2, post_lanes=int(min(rows, columns, 4)), bus_bytes=8, queue_depth=4)
        done += check(1000 + seed, 8, config, bool(seed % 2)) > 0
    assert done > 120
