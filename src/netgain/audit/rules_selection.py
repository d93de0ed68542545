"""NG1xx: the best of many, chosen where it is reported."""

import re
from collections.abc import Iterator

from netgain.audit._noise import difference_se, expected_best, mean_and_sd, median, spearman, two_sided
from netgain.audit._reading import CORRECTED, HELD_OUT, Sweep, listed, matrix_rows, seeds_of, short, sweeps
from netgain.audit.finding import Finding, Severity
from netgain.audit.rule import DocumentRule
from netgain.interop._md_frame import is_matrix, stage
from netgain.interop.documents import Column, Table, Value

HELP = "netgain compare, or netgain.stats.selection (max-T and held-out selection)"


def picks(table: Table, document_marks: bool = True) -> bool:
    """Does this table or its marks pick a winner?"""
    marked = any("best" in v.marks for c in table.having("score") for v in c.values)
    return (marked and document_marks) or bool(table.having("best_axis"))


def _picked(rule: DocumentRule) -> list[Sweep]:
    """Sweeps of which a winner is picked, in their own table or in a summary."""
    summary = any(t.having("best_axis") for t in rule.document.tables)
    said = any(re.search(r"\b(best|optimal|ideal)\b", s.text, re.I) for s in rule.document.prose)
    return [s for s in sweeps(rule.document) if summary or picks(s.table) or said]


class BestOfMany(DocumentRule):
    """The winner of a grid, taken at its face value."""

    code = "NG101"
    title = "The best of many is reported without correction"
    severity = Severity.WARNING
    fix = f"Choose on one half of the items and report on the other, or print simultaneous intervals: {HELP}."

    def check(self) -> Iterator[Finding]:
        """Sweeps with a winner that beats the reference; tables of arms with a best-per-row column."""
        if self.document.mentions(CORRECTED.pattern) or self.document.mentions(HELD_OUT.pattern):
            return
        for sweep in _picked(self):
            winner, reference = sweep.winner, sweep.points[0]
            gain = winner.value.number - reference.value.number
            if winner is not reference and gain > 0 and not sweep.constant:
                yield self.finding(
                    f"{sweep.task}: {sweep.axis} = {winner.axis:g} is the best of {len(sweep.points)}, "
                    f"{gain:+.{winner.value.places}f}{_points(winner.value)} over {sweep.axis} = {reference.axis:g}"
                    f"{self._luck(sweep, gain)}",
                    line=winner.cell.line, table=sweep.table.name, cell=winner.cell.text,
                )  # fmt: skip
        yield from self._rows()

    def _luck(self, sweep: Sweep, gain: float) -> str:
        n, rates = sweep.n(self.evidence), sweep.rates
        if n is None or rates is None:
            return "; neither n nor an interval says what luck alone gives."
        p, q = sweep.points[0].rate or 0.0, sweep.winner.rate or 0.0
        unit = 100 if q and abs(sweep.winner.value.number / q - 100) < 1 else 1
        se, tried = difference_se(p, q, n) * unit, len(sweep.points) - 1
        z = gain / se if se else 0.0
        worst = min(1.0, tried * two_sided(z))
        points = _points(sweep.winner.value)
        return (
            f". With n = {n} a difference has a standard error of {se:.2g}{points}, so this is {z:.1f} standard errors "
            f"(p = {worst:.2g} after correcting for {tried} tries), and the luckiest of {tried} useless values gains "
            f"{expected_best(tried) * se:.1f}{points} on average."
        )

    def _rows(self) -> Iterator[Finding]:
        for table in self.document.tables:
            if not is_matrix(table) or not table.having("ratio"):
                continue
            names = [c.name for c in table.having("score") if stage(c.name) not in ("baseline", "oracle")]
            rows = []
            for task, cells in matrix_rows(table):
                mine = [(name, v) for name, v in cells if name in names]
                if mine:
                    best, value = max(mine, key=lambda pair: pair[1].number)
                    rows.append(f"{task}: {best} {value.shown}")
            if len(names) >= 3 and rows:
                yield self.finding(
                    f"{table.having('ratio')[0].name} takes the best of {len(names)} arms separately in every row, on "
                    f"the items it reports ({listed(rows, 3)}).",
                    line=table.line, table=table.name, cell=table.having("ratio")[0].name,
                )  # fmt: skip


def _points(value: Value) -> str:
    return " pp" if value.unit == "%" else ""


class ChosenWhereReported(DocumentRule):
    """Selection and report on the same scores."""

    code = "NG102"
    title = "The winner is chosen on the scores that are reported"
    severity = Severity.WARNING
    fix = "Name the split that chose, and report the choice once on a split that did not."

    def check(self) -> Iterator[Finding]:
        """A picked winner or a `Best Val` column, and no word of another split."""
        if self.document.mentions(HELD_OUT.pattern):
            return
        swept = [s for s in _picked(self) if not s.constant]
        if swept:
            values = len(swept[0].points)
            yield self.finding(
                f"{len(swept)} winners ({listed([s.task for s in swept], 5)}) are picked among {values} values by the "
                "very scores that the summary prints; no development split is named.",
                line=swept[0].table.line, table=swept[0].table.name, cell=swept[0].winner.cell.text,
            )  # fmt: skip
        for table in self.document.tables:
            for column in table.having("score"):
                if re.search(r"best\b.*\b(val|valid|validation|dev|eval)|best checkpoint", column.name, re.I):
                    yield self.finding(
                        f'"{column.name}" is the best of all evaluations on the split that it is reported on.',
                        line=table.line, table=table.name, cell=column.name,
                    )  # fmt: skip


class MacroAverage(DocumentRule):
    """Per-task winners that no single setting delivers."""

    code = "NG103"
    title = "Per-task winners hide that the reference wins on average"
    severity = Severity.WARNING
    fix = "Print the macro average per value beside the tasks; a per-task choice is another method, with its own cost."

    def check(self) -> Iterator[Finding]:
        """Sweeps over the same axis whose mean is best at the first value while tasks name another."""
        groups: dict[tuple[float, ...], list[Sweep]] = {}
        for sweep in _picked(self):
            groups.setdefault(tuple(sweep.at), []).append(sweep)
        for at, members in groups.items():
            if len(members) < 2:
                continue
            means = [mean_and_sd([s.numbers[i] for s in members])[0] for i in range(len(at))]
            best = max(range(len(at)), key=means.__getitem__)
            dissent = [s for s in members if s.winner.axis != at[best] and not s.constant]
            if best != 0 or not dissent:
                continue
            line = ", ".join(f"{a:g}: {m:.1f}" for a, m in zip(at, means, strict=True))
            costs = [
                f"{s.axis} = {s.winner.axis:g}, the winner on {s.task}, costs "
                f"{means[0] - means[at.index(s.winner.axis or 0.0)]:.1f} on average over all of them"
                for s in dissent
            ]
            yield self.finding(
                f"Over {len(members)} tasks the mean is highest at {members[0].axis} = {at[0]:g} ({line}); "
                f"{listed(costs, 3)}.",
                line=dissent[0].winner.cell.line, table=dissent[0].table.name, cell=dissent[0].winner.cell.text,
            )  # fmt: skip


class EdgeOfGrid(DocumentRule):
    """A winner with nothing on its other side."""

    code = "NG104"
    title = "The winner lies at the edge of the grid"
    severity = Severity.NOTE
    fix = "Extend the grid beyond the winner; when the edge is 0 (the method switched off), say that it does not help."

    def check(self) -> Iterator[Finding]:
        """Winners at the first or last value of a sweep that moves."""
        for sweep in _picked(self):
            edges = (sweep.at[0], sweep.at[-1])
            if sweep.constant or sweep.winner.axis not in edges:
                continue
            rho = spearman(sweep.at, sweep.numbers)
            off = sweep.winner.axis == 0
            trend = f" and the rank correlation of score and {sweep.axis} is {rho:+.2f}" if abs(rho) >= 0.6 else ""
            yield self.finding(
                f"{sweep.task}: the best value, {sweep.axis} = {sweep.winner.axis:g}, is "
                f"{'0, the method switched off' if off else f'the end of {edges[0]:g} to {edges[1]:g}'}{trend}.",
                line=sweep.winner.cell.line, table=sweep.table.name, cell=sweep.winner.cell.text,
            )  # fmt: skip


class BestHidesFinal(DocumentRule):
    """A best checkpoint far above the final one."""

    code = "NG105"
    title = "The best checkpoint hides a final collapse"
    severity = Severity.ERROR
    fix = "Report best (chosen on a development split) and final side by side, and find out why the run collapsed."

    def check(self) -> Iterator[Finding]:
        """Best and final columns of one table; a mid-training best far above the final score."""
        for table in self.document.tables:
            best = [c for c in table.having("score") if stage(c.name) == "best"]
            final = [c for c in table.having("score") if stage(c.name) == "final"]
            if len(best) == 1 and len(final) == 1:
                yield from self._columns(table, best[0], final[0])
        yield from self._mid_training()

    def _columns(self, table: Table, best: Column, final: Column) -> Iterator[Finding]:
        pairs = list(enumerate(zip(best.cells, final.cells, strict=True)))
        gaps = {r: abs(b.value.number - f.value.number) for r, (b, f) in pairs if b.value and f.value}
        if not gaps:
            return
        usual = median(gaps.values())
        rows = [r for r, gap in gaps.items() if gap > max(10 * usual, 0.1 * abs(_number(best, r)))]
        if rows:
            shown = [
                f"{table.label(r, 'arm')} {table.label(r, 'seed')}: {best.cells[r].text} -> {final.cells[r].text}"
                for r in rows
            ]
            yield self.finding(
                f"{len(rows)} of {len(gaps)} runs collapse after their best evaluation ({listed(shown)}); the usual "
                f"gap is {usual:.2f}.",
                line=final.cells[rows[0]].line, table=table.name, cell=final.cells[rows[0]].text,
            )  # fmt: skip

    def _mid_training(self) -> Iterator[Finding]:
        for noted in self.document.settings:
            if noted.value is None or not re.search(r"\bbest\b", noted.key, re.I) or noted.group:
                continue
            finals = [c for c in self.document.changes if c.heading == noted.heading and _about(noted.key, c.metric)]
            for change in finals:
                gap = noted.value.number - change.after.number
                if abs(gap) > 0.1 * abs(change.after.number):
                    yield self.finding(
                        f"{noted.key} is {noted.value.shown}, the final score of the same metric "
                        f"{change.after.shown}: the best of several evaluations, not a result.",
                        line=noted.line, cell=short(f"{noted.key}: {noted.text}"), severity=Severity.WARNING,
                    )  # fmt: skip


def _about(key: str, metric: str) -> bool:
    word = re.split(r"[ (]", metric)[0].lower()
    return len(word) > 3 and any(word.startswith(w) for w in re.findall(r"[a-z]+-[a-z]+|[a-z]{4,}", key.lower()))


def _number(column: Column, row: int) -> float:
    value: Value | None = column.cells[row].value
    return value.number if value else 0.0


class SummaryOverBest(DocumentRule):
    """Mean and spread computed over best-of-N evaluations."""

    code = "NG106"
    title = "Mean and spread are computed over best-of-N evaluations"
    severity = Severity.WARNING
    fix = "Compute mean and sample deviation over final checkpoints, or over checkpoints chosen on a development split."

    def check(self) -> Iterator[Finding]:
        """A summary whose means are those of the best column of the runs, not of the final one."""
        for runs in self.document.tables:
            best = [c for c in runs.having("score") if stage(c.name) == "best"]
            final = [c for c in runs.having("score") if stage(c.name) == "final"]
            if not runs.having("seed") or len(best) != 1 or len(final) != 1:
                continue
            for summary in self.document.tables:
                if summary.having("spread") and summary.having("arm") and not summary.having("seed"):
                    yield from self._compare(runs, best[0], final[0], summary)

    def _compare(self, runs: Table, best: Column, final: Column, summary: Table) -> Iterator[Finding]:
        arms = seeds_of(runs)
        matches, gaps = 0, []
        for row in range(summary.height):
            arm, printed = summary.label(row, "arm"), summary.having("score")[0].cells[row].value
            if arm not in arms or printed is None or len(arms[arm]) < 2:
                continue
            at_best, spread = mean_and_sd([_number(best, r) for r in arms[arm]])
            at_end, end_spread = mean_and_sd([_number(final, r) for r in arms[arm]])
            if abs(at_best - printed.number) <= 2 * printed.half and abs(at_end - printed.number) > 2 * printed.half:
                matches += 1
                gaps.append((at_best - at_end, arm, at_best, spread, at_end, end_spread))
        if matches >= 2 and 2 * matches >= summary.height:
            _, arm, at_best, spread, at_end, end_spread = max(gaps)
            yield self.finding(
                f'The summary averages "{best.name}"; over "{final.name}" {arm} is {at_end:.2f} ± {end_spread:.2f} '
                f"instead of {at_best:.2f} ± {spread:.2f}, and every arm is lower "
                f"({listed([f'{g[1]} {g[0]:.2f}' for g in sorted(gaps)], 5)}).",
                line=summary.line, table=summary.name, cell=f"{at_best:.2f} ± {spread:.2f}",
                severity=Severity.ERROR if at_best - at_end > 3 * spread else None,
            )  # fmt: skip


class SensitivityWords(DocumentRule):
    """Words of sensitivity that the curve does not bear out."""

    code = "NG107"
    title = "Words on sensitivity disagree with the curve"
    severity = Severity.WARNING
    fix = "Derive the word from the curve: the drop from the winner to its neighbours in standard errors."
    WORDS = re.compile(r"^(?P<task>[\w /-]{1,40}?):.*\bsensitivity\b\W+(?P<word>high|moderate|medium|low)\b", re.I)

    def check(self) -> Iterator[Finding]:
        """A task called more sensitive than another whose winner falls off faster."""
        found: list[tuple[int, str, float, str, int]] = []
        known = sweeps(self.document)
        by_line: dict[int, str] = {}
        for sentence in self.document.prose:
            by_line[sentence.line] = f"{by_line.get(sentence.line, '')} {sentence.text}".strip()
        for sentence in self.document.prose:
            match = self.WORDS.search(sentence.text) or self.WORDS.search(by_line[sentence.line])
            for sweep in known if match else []:
                if match and sweep.named(match["task"]) and sentence.line not in [f[4] for f in found]:
                    rank = {"low": 0, "moderate": 1, "medium": 1, "high": 2}[match["word"].lower()]
                    found.append((rank, sweep.task, _drop(sweep), match["word"].lower(), sentence.line))
        for more in found:
            for less in found:
                if more[0] > less[0] and more[2] < less[2]:
                    yield self.finding(
                        f'{more[1]} is called "{more[3]}" and {less[1]} "{less[3]}", yet next to the winner the score '
                        f"falls by {more[2]:.1f} on {more[1]} and by {less[2]:.1f} on {less[1]}.",
                        line=more[4], cell=f"Sensitivity: {more[3]}",
                    )  # fmt: skip


def _drop(sweep: Sweep) -> float:
    """Winner minus its better neighbour."""
    index = sweep.points.index(sweep.winner)
    beside = sweep.numbers[max(0, index - 1) : index] + sweep.numbers[index + 1 : index + 2]
    return sweep.winner.value.number - max(beside)


class VerdictOnTie(DocumentRule):
    """A verdict drawn from scores that are all equal."""

    code = "NG108"
    title = "A verdict rests on a tie"
    severity = Severity.ERROR
    fix = "Write that the metric did not move and therefore says nothing, instead of naming a best value."
    VERDICT = re.compile(r"\bbest\b|did not help|no (effect|gain|benefit)|optimal|ideal|prefers?\b", re.I)

    def check(self) -> Iterator[Finding]:
        """Sentences and summary rows that name a winner of a constant sweep."""
        for sweep in sweeps(self.document):
            if not sweep.constant:
                continue
            for sentence in self.document.prose:
                label = sentence.text.partition(":")[0]
                if len(label) < 40 and sweep.named(label) and self.VERDICT.search(sentence.text):
                    yield self.finding(
                        f'"{short(sentence.text)}" rests on {len(sweep.points)} equal scores '
                        f"({sweep.points[0].value.shown}).",
                        line=sentence.line, table=sweep.table.name, cell=short(sentence.text),
                    )  # fmt: skip
