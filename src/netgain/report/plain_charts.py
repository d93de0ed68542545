"""Charts made of characters, for terminals and for text: marked points on two axes, and curves with bands."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise, zip_longest

import numpy as np

BANDS = "░▒"
BOTH = "▓"
MARKS = "abcdefghijklmnopqrstuvwxyz"
LABEL = 7
"""Columns that the numbers of the upright axis take."""

Point = tuple[float, float]


@dataclass(frozen=True)
class Line:
    """A curve with its band: `mark` stands at every point (x, y), shade between low and high."""

    mark: str
    points: Sequence[Point]
    band: Sequence[Point]


class Canvas:
    """width x height characters over two ranges; what is written first stays on top."""

    def __init__(self, x: tuple[float, float], y: tuple[float, float], width: int, height: int) -> None:
        self.x, self.y, self.width, self.height = x, y, width, height
        self.cells = [[" "] * width for _ in range(height)]

    def column(self, x: float) -> int:
        return round((x - self.x[0]) / (self.x[1] - self.x[0]) * (self.width - 1))

    def row(self, y: float) -> int:
        return round((self.y[1] - y) / (self.y[1] - self.y[0]) * (self.height - 1))

    def write(self, place: Point, text: str) -> None:
        """Text that begins at a point, in the nearest row where it covers nothing; nowhere if there is none."""
        left = min(self.column(place[0]), self.width - len(text))
        middle = self.row(place[1])
        for row in sorted(range(self.height), key=lambda row: abs(row - middle))[:5]:
            if all(cell == " " for cell in self.cells[row][left : left + len(text)]):
                self.cells[row][left : left + len(text)] = text
                return

    def shade(self, column: int, low: float, high: float, kind: str) -> None:
        """A band's share of one column, under everything else; where two bands meet they are darker."""
        for row in range(max(0, self.row(high)), min(self.height - 1, self.row(low)) + 1):
            cell = self.cells[row][column]
            self.cells[row][column] = kind if cell == " " else BOTH if cell in BANDS and cell != kind else cell


def scatter(points: Sequence[tuple[str, Point]], width: int, height: int) -> list[str]:
    """Labelled points, with numbers at the ends of both axes."""
    canvas = Canvas(_range([p[0] for _, p in points]), _range([p[1] for _, p in points]), width - LABEL - 1, height)
    for label, place in points:
        canvas.write(place, label)
    return _framed(canvas)


def panels(drawn: Sequence[tuple[str, Sequence[Line]]], width: int, height: int, each: int = 30) -> list[str]:
    """Titled panels of curves with bands over the same axes, as many beside one another as there is room for."""
    places = [place for _, lines in drawn for line in lines for place in line.points]
    ends = [end for _, lines in drawn for line in lines for place in line.band for end in place]
    x, y = _range([place[0] for place in places]), _range(ends)
    made = [[title[: each - 1], *_framed(_panel(lines, x, y, each - LABEL - 2, height))] for title, lines in drawn]
    beside = max(1, width // each)
    rows = (made[start : start + beside] for start in range(0, len(made), beside))
    return [line for row in rows for line in (*_beside(row, each), "")][:-1]


def _panel(lines: Sequence[Line], x: Point, y: Point, width: int, height: int) -> Canvas:
    canvas = Canvas(x, y, width, height)
    for line in lines:
        for place in line.points:
            canvas.cells[canvas.row(place[1])][canvas.column(place[0])] = line.mark
    for kind, line in zip(BANDS, lines, strict=False):
        for (before, low), (after, next_low) in pairwise(zip(line.points, line.band, strict=True)):
            for column in range(canvas.column(before[0]), canvas.column(after[0]) + 1):
                span = canvas.column(after[0]) - canvas.column(before[0])
                share = (column - canvas.column(before[0])) / span if span else 0.0
                bottom, top = (a + share * (b - a) for a, b in zip(low, next_low, strict=True))
                canvas.shade(column, bottom, top, kind)
    return canvas


def _range(values: Sequence[float]) -> tuple[float, float]:
    """From the least to the largest, with room where they are the same."""
    low, high = float(np.min(values)), float(np.max(values))
    return (low, high) if high > low else (low - 0.5, high + 0.5)


def _framed(canvas: Canvas) -> list[str]:
    """The canvas with its axes and the numbers at their ends."""
    found = []
    for i, row in enumerate(canvas.cells):
        number = {0: canvas.y[1], canvas.height - 1: canvas.y[0]}.get(i)
        found.append(f"{'' if number is None else f'{number:.3g}':>{LABEL}}|{''.join(row)}".rstrip())
    low, high = f"{canvas.x[0]:.3g}", f"{canvas.x[1]:.3g}"
    gap = " " * max(1, canvas.width - len(low) - len(high))
    return [*found, f"{'':>{LABEL}}+{'-' * canvas.width}", f"{'':>{LABEL}} {low}{gap}{high}"]


def _beside(blocks: Sequence[Sequence[str]], width: int) -> Iterator[str]:
    """Blocks of lines next to one another."""
    for lines in zip_longest(*blocks, fillvalue=""):
        yield "".join(f"{line:<{width}}" for line in lines).rstrip()
