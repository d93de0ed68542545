"""A process that stands still loses what it holds, notices it, and writes nothing; one that goes never does."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from netgain.ledger import claims
from netgain.ledger.claims import Busy, Vigil
from netgain.ledger.store import Ledger, RunFolder

HOLDER = """
import sys, time
from netgain.ledger.claims import Lost
from netgain.ledger.store import Ledger
run = Ledger(sys.argv[1]).run("aa")
with run.claim():
    run.start({}, {})
    run.append_metrics([{"step": 0}])
    late = (run.path / "metrics.jsonl").open("a")
    try:
        for step in range(1, 100_000):
            run.append_metrics([{"step": step}])
            time.sleep(0.01)
    except Lost:
        print("late", file=late, flush=True)
        sys.exit(42)
"""


class Clock:
    """A clock that only goes when it is looked at, by a beat."""

    now = 0.0

    def __call__(self) -> float:
        self.now += claims.BEAT_SECONDS
        return self.now


def taken(run: RunFolder, vigil: Vigil, looks: int) -> bool:
    """Whether the claim was had within so many looks."""
    for _ in range(looks):
        try:
            with run.claim(vigil):
                return True
        except Busy:
            time.sleep(0.01)
    return False


def content(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def test_a_stopped_process_loses_its_run_and_writes_nothing_when_it_goes_on(tmp_path: Path) -> None:
    run = Ledger(tmp_path).run("aa")
    holder = subprocess.Popen([sys.executable, "-c", HOLDER, str(tmp_path)])
    while len(run.metrics()) < 5:
        assert holder.poll() is None
        time.sleep(0.01)
    os.kill(holder.pid, signal.SIGSTOP)
    vigil = Vigil(1.0, Clock())
    assert not taken(run, vigil, claims.BEATS)
    left = content(run.path)
    with run.claim(vigil):
        assert content(run.path) == left
        run.note("mine now")
        left = content(run.path)
        os.kill(holder.pid, signal.SIGCONT)
        assert holder.wait(20) == 42
        assert content(run.path) == left
        run.hold()
    assert taken(run, Vigil(None), 1)


def test_a_process_that_goes_keeps_its_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(claims, "BEAT_SECONDS", 0.01)
    run, other = Ledger(tmp_path).run("aa"), Ledger(tmp_path).run("aa")
    with run.claim():
        assert not taken(other, Vigil(1.0), 150)
        run.hold()


def test_time_in_which_nobody_looked_does_not_count(tmp_path: Path) -> None:
    run, other = Ledger(tmp_path).run("aa"), Ledger(tmp_path).run("aa")
    times = iter([0.0, 1e6])
    with run.claim():
        assert not taken(other, Vigil(60.0, lambda: next(times)), 2)


def test_of_two_that_see_an_abandoned_run_one_has_it(tmp_path: Path) -> None:
    run, other, third = (Ledger(tmp_path).run("aa") for _ in range(3))
    vigils = Vigil(1.0, Clock()), Vigil(1.0, Clock())
    with run.claim():
        for vigil in vigils:
            assert not taken(other, vigil, claims.BEATS)
        with other.claim(vigils[0]):
            with pytest.raises(Busy), third.claim(vigils[1]):
                pass
            with pytest.raises(claims.Lost):
                run.hold()
            other.hold()


def test_without_patience_nothing_is_taken(tmp_path: Path) -> None:
    run, other = Ledger(tmp_path).run("aa"), Ledger(tmp_path).run("aa")
    with run.claim():
        assert not taken(other, Vigil(None, Clock()), 20)
