"""A sweep's figure: score over the swept weight on a symlog axis, as a pure function from a curve to SVG.

Below the threshold the axis is linear, so that 0 has a place; above it is logarithmic. The band is each level's
simultaneous interval against the reference, laid around the reference's own score, which is the dashed line.
"""

import math

from markupsafe import Markup

from netgain.report.html import svg
from netgain.report.html.svg import NARROW, canvas, line, mark, path, rect, text
from netgain.report.sweep import Curve
from netgain.stats.trend import symlog


def figure(curve: Curve, width: float) -> Markup:
    """One curve: band, levels, the reference's line, winners shaded, the level that the dev rows chose as a diamond."""
    height = 260.0 if width <= NARROW else 320.0
    top, bottom = 34.0, height - 48
    base = curve.points[0].score.estimate
    rate = curve.points[0].score.scale == "percent"
    arms = curve.selection.simultaneous.arms
    at = [symlog(point.value or 0.0) for point in curve.points]
    band = [(base, base) if point.name not in arms else _around(base, curve, point.name) for point in curve.points]
    scores = [point.score.estimate for point in curve.points]
    x = svg.axis(at, 62, width - 16)
    y = svg.axis([*scores, *(end for ends in band for end in ends)], bottom, top)
    parts = [rect(x(a) - 8, top, 16, bottom - top, "winner") for a, p in zip(at, curve.points, strict=True) if p.winner]
    parts += svg.y_axis(
        y, x.start, x.stop, f"{curve.metric}{', %' if rate else ''}", _percent if rate else svg.say_tick
    )
    parts.append(line(x.start, bottom, x.stop, bottom, "axis"))
    parts += _ticks(curve, x, bottom)
    lower, upper = [low for low, _ in band], [high for _, high in band]
    outline = [*zip(map(x, at), map(y.inside, upper), strict=True)]
    outline += reversed([*zip(map(x, at), map(y.inside, lower), strict=True)])
    parts.append(path(outline, "band c0", close=True))
    parts.append(line(x.start, y(base), x.stop, y(base), "margin"))
    parts.append(text(x.stop, y(base) - 5, curve.reference, anchor="end", kind="tick halo", size=10))
    parts.append(path([(x(a), y(s)) for a, s in zip(at, scores, strict=True)], "series c0"))
    for a, score, point in zip(at, scores, curve.points, strict=True):
        chosen = point.name == curve.chosen
        parts.append(mark(x(a), y(score), 3 if chosen else 0, "dot c0", 6 if chosen else 4))
    words = f"{curve.name}: {curve.metric} over {len(at)} levels; as good as any: {', '.join(curve.winners.names)}"
    return canvas(width, height, words, parts)


def _around(base: float, curve: Curve, name: str) -> tuple[float, float]:
    """The simultaneous interval of a gain, as scores; a level without one has a band of no height."""
    gain = curve.selection.simultaneous.arms[name]
    ends = (base + gain.low, base + gain.high)
    return ends if all(map(math.isfinite, ends)) else (base + gain.estimate, base + gain.estimate)


def _ticks(curve: Curve, x: svg.Axis, y: float) -> list[Markup]:
    """The levels' own values, left out where they would touch."""
    parts: list[Markup] = []
    last = -math.inf
    for point in curve.points:
        here = x(symlog(point.value or 0.0))
        if here - last >= 26:
            parts.append(text(here, y + 16, f"{point.value:g}", anchor="middle", kind="tick", size=11))
            last = here
    parts.append(
        text((x.start + x.stop) / 2, y + 34, "weight (symlog, linear below 0.01)", anchor="middle", kind="title")
    )
    return parts


def _percent(value: float) -> str:
    return svg.say_percent(value)
