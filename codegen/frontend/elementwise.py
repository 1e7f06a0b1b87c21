"""Functions of one code, sums and products."""

import numpy as np

from codegen.errors import CodegenError
from codegen.exact import tables
from codegen.exact.add import qlinear_add_tables
from codegen.exact.mul import qlinear_mul
from codegen.exact.reference import all_codes, to_storage
from codegen.frontend.array_rules import requantization_is_exact
from codegen.frontend.builder import Builder
from codegen.frontend.data_rules import shapes_broadcast, table_is_possible
from codegen.frontend.layout import positions
from codegen.frontend.rules import refuse
from codegen.frontend.site import Site
from codegen.frontend.values import Codes, Constant, Quantization, Value, describe, shape_of
from codegen.ir import Add, Int8, Mul, Table, Tensor

__all__ = ["clip_codes", "emit_table", "qlinear_binary", "qlinear_unary", "relu_codes"]


def qlinear_unary(site: Site, build: Builder) -> str:
    """Translate QLinearLeakyRelu and QLinearSigmoid."""
    x, x_q, y_q = site.codes("x").tensor, site.quantization("x"), site.quantization("y")
    scales = (x_q.scale, x_q.zero_point, y_q.scale, y_q.zero_point)
    if site.node.op == "QLinearSigmoid":
        table = tables.sigmoid(*scales, unsigned=x_q.unsigned)
    else:
        table = tables.leaky_relu(site.real("alpha", 0.01), *scales, unsigned_in=x_q.unsigned,
                                  unsigned_out=y_q.unsigned)
    return emit_table(site, build, x, table, quantization=y_q)


def relu_codes(site: Site, build: Builder) -> str:
    """Translate Relu of an int8 tensor: a function of its codes, whatever they stand for."""
    x = site.codes("x").tensor
    codes = all_codes(unsigned=x.unsigned)
    return emit_table(site, build, x, to_storage(np.maximum(codes, codes.dtype.type(0))))


def clip_codes(site: Site, build: Builder) -> str:
    """Translate Clip of an int8 or uint8 tensor."""
    x = site.codes("x").tensor
    codes = all_codes(unsigned=x.unsigned)
    for role, clip in ("min", np.maximum), ("max", np.minimum):
        if site.get(role) is not None:
            if site.array(role).size != 1 or site.array(role).dtype != codes.dtype:
                refuse(site.node, table_is_possible, f"{role} is {describe(site.value(role))}")
            codes = clip(codes, site.array(role).reshape(()))
    return emit_table(site, build, x, to_storage(codes))


def emit_table(site: Site, build: Builder, x: Tensor, table: Int8, *,
               quantization: Quantization | None = None, kind: str = "",
               name: str = "") -> str:
    """Emit a table, or an alias if it changes nothing, and record the node's result.

    Parameters
    ----------
    site : Site
    build : Builder
    x : Tensor
    table : int8[256]
    quantization : Quantization or None
        Of the result; None: that of `x`.
    kind : str
        Operator type for reports; empty: that of the node.
    name : str
        Of the result; empty: the first output of the node.
    """
    y_name = name or site.node.outputs[0]
    unsigned = x.unsigned if quantization is None else quantization.unsigned
    is_copy = tables.is_identity(table)
    y = build.tensor(site, y_name, x.shape, unsigned=unsigned, quantization=quantization,
                     like=x, layout=(x.chw, x.gather), base=(x.base or x.name) if is_copy else None)
    if not is_copy:
        build.emit(Table(name=site.node.name, kind=kind or site.node.op, y=y.name,
                         x=x.base or x.name, table=table))
    build.values[y_name] = Codes(tensor=y)
    return "address arithmetic" if is_copy else "table"


def qlinear_binary(site: Site, build: Builder) -> str:
    """Translate QLinearAdd and QLinearMul.

    ONNX Runtime adds with the operands exchanged where the first is one element for a whole run
    of the second, which is where its last dimension is broadcast.
    """
    a, b = site.value("a"), site.value("b")
    try:
        shape = np.broadcast_shapes(shape_of(a), shape_of(b))
    except ValueError:
        refuse(site.node, shapes_broadcast, _shapes(a, b))
    a_q, b_q, y_q = (site.quantization(role) for role in ("a", "b", "y"))
    whole = next((v.tensor for v in (a, b) if isinstance(v, Codes) and v.shape == shape), None)
    if whole is None and shape not in (shape_of(a), shape_of(b)):
        refuse(site.node, shapes_broadcast, _shapes(a, b))
    y = build.tensor(site, site.node.outputs[0], shape, unsigned=y_q.unsigned, quantization=y_q,
                     layout=None if whole is None else (whole.chw, whole.gather))
    names = [_operand(site, build, value, like=y, role=role)
             for value, role in ((a, "a"), (b, "b"))]
    scales = (a_q.scale, a_q.zero_point, b_q.scale, b_q.zero_point, y_q.scale, y_q.zero_point)
    try:
        if site.node.op == "QLinearAdd":
            add = qlinear_add_tables(*scales, unsigned=y_q.unsigned,
                                     a_is_scalar=_is_run(shape_of(a), shape_of(b)))
            build.emit(Add(name=site.node.name, kind=site.node.op, y=y.name, a=names[0],
                           b=names[1], table_a=add.table_a, table_b=add.table_b,
                           shift=add.shift))
        else:
            mul = qlinear_mul(*scales, unsigned=y_q.unsigned)
            build.emit(Mul(name=site.node.name, kind=site.node.op, y=y.name, a=names[0],
                           b=names[1], a_zero_point=a_q.stored_zero_point,
                           b_zero_point=b_q.stored_zero_point, multiplier=mul.multiplier,
                           shift=mul.shift, y_zero_point=mul.zero_point, odd=mul.odd))
    except CodegenError as error:
        refuse(site.node, requantization_is_exact, str(error))
    build.values[y.name] = Codes(tensor=y)
    return "sum" if site.node.op == "QLinearAdd" else "product"


def _is_run(a: tuple[int, ...], b: tuple[int, ...]) -> bool:
    """Say whether an element of the first operand serves a run of elements of the second."""
    rank = max(len(a), len(b))
    a, b = (1,) * (rank - len(a)) + a, (1,) * (rank - len(b)) + b
    for i in reversed(range(rank)):
        if a[i] != b[i]:
            return a[i] == 1
        if a[i] != 1:
            return False
    return False


def _operand(site: Site, build: Builder, value: Value, *, like: Tensor, role: str) -> str:
    """Return the name of an operand, in the layout of the result or broadcast to it."""
    size = like.chw[0] * like.chw[1] * like.chw[2]
    if isinstance(value, Codes) and value.tensor.chw == like.chw and value.shape == like.shape:
        x = value.tensor
        if (x.gather is None and like.gather is None) or np.array_equal(
                positions(x), positions(like)):
            return x.base or x.name
        refuse(site.node, shapes_broadcast, f"{role} in another order in memory than the result")
    if isinstance(value, Constant):
        stored = to_storage(np.ascontiguousarray(value.array))
        data = np.broadcast_to(stored, like.shape)
        if like.gather is not None:
            full = np.empty(size, np.int8)
            full[like.gather] = data.reshape(-1)
            data = full
        data = data.reshape(like.chw)
        if np.array_equal(data, np.broadcast_to(data[:, :1, :1], data.shape)):
            data = data[:, :1, :1]
        elif np.array_equal(data, np.broadcast_to(data[:1], data.shape)):
            data = data[:1]
        data = np.ascontiguousarray(data)
        quantization = site.quantization(role)
        name = build.hidden(f"{site.node.name}:{role}")
        chw = (data.shape[0], data.shape[1], data.shape[2])
        build.tensor(site, name, (1, *chw), unsigned=quantization.unsigned,
                     quantization=quantization, layout=(chw, None), data=data)
        return name
    assert isinstance(value, Codes)
    x = value.tensor
    c, h, w = (slice(None) if size > 1 else slice(1) for size in x.chw)
    reads = np.broadcast_to(positions(x), like.shape).reshape(-1)
    order = positions(like).reshape(-1)
    wanted = np.empty(size, np.int64)
    wanted[order] = reads
    own = np.arange(x.chw[0] * x.chw[1] * x.chw[2]).reshape(x.chw)
    is_scalar_like = x.chw[1:] == (1, 1) or x.chw[0] == 1
    fits = all(s in (1, t) for s, t in zip(x.chw, like.chw))
    if not (is_scalar_like and fits and np.array_equal(
            wanted.reshape(like.chw), np.broadcast_to(own, like.chw))):
        refuse(site.node, shapes_broadcast,
               f"{role} of shape {list(x.shape)}, result of shape {list(like.shape)}")
    return x.base or x.name


def _shapes(a: Value, b: Value) -> str:
    return f"shapes {list(shape_of(a))} and {list(shape_of(b))}"
