"""The report as a page for people: ``report.html``, which needs nothing but a browser."""

from collections.abc import Iterable, Sequence
from typing import Any
from xml.etree.ElementTree import Element, indent, tostring

from codegen.emit.chart import LIMIT_COLORS, STATE_COLORS, add, figure, swatches
from codegen.emit.report import LAYER_COLUMNS, layer_rows
from codegen.lowered import Instruction
from hw.spec.timing import Prediction

__all__ = ["page"]

_LIMITS = {"MAC": "the array", "POST": "requantization", "memory": "the bus",
           "latency": "none of them is busy 80 % of the time"}
_STATES = {"busy": "", "stalled": "by memory", "waiting": "for tokens of other queues"}
_STYLE = """
body { font: 14px/1.45 system-ui, sans-serif; color: #1c2733; background: #fff;
  max-width: 1200px; margin: 24px auto; padding: 0 16px }
h1 { font-size: 22px; margin: 0 } h2 { font-size: 16px; margin: 32px 0 8px }
p { margin: 4px 0 12px; max-width: 900px } p.legend { max-width: none; margin: 0 0 4px }
svg { display: block; width: 100%; height: auto; overflow: visible } svg svg { overflow: hidden }
text { font: 11px system-ui, sans-serif; fill: #4a5561 } text.inside { fill: #fff }
text.name { font-weight: 600; fill: #1c2733 }
.time { opacity: .28 } .frame { fill: #f7f9fb }
.grid { stroke: #1c2733; stroke-opacity: .16 } .edge { stroke: #1c2733; stroke-opacity: .22 }
.axis { stroke: #4a5561 }
.legend > span { margin-left: 16px; white-space: nowrap } .legend span span { color: #5c6773 }
.legend i, td i { display: inline-block; width: 11px; height: 11px; margin-right: 6px }
.legend b { font-weight: 600; margin-right: 6px }
.scroll { overflow-x: auto } table { border-collapse: collapse }
th, td { padding: 2px 8px; text-align: right; vertical-align: top; white-space: nowrap }
th { border-bottom: 1px solid #1c2733; font-weight: 600; vertical-align: bottom }
th.text, td.text { text-align: left; max-width: 320px; white-space: normal;
  overflow-wrap: break-word }
tr.part td { color: #7a8490 } tr.part td:nth-child(2) { padding-left: 24px }
tr.made td { font-weight: 600 }
tbody tr:hover td { background-color: #f0f4f8 }
"""


def page(report: dict[str, Any], program: Sequence[Instruction], prediction: Prediction) -> str:
    """The text of ``report.html``, from the report and what it was made of."""
    html = Element("html", {"lang": "en"})
    head, body = add(html, "head"), add(html, "body")
    made_for = report["prediction"]
    title = f"{report['name']} on {report['target']}"
    add(head, "meta", charset="utf-8")
    # nothing that a name could smuggle in would run
    add(head, "meta", http_equiv="Content-Security-Policy",
        content="default-src 'none'; style-src 'unsafe-inline'")
    add(head, "meta", name="viewport", content="width=device-width")
    add(head, "title", title)
    add(head, "style", _STYLE)
    add(body, "h1", title)
    add(body, "p", f"{made_for['cycles']:,} cycles predicted, {made_for['utilization']:.1%} of the "
        f"array used, at {made_for['bytes_per_cycle']:g} B/cycle and a latency of "
        f"{made_for['latency']}. {report['macs'] / 1e6:,.1f} M MAC on {report['config']['rows']}x"
        f"{report['config']['columns']}: at least {report['ideal_cycles']:,.0f} cycles. "
        f"{report['instructions']:,} instructions; {report['certified_channels']:,} output "
        f"channels proved exact.")
    _bandwidths(body, report)
    add(body, "h2", "Where the cycles go")
    add(body, "p", "Above, a layer is as wide as it takes cycles, and filled as far as it uses the "
        "array: the pale areas are the cycles lost. Its time is that from the last result of the "
        "layer before to its own; as layers overlap, it can exceed 100 %. Below, what the queues "
        "do meanwhile. timeline.json has every instruction.")
    swatches(body, "layers, by what limits them:", LIMIT_COLORS, _LIMITS)
    swatches(body, "queues:", STATE_COLORS, _STATES)
    body.append(figure(report, program, prediction))
    add(body, "h2", "Layers")
    _layers(body, report)
    add(body, "h2", "What the search chose")
    add(body, "p", "Costs are the search's: cycles of the layer scheduled by itself, and a little "
        "for its memory traffic. The runner-up is the second best way to do the network up to "
        "this layer, of which the last layer, or cascade, is shown.")
    _search(body, report["layers"])
    indent(body, " ")
    text = tostring(html, encoding="unicode", method="html")
    return f"<!DOCTYPE html>\n{text}\n"


def _table(parent: Element, columns: Iterable[tuple[str, bool]]) -> Element:
    """A table with headings, True for text; returns its body."""
    table = add(add(parent, "div", class_="scroll"), "table")
    row = add(add(table, "thead"), "tr")
    for heading, is_text in columns:
        add(row, "th", heading, **_class(is_text))
    return add(table, "tbody")


def _row(body: Element, cells: Iterable[str], columns: Iterable[tuple[str, bool]],
         **attributes: object) -> Element:
    row = add(body, "tr", **attributes)
    for cell, (_, is_text) in zip(cells, columns):
        add(row, "td", cell, **_class(is_text))
    return row


def _class(is_text: bool) -> dict[str, object]:
    return {"class_": "text"} if is_text else {}


def _bandwidths(body: Element, report: dict[str, Any]) -> None:
    headings = ("B/cycle, both ways", "cycles", "utilization", "read MB", "written MB")
    columns = [(heading, False) for heading in headings]
    table = _table(body, columns)
    for row in report["bandwidths"]:
        made = row["bytes_per_cycle"] == report["prediction"]["bytes_per_cycle"]
        _row(table, (f"{row['bytes_per_cycle']:g}", f"{row['cycles']:,}",
                     f"{row['utilization']:.1%}", f"{row['read_bytes'] / 1e6:.2f}",
                     f"{row['written_bytes'] / 1e6:.2f}"), columns,
             **({"class_": "made"} if made else {}))


def _layers(body: Element, report: dict[str, Any]) -> None:
    """The table that the terminal shows, and what every layer loses."""
    columns = [*LAYER_COLUMNS.items(), ("lost k cycles", False)]
    lost = [layer["cycles"] - layer["ideal_cycles"] for layer in report["layers"]]
    most = max([1.0, *lost])
    table = _table(body, columns)
    for cells in layer_rows(report):
        if not cells[0]:
            _row(table, cells, columns, class_="part")
            continue
        layer, own = report["layers"][int(cells[0]) - 1], lost[int(cells[0]) - 1]
        row = _row(table, [*cells, f"{own / 1e3:.1f}"], columns)
        limit = row[list(LAYER_COLUMNS).index("limit")]
        color, name, limit.text = LIMIT_COLORS[layer["limit"]], limit.text, ""
        limit.set("style", "white-space:nowrap")
        add(limit, "i", style=f"background:{color}").tail = name
        share = 100 * max(0.0, own) / most
        row[-1].set("style", f"background-image:linear-gradient(to left,{color}55 {share:.1f}%,"
                             f"transparent {share:.1f}%)")


def _search(body: Element, layers: Sequence[dict[str, Any]]) -> None:
    columns = (("#", False), ("chosen", True), ("cost, k cycles", False), ("runner-up", True),
               ("costs more by", False), ("% of cost", False))
    table = _table(body, columns)
    for number, layer in enumerate(layers, 1):
        names = [kernel["name"] for kernel in layer["kernels"]]
        cost, second = layer["search"]["cost"], layer["search"]["runner_up"]
        cells = [str(number), _span(names), f"{cost / 1e3:.1f}"]
        if second is None:
            cells += ["none", "", ""]
        else:
            cells += ["the same, cut otherwise" if second["last"] == names
                      else _span(second["last"]), f"{second['more']:,.0f}",
                      f"{second['more'] / cost:.1%}" if cost else ""]
        _row(table, cells, columns)


def _span(names: Sequence[str]) -> str:
    if len(names) == 1:
        return names[0]
    return f"{names[0]} … {names[-1]} ({len(names)})"
