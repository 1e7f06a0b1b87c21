"""A comparison as one HTML file that needs no other file."""

import base64
import io
from collections.abc import Iterator, Sequence
from html import escape

from PIL import Image

from sim.compare.compare import Comparison, PicturePair
from sim.compare.layers import Likeness
from sim.detect.decode import Detections
from sim.detect.draw import draw
from sim.inputs import read_picture

__all__ = ["SHOWN", "page"]

SHOWN = 24
"""Pictures on the page, those that differ most."""

_LONGEST = 560
_FULL_BAR = 40.0  # dB

_STYLE = """
body { font: 15px/1.4 system-ui, sans-serif; color: #222; margin: 2em auto; max-width: 1180px;
       padding: 0 1em; }
h1 { font-size: 1.5em; } h2 { font-size: 1.2em; margin-top: 2em; }
table { border-collapse: collapse; }
th, td { padding: .15em .7em; text-align: left; border-bottom: 1px solid #ddd; }
td.n, th.n { text-align: right; font-variant-numeric: tabular-nums; }
td.bar { width: 220px; padding: 0; }
td.bar div { background: #7aa6d8; height: .8em; }
tr.worst td.bar div { background: #d9774b; }
tr.worst td:first-child { font-weight: bold; }
figure { margin: 1.5em 0; } figcaption { margin-bottom: .4em; }
.pair { display: flex; gap: 10px; } .pair div { flex: 1; } .pair img { width: 100%; }
"""


def page(result: Comparison, names: Sequence[str], worst: Sequence[Likeness]) -> str:
    """Make the page.

    Parameters
    ----------
    names
        Of the classes.
    worst
        Tensors to point out.
    """
    title = escape(f"{result.a} and {result.b}")
    parts = [f"<h1>{title}</h1>", *_summary(result)]
    if result.unreadable:
        parts.append(f"<p>{len(result.unreadable)} pictures could not be used:</p><ul>"
                     + "".join(f"<li>{escape(why)}</li>" for why in result.unreadable.values())
                     + "</ul>")
    parts.append("<h2>Tensors</h2><p>Signal-to-quantization-noise ratio and cosine of the tensors "
                 f"of {escape(result.b)} against those of {escape(result.a)}, over all pictures. "
                 f"The {len(worst)} lowest ratios are marked.</p>")
    parts.append(_layers(result.layers, {one.name for one in worst}))
    if result.pictures:
        shown = sorted(result.pictures, key=lambda p: -p.difference)[:SHOWN]
        parts.append(f"<h2>Pictures</h2><p>{len(shown)} of {len(result.pictures)}, those that "
                     f"differ most first. Left {escape(result.a)}, right {escape(result.b)}.</p>")
        parts += [_figure(result, pair, names) for pair in shown]
    body = "\n".join(parts)
    return (f'<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
            f"<title>{title}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n{body}\n</body>\n"
            f"</html>\n")


def _summary(result: Comparison) -> Iterator[str]:
    one = result.agreement
    if one is None:
        yield "<p>No heads are known, so boxes were not compared.</p>"
        return
    rows = [("boxes in both", str(one.matched)),
            (f"only in {result.a}", str(one.only_a)), (f"only in {result.b}", str(one.only_b))]
    if one.matched:
        rows += [("mean difference of scores", f"{one.score_difference:.3f}"),
                 ("largest difference of scores", f"{one.largest_difference:.3f}"),
                 ("mean overlap", f"{one.overlap:.3f}")]
    yield "<table>" + "".join(f'<tr><td>{escape(key)}</td><td class="n">{value}</td></tr>'
                              for key, value in rows) + "</table>"


def _layers(layers: Sequence[Likeness], worst: set[str]) -> str:
    rows = []
    for one in layers:
        width = min(max(one.sqnr, 0.0), _FULL_BAR) / _FULL_BAR
        rows.append(f'<tr{" class=worst" if one.name in worst else ""}><td>{escape(one.name)}</td>'
                    f'<td>{"x".join(map(str, one.shape))}</td><td class="n">{one.decibels}</td>'
                    f'<td class="bar"><div style="width:{width:.0%}"></div></td>'
                    f'<td class="n">{one.cosine:.5f}</td></tr>')
    return ('<table><tr><th>tensor</th><th>shape</th><th class="n">SQNR, dB</th><th></th>'
            f'<th class="n">cosine</th></tr>{"".join(rows)}</table>')


def _figure(result: Comparison, pair: PicturePair, names: Sequence[str]) -> str:
    image = read_picture(pair.path)
    sides = "".join(f'<div><img src="{_inline(draw(image, found, names, longest=_LONGEST))}" '
                    f'alt="{escape(name)}"></div>'
                    for name, found in ((result.a, pair.a), (result.b, pair.b)))
    changes = "; ".join(f"{escape(names[pair.a.classes[m.a]])} {m.score_a:.2f} \N{RIGHTWARDS ARROW}"
                        f" {m.score_b:.2f}" for m in pair.matches)
    lonely = [f"only {side}: {', '.join(text)}" for side, text in (
        ("left", _without(pair.a, {m.a for m in pair.matches}, names)),
        ("right", _without(pair.b, {m.b for m in pair.matches}, names))) if text]
    caption = "; ".join(part for part in (changes, *lonely) if part) or "nothing found"
    return (f"<figure><figcaption><b>{escape(pair.path.name)}</b>: {caption}</figcaption>"
            f'<div class="pair">{sides}</div></figure>')


def _without(found: Detections, matched: set[int], names: Sequence[str]) -> list[str]:
    """Boxes without a match."""
    return [f"{escape(names[index])} {score:.2f}"
            for n, (index, score) in enumerate(zip(found.classes, found.scores))
            if n not in matched]


def _inline(image: Image.Image) -> str:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=85)
    return f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode()}"
