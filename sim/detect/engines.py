"""What can run a network: ONNX Runtime, the instruction-set simulator, or the generated Verilog."""

from collections.abc import Callable, Mapping
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import onnx

from hw.spec.regs import Fault
from sim.build import BuildFolder
from sim.errors import SimError
from sim.golden import Golden
from sim.model import Machine
from sim.tensors import host_outputs, read_tensors, write_inputs
from sim.verify import run

__all__ = ["ENGINES", "Engine", "IssEngine", "OrtEngine", "RtlEngine"]

ENGINES = ("ort", "iss", "rtl")

Tensors = Mapping[str, npt.NDArray[Any]]
Progress = Callable[[str, int, int], None]


class Engine(Protocol):
    """Runs one network, as often as one likes."""

    def run(self, feeds: Tensors) -> Tensors:
        """Run once; returns at least the graph's outputs, by name.

        Raises
        ------
        SimError
            The network stopped with an error.
        """


class OrtEngine:
    """ONNX Runtime as the references use it."""

    def __init__(self, model: onnx.ModelProto) -> None:
        self._golden = Golden(model)

    def run(self, feeds: Tensors) -> Tensors:
        """See ``Engine``."""
        return self._golden.run(feeds)


class IssEngine:
    """The instruction-set simulator. The program is decoded once."""

    def __init__(self, build: BuildFolder) -> None:
        self._build = build
        self._machine = Machine(build.image)

    def run(self, feeds: Tensors) -> Tensors:
        """See ``Engine``."""
        return run(self._build, self._machine, feeds)


class RtlEngine:
    """The core in Verilator; some minutes for a large network."""

    def __init__(self, build: BuildFolder, progress: Progress) -> None:
        self._build = build
        self._progress = progress

    def run(self, feeds: Tensors) -> Tensors:
        """See ``Engine``."""
        # The hardware's generator and cocotb are needed for this engine only.
        from sim.tb.runner import run_rtl
        build = self._build
        activations = np.zeros(build.image.activation_bytes, np.uint8)
        write_inputs(build, activations, feeds)
        result = run_rtl(build.image, activations, progress=lambda cycles, speed: self._progress(
            f"RTL, {cycles / 1e6:.1f} Mcycles at {speed / 1e3:.0f} kcycles/s", 0, 1))
        if result.fault != Fault.NONE:
            raise SimError(f"program of {str(build.path)!r} must run to its end in RTL; it stopped "
                           f"with {result.fault.name} at instruction {result.instruction}. Try "
                           f"`python -m sim verify {build.path} --engine rtl`.")
        found = read_tensors(build, result.activations)
        return found | host_outputs(build, found)
