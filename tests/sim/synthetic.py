"""A program of the shape that a compiler makes for a whole network: tiles, double buffers and
tokens are real, weights and activations are noise. For benchmarks, races and the cycle model.
"""

from dataclasses import dataclass

import numpy as np

from hw.spec.config import ArrayConfig
from hw.spec.image import Image
from hw.spec.isa import Isa, LinearTarget, Opcode, Queue
from tests.sim.random_instructions import Fields, surface

__all__ = ["Conv", "YOLOV4_TINY", "macs", "synthetic_image", "synthetic_program"]


@dataclass(frozen=True)
class Conv:
    """A square convolution: side of the input, channels, kernel size, stride."""

    side: int
    inputs: int
    outputs: int
    kernel: int
    stride: int = 1


#: The convolutions of YOLOv4-tiny-416; the first with its 27 inputs of a pixel gathered.
YOLOV4_TINY = (
    Conv(208, 32, 32, 1), Conv(208, 32, 64, 3, 2), Conv(104, 64, 64, 3), Conv(104, 32, 32, 3),
    Conv(104, 32, 32, 3), Conv(104, 64, 64, 1), Conv(52, 128, 128, 3), Conv(52, 64, 64, 3),
    Conv(52, 64, 64, 3), Conv(52, 128, 128, 1), Conv(26, 256, 256, 3), Conv(26, 128, 128, 3),
    Conv(26, 128, 128, 3), Conv(26, 256, 256, 1), Conv(13, 512, 512, 3), Conv(13, 512, 256, 1),
    Conv(13, 256, 512, 3), Conv(13, 512, 256, 1), Conv(13, 256, 128, 1), Conv(26, 384, 256, 3),
    Conv(26, 256, 256, 1))


def macs(layers: tuple[Conv, ...]) -> int:
    """Multiply-accumulates of all layers."""
    return sum((c.side // c.stride) ** 2 * c.inputs * c.outputs * c.kernel ** 2 for c in layers)


class _Tokens:
    """Counts tokens between queues: `need` says how many must be there, one is taken at most."""

    def __init__(self) -> None:
        self.given: dict[tuple[Queue, Queue], int] = {}
        self.taken: dict[tuple[Queue, Queue], int] = {}

    def wait(self, own: Queue, needs: dict[Queue, int]) -> int:
        mask = 0
        for q, needed in needs.items():
            taken = self.taken.get((q, own), 0)
            if needed > taken:
                assert needed == taken + 1, "the schedule of this helper needs one token at a time"
                self.taken[q, own] = needed
                mask |= 1 << q
        return mask


def synthetic_program(config: ArrayConfig, layers: tuple[Conv, ...]
                      ) -> list[tuple[Opcode, Fields]]:
    """Instructions with END. Needs C = R, accumulators for two tiles, and room for the tiles."""
    r, c = config.rows, config.columns
    assert r == c, "this helper drains one plane at a time"
    half_weights, half_acc = config.weight_words // 2, config.accumulator_words // 2
    out_words = half_acc
    input_words = config.scratchpad_words - 2 * out_words
    program: list[tuple[Opcode, Fields]] = []
    tokens = _Tokens()
    chunks = groups = stores = drains = 0  # MACs, groups of MACs, ... so far

    def add(opcode: Opcode, wait: int, signal: tuple[Queue, ...], fields: Fields) -> None:
        program.append((opcode, fields | {"wait": wait,
                                          "signal": sum(1 << q for q in signal)}))

    for number, layer in enumerate(layers):
        out_side = layer.side // layer.stride
        planes, k = layer.inputs // r, layer.kernel
        rows = max(n for n in range(1, out_side + 1)
                   if n == 1 or n * out_side <= half_acc
                   and planes * min(layer.side, (n - 1) * layer.stride + k) * layer.side
                   <= input_words)
        out_groups = layer.outputs // c
        passes = planes * k * k
        weight_chunks = -(-passes * r // half_weights)
        planes_per_chunk = -(-planes // weight_chunks)
        parameters = (number % 2) * (config.parameter_entries // 2)
        source, target = (number % 2) * (4 << 20), ((number + 1) % 2) * (4 << 20)
        for y in range(0, out_side, rows):
            n = min(rows, out_side - y)
            top = max(0, y * layer.stride - k // 2)
            bottom = min(layer.side, (y + n - 1) * layer.stride - k // 2 + k)
            for group in range(out_groups):
                for first in range(0, planes, planes_per_chunk):
                    part = min(planes_per_chunk, planes - first)
                    start = group == 0 and first == 0
                    last = first + part == planes
                    buffer = chunks % 2 * half_weights
                    add(Opcode.LOAD_LINEAR,
                        tokens.wait(Queue.LOAD, {Queue.MAC: max(0, chunks - 1)}),
                        () if start else (Queue.MAC,),
                        {"target": LinearTarget.WEIGHTS, "dst": buffer,
                         "address": 65536, "count": part * k * k * r})
                    if start:
                        needs = {Queue.MAC: chunks, Queue.STORE: number if y == 0 else 0}
                        ready = () if y == 0 else (Queue.MAC,)
                        add(Opcode.LOAD, tokens.wait(Queue.LOAD, needs), ready, {
                            "window": 1, "address": source + top * layer.side * r,
                            "memory_plane_stride": layer.side ** 2 * r,
                            "memory_row_stride": layer.side * r, "planes": planes,
                            "rows": bottom - top, "columns": layer.side, "word_step": r,
                            "lane_first": 0, "lane_count": r, "head": 0,
                            "row_bytes": layer.side * r, "fill": 0,
                            **surface("dst", 0, (bottom - top) * layer.side, layer.side,
                                      bottom - top)})
                    if start and y == 0:
                        add(Opcode.LOAD_LINEAR, 0, (Queue.MAC,), {
                            "target": LinearTarget.PARAMETERS, "address": 0, "dst": parameters,
                            "count": out_groups})
                    accumulator = groups % 2 * half_acc
                    add(Opcode.MAC,
                        tokens.wait(Queue.MAC, {
                            Queue.LOAD: chunks + 1,
                            Queue.POST: groups - 1 if first == 0 else 0}),
                        (Queue.LOAD, Queue.POST) if last else (Queue.LOAD,),
                        {"src_rows": bottom - top, "src_columns": layer.side,
                         "y0": y * layer.stride - k // 2 - top, "x0": -(k // 2),
                         "kernel_rows": k, "kernel_columns": k, "stride_y": layer.stride,
                         "stride_x": layer.stride, "up_y": 0, "up_x": 0, "rows": n,
                         "columns": out_side, "planes": part, "pad": -100, "weights": buffer,
                         "accumulator": accumulator, "accumulate": int(first > 0),
                         **surface("src", first * (bottom - top) * layer.side,
                                   (bottom - top) * layer.side, layer.side, bottom - top)})
                    chunks += 1
                groups += 1
                out = input_words + drains % 2 * out_words
                add(Opcode.DRAIN,
                    tokens.wait(Queue.POST, {Queue.MAC: groups, Queue.STORE: drains - 1}),
                    (Queue.MAC, Queue.STORE),
                    {"accumulator": accumulator, "rows": n, "columns": out_side,
                     "parameter": parameters + group,
                     "zero_point": -100, "odd": 0, "use_table": 0, "table": 0, "pool": 0,
                     "lane_group": 0, **surface("dst", out, 0, out_side, n)})
                drains += 1
                stores += 1
                end = group == out_groups - 1 and y + n == out_side
                add(Opcode.STORE, tokens.wait(Queue.STORE, {Queue.POST: drains}),
                    (Queue.POST, Queue.LOAD) if end else (Queue.POST,),
                    {"address": target + (group * out_side ** 2 + y * out_side) * r,
                     "memory_plane_stride": 0, "memory_row_stride": out_side * r,
                     "planes": 1, "rows": n, "columns": out_side,
                     **surface("src", out, 0, out_side, n)})
    program.append((Opcode.END, {}))
    return program


def synthetic_image(config: ArrayConfig, layers: tuple[Conv, ...]) -> Image:
    """The program with constants: noise that looks like trained weights."""
    rng = np.random.default_rng(1)
    isa = Isa(config)
    program = b"".join(isa.encode(o, f) for o, f in synthetic_program(config, layers))
    entries = config.parameter_entries * config.columns
    parameters = np.zeros((entries, 2), "<u4")
    parameters[:, 0] = rng.integers(-40000, 40000, entries) & 0xFFFF_FFFF
    parameters[:, 1] = rng.integers(1 << 23, 1 << 24, entries) | 11 << 24
    weights = np.clip(rng.normal(0, 25, config.weight_bytes), config.weight_min, 127)
    constants = parameters.tobytes().ljust(65536, b"\0") + weights.astype(np.int8).tobytes()
    return Image(config=config, program=program, constants=constants,
                 activation_bytes=8 << 20)
