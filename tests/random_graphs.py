"""Random QOperator graphs of supported ops, for whole-compiler tests.

Scales are drawn so that outputs spread over their codes; otherwise every tensor would saturate
and mismatches would hide.
"""

from dataclasses import dataclass

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

__all__ = ["random_graph"]


@dataclass(frozen=True)
class _Tensor:
    """A live tensor: its name, shape, and quantization."""

    name: str
    chw: tuple[int, int, int]
    scale: float
    zero_point: int


class _Drawing:
    """A graph under construction."""

    def __init__(self, seed: int, nodes: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.unsigned = bool(self.rng.integers(2))
        self.dtype = np.uint8 if self.unsigned else np.int8
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []
        self.count = 0
        chw = (self.integer(1, 20), self.integer(1, 18), self.integer(1, 18))
        first = _Tensor("x", chw, self.scale(), self.zero_point())
        self.live = [first]
        self.chw = chw
        for _ in range(nodes):
            self.step()

    def integer(self, low: int, high: int) -> int:
        return int(self.rng.integers(low, high + 1))

    def scale(self) -> float:
        # powers of two make ties, the others do not
        exponent = self.rng.uniform(-7, -2)
        return float(np.float32(2.0 ** (round(exponent) if self.rng.random() < 0.3
                                        else exponent)))

    def zero_point(self) -> int:
        limits = np.iinfo(self.dtype)
        if self.rng.random() < 0.3:
            middle = (limits.min + limits.max + 1) // 2
            return int(self.rng.choice([limits.min, limits.max, middle]))
        return self.integer(limits.min, limits.max)

    def constant(self, value: np.ndarray) -> str:
        self.count += 1
        name = f"k{self.count}"
        self.constants.append(numpy_helper.from_array(np.asarray(value), name))
        return name

    def quantization(self, t: _Tensor) -> list[str]:
        return [self.constant(np.float32(t.scale)), self.constant(self.dtype(t.zero_point))]

    def result(self, chw: tuple[int, int, int], like: _Tensor | None = None) -> _Tensor:
        self.count += 1
        if like is not None:
            return _Tensor(f"t{self.count}", chw, like.scale, like.zero_point)
        return _Tensor(f"t{self.count}", chw, self.scale(), self.zero_point())

    def add(self, op: str, inputs: list[str], outputs: list[_Tensor], domain: str = "",
            **attributes: object) -> None:
        self.nodes.append(helper.make_node(op, inputs, [t.name for t in outputs],
                                           name=f"{op}_{len(self.nodes)}", domain=domain,
                                           **attributes))
        self.live += outputs

    def pick(self) -> _Tensor:
        # recent tensors more often, so that chains get long
        back = min(len(self.live) - 1, int(self.rng.exponential(1.2)))
        return self.live[-1 - back]

    def step(self) -> None:
        ops = [self.conv, self.conv, self.conv, self.depthwise, self.leaky, self.sigmoid,
               self.concat, self.elementwise, self.max_pool, self.resize, self.split,
               self.global_average, self.pad, self.float_chain]
        self.rng.choice(np.array(ops, dtype=object))()

    def conv(self, depthwise: bool = False) -> None:
        x = self.pick()
        c, h, w = x.chw
        kh, kw = (min(self.integer(1, 5), h + 2), min(self.integer(1, 5), w + 2))
        if not depthwise and self.rng.random() < 0.3:
            kh = kw = 1
        pads = [self.integer(0, min(3, k)) for k in (kh, kw, kh, kw)]
        strides = [int(self.rng.choice([1, 1, 2, 4])) for _ in range(2)]
        oh, ow = ((h + pads[0] + pads[2] - kh) // strides[0] + 1,
                  (w + pads[1] + pads[3] - kw) // strides[1] + 1)
        if h + pads[0] + pads[2] < kh or w + pads[1] + pads[3] < kw:
            return
        oc = c if depthwise else self.integer(1, 24)
        w_unsigned = self.unsigned and self.rng.random() < 0.5
        w_type = np.uint8 if w_unsigned else np.int8
        ic = 1 if depthwise else c
        limits = np.iinfo(w_type)
        weights = self.rng.integers(limits.min, limits.max + 1, (oc, ic, kh, kw)).astype(w_type)
        per_channel = self.rng.random() < 0.5
        zero = self.integer(limits.min, limits.max) if w_unsigned else 0
        y = self.result((oc, oh, ow))
        spread = 40 * 70 * np.sqrt(ic * kh * kw) / 90
        w_scale = np.float32(y.scale / x.scale / spread * 2.0 ** self.rng.uniform(-1, 1))
        scales = w_scale * (2.0 ** self.rng.uniform(-1, 1, oc)).astype(np.float32) \
            if per_channel else w_scale
        zeros = np.full(oc, zero, w_type) if per_channel else w_type(zero)
        inputs = [x.name, *self.quantization(x), self.constant(weights),
                  self.constant(np.asarray(scales, np.float32)), self.constant(zeros),
                  *self.quantization(y)]
        if self.rng.random() < 0.7:
            inputs.append(self.constant(self.rng.integers(-3000, 3000, oc).astype(np.int32)))
        self.add("QLinearConv", inputs, [y], kernel_shape=[kh, kw], pads=pads, strides=strides,
                 group=c if depthwise else 1)

    def depthwise(self) -> None:
        self.conv(depthwise=True)

    def leaky(self) -> None:
        x = self.pick()
        y = self.result(x.chw)
        self.add("QLinearLeakyRelu", [x.name, *self.quantization(x), *self.quantization(y)], [y],
                 "com.microsoft", alpha=0.1)

    def sigmoid(self) -> None:
        x = self.pick()
        y = self.result(x.chw)
        self.add("QLinearSigmoid", [x.name, *self.quantization(x), *self.quantization(y)], [y],
                 "com.microsoft")

    def concat(self) -> None:
        x = self.pick()
        parts = [x] + [t for t in self.live if t.chw[1:] == x.chw[1:]
                       and self.rng.random() < 0.5][:2]
        if sum(t.chw[0] for t in parts) > 64:
            return
        y = self.result((sum(t.chw[0] for t in parts), *x.chw[1:]),
                        like=x if self.rng.random() < 0.5 else None)
        inputs = self.quantization(y)
        for t in parts:
            inputs += [t.name, *self.quantization(t)]
        self.add("QLinearConcat", inputs, [y], "com.microsoft", axis=1)

    def elementwise(self) -> None:
        a = self.pick()
        others = [t for t in self.live if t.chw == a.chw]
        b = others[self.integer(0, len(others) - 1)]
        y = self.result(a.chw)
        op = "QLinearAdd" if self.rng.random() < 0.7 else "QLinearMul"
        name = b.name
        if self.rng.random() < 0.25:
            b = _Tensor("", a.chw, self.scale(), self.zero_point())
            limits = np.iinfo(self.dtype)
            shape = (1, a.chw[0], 1, 1) if self.rng.random() < 0.5 else (1, *a.chw)
            name = self.constant(self.rng.integers(limits.min, limits.max + 1,
                                                   shape).astype(self.dtype))
        pair = [(a.name, a), (name, b)]
        if self.rng.random() < 0.5:
            pair.reverse()
        inputs = [i for n, t in pair for i in (n, *self.quantization(t))]
        self.add(op, inputs + self.quantization(y), [y], "com.microsoft")

    def max_pool(self) -> None:
        x = self.pick()
        c, h, w = x.chw
        k = int(self.rng.choice([2, 2, 2, 3, 5]))
        s = int(self.rng.choice([1, 2]))
        p = self.integer(0, k // 2) if k > 2 else 0
        oh, ow = (h + 2 * p - k) // s + 1, (w + 2 * p - k) // s + 1
        if min(h, w) + 2 * p < k:
            return
        self.add("MaxPool", [x.name], [self.result((c, oh, ow), like=x)], kernel_shape=[k, k],
                 strides=[s, s], pads=[p] * 4)

    def resize(self) -> None:
        x = self.pick()
        c, h, w = x.chw
        fy, fx = self.integer(1, 3), self.integer(1, 3)
        if h * fy > 24 or w * fx > 24:
            return
        scales = self.constant(np.array([1, 1, fy, fx], np.float32))
        self.add("Resize", [x.name, "", scales], [self.result((c, h * fy, w * fx), like=x)],
                 mode="nearest", nearest_mode="floor",
                 coordinate_transformation_mode="asymmetric")

    def split(self) -> None:
        x = self.pick()
        c, h, w = x.chw
        if c < 2:
            return
        at = self.integer(1, c - 1)
        parts = [self.result((at, h, w), like=x), self.result((c - at, h, w), like=x)]
        self.add("Split", [x.name, self.constant(np.array([at, c - at], np.int64))], parts, axis=1)

    def global_average(self) -> None:
        x = self.pick()
        if self.rng.random() < 0.6:
            return
        y = self.result((x.chw[0], 1, 1))
        self.add("QLinearGlobalAveragePool",
                 [x.name, *self.quantization(x), *self.quantization(y)], [y], "com.microsoft",
                 channels_last=0)

    def pad(self) -> None:
        x = self.pick()
        c, h, w = x.chw
        t, left, b, r = (self.integer(0, 2) for _ in range(4))
        pads = self.constant(np.array([0, 0, t, left, 0, 0, b, r], np.int64))
        self.add("Pad", [x.name, pads, self.constant(self.dtype(x.zero_point))],
                 [self.result((c, h + t + b, w + left + r), like=x)], mode="constant")

    def float_chain(self) -> None:
        x = self.pick()
        y = self.result(x.chw)
        op = str(self.rng.choice(["Relu", "Sigmoid", "HardSigmoid", "Tanh"]))
        self.count += 2
        names = [f"f{self.count}", f"f{self.count + 1}"]
        for kind, inputs, output in (
                ("DequantizeLinear", [x.name, *self.quantization(x)], names[0]),
                (op, [names[0]], names[1])):
            self.nodes.append(helper.make_node(kind, inputs, [output],
                                               name=f"{kind}_{len(self.nodes)}"))
        self.add("QuantizeLinear", [names[1], *self.quantization(y)], [y])

    def model(self) -> onnx.ModelProto:
        element = TensorProto.UINT8 if self.unsigned else TensorProto.INT8
        used = {i for node in self.nodes for i in node.input}
        outputs = [t for t in self.live[1:] if t.name not in used] or self.live[1:][-1:]
        graph = helper.make_graph(
            self.nodes, "random",
            [helper.make_tensor_value_info("x", element, [1, *self.chw])],
            [helper.make_tensor_value_info(t.name, element, [1, *t.chw]) for t in outputs],
            self.constants)
        return helper.make_model(graph, ir_version=8, opset_imports=[
            helper.make_opsetid("", 17), helper.make_opsetid("com.microsoft", 1)])


def random_graph(seed: int, nodes: int) -> onnx.ModelProto | None:
    """A graph of up to `nodes` nodes, or None if the drawing came out empty."""
    drawing = _Drawing(seed, nodes)
    return drawing.model() if drawing.nodes else None
