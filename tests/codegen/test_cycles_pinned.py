"""The predicted cycles of a small network, to the cycle: a lost overlap changes them."""

from tests.builds import compile_zoo

NETWORK, TARGET = "yolov4-tiny-quarter-64", "ulx3s-85f"
#: Cycles of a frame by bytes per cycle; built for the bus, which is 4, and latency 20.
CYCLES = {2: 222781, 4: 120469, 8: 119949}


def test_cycles_of_a_small_network() -> None:
    bandwidths = compile_zoo(NETWORK, TARGET).report["bandwidths"]
    found = {row["bytes_per_cycle"]: row["cycles"] for row in bandwidths}
    change = ", ".join(f"{found[b] / CYCLES[b] - 1:+.2%} at {b} B/cycle" for b in CYCLES)
    assert found == CYCLES, (
        f"{NETWORK} on {TARGET} changes by {change}. If that is not intended, look for the "
        f"overlap that was lost: compare report.html and timeline.json of both versions, from "
        f"'python -m codegen build {NETWORK} --target {TARGET}'. If it is, write the new numbers "
        f"here and why they changed in the commit's message, and see that YOLOv4-tiny-416 keeps "
        f"its goals: 'make bench RTL=1'.")
