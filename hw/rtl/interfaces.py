"""How the components of the core are connected: signatures that more than one of them uses."""

from amaranth import unsigned
from amaranth.lib import data, enum, stream, wiring
from amaranth.lib.wiring import In, Out

from hw.rtl.layout import instruction_bits
from hw.spec.config import ArrayConfig, bits_for
from hw.spec.isa import LinearTarget
from hw.spec.regs import Fault

__all__ = ["AccumulatorRead", "FaultReport", "LinearWrite", "ScratchpadClient", "ScratchpadOp",
           "ScratchpadRead", "Unit"]


class FaultReport(wiring.Signature):
    """A unit's first fault. Once `valid` rises all stay as they are until reset, and the unit
    starts nothing new.

    Members
    -------
    valid : Out(1)
    cause : Out(4)
        :class:`hw.spec.regs.Fault`.
    address : Out(32)
        Where the cause has one, else 0.
    """

    def __init__(self) -> None:
        super().__init__({"valid": Out(1), "cause": Out(bits_for(max(Fault))),
                          "address": Out(32)})


class Unit(wiring.Signature):
    """A unit that runs the instructions of one queue, in order.

    Members
    -------
    i : In(stream)
        Whole instructions; their tokens have been taken. A unit may take the next one while it
        still works on others.
    done : Out(1)
        High for one cycle per instruction, in order, when all its effects are visible to every
        other unit: a read that another unit starts in the next cycle sees them.
    busy : Out(1)
        Some instruction was taken and is not done.
    stall : Out(1)
        Busy, but in this cycle waiting for memory or for another unit.
    fault : Out(FaultReport)
        Of the oldest instruction that is not done.
    halt : In(1)
        Start no new bus transfer (an abort is pending); reset follows when the bus is idle.
    """

    def __init__(self, config: ArrayConfig) -> None:
        super().__init__({
            "i": In(stream.Signature(unsigned(instruction_bits(config)))),
            "done": Out(1), "busy": Out(1), "stall": Out(1), "fault": Out(FaultReport()),
            "halt": In(1)})


class ScratchpadOp(enum.Enum, shape=1):
    """What a client asks of its scratchpad port."""

    READ = 0
    WRITE = 1   # lanes whose mask bit is set


class ScratchpadRead(wiring.Signature):
    """The array's own read port: never waits. Seen from the scratchpad.

    `data` belongs to the `address` that was there three cycles before.
    """

    def __init__(self, config: ArrayConfig) -> None:
        super().__init__({
            "address": In(bits_for(config.scratchpad_words - 1)),
            "data": Out(data.ArrayLayout(8, config.rows))})


class ScratchpadClient(wiring.Signature):
    """A client of the shared port. Seen from the scratchpad.

    Members
    -------
    i : In(stream)
        Requests: ``address``, ``op`` (:class:`ScratchpadOp`), ``mask`` (one bit a lane) and
        ``data`` (R bytes). Requests of one client take effect in order.
    o_valid, o_data
        Answers to READ, in order, a fixed number of cycles after the request was accepted; they
        cannot be delayed, so a client asks only for what it has room for.
    """

    def __init__(self, config: ArrayConfig) -> None:
        super().__init__({
            "i": In(stream.Signature(data.StructLayout({
                "address": bits_for(config.scratchpad_words - 1), "op": ScratchpadOp,
                "mask": config.rows, "data": data.ArrayLayout(8, config.rows)}))),
            "o_valid": Out(1), "o_data": Out(data.ArrayLayout(8, config.rows))})


class LinearWrite(wiring.Signature):
    """What LOAD_LINEAR writes, an element at a time. Seen from the memory; never waits.

    ============  =========================================  ==================
    target        element (low bytes of `data`)              index
    ============  =========================================  ==================
    WEIGHTS       a word: C bytes                            word
    PARAMETERS    8 bytes: int32 bias, multiplier|shift<<24  entry * C + column
    TABLE         4 entries                                  slot * 64 + quad
    ADD_TABLES    int32                                      slot * 512 + i
    ============  =========================================  ==================
    """

    def __init__(self, config: ArrayConfig) -> None:
        largest = max(config.weight_words, config.parameter_entries * config.columns,
                      config.table_slots * 64, config.add_table_slots * 512)
        super().__init__({
            "valid": In(1), "target": In(bits_for(max(LinearTarget))),
            "index": In(bits_for(largest - 1)),
            "data": In(data.ArrayLayout(8, max(config.columns, 8)))})


class AccumulatorRead(wiring.Signature):
    """How results leave the array. Seen from the array.

    Members
    -------
    i : In(stream)
        ``address``: accumulator word; ``group``: which `post_lanes` of its C columns, columns
        ``group * post_lanes`` and up.
    o_valid, o_data
        Answers, in order, a fixed number of cycles after the request was accepted.
    """

    def __init__(self, config: ArrayConfig) -> None:
        groups = config.columns // config.post_lanes
        super().__init__({
            "i": In(stream.Signature(data.StructLayout({
                "address": bits_for(config.accumulator_words - 1),
                "group": bits_for(groups - 1)}))),
            "o_valid": Out(1), "o_data": Out(data.ArrayLayout(32, config.post_lanes))})
