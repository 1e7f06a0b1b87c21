"""Cycle model: how the four queues overlap, wait for each other and share the memory.

One definition for the scheduler's cost, the report's prediction and the comparison with RTL. What
single instructions cost is hw/spec/cycles.py. What is not modelled: conflicts of POST with LOAD and
STORE for the scratchpad's second port, refresh and row misses of the DRAM beyond a lower
``bytes_per_cycle``, and the limit of outstanding bursts.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from heapq import heappop, heappush
from math import ceil

from hw.spec.config import ArrayConfig
from hw.spec.cycles import (
    MAC_APART,
    Fields,
    data_cycles,
    dma_bytes,
    tail_cycles,
    unit_cycles,
    weight_fill_cycles,
)
from hw.spec.isa import QUEUE_OF, Opcode, Queue

__all__ = ["DeadlockError", "Prediction", "QueueCycles", "simulate", "unit_cycles"]

#: The dispatcher takes so long for an instruction, and a cycle for each of its bus beats.
DISPATCH_CYCLES = 3
#: From a request for instructions to the first one in its queue, beyond its beats and the latency.
FETCH_TAIL = 14
#: Instructions that the fetch unit holds before the dispatcher takes them, and per burst.
FETCH_BUFFER = 8
FETCH_BURST = 4
#: From a token's being given to the start of who waited for it.
TOKEN_CYCLES = 1
#: From a MAC's being accepted to the next one's being offered.
FOLLOW_CYCLES = 2
#: From the moment at which END is next and all else is done to the end of the run.
END_CYCLES = 3


class DeadlockError(ValueError):
    """The program cannot come to its end; the message names who waits for whom."""


@dataclass(frozen=True, kw_only=True)
class QueueCycles:
    """How a queue spent its time; what is missing to the total, it was empty.

    Parameters
    ----------
    busy : int
        Worked as fast as the unit can.
    wait : int
        Was free, had an instruction and waited for its tokens.
    stall : int
        Worked, but waited for memory.
    """

    busy: int
    wait: int
    stall: int


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """Result of :func:`simulate`. All times are cycles since the start, index = instruction.

    Parameters
    ----------
    cycles : int
        Until END reports done.
    queues : dict[Queue, QueueCycles]
        What each queue did meanwhile.
    starts : list[int]
        When the unit started, its tokens taken.
    releases : list[int]
        When the unit could start the next instruction of its queue.
    ends : list[int]
        When all effects were visible. The tokens are there :data:`TOKEN_CYCLES` later.
    waits, stalls : list[int]
        For how long it waited for tokens before its start, its unit free, and for memory behind it.
    read_bytes, written_bytes : int
        Whole bus beats, the program included.
    """

    cycles: int
    queues: dict[Queue, QueueCycles]
    starts: list[int]
    releases: list[int]
    ends: list[int]
    waits: list[int]
    stalls: list[int]
    read_bytes: int
    written_bytes: int


def simulate(program: Sequence[tuple[Opcode, Fields]], config: ArrayConfig, *,
             bytes_per_cycle: float, latency: int, instruction_bytes: int) -> Prediction:
    """Play a program through dispatcher, queues, tokens and memory.

    Parameters
    ----------
    program : Sequence[tuple[Opcode, Mapping[str, int]]]
        Legal instructions. If the last is not END, one is assumed behind it.
    config : ArrayConfig
        The array.
    bytes_per_cycle : float
        What the memory moves in total. Reads and writes share it evenly while they want more;
        each take at most ``bus_bytes``. Of reads, the program's go first.
    latency : int
        Cycles from a request to its data or response. Requests of a queue are pipelined: it delays
        every completion, and takes no throughput.
    instruction_bytes : int
        Size of an instruction, for the traffic of the program itself.

    Raises
    ------
    DeadlockError
        If an instruction waits for a token that nobody will give.
    """
    if bytes_per_cycle <= 0:
        raise ValueError(f"bytes_per_cycle must be positive, not {bytes_per_cycle!r}")
    return _Simulation(program, config, bytes_per_cycle, latency, instruction_bytes).run()


_FETCH = len(Queue)
_DISPATCH, _ARRIVAL, _RELEASE, _COMPLETE, _SIGNAL = range(5)


class _Simulation:
    """Discrete events; transfers are fluid, their rates change only when one starts or ends."""

    def __init__(self, program: Sequence[tuple[Opcode, Fields]], config: ArrayConfig,
                 bytes_per_cycle: float, latency: int, instruction_bytes: int) -> None:
        count = next((i for i, (o, _) in enumerate(program) if o == Opcode.END), len(program))
        self.program, self.config, self.count = program, config, count
        self.bandwidth, self.latency = bytes_per_cycle, latency
        self.instruction_bytes = instruction_bytes
        self.now = 0.0
        self.events: list[tuple[float, int, int, int]] = []  # time, serial, kind, index
        self.serial = 0
        # Transfers by client, a queue or _FETCH: [bytes left, most bytes per cycle, rate, index,
        # scratchpad words per byte].
        self.transfers: dict[int, list[float]] = {}
        self.updated = 0.0
        # Dispatcher: instructions asked for, being fetched or behind that, arrived, dispatched.
        self.asked = self.fetching = self.arrived = self.dispatched = 0
        self.dispatch_cycles = instruction_bytes // config.bus_bytes + DISPATCH_CYCLES
        self.dispatcher_free = self.last_arrival = 0.0
        self.dispatch_planned = False
        self.waiting: list[deque[int]] = [deque() for _ in Queue]
        self.head_since = [0.0] * len(Queue)
        self.armed: list[float | None] = [None] * len(Queue)  # when the head got its tokens
        self.free = [0.0] * len(Queue)
        self.running = [False] * len(Queue)
        self.cost = [0.0] * len(Queue)  # of what is running
        self.accumulator = 0  # of the last MAC
        self.follows = 0.0    # when the next one can be offered
        self.tokens = [[0] * len(Queue) for _ in Queue]  # [to][from]
        self.busy = [0.0] * len(Queue)
        self.starts, self.releases, self.ends, self.waits, self.stalls = (
            [0.0] * len(program) for _ in range(5))
        self.read_bytes = self.written_bytes = 0

    def run(self) -> Prediction:
        self._fetch()
        while self.events or self.transfers:
            self._advance()
        if self.dispatched < self.count or any(self.waiting):
            raise DeadlockError(self._deadlock())
        cycles = END_CYCLES + max(self.dispatcher_free, self.last_arrival,
                                  *self.ends[:self.count], 0.0)
        for times in (self.starts, self.releases, self.ends):
            times[self.count:] = [cycles] * (len(times) - self.count)

        def total(times: list[float], queue: Queue) -> int:
            return round(sum(time for time, (opcode, _) in zip(times, self.program[:self.count])
                             if QUEUE_OF[opcode] == queue))
        return Prediction(
            cycles=ceil(cycles), queues={q: QueueCycles(
                busy=round(self.busy[q]), wait=total(self.waits, q), stall=total(self.stalls, q))
                for q in Queue},
            starts=[round(t) for t in self.starts], releases=[round(t) for t in self.releases],
            ends=[round(t) for t in self.ends], waits=[round(t) for t in self.waits],
            stalls=[round(t) for t in self.stalls], read_bytes=self.read_bytes,
            written_bytes=self.written_bytes)

    def _at(self, time: float, kind: int, index: int) -> None:
        self.serial += 1
        heappush(self.events, (time, self.serial, kind, index))

    def _advance(self) -> None:
        """Go to the next event, or the end of a transfer if that is earlier."""
        time = self.events[0][0] if self.events else float("inf")
        client = -1
        for c, (left, _, rate, _, _) in self.transfers.items():
            if rate and (finish := self.updated + left / rate) <= time:
                time, client = finish, c
        self.now = time
        if client >= 0:
            index = int(self.transfers[client][3])
            self._settle()
            del self.transfers[client]
            self._share()
            if client == _FETCH:
                self._at(time + self.latency + FETCH_TAIL, _ARRIVAL, index)
                self._fetch()
            else:
                opcode, fields = self.program[index]
                self._at(max(time, self.starts[index] + self.cost[client]), _RELEASE, index)
                self._at(time + self.latency + tail_cycles(opcode, fields, self.config),
                         _COMPLETE, index)
            return
        _, _, kind, index = heappop(self.events)
        if kind == _COMPLETE:
            self._complete(index)
        elif kind == _RELEASE:
            self._release(QUEUE_OF[self.program[index][0]], index)
        elif kind == _SIGNAL:
            self._signal(index)
        elif kind == _ARRIVAL:
            self.arrived = index
            self.last_arrival = self.now
            self._dispatch()
        else:
            self.dispatch_planned = False
            self._dispatch()

    def _settle(self) -> None:
        """Account for what the transfers moved until now."""
        elapsed = self.now - self.updated
        self.updated = self.now
        for transfer in self.transfers.values():
            transfer[0] = max(0.0, transfer[0] - transfer[2] * elapsed)

    def _share(self) -> None:
        """Divide the scratchpad's port evenly between LOAD and STORE, and the bandwidth between
        reads and writes; but what one cannot use goes to the other.
        """
        fetch, load, store = (self.transfers[client][1] if client in self.transfers else 0.0
                              for client in (_FETCH, Queue.LOAD, Queue.STORE))
        if load and store:
            per_load, per_store = (self.transfers[q][4] for q in (Queue.LOAD, Queue.STORE))
            store = min(store, max(0.5, 1 - load * per_load) / per_store)
            if per_load:
                load = min(load, (1 - store * per_store) / per_load)
        load = min(load, self.config.bus_bytes - fetch)
        half = self.bandwidth / 2
        store = min(store, max(half, self.bandwidth - fetch - load))
        fetch = min(fetch, self.bandwidth - store)
        load = min(load, self.bandwidth - store - fetch)
        for client, rate in ((_FETCH, fetch), (Queue.LOAD, load), (Queue.STORE, store)):
            if client in self.transfers:
                self.transfers[client][2] = rate

    def _transfer(self, client: int, size: int, most: float, index: int, words: int = 0) -> None:
        self._settle()
        self.transfers[client] = [float(size), most, 0.0, float(index), words / size]
        self._share()

    def _fetch(self) -> None:
        """Go on with a burst of instructions, or ask for the next one if there is room for it."""
        if self.fetching == self.asked:
            burst = min(FETCH_BURST, self.count + 1 - self.asked)
            if burst <= 0 or self.asked + burst - self.dispatched > FETCH_BUFFER:
                return
            self.asked += burst
        if _FETCH not in self.transfers:
            self.fetching += 1
            self.read_bytes += self.instruction_bytes
            self._transfer(_FETCH, self.instruction_bytes, self.config.bus_bytes, self.fetching)

    def _dispatch(self) -> None:
        """Send instructions to their queues until one has to wait."""
        while self.dispatched < min(self.arrived, self.count) and not self.dispatch_planned:
            index = self.dispatched
            queue = QUEUE_OF[self.program[index][0]]
            offered = self.armed[queue] is not None
            if len(self.waiting[queue]) - offered >= self.config.queue_depth:
                return
            if self.dispatcher_free > self.now:
                self.dispatch_planned = True
                self._at(self.dispatcher_free, _DISPATCH, index)
                return
            self.dispatched += 1
            self.dispatcher_free = self.now + self.dispatch_cycles
            self.waiting[queue].append(index)
            self._fetch()
            if len(self.waiting[queue]) == 1:
                self.head_since[queue] = self.now
                self._arm(queue)

    def _arm(self, queue: int) -> None:
        """Take the tokens of the head of `queue` once all are there, and start it if possible."""
        if not self.waiting[queue] or self.armed[queue] is not None:
            return
        mask = self.program[self.waiting[queue][0]][1]["wait"]
        held = self.tokens[queue]
        sources = [q for q in range(len(Queue)) if mask >> q & 1]
        for q in sources:
            if not held[q]:
                return
        for q in sources:
            held[q] -= 1
        self.armed[queue] = self.now
        if self.running[queue]:
            self._dispatch()
        else:
            self._start(queue)

    def _start(self, queue: int) -> None:
        armed = self.armed[queue]
        assert armed is not None, "the head of a queue started without its tokens"
        index = self.waiting[queue].popleft()
        opcode, fields = self.program[index]
        cycles: float = unit_cycles(opcode, fields, self.config)
        ready = max(self.free[queue], self.head_since[queue])
        self.waits[index] = max(0.0, armed - ready)
        if queue == Queue.MAC:
            # The shadow registers take the first weight tile while the MAC ahead is running.
            fill = weight_fill_cycles(self.config)
            delay = fill - min(fill, max(0.0, self.free[queue] - max(armed, self.follows)))
            if fields["accumulate"] and fields["accumulator"] != self.accumulator:
                delay += max(0.0, self.free[queue] + MAC_APART - self.now)
            cycles += delay - fill
            self.accumulator = fields["accumulator"]
            self.follows = self.now + delay + FOLLOW_CYCLES
        self.starts[index] = self.now
        self.busy[queue] += cycles
        self.cost[queue] = cycles
        self.running[queue] = True
        self.armed[queue] = None
        self.head_since[queue] = self.now
        size = dma_bytes(opcode, fields, self.config)
        if size:
            if queue == Queue.STORE:
                self.written_bytes += size
            else:
                self.read_bytes += size
            words = 0 if opcode == Opcode.LOAD_LINEAR else (
                fields["planes"] * fields["rows"] * fields["columns"])
            self._transfer(queue, size, size / data_cycles(opcode, fields, self.config), index,
                           words)
        else:
            self._at(self.now + cycles, _RELEASE, index)
            self._at(self.now + cycles + tail_cycles(opcode, fields, self.config), _COMPLETE,
                     index)
        self._arm(queue)
        self._dispatch()

    def _release(self, queue: int, index: int) -> None:
        """The unit is free for the next instruction."""
        self.running[queue] = False
        self.free[queue] = self.releases[index] = self.now
        self.stalls[index] = max(0.0, self.now - self.starts[index] - self.cost[queue])
        if self.armed[queue] is not None:
            self._start(queue)

    def _complete(self, index: int) -> None:
        self.ends[index] = self.now
        if self.program[index][1]["signal"]:
            self._at(self.now + TOKEN_CYCLES, _SIGNAL, index)

    def _signal(self, index: int) -> None:
        opcode, fields = self.program[index]
        own, mask = QUEUE_OF[opcode], fields["signal"]
        for q in range(len(Queue)):
            if mask >> q & 1:
                self.tokens[q][own] += 1
                self._arm(q)

    def _deadlock(self) -> str:
        parts = []
        for queue in Queue:
            if self.waiting[queue]:
                index = self.waiting[queue][0]
                opcode, fields = self.program[index]
                missing = [q.name for q in Queue if fields["wait"] >> q & 1
                           and not self.tokens[queue][q]]
                parts.append(f"{queue.name} at instruction {index} ({opcode.name}) waits for a "
                             f"token of {' and '.join(missing)}")
        return "program must end, not wait forever: " + "; ".join(parts)
