"""What a rule says: one defect, where it is, the numbers it rests on, and what to do."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Any


class Severity(StrEnum):
    """error: a conclusion does not hold; warning: it is not supported; note: worth knowing."""

    ERROR = "error"
    WARNING = "warning"
    NOTE = "note"

    @property
    def rank(self) -> int:
        """0 for the worst."""
        return list(Severity).index(self)


@dataclass(frozen=True, slots=True)
class Where:
    """The place of a defect: a file, a line, a table and the cells or words that show it."""

    file: str
    line: int = 0
    table: str = ""
    cell: str = ""

    def __str__(self) -> str:
        line = f":{self.line}" if self.line else ""
        return f"{self.file}{line}"


@dataclass(frozen=True, slots=True)
class Finding:
    """One defect."""

    code: str
    severity: Severity
    title: str
    where: Where
    evidence: str
    fix: str
    arms: tuple[str, ...] = ()
    """The arms of a ledger that it concerns; none named means all of them."""
    tasks: tuple[str, ...] = ()
    """The tasks that it concerns; none named means all of them."""

    def concerns(self, arm: str, task: str) -> bool:
        """Does what is wrong touch this arm's evidence on this task?"""
        return (not self.arms or arm in self.arms) and (not self.tasks or task in self.tasks)

    def to_json(self) -> dict[str, Any]:
        """As a JSON object."""
        return {
            "code": self.code,
            "severity": str(self.severity),
            "title": self.title,
            "file": self.where.file,
            "line": self.where.line,
            "table": self.where.table,
            "cell": self.where.cell,
            "evidence": self.evidence,
            "fix": self.fix,
            "arms": list(self.arms),
            "tasks": list(self.tasks),
        }


@dataclass(frozen=True, slots=True)
class Silenced:
    """A finding that somebody silenced, with the reason they gave."""

    finding: Finding
    reason: str
