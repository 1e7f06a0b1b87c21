"""Where the windows of convolutions and pools lie: strides, dilations and padding, N dimensions."""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from sim.integer_ops.call import Call, Tensor

__all__ = ["Windows", "windows_of"]


@dataclass(frozen=True)
class Windows:
    """Geometry of sliding windows; each tuple has one number for each spatial dimension.

    Parameters
    ----------
    kernel, strides, dilations
        As in ONNX.
    begin, end
        Rows of padding before and after the input. ``end`` is what the windows reach for: with
        ``ceil_mode`` it may exceed the attribute, or be negative if rows are left over.
    declared_end
        Padding after the input that belongs to the windows for ``count_include_pad``.
    outputs
        Number of windows.
    """

    kernel: tuple[int, ...]
    strides: tuple[int, ...]
    dilations: tuple[int, ...]
    begin: tuple[int, ...]
    end: tuple[int, ...]
    declared_end: tuple[int, ...]
    outputs: tuple[int, ...]

    def pad(self, x: Tensor, value: float) -> Tensor:
        """Pad ``x[N, C, ...]`` with ``value`` so that no window leaves it."""
        widths = [(0, 0), (0, 0)]
        widths += [(begin, max(end, 0)) for begin, end in zip(self.begin, self.end)]
        if not any(map(any, widths)):
            return x
        return np.pad(x, widths, constant_values=value)

    def taps(self, padded: Tensor) -> Iterator[Tensor]:
        """Yield the elements that all windows see at each kernel position, in row-major order.

        Each is a view ``[N, C, *outputs]`` of ``padded``.
        """
        for tap in itertools.product(*map(range, self.kernel)):
            cut = [slice(None), slice(None)]
            for at, stride, dilation, count in zip(tap, self.strides, self.dilations,
                                                   self.outputs):
                first = at * dilation
                cut.append(slice(first, first + stride * (count - 1) + 1, stride))
            yield padded[tuple(cut)]


def windows_of(call: Call, spatial: tuple[int, ...], kernel: tuple[int, ...]) -> Windows:
    """Resolve the attributes of a convolution or pool on an input of size ``spatial``.

    Follows ONNX Runtime for ``auto_pad`` and ``ceil_mode``: a last window that would begin in the
    padding after the input is dropped.
    """
    rank = len(spatial)
    strides = tuple(call.attribute("strides") or (1,) * rank)
    dilations = tuple(call.attribute("dilations") or (1,) * rank)
    pads = tuple(call.attribute("pads") or (0,) * (2 * rank))
    call.require(len(kernel) == len(strides) == len(dilations) == rank and len(pads) == 2 * rank,
                 f"Kernel, strides, dilations and pads must be given for {rank} dimensions.",
                 f"kernel {kernel}, strides {strides}, dilations {dilations}, pads {pads}")
    automatic = call.attribute("auto_pad", "NOTSET")
    begins, ends, reaches, outputs = [], [], [], []
    for d in range(rank):
        extent = dilations[d] * (kernel[d] - 1) + 1
        begin, end = pads[d], pads[rank + d]
        if automatic == "VALID":
            begin = end = 0
        elif automatic in ("SAME_UPPER", "SAME_LOWER"):
            count = -(-spatial[d] // strides[d])
            both = max((count - 1) * strides[d] + extent - spatial[d], 0)
            begin = both // 2 if automatic == "SAME_UPPER" else -(-both // 2)
            end = both - begin
        room = spatial[d] + begin + end - extent
        call.require(room >= 0, "The kernel must fit into the padded input.",
                     f"kernel reach {extent} in dimension {d}, input {spatial[d]}, "
                     f"padding {begin} and {end}")
        count = room // strides[d] + 1
        if call.attribute("ceil_mode", 0):
            count = -(-room // strides[d]) + 1
            if (count - 1) * strides[d] >= spatial[d] + begin:
                count -= 1
        begins.append(begin)
        ends.append(end)
        reaches.append((count - 1) * strides[d] + extent - spatial[d] - begin)
        outputs.append(count)
    return Windows(kernel=kernel, strides=strides, dilations=dilations, begin=tuple(begins),
                   end=tuple(reaches), declared_end=tuple(ends), outputs=tuple(outputs))
