"""NG5xx: failures that were written down as measurements."""

import re
from collections.abc import Iterator

from netgain.audit._noise import mean_and_sd, median
from netgain.audit._reading import seeds_of, short
from netgain.audit.finding import Finding, Severity
from netgain.audit.rule import DocumentRule
from netgain.interop._md_frame import stage
from netgain.interop.documents import Column, Sentence, Table


class FailureAsZero(DocumentRule):
    """An error that was stored as the value 0."""

    code = "NG501"
    title = "A failure is stored as 0"
    severity = Severity.ERROR
    fix = "Store no value and the reason (oom, error, timeout); evaluate again in smaller batches."
    ZERO = re.compile(
        r"\b(return\w*|record\w*|stor\w+|report\w*|set|default\w*|logged|counted|shown)\b[^.]{0,20}?"
        r"\b(as|to|a|an)?\s?(0(\.0+)?|zero)\b(?!\.\d|%)",
        re.I,
    )
    FAILED = re.compile(
        r"\b(oom|out of memory|ran out of|error|exception|crash\w*|fail\w*|timeout|not computed|nan)\b", re.I
    )
    WINDOW = 4

    def check(self) -> Iterator[Finding]:
        """`returned 0.0` near a word of failure."""
        prose = self.document.prose
        for index, sentence in enumerate(prose):
            if match := self.ZERO.search(sentence.text):
                near = [
                    s
                    for s in prose[max(0, index - 12) : index + 1]
                    if s.heading == sentence.heading and 0 <= sentence.line - s.line < self.WINDOW
                ]
                cause = next((s for s in near if self._failed(s, sentence)), None)
                if cause:
                    why = "" if cause is sentence else f' after "{short(cause.text, 80)}"'
                    yield self.finding(
                        f'"{short(sentence.text)}"{why}: {match.group(3)} reads as a measurement.',
                        line=sentence.line, cell=sentence.text,
                    )  # fmt: skip

    def _failed(self, near: Sentence, sentence: Sentence) -> bool:
        wrong = re.search(r"\b(wrong|incorrect)\b", sentence.text, re.I)
        return bool(self.FAILED.search(near.text)) and not wrong


class DeadRun(DocumentRule):
    """A run that died, averaged in with the others."""

    code = "NG502"
    title = "A dead run is averaged in"
    severity = Severity.ERROR
    fix = "Find out why it died, run it again; until then exclude it by name and print both means."

    def check(self) -> Iterator[Finding]:
        """A seed at 0 or far outside the spread of the other seeds of its arm."""
        for table in self.document.tables:
            arms = seeds_of(table)
            for column in table.having("score"):
                if stage(column.name) == "final" and any(stage(c.name) == "best" for c in table.having("score")):
                    continue  # a collapse after the best evaluation is NG105
                for arm, rows in arms.items():
                    yield from self._arm(table, column, arm, rows)

    def _arm(self, table: Table, column: Column, arm: str, rows: list[int]) -> Iterator[Finding]:
        values = {r: v.number for r in rows if (v := column.cells[r].value) is not None}
        for row, value in values.items():
            others = [v for r, v in values.items() if r != row]
            if len(others) < 2:
                continue
            middle = median(others)
            spread = max(median(abs(v - middle) for v in others), 0.01 * abs(middle))
            dead = value == 0 and min(others) > 0
            if not dead and not (abs(value - middle) > 30 * spread and value < 0.5 * middle):
                continue
            (mean, sd), (clean, clean_sd) = mean_and_sd(list(values.values())), mean_and_sd(others)
            printed = self._summarised(table, arm, mean)
            yield self.finding(
                f"{arm} {table.label(row, 'seed')}: {column.name} is {column.cells[row].text}, the other seeds lie "
                f"between {min(others):g} and {max(others):g}. With it {mean:.2f} ± {sd:.2f}, without it "
                f"{clean:.2f} ± {clean_sd:.2f}{printed}.",
                line=column.cells[row].line, table=table.name, cell=column.cells[row].text,
            )  # fmt: skip

    def _summarised(self, runs: Table, arm: str, mean: float) -> str:
        for table in self.document.tables:
            for column in table.having("score") if table is not runs and not table.having("seed") else ():
                for row, cell in enumerate(column.cells):
                    same = table.label(row, "arm") == arm and cell.value is not None
                    if same and cell.value and abs(cell.value.number - mean) <= 2 * cell.value.half:
                        return f"; the summary prints {cell.text} (line {cell.line})"
        return ""


class FailuresDropped(DocumentRule):
    """Failures that were dropped, without saying how many."""

    code = "NG503"
    title = "Failures are dropped without a count"
    severity = Severity.WARNING
    fix = "Print how many of how many were dropped in each arm, and the result with them counted as wrong."
    DROPPED = re.compile(
        r"\b(fail\w*|crash\w*|error\w*|invalid|unparse?able|nan|missing)\b[^.]{0,60}\b(were|was|are|is|got)?\s?"
        r"(dropped|excluded|skipped|removed|discarded|ignored|filtered)\b",
        re.I,
    )

    def check(self) -> Iterator[Finding]:
        """`failed anchors were dropped` and no number in the sentence."""
        for sentence in self.document.prose:
            match = self.DROPPED.search(sentence.text)
            if match and not re.search(r"(?<![\w.])\d+(?![\w.]*\.json)", sentence.text):
                yield self.finding(
                    f'"{short(sentence.text)}" does not say how many, nor in which arm.',
                    line=sentence.line, cell=match.group(0),
                )  # fmt: skip


class ParseFailuresUncounted(DocumentRule):
    """Unparseable answers counted as wrong, without their rate."""

    code = "NG504"
    title = "Unparseable answers are scored without being counted"
    severity = Severity.WARNING
    fix = "Print the parse-failure and truncation rate of every arm; a score explained by them says nothing."
    COUNTED = re.compile(
        r"\b(format\w*|pars\w+|extract\w+|unparse?able)\b[^.]{0,40}\b(counted|scored|treated|count|score) as "
        r"(wrong|incorrect|0|zero|false|failures?)\b",
        re.I,
    )

    def check(self) -> Iterator[Finding]:
        """`formatting failures are counted as wrong` and no rate."""
        rated = self.document.mentions(
            r"(parse|format|extraction)[ -]?(failure|error)s?( rate)?\W+\d|\d[^.]{0,20}unparse?able"
        )
        for sentence in self.document.prose:
            match = self.COUNTED.search(sentence.text)
            if match and not rated and not re.search(r"\d", sentence.text):
                yield self.finding(
                    f'"{short(sentence.text)}" gives no rate, so a format change looks like a change of ability.',
                    line=sentence.line, cell=match.group(0),
                )  # fmt: skip
