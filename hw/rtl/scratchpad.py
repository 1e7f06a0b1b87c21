"""The scratchpad: activations on chip, with a port for the array and one for everybody else."""

from amaranth import Module, Mux, Signal
from amaranth.lib import data, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from hw.rtl.interfaces import ScratchpadClient, ScratchpadOp, ScratchpadRead
from hw.spec.config import ArrayConfig, bits_for
from hw.spec.resources import scratchpad_parts

__all__ = ["ARRAY_LATENCY", "READ_LATENCY", "Scratchpad", "ScratchpadMemory", "WRITE_LATENCY"]

#: At the array's port, data follow an address by so many cycles.
ARRAY_LATENCY = 3
#: A READ accepted in cycle t is answered in cycle t + READ_LATENCY.
READ_LATENCY = ARRAY_LATENCY + 1
#: A WRITE accepted in cycle t is visible to every read that is accepted by the shared port, or
#: started at the array's, from cycle t + WRITE_LATENCY on; one cycle earlier, the array's may get
#: anything.
WRITE_LATENCY = 2


class ScratchpadMemory(wiring.Component):
    """The memory itself, alone so that it maps to true dual-port block RAM.

    Port A reads. Port B reads or writes: both have the one address, and of what it reads while it
    writes nothing is used, which is what merges them into one port of the block RAM. Each byte has
    its own write enable. Nothing is used of what A reads while B writes the same word, either: for
    synthesis it may be anything (:func:`hw.generate.colliding`), for block RAMs of the ECP5 give
    neither the old nor the new bytes.

    Block RAMs are spread over the whole FPGA, and wires to all of them are slow. So each part has
    addresses and write enables in registers of its own, and nothing between those and its pins;
    and of what selects among the parts' data every byte has a copy.

    Timing: data are in the output register three cycles after their address. What was written in
    cycle t is in what either port is asked for from t + 1 on.

    Members
    -------
    a_address, a_data
        Port A.
    b_address, b_data
        Port B, reading. Unspecified where it writes.
    b_mask, b_write
        Port B, writing: the bytes of `b_write` whose bit in `b_mask` is set.
    """

    def __init__(self, config: ArrayConfig) -> None:
        self.config = config
        word = data.ArrayLayout(8, config.rows)
        address = bits_for(config.scratchpad_words - 1)
        super().__init__({
            "a_address": In(address), "a_data": Out(word),
            "b_address": In(address), "b_data": Out(word),
            "b_mask": In(config.rows), "b_write": In(word)})

    def elaborate(self, platform):
        m = Module()
        rows = self.config.rows
        write_data = Signal.like(self.b_write, reset_less=True)
        m.d.sync += write_data.eq(self.b_write)
        chosen = {"a": Signal.like(self.a_data), "b": Signal.like(self.b_data)}
        first = 0
        for n, words in enumerate(scratchpad_parts(self.config.scratchpad_words)):
            m.submodules[f"part_{n}"] = memory = Memory(shape=8 * rows, depth=words, init=[])
            write = memory.write_port(granularity=8)
            ports = {"a": memory.read_port(), "b": memory.read_port()}
            # All words of a part, and no others, have the same upper bits of their addresses.
            low = bits_for(words - 1)
            for name, port in ports.items():
                asked = getattr(self, f"{name}_address")
                own = asked[low:] == first >> low
                address = Signal(low, name=f"{name}_address_{n}", reset_less=True)
                with m.If(own):
                    m.d.sync += address.eq(asked)
                m.d.comb += port.addr.eq(address)
                # Whether it was asked for this part: at the memory; at its output, for each byte.
                here = Signal(name=f"{name}_here_{n}")
                there = Signal(rows, name=f"{name}_there_{n}", attrs={"keep": 1})
                m.d.sync += [here.eq(own), there.eq(here.replicate(rows))]
                for byte, out in enumerate(chosen[name]):
                    with m.If(there[byte]):
                        m.d.comb += out.eq(port.data[8 * byte:8 * (byte + 1)])
                if name == "b":
                    mask = Signal(rows, name=f"mask_{n}")
                    m.d.sync += mask.eq(Mux(own, self.b_mask, 0))
                    m.d.comb += [write.en.eq(mask), write.addr.eq(address),
                                 write.data.eq(write_data)]
            first += words

        # Output registers: block RAM is slow to come out, and its way to the array long.
        for name, out in chosen.items():
            register = Signal.like(out, name=f"out_{name}", reset_less=True)
            m.d.sync += register.eq(out)
            m.d.comb += getattr(self, f"{name}_data").eq(register)
        return m


class Scratchpad(wiring.Component):
    """Activation memory of `scratchpad_words` words of R bytes.

    Port `mac` never waits: data follow an address by :data:`ARRAY_LATENCY` cycles. `post`, `load`
    and `store` share the other port in turns (round robin), a request a cycle.

    Timing: answers to READ come :data:`READ_LATENCY` cycles after the request was accepted;
    when writes become visible is said by :data:`WRITE_LATENCY`.

    Members
    -------
    mac : Out(ScratchpadRead)
        The array's port.
    post, load, store : Out(ScratchpadClient)
        Clients of the shared port.
    """

    def __init__(self, config: ArrayConfig) -> None:
        self.config = config
        client = Out(ScratchpadClient(config))
        super().__init__({"mac": Out(ScratchpadRead(config)),
                          "post": client, "load": client, "store": client})

    def elaborate(self, platform):
        m = Module()
        clients = (self.post, self.load, self.store)
        m.submodules.memory = memory = ScratchpadMemory(self.config)
        m.d.comb += [memory.a_address.eq(self.mac.address), self.mac.data.eq(memory.a_data)]

        # Who is next: the first with a request behind the one that was last. `ready` has a long way
        # in the clients: of the other two it depends on nothing but `valid`.
        last, taken = Signal(3, init=1), Signal(3)
        request = Signal.like(self.post.i.payload)
        for index, client in enumerate(clients):
            before, behind = (index + 2) % 3, (index + 1) % 3
            turn = ~((clients[before].i.valid & ~last[before])
                     | (clients[behind].i.valid & last[index]))
            m.d.comb += [client.i.ready.eq(turn), taken[index].eq(client.i.valid & turn)]
            with m.If(taken[index]):
                m.d.comb += request.eq(client.i.payload)
        with m.If(taken.any()):
            m.d.sync += last.eq(taken)

        # To the memory, and back.
        accepted = Signal.like(request, reset_less=True)
        writing = Signal()
        reading = [Signal(3, name=f"reading_{i}") for i in range(READ_LATENCY)]
        m.d.sync += [
            accepted.eq(request),
            writing.eq(taken.any() & (request.op == ScratchpadOp.WRITE)),
            reading[0].eq(Mux(request.op == ScratchpadOp.READ, taken, 0)),
            *(after.eq(before) for before, after in zip(reading, reading[1:])),
        ]
        m.d.comb += [
            memory.b_address.eq(accepted.address), memory.b_write.eq(accepted.data),
            memory.b_mask.eq(Mux(writing, accepted.mask, 0)),
        ]
        for index, client in enumerate(clients):
            m.d.comb += [client.o_valid.eq(reading[-1][index]), client.o_data.eq(memory.b_data)]
        return m
