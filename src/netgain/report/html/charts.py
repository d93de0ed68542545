"""The charts: pure functions from numbers and a width to SVG. Right and up are better; words stand beside colours."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from markupsafe import Markup

from netgain.report.html import svg
from netgain.report.html.svg import NARROW, bound, canvas, cut, line, mark, path, rect, text, wrapped


@dataclass(frozen=True, slots=True)
class Range:
    """A number with an interval, signed so that larger is better; infinite ends are drawn to the edge."""

    estimate: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class ForestRow:
    identity: str
    name: str
    about: str
    range: Range
    margin: float | None
    word: str
    tone: str  # good, bad or open
    unit: str


def forest(rows: Sequence[ForestRow], width: float) -> Markup:
    """One line per contrast: estimate, interval, margin; a panel per unit, because units do not share an axis."""
    narrow = width <= NARROW
    left, right = (12.0, width - 12.0) if narrow else (0.34 * width, 0.80 * width)
    parts: list[Markup] = []
    y = 4.0
    for unit in dict.fromkeys(row.unit for row in rows):
        inside = [row for row in rows if row.unit == unit]
        bounds = [v for row in inside for v in (row.range.low, row.range.high, row.range.estimate)]
        scale = svg.axis(bounds, left, right, include=[0.0, *(-row.margin for row in inside if row.margin)])
        step = 66.0 if narrow else 38.0
        top, bottom = y, y + step * len(inside) + 6
        say = svg.say_points if unit == "points" else svg.say_change
        title = f"difference in {unit}; right of 0 is better"
        parts += svg.x_axis(scale, bottom, top, title, say, 4 if narrow else 7)
        parts.append(line(scale(0.0), top, scale(0.0), bottom, "zero"))
        for i, row in enumerate(inside):
            parts.append(_forest_row(row, scale, top + step * (i + (0.78 if narrow else 0.5)), width, narrow))
        y = bottom + 52
    return canvas(width, y - 8, f"Forest plot of {len(rows)} declared contrasts", parts)


def _forest_row(row: ForestRow, scale: svg.Axis, y: float, width: float, narrow: bool) -> Markup:
    ends = f"{row.range.estimate:+.4g}, interval {row.range.low:+.4g} to {row.range.high:+.4g} ({row.unit})"
    parts: list[Markup] = [rect(0, y - 12, width, 24, "hit")]
    if row.margin is not None:
        x = scale(-row.margin)
        parts.append(line(x, y - 13, x, y + 13, "margin"))
    parts += [
        line(scale.inside(row.range.low), y, scale.inside(row.range.high), y, f"interval {row.tone}"),
        line(scale.inside(row.range.low), y - 5, scale.inside(row.range.low), y + 5, f"interval {row.tone}"),
        line(scale.inside(row.range.high), y - 5, scale.inside(row.range.high), y + 5, f"interval {row.tone}"),
        mark(scale.inside(row.range.estimate), y, {"good": 2, "bad": 3}.get(row.tone, 0), f"dot {row.tone}", 5.5),
    ]
    if narrow:
        word = cut(row.word, 0.5 * width)
        parts += [
            text(scale.start, y - 31, cut(row.name, 0.9 * width - 7.6 * len(word) - 24), kind="strong halo"),
            text(width, y - 31, word, anchor="end", kind=f"word halo {row.tone}"),
            text(scale.start, y - 17, cut(row.about, width - 20, 11), kind="tick halo", size=11),
        ]
    else:
        parts += [
            text(0, y - 2, cut(row.name, scale.start - 12), kind="strong"),
            text(0, y + 12, cut(row.about, scale.start - 12, 11), kind="tick", size=11),
        ]
        words = wrapped(row.word, width - scale.stop - 12)[:2]
        first = y + 4 - 7 * (len(words) - 1)
        parts += [text(scale.stop + 12, first + 14 * i, word, kind=f"word {row.tone}") for i, word in enumerate(words)]
    return bound(row.identity, f"{row.name}, {row.about}: {row.word}; {ends}", parts)


@dataclass(frozen=True, slots=True)
class FrontierPoint:
    identity: str
    name: str
    kept: Range
    gained: Range
    tone: str


@dataclass(frozen=True, slots=True)
class Frontier:
    """One panel: a gain against a retention question, every arm a cross of two intervals."""

    x_title: str
    y_title: str
    x_points: bool
    y_points: bool
    margin: float
    points: Sequence[FrontierPoint]


def frontier(panel: Frontier, width: float) -> Markup:
    """Up is more gained, right is more kept; left of the dashed margin counts as forgotten."""
    height, top, bottom = (330.0, 30.0, 280.0) if width <= NARROW else (430.0, 30.0, 376.0)
    xs = [v for p in panel.points for v in (p.kept.low, p.kept.high, p.kept.estimate)]
    ys = [v for p in panel.points for v in (p.gained.low, p.gained.high, p.gained.estimate)]
    x = svg.axis(xs, 56, width - 16, include=[0.0, -panel.margin])
    y = svg.axis(ys, bottom, top, include=[0.0])
    say_x = svg.say_points if panel.x_points else svg.say_change
    say_y = svg.say_points if panel.y_points else svg.say_change
    parts: list[Markup] = [rect(x.start, top, x(-panel.margin) - x.start, bottom - top, "lost")]
    parts += svg.x_axis(x, bottom, top, cut(panel.x_title, x.stop - x.start), say_x, 4 if width <= NARROW else 7)
    parts += svg.y_axis(y, x.start, x.stop, cut(panel.y_title, width), say_y)
    parts += [
        line(x(0.0), top, x(0.0), bottom, "zero"),
        line(x.start, y(0.0), x.stop, y(0.0), "zero"),
        line(x(-panel.margin), top, x(-panel.margin), bottom, "margin"),
        text(x(-panel.margin) + 4, bottom - 6, "margin", kind="tick", size=11),
    ]
    taken = [(x.inside(p.kept.estimate) - 8, y.inside(p.gained.estimate) - 8, 16.0, 16.0) for p in panel.points]
    for i, point in enumerate(panel.points):
        parts.append(_cross(point, i, x, y, taken))
    return canvas(width, height, f"{panel.y_title} against {panel.x_title}, {len(panel.points)} arms", parts)


Box = tuple[float, float, float, float]


def _cross(point: FrontierPoint, i: int, x: svg.Axis, y: svg.Axis, taken: list[Box]) -> Markup:
    px, py = x.inside(point.kept.estimate), y.inside(point.gained.estimate)
    shade = f"c{i % svg.PALETTE}"
    name = cut(point.name, 190)
    lx, ly, anchor = label_place(px, py, 7.0 * len(name), x, y, taken)
    parts = [
        line(x.inside(point.kept.low), py, x.inside(point.kept.high), py, f"interval {shade}"),
        line(px, y.inside(point.gained.low), px, y.inside(point.gained.high), f"interval {shade}"),
        line(px, py, lx, ly - 4, f"leader {shade}") if abs(lx - px) > 16 else None,
        mark(px, py, i, f"dot {shade}", 6),
        text(lx, ly, name, anchor=anchor, kind="strong halo"),
    ]
    words = f"{point.name}: kept {point.kept.estimate:+.4g}, gained {point.gained.estimate:+.4g}"
    return bound(point.identity, words, parts)


def label_place(
    px: float, py: float, long: float, x: svg.Axis, y: svg.Axis, taken: list[Box]
) -> tuple[float, float, str]:
    """The nearest free place for a name: beside its mark, else further out at the end of a thin line."""
    for out in (11.0, 34.0, 60.0, 90.0):
        for down in (4.0, -12.0, 20.0, -28.0, 36.0, -44.0, 52.0, -60.0, 68.0):
            for side in (1, -1):
                start = px + out if side > 0 else px - out - long
                box = (start, py + down - 11, long, 14.0)
                inside = x.start <= start and start + long <= x.stop and y.stop <= box[1] and box[1] + 14 <= y.start
                if inside and not any(_overlap(box, other) for other in taken):
                    taken.append(box)
                    return px + side * out, py + down, "start" if side > 0 else "end"
    return px + 11, py + 4, "start"


def _overlap(a: Box, b: Box) -> bool:
    return a[0] < b[0] + b[2] and b[0] < a[0] + a[2] and a[1] < b[1] + b[3] and b[1] < a[1] + a[3]


@dataclass(frozen=True, slots=True)
class Series:
    """One line of a panel, with an optional band and single points that are marked and named."""

    name: str
    points: Sequence[tuple[float, float]]
    shade: int = 0
    dash: int = 0
    faint: bool = False
    dots: bool = False
    band: Sequence[tuple[float, float, float]] = ()
    named: Sequence[tuple[float, float, str]] = ()
    identities: Sequence[str] = ()
    silent: bool = False
    """Marks without their words, when an earlier line of the panel already said them."""


@dataclass(frozen=True, slots=True)
class Panel:
    title: str
    series: Sequence[Series]
    marked: Sequence[float] = field(default=())
    """Values of x that are shaded, such as the set of winners."""
    percent: bool = False


@dataclass(frozen=True, slots=True)
class Grid:
    """Panels that share both axes."""

    x_title: str
    y_title: str
    panels: Sequence[Panel]
    percent: bool = False
    zero: bool = False
    labels: Sequence[str] = ()
    """Names of the positions 0, 1, 2, ... of x, when its values are not to scale."""
    alone: bool = False
    """Every panel has its own y axis, because their units differ."""


def lines(grid: Grid, width: float) -> Markup:
    """Small multiples: a panel an arm, so that no reader has to tell twelve colours apart."""
    columns = 1 if width <= NARROW else min(len(grid.panels), 3 if len(grid.panels) > 2 else 2)
    inner, tall, gap = width / columns, 150.0 if columns > 1 or width <= NARROW else 240.0, 62.0
    xs = [x for panel in grid.panels for s in panel.series for x, _ in s.points]
    ys = _heights(grid.panels)
    shared = [0.0] if grid.zero else []
    parts: list[Markup] = []
    for i, panel in enumerate(grid.panels):
        left, top = (i % columns) * inner, (i // columns) * (tall + gap) + 48
        x = svg.axis(xs, left + 52, left + inner - 14)
        y = svg.axis(_heights([panel]) if grid.alone else ys, top + tall, top, include=shared)
        parts += _panel(grid, panel, x, y, inner)
    rows = math.ceil(len(grid.panels) / columns)
    entries = list(dict.fromkeys((s.name, s.shade, s.dash, s.faint) for p in grid.panels for s in p.series))
    legend, height = _legend(entries, rows * (tall + gap) + 44, width)
    words = f"{grid.y_title} over {grid.x_title}: {', '.join(panel.title for panel in grid.panels)}"
    return canvas(width, height, words, text(0, 14, cut(grid.y_title, width), kind="title"), parts, legend)


def _heights(panels: Sequence[Panel]) -> list[float]:
    """Every value that a y axis must hold."""
    series = [each for panel in panels for each in panel.series]
    return [y for s in series for _, y in s.points] + [v for s in series for band in s.band for v in band[1:]]


def _panel(grid: Grid, panel: Panel, x: svg.Axis, y: svg.Axis, inner: float) -> list[Markup]:
    say_y: Callable[[float], str] = svg.say_percent if grid.percent or panel.percent else svg.say_tick
    parts = (
        svg.named_axis(x, y.start, y.stop, grid.x_title, grid.labels)
        if grid.labels
        else svg.x_axis(x, y.start, y.stop, grid.x_title, svg.say_tick, 4)
    )
    parts += svg.y_axis(y, x.start, x.stop, "", say_y, 4)
    parts.append(text(x.start, y.stop - 8, cut(panel.title, inner - 60), kind="strong"))
    for value in panel.marked:
        parts.append(rect(x(value) - 9, y.stop, 18, y.start - y.stop, "winner"))
    for series in panel.series:
        parts += _series(series, x, y)
    return parts


def _series(series: Series, x: svg.Axis, y: svg.Axis) -> list[Markup]:
    shade = f"c{series.shade % svg.PALETTE}"
    dash = f"d{series.dash % 4}" + (" faint" if series.faint else "")
    parts: list[Markup] = []
    if series.band:
        upper = [(x(v), y.inside(high)) for v, _, high in series.band]
        lower = [(x(v), y.inside(low)) for v, low, _ in reversed(series.band)]
        parts.append(path([*upper, *lower], f"band {shade}", close=True))
    if len(series.points) > 1:
        parts.append(path([(x(a), y(b)) for a, b in series.points], f"series {shade} {dash}"))
    if series.dots:
        dots = [mark(x(a), y(b), series.shade, f"dot {shade}", 4) for a, b in series.points]
        named = zip(series.identities, series.points, strict=True) if series.identities else ()
        words = [(identity, f"{series.name} at {a:.6g}: {b:.4g}") for identity, (a, b) in named]
        parts += [bound(*said, dot) for said, dot in zip(words, dots, strict=True)] if words else dots
    for a, b, words in series.named:
        parts.append(mark(x(a), y(b), 1 if words == "final" else 3, f"dot {shade}", 4.5))
        end = x(a) > (x.start + x.stop) / 2
        at = y(b) + 16 if words == "final" else y(b) - 8
        if not series.silent:
            parts.append(text(x(a), at, words, anchor="end" if end else "start", kind="tick halo", size=10))
    return parts


def _legend(entries: Sequence[tuple[str, int, int, bool]], y: float, width: float) -> tuple[list[Markup], float]:
    """Names beside the line they are drawn with, as many in a row as fit."""
    parts: list[Markup] = []
    x = 12.0
    for name, shade, dash, faint in entries:
        room = 44 + len(name) * 6.9
        if x > 12 and x + room > width:
            x, y = 12.0, y + 20
        style = f"series c{shade % svg.PALETTE} d{dash % 4}" + (" faint" if faint else "")
        parts += [line(x, y - 4, x + 24, y - 4, style), text(x + 30, y, cut(name, width - 50), kind="legend")]
        x += room + 10
    return parts, y + 10


@dataclass(frozen=True, slots=True)
class FlipRow:
    identity: str
    name: str
    about: str
    gained: Range
    lost: Range


def flips(rows: Sequence[FlipRow], width: float) -> Markup:
    """Right of the middle: from wrong to right; left: from right to wrong. A net of zero can hide both."""
    narrow = width <= NARROW
    left, right = (12.0, width - 12.0) if narrow else (0.34 * width, width - 16.0)
    most = max([v for row in rows for v in (row.gained.high, row.lost.high)] or [0.1]) or 0.1
    scale = svg.Axis(-most * 1.08, most * 1.08, left, right)
    step = 54.0 if narrow else 38.0
    bottom = 26 + step * len(rows)
    title = "share of items, %"
    parts = svg.x_axis(scale, bottom, 24, title, lambda v: svg.say_percent(abs(v)), 5 if narrow else 8)
    parts += [
        text(scale(0.0) - 8, 14, "right to wrong", anchor="end", kind="word bad"),
        text(scale(0.0) + 8, 14, "wrong to right", kind="word good"),
    ]
    for i, row in enumerate(rows):
        parts.append(_flip_row(row, scale, 26 + step * (i + (0.66 if narrow else 0.5)), width, narrow))
    parts.append(line(scale(0.0), 20, scale(0.0), bottom, "zero"))
    return canvas(width, bottom + 42, f"Flips of {len(rows)} contrasts", parts)


def _flip_row(row: FlipRow, scale: svg.Axis, y: float, width: float, narrow: bool) -> Markup:
    zero = scale(0.0)
    parts = [
        rect(0, y - 12, width, 24, "hit"),
        rect(zero, y - 9, scale(row.gained.estimate) - zero, 18, "bar good"),
        rect(scale(-row.lost.estimate), y - 9, zero - scale(-row.lost.estimate), 18, "bar bad"),
        line(scale(row.gained.low), y, scale.inside(row.gained.high), y, "whisker"),
        line(scale.inside(-row.lost.high), y, scale(-row.lost.low), y, "whisker"),
    ]
    if narrow:
        parts.append(text(scale.start, y - 15, cut(f"{row.name}, {row.about}", width - 20), kind="halo", size=11))
    else:
        parts += [
            text(0, y - 2, cut(row.name, scale.start - 12), kind="strong"),
            text(0, y + 12, cut(row.about, scale.start - 12, 11), kind="tick", size=11),
        ]
    words = f"wrong to right {100 * row.gained.estimate:.1f} %, right to wrong {100 * row.lost.estimate:.1f} %"
    return bound(row.identity, f"{row.name}, {row.about}: {words}", parts)


@dataclass(frozen=True, slots=True)
class Cell:
    identity: str
    row: str
    column: str
    share: float
    """-1 to 1 of the strongest colour; the words say the number."""
    words: str
    interval: str


def heat(cells: Sequence[Cell], width: float) -> Markup:
    """Arms by tasks: blue is better than the base, orange is worse, and every cell says its number."""
    rows, columns = list(dict.fromkeys(c.row for c in cells)), list(dict.fromkeys(c.column for c in cells))
    left = (0.4 if width <= NARROW else 0.28) * width
    wide, tall = (width - left) / len(columns), 34.0
    heads = [wrapped(column, wide - 6, 11)[:3] for column in columns]
    top = 14.0 * max(map(len, heads)) + 8
    parts: list[Markup] = []
    for j, words in enumerate(heads):
        parts += [
            text(left + wide * (j + 0.5), 14 + 14 * k, cut(word, wide, 11), anchor="middle", size=11)
            for k, word in enumerate(words)
        ]
    for i, row in enumerate(rows):
        words = wrapped(row, left - 8, 12)[:2]
        first = top + tall * (i + 0.6) - 7 * (len(words) - 1)
        parts += [text(0, first + 14 * k, word, kind="strong") for k, word in enumerate(words)]
    for cell in cells:
        x, y = left + wide * columns.index(cell.column), top + tall * rows.index(cell.row)
        shade = ("good" if cell.share > 0 else "bad") + str(min(4, math.ceil(4 * abs(cell.share))))
        inside = [
            rect(x + 1, y + 1, wide - 2, tall - 2, f"cell {shade}"),
            text(x + wide / 2, y + tall * 0.62, cut(cell.words, wide, 11), anchor="middle", size=11, kind="on"),
        ]
        parts.append(bound(cell.identity, f"{cell.row}, {cell.column}: {cell.words}, {cell.interval}", inside))
    return canvas(width, top + tall * len(rows) + 6, f"{len(rows)} arms by {len(columns)} measures", parts)
