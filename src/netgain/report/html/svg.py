"""Axes, ticks and text for charts that are drawn by hand: numbers in, SVG out, the same bytes every time."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from netgain.report.html.markup import element

FONT = 12.0
NARROW, WIDE = 350, 940
"""Every chart is drawn for a telephone and for a desk; the page shows the one that fits."""

PALETTE = 8
"""Okabe and Ito's colours, as classes c0 to c7; dashes d0 to d3 and marks tell series apart without colour."""


@dataclass(frozen=True, slots=True)
class Axis:
    """Values between `low` and `high` onto pixels between `start` and `stop`; `log` for axes over decades."""

    low: float
    high: float
    start: float
    stop: float
    log: bool = False

    def __call__(self, value: float) -> float:
        share = (self._at(value) - self._at(self.low)) / (self._at(self.high) - self._at(self.low))
        return self.start + share * (self.stop - self.start)

    def _at(self, value: float) -> float:
        return math.log10(value) if self.log else value

    def inside(self, value: float) -> float:
        """The pixel of a value, held within the axis: for the ends of intervals that leave it."""
        return self(min(max(value, self.low), self.high))

    def ticks(self, most: int) -> list[float]:
        """At most about `most` round values."""
        if self.log:
            decades = range(math.floor(math.log10(self.low)), math.ceil(math.log10(self.high)) + 1)
            inside = [10.0**d for d in decades if self.low * 0.999 <= 10.0**d <= self.high * 1.001]
            return inside if len(inside) > 1 else [self.low, self.high]
        step = _round_step((self.high - self.low) / max(most, 1))
        first = math.ceil(self.low / step - 1e-9)
        return [k * step for k in range(first, math.floor(self.high / step + 1e-9) + 1)]


def _round_step(rough: float) -> float:
    """The smallest of 1, 2, 5 times a power of ten that is not below `rough`."""
    power = 10.0 ** math.floor(math.log10(rough))
    return next(power * m for m in (1, 2, 5, 10) if power * m >= rough * 0.9999)


def axis(
    values: Sequence[float], start: float, stop: float, *, include: Sequence[float] = (), log: bool = False
) -> Axis:
    """An axis that holds every finite value with a little air."""
    finite = [v for v in (*values, *include) if math.isfinite(v)] or [0.0, 1.0]
    low, high = min(finite), max(finite)
    if log:
        return Axis(low / 1.3, high * 1.3, start, stop, log=True)
    air = 0.06 * (high - low) or (abs(high) or 1.0) * 0.1
    return Axis(low - air, high + air, start, stop)


def text(x: float, y: float, words: object, *, anchor: str = "start", kind: str = "", size: float = FONT) -> Markup:
    """One line of text; `kind` is a class of the style sheet."""
    return element("text", words, x=x, y=y, text_anchor=anchor, font_size=size, class_=("t " + kind).strip())


def line(x1: float, y1: float, x2: float, y2: float, kind: str) -> Markup:
    return element("line", x1=x1, y1=y1, x2=x2, y2=y2, class_=kind)


def rect(x: float, y: float, width: float, height: float, kind: str, **more: object) -> Markup:
    return element("rect", x=x, y=y, width=max(width, 0.0), height=max(height, 0.0), class_=kind, **more)


def path(points: Sequence[tuple[float, float]], kind: str, *, close: bool = False) -> Markup:
    """A line through points, or the area that they enclose."""
    steps = "L".join(f"{x:.1f},{y:.1f}" for x, y in points)
    return element("path", d=f"M{steps}{'Z' if close else ''}", class_=kind)


def mark(x: float, y: float, shape: int, kind: str, size: float = 5.0) -> Markup:
    """A disc, square, triangle or diamond, so that series differ in print and for every eye."""
    if shape % 4 == 0:
        return element("circle", cx=x, cy=y, r=size, class_=kind)
    if shape % 4 == 1:
        return rect(x - size * 0.9, y - size * 0.9, size * 1.8, size * 1.8, kind)
    if shape % 4 == 2:
        base = y + size * 0.8
        return path([(x, y - size * 1.2), (x + size * 1.1, base), (x - size * 1.1, base)], kind, close=True)
    return path([(x, y - size * 1.3), (x + size * 1.1, y), (x, y + size * 1.3), (x - size * 1.1, y)], kind, close=True)


def canvas(width: float, height: float, words: str, *children: object) -> Markup:
    """The drawing, named for screen readers."""
    return element(
        "svg",
        *children,
        xmlns="http://www.w3.org/2000/svg",
        viewBox=f"0 0 {width:g} {height:g}",
        width=width,
        height=height,
        role="group",
        aria_label=words,
        class_="chart",
    )


def bound(identity: str, words: str, *children: object) -> Markup:
    """A mark that can be pointed at, reached by keyboard, and says its own numbers."""
    return element("g", *children, data_bound=identity, role="img", tabindex="0", aria_label=words, class_="mark")


def x_axis(scale: Axis, y: float, top: float, title: str, say: Callable[[float], str], most: int) -> list[Markup]:
    """Grid lines, tick labels and the title below."""
    parts = [line(scale.start, y, scale.stop, y, "axis")]
    for tick in scale.ticks(most):
        x = scale(tick)
        parts += [line(x, top, x, y, "grid"), text(x, y + 16, say(tick), anchor="middle", kind="tick", size=11)]
    parts.append(text((scale.start + scale.stop) / 2, y + 34, title, anchor="middle", kind="title"))
    return parts


def named_axis(scale: Axis, y: float, top: float, title: str, names: Sequence[str]) -> list[Markup]:
    """An axis of named places, evenly spaced; names that would not fit beside each other are left out in turns."""
    parts = [line(scale.start, y, scale.stop, y, "axis")]
    room = (scale.stop - scale.start) / max(len(names), 1)
    every = max(1, math.ceil(6.5 * max(map(len, names)) / max(room, 1.0)))
    for i, name in enumerate(names):
        parts.append(line(scale(i), top, scale(i), y, "grid"))
        if i % every == 0:
            parts.append(text(scale(i), y + 16, name, anchor="middle", kind="tick", size=11))
    parts.append(text((scale.start + scale.stop) / 2, y + 34, title, anchor="middle", kind="title"))
    return parts


def y_axis(scale: Axis, x: float, right: float, title: str, say: Callable[[float], str], most: int = 5) -> list[Markup]:
    """Grid lines and tick labels; the title stands above, where it reads without turning the head."""
    parts: list[Markup] = []
    for tick in scale.ticks(most):
        y = scale(tick)
        parts += [line(x, y, right, y, "grid"), text(x - 6, y + 4, say(tick), anchor="end", kind="tick", size=11)]
    if title:
        parts.append(text(x - 40 if x > 40 else 0, scale.stop - 10, title, kind="title"))
    return parts


def wrapped(words: str, width: float, size: float = FONT) -> list[str]:
    """Words in lines that fit `width` pixels, by the mean width of a character; a long word is cut in pieces."""
    room = max(int(width / (0.56 * size)), 4)
    lines: list[str] = []
    for word in words.split():
        pieces = [word[i : i + room] for i in range(0, len(word), room)]
        for piece in pieces:
            if lines and len(lines[-1]) + 1 + len(piece) <= room:
                lines[-1] += " " + piece
            else:
                lines.append(piece)
    return lines or [""]


def cut(words: str, width: float, size: float = FONT) -> str:
    """One line that fits, with an ellipsis where it was cut."""
    room = max(int(width / (0.56 * size)), 4)
    return words if len(words) <= room else words[: room - 1] + "…"


def say_tick(value: float) -> str:
    """A tick label: 0, 0.05, 1e-05."""
    return f"{value:.6g}" if value else "0"


def say_points(value: float) -> str:
    """A tick of a difference of rates, in points."""
    return f"{100 * value:+.6g}" if abs(value) > 1e-12 else "0"


def say_change(value: float) -> str:
    return f"{value:+.6g}" if abs(value) > 1e-12 else "0"


def say_percent(value: float) -> str:
    return f"{100 * value:.6g}"
