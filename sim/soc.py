"""The whole system, from reset to the boxes on the serial line, against ONNX Runtime.

What the core left in the SDRAM is compared with ONNX Runtime's tensors and, byte for byte, with the
simulator's memory; what the firmware printed with what the host makes of the same outputs.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from hw.spec.heads import Heads
from sim.build import BuildFolder
from sim.compare_tensors import compare_tensors
from sim.detect.decode import Detections, locate
from sim.detect.heads import find_heads
from sim.errors import SimError
from sim.golden import Golden
from sim.model import Machine
from sim.pictures.fit import Placement
from sim.results import TensorResult
from sim.tensors import Array, host_outputs, read_tensors, write_inputs
from sim.verify import predicted_cycles, run
from sim.verify_frame import ideal_cycles

__all__ = ["Say", "SocResult", "check_headers", "compare_boxes", "frame_cycles", "host_boxes",
           "verify_soc"]

#: From reset until the frame begins: waking the SDRAM, and the checksum of a byte.
_BOOT_CYCLES, _CHECKSUM_CYCLES = 1_000_000, 60
#: Of the firmware after the frame: decoding and printing.
_DECODE_CYCLES = 100_000_000

Say = Callable[[str, int, int], None]


@dataclass(frozen=True, kw_only=True)
class SocResult:
    """What a run of the system showed.

    Parameters
    ----------
    text
        What the firmware said.
    tensors
        The graph's outputs, compared with ONNX Runtime's.
    memory_differs
        Bytes of the activations window that differ from the simulator's.
    boxes
        How many the host finds; None if the model does not say what its outputs mean.
    boxes_differ
        How the printed boxes differ from the host's, as text; None if they do not.
    clock_hz, sdram_rate
        What the system was made for.
    cycles, cycles_predicted
        Of the frame: the core's counter, and the model's with a memory without pauses.
    utilization
        Ideal cycles / measured; None without report.json.
    read_bytes, written_bytes
        Moved by the core.
    bus_cycles
        In which the core had a transfer under way: what is moved in them tells how good the memory
        is, where it is asked for something.
    system_cycles, cycles_per_second
        From reset to the end; simulated on the wall.
    """

    text: str
    tensors: list[TensorResult]
    memory_differs: int
    boxes: int | None
    boxes_differ: str | None
    clock_hz: int
    sdram_rate: int
    cycles: int
    cycles_predicted: int
    utilization: float | None
    read_bytes: int
    written_bytes: int
    bus_cycles: int
    system_cycles: int
    cycles_per_second: float

    @property
    def total_mismatches(self) -> int:
        """Elements of the outputs that differ."""
        return sum(t.mismatches or 0 for t in self.tensors)

    @property
    def passed(self) -> bool:
        """Whether all is as it must be."""
        return not (self.total_mismatches or self.memory_differs or self.boxes_differ)

    def to_json(self) -> dict[str, Any]:
        """For ``--json``."""
        return asdict(self) | {"passed": self.passed, "total_mismatches": self.total_mismatches}


def verify_soc(build: BuildFolder, headers: Path, feeds: Mapping[str, Array], *,
               heads_file: Path | None = None, score: float = 0.25, checksum: bool = True,
               clock_hz: int | None = None, sdram_rate: int = 2,
               say: Say = lambda *_: None) -> SocResult:
    """Boot the firmware of a build on the simulated system, and compare what it did.

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
        Let the firmware verify the image, which takes longer than many a frame.
    clock_hz
        What the system is made for; None is that of the testbench.
    sdram_rate
        Clocks of the SDRAM per clock of the system: 1 or 2.
    say
        Called with stage, done, total.

    Raises
    ------
    SimError
        Something could not be built, or the firmware did not reach its end; the message ends with
        what it said.
    """
    # The hardware's generators, cocotb and compilers are needed for this only.
    from sim.tb.soc_runner import CLOCK_HZ, build_system, run_system
    clock_hz = clock_hz or CLOCK_HZ
    golden = Golden(build.model)
    heads = find_heads(golden.model, build.path, heads_file)
    say("ONNX Runtime", 0, 1)
    expected = golden.run(feeds)
    say("simulator", 0, 1)
    machine = Machine(build.image)
    run(build, machine, feeds)
    predicted = predicted_cycles(build, None, 20)

    say("building the system", 0, 1)
    definitions = [f"MACRAME_SCORE={score!r}f", *(() if checksum else ["MACRAME_SKIP_CHECKSUM"])]
    system = build_system(build.image.config, headers, definitions=definitions,
                          clock_hz=clock_hz, sdram_rate=sdram_rate)
    check_headers(build, headers, system.firmware.image)
    activations = np.zeros(build.image.activation_bytes, np.uint8)
    write_inputs(build, activations, feeds)
    before = _BOOT_CYCLES + (_CHECKSUM_CYCLES * system.firmware.image_bytes if checksum else 0)
    most = before + 3 * predicted + _DECODE_CYCLES

    def progress(cycles: int, speed: float) -> None:
        say(f"system, {cycles / 1e6:.1f} M cycles, {speed / 1e3:.0f} kcycles/s", cycles,
            max(cycles, before + predicted))

    done = run_system(system, activations, most_cycles=most, progress=progress)
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
    cycles = frame_cycles(done.text)
    ideal = ideal_cycles(build)
    return SocResult(
        text=done.text,
        tensors=compare_tensors(build, {name: expected[name] for name in names}, outputs, {}, {}),
        memory_differs=int(np.count_nonzero(done.activations != machine.activations)),
        boxes=boxes, boxes_differ=differ, clock_hz=clock_hz, sdram_rate=sdram_rate, cycles=cycles,
        cycles_predicted=predicted,
        utilization=None if ideal is None else sum(ideal) / cycles,
        read_bytes=done.read_bytes, written_bytes=done.written_bytes,
        bus_cycles=done.bus_cycles, system_cycles=done.cycles,
        cycles_per_second=done.cycles / done.seconds)


def compare_boxes(text: str, boxes: Detections) -> str | None:
    """How the boxes that the firmware printed differ from the host's, or None.

    The firmware computes in float32 and prints scores with four and pixels with two decimals: a
    number may be off by half a unit of its last digit, and by what float32 cannot tell.
    """
    printed = re.findall(r"^box (\d+) (\S+) (\S+) (\S+) (\S+) (\S+)$", text, re.M)
    stated = re.search(r"^boxes: (\d+)(?: \((.*)\))?$", text, re.M)
    if stated is None or int(stated[1]) != len(printed):
        return f"the firmware must print as many boxes as it states, not {len(printed)}"
    if stated[2]:
        return f"the firmware says: {stated[2]}"
    if len(printed) != len(boxes):
        return f"the firmware found {len(printed)} boxes, the host {len(boxes)}"
    for n, (line, box, score, kind) in enumerate(
            zip(printed, boxes.boxes, boxes.scores, boxes.classes), 1):
        theirs = [float(score), *map(float, box)]
        close = all(abs(float(a) - b) <= unit / 2 + 4e-6 * max(1.0, abs(b))
                    for a, b, unit in zip(line[1:], theirs, (1e-4, *[1e-2] * 4)))
        if int(line[0]) != kind or not close:
            return (f"box {n} of the firmware is {' '.join(line)}, the host's {kind} "
                    + " ".join(f"{value:.6f}" for value in theirs))
    return None


def host_boxes(build: BuildFolder, heads: Heads, outputs: Mapping[str, Array],
                score: float) -> Detections:
    """Decode as ``python -m sim detect`` does; the input is the picture."""
    height, width = build.tensors[build.manifest["inputs"][0]["tensor"]].shape[2:]
    whole = Placement(1.0, 1.0, 0, 0, width, height)
    return locate(heads, outputs, input_size=(height, width), placement=whole,
                  picture_size=(width, height), score=score)


def frame_cycles(text: str) -> int:
    """Cycles of the frame, as the firmware stated them.

    Raises
    ------
    SimError
        It did not.
    """
    found = re.search(r"^frame: (\d+) cycles", text, re.M)
    if found is None:
        raise SimError(f"firmware must state the cycles of its frame; it said:\n{text}")
    return int(found[1])


def check_headers(build: BuildFolder, headers: Path, image: bytes) -> None:
    """Refuse headers that are not of the build: `image` is what the firmware got by them.

    Raises
    ------
    SimError
    """
    if image != (build.path / "program.bin").read_bytes():
        raise SimError(f"headers {str(headers)!r} must be those of the build {str(build.path)!r}, "
                       f"not of another one; run `python -m codegen header {build.path} "
                       f"-o {headers}`.")
