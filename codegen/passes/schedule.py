"""Write the instructions of every kernel, in an order that is right when run one by one.

Before: kernels, buffers with addresses. After: a list of :class:`codegen.lowered.Instruction`
without tokens. :mod:`codegen.passes.hoist` moves loads forward, then
:mod:`codegen.passes.synchronize` lets the queues overlap.
"""

from collections.abc import Mapping

from codegen import ir
from codegen.ir import Int8
from codegen.lowered import (
    Buffer,
    ConvKernel,
    ElementwiseKernel,
    Instruction,
    Lowered,
    PoolKernel,
    Sink,
    View,
)
from codegen.passes.cascade import Cascade
from codegen.passes.onchip import Cache, Ring
from codegen.passes.pack import ConstantPool
from codegen.passes.schedule_cascade import write_cascade
from codegen.passes.schedule_conv import ConvWriter
from codegen.passes.surfaces import named, surface, window
from codegen.passes.tile import Planned, input_span, plan_blocks, spans
from hw.spec.config import ArrayConfig
from hw.spec.isa import Elementwise, LinearTarget, Opcode, Window
from hw.spec.numerics import MULTIPLIER_ONE

__all__ = ["Writer", "schedule"]


def schedule(lowered: Lowered, addresses: dict[Buffer, int], config: ArrayConfig,
             constants: ConstantPool, planned: Mapping[str, Planned],
             cascades: Mapping[str, Cascade]) -> tuple[list[Instruction], dict[str, int]]:
    """Instructions of all kernels, END last. Tables are added to `constants`.

    Parameters
    ----------
    planned, cascades
        By name of the kernel, or of the first kernel of the cascade.

    Returns
    -------
    list
    dict
        How many scratchpad words each group has, by the name of its first kernel.
    """
    writer = Writer(config, addresses, constants)
    words = dict[str, int]()
    for group in lowered.groups:
        kernel = group[0]
        writer.kernel = kernel.name
        before = writer.scratchpad.taken
        match kernel:
            case ConvKernel() if kernel.name in cascades:
                write_cascade(writer, cascades[kernel.name])
            case ConvKernel():
                own = planned[kernel.name]
                ConvWriter(writer, kernel, own.packed, own.plan).write()
            case PoolKernel():
                _pool(writer, kernel)
            case ElementwiseKernel():
                _elementwise(writer, kernel)
        words[kernel.name] = min(writer.scratchpad.taken - before, config.scratchpad_words)
    writer.kernel = ""
    writer.emit(Opcode.END)
    return writer.instructions, words


class Writer:
    """The program under construction, and what the on-chip memories hold.

    Attributes
    ----------
    kernel : str
        Name of the kernel that new instructions serve.
    scratchpad : Ring
    """

    def __init__(self, config: ArrayConfig, addresses: dict[Buffer, int],
                 constants: ConstantPool) -> None:
        self.config = config
        self.constants = constants
        self.instructions: list[Instruction] = []
        self.kernel = ""
        self.scratchpad = Ring(config.scratchpad_words)
        self._addresses = dict(addresses)
        self._weights = Cache(config.weight_words)
        self._parameters = Cache(config.parameter_entries)
        self._tables = Cache(config.table_slots)
        self._add_tables = Cache(config.add_table_slots)
        self._accumulators = 0

    def emit(self, opcode: Opcode, **fields: int) -> None:
        """Append an instruction; `wait` and `signal` come later."""
        self.instructions.append(Instruction(opcode=opcode, kernel=self.kernel, fields=fields))

    def accumulators(self) -> int:
        """First accumulator of the half that was not used last."""
        self._accumulators ^= 1
        return self._accumulators * (self.config.accumulator_words // 2)

    def weights(self, address: int, words: int) -> int:
        """Where the chunk at `address` of the constants is on chip, loading it if need be."""
        return self._linear(self._weights, LinearTarget.WEIGHTS, address, words)

    def parameters(self, address: int) -> int:
        """Entry of the parameters at `address`."""
        return self._linear(self._parameters, LinearTarget.PARAMETERS, address, 1)

    def table(self, table: Int8 | None) -> dict[str, int]:
        """Fields of an instruction that applies `table`."""
        if table is None:
            return {"use_table": 0, "table": 0}
        address = self.constants.add(table.tobytes())
        return {"use_table": 1,
                "table": self._linear(self._tables, LinearTarget.TABLE, address, 1)}

    def add_tables(self, op: ir.Add, swapped: bool) -> int:
        """Slot of the tables of a QLinearAdd."""
        first, second = (op.table_b, op.table_a) if swapped else (op.table_a, op.table_b)
        content = first.astype("<i4").tobytes() + second.astype("<i4").tobytes()
        return self._linear(self._add_tables, LinearTarget.ADD_TABLES,
                            self.constants.add(content), 1)

    def _linear(self, cache: Cache, target: LinearTarget, address: int, count: int) -> int:
        where, held = cache.get(address, count)
        if not held:
            self.emit(Opcode.LOAD_LINEAR, target=target, address=address, dst=where, count=count)
        return where

    def address(self, buffer: Buffer, brick: int, row: int, column: int) -> tuple[int, Window]:
        """Byte address of a word of `buffer`, and its window."""
        if buffer not in self._addresses:
            assert buffer.data is not None, f"buffer {buffer.name!r} has no address"
            r = self.config.rows
            content = buffer.data.reshape(buffer.bricks, r, buffer.rows, buffer.columns)
            self._addresses[buffer] = self.constants.add(
                content.transpose(0, 2, 3, 1).tobytes())
        window = Window.CONSTANTS if buffer.data is not None else Window.ACTIVATIONS
        offset = (brick * buffer.rows + row) * buffer.row_pitch(self.config) \
            + column * self.config.rows
        return self._addresses[buffer] + offset, window

    def load(self, view: View, *, planes: tuple[int, int], rows: tuple[int, int],
             columns: tuple[int, int], dst: dict[str, int]) -> None:
        """Load a block of bricks of `view`; `dst` is the surface, row 0 the first of `rows`."""
        r, buffer = self.config.rows, view.buffer
        address, window = self.address(buffer, view.brick + planes[0], rows[0], columns[0])
        width = columns[1] - columns[0]
        self.emit(Opcode.LOAD, window=window, address=address,
                  memory_plane_stride=buffer.rows * buffer.row_pitch(self.config),
                  memory_row_stride=buffer.row_pitch(self.config),
                  planes=planes[1] - planes[0], rows=rows[1] - rows[0], columns=width,
                  word_step=r, lane_first=0, lane_count=r, head=0, row_bytes=width * r, fill=0,
                  **named("dst", dst))

    def store(self, sink: Sink, *, brick: int, planes: int, rows: tuple[int, int],
              columns: tuple[int, int], src: dict[str, int]) -> None:
        """Store a block to `sink`, bricks from `brick` of the result on."""
        pitch = sink.buffer.row_pitch(self.config)
        address, _ = self.address(sink.buffer, sink.brick + brick, rows[0], columns[0])
        self.emit(Opcode.STORE, address=address, memory_row_stride=pitch,
                  memory_plane_stride=sink.buffer.rows * pitch, planes=planes,
                  rows=rows[1] - rows[0], columns=columns[1] - columns[0], **named("src", src))


def _pool(writer: Writer, kernel: PoolKernel) -> None:
    """Max-pooling that no convolution does: block by block, halo loaded with each."""
    op, source, out = kernel.op, kernel.source, kernel.out
    block = plan_blocks(kernel.name, writer.config, rows=out.rows, columns=out.columns,
                        planes=out.bricks, kernel=op.kernel, strides=op.strides,
                        results=len(kernel.sinks))
    for planes in spans(out.bricks, block.planes):
        for rows in spans(out.rows, block.rows):
            for columns in spans(out.columns, block.columns):
                y = input_span(rows, op.strides[0], op.pads[0], op.kernel[0], source.layout.rows)
                x = input_span(columns, op.strides[1], op.pads[1], op.kernel[1],
                               source.layout.columns)
                y, x = (y[0], max(y[1], y[0] + 1)), (x[0], max(x[1], x[0] + 1))
                n, h, w = planes[1] - planes[0], y[1] - y[0], x[1] - x[0]
                src, *results = _side_by_side(
                    writer, n, [(h, w)] + [(rows[1] - rows[0], columns[1] - columns[0])]
                    * len(kernel.sinks))
                writer.load(source, planes=planes, rows=y, columns=x, dst=src)
                for sink, dst in zip(kernel.sinks, results):
                    writer.emit(
                        Opcode.POOL, **window(
                            src, src_rows=h, src_columns=w,
                            y0=rows[0] * op.strides[0] - op.pads[0] - y[0],
                            x0=columns[0] * op.strides[1] - op.pads[1] - x[0]),
                        kernel_rows=op.kernel[0], kernel_columns=op.kernel[1],
                        stride_y=op.strides[0], stride_x=op.strides[1],
                        rows=rows[1] - rows[0], columns=columns[1] - columns[0], planes=n,
                        **writer.table(sink.table), **named("dst", dst))
                    writer.store(sink, brick=planes[0], planes=n, rows=rows, columns=columns,
                                 src=dst)


def _elementwise(writer: Writer, kernel: ElementwiseKernel) -> None:
    """Tables, copies, upsampling, additions and products: block by block."""
    op, out = kernel.op, kernel.out
    a, b = kernel.a, kernel.b
    swapped = b is not None and (a.layout.rows, a.layout.columns) != (out.rows, out.columns)
    if swapped:
        assert b is not None
        a, b = b, a
    fy, fx = kernel.repeat
    operation = {ir.Add: Elementwise.ADD, ir.Mul: Elementwise.MUL}.get(type(op), Elementwise.MAP)
    numbers = {"a_zero_point": 0, "b_zero_point": 0, "multiplier": 0, "shift": 0,
               "zero_point": 0, "odd": 0, "add_tables": 0}
    if isinstance(op, ir.Add):
        numbers |= {"multiplier": MULTIPLIER_ONE, "shift": op.shift}
    elif isinstance(op, ir.Mul):
        zero_points = (op.a_zero_point, op.b_zero_point)
        numbers |= {"a_zero_point": zero_points[swapped], "multiplier": op.multiplier,
                    "b_zero_point": zero_points[not swapped], "shift": op.shift,
                    "zero_point": op.y_zero_point, "odd": op.odd}
    block = plan_blocks(kernel.name, writer.config, rows=out.rows, columns=out.columns,
                        planes=out.bricks, granule=(fy, fx),
                        operands=1 if b is None else 2, results=len(kernel.sinks))
    for planes in spans(out.bricks, block.planes):
        n = planes[1] - planes[0]
        for rows in spans(out.rows, block.rows):
            for columns in spans(out.columns, block.columns):
                blocks = [(a, (rows[0] // fy, -(-rows[1] // fy)),
                           (columns[0] // fx, -(-columns[1] // fx)))]
                broadcast = b is not None and b.layout.columns == 1
                if b is not None:
                    blocks.append((b, (0, 1) if b.layout.rows == 1 else rows,
                                   (0, 1) if broadcast else columns))
                shapes = [(h[1] - h[0], w[1] - w[0]) for _, h, w in blocks] \
                    + [(rows[1] - rows[0], columns[1] - columns[0])] * len(kernel.sinks)
                places = _side_by_side(writer, n, shapes)
                for (view, h, w), place in zip(blocks, places):
                    writer.load(view, planes=planes, rows=h, columns=w, dst=place)
                src_a, src_b = places[0], places[len(blocks) - 1]
                for sink, dst in zip(kernel.sinks, places[len(blocks):]):
                    if isinstance(op, ir.Add):
                        numbers["add_tables"] = writer.add_tables(op, swapped)
                    writer.emit(
                        Opcode.ELEMENTWISE, operation=operation, rows=rows[1] - rows[0],
                        columns=columns[1] - columns[0], planes=n, repeat_y=fy, repeat_x=fx,
                        b_broadcast=int(broadcast), **numbers, **writer.table(sink.table),
                        **named("a", src_a), **named("b", src_b), **named("dst", dst))
                    writer.store(sink, brick=planes[0], planes=n, rows=rows, columns=columns,
                                 src=dst)


def _side_by_side(writer: Writer, planes: int,
                  shapes: list[tuple[int, int]]) -> list[dict[str, int]]:
    """Surfaces of the given rows and columns in one region, so that none overlaps another."""
    base = writer.scratchpad.take(planes * sum(h * w for h, w in shapes))
    places = []
    for h, w in shapes:
        places.append(surface(base, rows=h, columns=w))
        base += planes * h * w
    return places
