"""Shorter ways through LiteDRAM: what it finds out late in a cycle, from registers."""

from typing import Any

from litedram.common import LiteDRAMNativePort
from litedram.core.bankmachine import BankMachine
from litedram.core.controller import LiteDRAMController
from litedram.frontend.axi import LiteDRAMAXI2NativeW
from litex.soc.interconnect import stream
from migen import If, Module, Signal
from migen.fhdl.structure import _Assign, _Operator, _Slice

__all__ = ["compare_rows_early", "count_words_early"]


def compare_rows_early(controller: LiteDRAMController) -> None:
    """Compare a command's row with the open one when it becomes the next of its bank.

    LiteDRAM compares while it asks for the SDRAM: from the address to everything that moves when
    the SDRAM is granted is one path, the controller's longest. Here the result is a register. It
    stays right: a row is opened for the command whose turn it is, before another one has it.
    """
    for machine in _parts(controller, BankMachine):
        compared = _comparison(machine, "==")
        opened, asked = compared.r.operands
        [waiting], [turn] = _parts(machine, stream.SyncFIFO), _parts(machine, stream.Buffer)
        assert isinstance(asked, _Slice) and asked.value is turn.source.addr
        hit = Signal()
        compared.r = hit
        machine.sync += If(machine.trccon.valid,  # a row is opened
            hit.eq(1)
        ).Elif(turn.sink.ready,
            hit.eq(opened == waiting.source.addr[asked.start:asked.stop]))


def count_words_early(writer: LiteDRAMAXI2NativeW, port: LiteDRAMNativePort) -> None:
    """Count the words that wait for a command, beside the buffer that they are in.

    LiteDRAM subtracts two counters while it asks for the SDRAM: the words in the buffer, and those
    of which the commands are under way.
    """
    compared = _comparison(writer, ">")
    buffer = writer.w_buffer
    enters, leaves, some = Signal(), Signal(), Signal()
    count = Signal(max=buffer.depth + 1)
    compared.r = some
    writer.comb += [enters.eq(buffer.sink.valid & buffer.sink.ready),
                    leaves.eq(port.cmd.valid & port.cmd.ready & port.cmd.we)]
    writer.sync += If(enters & ~leaves,
        count.eq(count + 1), some.eq(1)
    ).Elif(leaves & ~enters,
        count.eq(count - 1), some.eq(count != 1))


def _comparison(module: Module, operator: str) -> Any:
    [found] = [part for part in module._fragment.comb if isinstance(part, _Assign)
               and isinstance(part.r, _Operator) and part.r.op == operator]
    return found


def _parts(module: Module, kind: type) -> list[Any]:
    return [part for _, part in module._submodules if isinstance(part, kind)]
