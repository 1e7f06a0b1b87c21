"""The small system, from configuration to the boxes on the serial line, against ONNX Runtime.

What its processor and its array left in the RAM is compared with ONNX Runtime's tensors and, byte
for byte, with the simulator's memory; the printed checksums with those of ONNX Runtime's outputs;
the printed boxes with what the host makes of the same outputs.
"""

import re
import zlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from hw.spec.config import ConfigError
from hw.spec.small import CLOCK_HZ, check_small
from sim.build import BuildFolder
from sim.compare_tensors import compare_tensors
from sim.detect.heads import find_heads
from sim.errors import SimError
from sim.golden import Golden
from sim.model import Machine
from sim.results import TensorResult
from sim.soc import Say, check_headers, compare_boxes, frame_cycles, host_boxes
from sim.tensors import Array, host_outputs, read_tensors, write_inputs
from sim.verify import run
from sim.verify_frame import ideal_cycles

__all__ = ["SmallResult", "compare_checksums", "verify_small"]

#: The most that anything takes: copying and checking a byte of the image, a multiplication of the
#: array, and finding and printing boxes.
_BYTE_CYCLES, _MAC_CYCLES, _DECODE_CYCLES = 500, 300, 400_000_000


@dataclass(frozen=True, kw_only=True)
class SmallResult:
    """What a run of the small system showed.

    Parameters
    ----------
    text
        What the firmware said.
    tensors
        The graph's outputs, compared with ONNX Runtime's.
    memory_differs
        Bytes of the activations window that differ from the simulator's.
    checksums_differ, boxes_differ
        How the printed ones differ from the host's, as text; None if they do not.
    boxes
        How many the host finds; None if the model does not say what its outputs mean.
    cycles
        Of the frame, as the firmware counted them.
    array_cycles
        In which the array had an instruction.
    utilization
        Ideal cycles of the array / `array_cycles`; None without report.json.
    system_cycles, cycles_per_second
        From configuration to the end; simulated on the wall.
    """

    text: str
    tensors: list[TensorResult]
    memory_differs: int
    checksums_differ: str | None
    boxes: int | None
    boxes_differ: str | None
    cycles: int
    array_cycles: int
    utilization: float | None
    system_cycles: int
    cycles_per_second: float

    @property
    def total_mismatches(self) -> int:
        """Elements of the outputs that differ."""
        return sum(t.mismatches or 0 for t in self.tensors)

    @property
    def passed(self) -> bool:
        """Whether all is as it must be."""
        return not (self.total_mismatches or self.memory_differs or self.checksums_differ
                    or self.boxes_differ)

    @property
    def seconds(self) -> float:
        """Of a frame, at the board's clock."""
        return self.cycles / CLOCK_HZ

    def to_json(self) -> dict[str, Any]:
        """For ``--json``."""
        return asdict(self) | {"passed": self.passed, "total_mismatches": self.total_mismatches}


def verify_small(build: BuildFolder, headers: Path, feeds: Mapping[str, Array], *,
                 heads_file: Path | None = None, score: float = 0.25, checksum: bool = True,
                 say: Say = lambda *_: None) -> SmallResult:
    """Run the firmware of a build on the simulated small system, and compare what it did.

    Parameters
    ----------
    headers
        Folder that ``python -m codegen header`` made of the build.
    feeds
        One array per graph input, as ONNX Runtime takes it.
    heads_file
        What the outputs mean, if the model does not say it.
    score
        What the score of a box must exceed.
    checksum
        Let the firmware verify the image.
    say
        Called with stage, done, total.

    Raises
    ------
    SimError
        The build is not for a small system, something could not be built, or the firmware did not
        reach its end; the message ends with what it said.
    """
    try:
        check_small(build.image.config)
    except ConfigError as error:
        raise SimError(f"{error}.") from error
    # The hardware's generators, cocotb and compilers are needed for this only.
    from sim.tb.small_runner import build_small, run_small
    golden = Golden(build.model)
    heads = find_heads(golden.model, build.path, heads_file)
    say("ONNX Runtime", 0, 1)
    expected = golden.run(feeds)
    say("simulator", 0, 1)
    machine = Machine(build.image)
    run(build, machine, feeds)

    say("building the system", 0, 1)
    definitions = [f"MACRAME_SCORE={score!r}f", *(() if checksum else ["MACRAME_SKIP_CHECKSUM"])]
    system = build_small(build.image.config, headers, definitions=definitions)
    check_headers(build, headers, system.firmware.image)
    activations = np.zeros(build.image.activation_bytes, np.uint8)
    write_inputs(build, activations, feeds)
    ideal = ideal_cycles(build)
    most = (_BYTE_CYCLES * len(system.firmware.program.binary) + _DECODE_CYCLES
            + _MAC_CYCLES * 16 * round(sum(ideal) if ideal else 1e7))

    def progress(cycles: int, speed: float) -> None:
        say(f"system, {cycles / 1e6:.1f} M cycles, {speed / 1e3:.0f} kcycles/s", 0, 1)

    done = run_small(system, activations, most_cycles=most, progress=progress)
    if not done.finished:
        raise SimError(f"firmware must reach its end within {most} cycles; it stopped after "
                       f"{done.cycles}. It said:\n{done.text}")
    found = read_tensors(build, done.activations)
    names = [entry["tensor"] for entry in build.manifest["outputs"]]
    outputs = {name: found[name] for name in names}
    boxes, differ = None, None
    if heads is not None:
        theirs = host_boxes(build, heads, host_outputs(build, outputs), score)
        boxes, differ = len(theirs), compare_boxes(done.text, theirs)
    return SmallResult(
        text=done.text,
        tensors=compare_tensors(build, {name: expected[name] for name in names}, outputs, {}, {}),
        memory_differs=int(np.count_nonzero(done.activations != machine.activations)),
        checksums_differ=compare_checksums(done.text, {
            entry["name"]: expected[entry["tensor"]] for entry in build.manifest["outputs"]}),
        boxes=boxes, boxes_differ=differ, cycles=frame_cycles(done.text),
        array_cycles=done.mac_cycles,
        utilization=None if ideal is None else sum(ideal) / done.mac_cycles,
        system_cycles=done.cycles, cycles_per_second=done.cycles / done.seconds)


def compare_checksums(text: str, outputs: Mapping[str, Array]) -> str | None:
    """How the checksums that the firmware printed differ from those of `outputs`, or None."""
    printed = re.findall(r"^output (.*): (\d+) elements, crc32 0x([0-9a-f]{8})$", text, re.M)
    theirs = [(name, str(codes.size), f"{zlib.crc32(codes.tobytes()):08x}")
              for name, codes in outputs.items()]
    if len(printed) != len(theirs):
        return f"the firmware must print {len(theirs)} checksums, not {len(printed)}"
    for found, expected in zip(printed, theirs):
        if found != expected:
            return f"the firmware says {' '.join(found)}, ONNX Runtime {' '.join(expected)}"
    return None
