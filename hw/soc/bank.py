"""A shorter way through LiteDRAM's bank machines."""

from typing import Any

from litedram.core.bankmachine import BankMachine
from litedram.core.controller import LiteDRAMController
from litex.soc.interconnect import stream
from migen import If, Module, Signal
from migen.fhdl.structure import _Assign, _Operator, _Slice

__all__ = ["compare_rows_early"]


def compare_rows_early(controller: LiteDRAMController) -> None:
    """Compare a command's row with the open one when it becomes the next of its bank.

    LiteDRAM compares while it asks for the SDRAM: from the address to everything that moves when
    the SDRAM is granted is one path, the controller's longest. Here the result is a register. It
    stays right: a row is opened for the command whose turn it is, before another one has it.
    """
    for machine in _parts(controller, BankMachine):
        [compared] = [part for part in machine._fragment.comb if isinstance(part, _Assign)
                      and isinstance(part.r, _Operator) and part.r.op == "=="]
        opened, asked = compared.r.operands
        [waiting], [turn] = _parts(machine, stream.SyncFIFO), _parts(machine, stream.Buffer)
        assert isinstance(asked, _Slice) and asked.value is turn.source.addr
        hit = Signal()
        compared.r = hit
        machine.sync += If(machine.trccon.valid,  # a row is opened
            hit.eq(1)
        ).Elif(turn.sink.ready,
            hit.eq(opened == waiting.source.addr[asked.start:asked.stop]))


def _parts(module: Module, kind: type) -> list[Any]:
    return [part for _, part in module._submodules if isinstance(part, kind)]
