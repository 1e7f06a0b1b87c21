"""The driver's part of a simulation, run by cocotb inside the simulator.

A job is a JSON file, named by +job=FILE. Python sets the registers, starts a program, waits and
reads the registers again: everything that happens in each cycle is compiled (tb.sv, memory.cpp).
"""

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cocotb
from cocotb.clock import Clock
from cocotb.triggers import First, RisingEdge, Timer
from cocotb.utils import get_sim_time

from hw.spec.regs import REGISTERS

__all__ = ["run_programs"]

_PERIOD_NS = 2
#: Cycles between two looks at the clock on the wall.
_REPORT_CYCLES = 50_000
#: How long a stopped core may take until its bus is idle.
_STOP_CYCLES = 1_000_000


class Registers:
    """The registers, over AXI4-Lite, a few cycles each."""

    def __init__(self, dut: Any) -> None:
        self.dut = dut
        for name in ("awvalid", "wvalid", "bready", "arvalid", "rready"):
            getattr(dut, f"s_axil_{name}").value = 0

    async def write(self, name: str, value: int) -> None:
        dut = self.dut
        dut.s_axil_awaddr.value, dut.s_axil_wdata.value = REGISTERS[name].offset, value
        dut.s_axil_awvalid.value = dut.s_axil_wvalid.value = dut.s_axil_bready.value = 1
        # address and data are accepted together, and both stay until the answer
        while True:
            await RisingEdge(dut.clk)
            if dut.s_axil_awready.value:
                dut.s_axil_awvalid.value = dut.s_axil_wvalid.value = 0
            if dut.s_axil_bvalid.value:
                break
        dut.s_axil_bready.value = 0

    async def read(self, name: str) -> int:
        dut = self.dut
        dut.s_axil_araddr.value = REGISTERS[name].offset
        dut.s_axil_arvalid.value = dut.s_axil_rready.value = 1
        while True:
            await RisingEdge(dut.clk)
            if dut.s_axil_arready.value:
                dut.s_axil_arvalid.value = 0
            if dut.s_axil_rvalid.value:
                break
        dut.s_axil_rready.value = 0
        return int(dut.s_axil_rdata.value)


@cocotb.test()
async def run_programs(dut: Any) -> None:
    """Run the job's programs one after another, and write all registers to its result file.

    A run that ends with a fault is the last one.
    """
    job = json.loads(Path(str(cocotb.plusargs["job"])).read_text())
    dut.rst.value, dut.run.value = 1, 0
    registers = Registers(dut)
    Clock(dut.clk, _PERIOD_NS, unit="ns", impl="gpi").start()
    for _ in range(4):
        await RisingEdge(dut.clk)
    dut.rst.value = 0
    await RisingEdge(dut.clk)

    config = []
    for index in range(len(job["config"])):
        await registers.write("CONFIG", index)
        config.append(await registers.read("CONFIG_WORD"))
    assert config == job["config"], f"the core must be built for {job['config']}, not {config}"
    await registers.write("INTERRUPT_ENABLE", 3)
    begin = time.perf_counter()
    results = []
    with open(job["progress"], "w") as progress:
        def report() -> None:
            cycles = get_sim_time("ns") / _PERIOD_NS
            progress.write(f"{cycles:.0f} {time.perf_counter() - begin}\n")
            progress.flush()
        for number, windows in enumerate(job["runs"]):
            dut.run.value = number
            for name, value in windows.items():
                await registers.write(name, value)
            start = time.perf_counter()
            await _run(dut, registers, job["stop_after"], report)
            found = {name: await registers.read(name) for name in REGISTERS}
            results.append({"registers": found, "seconds": time.perf_counter() - start})
            if found["FAULT"] or found["STATUS"] & 1:
                break
    Path(job["result"]).write_text(json.dumps(results))


async def _run(dut: Any, registers: Registers, stop_after: int | None,
               report: Callable[[], None]) -> None:
    """Start the core, and wait until it has stopped."""
    await registers.write("CONTROL", 1)
    cycles = 0
    while not dut.irq.value:
        step = _REPORT_CYCLES
        if stop_after is not None and cycles <= stop_after:
            step = max(1, min(step, stop_after - cycles))
        if cycles == stop_after:
            await registers.write("CONTROL", 2)
        await First(RisingEdge(dut.irq), Timer(step * _PERIOD_NS, unit="ns"))
        cycles += step
        report()
    for _ in range(_STOP_CYCLES // 100):
        if not await registers.read("STATUS") & 1:
            break
        await Timer(100 * _PERIOD_NS, unit="ns")
