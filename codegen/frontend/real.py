"""Where float32 meets codes: QuantizeLinear, DequantizeLinear, and what stands between them.

On the array a float tensor exists only as a function of a code. A chain of float operators is
collected node by node, and its QuantizeLinear turns it into a table. Data movement inside a chain
is applied to the codes instead, which is the same because the function is elementwise.
"""

import numpy as np
import onnx

from codegen.errors import CodegenError
from codegen.exact import tables
from codegen.frontend.builder import Builder, check_rank, check_size
from codegen.frontend.data_rules import table_is_possible
from codegen.frontend.elementwise import emit_table
from codegen.frontend.layout import Int64, natural, normalized
from codegen.frontend.rules import input_is_quantized_once, refuse
from codegen.frontend.site import Site
from codegen.frontend.values import Codes, Constant, RealChain, RealInput, describe
from codegen.ir import Input, Tensor

__all__ = ["dequantize", "float_operator", "quantize", "quantized_input"]

CHAIN_KIND = "DequantizeLinear..QuantizeLinear"


def quantized_input(site: Site, build: Builder, name: str, shape: tuple[int, ...], *,
                    unsigned: bool) -> Tensor:
    """Add the codes of a graph input that is quantized already."""
    return build.tensor(site, name, shape, unsigned=unsigned,
                        layout=_input_layout(site, build, name, shape))


def quantize(site: Site, build: Builder) -> str:
    """Translate QuantizeLinear: of a graph input, on the host; of a chain, as a table."""
    value, name, y_q = site.value("x"), site.node.outputs[0], site.quantization("y")
    if isinstance(value, RealChain):
        return _quantize_chain(site, build, value)
    if not isinstance(value, RealInput):
        refuse(site.node, table_is_possible, f"x is {describe(value)}")
    for entry in build.inputs:
        if entry.name == value.name:
            refuse(site.node, input_is_quantized_once,
                   f"another QuantizeLinear of {value.name!r}")
    layout = _input_layout(site, build, name, value.shape)
    if value.order is None and value.shape == value.input_shape:
        y = host = build.tensor(site, name, value.shape, unsigned=y_q.unsigned, quantization=y_q,
                                layout=layout)
    else:
        # The host writes the graph input in its own order; the result is a view of that.
        order = np.arange(int(np.prod(value.shape))) if value.order is None else value.order
        chw, gather = layout
        placed = np.empty_like(order)
        placed[order] = np.arange(order.size) if gather is None else gather
        host = build.tensor(site, build.hidden(value.name), value.input_shape,
                            unsigned=y_q.unsigned, quantization=y_q,
                            layout=(chw, normalized(placed)))
        y = build.tensor(site, name, value.shape, unsigned=y_q.unsigned, quantization=y_q,
                         layout=layout, base=host.name)
    build.inputs.append(Input(name=value.name, tensor=host.name,
                              quantize=(y_q.scale, y_q.zero_point)))
    build.values[name] = Codes(tensor=y)
    return "host"


def dequantize(site: Site, build: Builder) -> str:
    """Translate DequantizeLinear: begin a chain, which may end right here, at a graph output."""
    name = site.node.outputs[0]
    x, x_q = site.codes("x").tensor, site.quantization("x")
    # Exporters write a DequantizeLinear for each reader; equal ones are one.
    chain = RealChain(source=x, quantization=x_q, result=name, nodes={site.index: site.node.proto})
    build.values[name] = build.dequantized.setdefault((x.name, x_q), chain)
    if name not in build.graph_outputs:
        return "table"
    return "host"


def float_operator(site: Site, build: Builder) -> str:
    """Add an elementwise float operator to the chain it belongs to."""
    inputs = [build.values[name] for name in site.node.inputs if name]
    chains = [value for value in inputs if isinstance(value, RealChain)]
    for value in inputs:
        if not isinstance(value, RealChain) and not (
                isinstance(value, Constant) and value.array.size == 1):
            hint = ("Let the host do it before the network: remove the node and feed its result."
                    if isinstance(value, RealInput) else "")
            refuse(site.node, table_is_possible, f"an input is {describe(value)}", hint)
    if not chains:
        refuse(site.node, table_is_possible, "no input that depends on a quantized tensor")
    first = chains[0]
    for other in chains[1:]:
        if not _same_codes(first.source, other.source):
            refuse(site.node, table_is_possible,
                   f"inputs that depend on {_origin(first)} and on {_origin(other)}")
    for value in inputs:
        if isinstance(value, Constant) and len(value.shape) > len(first.shape):
            refuse(site.node, table_is_possible, f"an input is {describe(value)}")
    nodes = {i: node for chain in chains for i, node in chain.nodes.items()}
    # Movements are left out: what they moved is read where it came from.
    proto = onnx.NodeProto()
    proto.CopyFrom(site.node.proto)
    del proto.input[:]
    for name in site.node.inputs:
        moved = build.values[name] if name else None
        proto.input.append(moved.result if isinstance(moved, RealChain) else name)
    nodes[site.index] = proto
    name = site.node.outputs[0]
    build.values[name] = RealChain(source=first.source, quantization=first.quantization,
                                   nodes=nodes, result=name)
    return "table"


def _quantize_chain(site: Site, build: Builder, chain: RealChain) -> str:
    y_q = site.quantization("y")
    head, *between = (chain.nodes[i] for i in sorted(chain.nodes))
    if between:
        tail = onnx.NodeProto()
        tail.CopyFrom(site.node.proto)
        tail.input[0] = chain.result
        used = {name for node in chain.nodes.values() for name in node.input} | set(tail.input)
        constants = {name: value.array for name in used
                     if isinstance(value := build.values.get(name), Constant)}
        try:
            table = tables.from_float_chain([head, *between, tail], constants,
                                            opset=site.opset, unsigned_in=chain.source.unsigned)
        except CodegenError as error:
            refuse(site.node, table_is_possible, str(error))
        except Exception as error:  # ONNX Runtime's own, which have no common base
            refuse(site.node, table_is_possible,
                   f"ONNX Runtime cannot evaluate it: {' '.join(str(error).split())[:300]}")
    else:
        x_q = chain.quantization
        table = tables.requantize_table(x_q.scale, x_q.zero_point, y_q.scale, y_q.zero_point,
                                        unsigned_in=x_q.unsigned, unsigned_out=y_q.unsigned)
    return emit_table(site, build, chain.source, table, quantization=y_q, kind=CHAIN_KIND)


def _same_codes(a: Tensor, b: Tensor) -> bool:
    if a is b:
        return True
    return ((a.base or a.name) == (b.base or b.name) and a.shape == b.shape
            and (a.gather is b.gather or (a.gather is not None and b.gather is not None
                                          and np.array_equal(a.gather, b.gather))))


def _origin(chain: RealChain) -> str:
    return repr(chain.source.name)


def _input_layout(site: Site, build: Builder, name: str,
                  shape: tuple[int, ...]) -> tuple[tuple[int, int, int], Int64 | None]:
    """Lay out a graph input: channels first where it is [1, H, W, C] and only transposed."""
    check_rank(site, shape)
    readers = build.consumers.get(name, ())
    if (len(shape) == 4 and readers and name not in build.graph_outputs
            and all(_perm(node.attributes.get("perm")) for node in readers)
            and all(node.op == "Transpose" for node in readers)):
        _, h, w, c = shape
        check_size(site, (1, c, h, w))
        return (c, h, w), normalized(np.arange(c * h * w).reshape(c, h, w).transpose(1, 2, 0))
    check_size(site, shape)
    return natural(shape)


def _perm(value: object) -> bool:
    return value == (0, 3, 1, 2) if isinstance(value, tuple) else False
