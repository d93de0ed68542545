"""NG30x: printed numbers that do not follow from the printed numbers."""

import re
from collections.abc import Iterator

from netgain.audit._noise import fits, mean_and_sd, scale
from netgain.audit._reading import listed, seeds_of, short, stated_n
from netgain.audit.finding import Finding, Severity
from netgain.audit.rule import DocumentRule
from netgain.interop._md_frame import RATE
from netgain.interop.documents import Change, Column, Table, Value

Range = tuple[float, float, float]
"""The lowest value that rounding allows, the value of the printed numbers, the highest."""


class DeltaDoesNotRecompute(DocumentRule):
    """A stated change that no rounding of the printed pair gives."""

    code = "NG301"
    title = "A printed change does not recompute"
    severity = Severity.WARNING
    fix = "Compute changes from unrounded values and round once, to the nearest; print enough digits to check."

    def check(self) -> Iterator[Finding]:
        """Every before -> after with a stated change, relative, in points or raw."""
        for change in self.document.changes:
            if change.stated is None:
                continue
            ranges = _possible(change)
            stated = change.stated
            low, high = stated.number - stated.half, stated.number + stated.half
            hits = [r for r in ranges.values() if r[0] <= high + 1e-9 and r[2] >= low - 1e-9]
            exact = {kind: r[1] for kind, r in ranges.items()}
            flipped = [r for r in ranges.values() if r[0] <= -low + 1e-9 and r[2] >= -high - 1e-9]
            nearest = min(exact.values(), key=lambda v: abs(v - stated.number))
            if not hits and flipped and stated.number:
                yield self._sign(change, stated, exact)
            elif not hits:
                off = abs(nearest - stated.number)
                yield self.finding(
                    f"{change.metric}: {change.before.shown} -> {change.after.shown} is {_say(nearest, stated)}, "
                    f"printed {stated.shown}.",
                    line=change.line, table=change.table, cell=change.cells,
                    severity=Severity.ERROR if off > 4 * stated.half + 1e-9 else None,
                )  # fmt: skip
            elif min(abs(v - stated.number) for v in exact.values()) > stated.half + 1e-9:
                yield self.finding(
                    f"{change.metric}: the printed {change.before.shown} and {change.after.shown} give "
                    f"{_say(nearest, stated, exactly=False)}, printed {stated.shown}; only unrounded values can.",
                    line=change.line, table=change.table, cell=change.cells, severity=Severity.NOTE,
                )  # fmt: skip

    def _sign(self, change: Change, stated: Value, exact: dict[str, float]) -> Finding:
        turned = min(exact.values(), key=lambda v: abs(v + stated.number))
        return self.finding(
            f"{change.metric}: {change.before.shown} -> {change.after.shown} is {_say(turned, stated)}, printed "
            f"{stated.shown}: the sign stands for worse, not for the change.",
            line=change.line, table=change.table, cell=change.cells,
            fix="Print the change with its own sign and mark which direction is better (lower is better: ↓).",
        )  # fmt: skip


def _say(number: float, like: Value, exactly: bool = True) -> str:
    places = like.places + (2 if exactly and like.places < 3 else 0)
    unit = {"": "", "%": " %"}.get(like.unit, f" {like.unit}")
    return f"{number:+.{places}f}{unit}"


def _possible(change: Change) -> dict[str, Range]:
    """The changes that the rounding of the printed pair allows, in the unit of the stated one."""
    before, after, stated = change.before, change.after, change.stated
    slack = before.half + after.half
    raw = after.number - before.number
    found: dict[str, Range] = {}
    unit = stated.unit if stated else ""
    if unit in ("", "pp"):
        times = (
            100.0 if unit == "pp" and before.unit != "%" and max(abs(before.number), abs(after.number)) <= 1 else 1.0
        )
        found["difference"] = (times * (raw - slack), times * raw, times * (raw + slack))
    if unit in ("%", "") and before.number:
        ends = [
            100 * (after.number + a * after.half - before.number - b * before.half) / (before.number + b * before.half)
            for a in (-1, 1)
            for b in (-1, 1)
            if before.number + b * before.half
        ]
        found["relative"] = (min(ends), 100 * raw / before.number, max(ends))
    if unit == "%" and before.unit == "%":
        found["points"] = (raw - slack, raw, raw + slack)
    elif unit == "%" and change.rate:
        found["points"] = (100 * (raw - slack), 100 * raw, 100 * (raw + slack))
    return found or {"difference": (raw - slack, raw, raw + slack)}


class MeanDoesNotRecompute(DocumentRule):
    """A summary that the runs beside it do not give."""

    code = "NG302"
    title = "A printed mean or deviation does not recompute"
    severity = Severity.ERROR
    fix = "Generate the summary from the runs in the same script; say which runs were left out, and why."

    def check(self) -> Iterator[Finding]:
        """Summaries with the arms of a table of seeds, compared with the column that fits best."""
        for runs in self.document.tables:
            arms = seeds_of(runs)
            for summary in self.document.tables:
                if len(arms) > 1 and summary is not runs and summary.having("arm") and not summary.having("seed"):
                    for column in summary.having("score"):
                        yield from self._column(runs, arms, summary, column)

    def _column(self, runs: Table, arms: dict[str, list[int]], summary: Table, column: Column) -> Iterator[Finding]:
        rows = [r for r in range(summary.height) if summary.label(r, "arm") in arms and column.cells[r].value]
        misses: dict[str, list[tuple[int, float]]] = {}
        for source in runs.having("score"):
            wrong = []
            for row in rows:
                found = [v for r in arms[summary.label(row, "arm")] if (v := source.cells[r].value)]
                printed = column.cells[row].value
                mean = mean_and_sd([v.number for v in found])[0] if found else 0.0
                slack = max((v.half for v in found), default=0.0)  # the runs are rounded too
                if printed is None or not found or abs(mean - printed.number) > 1.01 * (printed.half + slack):
                    wrong.append((row, mean))
            misses[source.name] = wrong
        if not rows or not misses:
            return
        name, wrong = min(misses.items(), key=lambda pair: len(pair[1]))
        if wrong and 2 * len(wrong) < len(rows):
            shown = [f"{summary.label(r, 'arm')} prints {column.cells[r].text}, the runs give {mean:.4g}"
                     for r, mean in wrong]  # fmt: skip
            yield self.finding(
                f"{column.name} is the mean of {name} in {len(rows) - len(wrong)} of {len(rows)} arms, but "
                f"{listed(shown)}.",
                line=column.cells[wrong[0][0]].line, table=summary.name, cell=column.cells[wrong[0][0]].text,
            )  # fmt: skip


class Granularity(DocumentRule):
    """GRIM: no count out of n gives this percentage."""

    code = "NG303"
    title = "No count of items gives this percentage"
    severity = Severity.ERROR
    fix = "Check n, and whether the score is a share of items at all; print the counts."
    SHARES = re.compile(r"acc|exact|\bem\b|pass@1|success|win[ _-]?rate|solved|correct", re.I)

    def check(self) -> Iterator[Finding]:
        """Rates of shares of items, where n is written down and small enough to matter."""
        for table in self.document.tables:
            counts = table.having("n")
            wrong: list[tuple[str, Value, int]] = []
            for score in self.document.scores:
                if score.table is not table or score.rate is None:
                    continue
                if not self.SHARES.search(f"{score.metric} {score.column.name}") or score.value.spread is not None:
                    continue
                cell = counts[0].cells[score.row].value if counts else None
                n = (cell and cell.count) or stated_n(self.evidence, table.heading)
                half = score.value.half * scale(score.value, score.rate)
                if n and 2 * half * n < 1 and not fits(score.rate, half, n) and not table.having("n_seeds", "spread"):
                    label = " ".join(x for x in (score.arm, score.task) if x) or score.column.name
                    wrong.append((f"{label} {score.value.shown} of {n}", score.value, n))
            if wrong:
                text, value, n = wrong[0]
                rate = value.number * (0.01 if value.number > 1 else 1)
                near = round(rate * n)
                yield self.finding(
                    f"{len(wrong)} rates are no share of their items: {listed([t for t, _, _ in wrong], 4)} "
                    f"({near}/{n} is {near / n:.2%}).",
                    line=table.line, table=table.name, cell=text,
                )  # fmt: skip


class OnBothLists(DocumentRule):
    """The same item named among the gains and among the losses."""

    code = "NG304"
    title = "An item is on two opposite lists"
    severity = Severity.ERROR
    fix = "Generate both lists from the per-item differences."
    UP = re.compile(r"\b(gain|improv|better|win|fixed|increase)\w*", re.I)
    DOWN = re.compile(r"\b(drop|regress|worse|loss|lost|fail|decrease|floor)\w*", re.I)
    LIST = re.compile(r"([^()]{0,400})\(([^()]*)\)")
    ITEM = re.compile(r"\b([A-Z])(\d+)(?:\s?[–-]\s?[A-Z]?(\d+))?")

    def check(self) -> Iterator[Finding]:
        """Sentences with two bracketed lists of item names, one of gains and one of drops."""
        for sentence in self.document.prose:
            lists = list(self.LIST.finditer(sentence.text)) if sentence.text.count("(") > 1 else []
            up: set[str] = set()
            down: set[str] = set()
            side: set[str] | None = None
            for found in lists:
                side = down if self.DOWN.search(found[1]) else up if self.UP.search(found[1]) else side
                if side is not None:
                    side |= self._expand(found[2])
            if both := sorted(up & down):
                yield self.finding(
                    f"{listed(both)} stands among the gains ({len(up)} items) and among the drops ({len(down)} items).",
                    line=sentence.line, cell=short(sentence.text),
                )  # fmt: skip

    def _expand(self, text: str) -> set[str]:
        names: set[str] = set()
        for letter, first, last in self.ITEM.findall(text):
            end = int(last or first)
            if 0 <= end - int(first) < 1000:
                names |= {f"{letter}{i}" for i in range(int(first), end + 1)}
        return names


class MixedScales(DocumentRule):
    """Percentages and fractions in one column."""

    code = "NG305"
    title = "One column mixes percentages and fractions"
    severity = Severity.WARNING
    fix = "Print one scale, with the unit in the column's name."

    def check(self) -> Iterator[Finding]:
        """Columns of one metric with both 56.6 (or 56.6 %) and 0.566."""
        for table in self.document.tables:
            if table.having("metric", "parameter"):
                continue
            for column in table.having("score"):
                values = [v for v in column.values if v.number]
                small = [v for v in values if 0 < v.number < 1 and v.unit != "%" and v.places >= 2]
                large = [v for v in values if v.unit == "%" or (RATE.search(column.name) and 1.5 < v.number <= 100)]
                if small and large and median_of(large) > 10 * median_of(small):
                    line = next(c.line for c in column.cells if c.value is small[0])
                    yield self.finding(
                        f"{column.name} holds {large[0].shown} and {small[0].shown}.",
                        line=line, table=table.name, cell=small[0].text,
                    )  # fmt: skip


def median_of(values: list[Value]) -> float:
    """The middle number."""
    return sorted(v.number for v in values)[len(values) // 2]


class SignedZero(DocumentRule):
    """A zero with a minus sign, or sixteen digits of a floating-point number."""

    code = "NG306"
    title = "A number is printed with the wrong precision"
    severity = Severity.NOTE
    fix = "Round to the digits that the interval supports."
    ZERO = re.compile(r"(?<![\w.])[-−]0\.0+(?!\d)")
    LONG = re.compile(r"(?<![\w.])-?\d+\.\d{12,}")

    def check(self) -> Iterator[Finding]:
        """-0.000 and 1.800000000000002 in prose."""
        for sentence in self.document.prose:
            if match := self.ZERO.search(sentence.text):
                yield self.finding(
                    f'"{short(sentence.text)}": {match.group(0)} is a difference too small for the printed digits; it '
                    "says that there is none.",
                    line=sentence.line, cell=match.group(0),
                )  # fmt: skip
            if found := self.LONG.findall(sentence.text):
                yield self.finding(
                    f"{listed(found)} {'is' if len(found) == 1 else 'are'} printed to {len(found[0])} characters; the "
                    "inputs have three digits.",
                    line=sentence.line, cell=found[0],
                )  # fmt: skip
