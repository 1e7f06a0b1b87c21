"""Maxima and averages over windows."""

from codegen.errors import CodegenError
from codegen.exact.average import average_pool, global_average_pool
from codegen.frontend.array_rules import requantization_is_exact
from codegen.frontend.builder import Builder
from codegen.frontend.conv import average_window
from codegen.frontend.geometry import Window, window_of
from codegen.frontend.rules import refuse
from codegen.frontend.site import Site
from codegen.frontend.values import Codes
from codegen.ir import MaxPool

__all__ = ["max_pool", "qlinear_average_pool", "qlinear_global_average_pool"]


def max_pool(site: Site, build: Builder) -> str:
    """Translate MaxPool. Storage codes keep the order of ONNX codes."""
    x = site.codes("x").tensor
    window = window_of(site, x.chw[1:])
    y = build.tensor(site, site.node.outputs[0], (1, x.chw[0], *window.output),
                     unsigned=x.unsigned, like=x)
    build.emit(MaxPool(
        name=site.node.name, kind=site.node.op, y=y.name, x=x.base or x.name,
        kernel=window.kernel, pads=window.pads,
        strides=window.strides if window.output != (1, 1) else (1, 1)))
    build.values[y.name] = Codes(tensor=y)
    return "max pool"


def qlinear_global_average_pool(site: Site, build: Builder) -> str:
    """Translate QLinearGlobalAveragePool to a depthwise convolution with ones."""
    size = site.codes("x").tensor.chw[1:]
    return _average(site, build, Window(size=size, kernel=size, strides=(1, 1),
                                        pads=(0, 0, 0, 0)))


def qlinear_average_pool(site: Site, build: Builder) -> str:
    """Translate QLinearAveragePool to a depthwise convolution with ones.

    ONNX Runtime sums float32 values; that the result depends on the integer sum alone is proved.
    """
    return _average(site, build, window_of(site, site.codes("x").tensor.chw[1:]))


def _average(site: Site, build: Builder, window: Window) -> str:
    x, x_q, y_q = site.codes("x").tensor, site.quantization("x"), site.quantization("y")
    y = build.tensor(site, site.node.outputs[0], (1, x.chw[0], *window.output),
                     unsigned=y_q.unsigned, quantization=y_q)
    scales = (x_q.scale, x_q.zero_point, y_q.scale, y_q.zero_point)
    size = window.kernel[0] * window.kernel[1]
    try:
        if window.is_whole:
            certificate = global_average_pool(*scales, size=size, unsigned=x_q.unsigned)
        else:
            certificate = average_pool(*scales, size=size, present=_present(window),
                                       unsigned=x_q.unsigned)
    except CodegenError as error:
        refuse(site.node, requantization_is_exact, str(error))
    average_window(site, build, x=x, y=y, window=window, certificate=certificate)
    build.values[y.name] = Codes(tensor=y)
    return "array"


def _present(window: Window) -> set[int]:
    """Return how many elements of the image windows contain."""
    rows, columns = (
        {min(start + window.kernel[i], window.size[i]) - max(start, 0)
         for start in range(-window.pads[i],
                            window.output[i] * window.strides[i] - window.pads[i],
                            window.strides[i])}
        for i in (0, 1))
    return {r * c for r in rows for c in columns}
