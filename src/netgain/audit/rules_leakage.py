"""NG7xx: the same problems on both sides of a split."""

import re
from collections.abc import Iterator

from netgain.audit._reading import listed
from netgain.audit.finding import Finding, Severity
from netgain.audit.rule import DocumentRule


class SharedProblems(DocumentRule):
    """Training or anchor sets that are another edition of an evaluation set."""

    code = "NG701"
    title = "Training and evaluation share problems"
    severity = Severity.ERROR
    fix = "Compare the problems by id, by hash and by 13-gram; drop the shared ones from training, and say how many."
    EDITION = r"[_-](plus|sanitized|verified|hard|easy|lite|full|mini|extra|et|x|v\d+|pro|diamond|clean)$"
    QUOTED = re.compile(r"['\"`]([A-Za-z][\w-]{2,40})['\"`]")
    NAMED_AFTER = re.compile(r"\b(anchors?|train\w* (on|with|data|sets?)|fine-?tuned on|pool)\b[^.;]{0,120}", re.I)
    SOURCE = re.compile(r"anchor|train|pool|fine-?tun|selection|fitted|few-?shot", re.I)

    def check(self) -> Iterator[Finding]:
        """Names quoted in cells or sentences on training that are editions of the tasks in result tables."""
        tasks = {s.task: s.cell.line for s in self.document.scores if s.table.having("task")}
        used = self._used() - set(tasks)
        pairs: dict[str, list[str]] = {}
        for task in tasks:
            stem = re.sub(self.EDITION, "", task)
            same = sorted(name for name in used if re.sub(self.EDITION, "", name) == stem and len(stem) > 3)
            if same:
                pairs[task] = same
        if pairs:
            shown = [f"{task} with {listed(names)}" for task, names in pairs.items()]
            line = min(tasks[task] for task in pairs)
            yield self.finding(
                f"Evaluation sets share their problems with sets used for training: {listed(shown)}.",
                line=line, cell=shown[0],
            )  # fmt: skip

    def _used(self) -> set[str]:
        names: set[str] = set()
        for table in self.document.tables:
            for column in table.columns:
                if self.SOURCE.search(f"{column.name} {' '.join(c.name for c in table.columns)}"):
                    names |= {n for cell in column.cells for n in self.QUOTED.findall(cell.text)}
        for sentence in self.document.prose:
            for match in self.NAMED_AFTER.finditer(sentence.text):
                names |= set(re.findall(r"[A-Za-z][\w-]{3,40}", match.group(0)))
        for noted in self.document.settings:
            if self.SOURCE.search(noted.key) and re.search(r"data|set|task|corpus|on$|anchors?$", noted.key, re.I):
                names |= set(re.findall(r"[A-Za-z][\w-]{3,40}", noted.text))
        if any("'" in c.text for t in self.document.tables for col in t.columns for c in col.cells):
            keys = {n for t in self.document.tables for col in t.columns for c in col.cells
                    for n in re.findall(r"'([\w-]+)'\s*:", c.text)}  # fmt: skip
            names -= keys  # {'task': ['source', ...]}: the keys are the tasks themselves
        return names


class ValidationInTraining(DocumentRule):
    """A validation set that is part of the training set."""

    code = "NG702"
    title = "Validation data is part of the training data"
    severity = Severity.ERROR
    fix = "Split by group before anything else, and assert that the intersection is empty."
    SAID = re.compile(
        r"\b(validation|dev|eval\w*|test)\b[^.]{0,40}\b(drawn|taken|sampled|built|created|come[s]?) from (the )?"
        r"(same )?(train\w*)\b(?! (split|pool)? ?(and|then) (removed|held))",
        re.I,
    )

    def check(self) -> Iterator[Finding]:
        """Sentences that say so."""
        for sentence in self.document.prose:
            match = self.SAID.search(sentence.text)
            if match and not re.search(
                r"disjoint|held[- ]out|removed|excluded|before training|no overlap", sentence.text
            ):
                yield self.finding(f'"{match.group(0)}".', line=sentence.line, cell=sentence.text)
