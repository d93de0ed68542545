"""NG39x: what kept the document from being read as it was meant."""

import re
from collections.abc import Iterator

from netgain.audit._reading import listed
from netgain.audit.finding import Finding, Severity
from netgain.audit.rule import DocumentRule

FIX = {
    "binary": "Audit a Markdown, CSV, TSV or Parquet file, or a ledger.",
    "empty": "Write results into it, or leave it out.",
    "partial": "Split the file, or import item-level rows with `netgain import`.",
    "ragged": "Give every row as many cells as the table has columns; an empty cell needs its two pipes.",
    "twins": "Give the two tables different headings.",
    "encoding": "Save the file as UTF-8.",
    "flattened": "Write the file with its newlines.",
}
SEVERITY = {
    "binary": Severity.ERROR, "empty": Severity.WARNING, "partial": Severity.WARNING, "ragged": Severity.WARNING,
}  # fmt: skip


class NotAsWritten(DocumentRule):
    """Ragged rows, two tables of one name, damaged characters, lost newlines, junk."""

    code = "NG390"
    title = "Part of the document cannot be read as written"
    severity = Severity.NOTE
    fix = "See the evidence."

    def check(self) -> Iterator[Finding]:
        """One finding a problem, ten of a kind at most."""
        shown: dict[str, int] = {}
        for problem in self.document.problems:
            shown[problem.kind] = shown.get(problem.kind, 0) + 1
            if shown[problem.kind] <= 10:
                text = problem.text[0].upper() + problem.text[1:]
                severity = SEVERITY.get(problem.kind, Severity.NOTE)
                yield self.finding(f"{text}.", line=problem.line, severity=severity, fix=FIX[problem.kind])


class SectionOrder(DocumentRule):
    """Numbered experiments out of order or scattered."""

    code = "NG391"
    title = "Numbered sections are out of order"
    severity = Severity.NOTE
    fix = "Order the log by number or by date, one section an experiment; a plan and its result belong together."
    NUMBERED = re.compile(r"^(experiment|exp\.?|run|study|phase|round)\s+#?(\d+)\b", re.I)

    def check(self) -> Iterator[Finding]:
        """Headings such as Experiment 4 before Experiment 2, or three sections named Experiment 4."""
        found = [(int(m[2]), m[1].title(), line) for _, text, line in self.document.headings
                 if (m := self.NUMBERED.match(text))]  # fmt: skip
        numbers = [n for n, _, _ in found]
        if len(numbers) > 2 and numbers != sorted(numbers):
            again = sorted({n for n in numbers if numbers.count(n) > 1})
            twice = f"; {found[0][1]} {listed([str(n) for n in again])} has several sections" if again else ""
            yield self.finding(
                f"{found[0][1]}s appear in the order {listed([str(n) for n in numbers], 12)}{twice}.",
                line=found[0][2],
            )  # fmt: skip


class SilencedWithoutReason(DocumentRule):
    """A silencing comment that gives no reason, and so silences nothing."""

    code = "NG392"
    title = "A silence gives no reason"
    severity = Severity.WARNING
    fix = "Write `<!-- netgain: ignore NG201 because ... -->`; without a reason nothing is silenced."
    COMMENT = re.compile(r"<!--\s*netgain:\s*ignore\b(?!.*\bbecause\s+\S)", re.I)

    def check(self) -> Iterator[Finding]:
        """Comments without `because`."""
        for sentence in self.document.prose:
            if self.COMMENT.search(sentence.text):
                yield self.finding("The comment silences nothing.", line=sentence.line, cell=sentence.text)
