"""Traces of bus signals that keep the rules of sim/tb/axi_checker.sv, and traces that break one.

Run by cocotb inside the simulator on a module without contents, to which the checker is bound.
"""

import json
from pathlib import Path
from typing import Any

import cocotb
from cocotb.clock import Clock
from cocotb.triggers import FallingEdge
from cocotb.utils import get_sim_time

__all__ = ["TRACES", "play"]

#: What the signals are in one cycle; those that are not named are 0.
Cycle = dict[str, int]

BEATS = 4
MOST_BURSTS = 16


def address(channel: str, *, ready: int = 1, addr: int = 0x100, beats: int = BEATS, size: int = 2,
            burst: int = 1) -> Cycle:
    """A burst is offered on channel AR or AW, and perhaps taken."""
    values = {"valid": 1, "ready": ready, "addr": addr, "len": beats - 1, "size": size,
              "burst": burst}
    return {f"m_axi_{channel}{name}": value for name, value in values.items()}


def w(*, ready: int = 1, last: int = 0, data: int = 7, strb: int = 15) -> Cycle:
    """A beat of data is offered."""
    return {"m_axi_wvalid": 1, "m_axi_wready": ready, "m_axi_wlast": last, "m_axi_wdata": data,
            "m_axi_wstrb": strb}


def taken(bus: str, channel: str, **values: int) -> Cycle:
    """A transfer on a channel: valid and ready, and what else is given."""
    return {f"{bus}_{channel}{name}": value
            for name, value in {"valid": 1, "ready": 1, **values}.items()}


def offered(bus: str, channel: str, **values: int) -> Cycle:
    """The same, but not ready."""
    return taken(bus, channel, ready=0, **values)


DATA = [*[w()] * (BEATS - 1), w(last=1)]
R_LAST = taken("m_axi", "r", last=1)
B = taken("m_axi", "b")
ASK_WRITE = {**taken("s_axil", "aw"), **taken("s_axil", "w")}
ASK_READ = taken("s_axil", "ar")


def waiting(message: str, before: list[Cycle], good: Cycle, **changes: int) -> list[
        tuple[str, list[Cycle]]]:
    """What is offered and not taken goes away, or changes in one of its signals."""
    changed = [{**good, name: value} for name, value in changes.items()]
    return [(message, [*before, good, other]) for other in ({}, *changed)]


def _traces() -> list[tuple[str, list[Cycle]]]:
    traces: list[tuple[str, list[Cycle]]] = [
        ("", []),
        ("", [address("ar", ready=0)] * 3 + [address("ar"), address("ar", addr=0)]),
        ("", [address("aw", ready=0), {**address("aw", ready=0), **w(ready=0)},
              {**address("aw"), **w()}, *DATA[1:], B]),
        # data may be complete before the address is taken, and those of two bursts may touch
        ("", [address("aw", ready=0), *({**address("aw", ready=0), **beat} for beat in DATA),
              address("aw"), address("aw"), *DATA, B, B]),
        ("", [address("aw"), {**address("aw", beats=1), **w()}, *DATA[1:], w(last=1)]),
        ("", [address("ar", addr=0x1000 - 16 * 4, beats=16)]),
        ("", [address("ar")] * MOST_BURSTS + [R_LAST] + [address("ar")]),
        ("", [ASK_WRITE, offered("s_axil", "b"), taken("s_axil", "b"), ASK_READ,
              offered("s_axil", "r", data=5), taken("s_axil", "r", data=5)]),
        ("", [taken("s_axil", "w"), taken("s_axil", "aw"), taken("s_axil", "b")]),
        ("", [address("ar", ready=0), {"rst": 1}, {"rst": 1}, {}, address("ar")]),
        ("AR must leave room for the bursts before", [address("ar")] * (MOST_BURSTS + 1)),
        ("AW must leave room for the bursts before",
         [address("aw")] + [{**address("aw"), **beat} for beat in DATA * (MOST_BURSTS // BEATS)]),
        ("W must follow its AW", [{**address("aw"), **w()}]),
        ("W must follow its AW", [address("aw"), *DATA, w()]),
        ("WLAST must come with the last beat, and only there", [address("aw"), w(last=1)]),
        ("WLAST must come with the last beat, and only there", [address("aw"), *DATA[:-1], w()]),
        ("WLAST must come with the last beat, and only there",
         [address("aw"), address("aw", beats=1), *DATA, w()]),
        ("B of the registers must answer a write", [taken("s_axil", "b")]),
        ("B of the registers must answer a write", [taken("s_axil", "aw"), taken("s_axil", "b")]),
        ("B of the registers must answer a write", [taken("s_axil", "w"), taken("s_axil", "b")]),
        ("B of the registers must answer a write",
         [ASK_WRITE, taken("s_axil", "b"), taken("s_axil", "b")]),
        ("R of the registers must answer a read", [taken("s_axil", "r")]),
        ("R of the registers must answer a read",
         [ASK_READ, taken("s_axil", "r"), taken("s_axil", "r")]),
        *(("nothing must be offered in reset", [{"rst": 1}, {"rst": 1, name: 1}]) for name in (
            "m_axi_arvalid", "m_axi_awvalid", "m_axi_wvalid", "s_axil_bvalid", "s_axil_rvalid")),
        *waiting("W must stay until it is accepted", [address("aw")], w(ready=0),
                 m_axi_wdata=8, m_axi_wstrb=3),
        *waiting("W must stay until it is accepted", [address("aw", beats=1)],
                 w(ready=0, last=1), m_axi_wdata=8),
        *waiting("R of the registers must stay until it is accepted", [ASK_READ],
                 offered("s_axil", "r", data=5), s_axil_rdata=4, s_axil_rresp=2),
        *waiting("B of the registers must stay until it is accepted", [ASK_WRITE],
                 offered("s_axil", "b"), s_axil_bresp=2),
    ]
    for channel in ("ar", "aw"):
        name = channel.upper()
        traces += [
            *waiting(f"{name} must stay until it is accepted", [], address(channel, ready=0),
                     **{f"m_axi_{channel}addr": 0x200, f"m_axi_{channel}len": 2,
                        f"m_axi_{channel}id": 1}),
            *((f"{name} must ask for an INCR burst of whole beats", [address(channel, **bad)])
              for bad in ({"burst": 0}, {"burst": 2}, {"size": 1}, {"size": 3})),
            *((f"{name} must be aligned and no longer than a burst", [address(channel, **bad)])
              for bad in ({"addr": 0x102}, {"beats": 17})),
            *((f"{name} must not cross 4096 bytes", [address(channel, **bad)])
              for bad in ({"addr": 0xffc, "beats": 2}, {"addr": 0x7fc4, "beats": 16})),
        ]
    return traces


#: Which rule is broken, if any, and how.
TRACES = _traces()


@cocotb.test()
async def play(dut: Any) -> None:
    """Play all traces, each from reset, and write down when each began."""
    signals = {name: getattr(dut, name) for _, trace in TRACES for cycle in trace
               for name in cycle} | {"rst": dut.rst}
    Clock(dut.clk, 2, unit="ns", impl="gpi").start()
    starts = []
    for _, trace in TRACES:
        for number, cycle in enumerate([{"rst": 1}, {"rst": 1}, {}, *trace, {}]):
            if number == 2:
                starts.append(get_sim_time("step"))
            for name, signal in signals.items():
                signal.value = cycle.get(name, 0)
            await FallingEdge(dut.clk)
    Path(str(cocotb.plusargs["starts"])).write_text(json.dumps(starts))
