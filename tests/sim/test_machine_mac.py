"""What makes MACs fast: split float products and copies that are kept."""

import time
from dataclasses import replace

import numpy as np
import pytest

from hw.spec.config import PRESETS, ArrayConfig
from hw.spec.isa import Opcode
from sim.machine.cache import ConvertedWords
from sim.model import Machine
from tests.sim.program_builder import image, instruction, load, mac, store
from tests.sim.synthetic import YOLOV4_TINY, synthetic_image

BIG = ArrayConfig(rows=16, columns=4, scratchpad_words=4096, weight_words=4096,
                  accumulator_words=4, parameter_entries=2, post_lanes=1)


def test_the_largest_sums_are_exact() -> None:
    """256 passes of -128 * -128, beyond 2**24: float32 alone would lose the last bits."""
    fields = {"src_ring_words": 1, "src_row_stride": 1, "src_rows": 1, "src_columns": 1,
              "src_plane_stride": 1, "rows": 1, "columns": 1, "planes": 256}
    machine = Machine(image(mac(**fields), config=BIG))
    machine.state.scratchpad[:] = -128
    machine.state.weights[:] = -128
    machine.state.scratchpad[0, 0] = -127
    machine.state.weights[0, :] = -127
    machine.run()
    expected = 4095 * 128 * 128 + 127 * 127
    assert expected > 1 << 24 and expected % 2
    assert machine.state.accumulators[0].tolist() == [expected] * 4


@pytest.mark.parametrize("seed", range(5))
def test_noise_is_exact_in_any_split(seed: int) -> None:
    rng = np.random.default_rng(seed)
    fields = {"src_ring_words": 1, "src_row_stride": 1, "src_rows": 1, "src_columns": 1,
              "src_plane_stride": 1, "rows": 1, "columns": 1, "planes": 200 + seed}
    machine = Machine(image(mac(**fields), config=BIG))
    state = machine.state
    state.scratchpad[:] = rng.integers(-128, -90, state.scratchpad.shape)
    state.weights[:] = rng.integers(60, 128, state.weights.shape)
    machine.run()
    used = 16 * (200 + seed)
    expected = (state.scratchpad.reshape(-1)[:used].astype(np.int64)
                @ state.weights[:used].astype(np.int64))
    assert np.array_equal(state.accumulators[0], expected)


def test_copies_are_made_again_when_any_of_their_words_changes() -> None:
    """The same MAC after writes beside, and of each single word of, its input and weights."""
    for word in range(-1, 5):
        for lanes in (1, 4):
            program = image(
                mac(src_base=1), mac(src_base=1),
                load(rows=1, columns=1, dst_base=word + 1, lane_count=lanes, window=0),
                mac(src_base=1, accumulator=4),
                instruction(Opcode.LOAD_LINEAR, dst=max(0, word), count=1, address=4),
                mac(src_base=1, accumulator=8), constants=bytes([99, 98, 97, 96, 55, 54, 53, 52]))
            machine = Machine(program)
            rng = np.random.default_rng(word + 9)
            state = machine.state
            state.scratchpad[:8] = rng.integers(-90, 90, (8, 4))
            state.weights[:8] = rng.integers(-50, 50, (8, 4))
            inputs, weights = state.scratchpad[:8].astype(int), state.weights[:8].astype(int)
            machine.run()
            assert np.array_equal(state.accumulators[:4], inputs[1:5] @ weights[:4])
            inputs[word + 1, :lanes] = [99, 98, 97, 96][:lanes]
            assert np.array_equal(state.accumulators[4:8], inputs[1:5] @ weights[:4]), word
            weights[max(0, word)] = [55, 54, 53, 52]
            assert np.array_equal(state.accumulators[8:12], inputs[1:5] @ weights[:4]), word


def test_copies_differ_by_padding_and_geometry() -> None:
    program = image(*[mac(x0=-1, y0=y0, pad=pad, accumulator=4 * n)
                      for n, (y0, pad) in enumerate(((0, 3), (0, 4), (-1, 4), (0, 3)))])
    machine = Machine(program)
    machine.state.scratchpad[:4] = 1
    machine.state.weights[:4] = np.eye(4)
    machine.run()
    assert machine.state.accumulators[:16, 0].tolist() == [
        3, 1, 3, 1, 4, 1, 4, 1, 4, 4, 4, 1, 3, 1, 3, 1]


def test_least_recently_used_copies_are_dropped() -> None:
    stamps = np.zeros(4, np.int64)
    cache = ConvertedWords[str](stamps, capacity_bytes=20)
    made: list[str] = []

    def get(key: str) -> None:
        def make() -> tuple[str, int]:
            made.append(key)
            return key, 8
        assert cache.get(key, slice(0, 2), 0, make) == key

    for key in "abacab":
        get(key)
    assert made == ["a", "b", "c", "b"]


def test_rows_that_share_bytes_are_stored_in_order() -> None:
    machine = Machine(image(store(src_base=0, memory_row_stride=4)))
    machine.state.scratchpad[:4] = np.arange(4)[:, None]
    machine.run()
    assert machine.activations[:12].tolist() == [0] * 4 + [2] * 4 + [3] * 4


def test_a_frame_of_a_real_size_is_simulated_in_a_second_or_so() -> None:
    """3.46 GMAC in 4745 instructions: 0.35 s of CPU on one core; a limit with room for noise."""
    config = replace(PRESETS["ulx3s-85f"], parameter_entries=64)  # every layer has all of its own
    machine = Machine(synthetic_image(config, YOLOV4_TINY))
    machine.activations[:] = np.random.default_rng(0).integers(0, 256, len(machine.activations),
                                                               np.uint8)
    start = time.process_time()
    machine.run()
    assert time.process_time() - start < 4
    assert machine.races() == []
