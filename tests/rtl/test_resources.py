"""What the model of resources says of an ECP5, against Yosys."""

from collections import Counter
from dataclasses import replace
from pathlib import Path
from random import Random

import pytest
from amaranth import Module, Signal, Value
from amaranth.back import rtlil
from amaranth.lib.memory import Memory as RtlMemory
from amaranth.lib.wiring import Out

from hw.bitstream.boards import BOARDS as BITSTREAM_BOARDS
from hw.bitstream.synthesize import cells_by_component, synthesize
from hw.bitstream.tools import find
from hw.generate import MODULE, colliding, core_rtlil
from hw.rtl.scratchpad import ScratchpadMemory
from hw.spec.block_ram import Memory, Storage, storage
from hw.spec.boards import BOARDS, ERROR, PLACED
from hw.spec.config import PRESETS
from hw.spec.resources import scratchpad_parts

pytestmark = pytest.mark.rtl

SYNTH = BITSTREAM_BOARDS["ulx3s-85f"].device.synth


def test_memories_become_what_the_model_says(tmp_path: Path) -> None:
    """Of any size; those of the core are among them."""
    rng = Random(7)
    shapes = [(128, 8), (256, 8), (4096, 8), (48, 32), (64, 32), (513, 32), (32, 61), (64, 61)]
    shapes += [(rng.randint(2, 2100), rng.randint(2, 144)) for _ in range(12)]
    expected = {f"m{i}.memory": Memory(words=words, bits=bits)
                for i, (words, bits) in enumerate(shapes)}
    m, ports = Module(), list[Signal]()

    def port(value: Value, name: str, *, read: bool = False) -> None:
        ports.append(signal := Signal(len(value), name=name))
        m.d.comb += signal.eq(value) if read else value.eq(signal)
    for name, memory in expected.items():
        number = name.partition(".")[0]
        inner = Module()
        inner.submodules.memory = rtl = RtlMemory(shape=memory.bits, depth=memory.words, init=[])
        m.submodules[number] = inner
        write, read = rtl.write_port(), rtl.read_port()
        for key in ("addr", "data", "en"):
            port(getattr(write, key), f"{number}_write_{key}")
            port(getattr(read, key), f"{number}_read_{key}", read=key == "data")
    for i in range(4):
        config = replace(PRESETS["test-8x4"], rows=rng.choice([4, 8, 16, 32]),
                         scratchpad_words=rng.choice([64, 1000, 4096, 13312, 20000]))
        m.submodules[f"s{i}"] = scratchpad = ScratchpadMemory(config)
        for (key,), member, value in scratchpad.signature.flatten(scratchpad):
            port(Value.cast(value), f"s{i}_{key}", read=member.flow is Out)
        expected |= {f"s{i}.part_{n}": Memory(words=words, bits=8 * config.rows, bytes_written=True)
                     for n, words in enumerate(scratchpad_parts(config.scratchpad_words))}
    (tmp_path / "top.il").write_text(colliding(rtlil.convert(m, name="top", ports=ports)))
    find("yosys").run("-q", "-p", "read_rtlil top.il; hierarchy -top top; flatten; "
                      f"{SYNTH} -top top -run begin:map_ffram; "
                      "select top; write_json -selected netlist.json",
                      folder=tmp_path, log="yosys.out")
    found = cells_by_component(tmp_path / "netlist.json",
                               {name: name for name in expected} | {"": ""})
    wrong = {name: (memory, storage(memory), found[name]) for name, memory in expected.items()
             if not _is(storage(memory), found[name])}
    assert not wrong


def _is(model: Storage, cells: Counter[str]) -> bool:
    return (model.blocks, model.lut_rams) == (cells["DP16KD"], cells["TRELLIS_DPR16X4"])


def test_a_core_takes_what_the_model_says(tmp_path: Path) -> None:
    board, config = BOARDS["ulx3s-85f"], PRESETS["test-4x4"]
    netlist = synthesize(tmp_path, {f"{MODULE}.il": core_rtlil(config, board.multipliers(config))},
                         top=MODULE, synth=SYNTH)
    cells = cells_by_component(netlist.path, {"": "core"})["core"]
    core = board.core(config)
    assert core is not None
    assert (cells["MULT18X18D"], cells["DP16KD"]) == (core.dsp, core.ebr)
    luts = cells["LUT4"] + 2 * cells["CCU2C"] + 4 * cells["TRELLIS_DPR16X4"]
    assert abs(core.lut4 / (PLACED * luts) - 1) < ERROR
    assert abs(core.ff / cells["TRELLIS_FF"] - 1) < ERROR


def test_copies_of_a_register_are_kept_if_they_ask_for_it(tmp_path: Path) -> None:
    """Short wires to what is spread over the FPGA. The other copies are merged, here into one of
    those that are kept.
    """
    m, value = Module(), Signal(4)
    outputs = []
    for name, attributes in (("kept", {"keep": 1}), ("merged", {})):
        for i in range(3):
            copy = Signal(4, name=f"{name}_{i}", attrs=attributes, reset_less=True)
            outputs.append(output := Signal(4, name=f"{name}_{i}_out"))
            m.d.sync += copy.eq(value)
            m.d.comb += output.eq(copy)
    text = rtlil.convert(m, name="top", ports=[value, *outputs])
    netlist = synthesize(tmp_path, {"top.il": text}, top="top", synth=SYNTH)
    assert cells_by_component(netlist.path, {"": "all"})["all"]["TRELLIS_FF"] == 3 * 4
