"""Lets the small system run until its firmware has said its last word; run by cocotb in the
simulator.

A job is a JSON file, named by +job=FILE.
"""

import json
import time
from pathlib import Path
from typing import Any

import cocotb
from cocotb.clock import Clock
from cocotb.triggers import First, RisingEdge, Timer
from cocotb.utils import get_sim_time

__all__ = ["run_small"]

_PERIOD_NS = 2
#: Cycles between two looks at the clock on the wall.
_REPORT_CYCLES = 100_000


@cocotb.test()
async def run_small(dut: Any) -> None:
    """Start the clock, wait for the firmware's end, or as many cycles as the job says."""
    job = json.loads(Path(str(cocotb.plusargs["job"])).read_text())
    Clock(dut.clk, _PERIOD_NS, unit="ns", impl="gpi").start()
    begin, cycles = time.perf_counter(), 0.0
    with open(job["progress"], "w") as progress:
        while cycles < job["most_cycles"] and not dut.stopped.value and not dut.finished.value:
            await First(RisingEdge(dut.finished), RisingEdge(dut.stopped),
                        Timer(_REPORT_CYCLES * _PERIOD_NS, unit="ns"))
            cycles = get_sim_time("ns") / _PERIOD_NS
            progress.write(f"{cycles:.0f} {time.perf_counter() - begin}\n")
            progress.flush()
    Path(job["result"]).write_text(json.dumps({
        "cycles": int(cycles), "seconds": time.perf_counter() - begin,
        "finished": bool(dut.finished.value), "mac_cycles": int(dut.mac_cycles.value)}))
