"""What a study allows to say now: looks while runs are missing, declared verdicts and the report when none is."""

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

from markupsafe import Markup

from netgain.ledger.store import Ledger
from netgain.report.frame import Frame
from netgain.report.html.markup import element
from netgain.report.html.page import render
from netgain.report.noted import study_of
from netgain.report.study import Report, build
from netgain.report.view import fragments
from netgain.report.view.peek import peeks
from netgain.report.view.watch import StudyRow

Made = TypeVar("Made")


@dataclass
class _Kept:
    """Results of one study, each with the set of finished runs that it was made from."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    results: dict[str, tuple[int, Any]] = field(default_factory=dict)


class Judge:
    """Computes once for each change of a study's finished runs, however many pages ask."""

    def __init__(self, ledger: Ledger) -> None:
        self.ledger = ledger
        self._kept: dict[str, _Kept] = {}
        self._lock = threading.Lock()

    def verdicts(self, row: StudyRow, note: dict[str, Any]) -> Markup:
        """The study's verdicts so far, or that there can be none."""
        return self._once(row, "verdicts", lambda: self._verdicts(row, note))

    def page(self, row: StudyRow, note: dict[str, Any]) -> str:
        """The whole report, made from the ledger as it is."""
        return self._once(row, "page", lambda: render(self._report(row, note), self.ledger).html)

    def _verdicts(self, row: StudyRow, note: dict[str, Any]) -> Markup:
        study = study_of(note)
        if set(row.states) == {"done"}:
            return fragments.verdicts(self._report(row, note).judged)
        if not row.states.get("done"):
            return element("p", "No run is finished yet, so there is nothing to judge.", class_="fix")
        return fragments.looks(list(peeks(study, Frame(study, self.ledger))))

    def _report(self, row: StudyRow, note: dict[str, Any]) -> Report:
        kept = self._of(row.key).results.get("report")
        if kept is None or kept[0] != row.sealed:
            kept = row.sealed, build(study_of(note), self.ledger)
            self._of(row.key).results["report"] = kept
        return kept[1]

    def _once(self, row: StudyRow, name: str, make: Callable[[], Made]) -> Made:
        kept = self._of(row.key)
        with kept.lock:
            if name not in kept.results or kept.results[name][0] != row.sealed:
                kept.results[name] = row.sealed, make()
            return kept.results[name][1]

    def _of(self, key: str) -> _Kept:
        with self._lock:
            return self._kept.setdefault(key, _Kept())
