"""What a rule is: a code, a title, a fix, and a check. Rules are found by walking the files rules_*.py."""

import importlib
import inspect
import pkgutil
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, ClassVar

from netgain.audit.evidence import Evidence
from netgain.audit.finding import Finding, Severity, Where
from netgain.interop.documents import Document

if TYPE_CHECKING:
    import duckdb


class Rule(ABC):
    """One kind of defect."""

    code: ClassVar[str]
    title: ClassVar[str]
    severity: ClassVar[Severity]
    fix: ClassVar[str]

    def __init__(self, evidence: Evidence) -> None:
        self.evidence = evidence

    @classmethod
    @abstractmethod
    def applies(cls, evidence: Evidence) -> bool:
        """Is what this rule needs there?"""

    @abstractmethod
    def check(self) -> Iterator[Finding]:
        """Every place where the defect shows."""

    def finding(
        self,
        evidence: str,
        *,
        line: int = 0,
        table: str = "",
        cell: str = "",
        severity: Severity | None = None,
        fix: str | None = None,
        file: str | None = None,
        arms: Iterable[str] = (),
        tasks: Iterable[str] = (),
    ) -> Finding:
        """A finding of this rule."""
        where = Where(file or self.evidence.path, line, table, cell[:160])
        touched = tuple(dict.fromkeys(arms)), tuple(dict.fromkeys(tasks))
        return Finding(self.code, severity or self.severity, self.title, where, evidence, fix or self.fix, *touched)


class DocumentRule(Rule):
    """A rule that reads a document."""

    @classmethod
    def applies(cls, evidence: Evidence) -> bool:
        """Any document."""
        return evidence.document is not None

    @property
    def document(self) -> Document:
        """The document under audit."""
        if self.evidence.document is None:
            raise ValueError(f"{self.code} needs a document")
        return self.evidence.document


class LedgerRule(Rule):
    """A rule that reads the views runs, items, metrics and probes of a ledger."""

    @classmethod
    def applies(cls, evidence: Evidence) -> bool:
        """Any ledger."""
        return evidence.db is not None

    @property
    def db(self) -> "duckdb.DuckDBPyConnection":
        """The database of the ledger's views."""
        if self.evidence.db is None:
            raise ValueError(f"{self.code} needs a ledger")
        return self.evidence.db


def rules(document: bool = True, ledger: bool = True) -> list[type[Rule]]:
    """Every rule class in audit/rules_*.py (documents) and audit/ledger_*.py (ledgers), by code."""
    import netgain.audit as room

    wanted = ("rules_",) * document + ("ledger_",) * ledger
    found: list[type[Rule]] = []
    for info in pkgutil.iter_modules(room.__path__):
        if info.name.startswith(wanted):
            module = importlib.import_module(f"{room.__name__}.{info.name}")
            members = [m for _, m in inspect.getmembers(module, inspect.isclass) if m.__module__ == module.__name__]
            found += [m for m in members if issubclass(m, Rule) and not inspect.isabstract(m)]
    return sorted(found, key=lambda rule: (rule.code, rule.__name__))
