"""The cycle model: costs of instructions, and hand-made schedules whose times can be reckoned."""

import time
from dataclasses import replace

import pytest

from hw.spec.config import PRESETS, ArrayConfig
from hw.spec.cycles import (
    BURST_BEATS,
    CHECK_CYCLES,
    DRAIN_OVERHEAD,
    LANES_OVERHEAD,
    LOAD_TAIL,
    MAC_APART,
    MAC_TAIL,
    MAP_OVERHEAD,
    POOL_OVERHEAD,
    STORE_TAIL,
    data_cycles,
    dma_bytes,
    tail_cycles,
    unit_cycles,
    weight_fill_cycles,
)
from hw.spec.isa import QUEUE_OF, Elementwise, LinearTarget, Opcode, Queue
from hw.spec.timing import (
    DISPATCH_CYCLES,
    END_CYCLES,
    FETCH_TAIL,
    TOKEN_CYCLES,
    DeadlockError,
    Prediction,
    simulate,
)
from tests.sim.program_builder import CONFIG, DEFAULTS, drain, instruction, load, mac, store
from tests.sim.random_instructions import Fields
from tests.sim.synthetic import YOLOV4_TINY, macs, synthetic_program

ULX3S = PRESETS["ulx3s-85f"]
INSTRUCTION_BYTES = 48
#: In CONFIG: an instruction's beats, a first tile's weights, the check of a DMA of 4-byte words.
BEATS = 12
FILL = weight_fill_cycles(CONFIG)
CHECK = CHECK_CYCLES + 3


def predict(*program: tuple[Opcode, Fields], bytes_per_cycle: float = 4, latency: int = 20,
            config: ArrayConfig = CONFIG) -> Prediction:
    return simulate(program, config, bytes_per_cycle=bytes_per_cycle, latency=latency,
                    instruction_bytes=INSTRUCTION_BYTES)


def cost(opcode: Opcode, **changes: int) -> int:
    return unit_cycles(opcode, DEFAULTS[opcode] | changes, CONFIG)


def moved(opcode: Opcode, **changes: int) -> int:
    return dma_bytes(opcode, DEFAULTS[opcode] | changes, CONFIG)


def test_a_mac_takes_a_cycle_per_pixel_and_pass() -> None:
    assert cost(Opcode.MAC, rows=5, columns=6, planes=2, kernel_rows=3, kernel_columns=3) == (
        18 * 30 + FILL)


def test_a_mac_of_few_pixels_waits_for_weights() -> None:
    assert cost(Opcode.MAC, rows=1, columns=1, planes=7) == 7 * 4 + FILL


def test_sums_are_visible_a_tail_behind_the_last_pixel() -> None:
    def tail(**changes: int) -> int:
        return tail_cycles(Opcode.MAC, DEFAULTS[Opcode.MAC] | changes, CONFIG)
    assert tail(rows=3, columns=3) == 4 + 1 + MAC_TAIL
    assert tail(rows=1, columns=1) == 4 + 1 + MAC_TAIL - 3


def test_a_drain_takes_all_columns_through_the_lanes() -> None:
    assert cost(Opcode.DRAIN, rows=4, columns=6) == 24 * 2 + DRAIN_OVERHEAD
    assert cost(Opcode.DRAIN, rows=4, columns=6, pool=1) == 24 * 2 + DRAIN_OVERHEAD


def test_a_pool_reads_a_word_per_tap_and_writes_one() -> None:
    assert cost(Opcode.POOL, rows=3, columns=4, planes=2, kernel_rows=2,
                kernel_columns=3) == 24 * 7 + POOL_OVERHEAD
    assert cost(Opcode.POOL, use_table=1) == 4 * 2 + POOL_OVERHEAD + LANES_OVERHEAD


def test_an_elementwise_is_limited_by_lanes_or_by_its_port() -> None:
    assert cost(Opcode.ELEMENTWISE, planes=3) == 12 * 2 + MAP_OVERHEAD
    assert cost(Opcode.ELEMENTWISE, use_table=1) == 4 * 2 + MAP_OVERHEAD + LANES_OVERHEAD
    for operation in (Elementwise.ADD, Elementwise.MUL):
        assert cost(Opcode.ELEMENTWISE,
                    operation=operation) == 4 * 3 + MAP_OVERHEAD + LANES_OVERHEAD
    slow = replace(CONFIG, post_lanes=1)
    fields = DEFAULTS[Opcode.ELEMENTWISE] | {"operation": Elementwise.MUL}
    assert unit_cycles(Opcode.ELEMENTWISE, fields, slow) == 4 * 4 + MAP_OVERHEAD + LANES_OVERHEAD


def test_every_row_pays_for_whole_beats() -> None:
    """Rows start and end inside beats of 8 bytes."""
    config = PRESETS["test-4x8"]  # bus of 8
    block = DEFAULTS[Opcode.STORE] | {"columns": 3, "memory_row_stride": 12, "rows": 2,
                                      "address": 4}
    assert dma_bytes(Opcode.STORE, block, config) == 16 + 16  # 4..16, 16..28
    assert dma_bytes(Opcode.STORE, block | {"address": 0}, config) == 16 + 16  # 0..12, 12..24
    assert dma_bytes(Opcode.STORE, block | {"columns": 4, "address": 0}, config) == 16 + 24
    planes = block | {"columns": 2, "memory_row_stride": 8, "planes": 3}
    assert dma_bytes(Opcode.STORE, planes | {"memory_plane_stride": 16}, config) == 6 * 16
    assert dma_bytes(Opcode.STORE, planes | {"memory_plane_stride": 20}, config) == 16 * 4 + 8 * 2


def test_loads_move_only_the_bytes_they_use() -> None:
    assert moved(Opcode.LOAD) == 16
    assert moved(Opcode.LOAD, row_bytes=5) == 16  # two rows of two beats
    assert moved(Opcode.LOAD, row_bytes=3) == 8
    assert moved(Opcode.LOAD, head=4) == 8
    assert moved(Opcode.LOAD, head=-4) == 8  # bytes 4..8 of each row
    assert moved(Opcode.LOAD, head=-3) == 16
    assert moved(Opcode.LOAD, head=-8) == 0
    assert moved(Opcode.LOAD, row_bytes=0) == 0
    assert moved(Opcode.LOAD, lane_count=1, word_step=1) == 8


def test_a_load_takes_a_beat_or_a_word_or_the_bytes_of_a_word_in_turn() -> None:
    def cycles(**changes: int) -> int:
        return data_cycles(Opcode.LOAD, DEFAULTS[Opcode.LOAD] | changes, CONFIG)
    assert cycles(rows=5, columns=6, row_bytes=24) == 30
    assert cycles(rows=5, columns=6, row_bytes=0) == 30
    assert cycles(columns=8, lane_count=1, word_step=1) == 2 * 8
    assert cycles(columns=8, lane_count=4, word_step=8, row_bytes=64) == 2 * (1 + 7 * 2)
    assert cost(Opcode.LOAD, rows=5, columns=6, row_bytes=24) == 30 + 1
    assert cost(Opcode.LOAD, rows=1, columns=1) == CHECK
    assert cost(Opcode.STORE, rows=5, columns=6) == 30
    assert cost(Opcode.STORE, rows=1, columns=1) == CHECK
    assert cost(Opcode.STORE, rows=100, columns=1) == 100
    assert cost(Opcode.LOAD, rows=17, columns=1) == 17 + 1


@pytest.mark.parametrize(("target", "size"), [
    (LinearTarget.WEIGHTS, 48), (LinearTarget.PARAMETERS, 96), (LinearTarget.TABLE, 768),
    (LinearTarget.ADD_TABLES, 6144)])
def test_linear_loads_move_whole_units(target: LinearTarget, size: int) -> None:
    count = 12 if target == LinearTarget.WEIGHTS else 3
    assert moved(Opcode.LOAD_LINEAR, target=target, count=count) == size
    assert cost(Opcode.LOAD_LINEAR, target=target, count=count) == size // 4 + 1


def test_a_linear_load_writes_an_element_per_cycle() -> None:
    wide = replace(CONFIG, bus_bytes=16)
    fields = DEFAULTS[Opcode.LOAD_LINEAR] | {"count": 32}
    assert unit_cycles(Opcode.LOAD_LINEAR, fields, wide) == 32 + 1  # of 8 beats


def test_compute_moves_nothing() -> None:
    for opcode in (Opcode.MAC, Opcode.DRAIN, Opcode.POOL, Opcode.ELEMENTWISE, Opcode.END):
        assert moved(opcode) == 0
    assert cost(Opcode.END) == 0


def test_a_chain_adds_up() -> None:
    """Fetch, then LOAD, MAC, DRAIN, STORE one after the other, each ended by its tail."""
    p = predict(load(signal="M"), mac("L", "P"), drain("M", "S"), store("P"))
    assert p.starts[0] == FETCH_TAIL + BEATS + 20
    # The fetch of what follows goes first, and takes its beats from the LOAD.
    data = p.starts[0] + 4 + (3 * BEATS - BEATS // 2)
    assert p.releases[0] >= p.starts[0] + cost(Opcode.LOAD)
    assert p.starts[0] + 4 + 20 + CHECK + LOAD_TAIL <= p.ends[0] <= data + 20 + CHECK + LOAD_TAIL
    assert p.starts[1] == p.ends[0] + TOKEN_CYCLES
    assert p.releases[1] == p.starts[1] + cost(Opcode.MAC)
    assert p.ends[1] == p.releases[1] + 4 + 1 + MAC_TAIL == p.starts[2] - TOKEN_CYCLES
    assert p.ends[2] == p.releases[2] == p.starts[2] + cost(Opcode.DRAIN)
    assert p.starts[3] == p.ends[2] + TOKEN_CYCLES
    assert p.ends[3] == p.starts[3] + 4 + 20 + CHECK + STORE_TAIL + 2
    assert p.cycles == p.ends[3] + END_CYCLES
    assert p.queues[Queue.MAC].busy == cost(Opcode.MAC)
    assert p.queues[Queue.MAC].wait == p.starts[1] - (p.starts[0] + BEATS + DISPATCH_CYCLES)
    assert p.read_bytes == 5 * INSTRUCTION_BYTES + 16
    assert p.written_bytes == 16


def test_a_store_waits_for_its_first_burst() -> None:
    short, long = (predict(store(columns=n)) for n in (3, 100))
    after = BEATS + FETCH_TAIL + 20 + 20 + CHECK + STORE_TAIL
    assert short.ends[0] == after + 6 + 3
    assert long.ends[0] == after + 200 + BURST_BEATS


def test_the_first_weights_hide_behind_the_mac_ahead() -> None:
    p = predict(mac(planes=20), mac(planes=20))
    assert p.releases[0] - p.starts[0] == cost(Opcode.MAC, planes=20)
    assert p.starts[1] == p.releases[0]
    assert p.releases[1] - p.starts[1] == cost(Opcode.MAC, planes=20) - FILL
    late = predict(mac(planes=1, rows=1, columns=1), load(signal="M"), mac("L"))
    assert late.releases[2] - late.starts[2] == cost(Opcode.MAC)


def test_a_mac_waits_for_sums_that_it_does_not_add_to() -> None:
    """An accumulator that is not the last MAC's might be among its last pixels."""
    def second(**changes: int) -> int:
        p = predict(mac(planes=20), mac(planes=20, **changes))
        return p.releases[1] - p.releases[0]
    assert second() == second(accumulate=1) == second(accumulator=8) == 20 * 4
    assert second(accumulate=1, accumulator=8) == 20 * 4 + MAC_APART


def test_latency_delays_but_takes_no_throughput() -> None:
    loads = [load(rows=200, columns=2)] * 3
    fast, slow = predict(*loads, latency=0), predict(*loads, latency=500)
    assert slow.releases[2] - slow.starts[0] <= fast.releases[2] - fast.starts[0] + 60
    assert slow.ends[2] == slow.releases[2] - 1 + 500 + CHECK + 5 + LOAD_TAIL


def test_load_and_store_share_the_memory() -> None:
    """Words of four beats: the scratchpad's port has time."""
    big = {"rows": 10, "columns": 50, "memory_row_stride": 800}
    loads = load(**big, word_step=16, lane_count=16, row_bytes=800)
    alone = predict(loads, config=ULX3S)
    both = predict(loads, store(**big, src_base=0), config=ULX3S)
    plenty = predict(loads, store(**big, src_base=0), config=ULX3S, bytes_per_cycle=8)
    time_alone = alone.releases[0] - alone.starts[0]
    assert time_alone == 8000 / 4 + 1
    # LOAD has the memory alone until STORE has its first burst together
    assert both.releases[0] - both.starts[0] == 2 * time_alone - (BURST_BEATS + 1)
    assert plenty.releases[0] - plenty.starts[0] == time_alone
    assert both.releases[0] - both.starts[0] - both.queues[Queue.LOAD].stall == time_alone
    assert plenty.queues[Queue.LOAD].stall == 0


def test_load_and_store_share_the_port_of_the_scratchpad() -> None:
    """Words of a beat: with memory for both, each has the port every other cycle."""
    big = {"rows": 100, "columns": 20, "memory_row_stride": 80}
    both = predict(load(**big, row_bytes=80), store(**big, src_base=0), bytes_per_cycle=8)
    for index in range(2):
        assert both.releases[index] - both.starts[index] == 2 * (2000 + 1) - (BURST_BEATS + 1)


@pytest.mark.parametrize("latency, more", [(60, 0), (20, 14)])
def test_a_slow_memory_stalls(latency: int, more: int) -> None:
    """Its data last 8000 cycles; a latency of 20 does not hide all that the memory sent before."""
    p = predict(load(rows=100, columns=20, memory_row_stride=80, row_bytes=80),
                bytes_per_cycle=1, latency=latency)
    assert p.releases[0] - p.starts[0] == 8000 + more
    assert p.queues[Queue.LOAD].busy == 2000 + 1
    assert p.queues[Queue.LOAD].stall == 8000 + more - (2000 + 1)


def test_the_dispatcher_stops_at_a_full_queue() -> None:
    """Depth 4: one MAC runs, one is offered, four wait: the LOAD behind must wait for room."""
    p = predict(*[mac(planes=60)] * 7, load())
    assert p.starts[7] >= p.starts[1]
    roomy = predict(*[mac(planes=60)] * 6, load())
    assert roomy.starts[6] < roomy.releases[0]


def test_a_program_without_end_is_ended() -> None:
    end = predict(load(), instruction(Opcode.END))
    assert end.cycles == predict(load()).cycles
    assert end.starts[1] == end.ends[1] == end.cycles
    assert predict().cycles >= 20


def test_deadlocks_are_named() -> None:
    with pytest.raises(DeadlockError) as caught:
        predict(load(), mac("LS"), drain("M"))
    assert str(caught.value) == (
        "program must end, not wait forever: MAC at instruction 1 (MAC) waits for a token of "
        "LOAD and STORE; POST at instruction 2 (DRAIN) waits for a token of MAC")


def test_no_memory_is_refused() -> None:
    with pytest.raises(ValueError, match="^bytes_per_cycle must be positive, not 0$"):
        predict(bytes_per_cycle=0)


def test_times_of_a_network_are_consistent() -> None:
    program = synthetic_program(ULX3S, YOLOV4_TINY)
    clock = time.process_time()
    p = simulate(program, ULX3S, bytes_per_cycle=4, latency=30,
                 instruction_bytes=INSTRUCTION_BYTES)
    assert time.process_time() - clock < 1.0, "the compiler runs this in a loop"
    assert p == simulate(program, ULX3S, bytes_per_cycle=4, latency=30,
                         instruction_bytes=INSTRUCTION_BYTES)
    ideal = macs(YOLOV4_TINY) / ULX3S.macs_per_cycle
    assert ideal < p.queues[Queue.MAC].busy < 1.02 * ideal
    assert max(p.ends) <= p.cycles
    last = dict.fromkeys(Queue, 0)
    for index, (opcode, _) in enumerate(program[:-1]):
        assert p.starts[index] <= p.releases[index] <= p.ends[index]
        queue = QUEUE_OF[opcode]
        assert p.starts[index] - p.waits[index] >= last[queue] - 1, "a unit did two things at once"
        last[queue] = p.releases[index]
        assert p.releases[index] - p.starts[index] >= p.stalls[index]
    for queue, cycles in p.queues.items():
        assert cycles.busy + cycles.wait + cycles.stall <= p.cycles
        own = [i for i, (o, _) in enumerate(program[:-1]) if QUEUE_OF[o] == queue]
        for times, total in ((p.waits, cycles.wait), (p.stalls, cycles.stall)):
            # each is rounded
            assert abs(sum(times[i] for i in own) - total) <= len(own) / 2
    moved_bytes = sum(dma_bytes(o, f, ULX3S) for o, f in program)
    assert p.read_bytes + p.written_bytes == moved_bytes + len(program) * INSTRUCTION_BYTES
    assert p.cycles >= (p.read_bytes + p.written_bytes) / 4


def test_more_bandwidth_never_slows_a_network() -> None:
    program = synthetic_program(ULX3S, YOLOV4_TINY[10:14])
    times = [simulate(program, ULX3S, bytes_per_cycle=b, latency=30,
                      instruction_bytes=INSTRUCTION_BYTES).cycles for b in (1, 2, 4, 8)]
    assert times == sorted(times, reverse=True)
