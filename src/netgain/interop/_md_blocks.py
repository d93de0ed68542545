"""Markdown text -> headings, raw tables, lines and code; one-line and badly decoded documents are repaired first."""

import re
from dataclasses import dataclass

from netgain.interop._md_model import Heading, Problem
from netgain.interop._md_numbers import plain

MAX_LINE = 20_000
MAX_PROSE = 4_000
MAX_LINES = 20_000
MAX_CELLS = 100_000

_FOREIGN = re.compile(r"[^\x00-\x7f]+")
_RULE = re.compile(r"^\s*\|?\s*:?-{2,}:?\s*(?:\|\s*:?-{2,}:?\s*)*\|?\s*$")
_HEADING = re.compile(r"^\s{0,3}(#{1,6})\s+(.*?)\s*#*\s*$")
_FENCE = re.compile(r"^\s*(```|~~~)")
_SPLIT = re.compile(r"(?<!\\)\|")
_SILENCE = re.compile(r"<!--\s*netgain:\s*ignore\s+([A-Z0-9, ]+?)\s+because\s+(.+?)\s*-->", re.I)


@dataclass(frozen=True, slots=True)
class RawTable:
    """A table as text: the names of its columns and its rows, each with its line."""

    heading: Heading
    line: int
    names: tuple[str, ...]
    rows: tuple[tuple[int, tuple[str, ...]], ...]


@dataclass(frozen=True, slots=True)
class Line:
    """A line that belongs to no table."""

    text: str
    number: int
    heading: Heading
    code: bool


@dataclass(slots=True)
class Blocks:
    """The parts of a Markdown text."""

    headings: list[tuple[int, str, int]]
    tables: list[RawTable]
    lines: list[Line]
    problems: list[Problem]
    silenced: list[tuple[str, str, int]]


def repaired(text: str) -> tuple[str, int]:
    """UTF-8 that was once read as Mac Roman or Windows-1252, put right; and how many runs needed it."""
    count = 0

    def put_right(match: re.Match[str]) -> str:
        nonlocal count
        run = match.group(0)
        for encoding in ("mac_roman", "cp1252", "latin-1"):
            try:
                fixed = run.encode(encoding).decode("utf-8")
            except UnicodeError:
                continue
            count += 1
            return fixed
        return run

    return _FOREIGN.sub(put_right, text), count


def unflattened(text: str) -> tuple[str, bool]:
    """A document whose newlines were lost, with newlines before headings, tables, rows, bullets and bold keys."""
    if "\n" in text.strip() or not re.search(r"\|\s*-{2,}\s*\|", text):
        return text, False
    text = re.sub(r"\s+(#{1,6}\s+\S)", r"\n\1", text)
    text = re.sub(r"\|\s+\|", "|\n|", text)
    text = re.sub(r"\s+(!\[[^\]]*\]\([^)]*\))\s*", r"\n\1\n", text)
    text = re.sub(r"\s+(\*\*[A-Z][\w ]{0,30}:\*\*)", r"\n\1", text)
    lines: list[str] = []
    for line in text.split("\n"):
        if not line.startswith("|") and "|" in line:
            before, _, table = line.partition("|")
            lines += [before.rstrip(), "|" + table]
        elif not line.startswith("|"):
            lines += re.sub(r"\s+- (?=[A-Z])", "\n- ", line).split("\n")
        else:
            lines.append(line)
    return "\n".join(lines), True


def split_row(line: str) -> tuple[str, ...]:
    """The cells of a pipe row."""
    inner = line.strip()
    inner = inner[1:] if inner.startswith("|") else inner
    inner = inner[:-1] if inner.endswith("|") and not inner.endswith("\\|") else inner
    return tuple(cell.strip().replace("\\|", "|") for cell in _SPLIT.split(inner))


def blocks(text: str) -> Blocks:
    """Headings, tables, lines and problems of a Markdown text, in one pass."""
    text, damaged = repaired(text)
    text, flat = unflattened(text)
    found = Blocks([], [], [], [], [])
    if damaged:
        some = "1 run of characters was" if damaged == 1 else f"{damaged} runs of characters were"
        what = f"{some} decoded with the wrong code page (UTF-8 read as another)"
        found.problems.append(Problem("encoding", 1, what))
    if flat:
        found.problems.append(Problem("flattened", 1, "the whole document stands on one line; its newlines were lost"))
    _Reader(found, text.split("\n"), flat).read()
    return found


class _Reader:
    """Walks the lines once, keeping the headings above."""

    def __init__(self, found: Blocks, lines: list[str], flat: bool) -> None:
        self.found = found
        self.lines = lines
        self.flat = flat
        self.above: list[tuple[int, str]] = []
        self.cells = 0

    def number(self, index: int) -> int:
        return 1 if self.flat else index + 1

    @property
    def heading(self) -> Heading:
        return tuple(text for _, text in self.above)

    def read(self) -> None:
        index, code = 0, False
        while index < len(self.lines):
            if len(self.found.lines) >= MAX_LINES:
                text = f"more than {MAX_LINES:,} lines of text; the rest was not read"
                self.found.problems.append(Problem("partial", self.number(index), text))
                break
            line = self.lines[index][:MAX_LINE]
            if _FENCE.match(line):
                code = not code
            elif code:
                self.found.lines.append(Line(line[:MAX_PROSE], self.number(index), self.heading, True))
            elif match := _HEADING.match(line):
                self._enter(len(match[1]), plain(match[2]), self.number(index))
            elif self._table_starts(index):
                index = self._table(index)
                continue
            elif line.strip():
                for silence in _SILENCE.finditer(line):
                    for name in silence[1].replace(",", " ").split():
                        self.found.silenced.append((name.upper(), silence[2], self.number(index)))
                if not line.lstrip().startswith(("<!--", "![")):
                    self._prose(line, index)
            index += 1

    def _prose(self, line: str, index: int) -> None:
        if len(line) > MAX_PROSE:
            text = f"a line has {len(line):,} characters; its first {MAX_PROSE:,} were read"
            self.found.problems.append(Problem("partial", self.number(index), text))
        self.found.lines.append(Line(line[:MAX_PROSE], self.number(index), self.heading, False))

    def _enter(self, level: int, text: str, number: int) -> None:
        self.above = [(depth, name) for depth, name in self.above if depth < level] + [(level, text)]
        self.found.headings.append((level, text, number))

    def _table_starts(self, index: int) -> bool:
        following = self.lines[index + 1] if index + 1 < len(self.lines) else ""
        return "|" in self.lines[index] and "|" in following and bool(_RULE.match(following[:MAX_LINE]))

    def _table(self, index: int) -> int:
        names = split_row(self.lines[index])
        start, rows = index, []
        index += 2
        while index < len(self.lines) and "|" in self.lines[index] and not _HEADING.match(self.lines[index]):
            cells = split_row(self.lines[index][:MAX_LINE])
            if self.cells < MAX_CELLS:
                rows.append((self.number(index), self._fit(cells, names, self.number(index))))
            self.cells += len(names)
            index += 1
        if self.cells >= MAX_CELLS:
            text = f"more than {MAX_CELLS:,} table cells; the rest was not read"
            self.found.problems.append(Problem("partial", self.number(start), text))
        self.found.tables.append(RawTable(self.heading, self.number(start), names, tuple(rows)))
        return index

    def _fit(self, cells: tuple[str, ...], names: tuple[str, ...], number: int) -> tuple[str, ...]:
        if len(cells) != len(names):
            text = f'the row "{" | ".join(cells)[:80]}" has {len(cells)} cells under {len(names)} column names'
            self.found.problems.append(Problem("ragged", number, text))
        return (*cells, *[""] * (len(names) - len(cells)))[: len(names)]
