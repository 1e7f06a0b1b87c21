"""What a verification found, as the command line prints it and ``--json`` writes it."""

from dataclasses import asdict, dataclass, field
from typing import Any

__all__ = ["LayerResult", "Mismatch", "RtlResult", "TensorResult", "Verification"]


@dataclass(frozen=True)
class TensorResult:
    """Comparison of one tensor.

    Parameters
    ----------
    name, shape, elements
        As in the model.
    mismatches
        Elements in which the engine differs from ONNX Runtime; None if it was not compared.
    max_abs_diff
        Largest difference.
    first
        Index of the first difference, expected and found value.
    where
        "memory", "host" (dequantized by the host), "input" (what was fed), "table" (a float tensor
        that only exists inside a table), "fused" (not kept; build with --keep-tensors), "reused"
        (whole frames in RTL only: its memory is written again before the end; likewise) or
        "skipped" (its layer was not run).
    host_differs
        Elements in which ONNX Runtime differs from exact integers computed from ONNX Runtime's
        own inputs of that node.
    """

    name: str
    shape: tuple[int, ...]
    elements: int
    mismatches: int | None
    max_abs_diff: float
    first: tuple[tuple[int, ...], float, float] | None
    where: str
    host_differs: int = 0


@dataclass(frozen=True, kw_only=True)
class Mismatch:
    """The byte that the RTL got wrong first, in the order of the program.

    Parameters
    ----------
    layer, name
        Number and node of the layer that wrote it.
    tile, instruction
        Which part of the layer, counted from 1, and which instruction of the program; None if no
        instruction should have written it.
    memory, address
        "activations" or "scratchpad", and which byte of it.
    tensor, channel, row, column
        What it means; None if the graph has no name for it.
    expected, found
        Values: as in the model if it is part of a tensor, else as stored.
    """

    layer: int
    name: str
    tile: int | None
    instruction: int | None
    memory: str
    address: int
    tensor: str | None = None
    channel: int | None = None
    row: int | None = None
    column: int | None = None
    expected: int
    found: int

    def __str__(self) -> str:
        writer = "no instruction writes it" if self.instruction is None else \
            f"tile {self.tile}, instruction {self.instruction}"
        what = f"byte {self.address:#x} of the {self.memory}" if self.tensor is None else \
            f"tensor {self.tensor!r}, channel {self.channel}, row {self.row}, column {self.column}"
        return (f"layer {self.layer} ({self.name}), {writer}: {what}: expected {self.expected}, "
                f"got {self.found}")


@dataclass(frozen=True, kw_only=True)
class LayerResult:
    """A layer, or a tile of one, that was run in RTL by itself.

    Parameters
    ----------
    layer, name, tile
        Its number and node; the tile, or None for all of the layer.
    instructions
        The first of the program, and the one behind the last.
    cycles, cycles_predicted, error
        Measured by the core; predicted for the same instructions; predicted / measured - 1.
    ideal_cycles, utilization
        What the array needs at least, and that / measured; None for a tile or without a report.
    queues
        By name: cycles busy, waiting for tokens, and stalled by memory or other units.
    read_bytes, written_bytes
        On the bus.
    memory_differs, scratchpad_differs
        Bytes in which RTL and simulator differ afterwards.
    violations
        Accesses that break the bus protocol or leave their window.
    mismatch
        The first byte that is wrong, if any is.
    """

    layer: int
    name: str
    tile: int | None
    instructions: tuple[int, int]
    cycles: int
    cycles_predicted: int
    error: float
    ideal_cycles: float | None
    utilization: float | None
    queues: dict[str, dict[str, int]]
    read_bytes: int
    written_bytes: int
    memory_differs: int
    scratchpad_differs: int
    violations: list[str]
    mismatch: Mismatch | None


@dataclass(frozen=True, kw_only=True)
class RtlResult:
    """What only a run of the RTL tells; sums, where layers ran one by one.

    Parameters
    ----------
    cycles
        Measured by the core.
    error
        Of the prediction: predicted / measured - 1.
    utilization
        Ideal cycles / measured; None if the build has no report.
    queues, read_bytes, written_bytes, violations
        As in :class:`LayerResult`.
    memory_differs
        Bytes of the activations window, and of the scratchpad after layers, in which RTL and
        simulator differ at the end.
    mismatch
        The first byte that is wrong, if any is.
    layers
        What ran by itself; empty if the whole frame ran at once.
    cycles_per_second
        Speed of the simulation.
    waves
        File with waveforms, if they were asked for.
    """

    cycles: int
    error: float
    utilization: float | None
    queues: dict[str, dict[str, int]]
    read_bytes: int
    written_bytes: int
    memory_differs: int
    violations: list[str]
    mismatch: Mismatch | None
    cycles_per_second: float
    layers: list[LayerResult] = field(default_factory=list)
    waves: str | None = None


@dataclass
class Verification:
    """All results of one run."""

    engine: str
    tensors: list[TensorResult]
    total_mismatches: int
    compared: int
    compared_elements: int
    cycles_predicted: int
    macs_per_cycle: int
    instructions: int
    seconds: dict[str, float]
    shuffles: dict[int, int] = field(default_factory=dict)
    races: int | None = None
    rtl: RtlResult | None = None

    @property
    def passed(self) -> bool:
        """Something was compared; no mismatch, no race, the same memory in every interleaving
        and engine, no violation.
        """
        failed = (self.total_mismatches or any(self.shuffles.values()) or self.races
                  or self.rtl and (self.rtl.memory_differs or self.rtl.violations))
        return bool(self.compared or self.rtl and self.rtl.layers) and not failed

    def to_json(self) -> dict[str, Any]:
        """As ``--json`` writes it."""
        return asdict(self) | {"passed": self.passed}
