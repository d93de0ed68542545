"""Points with an interval upwards, named beside their marks: what something costs against what it is worth."""

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from netgain.report.html import svg
from netgain.report.html.charts import Box, Range, label_place
from netgain.report.html.svg import NARROW, bound, canvas, cut, line, mark, path, text


@dataclass(frozen=True, slots=True)
class Point:
    identity: str
    name: str
    x: float
    y: Range
    shade: int
    """Points of one shade belong together."""


@dataclass(frozen=True, slots=True)
class Scatter:
    """Up and left is better; `front` joins the points that nothing beats in both; `floor` is what a control scores."""

    x_title: str
    y_title: str
    points: Sequence[Point]
    front: Sequence[tuple[float, float]]
    floor: tuple[str, float] | None = None
    log: bool = True


def scatter(chart: Scatter, width: float) -> Markup:
    height, top = (360.0, 30.0) if width <= NARROW else (440.0, 30.0)
    bottom = height - 54
    x = svg.axis([point.x for point in chart.points], 56, width - 20, log=chart.log)
    ys = [v for point in chart.points for v in (point.y.low, point.y.high, point.y.estimate)]
    y = svg.axis(ys, bottom, top, include=[] if chart.floor is None else [chart.floor[1]])
    say_x = (lambda v: f"{v:,.0f}") if chart.log else svg.say_tick
    parts = svg.x_axis(x, bottom, top, chart.x_title, say_x, 4 if width <= NARROW else 7)
    parts += svg.y_axis(y, x.start, x.stop, cut(chart.y_title, width), svg.say_percent)
    if chart.floor is not None:
        name, level = chart.floor
        parts += [
            line(x.start, y(level), x.stop, y(level), "margin"),
            text(x.stop, y(level) - 5, name, anchor="end", kind="tick", size=11),
        ]
    if len(chart.front) > 1:
        parts.append(path([(x(a), y(b)) for a, b in chart.front], "series c7 d1 faint"))
    taken: list[Box] = [(x(p.x) - 8, y.inside(p.y.estimate) - 8, 16.0, 16.0) for p in chart.points]
    parts += [_point(point, x, y, taken) for point in chart.points]
    return canvas(width, height, f"{chart.y_title} against {chart.x_title}, {len(chart.points)} arms", parts)


def _point(point: Point, x: svg.Axis, y: svg.Axis, taken: list[Box]) -> Markup:
    px, py, shade = x(point.x), y.inside(point.y.estimate), f"c{point.shade % svg.PALETTE}"
    name = cut(point.name, 190)
    lx, ly, anchor = label_place(px, py, 7.0 * len(name), x, y, taken)
    parts = [
        line(px, y.inside(point.y.low), px, y.inside(point.y.high), f"interval {shade}"),
        line(px, py, lx, ly - 4, f"leader {shade}") if abs(lx - px) > 16 else None,
        mark(px, py, point.shade, f"dot {shade}", 6),
        text(lx, ly, name, anchor=anchor, kind="strong halo"),
    ]
    return bound(point.identity, f"{point.name}: {point.x:,.4g}, {100 * point.y.estimate:.1f} %", parts)
