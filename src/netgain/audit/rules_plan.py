"""NG9xx: what was planned, what was done, and what a plan may promise."""

import re
from collections.abc import Iterator

from netgain.audit._reading import UNCERTAINTY, as_rate, listed, same_metric, short
from netgain.audit.finding import Finding, Severity
from netgain.audit.rule import DocumentRule


class PlannedIsNotActual(DocumentRule):
    """A setting whose actual value is not the planned one."""

    code = "NG901"
    title = "What was done is not what was planned"
    severity = Severity.ERROR
    fix = (
        "Run the plan again, or report the run under its actual settings and compare it only with runs that share them."
    )
    VERSUS = re.compile(r"\(vs\.? ([^()]+?) planned\)|\(planned:? ([^()]+?)\)", re.I)

    def check(self) -> Iterator[Finding]:
        """Planned and actual columns; `0.01 (vs 0.25 planned)`."""
        for table in self.document.tables:
            planned, actual = table.having("planned"), table.having("actual")
            for row in range(table.height) if planned and actual else ():
                a, b = planned[0].cells[row], actual[0].cells[row]
                if a.value and b.value and a.value.number != b.value.number and a.value.unit == b.value.unit:
                    yield self.finding(
                        f"{table.label(row, 'parameter')} was planned as {a.value.shown} and was {b.value.shown}.",
                        line=b.line, table=table.name, cell=f"{a.text} | {b.text}",
                    )  # fmt: skip
        for noted in self.document.settings:
            match = self.VERSUS.search(noted.text)
            planned_text = (match[1] or match[2]) if match else ""
            if match and noted.value and planned_text.strip() != noted.text[: match.start()].strip():
                yield self.finding(
                    f"{noted.key} is {noted.text[: match.start()].strip()} where {planned_text} was planned.",
                    line=noted.line, cell=f"{noted.key}: {noted.text}", severity=Severity.WARNING,
                )  # fmt: skip


class CheckNeverRan(DocumentRule):
    """A safeguard that was configured and never evaluated."""

    code = "NG902"
    title = "A planned check never ran"
    severity = Severity.WARNING
    fix = "Log every evaluation of the check; fail the run when none took place by the half."
    GUARD = r"early[ -_]?stop\w*|patience|checkpoint selection|mid-?train\w* (eval\w*|check\w*)|watchdog"
    SILENT = re.compile(
        r"not triggered|did(n['’]t| not) (trigger|run|fire|execute)|never (ran|evaluated|executed|triggered|fired)|"
        r"\bno [\w-]+ (eval\w*|check\w*|score\w*)?\s?during training|(was|were) not (evaluated|run|executed)",
        re.I,
    )

    def check(self) -> Iterator[Finding]:
        """Rows of settings and sentences on a guard that did not run."""
        for table in self.document.tables:
            if not table.having("parameter"):
                continue
            for row in range(table.height):
                text = " | ".join(c.cells[row].text for c in table.columns)
                if re.search(self.GUARD, text, re.I) and self.SILENT.search(text):
                    yield self.finding(
                        f'"{short(text)}".', line=table.columns[0].cells[row].line, table=table.name, cell=text
                    )
        for sentence in self.document.prose:
            if re.search(self.GUARD, sentence.text, re.I) and self.SILENT.search(sentence.text):
                yield self.finding(f'"{short(sentence.text)}".', line=sentence.line, cell=sentence.text)


class DecisionByPercent(DocumentRule):
    """Decisions by percentage thresholds, without n or an interval."""

    code = "NG904"
    title = "A decision rule has thresholds but no interval"
    severity = Severity.WARNING
    fix = (
        "Decide by the interval: gained if its lower end exceeds the margin, undecided if it holds the margin; state n."
    )
    RULE = re.compile(r"([<>≥≤]\s?)?\d+(\s?[-–]\s?\d+)? ?%\s*(improvement|gain|drop|increase|better)?\b", re.I)
    OUTCOME = re.compile(
        r"publish|submit|significan|noise|marginal|strong|weak|worth|accept|workshop|go/no|ship|abandon", re.I
    )
    TARGET = re.compile(r"^[\w@ -]{2,40}:\s*[+\-−]\s?\d+(\.\d+)?\s?[-–]\s?\d+(\.\d+)? ?%")

    def check(self) -> Iterator[Finding]:
        """A list of ranges with outcomes or targets, in a document without uncertainty."""
        if self.document.mentions(UNCERTAINTY.pattern):
            return
        found = []
        for sentence in self.document.prose:
            if re.search(r"\bimprovements?\b", sentence.text, re.I) and self.RULE.search(sentence.text):
                if self.OUTCOME.search(sentence.text) or "<" in sentence.text:
                    found.append(sentence)
            elif self.TARGET.search(sentence.text):
                found.append(sentence)
        if len(found) >= 2:
            shown = [f'"{short(s.text, 60)}" (line {s.line})' for s in found]
            yield self.finding(
                f"{len(found)} thresholds decide by percent alone: {listed(shown, 4)}; none says with how many items "
                "or how surely.",
                line=found[0].line, cell=found[0].text,
            )  # fmt: skip


class BeyondTheMaximum(DocumentRule):
    """A target that the metric cannot reach."""

    code = "NG905"
    title = "A target lies beyond the metric's maximum"
    severity = Severity.ERROR
    fix = "Set targets as absolute scores below the ceiling, or choose a metric with room."
    TARGET = re.compile(r"^(?P<metric>[\w@ -]{2,40}):\s*\+\s?(?P<low>\d+(\.\d+)?)(\s?[-–]\s?\d+(\.\d+)?)? ?%")

    def check(self) -> Iterator[Finding]:
        """`Pass@10: +40-60 %` when pass@10 is already 0.998."""
        for sentence in self.document.prose:
            match = self.TARGET.search(sentence.text)
            for change in self.document.changes if match else ():
                if not match or change.line == sentence.line or not same_metric(match["metric"], change.metric):
                    continue
                start = as_rate(change.before)
                target = start * (1 + float(match["low"]) / 100)
                if change.rate and target > 1:
                    yield self.finding(
                        f'"{short(sentence.text)}": {change.metric} is already {change.before.shown}, so the target is '
                        f"{target:.0%} of all items.",
                        line=sentence.line, cell=sentence.text,
                    )  # fmt: skip
                    break
