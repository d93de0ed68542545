"""How rules read a document: sweeps, rows of arms, seeds of an arm, the n behind a number, what was already said."""

import re
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from netgain.audit._noise import implied_n
from netgain.audit.evidence import Evidence
from netgain.interop.documents import Change, Document, Heading, Score, Table, Value

UNCERTAINTY = re.compile(
    r"±|\+/-|\bCI\b|confidence|credible|interval|std(err)?\b|standard (error|deviation)|\bp\s*[<=>]\s*0?\.\d|p-value|"
    r"McNemar|bootstrap|\bt-test|permutation|within noise|not distinguishable|cannot tell|no claim|undecided",
    re.I,
)
CORRECTED = re.compile(r"Holm|Bonferroni|max-?T\b|Benjamini|Tukey|multiple comparison|multiplicity|simultaneous", re.I)
HELD_OUT = re.compile(
    r"\b(chosen|selected|picked|tuned|select(ion)?|chose)\b[^.]{0,60}\b(dev|develop\w*|validation|tuning|held-?out)\b|"
    r"\b(dev|development|validation|tuning)\b[^.]{0,60}\b(chosen|selected|picked|tuned|selection|choose)\b",
    re.I,
)
REPEATED = re.compile(
    r"\b([2-9]|\d\d|two|three|four|five|six|seven|eight|nine|ten|several)\s+(random\s+)?seeds\b", re.I
)


@dataclass(frozen=True, slots=True)
class Sweep:
    """One metric along one swept axis."""

    task: str
    table: Table
    axis: str
    points: tuple[Score, ...]

    @property
    def at(self) -> list[float]:
        """Values of the axis."""
        return [p.axis for p in self.points if p.axis is not None]

    @property
    def numbers(self) -> list[float]:
        """The scores, in printed units."""
        return [p.value.number for p in self.points]

    @property
    def constant(self) -> bool:
        """Is every score the same?"""
        return len(set(self.numbers)) == 1

    @property
    def winner(self) -> Score:
        """The point marked best, else the highest."""
        marked = [p for p in self.points if "best" in p.value.marks]
        return marked[0] if len(marked) == 1 else max(self.points, key=lambda p: p.value.number)

    @property
    def rates(self) -> list[float] | None:
        """The scores as proportions, when they are."""
        rates = [p.rate for p in self.points if p.rate is not None]
        return rates if len(rates) == len(self.points) else None

    def n(self, evidence: Evidence) -> int | None:
        """The items behind each score: said, or implied by the digits."""
        return items_behind(evidence, self.table, self.points)

    def named(self, label: str) -> bool:
        """Does a short label (PA) mean this sweep (Paraphrase)?"""
        words = re.findall(r"\w+", self.task.lower())
        short = label.lower().strip()
        return bool(short) and (short in words or (bool(words) and words[0].startswith(short)))


def sweeps(document: Document) -> list[Sweep]:
    """Every (table, task, arm, metric) with at least three points of an axis and one score each."""
    groups: dict[tuple[int, str, str, str], list[Score]] = defaultdict(list)
    for score in document.scores:
        if score.axis is not None and not score.seed:
            groups[(id(score.table), score.task, score.arm, score.column.name)].append(score)
    found = []
    for points in groups.values():
        at = [p.axis for p in points]
        if len(points) >= 3 and len(set(at)) == len(at):
            table = points[0].table
            label = " ".join(dict.fromkeys(x for x in (points[0].task, points[0].arm) if x)) or table.name
            if len(table.having("score")) > 1:
                label = f"{label} {points[0].column.name}"
            found.append(Sweep(label, table, table.having("axis")[0].name, tuple(points)))
    return found


def matrix_rows(table: Table) -> list[tuple[str, list[tuple[str, Value]]]]:
    """(task, [(arm, value), ...]) for each row of a table whose columns are arms."""
    rows = []
    for row in range(table.height):
        task = table.having("task")[-1].cells[row].text if table.having("task") else ""
        cells = [(c.name, c.cells[row].value) for c in table.having("score")]
        rows.append((task, [(name, value) for name, value in cells if value is not None]))
    return rows


def seeds_of(table: Table) -> dict[str, list[int]]:
    """arm -> its rows, in a table with one row per (arm, seed)."""
    if not table.having("seed"):
        return {}
    rows: dict[str, list[int]] = defaultdict(list)
    for row in range(table.height):
        rows[table.label(row, "arm") or "all"].append(row)
    return dict(rows)


def items_behind(evidence: Evidence, table: Table, points: Sequence[Score]) -> int | None:
    """n from the sidecar, the row's n column, the headings, the document's own words, or the printed digits."""
    counts = table.having("n")
    if counts and points:
        value = counts[0].cells[points[0].row].value
        if value is not None and value.count is not None:
            return value.count
    found = stated_n(evidence, table.heading)
    return found or implied_n([(p.value, p.rate) for p in points if p.rate is not None]) or document_n(evidence)


def stated_n(evidence: Evidence, heading: Heading = ()) -> int | None:
    """The number of items that a person wrote down: beside the file, in a heading, or once in the text."""
    from netgain.interop._md_frame import count_in

    if evidence.n is not None:
        return evidence.n
    if evidence.document is None:
        return None
    if found := count_in(*reversed(heading)):
        return found
    counts = {count_in(s.text) for s in evidence.document.prose if "train" not in s.text.lower()} - {None}
    return counts.pop() if len(counts) == 1 else None


def document_n(evidence: Evidence) -> int | None:
    """The n that the digits of most series of the document betray."""
    document = evidence.document
    if document is None:
        return None
    series = [[(p.value, p.rate) for p in s.points if p.rate is not None] for s in sweeps(document)]
    moved = [c for c in document.changes if c.rate]
    series += [[(v, as_rate(v)) for c in moved for v in (c.before, c.after)]] if not sweeps(document) else []
    found = Counter(n for n in map(implied_n, series) if n)
    return found.most_common(1)[0][0] if found else None


def change_n(evidence: Evidence, change: Change) -> int | None:
    """The number of items behind a change."""
    if change.n is not None:
        return change.n
    return stated_n(evidence, change.heading) or document_n(evidence)


def as_rate(value: Value) -> float:
    """A printed rate as a proportion."""
    return value.number / 100 if value.unit == "%" or abs(value.number) > 1 else value.number


def hedged(change: Change, document: Document) -> bool:
    """Did the author already say how uncertain this change is?"""
    same = [t for t in document.tables if t.heading == change.heading and t.having("interval", "p", "spread")]
    spread = change.before.spread is not None or change.after.spread is not None
    return spread or bool(same) or bool(UNCERTAINTY.search(change.words))


def key(metric: str) -> tuple[str, ...]:
    """A metric's name without counts, brackets and words such as average."""
    bare = re.sub(r"\([^)]*\)", " ", metric.lower())
    return tuple(w for w in re.findall(r"[a-z0-9@]+", bare) if w not in ("average", "avg", "mean", "score", "result"))


def same_metric(a: str, b: str) -> bool:
    """Is one key the beginning of the other (MT-Bench, MT-Bench-RU)? One word must match whole."""
    x, y = sorted((key(a), key(b)), key=len)
    return x == y or (len(x) > 1 and y[: len(x)] == x)


def listed(parts: Sequence[str], limit: int = 6) -> str:
    """`a, b, c and 4 more`."""
    shown = ", ".join(parts[:limit])
    return shown if len(parts) <= limit else f"{shown} and {len(parts) - limit} more"


def short(text: str, limit: int = 140) -> str:
    """The beginning of a sentence, for quoting."""
    return text if len(text) <= limit else text[: limit - 1].rstrip() + "…"
