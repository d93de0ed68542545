"""NG25x: ratios whose denominator may be zero."""

import re
from abc import abstractmethod
from collections.abc import Iterator

from netgain.audit._noise import difference_se, implied_n, mean_and_sd
from netgain.audit._reading import as_rate, listed, stated_n
from netgain.audit.finding import Finding, Severity
from netgain.audit.rule import DocumentRule
from netgain.interop._md_frame import stage
from netgain.interop.documents import Table, Value

FLOAT = re.compile(r"-?\d+\.\d+")


class _Row:
    """One row of a table with base, oracle, arms and a printed ratio."""

    def __init__(self, table: Table, row: int) -> None:
        cells = [(c.name, stage(c.name), c.cells[row].value) for c in table.having("score")]
        self.task = table.having("task")[-1].cells[row].text if table.having("task") else table.label(row, "arm")
        self.group = table.having("task")[0].cells[row].text if table.having("task") else ""
        self.line = table.columns[0].cells[row].line
        self.base = next((v for _, kind, v in cells if kind == "baseline"), None)
        self.oracle = next((v for _, kind, v in cells if kind == "oracle"), None)
        self.arms = [(n, k, v) for n, k, v in cells if k not in ("baseline", "oracle") and v is not None]
        self.ratio = table.having("ratio")[0].cells[row].value
        self.printed = [v for _, _, v in cells if v is not None]

    @property
    def denominator(self) -> float | None:
        """oracle - base, as printed."""
        return self.oracle.number - self.base.number if self.oracle and self.base else None

    def within(self, value: Value) -> tuple[float, float] | None:
        """The range of (value - base) / (oracle - base) that rounding allows."""
        if self.base is None or self.oracle is None or self.denominator is None:
            return None
        top, bottom = value.number - self.base.number, self.denominator
        slack, below = value.half + self.base.half, self.oracle.half + self.base.half
        if abs(bottom) <= below:
            return None
        ends = [(top + a * slack) / (bottom + b * below) for a in (-1, 1) for b in (-1, 1)]
        return min(ends), max(ends)


class _RatioRule(DocumentRule):
    def tables(self) -> Iterator[tuple[Table, list[_Row]]]:
        """Tables with a ratio column, a base and an oracle."""
        for table in self.document.tables:
            rows = [_Row(table, r) for r in range(table.height)] if table.having("ratio") else []
            if any(row.denominator is not None for row in rows):
                yield table, rows

    def check(self) -> Iterator[Finding]:
        """Every table with a ratio column."""
        for table, rows in self.tables():
            yield from self.judge(table, rows)

    @abstractmethod
    def judge(self, table: Table, rows: list[_Row]) -> Iterator[Finding]:
        """The findings of one table."""


class SmallDenominator(_RatioRule):
    """A ratio whose denominator is a few items."""

    code = "NG251"
    title = "The denominator of a ratio is a few items"
    severity = Severity.ERROR
    fix = "Print the pooled ratio with a Fieller interval, and `undefined` where the denominator's interval holds 0."

    def judge(self, table: Table, rows: list[_Row]) -> Iterator[Finding]:
        """Rows with 0 < oracle - base < 1.96 standard errors."""
        found = []
        for row in rows:
            if row.denominator is None or row.denominator <= 0 or row.ratio is None or row.base is None:
                continue
            n = stated_n(self.evidence, table.heading) or implied_n([(v, as_rate(v)) for v in row.printed])
            p = as_rate(row.base)
            noise = 1.96 * difference_se(p, p, n or 500) if 0 <= p <= 1 else 0.0
            if row.denominator < noise:
                items = f" = {max(1, round(row.denominator * n))} of {n} items" if n else ""
                found.append((row, f"{row.task} {row.ratio.shown} over {row.denominator:.3f}{items}"))
        if found:
            yield self.finding(
                f"{table.having('ratio')[0].name} divides by oracle - base, which is smaller than its own noise in "
                f"{len(found)} of {len(rows)} rows: {listed([text for _, text in found])}.",
                line=found[0][0].line, table=table.name, cell=found[0][1],
            )  # fmt: skip


class OracleBelowBase(_RatioRule):
    """A ratio whose denominator is zero or negative."""

    code = "NG252"
    title = "The oracle does not beat the base"
    severity = Severity.ERROR
    fix = "Run the oracle first and drop tasks where its gain has a lower bound below 0: there is no gap to recover."

    def judge(self, table: Table, rows: list[_Row]) -> Iterator[Finding]:
        """Rows with oracle - base <= 0."""
        low = [row for row in rows if row.denominator is not None and row.denominator <= 0 and row.oracle and row.base]
        shown = [
            f"{row.task}: base {row.base.shown if row.base else ''}, oracle {row.oracle.shown if row.oracle else ''}"
            + (f", ratio printed {row.ratio.shown}" if row.ratio else "")
            for row in low
        ]
        if low:
            printed = any(row.ratio for row in low)
            yield self.finding(
                f"In {len(low)} of {len(rows)} rows there is no gap to recover ({listed(shown)})"
                + ("; a ratio over a negative gap has the wrong sign." if printed else "."),
                line=low[0].line, table=table.name, cell=shown[0], severity=None if printed else Severity.WARNING,
            )  # fmt: skip


class AveragedRatios(_RatioRule):
    """A mean of ratios, which weights the smallest denominators most."""

    code = "NG253"
    title = "Ratios are averaged"
    severity = Severity.ERROR
    fix = "Pool instead: sum of gains over sum of oracle gains, with a bootstrap interval over tasks."

    def judge(self, table: Table, rows: list[_Row]) -> Iterator[Finding]:
        """Numbers in the text that equal the mean of printed ratios of a group of rows."""
        groups: dict[str, list[_Row]] = {}
        for row in rows:
            if row.ratio is not None:
                groups.setdefault(row.group, []).append(row)
                groups.setdefault("all rows", []).append(row)
        for sentence in self.document.prose:
            numbers = [float(text) for text in FLOAT.findall(sentence.text)]
            shown = []
            for name, members in groups.items():
                mean = mean_and_sd([m.ratio.number for m in members if m.ratio])[0]
                if len(members) > 1 and any(abs(x - mean) < 0.001 for x in numbers):
                    parts = " and ".join(m.ratio.shown for m in members if m.ratio)
                    shown.append(f"{name} {mean:.2f} is the mean of {parts}")
            if shown and re.search(r"gap|ratio|recover|average|mean", sentence.text, re.I):
                yield self.finding(
                    f"{listed(shown)}: the row with the smallest denominator decides.",
                    line=sentence.line, table=table.name, cell=sentence.text,
                )  # fmt: skip


class RatioOfTheBaseline(_RatioRule):
    """A `best` that includes the trivial baseline it should beat."""

    code = "NG254"
    title = "The ratio is earned by the trivial baseline"
    severity = Severity.ERROR
    fix = "Compute the ratio for each method on its own, and the trivial baseline as one of them."

    def judge(self, table: Table, rows: list[_Row]) -> Iterator[Finding]:
        """Printed ratios that only the mean baseline's score reproduces."""
        found = []
        for row in rows:
            trivial = [(n, v) for n, kind, v in row.arms if kind == "mean"]
            learned = [v for _, kind, v in row.arms if kind != "mean"]
            if row.ratio is None or len(trivial) != 1 or not learned:
                continue
            low, high = row.ratio.number - row.ratio.half, row.ratio.number + row.ratio.half
            mine = row.within(trivial[0][1])
            others = row.within(max(learned, key=lambda v: v.number))
            if mine and others and mine[0] <= high and mine[1] >= low and (others[0] > high or others[1] < low):
                best = max(learned, key=lambda v: v.number)
                found.append(
                    (
                        row,
                        f"{row.task}: {row.ratio.shown} is {trivial[0][0]} ({trivial[0][1].shown}), the best "
                        f"learned method has {best.shown}",
                    )
                )
        if found:
            yield self.finding(
                f"{len(found)} of {len(rows)} ratios belong to the trivial baseline: {listed([t for _, t in found])}.",
                line=found[0][0].line, table=table.name, cell=found[0][1],
            )  # fmt: skip
