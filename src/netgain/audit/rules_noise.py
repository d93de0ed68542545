"""NG20x: differences that the evaluation cannot tell from noise."""

import math
from collections.abc import Iterator

from netgain.audit._noise import POWER, Z95, detectable, difference_se, implied_n, items_needed, mean_and_sd
from netgain.audit._reading import (
    REPEATED,
    UNCERTAINTY,
    as_rate,
    change_n,
    document_n,
    hedged,
    listed,
    matrix_rows,
    seeds_of,
    stated_n,
)
from netgain.audit.finding import Finding, Severity
from netgain.audit.rule import DocumentRule
from netgain.interop._md_frame import is_matrix, stage
from netgain.interop.documents import Change, Table

FEW = 30
SMALL = 200


class WithinNoise(DocumentRule):
    """A difference of rates smaller than 1.96 standard errors, called a gain or a loss."""

    code = "NG201"
    title = "A difference is within the noise"
    severity = Severity.WARNING
    fix = "Compare the arms item by item (netgain compare), print the interval, and say `cannot tell` when it holds 0."

    def check(self) -> Iterator[Finding]:
        """Before -> after pairs, and the best of a row of arms against its base."""
        for change in self.document.changes:
            n = change_n(self.evidence, change) if change.rate else None
            before, after = as_rate(change.before), as_rate(change.after)
            se = difference_se(before, after, n) if n and min(before, after) >= 0 and max(before, after) <= 1 else 0.0
            if n is None or before == after or hedged(change, self.document) or abs(after - before) > Z95 * se:
                continue
            items = abs(after - before) * n
            yield self.finding(
                f"{change.metric}: {change.before.shown} -> {change.after.shown} is {_items(items)} of {n} and "
                f"{abs(after - before) / se:.1f} standard errors; about "
                f"{items_needed(after - before):,} items would be needed to tell.",
                line=change.line, table=change.table, cell=change.cells,
            )  # fmt: skip
        for table in self.document.tables:
            if is_matrix(table) and not table.having("interval", "spread", "p"):
                yield from self._rows(table)

    def _rows(self, table: Table) -> Iterator[Finding]:
        if self.document.mentions(UNCERTAINTY.pattern):
            return
        found = []
        for task, cells in matrix_rows(table):
            base = [v for name, v in cells if stage(name) == "baseline"]
            arms = [(name, v) for name, v in cells if stage(name) not in ("baseline", "oracle")]
            n = stated_n(self.evidence, table.heading) or implied_n([(v, as_rate(v)) for _, v in cells])
            if not base or not arms or not n:
                continue
            name, best = max(arms, key=lambda pair: pair[1].number)
            p, q = as_rate(base[0]), as_rate(best)
            se = difference_se(p, q, n)
            if 0 <= p < q <= 1 and q - p < Z95 * se:
                found.append(f"{task} {base[0].shown} -> {best.shown} by {name}: {_items((q - p) * n)} of {n}")
        if found:
            yield self.finding(
                f"The best arm beats the base by less than its noise in {len(found)} of {table.height} rows "
                f"({listed(found, 4)}).",
                line=table.line, table=table.name, cell=found[0],
            )  # fmt: skip


def _items(count: float) -> str:
    whole = max(1, round(count))
    return f"{whole} item{'' if whole == 1 else 's'}"


class SingleRun(DocumentRule):
    """Results of one seed, from which nothing about the recipe follows."""

    code = "NG202"
    title = "One run: nothing says how much another seed would differ"
    severity = Severity.WARNING
    fix = 'Repeat with 3 to 5 seeds, or write "this checkpoint" instead of "this method".'

    def check(self) -> Iterator[Finding]:
        """No seed column with two values, no spread, no word of repeats."""
        document = self.document
        results = [*document.scores, *document.changes]
        numbers = [
            c.value.number
            for t in document.tables
            for c in (x for k in t.having("n_seeds") for x in k.cells)
            if c.value
        ]
        seeds = {t.label(r, "seed") for t in document.tables for r in range(t.height)} - {""}
        spread = any(t.having("spread", "interval") for t in document.tables)
        repeated = (
            len(seeds) > 1 or any(k > 1 for k in numbers) or any(s.value.spread is not None for s in document.scores)
        )
        if len(results) < 2 or repeated or spread or document.mentions(REPEATED.pattern):
            return
        first = min((s.cell.line for s in document.scores), default=0) or document.changes[0].line
        yield self.finding(
            f"{len(results)} numbers are printed without a seed, a repeat or a spread: another run of the same "
            "settings may move them by as much as the differences shown.",
            line=first,
        )  # fmt: skip


class TooFewItems(DocumentRule):
    """An evaluation too small for the difference drawn from it."""

    code = "NG203"
    title = "Too few items for the difference"
    severity = Severity.WARNING
    fix = "Use the whole benchmark or several; `netgain power` prints what n items can detect."

    def check(self) -> Iterator[Finding]:
        """Changes with n below 30, or whose size n items could only tell with an implausibly small spread."""
        for change in self.document.changes:
            n = change_n(self.evidence, change)
            if n is not None and not hedged(change, self.document) and change.before.number != change.after.number:
                yield from self._rated(change, n) if change.rate else self._scored(change, n)
        for table in self.document.tables:
            for row, (task, cells) in enumerate(matrix_rows(table)) if is_matrix(table) else ():
                n = implied_n([(v, as_rate(v)) for _, v in cells if 0 <= as_rate(v) <= 1])
                if n is not None and n <= FEW and stated_n(self.evidence, table.heading) is None:
                    step = f"one item is {1 / n:.1%}"
                    yield self.finding(
                        f"{task}: the scores are multiples of 1/{n}, so about {n} items were scored; {step} and "
                        f"less than {detectable(n):.0%} cannot be detected.",
                        line=table.columns[0].cells[row].line, table=table.name, cell=task,
                    )  # fmt: skip

    def _rated(self, change: Change, n: int) -> Iterator[Finding]:
        if n <= FEW:
            yield self.finding(
                f"{change.metric}: {n} items detect a paired difference of {detectable(n):.0%} at best (80 % power, "
                f"10 % discordance); {change.before.shown} -> {change.after.shown} is claimed.",
                line=change.line, table=change.table, cell=change.cells,
            )  # fmt: skip

    def _scored(self, change: Change, n: int) -> Iterator[Finding]:
        delta = change.after.number - change.before.number
        needed = abs(delta) * math.sqrt(n) / POWER
        level = min(abs(change.before.number), abs(change.after.number))
        if n <= SMALL and needed < 0.5 * level:
            yield self.finding(
                f"{change.metric}: {delta:+.3g} on {n} items could only be told if the items' differences had a "
                f"standard deviation below {needed:.2g}, at a mean score of {level:.3g}.",
                line=change.line, table=change.table, cell=change.cells,
            )  # fmt: skip


class PopulationDeviation(DocumentRule):
    """A deviation of few seeds that divides by n instead of n - 1."""

    code = "NG207"
    title = "The deviation of few seeds is the population one"
    severity = Severity.WARNING
    fix = "Divide by n - 1 (ddof=1) and name it the sample standard deviation."

    def check(self) -> Iterator[Finding]:
        """Summaries whose spreads equal the population deviation of the runs and not the sample one."""
        for runs in self.document.tables:
            arms = {arm: rows for arm, rows in seeds_of(runs).items() if 2 <= len(rows) <= 10}
            for summary in self.document.tables:
                if arms and summary is not runs and summary.having("spread") and summary.having("arm"):
                    yield from self._compare(runs, arms, summary)

    def _compare(self, runs: Table, arms: dict[str, list[int]], summary: Table) -> Iterator[Finding]:
        for column in runs.having("score"):
            shown, sample = [], 0
            for row in range(summary.height):
                printed = summary.having("spread")[0].cells[row].value
                rows = arms.get(summary.label(row, "arm"), [])
                values = [v.number for r in rows if (v := column.cells[r].value) is not None]
                if printed is None or len(values) < 2:
                    continue
                population, proper = mean_and_sd(values, population=True)[1], mean_and_sd(values)[1]
                sample += abs(printed.number - proper) <= 1.01 * printed.half
                if abs(printed.number - population) <= 1.01 * printed.half < abs(printed.number - proper):
                    name = summary.label(row, "arm")
                    shown.append(f"{name} {printed.shown}, should be {proper:.{printed.places}f}")
            if len(shown) >= 2 and not sample:
                yield self.finding(
                    f"The spreads of {column.name} divide by the number of seeds: {listed(shown, 4)}.",
                    line=summary.line, table=summary.name, cell=shown[0],
                )  # fmt: skip
                return


class NotStated(DocumentRule):
    """Rates without the number of items."""

    code = "NG208"
    title = "The number of items is not stated"
    severity = Severity.NOTE
    fix = "Print n beside every rate, or write `n: 500` in <file>.netgain.yaml."

    def check(self) -> Iterator[Finding]:
        """A document with rates and no n anywhere."""
        document = self.document
        rated = [s for s in document.scores if s.rate is not None] or [c for c in document.changes if c.rate]
        counted = any(t.having("n") for t in document.tables) or any(c.n for c in document.changes)
        if not rated or counted or stated_n(self.evidence) is not None or document.mentions(r"\bn\s?=\s?\d"):
            return
        implied = document_n(self.evidence)
        how = f"; the printed digits betray n = {implied}" if implied else ""
        first = rated[0]
        line = first.line if isinstance(first, Change) else first.cell.line
        yield self.finding(f"{len(rated)} rates are printed without the number of items behind them{how}.", line=line)
