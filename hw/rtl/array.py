"""The array: a chain of columns."""

from collections.abc import Sequence

from amaranth import Array as Choice, Cat, Module, Mux, Signal
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from hw.rtl.column import AccumulatorAddress, Column, ColumnControl, sum_latency
from hw.rtl.interfaces import AccumulatorRead, LinearWrite
from hw.rtl.multiplier import MultiplierStyle
from hw.spec.config import ArrayConfig, bits_for
from hw.spec.isa import LinearTarget

__all__ = ["Array", "ArrayInput", "DRAIN_LATENCY", "array_latency"]

#: A read of the accumulators that is accepted in cycle t is answered in t + DRAIN_LATENCY.
DRAIN_LATENCY = 4


class ArrayInput(wiring.Signature):
    """What the MAC unit tells the array in a cycle. Seen from the MAC unit.

    Members
    -------
    valid : Out(1)
        There is an activation.
    activation : Out(8[R])
        One pixel of R input channels, signed.
    accumulator : Out
        Word to add its sums to.
    overwrite : Out(1)
        Write the sums instead.
    swap : Out(1)
        From this activation on use the R weights that were shifted in last.
    shift : Out(1)
        Take word `weight` of the weight memory into the shadows.
    weight : Out
    """

    def __init__(self, config: ArrayConfig) -> None:
        super().__init__({
            "valid": Out(1), "activation": Out(data.ArrayLayout(8, config.rows)),
            "accumulator": Out(bits_for(config.accumulator_words - 1)), "overwrite": Out(1),
            "swap": Out(1), "shift": Out(1), "weight": Out(bits_for(config.weight_words - 1))})


def array_latency(config: ArrayConfig, multiplier: str | Sequence[str] = "inferred") -> int:
    """Cycles from an activation to its sums being visible in all columns."""
    links = _links(config, multiplier)
    return sum_latency(config, max(style.latency for style in links)) + len(links)


class Array(wiring.Component):
    """R by C multipliers with their weights and accumulators.

    Columns form a chain: what enters the first reaches the next a cycle later. Two packed columns
    are one link of it.

    Timing: an activation per cycle, no stalls. Of what enters in cycle t, :attr:`latency` cycles
    later the sums are visible: to reads on `accumulators` that are accepted in cycle
    ``t + latency`` or later. An accumulator can be added to again four cycles after the last time.
    The swap comes at the earliest two cycles after the last shift, and the next shift at the
    earliest one cycle before the swap. `linear` is visible to a `shift` from two cycles later on.

    ``accumulators.i.ready`` is low while one of the columns asked for would read that half of the
    accumulators for itself: the array goes first, and only activations with `overwrite` do not
    read. Answers come after :data:`DRAIN_LATENCY` cycles.

    Parameters
    ----------
    config : ArrayConfig
    multiplier : str or sequence of str
        Style of all multipliers, or of each column; see
        :class:`hw.rtl.multiplier.MultiplierStyle`. Packed columns come in pairs.

    Attributes
    ----------
    latency : int
        :func:`array_latency`.

    Members
    -------
    i : In(ArrayInput)
    linear : Out(LinearWrite)
        Target WEIGHTS is written; others are ignored.
    accumulators : Out(AccumulatorRead)
    """

    def __init__(self, config: ArrayConfig, multiplier: str | Sequence[str] = "inferred") -> None:
        self.config = config
        self.multiplier = multiplier
        self.links = _links(config, multiplier)
        self.multiplier_latency = max(style.latency for style in self.links)
        self.latency = array_latency(config, multiplier)
        super().__init__({
            "i": In(ArrayInput(config)), "linear": Out(LinearWrite(config)),
            "accumulators": Out(AccumulatorRead(config))})

    def elaborate(self, platform):
        m = Module()
        address = AccumulatorAddress(self.config)
        to_sum = sum_latency(self.config, self.multiplier_latency)

        # Control: reading and writing accumulators is later than the activation.
        request = data.StructLayout({"valid": 1, "overwrite": 1, "at": address})
        steps = [Signal(request, name=f"accumulate_{i}") for i in range(to_sum + 2)]
        m.d.comb += [steps[0].valid.eq(self.i.valid), steps[0].overwrite.eq(self.i.overwrite),
                     steps[0].at.eq(_split(address, self.i.accumulator))]
        m.d.sync += [after.eq(before) for before, after in zip(steps, steps[1:])]
        read, write = steps[to_sum - 2], steps[to_sum + 1]
        reads_next = steps[to_sum - 3]
        control = Signal(ColumnControl(self.config))
        m.d.comb += [
            control.swap.eq(self.i.swap & self.i.valid), control.shift.eq(self.i.shift),
            control.weight.eq(self.i.weight),
            control.read.eq(read.valid & ~read.overwrite), control.old.eq(read.at),
            control.write.eq(write.valid), control.new.eq(write.at),
        ]

        # Weights: a register towards the columns.
        load, load_address = Signal(), Signal(bits_for(self.config.weight_words - 1))
        load_data = Signal(data.ArrayLayout(8, self.config.columns), reset_less=True)
        m.d.sync += [
            load.eq(self.linear.valid & (self.linear.target == LinearTarget.WEIGHTS)),
            load_address.eq(self.linear.index), load_data.eq(self.linear.data.as_value()),
        ]

        # The chain.
        drain = Signal(address)
        activation, drained, chain = self.i.activation, [], [control]
        for number, style in enumerate(self.links):
            first = len(drained)
            m.submodules[f"column_{first}"] = column = Column(
                self.config, style, multiplier_latency=self.multiplier_latency)
            m.d.comb += [
                column.control.eq(chain[number]), column.activation.eq(activation),
                column.load.eq(load), column.load_address.eq(load_address),
                column.load_data.eq(load_data.as_value()[8 * first:8 * (first + column.columns)]),
                column.drain.eq(drain),
            ]
            activation = column.activation_next
            chain.append(column.control_next)
            drained += [column.drained[c] for c in range(column.columns)]

        # Draining: a request is taken if no column of its group reads that half in the next cycle.
        wanted = _split(address, self.accumulators.i.payload.address)
        reading = [reads_next.valid & ~reads_next.overwrite, *(c.read for c in chain)]
        halves = [reads_next.at.half, *(c.old.half for c in chain)]
        links = [i for i, style in enumerate(self.links) for _ in range(style.weights)]
        lanes = self.config.post_lanes
        groups = [sorted(set(links[g:g + lanes])) for g in range(0, len(links), lanes)]
        conflicts = Choice(Cat(reading[i] & (halves[i] == wanted.half) for i in group).any()
                           for group in groups)
        group = self.accumulators.i.payload.group
        accepted = Signal()
        m.d.comb += [
            self.accumulators.i.ready.eq(~conflicts[group]),
            accepted.eq(self.accumulators.i.valid & self.accumulators.i.ready),
        ]
        valids = Signal(DRAIN_LATENCY)
        choice = [Signal.like(group, name=f"group_{i}") for i in range(DRAIN_LATENCY - 1)]
        answer = Signal(32 * lanes, reset_less=True)
        m.d.sync += [
            drain.eq(wanted), valids.eq(Cat(accepted, valids)), choice[0].eq(group),
            *(after.eq(before) for before, after in zip(choice, choice[1:])),
            answer.eq(Choice(Cat(drained[g:g + lanes])
                             for g in range(0, len(drained), lanes))[choice[-1]]),
        ]
        m.d.comb += [self.accumulators.o_valid.eq(valids[-1]), self.accumulators.o_data.eq(answer)]
        return m


def _links(config: ArrayConfig, multiplier: str | Sequence[str]) -> list[MultiplierStyle]:
    """Styles of the links of the chain. Raises ValueError if they do not fit the array."""
    names = [multiplier] * config.columns if isinstance(multiplier, str) else list(multiplier)
    if len(names) != config.columns:
        raise ValueError(f"multiplier must have one style per column ({config.columns}), "
                         f"not {len(names)}")
    links, column = [], 0
    while column < config.columns:
        style = MultiplierStyle(names[column])
        if config.weight_min < style.weight_min:
            raise ValueError(f"weight_min must be {style.weight_min} with style "
                             f"{style.value!r}, not {config.weight_min}")
        if set(names[column:column + style.weights]) != {names[column]} or (
                column + style.weights > config.columns):
            raise ValueError(f"column {column} must have a neighbour of style {style.value!r} "
                             f"to share its multipliers with")
        links.append(style)
        column += style.weights
    return links


def _split(layout: AccumulatorAddress, word):
    """Convert an accumulator's number to its address."""
    upper = word >= layout.half_words
    return data.View(layout, Cat(upper, Mux(upper, word - layout.half_words, word)[
        :layout["word"].width]))
