"""Array configurations: what is refused, and what is derived."""

from dataclasses import replace

import pytest

from hw.spec.config import PRESETS, ArrayConfig, ConfigError, bits_for

CONFIG = PRESETS["test-4x4"]


@pytest.mark.parametrize("name", PRESETS)
def test_words_round_trip(name: str) -> None:
    config = PRESETS[name]
    assert ArrayConfig.from_words(config.words()) == config


def test_other_numbers_of_words_are_refused() -> None:
    count = len(CONFIG.words())
    for words in (CONFIG.words()[:-1], (*CONFIG.words(), 0)):
        with pytest.raises(ConfigError) as caught:
            ArrayConfig.from_words(words)
        assert str(caught.value) == f"a configuration must have {count} words, not {len(words)}"


@pytest.mark.parametrize(("changes", "message"), [
    ({"rows": 3}, "rows must be a power of two in 2..64, not 3"),
    ({"rows": 128}, "rows must be a power of two in 2..64, not 128"),
    ({"columns": 0}, "columns must be a power of two in 2..64, not 0"),
    ({"columns": 1}, "columns must be a power of two in 2..64, not 1"),
    ({"post_lanes": 3}, "post_lanes must be a power of two in 1..64, not 3"),
    ({"post_lanes": 8}, "post_lanes must be at most min(rows, columns) = 4, not 8"),
    ({"bus_bytes": 32}, "bus_bytes must be a power of two in 4..16, not 32"),
    ({"bus_bytes": 2}, "bus_bytes must be a power of two in 4..16, not 2"),
    ({"weight_min": -126}, "weight_min must be -128 or -127, not -126"),
    ({"scratchpad_words": 63}, "scratchpad_words must be in 64..1048576, not 63"),
    ({"weight_words": 15}, "weight_words must be in 16..1048576, not 15"),
    ({"accumulator_words": 3}, "accumulator_words must be in 4..65536, not 3"),
    ({"parameter_entries": 1}, "parameter_entries must be in 2..4096, not 1"),
    ({"table_slots": 0}, "table_slots must be in 1..64, not 0"),
    ({"add_table_slots": 17}, "add_table_slots must be in 1..16, not 17"),
    ({"queue_depth": 1}, "queue_depth must be in 2..256, not 1"),
])
def test_parameters_outside_their_range_are_refused(changes: dict[str, int],
                                                    message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        replace(CONFIG, **changes)
    assert str(caught.value) == message


@pytest.mark.parametrize(("rows", "columns", "groups", "planes"), [
    (4, 4, 1, 1), (4, 8, 1, 2), (8, 4, 2, 1), (16, 4, 4, 1), (4, 32, 1, 8)])
def test_drains_fill_bricks(rows: int, columns: int, groups: int, planes: int) -> None:
    config = replace(CONFIG, rows=rows, columns=columns, weight_words=1024)
    assert (config.lane_groups, config.planes_per_drain) == (groups, planes)
    assert config.channel_granule == max(rows, columns)
    assert config.macs_per_cycle == rows * columns


def test_sizes_of_the_board_preset() -> None:
    config = PRESETS["ulx3s-85f"]
    assert config.scratchpad_bytes == 208 * 1024
    assert config.weight_bytes == 64 * 1024
    assert config.accumulator_bytes == 64 * 1024
    assert config.parameter_entry_bytes == 128
    assert config.alignment_bytes == 4
    assert config.on_chip_bytes == (336 + 2 + 2 + 4) * 1024


def test_alignment_is_the_smaller_of_word_and_bus() -> None:
    assert PRESETS["test-4x8"].alignment_bytes == 4
    assert replace(CONFIG, rows=2, post_lanes=2).alignment_bytes == 2


@pytest.mark.parametrize("rows", [2, 4, 8, 16, 32, 64])
def test_column_sums_fit_their_bits(rows: int) -> None:
    config = replace(CONFIG, rows=rows, post_lanes=2, weight_words=1024)
    largest = rows * 128 * 128
    assert largest < 1 << config.column_sum_bits - 1
    assert config.column_sum_bits <= 16 + rows.bit_length()


@pytest.mark.parametrize(("rows", "columns"), [(8, 8), (16, 32), (32, 16), (4, 4)])
def test_another_size_keeps_the_bytes(rows: int, columns: int) -> None:
    old = PRESETS["ulx3s-85f"]
    new = old.with_size(rows, columns)
    assert (new.rows, new.columns) == (rows, columns)
    assert new.scratchpad_bytes == old.scratchpad_bytes
    assert new.weight_bytes == old.weight_bytes
    assert new.accumulator_bytes == old.accumulator_bytes


@pytest.mark.parametrize(("largest", "bits"), [(0, 1), (1, 1), (2, 2), (255, 8), (256, 9)])
def test_bits_hold_the_largest_value(largest: int, bits: int) -> None:
    assert bits_for(largest) == bits
