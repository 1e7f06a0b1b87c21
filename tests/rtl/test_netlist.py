"""A core as Yosys makes it of cells of the FPGA does what the Verilog does, cycle by cycle.

The script is that of a bitstream. Cells are Yosys' own models, and ecp5.sv for block RAM and
multipliers.
"""

from pathlib import Path

import numpy as np
import pytest

from hw.spec.config import ArrayConfig
from hw.spec.regs import Fault
from sim.model import Machine
from sim.tb.runner import run_rtl
from tests.builds import build_folder
from tests.rtl.netlist import build_netlist, synthesize_core
from tests.sim.squares import write

pytestmark = pytest.mark.rtl

#: The smallest core: to compile a netlist takes a minute.
CONFIG = ArrayConfig(rows=2, columns=2, scratchpad_words=512, weight_words=64, accumulator_words=32,
                     parameter_entries=4, table_slots=2, add_table_slots=1, post_lanes=1,
                     queue_depth=2)


def test_netlist_and_verilog_do_the_same(tmp_path: Path) -> None:
    netlist = synthesize_core(CONFIG, tmp_path)
    cells = netlist.path.read_text()
    assert cells.count('"DP16KD"') > 5 and cells.count('"MULT18X18D"') > 5
    write(tmp_path)
    image = build_folder(tmp_path / "int8.onnx", tmp_path / "build", CONFIG).image
    activations = np.random.default_rng(1).integers(0, 256, image.activation_bytes, dtype=np.uint8)
    machine = Machine(image)
    machine.activations[:] = activations
    machine.run()

    simulation = build_netlist(netlist, CONFIG)
    found = run_rtl(image, activations, simulation=simulation)
    assert (found.fault, found.violations) == (Fault.NONE, ())
    assert np.array_equal(found.activations, machine.activations)
    expected = run_rtl(image, activations)
    assert (found.cycles, found.queues) == (expected.cycles, expected.queues)
