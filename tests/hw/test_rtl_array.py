"""The array and its parts: sums, swaps, accumulators and their two readers, cycle by cycle."""

import re
from collections import defaultdict
from dataclasses import replace
from random import Random

import pytest

from hw.rtl.array import DRAIN_LATENCY, Array, array_latency
from hw.rtl.column import AccumulatorAddress, AccumulatorMemory, AdderTree
from hw.rtl.multiplier import MultiplierStyle
from hw.rtl.pe import ProcessingElements
from hw.spec.config import PRESETS, ArrayConfig
from hw.spec.isa import LinearTarget
from hw.spec.numerics import wrap32
from sim.testing import simulate

SMALL = ArrayConfig(rows=4, columns=4, scratchpad_words=64, weight_words=29, accumulator_words=13,
                    parameter_entries=2, post_lanes=2, weight_min=-127)
CONFIGS = {
    "4x4": SMALL,
    "2x8": replace(SMALL, rows=2, columns=8, accumulator_words=16),
    "8x2": replace(SMALL, rows=8, columns=2, weight_words=40, post_lanes=1),
}
STYLES = {"inferred": "inferred", "lut": "lut", "packed": "packed", "dual": "dual",
          "mixed": ["packed", "packed", "lut", "inferred"]}


@pytest.mark.parametrize("rows", [2, 4, 8, 16, 64])
def test_adder_tree_holds_extreme_sums(rows: int) -> None:
    rng = Random(rows)
    tree = AdderTree(rows)
    latency = {2: 1, 4: 1, 8: 2, 16: 2, 64: 3}[rows]
    vectors = [[-128 * -128] * rows, [-128 * 127] * rows, [1] + [0] * (rows - 1),
               [0] * (rows - 1) + [-1],
               *([rng.randint(-16256, 16384) for _ in range(rows)] for _ in range(50))]

    async def play(ctx):
        for i, vector in enumerate(vectors + [[0] * rows] * latency):
            ctx.set(tree.i, vector)
            _, _, total = await ctx.tick().sample(tree.o)
            assert i < latency or total == sum(vectors[i - latency])
    simulate(tree, play)


@pytest.mark.parametrize("style", list(MultiplierStyle))
def test_processing_elements_swap_while_they_shift(style: MultiplierStyle) -> None:
    """A new tile every R cycles; each swap comes with the first shift of the next tile."""
    rng, rows, columns = Random(2), 4, style.weights
    elements = ProcessingElements(rows, style)
    tiles = [[[rng.randint(-127, 127) for _ in range(columns)] for _ in range(rows)]
             for _ in range(20)]
    shifts = [word for tile in tiles for word in tile]
    inputs = [[rng.randint(-128, 127) for _ in range(rows)] for _ in shifts]

    async def play(ctx):
        for i, word in enumerate(shifts):
            ctx.set(elements.shift, 1)
            ctx.set(elements.weight, word)
            ctx.set(elements.swap, i % rows == 0)
            ctx.set(elements.activation, inputs[i])
            _, _, products = await ctx.tick().sample(elements.products)
            at = i - style.latency
            if at > rows:
                # In the cycle of the swap itself the old weights are still active.
                tile = tiles[(at - 1) // rows - 1]
                for c in range(columns):
                    assert list(products[c]) == [a * w[c] for a, w in zip(inputs[at], tile)]
    simulate(elements, play)


def test_accumulators_wrap_at_32_bits() -> None:
    """Largest sums of 64 rows, until both ends of the range are passed; every fourth cycle."""
    config = replace(SMALL, rows=64, weight_words=256, scratchpad_words=64)
    layout = AccumulatorAddress(config)
    dut = AccumulatorMemory(config)
    steps = 2300
    sums = {0: -128 * -128 * 64, 1: -128 * 127 * 64}

    async def play(ctx):
        ctx.set(dut.new, {"half": 0, "word": 3})
        ctx.set(dut.old, {"half": 0, "word": 3})
        for half, value in sums.items():
            at = {"half": half, "word": 3}
            ctx.set(dut.old, at)
            ctx.set(dut.new, at)
            ctx.set(dut.drain, at)
            ctx.set(dut.sum, value)
            for step in range(steps):
                ctx.set(dut.read, step > 0)
                await ctx.tick()
                ctx.set(dut.read, 0)
                await ctx.tick()
                await ctx.tick()
                ctx.set(dut.write, 1)
                await ctx.tick()
                ctx.set(dut.write, 0)
            await ctx.tick()
            await ctx.tick()
            assert abs(value * steps) > 1 << 31
            assert ctx.get(dut.drained) == wrap32(value * steps) & 0xFFFF_FFFF
    assert layout.half_words == 7
    simulate(dut, play)


class Stimulus:
    """Legal control of an array as early and as dense as its docstring allows, its sums, and what
    every accumulator holds from which cycle on.
    """

    def __init__(self, config: ArrayConfig, latency: int, seed: int, passes: int) -> None:
        rng = Random(seed)
        self.config = config
        self.weights = [[rng.choice((-127, 127, rng.randint(-127, 127)))
                         for _ in range(config.columns)] for _ in range(config.weight_words)]
        self.control: dict[int, dict[str, int]] = defaultdict(dict)
        # Per word: (cycle in which a read must be accepted to see it, sums)
        self.history = [[(0, [0] * config.columns)] for _ in range(config.accumulator_words)]
        self.reads: dict[int, int] = {}  # cycle of the activation to half that it reads
        shift, last_swap = 0, -10
        for _ in range(passes):
            start = rng.randrange(config.weight_words - config.rows + 1)
            tile = self.weights[start:start + config.rows]
            for r in range(config.rows):
                self.control[shift + r] |= {"shift": 1, "weight": start + r}
            swap = max(shift + config.rows + 1, last_swap + 4) + rng.choice((0, 0, 0, 1, 5))
            count = rng.choice((1, 4, rng.randint(1, config.accumulator_words)))
            overwrite = rng.random() < 0.3
            first = rng.randrange(config.accumulator_words - count + 1)
            # Sums of the pass before may still be on their way.
            at = max(swap, last_swap + 4 if first == getattr(self, "first", first) else
                     self.end + 4)
            self.first = first
            for i in range(count):
                pixel = [rng.choice((-128, 127, rng.randint(-128, 127)))
                         for _ in range(config.rows)]
                word = first + i
                self.control[at + i] |= {
                    "valid": 1, "swap": i == 0, "accumulator": word, "overwrite": overwrite,
                    "activation": [v & 255 for v in pixel]}
                if not overwrite:
                    self.reads[at + i] = word >= -(-config.accumulator_words // 2)
                old = [0] * config.columns if overwrite else self.history[word][-1][1]
                sums = [wrap32(o + sum(p * w[c] for p, w in zip(pixel, tile)))
                        for c, o in enumerate(old)]
                self.history[word].append((at + i + latency, sums))
            self.end = at + count - 1
            last_swap, shift = at, max(at - 1, self.end - config.rows + rng.choice((0, 1, 2)))
        self.cycles = self.end + latency

    def value(self, word: int, cycle: int) -> list[int]:
        """Sums that a read sees that is accepted in `cycle`."""
        return [sums for since, sums in self.history[word] if since <= cycle][-1]


async def write_weights(ctx, array: Array, weights: list[list[int]]) -> None:
    linear = array.linear
    for index, word in enumerate(weights):
        ctx.set(linear.valid, 1)
        ctx.set(linear.index, index)
        ctx.set(linear.data, [v & 255 for v in word] + [7] * (8 - len(word)))
        ctx.set(linear.target, LinearTarget.WEIGHTS)
        await ctx.tick()
    ctx.set(linear.target, LinearTarget.PARAMETERS)  # is not for the array
    ctx.set(linear.index, 1)
    await ctx.tick()
    ctx.set(linear.valid, 0)


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("name", CONFIGS)
def test_sums_are_visible_on_time(name: str, style: str) -> None:
    """Reads in every cycle, of any word: each sees exactly what was `latency` cycles before."""
    config, styles = CONFIGS[name], STYLES[style]
    if not isinstance(styles, str):
        styles = (styles * 2)[:config.columns]
    latency = array_latency(config, styles)
    stimulus = Stimulus(config, latency, seed=len(name + style), passes=40)
    array = Array(config, styles)
    assert array.latency == latency
    groups, lanes = config.columns // config.post_lanes, config.post_lanes
    rng = Random(5)
    expected: dict[int, tuple] = {}
    recent: list[int] = []
    seen = {"ready": 0, "waited": 0}

    async def play(ctx):
        await write_weights(ctx, array, stimulus.weights)
        drain = array.accumulators
        for cycle in range(stimulus.cycles + 10):
            control = stimulus.control.get(cycle, {})
            for field in ("valid", "swap", "shift"):
                ctx.set(getattr(array.i, field), control.get(field, 0))
            for field in ("weight", "accumulator", "overwrite", "activation"):
                if field in control:
                    ctx.set(getattr(array.i, field), control[field])
            # Most reads ask for what is just becoming visible, or will a cycle later.
            recent.append(control.get("accumulator", 0))
            word = recent[max(0, cycle - latency + rng.randrange(2))] if rng.random() < 0.7 else (
                rng.randrange(config.accumulator_words))
            group = groups - 1 if rng.random() < 0.7 else rng.randrange(groups)
            ctx.set(drain.i.payload, {"address": word, "group": group})
            ctx.set(drain.i.valid, 1)
            _, _, ready, valid, values = await ctx.tick().sample(
                drain.i.ready, drain.o_valid, drain.o_data)
            if ready:
                expected[cycle + DRAIN_LATENCY] = (word, group)
            seen["ready" if ready else "waited"] += 1
            assert valid == (cycle in expected)
            if valid:
                word, group = expected[cycle]
                # Columns before the last one have their sums earlier.
                sums = stimulus.value(word, cycle - DRAIN_LATENCY)[group * lanes:][:lanes]
                ahead = [stimulus.value(word, cycle - DRAIN_LATENCY + k)[group * lanes:][:lanes]
                         for k in range(config.columns)]
                for lane, value in enumerate(values):
                    column = group * lanes + lane
                    if column == config.columns - 1:
                        assert value == sums[lane] & 0xFFFF_FFFF, (cycle, word, column)
                    else:
                        assert value in [a[lane] & 0xFFFF_FFFF for a in ahead], (cycle, word)
    simulate(array, play)
    assert min(seen.values()) > 20, seen


@pytest.mark.parametrize("overwrite", [0, 1])
@pytest.mark.parametrize("half", [0, 1])
def test_array_goes_first(half: int, overwrite: int) -> None:
    """A group waits while one of its columns reads that half, and only then."""
    config = CONFIGS["2x8"]
    array = Array(config)
    stream, read_at = range(20, 40), array.latency - config.columns - 2
    readys: dict[tuple[int, int], set[int]] = defaultdict(set)

    async def play(ctx):
        for cycle in range(70):
            ctx.set(array.i.valid, cycle in stream)
            ctx.set(array.i.accumulator, half * 8 + cycle % 8)
            ctx.set(array.i.overwrite, overwrite)
            for wanted in range(2):
                for group in range(4):
                    ctx.set(array.accumulators.i.payload,
                            {"address": wanted * 8 + 5, "group": group})
                    if ctx.get(array.accumulators.i.ready):
                        readys[wanted, group].add(cycle)
            await ctx.tick()
    simulate(array, play)
    for (wanted, group), cycles in readys.items():
        # Columns 2 * group and the next one read so much later than the first column; the
        # request is at their memories a cycle after it was accepted.
        reads = {t + read_at + 2 * group + k - 1 for t in stream for k in range(2)}
        blocked = set() if overwrite or wanted != half else reads
        assert cycles == set(range(70)) - blocked, (wanted, group)


def test_weights_can_be_shifted_two_cycles_after_they_were_written() -> None:
    config = SMALL
    array = Array(config)

    async def play(ctx):
        ctx.set(array.linear.target, LinearTarget.WEIGHTS)
        for cycle in range(20):
            ctx.set(array.linear.valid, cycle < 4)
            ctx.set(array.linear.index, cycle)
            ctx.set(array.linear.data, [cycle + 1, 10 * cycle, 3, 4, 0, 0, 0, 0])
            ctx.set(array.i.shift, 2 <= cycle < 6)
            ctx.set(array.i.weight, cycle - 2)
            ctx.set(array.i.valid, cycle == 7)
            ctx.set(array.i.swap, 1)
            ctx.set(array.i.overwrite, 1)
            ctx.set(array.i.activation, [1, 2, 3, 4])
            ctx.set(array.accumulators.i.valid, cycle == 7 + array.latency - 2)
            await ctx.tick()
            if ctx.get(array.accumulators.o_valid):
                assert list(ctx.get(array.accumulators.o_data)) == [
                    1 + 4 + 9 + 16, 20 + 60 + 120]
                return
        raise AssertionError("no answer")
    simulate(array, play)


LONELY = "must have a neighbour of style 'packed' to share its multipliers with"


@pytest.mark.parametrize(("styles", "message"), [
    (["lut"] * 3, "multiplier must have one style per column (4), not 3"),
    (["lut", "packed", "lut", "packed"], f"column 1 {LONELY}"),
    (["lut", "lut", "lut", "packed"], f"column 3 {LONELY}"),
])
def test_styles_must_fit(styles: list[str], message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        array_latency(SMALL, styles)


def test_packed_columns_need_their_weight_range() -> None:
    message = "weight_min must be -127 with style 'packed', not -128"
    with pytest.raises(ValueError, match=message):
        array_latency(PRESETS["test-4x4"], "packed")


def test_latencies() -> None:
    ulx3s = replace(PRESETS["ulx3s-85f"], weight_min=-127)
    assert {style.value: array_latency(ulx3s, style.value) for style in MultiplierStyle} == {
        "inferred": 20, "lut": 20, "packed": 13, "dual": 12}
    assert array_latency(ulx3s, ["packed"] * 8 + ["lut"] * 8) == 17
