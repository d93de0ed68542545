"""What a study allows to say now: looks while runs are missing, declared verdicts and the report when none is."""

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from markupsafe import Markup

from netgain.errors import UserError
from netgain.ledger.store import Ledger
from netgain.report.frame import Frame
from netgain.report.html.markup import element
from netgain.report.html.page import render
from netgain.report.noted import study_of
from netgain.report.study import Report, build
from netgain.report.view import fragments
from netgain.report.view.peek import Known, peeks
from netgain.report.view.watch import StudyRow

PATIENCE = 1.5
"""Seconds that an answer waits for a result that is not there yet; then it says that one is being made."""


@dataclass
class _Kept:
    """What was made for one study, and what is being made."""

    results: dict[str, tuple[int, str]] = field(default_factory=dict)
    """name -> (the set of finished runs that it rests on, the result)."""
    work: dict[str, threading.Thread] = field(default_factory=dict)
    looks: Known = field(default_factory=dict)
    report: tuple[int, Report] | None = None
    lock: threading.Lock = field(default_factory=threading.Lock)


class Judge:
    """Computes once for each change of a study's finished runs, however many pages ask; never in a page's way."""

    def __init__(self, ledger: Ledger) -> None:
        self.ledger = ledger
        self._kept: dict[str, _Kept] = {}
        self._lock = threading.Lock()

    def verdicts(self, row: StudyRow, note: dict[str, Any]) -> str | None:
        """The study's verdicts so far, or that there can be none; None while they are computed."""
        return self._made(row, "verdicts", lambda: str(self._verdicts(row, note)))

    def page(self, row: StudyRow, note: dict[str, Any]) -> str | None:
        """The whole report, made from the ledger as it is; None while it is made."""
        return self._made(row, "page", lambda: render(self._report(row, note), self.ledger).html)

    def _verdicts(self, row: StudyRow, note: dict[str, Any]) -> Markup:
        if set(row.states) == {"done"}:
            return fragments.verdicts(self._report(row, note).judged)
        if not row.states.get("done"):
            return element("p", "No run is finished yet, so there is nothing to judge.", class_="fix")
        study = study_of(note)
        return fragments.looks(list(peeks(study, Frame(study, self.ledger), self._of(row.key).looks)))

    def _report(self, row: StudyRow, note: dict[str, Any]) -> Report:
        kept = self._of(row.key)
        with kept.lock:
            if kept.report is None or kept.report[0] != row.sealed:
                kept.report = row.sealed, build(study_of(note), self.ledger)
            return kept.report[1]

    def _made(self, row: StudyRow, name: str, make: Callable[[], str]) -> str | None:
        """The result for these finished runs, made in a thread of its own that a stopping server does not wait for."""
        kept = self._of(row.key)
        with self._lock:
            at, found = kept.results.get(name, (-1, ""))
            if at == row.sealed:
                return found
            thread = kept.work.get(name)
            if thread is None or not thread.is_alive():
                thread = threading.Thread(target=self._make, args=(kept, row.sealed, name, make), daemon=True)
                kept.work[name] = thread
                thread.start()
        thread.join(PATIENCE)
        at, found = kept.results.get(name, (-1, ""))
        return found if at == row.sealed else None

    def _make(self, kept: _Kept, sealed: int, name: str, make: Callable[[], str]) -> None:
        try:
            kept.results[name] = sealed, make()
        except UserError as error:
            kept.results[name] = sealed, str(element("p", str(error), class_="fix"))

    def _of(self, key: str) -> _Kept:
        with self._lock:
            return self._kept.setdefault(key, _Kept())
