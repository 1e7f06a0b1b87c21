"""The scratchpad: activations on chip, with a port for the array and one for everybody else."""

from amaranth import Cat, Module, Mux, Signal
from amaranth.lib import data, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from hw.rtl.interfaces import ScratchpadClient, ScratchpadOp, ScratchpadRead
from hw.spec.config import ArrayConfig, bits_for
from hw.spec.resources import scratchpad_parts

__all__ = ["PLAIN_WRITE_LATENCY", "READ_LATENCY", "Scratchpad", "ScratchpadMemory",
           "WRITE_LATENCY"]

#: A READ accepted in cycle t is answered in cycle t + READ_LATENCY.
READ_LATENCY = 3
#: A WRITE accepted in cycle t is visible to every read that is accepted by the shared port, or
#: started at the array's, from cycle t + PLAIN_WRITE_LATENCY on.
PLAIN_WRITE_LATENCY = 1
#: Likewise for requests of any kind, MAX included.
WRITE_LATENCY = 4


class ScratchpadMemory(wiring.Component):
    """The memory itself, alone so that it maps to true dual-port block RAM.

    Port A reads. Port B reads or writes: both have the one address, and never happen in the same
    cycle, which is what merges them into one port of the block RAM. Each byte has its own write
    enable. A reading while B writes the same word gets the new bytes. No program needs that, but
    a memory that promises the old ones cannot be one block RAM of the ECP5: Yosys then makes two
    copies (208 instead of 104 DP16KD for `ulx3s-85f`), instead of a comparator and a bypass.

    Timing: data are in the output register two cycles after their address. A byte written in
    cycle t is in what port A addresses from cycle t on, and port B from t + 1 on.

    Members
    -------
    a_enable, a_address, a_data
        Port A. Without enable, what comes out is unspecified.
    b_address, b_enable, b_data
        Port B, reading.
    b_mask, b_write
        Port B, writing: the bytes of `b_write` whose bit in `b_mask` is set.
    """

    def __init__(self, config: ArrayConfig) -> None:
        self.config = config
        word = data.ArrayLayout(8, config.rows)
        address = bits_for(config.scratchpad_words - 1)
        super().__init__({
            "a_enable": In(1), "a_address": In(address), "a_data": Out(word),
            "b_address": In(address), "b_enable": In(1), "b_data": Out(word),
            "b_mask": In(config.rows), "b_write": In(word)})

    def elaborate(self, platform):
        m = Module()
        bits = 8 * self.config.rows
        data_a, data_b = Signal(bits), Signal(bits)
        first = 0
        for n, words in enumerate(scratchpad_parts(self.config.scratchpad_words)):
            m.submodules[f"part_{n}"] = memory = Memory(shape=bits, depth=words, init=[])
            write = memory.write_port(granularity=8)
            port_a, port_b = memory.read_port(transparent_for=(write,)), memory.read_port()
            # All words of a part, and no others, have the same upper bits of their addresses.
            low = bits_for(words - 1)
            in_a, in_b = (address[low:] == first >> low for address in
                          (self.a_address, self.b_address))
            m.d.comb += [
                port_a.en.eq(self.a_enable), port_a.addr.eq(self.a_address),
                port_b.en.eq(self.b_enable), port_b.addr.eq(self.b_address),
                write.en.eq(Mux(in_b, self.b_mask, 0)), write.addr.eq(self.b_address),
                write.data.eq(self.b_write),
            ]
            # One cycle later: whether it was asked for this part.
            from_a, from_b = (Signal(name=f"from_{port}_{n}") for port in "ab")
            m.d.sync += [from_a.eq(in_a), from_b.eq(in_b)]
            with m.If(from_a):
                m.d.comb += data_a.eq(port_a.data)
            with m.If(from_b):
                m.d.comb += data_b.eq(port_b.data)
            first += words

        # Output registers: block RAM is slow to come out, and its way to the array long.
        out_a, out_b = (Signal(bits, name=f"out_{port}", reset_less=True) for port in "ab")
        m.d.sync += [out_a.eq(data_a), out_b.eq(data_b)]
        m.d.comb += [self.a_data.eq(out_a), self.b_data.eq(out_b)]
        return m


class Scratchpad(wiring.Component):
    """Activation memory of `scratchpad_words` words of R bytes.

    Port `mac` never waits: data follow an address by two cycles. `post`, `load` and `store` share
    the other port in turns (round robin), a request a cycle. MAX takes two turns: it reads, and
    three cycles later writes those lanes of its mask whose new byte is larger; meanwhile only
    requests for the same word wait.

    Timing: answers to READ come :data:`READ_LATENCY` cycles after the request was accepted;
    when writes become visible is said by :data:`WRITE_LATENCY`, and for the operation WRITE by
    :data:`PLAIN_WRITE_LATENCY`.

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
        m.d.comb += [
            memory.a_enable.eq(self.mac.enable), memory.a_address.eq(self.mac.address),
            self.mac.data.eq(memory.a_data),
        ]


        # Stages 1 to 3: at the memory; in the memory; at its output register.
        stage = data.StructLayout({
            "address": bits_for(self.config.scratchpad_words - 1), "mask": self.config.rows,
            "data": data.ArrayLayout(8, self.config.rows)})
        stages = [Signal(stage, name=f"stage_{i}", reset_less=True) for i in (1, 2, 3)]
        write = Signal()
        reads, maxima = ([Signal(3 if name == "read" else 1, name=f"{name}_{i}")
                          for i in (1, 2, 3)] for name in ("read", "max"))

        # Who is next: the first with a request behind the one that was last. `ready` has a long way
        # in the clients: of the other two it depends on nothing but `valid`.
        last, taken = Signal(3, init=1), Signal(3)
        request = Signal.like(self.post.i.payload)
        for index, client in enumerate(clients):
            before, behind = (index + 2) % 3, (index + 1) % 3
            turn = ~((clients[before].i.valid & ~last[before])
                     | (clients[behind].i.valid & last[index]))
            hazard = Cat(maximum & (s.address == client.i.payload.address)
                         for maximum, s in zip(maxima[:2], stages)).any()
            m.d.comb += [client.i.ready.eq(turn & ~hazard & ~maxima[2]),
                         taken[index].eq(client.i.valid & client.i.ready)]
            with m.If(client.i.valid & turn):
                m.d.comb += request.eq(client.i.payload)
        accept = taken.any()

        # Into stage 1: a request, or the second turn of a MAX.
        is_max = request.op == ScratchpadOp.MAX
        m.d.sync += [
            stages[0].eq(Cat(request.address, request.mask, request.data)),
            write.eq((accept & (request.op == ScratchpadOp.WRITE)) | maxima[2]),
            maxima[0].eq(accept & is_max),
            reads[0].eq(Mux(request.op == ScratchpadOp.READ, taken, 0)),
        ]
        with m.If(accept):
            m.d.sync += last.eq(taken)
        larger = Cat(new.as_signed() > old.as_signed()
                     for new, old in zip(stages[2].data, memory.b_data))
        with m.If(maxima[2]):
            m.d.sync += [stages[0].eq(stages[2]), stages[0].mask.eq(stages[2].mask & larger)]

        m.d.comb += [
            memory.b_address.eq(stages[0].address), memory.b_enable.eq(~write),
            memory.b_write.eq(stages[0].data),
        ]
        with m.If(write):
            m.d.comb += memory.b_mask.eq(stages[0].mask)
        for before, after in zip(range(2), range(1, 3)):
            m.d.sync += [stages[after].eq(stages[before]), reads[after].eq(reads[before]),
                         maxima[after].eq(maxima[before])]
        for index, client in enumerate(clients):
            m.d.comb += [client.o_valid.eq(reads[2][index]), client.o_data.eq(memory.b_data)]
        return m
