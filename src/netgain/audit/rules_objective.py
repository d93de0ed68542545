"""NG6xx: what the objective is said to do, and what it can do."""

import re
from collections.abc import Iterator

from netgain.audit._reading import listed, short
from netgain.audit.finding import Finding, Severity
from netgain.audit.rule import DocumentRule
from netgain.interop.documents import Heading, Setting, Table


class ShareByValue(DocumentRule):
    """The strength of a loss term read off its value instead of its gradient."""

    code = "NG601"
    title = "A term's strength is read off its loss value"
    severity = Severity.ERROR
    fix = (
        "Log the gradient norm of each term on the trained parameters: a large value may have no gradient (a detached "
        "number has exactly none), and its share of the loss says nothing about learning."
    )
    SHARE = re.compile(
        r"\b(signal|term|component|objective|part|diversity|regulari[sz]\w+|kl|penalty)\b[^%]{0,60}?"
        r"(?P<share>~?\d+(\.\d+)?) ?%|(?P<other>~?\d+(\.\d+)?) ?% of (the )?(total |combined |training )?(loss|signal)",
        re.I,
    )
    LOSS = re.compile(r"\bloss\b", re.I)
    GRADIENT = re.compile(r"gradient[ -]?(norm|share|cosine)|grad_norm|norm of the gradient", re.I)

    def check(self) -> Iterator[Finding]:
        """`2.5 % of the loss`, `Quality signal: 3.000 (97.5 %)` in a document that logs no gradient norm."""
        if self.document.mentions(self.GRADIENT.pattern):
            return
        found = []
        on_loss = {s.heading for s in self.document.sentences if self.LOSS.search(s.text)}
        for sentence in self.document.sentences:
            match = self.SHARE.search(sentence.text) if sentence.heading in on_loss else None
            if match and (match["other"] or "signal" in match.group(0).lower()):
                found.append((sentence, match["share"] or match["other"]))
        if found:
            shown = [f"{share} % (line {sentence.line})" for sentence, share in found]
            yield self.finding(
                f'"{short(found[0][0].text)}": {len(found)} statements weigh a term by its share of the loss value '
                f"({listed(shown)}); no gradient was measured.",
                line=found[0][0].line, cell=found[0][0].text,
            )  # fmt: skip


class NeverActive(DocumentRule):
    """A scheduled component whose first step lies beyond the last one."""

    code = "NG603"
    title = "A scheduled component never acts"
    severity = Severity.ERROR
    fix = "Schedule in fractions of the run, or check start < steps before training (`netgain plan` does)."
    START = re.compile(r"^(\w+_)?(start|start_?step|begin|eval_?steps|warmup_?start|save_?steps)$", re.I)
    SECONDS = re.compile(r"(\d[\d,]*(?:\.\d+)?)\s?s\b")

    def check(self) -> Iterator[Finding]:
        """Starts and intervals of a section compared with the steps that its section took."""
        for heading, (steps, how) in self._lengths().items():
            late = [s for s in self._scheduled(heading) if s.value and s.value.number >= steps]
            seen = {f"{s.group} {s.key}".strip(): s for s in late}
            if seen:
                shown = [f"{name} = {s.text} (line {s.line})" for name, s in seen.items()]
                yield self.finding(
                    f"The run took about {steps:.0f} steps ({how}), but {listed(shown)}: "
                    "none of these ever happened.",
                    line=min(s.line for s in seen.values() if s.heading == heading) if any(
                        s.heading == heading for s in seen.values()) else late[0].line,
                    cell=shown[0],
                )  # fmt: skip

    def _scheduled(self, heading: Heading) -> list[Setting]:
        """Schedules noted in this section, and those of the plan above it that it does not override."""
        found = [s for s in self.document.settings if self.START.match(s.key)]
        mine = [s for s in found if s.heading == heading]
        parent = heading[:-1]
        above = [s for s in found if len(parent) > 1 and s.heading[: len(parent)] == parent]
        keys = {s.key for s in mine}
        return mine + [s for s in above if s.key not in keys and s.heading != heading]

    def _lengths(self) -> dict[Heading, tuple[float, str]]:
        """heading -> steps: written down, the last checkpoint, or runtime times steps per second."""
        lengths: dict[Heading, tuple[float, str]] = {}
        for noted in self.document.settings:
            value = noted.value.number if noted.value else 0.0
            if re.match(r"^(max_?|total[_ ]?|train(ing)?[_ ]?|optimi[sz]er[_ ])?steps$", noted.key, re.I) and value:
                lengths[noted.heading] = (value, f"{noted.key} = {noted.text}")
            elif re.match(r"^steps/s$|^steps_per_second$", noted.key, re.I) and value:
                line = next((s for s in self.document.settings if s.line == noted.line and not s.group), None)
                seconds = self.SECONDS.search(line.text) if line else None
                if seconds:
                    duration = float(seconds[1].replace(",", ""))
                    lengths[noted.heading] = (duration * value, f"{duration:.0f} s x {value:g} steps/s")
        return lengths


class TeacherWorse(DocumentRule):
    """A teacher that scores below the student it teaches."""

    code = "NG604"
    title = "The teacher is worse than the student"
    severity = Severity.ERROR
    fix = "Measure the teacher first, through the same code; distil only where it is better than the student."

    def check(self) -> Iterator[Finding]:
        """Rows or columns named teacher and student (or sft, tuned)."""
        for table in self.document.tables:
            teacher = [c for c in table.having("score") if re.search(r"\bteacher\b", c.name, re.I)]
            student = [c for c in table.having("score") if re.match(r"^(student|sft|tuned|distilled)", c.name, re.I)]
            if len(teacher) == 1 and student:
                for row, cell in enumerate(teacher[0].cells):
                    other = student[0].cells[row]
                    if cell.value and other.value and cell.value.number < other.value.number:
                        yield self._found(table, cell.line, self._task(table, row), cell.text, other.text)
            elif table.having("arm"):
                yield from self._rows(table)

    def _rows(self, table: Table) -> Iterator[Finding]:
        rows = {table.label(r, "arm").lower(): r for r in range(table.height)}
        teacher = next((r for name, r in rows.items() if "teacher" in name and "student" not in name), None)
        student = next((r for name, r in rows.items() if re.match(r"^(student|distilled)", name)), None)
        if teacher is None or student is None:
            return
        for column in table.having("score"):
            a, b = column.cells[teacher], column.cells[student]
            if (
                a.value
                and b.value
                and a.value.number < b.value.number
                and not re.search("loss|nll|ppl", column.name, re.I)
            ):
                yield self._found(table, a.line, column.name, a.text, b.text)

    def _task(self, table: Table, row: int) -> str:
        return table.label(row, "task") or table.label(row, "metric") or table.name

    def _found(self, table: Table, line: int, task: str, teacher: str, student: str) -> Finding:
        return self.finding(
            f"{task}: the teacher scores {teacher}, the student {student}.", line=line, table=table.name, cell=teacher
        )
