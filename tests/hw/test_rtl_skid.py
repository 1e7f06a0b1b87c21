"""The skid buffer against a list."""

import random

import pytest
from amaranth import unsigned

from hw.rtl.skid import SkidBuffer
from sim.testing import simulate


@pytest.mark.parametrize(("offered", "taken"), [(1.0, 1.0), (0.5, 1.0), (1.0, 0.5), (0.6, 0.6)])
def test_all_that_enters_leaves_in_order(offered: float, taken: float) -> None:
    """Two places, a cycle's latency, and nothing waits if `o` is always ready."""
    rng = random.Random(3)
    dut = SkidBuffer(unsigned(8))
    inside: list[int] = []

    async def bench(ctx):
        moved = 0
        for number in range(300):
            valid, ready = rng.random() < offered, rng.random() < taken
            ctx.set(dut.i.valid, valid)
            ctx.set(dut.i.payload, number & 255)
            ctx.set(dut.o.ready, ready)
            assert ctx.get(dut.i.ready) == (len(inside) < 2)
            assert ctx.get(dut.o.valid) == bool(inside)
            enters = valid and len(inside) < 2
            if inside and ready:
                assert ctx.get(dut.o.payload) == inside.pop(0)
                moved += 1
            if enters:
                inside.append(number & 255)
            await ctx.tick()
        assert moved > 80 and (offered * taken < 1 or moved == 299)

    simulate(dut, bench)
