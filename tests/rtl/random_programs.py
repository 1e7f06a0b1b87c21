"""Random programs for the whole core."""

import random
from collections.abc import Sequence

from hw.spec.config import ArrayConfig
from hw.spec.image import Image
from hw.spec.isa import QUEUE_OF, Opcode
from tests.sim.program_builder import image, instruction
from tests.sim.random_instructions import OPCODES, Fields, random_instruction, surface

__all__ = ["ACTIVATION_BYTES", "in_order", "random_image"]

CONSTANTS_BYTES = 16384
ACTIVATION_BYTES = 16384


def random_image(config: ArrayConfig, seed: int, count: int) -> Image:
    """Fill all memories, run `count` random instructions in order, store the scratchpad."""
    rng = random.Random(seed)
    constants = bytearray(rng.randbytes(CONSTANTS_BYTES))
    entry = config.parameter_entry_bytes
    parameters = bytearray(rng.randbytes(config.parameter_entries * entry))
    for at in range(0, len(parameters), 8):
        # significands as the compiler makes them, and every shift
        parameters[at + 3] = rng.choice((0, 255))
        parameters[at + 6] |= 128
        parameters[at + 7] = rng.randrange(32)
    constants[:len(parameters)] = parameters
    side, words = 8, config.scratchpad_words
    whole = {"planes": 1, "rows": words // 64, "columns": 64,
             "memory_plane_stride": 0, "memory_row_stride": 64 * config.rows, "address": 0}
    program: list[tuple[Opcode, Fields]] = [
        instruction(Opcode.LOAD, **whole, window=1, word_step=config.rows, lane_first=0,
                    lane_count=config.rows, row_bytes=64 * config.rows,
                    **surface("dst", 0, 0, 64, words // 64)),
        instruction(Opcode.LOAD_LINEAR, target=0, count=config.weight_words, address=4096),
        instruction(Opcode.LOAD_LINEAR, target=1, count=config.parameter_entries, address=0),
        instruction(Opcode.LOAD_LINEAR, target=2, count=config.table_slots, address=512),
        instruction(Opcode.LOAD_LINEAR, target=3, count=config.add_table_slots, address=1024),
        instruction(Opcode.MAC, rows=side, columns=side, src_rows=side, src_columns=side,
                    **surface("src", 0, 0, side, side)),
    ]
    for _ in range(count):
        opcode = rng.choice(OPCODES)
        program.append((opcode, random_instruction(rng, config, opcode, CONSTANTS_BYTES,
                                                   ACTIVATION_BYTES)))
    program.append(instruction(Opcode.STORE, **whole, **surface("src", 0, 0, 64, words // 64)))
    return image(*in_order(program), config=config, constants=bytes(constants),
                 activation_bytes=ACTIVATION_BYTES)


def in_order(program: Sequence[tuple[Opcode, Fields]]) -> list[tuple[Opcode, Fields]]:
    """Tokens by which every instruction waits for the one before it."""
    result = []
    queues = [QUEUE_OF[opcode] for opcode, _ in program]
    for i, (opcode, fields) in enumerate(program):
        before, after = (queues[j] if 0 <= j < len(queues) and queues[j] != queues[i] else None
                         for j in (i - 1, i + 1))
        result.append((opcode, fields | {"wait": 0 if before is None else 1 << before,
                                         "signal": 0 if after is None else 1 << after}))
    return result
