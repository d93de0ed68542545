"""NG0xx: numbers that do not move, or that no model is needed for."""

import re
from collections import Counter
from collections.abc import Iterator

from netgain.audit._reading import as_rate, items_behind, listed, matrix_rows, sweeps
from netgain.audit.finding import Finding, Severity
from netgain.audit.rule import DocumentRule
from netgain.interop._md_frame import is_matrix, stage
from netgain.interop.documents import Column, Score, Table

CHANCE = {
    r"sst-?2": 0.5, r"qnli": 0.5, r"mrpc": 0.5, r"\brte\b": 0.5, r"\bqqp\b": 0.5, r"paws": 0.5, r"boolq": 0.5,
    r"winogrande": 0.5, r"piqa": 0.5, r"\bwic\b": 0.5, r"xnli": 1 / 3, r"mnli": 1 / 3, r"\banli\b": 1 / 3,
    r"arc[-_ ](c|e|challenge|easy)": 0.25, r"mmlu": 0.25, r"hellaswag": 0.25, r"openbookqa": 0.25,
}  # fmt: skip
"""What guessing gives, by the name of the benchmark."""

NEARLY = 0.8
CEILING = 0.95


class ConstantMetric(DocumentRule):
    """A metric that is the same wherever something that should move it changes."""

    code = "NG001"
    title = "A metric does not move"
    severity = Severity.ERROR
    fix = (
        "Read ten raw outputs and the parse-failure rate: a constant score is usually a default answer, a budget too "
        "short for the answer, or an adapter that is not applied. Draw no conclusion from it."
    )

    def check(self) -> Iterator[Finding]:
        """Constant sweeps, columns of runs, rows of arms."""
        for sweep in sweeps(self.document):
            if sweep.constant:
                first = sweep.points[0]
                yield self.finding(
                    f"{sweep.task}: {first.column.name} is {first.value.shown} at all {len(sweep.points)} values of "
                    f"{sweep.axis} ({min(sweep.at):g} to {max(sweep.at):g}).",
                    line=first.cell.line,
                    table=sweep.table.name,
                    cell=first.cell.text,
                )
        for table in self.document.tables:
            if table.having("axis"):
                continue
            yield from self._rows(table) if is_matrix(table) else self._columns(table)

    def _columns(self, table: Table) -> Iterator[Finding]:
        arms = {table.label(row, "arm") for row in range(table.height)}
        if not table.having("arm") or table.having("metric", "task") or len(arms) < 2:
            return
        for column in table.having("score"):
            count = Counter(cell.value.number for cell in column.cells if cell.value)
            if not count or stage(column.name) == "baseline":
                continue
            number, times = count.most_common(1)[0]
            total = sum(count.values())
            if total >= 4 and (times == total or (total >= 6 and times >= NEARLY * total)):
                cell = next(c for c in column.cells if c.value and c.value.number == number)
                rest = [f"{n:g}" for n in count if n != number]
                others = f"; the others: {listed(rest)}" if rest else ""
                yield self.finding(
                    f"{column.name} is {cell.text} in {times} of {total} rows over {len(arms)} arms{others}.",
                    line=cell.line, table=table.name, cell=cell.text,
                )  # fmt: skip

    def _rows(self, table: Table) -> Iterator[Finding]:
        for row, (task, cells) in enumerate(matrix_rows(table)):
            number, times = Counter(v.number for _, v in cells).most_common(1)[0] if cells else (0.0, 0)
            if len(cells) >= 5 and times >= 0.6 * len(cells):
                cell = next(v for _, v in cells if v.number == number)
                line = table.columns[0].cells[row].line
                yield self.finding(
                    f"{task}: {times} of {len(cells)} arms print {cell.shown} "
                    f"({listed([name for name, v in cells if v.number == number], 8)}).",
                    line=line, table=table.name, cell=f"{task} {cell.shown}", severity=Severity.WARNING,
                )  # fmt: skip


class ArmEqualsBase(DocumentRule):
    """An arm that prints its base model's score on most tasks."""

    code = "NG002"
    title = "An arm equals its base"
    severity = Severity.WARNING
    fix = "Check that the adapter is loaded and changes the logits of a probe prompt; count identical outputs per item."

    def check(self) -> Iterator[Finding]:
        """Arms as columns beside a base column."""
        for table in self.document.tables:
            base = [c for c in table.having("score") if stage(c.name) == "baseline"]
            if not is_matrix(table) or len(base) != 1 or table.height < 3:
                continue
            found: list[tuple[Column, list[int]]] = []
            for column in table.having("score"):
                same = [r for r in range(table.height) if _equal(column, base[0], r)]
                if column is not base[0] and stage(column.name) != "oracle" and 2 * len(same) > table.height:
                    found.append((column, same))
            for column, same in found:
                tasks = [table.having("task")[-1].cells[r].text for r in same]
                yield self.finding(
                    f"{column.name} prints the score of {base[0].name} on {len(same)} of {table.height} tasks "
                    f"({listed(tasks)}).",
                    line=column.cells[same[0]].line, table=table.name, cell=column.cells[same[0]].text,
                )  # fmt: skip


def _equal(a: Column, b: Column, row: int) -> bool:
    x, y = a.cells[row].value, b.cells[row].value
    return x is not None and y is not None and x.number == y.number


class Ceiling(DocumentRule):
    """Scores so near their maximum that arms cannot differ."""

    code = "NG003"
    title = "The metric is at its ceiling"
    severity = Severity.WARNING
    fix = "Use a harder metric or benchmark, and show an empty-input and a majority control beside it."

    def check(self) -> Iterator[Finding]:
        """Columns of arms with nearly every rate above 95 %."""
        for table in self.document.tables:
            arms = {table.label(row, "arm") for row in range(table.height)}
            for column in table.having("score"):
                rates = [s.rate for s in self.document.scores if s.column is column and s.rate is not None]
                high = [r for r in rates if r >= CEILING]
                if len(arms) < 3 or len(rates) < 6 or len(high) < 0.6 * len(rates):
                    continue
                cell = column.cells[0]
                yield self.finding(
                    f"{column.name}: {len(high)} of {len(rates)} runs of {len(arms)} arms lie between "
                    f"{min(high):.1%} and {max(high):.1%}, whatever the arm.",
                    line=table.line, table=table.name, cell=cell.text,
                )  # fmt: skip


class PassAtCeiling(DocumentRule):
    """pass@k at a k where everything passes."""

    code = "NG004"
    title = "pass@k is at its ceiling at the chosen k"
    severity = Severity.WARNING
    fix = "Report k where pass@k is between 20 % and 90 %, the whole curve over k, or a stricter checker."

    def check(self) -> Iterator[Finding]:
        """Changes and scores named pass@k with every arm above 95 %."""
        for change in self.document.changes:
            rates = [as_rate(change.before), as_rate(change.after)]
            if re.search(r"pass@(\d+|k)|coverage@", change.metric, re.I) and min(rates) >= CEILING:
                yield self.finding(
                    f"{change.metric} is {rates[0]:.1%} in one arm and {rates[1]:.1%} in the other: at most "
                    f"{1 - max(rates):.1%} is left to gain, so neither a gain nor a loss can show.",
                    line=change.line, table=change.table, cell=change.cells,
                )  # fmt: skip
        for table in self.document.tables:
            for column in table.having("score"):
                points = [s for s in self.document.scores if s.column is column and s.rate is not None]
                if re.search(r"pass@", column.name, re.I) and len(points) > 1 and min(_rates(points)) >= CEILING:
                    low, high = min(_rates(points)), max(_rates(points))
                    yield self.finding(
                        f"{column.name} lies between {low:.1%} and {high:.1%} in all {len(points)} rows.",
                        line=points[0].cell.line, table=table.name, cell=points[0].cell.text,
                    )  # fmt: skip


def _rates(points: list[Score]) -> list[float]:
    return [p.rate for p in points if p.rate is not None]


class AtOrBelowChance(DocumentRule):
    """Accuracy no better than guessing, on benchmarks whose chance level is known."""

    code = "NG005"
    title = "A score is at or below chance"
    severity = Severity.ERROR
    fix = "Print chance and majority shares beside the score; far below chance means the answers are not parsed."

    def check(self) -> Iterator[Finding]:
        """Accuracies far below the lowest chance level of the tasks that their section names."""
        for table in self.document.tables:
            for column in table.having("score"):
                points = [s for s in self.document.scores if s.column is column and s.rate is not None]
                accuracy = re.search(r"acc", f"{column.name} {points[0].metric if points else ''}", re.I)
                if not points or not accuracy:
                    continue
                yield from self._judge(table, column, points)

    def _judge(self, table: Table, column: Column, points: list[Score]) -> Iterator[Finding]:
        for task in dict.fromkeys(p.task for p in points):
            mine = [p for p in points if p.task == task]
            chance = self._chance(table, task)
            low = [p for p in mine if chance and (p.rate or 0) < 0.5 * min(chance.values())]
            if low and 2 * len(low) >= len(mine):
                names = ", ".join(f"{name} {level:.0%}" for name, level in chance.items())
                yield self.finding(
                    f"{column.name} is {low[0].value.shown} in {len(low)} of {len(mine)} rows, where guessing gives "
                    f"{names}.",
                    line=low[0].cell.line, table=table.name, cell=low[0].cell.text,
                )  # fmt: skip
                continue
            n = items_behind(self.evidence, table, mine) if mine else None
            for p in mine:
                near = chance and n and n >= 50 and p.rate is not None and len(chance) == 1
                level = next(iter(chance.values()), 0.0)
                if near and abs((p.rate or 0) - level) < 1.5 * (level * (1 - level) / (n or 1)) ** 0.5:
                    yield self.finding(
                        f"{p.task or column.name} {p.arm}: {p.value.shown} of {n} items cannot be told from guessing "
                        f"({level:.0%}).",
                        line=p.cell.line, table=table.name, cell=p.cell.text, severity=Severity.WARNING,
                    )  # fmt: skip

    def _chance(self, table: Table, task: str) -> dict[str, float]:
        """Benchmark names -> chance, from the row's task, else from the section that holds the table."""
        named = _named(task)
        if named or task:
            return named
        said = [s.text for s in self.document.prose if s.heading == table.heading and s.line <= table.line]
        return _named(" ".join([*table.heading, *said]))


def _named(text: str) -> dict[str, float]:
    found = ((re.search(pattern, text, re.I), level) for pattern, level in CHANCE.items())
    return {match.group(0): level for match, level in found if match}
