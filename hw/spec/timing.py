"""Cycle model: how the four queues overlap, wait for each other and share the memory.

One definition for the scheduler's cost, the report's prediction and the comparison with RTL. What
single instructions cost is hw/spec/cycles.py. What is not modelled: conflicts of the queues for
ports of the on-chip memories, refresh and row misses of the DRAM beyond a lower
``bytes_per_cycle``, and a limit of outstanding transfers.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from heapq import heappop, heappush
from math import ceil

from hw.spec.config import ArrayConfig
from hw.spec.cycles import Fields, dma_bytes, tail_cycles, unit_cycles, weight_fill_cycles
from hw.spec.isa import QUEUE_OF, Opcode, Queue

__all__ = ["DeadlockError", "Prediction", "QueueCycles", "simulate", "unit_cycles"]

#: The dispatcher checks, and sends to a queue, one instruction in this many cycles.
DISPATCH_CYCLES = 2
#: Instructions that the fetch unit holds before the dispatcher takes them, and per burst.
FETCH_BUFFER = 8
FETCH_BURST = 4

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
        When all effects were visible and the tokens were given.
    read_bytes, written_bytes : int
        Whole bus beats, the program included.
    """

    cycles: int
    queues: dict[Queue, QueueCycles]
    starts: list[int]
    releases: list[int]
    ends: list[int]
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
        What the memory moves in total. Fetch, LOAD and STORE share it evenly while they want
        more; each takes at most ``bus_bytes``.
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
_DISPATCH, _ARRIVAL, _RELEASE, _COMPLETE = range(4)


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
        # Transfers by client, a queue or _FETCH: [bytes left, most bytes per cycle, rate, index].
        self.transfers: dict[int, list[float]] = {}
        self.updated = 0.0
        # Dispatcher: instructions asked for, arrived, dispatched.
        self.asked = self.arrived = self.dispatched = 0
        self.dispatcher_free = self.last_arrival = 0.0
        self.dispatch_planned = False
        self.waiting: list[deque[int]] = [deque() for _ in Queue]
        self.head_since = [0.0] * len(Queue)
        self.armed: list[float | None] = [None] * len(Queue)  # when the head got its tokens
        self.free = [0.0] * len(Queue)
        self.running = [False] * len(Queue)
        self.cost = [0.0] * len(Queue)  # of what is running
        self.tokens = [[0] * len(Queue) for _ in Queue]  # [to][from]
        self.busy, self.wait, self.stall = ([0.0] * len(Queue) for _ in range(3))
        self.starts, self.releases, self.ends = ([0.0] * len(program) for _ in range(3))
        self.read_bytes = self.written_bytes = 0

    def run(self) -> Prediction:
        self._fetch()
        while self.events or self.transfers:
            self._advance()
        if self.dispatched < self.count or any(self.waiting):
            raise DeadlockError(self._deadlock())
        # END itself is fetched with the last burst and dispatched behind the others.
        cycles = (max(self.dispatcher_free, self.last_arrival, *self.ends[:self.count], 0.0)
                  + DISPATCH_CYCLES)
        for times in (self.starts, self.releases, self.ends):
            times[self.count:] = [cycles] * (len(times) - self.count)
        return Prediction(
            cycles=ceil(cycles), queues={q: QueueCycles(
                busy=round(self.busy[q]), wait=round(self.wait[q]), stall=round(self.stall[q]))
                for q in Queue},
            starts=[round(t) for t in self.starts], releases=[round(t) for t in self.releases],
            ends=[round(t) for t in self.ends], read_bytes=self.read_bytes,
            written_bytes=self.written_bytes)

    def _at(self, time: float, kind: int, index: int) -> None:
        self.serial += 1
        heappush(self.events, (time, self.serial, kind, index))

    def _advance(self) -> None:
        """Go to the next event, or the end of a transfer if that is earlier."""
        time = self.events[0][0] if self.events else float("inf")
        client = -1
        for c, (left, _, rate, _) in self.transfers.items():
            finish = self.updated + left / rate
            if finish <= time:
                time, client = finish, c
        self.now = time
        if client >= 0:
            index = int(self.transfers[client][3])
            self._settle()
            del self.transfers[client]
            self._share()
            if client == _FETCH:
                self._at(time + self.latency, _ARRIVAL, index)
                self._fetch()
            else:
                self._release(client, index, self.latency)
            return
        _, _, kind, index = heappop(self.events)
        if kind == _COMPLETE:
            self._complete(index)
        elif kind == _RELEASE:
            opcode = self.program[index][0]
            self._release(QUEUE_OF[opcode], index, tail_cycles(opcode, self.config))
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
        """Divide the bandwidth: evenly, and what one cannot use among the others."""
        left, clients = self.bandwidth, len(self.transfers)
        for transfer in sorted(self.transfers.values(), key=lambda t: t[1]):
            transfer[2] = min(transfer[1], left / clients)
            left -= transfer[2]
            clients -= 1

    def _transfer(self, client: int, size: int, most: float, index: int) -> None:
        self._settle()
        self.transfers[client] = [float(size), most, 0.0, float(index)]
        self._share()

    def _fetch(self) -> None:
        """Ask for the next burst of instructions if there is room for it."""
        burst = min(FETCH_BURST, self.count + 1 - self.asked)
        if (burst <= 0 or _FETCH in self.transfers
                or self.asked + burst - self.dispatched > FETCH_BUFFER):
            return
        self.asked += burst
        size = burst * self.instruction_bytes
        self.read_bytes += size
        self._transfer(_FETCH, size, self.config.bus_bytes, self.asked)

    def _dispatch(self) -> None:
        """Send instructions to their queues until one has to wait."""
        while self.dispatched < min(self.arrived, self.count) and not self.dispatch_planned:
            index = self.dispatched
            queue = QUEUE_OF[self.program[index][0]]
            if len(self.waiting[queue]) >= self.config.queue_depth:
                return
            if self.dispatcher_free > self.now:
                self.dispatch_planned = True
                self._at(self.dispatcher_free, _DISPATCH, index)
                return
            self.dispatched += 1
            self.dispatcher_free = self.now + DISPATCH_CYCLES
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
        if not self.running[queue]:
            self._start(queue)

    def _start(self, queue: int) -> None:
        armed = self.armed[queue]
        assert armed is not None, "the head of a queue started without its tokens"
        index = self.waiting[queue].popleft()
        opcode, fields = self.program[index]
        cycles: float = unit_cycles(opcode, fields, self.config)
        ready = max(self.free[queue], self.head_since[queue])
        self.wait[queue] += max(0.0, armed - ready)
        if queue == Queue.MAC:
            # The shadow registers take the first weight tile while the MAC ahead is running.
            cycles -= min(weight_fill_cycles(self.config), max(0.0, self.free[queue] - armed))
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
            self._transfer(queue, size, size / cycles, index)
        else:
            self._at(self.now + cycles, _RELEASE, index)
        self._arm(queue)
        self._dispatch()

    def _release(self, queue: int, index: int, tail: int) -> None:
        """The unit is free for the next instruction; effects are visible `tail` cycles later."""
        self.running[queue] = False
        self.free[queue] = self.releases[index] = self.now
        self.stall[queue] += max(0.0, self.now - self.starts[index] - self.cost[queue])
        self._at(self.now + tail, _COMPLETE, index)
        if self.armed[queue] is not None:
            self._start(queue)

    def _complete(self, index: int) -> None:
        self.ends[index] = self.now
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
