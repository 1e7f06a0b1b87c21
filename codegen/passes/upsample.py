"""Let a convolution read an upsampled tensor from the small one that it was made of.

Before: a kernel repeats the pixels of a tensor, and a convolution reads the large result, maybe
next to other tensors. After: the convolution reads those planes from the small tensor, whose
pixels count several times. Equal because the array's address generator finds pixel
``(y >> up_y, x >> up_x)`` where the large tensor has a copy of it. What the large tensor was mapped
through on the way is applied where the small one is made, if nobody else reads that.
"""

from collections.abc import Iterator
from dataclasses import replace

from codegen import ir
from codegen.exact.tables import compose
from codegen.lowered import (
    ConvKernel,
    ElementwiseKernel,
    Kernel,
    Lowered,
    Sink,
    Upsampled,
    View,
    sources,
)
from hw.spec.config import MAX_UPSAMPLE_LOG2

__all__ = ["merge_upsampling"]


def merge_upsampling(lowered: Lowered, index: int) -> Lowered | None:
    """Make one of kernels `index`, an upsampling, and the convolution behind it.

    Returns
    -------
    Lowered or None
        None if they are something else, if the large tensor must be in memory, or if what it is
        mapped through cannot be applied to the small one.
    """
    large, conv = lowered.kernels[index:index + 2]
    if not isinstance(large, ElementwiseKernel) or not isinstance(large.op, ir.Resize) \
            or not isinstance(conv, ConvKernel) or conv.folded or conv.op.depthwise \
            or conv.upsampled or len(large.sinks) != 1 \
            or any(n & (n - 1) or n > 1 << MAX_UPSAMPLE_LOG2 for n in large.repeat):
        return None
    (sink,) = large.sinks
    result = View(buffer=sink.buffer, brick=sink.brick, layout=large.out)
    if sink.buffer is not conv.source.buffer or not result.bricks() <= conv.source.bricks() \
            or _read_by_others(lowered, result, conv):
        return None
    kernels, gone = list(lowered.kernels), [result]
    if sink.table is not None:
        writers = list(_writers(lowered, large.a))
        if not writers or any(s.pool for _, s in writers) \
                or not all(_covered(k, s) <= large.a.bricks() for k, s in writers) \
                or _read_by_others(lowered, large.a, large):
            return None
        for kernel, _ in writers:
            kernels[kernels.index(kernel)] = replace(kernel, sinks=tuple(
                replace(s, table=sink.table if s.table is None else compose(s.table, sink.table))
                if (kernel, s) in writers else s for s in kernel.sinks))
        gone.append(large.a)
    fused = dict.fromkeys((large.name, *large.fused, *conv.fused))
    kernels[index:index + 2] = [replace(conv, fused=tuple(fused), upsampled=Upsampled(
        view=large.a, plane=sink.brick - conv.source.brick,
        log2=(large.repeat[0].bit_length() - 1, large.repeat[1].bit_length() - 1)))]
    views = {name: view for name, view in lowered.views.items()
             if not any(view.overlaps(other) for other in gone)}
    return replace(lowered, kernels=tuple(kernels), views=views,
                   groups=tuple((kernel,) for kernel in kernels))


def _read_by_others(lowered: Lowered, view: View, reader: Kernel) -> bool:
    """Whether anybody but `reader` reads bricks of `view`, the host included."""
    kept = lowered.views.values() if lowered.keep_tensors else [
        lowered.views[out.tensor] for out in lowered.graph.outputs]
    return any(view.overlaps(other) for other in kept) or any(
        view.overlaps(other) for kernel in lowered.kernels if kernel is not reader
        for other in sources(kernel))


def _covered(kernel: Kernel, sink: Sink) -> set[int]:
    return set(range(sink.brick, sink.brick + kernel.out.bricks))


def _writers(lowered: Lowered, view: View) -> Iterator[tuple[Kernel, Sink]]:
    """Kernels that write bricks of `view`."""
    for kernel in lowered.kernels:
        for sink in kernel.sinks:
            if sink.buffer is view.buffer and _covered(kernel, sink) & view.bricks():
                yield kernel, sink
