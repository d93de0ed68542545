"""What the folders of a ledger say right now, read again and again at the cost of a few file dates a run."""

import json
import os
import threading
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from netgain.ledger.store import LOG, Corrupt, Ledger, RunFolder

TAIL = 16_384
"""Bytes at the end of a file that the latest line is looked for in."""
FRESH_SECONDS = 1.0
"""How old a picture may be: however many pages are open, the folders are read once in this time."""
ACTIVE = ("running", "stopped")


@dataclass(frozen=True, slots=True)
class Row:
    """One run of one study, as a line of a table."""

    id: str
    study: str
    sig: str
    arm: str
    seed: int | None
    state: str
    """done, running, stopped (begun, nobody at work on it), failed, corrupt or missing."""
    phase: str = ""
    step: int = 0
    steps: int = 0
    loss: float | None = None
    dev: float | None = None
    seconds: float | None = None


@dataclass(frozen=True, slots=True)
class StudyRow:
    """One study: how many of its runs are in which state; `stamp` rises whenever one of them changes."""

    key: str
    question: str
    states: dict[str, int]
    stamp: int
    sealed: int
    """Rises only when the set of finished runs changes: what verdicts depend on."""


@dataclass(frozen=True)
class Picture:
    """Everything at one moment."""

    studies: dict[str, StudyRow]
    rows: dict[str, Row]


@dataclass
class _Known:
    """What was read of a run's folder, and the dates of the files that it was read from."""

    dates: tuple[float, ...] = ()
    found: dict[str, Any] = field(default_factory=dict)


class Watch:
    """Looks at one ledger; safe to ask from several threads."""

    def __init__(self, ledger: Ledger) -> None:
        self.ledger = ledger
        self._lock = threading.Lock()
        self._studies: dict[Path, tuple[float, dict[str, Any]]] = {}
        self._runs: dict[str, _Known] = {}
        self._steps: dict[str, int] = {}
        self._picture = Picture({}, {})
        self._stamps: dict[str, tuple[int, int]] = {}
        self._taken = 0.0

    def picture(self) -> Picture:
        """The ledger now, or as it was less than a second ago."""
        with self._lock:
            if time.monotonic() - self._taken >= FRESH_SECONDS:
                self._picture = self._look()
                self._taken = time.monotonic()
            return self._picture

    def noted(self, key: str) -> dict[str, Any] | None:
        """What the ledger notes of a study."""
        return self._notes().get(key)

    # ---- reading
    def _look(self) -> Picture:
        rows: dict[str, Row] = {}
        notes = self._notes()
        states = {sig: self._run(sig) for sig in {run["sig"] for note in notes.values() for run in note["runs"]}}
        for key, note in notes.items():
            for run in note["runs"]:
                place = f"{key}/{run['arm']}/{run['sig']}"
                rows[place] = Row(place, key, run["sig"], run["arm"], run["seed"], **states[run["sig"]])
        return Picture({key: self._study(key, note, rows) for key, note in notes.items()}, rows)

    def _study(self, key: str, note: dict[str, Any], rows: dict[str, Row]) -> StudyRow:
        mine = {place: row for place, row in rows.items() if row.study == key}
        before = {place: row for place, row in self._picture.rows.items() if row.study == key}
        stamp, sealed = self._stamps.get(key, (0, 0))
        if mine != before:
            stamp += 1
        if _sealed(mine) != _sealed(before):
            sealed += 1
        self._stamps[key] = stamp, sealed
        counts: dict[str, int] = {}
        for row in mine.values():
            counts[row.state] = counts.get(row.state, 0) + 1
        return StudyRow(key, str(note.get("question") or note.get("name") or key), counts, stamp, sealed)

    def _notes(self) -> dict[str, dict[str, Any]]:
        """Every noted study; a file is read again only when its date changed."""
        folder = self.ledger.root / "studies"
        found: dict[str, dict[str, Any]] = {}
        for file in sorted(folder.glob("*.json")) if folder.is_dir() else ():
            date = file.stat().st_mtime_ns
            if self._studies.get(file, (0.0, {}))[0] != date:
                self._studies[file] = date, json.loads(file.read_text(encoding="utf-8"))
            found[file.stem] = self._studies[file][1]
        return found

    def _run(self, sig: str) -> dict[str, Any]:
        """The fields of a row, read again only where a file's date changed or somebody may be at work."""
        folder = self.ledger.run(sig)
        known = self._runs.setdefault(sig, _Known())
        sealed = _date(folder.path / "record.json")
        if sealed and known.dates[:1] == (sealed,):
            return known.found
        dates = (sealed, *(_date(folder.path / name) for name in ("failure.json", "metrics.jsonl", LOG, "spec.json")))
        held = not sealed and self.ledger.locked(sig)
        dates = (*dates, float(held))
        if known.dates != dates:
            known.dates, known.found = dates, self._read(folder, held, begun=any(dates[1:]))
        return known.found

    def _read(self, folder: RunFolder, held: bool, begun: bool) -> dict[str, Any]:
        on_disk = folder.state_on_disk()
        state = "running" if held else "stopped" if on_disk == "missing" and begun else on_disk
        found: dict[str, Any] = {"state": state, "steps": self._planned_steps(folder)}
        rows = tail(folder.path / "metrics.jsonl")
        taken = [row for row in rows if not row.get("event") and "step" in row]
        if taken:
            last = taken[-1]
            found |= {"step": last["step"], "loss": last.get("loss"), "seconds": last.get("seconds")}
        dev = [row for row in rows if row.get("event") == "dev" and row.get("loss") is not None]
        if dev:
            found["dev"] = dev[-1]["loss"]
        if state in ACTIVE:
            found["phase"] = phase(folder)
        if state == "failed":
            found["phase"] = reason(folder)[:300]
        return found

    def _planned_steps(self, folder: RunFolder) -> int:
        """How many steps the run was asked for; 0 while nobody began it, and for one that learns nothing."""
        if folder.sig not in self._steps:
            if not (folder.path / "spec.json").exists():
                return 0
            run = folder.json("spec.json").get("run")  # the sig's own words where another tool's results were imported
            self._steps[folder.sig] = int((run.get("optim") or {}).get("steps") or 0) if isinstance(run, dict) else 0
        return self._steps[folder.sig]


def phase(folder: RunFolder) -> str:
    """What the run's log said last, without the time."""
    lines = _end(folder.path / LOG).splitlines()
    return lines[-1].partition(" ")[2][:120] if lines else ""


def log(folder: RunFolder, most: int = 40) -> list[str]:
    """The last lines of the run's log."""
    return _end(folder.path / LOG).splitlines()[-most:]


def reason(folder: RunFolder) -> str:
    """Why a run failed; nothing when somebody begins it again at this moment."""
    try:
        return str(folder.json("failure.json").get("reason", ""))
    except Corrupt:
        return ""


def tail(path: Path) -> list[dict[str, Any]]:
    """The last whole rows of a file of JSON lines, as many as fit in its last bytes."""
    text = _end(path)
    lines = [line for line in text.splitlines(keepends=True) if line.endswith("\n")]
    if len(text.encode()) >= TAIL:
        lines = lines[1:]
    return [json.loads(line) for line in lines]


def changes(before: Picture, now: Picture) -> dict[str, Any]:
    """What a page that has seen `before` must be told."""
    return {
        "studies": [asdict(each) for key, each in now.studies.items() if before.studies.get(key) != each],
        "rows": [asdict(row) for place, row in now.rows.items() if before.rows.get(place) != row],
        "gone": [place for place in before.rows if place not in now.rows],
    }


def _sealed(rows: dict[str, Row]) -> set[str]:
    return {place for place, row in rows.items() if row.state == "done"}


def _date(path: Path) -> float:
    """When a file changed last, with its size, since two changes can share a date; 0 where there is none."""
    try:
        found = path.stat()
    except FileNotFoundError:
        return 0.0
    return found.st_mtime + found.st_size / 1e6


def _end(path: Path) -> str:
    """The last bytes of a file as text; nothing where there is no file, or no longer one."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - TAIL))
            return file.read().decode("utf-8", "replace")
    except FileNotFoundError:
        return ""
