"""A column of the array: weights, multipliers, adder tree and accumulators."""

from amaranth import Cat, Module, Mux, Signal, signed
from amaranth.lib import data, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from hw.rtl.multiplier import MultiplierStyle
from hw.rtl.pe import ProcessingElements
from hw.spec.config import ArrayConfig, bits_for

__all__ = ["AccumulatorAddress", "AccumulatorMemory", "AdderTree", "Column", "ColumnControl",
           "WeightMemory", "sum_latency"]

#: Additions between two registers of an adder tree.
ADDER_LEVELS = 2


class AccumulatorAddress(data.StructLayout):
    """Which accumulator of a column: ``word`` of one of its halves.

    Half 0 has the first words, and one more than half 1 if their number is odd.
    """

    def __init__(self, config: ArrayConfig) -> None:
        self.half_words = -(-config.accumulator_words // 2)
        super().__init__({"half": 1, "word": bits_for(self.half_words - 1)})


class ColumnControl(data.StructLayout):
    """What enters a column, beside activations, and leaves for the next one a cycle later.

    ================  ===========================================================================
    ``swap``          the weights in the shadows are for this activation and those that follow
    ``shift``         take the weight of word ``weight`` into the shadows
    ``read``          start reading accumulator ``old``; unless set, the old value counts as 0
    ``write``         write accumulator ``new``
    ================  ===========================================================================
    """

    def __init__(self, config: ArrayConfig) -> None:
        accumulator = AccumulatorAddress(config)
        super().__init__({
            "swap": 1, "shift": 1, "weight": bits_for(config.weight_words - 1),
            "read": 1, "old": accumulator, "write": 1, "new": accumulator})


def sum_latency(config: ArrayConfig, multiplier_latency: int) -> int:
    """Cycles from an activation that enters a column to the sum of its products."""
    return 1 + multiplier_latency + -(-bits_for(config.rows - 1) // ADDER_LEVELS)


class WeightMemory(wiring.Component):
    """One byte of every weight word. Alone so that it maps to block RAM.

    Timing: `data` follows `address` by a cycle, and is kept while `enable` is low; what is
    written in a cycle can be read from the next one on.
    """

    def __init__(self, words: int) -> None:
        self.words = words
        address = bits_for(words - 1)
        super().__init__({
            "enable": In(1), "address": In(address), "data": Out(signed(8)),
            "write": In(1), "write_address": In(address), "write_data": In(8)})

    def elaborate(self, platform):
        m = Module()
        m.submodules.memory = memory = Memory(shape=8, depth=self.words, init=[])
        read, write = memory.read_port(), memory.write_port()
        m.d.comb += [
            read.en.eq(self.enable), read.addr.eq(self.address), self.data.eq(read.data),
            write.en.eq(self.write), write.addr.eq(self.write_address),
            write.data.eq(self.write_data),
        ]
        return m


class AccumulatorMemory(wiring.Component):
    """Both halves of a column's accumulators, which map to block RAM, and their adder.

    Timing: ``old = read`` in cycle t is added to the sum of cycle t + 2, and the result is what
    `write` in cycle t + 3 writes; it can be read from cycle t + 4 on. `drained` follows
    `drain` by two cycles, unless `read` asked for the same half in the same cycle: then it is
    unspecified. No stalls.

    Members
    -------
    read, old, write, new
        As in :class:`ColumnControl`.
    sum : In(signed)
        Of a column's products.
    drain : In(AccumulatorAddress)
    drained : Out(32)
    """

    def __init__(self, config: ArrayConfig) -> None:
        self.config = config
        address = AccumulatorAddress(config)
        super().__init__({
            "read": In(1), "old": In(address), "sum": In(signed(config.column_sum_bits)),
            "write": In(1), "new": In(address), "drain": In(address), "drained": Out(32)})

    def elaborate(self, platform):
        m = Module()
        words = AccumulatorAddress(self.config).half_words
        result = Signal(32, reset_less=True)
        data_out = []
        for half in range(2):
            m.submodules[f"half_{half}"] = memory = Memory(shape=32, depth=words, init=[])
            read, write = memory.read_port(), memory.write_port()
            own = self.read & (self.old.half == half)
            m.d.comb += [
                read.en.eq(1), read.addr.eq(Mux(own, self.old.word, self.drain.word)),
                write.en.eq(self.write & (self.new.half == half)),
                write.addr.eq(self.new.word), write.data.eq(result),
            ]
            data_out.append(read.data)

        # One cycle later: which half was read for whom.
        reads, half, drain_half = Signal(), Signal(), Signal()
        m.d.sync += [reads.eq(self.read), half.eq(self.old.half), drain_half.eq(self.drain.half)]

        # Block RAM is slow to come out: registers before the adder and towards POST.
        old = Signal(32, reset_less=True)
        drained = Signal(32, reset_less=True)
        m.d.sync += [
            old.eq(Mux(reads, Mux(half, data_out[1], data_out[0]), 0)),
            drained.eq(Mux(drain_half, data_out[1], data_out[0])),
            result.eq(old + self.sum),
        ]
        m.d.comb += self.drained.eq(drained)
        return m


class AdderTree(wiring.Component):
    """Sum of R products.

    Timing: a register every :data:`ADDER_LEVELS` levels and at the end, one sum per cycle, no
    stalls.
    """

    def __init__(self, rows: int) -> None:
        self.rows = rows
        depth = bits_for(rows - 1)
        super().__init__({"i": In(data.ArrayLayout(signed(16), rows)),
                          "o": Out(signed(16 + depth))})

    def elaborate(self, platform):
        m = Module()
        terms = list(self.i)
        stage = 0
        while len(terms) > 1:
            for _ in range(ADDER_LEVELS):
                terms = [x + y for x, y in zip(terms[::2], terms[1::2])] or terms
            sums = Signal(data.ArrayLayout(terms[0].shape(), len(terms)), name=f"sums_{stage}",
                          reset_less=True)
            m.d.sync += sums.eq(Cat(terms))
            terms = list(sums)
            stage += 1
        m.d.comb += self.o.eq(terms[0])
        return m


class Column(wiring.Component):
    """A column of the array, or two that share multipliers and work at the same time.

    Timing: everything that enters leaves for the next column a cycle later. Activations and
    `swap` of cycle t become sums at the accumulators in cycle ``t + s``, where s is
    :func:`sum_latency`; they meet what is `read` in cycle ``t + s - 2`` and are written by `write`
    in cycle ``t + s + 1``. A weight that is shifted in cycle t is in the shadow two cycles later,
    so R of them can be swapped in from two cycles after the last one on, and the next ones follow
    from the cycle before that on. `drained` follows `drain` by two cycles. No stalls.

    Parameters
    ----------
    config : ArrayConfig
    style : MultiplierStyle
        Packed means two columns.
    multiplier_latency : int
        Of the slowest style in the array, so that all columns have the same latency.

    Members
    -------
    control, control_next : In(ColumnControl), Out(ColumnControl)
    activation, activation_next : In(8[R]), Out(8[R])
    load, load_address, load_data
        Write a byte of each column to the weight memory.
    drain : In(AccumulatorAddress)
    drained : Out(32[columns])
    """

    def __init__(self, config: ArrayConfig, style: MultiplierStyle | str, *,
                 multiplier_latency: int) -> None:
        self.config = config
        self.style = MultiplierStyle(style)
        self.multiplier_latency = multiplier_latency
        self.columns = self.style.weights
        control, activation = ColumnControl(config), data.ArrayLayout(8, config.rows)
        super().__init__({
            "control": In(control), "control_next": Out(control),
            "activation": In(activation), "activation_next": Out(activation),
            "load": In(1), "load_address": In(bits_for(config.weight_words - 1)),
            "load_data": In(data.ArrayLayout(8, self.columns)),
            "drain": In(AccumulatorAddress(config)),
            "drained": Out(data.ArrayLayout(32, self.columns))})

    def elaborate(self, platform):
        m = Module()
        control = Signal.like(self.control)
        activation = Signal.like(self.activation, reset_less=True)
        m.d.sync += [control.eq(self.control), activation.eq(self.activation)]
        m.d.comb += [self.control_next.eq(control), self.activation_next.eq(activation)]

        m.submodules.elements = elements = ProcessingElements(self.config.rows, self.style)
        m.d.comb += [
            elements.activation.eq(activation), elements.shift.eq(control.shift),
            elements.swap.eq(self.control.swap),
        ]
        for c in range(self.columns):
            m.submodules[f"weights_{c}"] = weights = WeightMemory(self.config.weight_words)
            m.submodules[f"tree_{c}"] = tree = AdderTree(self.config.rows)
            m.submodules[f"sums_{c}"] = sums = AccumulatorMemory(self.config)
            m.d.comb += [
                weights.enable.eq(self.control.shift), weights.address.eq(self.control.weight),
                weights.write.eq(self.load), weights.write_address.eq(self.load_address),
                weights.write_data.eq(self.load_data[c]), elements.weight[c].eq(weights.data),
                tree.i.eq(elements.products[c]),
                sums.read.eq(self.control.read), sums.old.eq(self.control.old),
                sums.write.eq(self.control.write), sums.new.eq(self.control.new),
                sums.drain.eq(self.drain), self.drained[c].eq(sums.drained),
            ]
            total = tree.o
            for i in range(self.multiplier_latency - self.style.latency):
                late = Signal.like(total, name=f"late_{c}_{i}", reset_less=True)
                m.d.sync += late.eq(total)
                total = late
            m.d.comb += sums.sum.eq(total)
        return m
