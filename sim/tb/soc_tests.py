"""Lets the system run until its firmware has said its last word; run by cocotb in the simulator.

A job is a JSON file, named by +job=FILE.
"""

import json
import time
from pathlib import Path
from typing import Any

import cocotb
from cocotb.clock import Clock
from cocotb.triggers import First, RisingEdge, Timer, ValueChange
from cocotb.utils import get_sim_time

__all__ = ["run_system"]

#: Of the oscillator, which has twice the system's frequency.
_PERIOD_NS = 2
#: Cycles of the system between two looks at the clock on the wall.
_REPORT_CYCLES = 50_000


@cocotb.test()
async def run_system(dut: Any) -> None:
    """Start the clock, end the reset, wait for as many frames or cycles as the job says."""
    job = json.loads(Path(str(cocotb.plusargs["job"])).read_text())
    dut.rst.value = 1
    Clock(dut.osc, _PERIOD_NS, unit="ns", impl="gpi").start()
    await Timer(16 * _PERIOD_NS, unit="ns")
    dut.rst.value = 0
    begin, cycles = time.perf_counter(), 0.0
    with open(job["progress"], "w") as progress:
        while cycles < job["most_cycles"] and not dut.stopped.value \
                and int(dut.finished.value) < job["frames"]:
            await First(ValueChange(dut.finished), RisingEdge(dut.stopped),
                        Timer(2 * _REPORT_CYCLES * _PERIOD_NS, unit="ns"))
            cycles = get_sim_time("ns") / (2 * _PERIOD_NS)
            progress.write(f"{cycles:.0f} {time.perf_counter() - begin}\n")
            progress.flush()
    Path(job["result"]).write_text(json.dumps({
        "cycles": int(cycles), "seconds": time.perf_counter() - begin,
        "finished": int(dut.finished.value), "stopped": bool(dut.stopped.value),
        **{name: int(getattr(dut, name).value)
           for name in ("read_beats", "write_beats", "bus_cycles")}}))
