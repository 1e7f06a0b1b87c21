"""Give every buffer an address in the activations window.

Buffers whose lives do not overlap share memory; with ``keep_tensors`` all live for ever. What only
the kernels of one group write and read is not in memory at all.
"""

from codegen.errors import BuildError
from codegen.lowered import Buffer, Lowered, sources
from hw.spec.config import MEMORY_BYTES, ArrayConfig

__all__ = ["allocate"]

_ALIGNMENT = 64


def allocate(lowered: Lowered, config: ArrayConfig) -> tuple[dict[Buffer, int], int]:
    """First fit, in order of first use.

    Returns
    -------
    dict
        Byte address of each buffer that is not constant, a multiple of 64.
    int
        Bytes of the activations window.

    Raises
    ------
    BuildError
        If the window would be larger than an instruction can address.
    """
    first, last = dict[Buffer, int](), dict[Buffer, int]()
    sinks = [sink for kernel in lowered.kernels for sink in kernel.sinks]
    on_chip = {s.buffer for s in sinks} - {s.buffer for s in sinks if s.stored}
    for i, kernel in ((i, kernel) for i, group in enumerate(lowered.groups) for kernel in group):
        for buffer in (*(v.buffer for v in sources(kernel)), *(s.buffer for s in kernel.sinks)):
            if buffer not in on_chip:
                first.setdefault(buffer, i)
                last[buffer] = i
    for entry in lowered.graph.inputs:
        buffer = lowered.views[entry.tensor].buffer
        first[buffer] = -1
        last.setdefault(buffer, len(lowered.groups))
    for out in lowered.graph.outputs:
        last[lowered.views[out.tensor].buffer] = len(lowered.groups)
    if lowered.keep_tensors:
        last = dict.fromkeys(last, len(lowered.groups))

    placed: list[tuple[int, int, Buffer]] = []
    for buffer in sorted((b for b in first if b.data is None),
                         key=lambda b: (first[b], -b.size(config), b.name)):
        size = -(-buffer.size(config) // _ALIGNMENT) * _ALIGNMENT
        start = 0
        for s, end, other in sorted(placed, key=lambda p: p[0]):
            if last[other] < first[buffer] or first[other] > last[buffer]:
                continue
            if start + size <= s:
                break
            start = max(start, end)
        placed.append((start, start + size, buffer))
    total = max((end for _, end, _ in placed), default=_ALIGNMENT)
    if total > MEMORY_BYTES:
        raise BuildError(f"activations must fit {MEMORY_BYTES} bytes of memory, not {total}; "
                         f"use a smaller input size, or build without --keep-tensors")
    return {buffer: start for start, _, buffer in placed}, total
