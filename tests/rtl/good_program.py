"""A good program for tests of faults, and what must hold around it.

It keeps all four queues and both directions of the bus busy, and needs every byte of its windows.
"""

import random
from collections.abc import Sequence

from hw.spec.image import Image
from hw.spec.isa import Isa, Opcode
from hw.spec.regs import Fault
from sim.tb.axi_bench import Episode, Outcome, run_episodes
from tests.rtl.placed import Placed, fault
from tests.sim.program_builder import CONFIG, drain, image, instruction, load, mac, store
from tests.sim.random_instructions import Fields, surface

__all__ = ["ACTIVATION_BYTES", "BUS", "BUSY", "CONSTANTS_BYTES", "DONE", "EXPECTED", "FAULT",
           "GOOD", "LAST", "RESULTS", "SIZE", "TILE_BYTES", "WEIGHT_BYTES", "run_between",
           "stopped"]

#: Of STATUS.
BUSY, DONE, FAULT = 1, 2, 4
#: Bytes of an instruction, and of a beat.
SIZE = Isa(CONFIG).instruction_bytes
BUS = CONFIG.bus_bytes

ROUNDS, ROWS, COLUMNS = 4, 2, 8
TILE_BYTES = ROWS * COLUMNS * CONFIG.rows
#: Where its results begin, and how much it needs of each window.
RESULTS = ROUNDS * TILE_BYTES
ACTIVATION_BYTES = 2 * RESULTS
WEIGHT_BYTES = CONFIG.rows * CONFIG.columns
CONSTANTS_BYTES = WEIGHT_BYTES + CONFIG.parameter_entry_bytes


def good_program() -> Image:
    """Load, multiply, drain and store some tiles."""
    tile = {"rows": ROWS, "columns": COLUMNS}
    window = {"src_rows": ROWS, "src_columns": COLUMNS, **tile}
    row = {"memory_row_stride": COLUMNS * CONFIG.rows}
    program = [instruction(Opcode.LOAD_LINEAR, target=0, count=CONFIG.rows, address=0),
               instruction(Opcode.LOAD_LINEAR, target=1, count=1, address=WEIGHT_BYTES)]
    for number in range(ROUNDS):
        # two buffers of each kind: what comes in waits for who used the buffer before
        late = number >= 2
        half = number % 2

        def place(prefix: str, base: int, half: int = half) -> Fields:
            return surface(prefix, base + 64 * half, 0, COLUMNS, ROWS)
        program += [
            load("M" * late, "M", address=number * TILE_BYTES, row_bytes=COLUMNS * CONFIG.rows,
                 **row, **tile, **place("dst", 0)),
            mac("L" + "P" * late, "LP", accumulator=32 * half, **window, **place("src", 0)),
            drain("M" + "S" * late, "MS", accumulator=32 * half, **tile, **place("dst", 256)),
            store("P", "P", address=RESULTS + number * TILE_BYTES, **row, **tile,
                  **place("src", 256))]
    rng = random.Random(1)
    entry = b"".join(rng.randrange(-500, 500).to_bytes(4, "little", signed=True)
                     + (1 << 23 | 9 << 24).to_bytes(4, "little") for _ in range(CONFIG.columns))
    return image(*program, constants=rng.randbytes(WEIGHT_BYTES) + entry,
                 activation_bytes=ACTIVATION_BYTES)


GOOD = Placed(good_program())
EXPECTED = GOOD.expected()
#: Index of END.
LAST = GOOD.image.instructions - 1


def run_between(episodes: Sequence[Episode], *, seed: int | None = None) -> list[Outcome]:
    """Run the good program after each of the episodes, and check it; their outcomes."""
    between = [part for episode in episodes for part in (episode, GOOD.episode())]
    outcomes = run_episodes(CONFIG, between, areas=GOOD.areas, seed=seed)
    for outcome in outcomes[1::2]:
        GOOD.check_complete(outcome, EXPECTED)
    return outcomes[::2]


def stopped(outcome: Outcome, placed: Placed = GOOD) -> tuple[Fault, int, int]:
    """Fault of a run that has come to rest and touched nothing that it must not."""
    placed.check_accesses(outcome)
    assert outcome.registers["STATUS"] == FAULT
    return fault(outcome)
