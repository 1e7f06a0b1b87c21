"""The figure of ``report.html``: what every layer makes of the array, and what the queues do.

Names come from a model that is not trusted. Everything becomes elements of a tree, which escapes
text and attributes when it is written.
"""

from collections.abc import Iterator, Sequence
from typing import Any
from xml.etree.ElementTree import Element, SubElement

from codegen.lowered import Instruction
from hw.spec.isa import QUEUE_OF, Queue
from hw.spec.timing import Prediction

__all__ = ["LIMIT_COLORS", "STATE_COLORS", "activity", "add", "figure", "short_name", "swatches"]

#: By what limits a layer; colours that the colour-blind can tell apart.
LIMIT_COLORS = {"MAC": "#0072b2", "POST": "#cc79a7", "memory": "#e69f00", "latency": "#8a8f98"}
#: By what a queue does; the rest of the time it is empty.
STATE_COLORS = {"busy": "#33475b", "stalled": "#d5322e", "waiting": "#cfd8e1"}

#: Points in time of the activity. Sizes of the drawing, in pixels if the page is as wide as it.
_BINS = 300
_WIDTH, _LEFT, _RIGHT = 1180, 58, 112
_NAMES, _AREA, _GAP, _ROW, _AXIS = 104, 190, 16, 46, 26
#: Of the names above the layers: in degrees, in pixels, in letters.
_NAME_SLOPE, _NAME_SPACING, _NAME_LENGTH = -50, 16, 17
#: The utilization that the figure ends at: work done before its layer's time can exceed 100 %.
_TOP = 1.1


def add(parent: Element, tag: str, text: object = "", **attributes: object) -> Element:
    """Append an element. Of names, ``_`` is ``-``; one at the end keeps it from being Python's."""
    child = SubElement(parent, tag, {name.rstrip("_").replace("_", "-"): _printable(value)
                                     for name, value in attributes.items()})
    child.text = _printable(text)
    return child


def _printable(value: object) -> str:
    """Text in which control characters, which HTML must not have, are escaped."""
    return "".join(c if c.isprintable() or c == "\n" else ascii(c)[1:-1] for c in str(value))


def short_name(layer: dict[str, Any]) -> str:
    """The layer's kernel, or the first of its cascade and how many follow."""
    first, *others = layer["kernels"]
    return f"{first['name']} +{len(others)}" if others else str(first["name"])


def swatches(parent: Element, what: str, colors: dict[str, str],
             meanings: dict[str, str]) -> None:
    """A legend of `what`, as a paragraph."""
    legend = add(parent, "p", what, class_="legend")
    for name, color in colors.items():
        item = add(legend, "span")
        add(item, "i", style=f"background:{color}")
        add(item, "b", name)
        add(item, "span", meanings[name])


def activity(program: Sequence[Instruction], prediction: Prediction,
             bins: int) -> dict[Queue, dict[str, list[float]]]:
    """Share of each of `bins` equal parts of the frame that a queue spent in each state.

    Stalls are spread over their instruction: the cycle model does not say when they were.
    """
    width = prediction.cycles / bins
    shares = {q: {state: [0.0] * bins for state in STATE_COLORS} for q in Queue}

    def spread(found: list[float], start: float, stop: float, weight: float) -> None:
        for at in range(int(start / width), bins):
            if at * width >= stop:
                break
            found[at] += weight * (min(stop, (at + 1) * width) - max(start, at * width)) / width
    for index, instruction in enumerate(program):
        if instruction.opcode not in QUEUE_OF:
            continue
        own = shares[QUEUE_OF[instruction.opcode]]
        start, stop = prediction.starts[index], prediction.releases[index]
        stalled = prediction.stalls[index] / max(1, stop - start)
        spread(own["waiting"], start - prediction.waits[index], start, 1.0)
        spread(own["stalled"], start, stop, stalled)
        spread(own["busy"], start, stop, 1.0 - stalled)
    return shares


def figure(report: dict[str, Any], program: Sequence[Instruction],
           prediction: Prediction) -> Element:
    """An SVG: layers above queues, over one axis of time.

    Rectangles of class ``time`` are as wide as a layer takes cycles, and 1 high; the last of them
    is the frame's end, behind all layers. Those of class ``used`` are as high as the utilization,
    so that their area is the layer's ideal cycles. All are in cycles and shares: an inner SVG
    scales them.
    """
    cycles = prediction.cycles
    height = _NAMES + _AREA + 4 * (_GAP + _ROW) + _AXIS
    svg = Element("svg", {"viewBox": f"0 0 {_WIDTH} {height}", "role": "img"})
    _utilization(svg, report["layers"], cycles)
    for queue, states in activity(program, prediction, min(_BINS, cycles)).items():
        _queue_row(svg, queue, states, report["prediction"]["queues"][queue.name], cycles)
    bottom = height - _AXIS
    edges = _edges(report["layers"])
    for edge in edges[1:]:
        _line(svg, _x(edge, cycles), _NAMES, bottom, class_="edge")
    _names(svg, report["layers"], edges, cycles)
    unit, letter = next((u, n) for u, n in ((10**6, " M"), (10**3, " k"), (1, ""))
                        if cycles >= 2 * u or u == 1)
    for tick in _ticks(cycles):
        _line(svg, _x(tick, cycles), bottom, bottom + 5, class_="axis")
        _text(svg, _x(tick, cycles), bottom + 18, f"{tick / unit:g}{letter if tick else ''}",
              text_anchor="middle")
    _text(svg, _LEFT + _plot_width() + 10, bottom + 18, "cycles")
    return svg


def _plot_width() -> int:
    return _WIDTH - _LEFT - _RIGHT


def _x(cycle: float, cycles: int) -> float:
    return round(_LEFT + _plot_width() * cycle / cycles, 2)


def _edges(layers: Sequence[dict[str, Any]]) -> list[int]:
    """When layers begin; and when the last of them ends."""
    edges = [0]
    for layer in layers:
        edges.append(edges[-1] + layer["cycles"])
    return edges


def _text(svg: Element, x: float, y: float, text: str, **attributes: object) -> Element:
    return add(svg, "text", text, x=x, y=y, **attributes)


def _line(svg: Element, x: float, y0: float, y1: float, **attributes: object) -> None:
    add(svg, "line", x1=x, x2=x, y1=y0, y2=y1, **attributes)


def _scaled(svg: Element, y: float, height: float, width: float, top: float) -> Element:
    """An SVG inside, in which x counts 0..width and y counts 0..top, downward."""
    return add(svg, "svg", x=_LEFT, y=y, width=_plot_width(), height=height,
               viewBox=f"0 0 {width} {top}", preserveAspectRatio="none")


def _utilization(svg: Element, layers: Sequence[dict[str, Any]], cycles: int) -> None:
    plot = _scaled(svg, _NAMES, _AREA, cycles, _TOP)
    for start, layer in zip(_edges(layers), layers):
        used, color = layer["utilization"], LIMIT_COLORS[layer["limit"]]
        tip = (f"{short_name(layer)}: {layer['cycles']} cycles, {used:.1%} of the array used, "
               f"limited by {layer['limit']}")
        for class_, share in (("time", 1.0), ("used", used)):
            box = add(plot, "rect", class_=class_, x=start, y=_TOP - share, fill=color,
                      width=layer["cycles"], height=share)
            add(box, "title", tip)
        if _plot_width() * layer["cycles"] > 34 * cycles:
            low = used < 0.12  # no room for white letters in the bar
            _text(svg, _x(start + layer["cycles"] / 2, cycles),
                  _NAMES + _AREA * (1 - (used + 0.03 if low else 0.05) / _TOP), f"{used:.0%}",
                  text_anchor="middle", class_="dark" if low else "inside")
    end = _edges(layers)[-1]
    box = add(plot, "rect", class_="time", x=end, y=_TOP - 1, width=cycles - end, height=1.0,
              fill=LIMIT_COLORS["latency"])
    add(box, "title", f"last store: {cycles - end} cycles")
    for percent in (0, 25, 50, 75, 100):
        y = round(_NAMES + _AREA * (1 - percent / 100 / _TOP), 2)
        add(svg, "line", x1=_LEFT, x2=_LEFT + _plot_width(), y1=y, y2=y, class_="grid")
        _text(svg, _LEFT - 6, y + 4, f"{percent} %", text_anchor="end")


def _queue_row(svg: Element, queue: Queue, states: dict[str, list[float]],
               spent: dict[str, int], cycles: int) -> None:
    y = _NAMES + _AREA + _GAP + queue * (_GAP + _ROW)
    bins = len(states["busy"])
    add(svg, "rect", x=_LEFT, y=y, width=_plot_width(), height=_ROW, class_="frame")
    plot = _scaled(svg, y, _ROW, bins, 1)
    # the areas stand on one another: each is drawn with those below it, the highest first
    names = list(STATE_COLORS)
    for count in range(len(names), 0, -1):
        heights = [sum(states[name][at] for name in names[:count]) for at in range(bins)]
        steps = "".join(f"V{round(max(0.0, 1 - h), 3):g}H{at}" for at, h in enumerate(heights, 1))
        add(plot, "path", d=f"M0 1{steps}V1Z", fill=STATE_COLORS[names[count - 1]],
            shape_rendering="crispEdges")
    _text(svg, _LEFT - 6, y + _ROW / 2 + 4, queue.name, text_anchor="end", class_="name")
    for line, (name, of) in enumerate((("busy", "busy"), ("waiting", "wait"),
                                       ("stalled", "stall"))):
        _text(svg, _LEFT + _plot_width() + 10, y + 12 + 15 * line,
              f"{spent[of] / cycles:.1%} {name}")


def _names(svg: Element, layers: Sequence[dict[str, Any]], edges: Sequence[int],
           cycles: int) -> None:
    """Names above the layers; where they are too close, of those that take longest."""
    taken: list[float] = []
    for number in sorted(range(len(layers)), key=lambda n: -layers[n]["cycles"]):
        x = _x((edges[number] + edges[number + 1]) / 2, cycles)
        if any(abs(x - other) < _NAME_SPACING for other in taken):
            continue
        taken.append(x)
        name = short_name(layers[number])
        if len(name) > _NAME_LENGTH:  # what tells paths apart is at their end
            name = "…" + name[1 - _NAME_LENGTH:]
        _text(svg, 0, 0, f"{number + 1} {name}",
              transform=f"translate({x + 3:.2f} {_NAMES - 5}) rotate({_NAME_SLOPE})")


def _ticks(cycles: int) -> Iterator[int]:
    """Some ten round numbers up to `cycles`."""
    step = 1
    while cycles / step > 10:
        step = step * 5 // 2 if str(step)[0] == "2" else step * 2
    yield from range(0, cycles + 1, step)
