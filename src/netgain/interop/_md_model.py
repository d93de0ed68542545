"""What a document is made of once read: tables of cells, settings, sentences; scores and changes are read off these."""

from dataclasses import dataclass, field
from functools import cached_property

from netgain.interop._md_numbers import Value

Heading = tuple[str, ...]
"""The headings above a line, outermost first."""


@dataclass(frozen=True, slots=True)
class Cell:
    """One cell of a table: its text, its line, and its number if it is one."""

    text: str
    line: int
    value: Value | None = None


@dataclass(frozen=True)
class Column:
    """A column: its printed name, what it holds, and whether its numbers are percentages."""

    name: str
    role: str
    percent: bool = False
    cells: tuple[Cell, ...] = ()

    @property
    def values(self) -> list[Value]:
        """The numbers of the column, missing ones left out."""
        return [cell.value for cell in self.cells if cell.value is not None]

    @cached_property
    def fractions(self) -> bool:
        """Are all its numbers within 0 and 1?"""
        return bool(self.values) and all(0 <= v.number <= 1 for v in self.values)


@dataclass(frozen=True, slots=True)
class Table:
    """A result table with the headings above it."""

    name: str
    heading: Heading
    line: int
    columns: tuple[Column, ...]

    @property
    def height(self) -> int:
        """Number of rows."""
        return len(self.columns[0].cells) if self.columns else 0

    def having(self, *roles: str) -> list[Column]:
        """The columns with one of these roles."""
        return [column for column in self.columns if column.role in roles]

    def label(self, row: int, *roles: str) -> str:
        """The text of the first column with one of these roles, in a row; empty when there is none."""
        found = self.having(*roles)
        return found[0].cells[row].text if found else ""


@dataclass(frozen=True, slots=True)
class Setting:
    """`key = value` as somebody noted it; `group` is the key of the line it stood in."""

    key: str
    text: str
    value: Value | None
    heading: Heading
    line: int
    group: str = ""


@dataclass(frozen=True, slots=True)
class Sentence:
    """A sentence, a bullet or a line of a listing."""

    text: str
    heading: Heading
    line: int
    code: bool = False


@dataclass(frozen=True, slots=True)
class Score:
    """One measured number: which arm, on which task, by which metric, at which point of the swept axis, which seed."""

    table: Table
    row: int
    column: Column
    cell: Cell
    value: Value
    arm: str
    task: str
    metric: str
    axis: float | None
    seed: str
    stage: str
    rate: float | None


@dataclass(frozen=True, slots=True)
class Change:
    """before -> after of one metric, with what the author says of it."""

    metric: str
    before: Value
    after: Value
    stated: Value | None
    n: int | None
    heading: Heading
    line: int
    cells: str
    words: str
    table: str = ""
    rate: bool = False


@dataclass(frozen=True, slots=True)
class Problem:
    """What kept part of a file from being read as written."""

    kind: str
    line: int
    text: str


@dataclass(frozen=True, slots=True)
class Document:
    """A parsed document of results."""

    path: str
    title: str = ""
    headings: tuple[tuple[int, str, int], ...] = ()
    tables: tuple[Table, ...] = ()
    settings: tuple[Setting, ...] = ()
    sentences: tuple[Sentence, ...] = ()
    problems: tuple[Problem, ...] = ()
    scores: tuple[Score, ...] = ()
    changes: tuple[Change, ...] = ()
    silenced: tuple[tuple[str, str, int], ...] = field(default=())

    @property
    def prose(self) -> tuple[Sentence, ...]:
        """Sentences outside code."""
        return tuple(s for s in self.sentences if not s.code)

    def mentions(self, pattern: str) -> bool:
        """Does any sentence, heading, column or setting match?"""
        import re

        look = re.compile(pattern, re.I)
        names = [c.name for t in self.tables for c in t.columns]
        keys = [f"{s.group} {s.key}" for s in self.settings]
        texts = [s.text for s in self.prose] + [h for _, h, _ in self.headings] + names + keys
        return any(look.search(text) for text in texts)
