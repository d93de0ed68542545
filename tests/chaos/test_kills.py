"""Killed at any moment: no finished run is lost or done twice, what resumes is what was begun, no process is left."""

import os
import random
import shutil
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from harm import RUNS, fault, kill, said, same, start

pytestmark = pytest.mark.chaos

KILLS = int(os.environ.get("NETGAIN_CHAOS_KILLS", "100"))
MODES = {("--pack", "off"): 3, ("--pack", "auto"): 2, ("--pack", "2"): 2, ("--jobs", "2"): 1}
"""How often each way of running is chosen: two workers cost two starts."""
LANES = 2
"""So many victims at a time, each with a ledger of its own."""
STARTING = 0.1
"""The part of the kills that may come before a run is begun: starting takes longest, and can break nothing."""
WORKING = 2.5
"""Seconds of work after which the latest kill comes."""


def sealed(ledger: Path) -> dict[str, int]:
    return {p.parent.name: p.stat().st_mtime_ns for p in (ledger / "runs").glob("*/record.json")}


def killed_and_resumed(study: Path, whole: Path, root: Path, lane: int) -> None:
    """A lane's share of the kills; whenever a ledger is whole, the next one is begun."""
    draw, kills, rounds = random.Random(lane), 0, 0
    ledger = root / "0"
    while kills < KILLS // LANES:
        before = sealed(ledger)
        process = start("run", study, "--ledger", ledger, *draw.choices([*MODES], [*MODES.values()])[0])
        if draw.random() >= STARTING:
            wait_for_work(process, ledger)
        until = time.monotonic() + draw.uniform(0, WORKING)
        while process.poll() is None and time.monotonic() < until:
            time.sleep(0.01)
        if process.poll() is None:
            kills += 1
            with fault("kill -9 while running"):
                kill(process)
                assert before.items() <= sealed(ledger).items()
        else:
            said(process)
        if len(sealed(ledger)) == RUNS:
            same(ledger, whole)
            rounds += 1
            ledger = root / str(rounds)
    said(start("run", study, "--ledger", ledger))
    same(ledger, whole)


def wait_for_work(process: subprocess.Popen[str], ledger: Path) -> None:
    """Until a run's log says something that it did not say before."""
    before = sum(file.stat().st_size for file in ledger.glob("runs/*/log.txt"))
    while process.poll() is None and sum(file.stat().st_size for file in ledger.glob("runs/*/log.txt")) == before:
        time.sleep(0.01)


def test_kill_nine_at_random_moments(study: Path, whole: Path, tmp_path: Path) -> None:
    with ThreadPoolExecutor(LANES) as lanes:
        ends = [lanes.submit(killed_and_resumed, study, whole, tmp_path / f"lane {k}", k) for k in range(LANES)]
    for end in ends:
        end.result()


def test_kill_nine_while_a_report_is_written(study: Path, whole: Path, tmp_path: Path) -> None:
    draw = random.Random(12)
    ledger = shutil.copytree(whole, tmp_path / "ledger")
    begun = time.monotonic()
    said(start("report", study, "--ledger", ledger))
    took = time.monotonic() - begun
    (page,) = (ledger / "reports").rglob("report.html")
    expected = len(page.read_bytes())
    for _ in range(10):
        with fault("kill -9 while a report is written"):
            process = start("report", study, "--ledger", ledger)
            time.sleep(draw.uniform(0.3, 1.0) * took)
            kill(process)
            text = page.read_bytes()
            assert text.rstrip().endswith(b"</html>")
            assert abs(len(text) - expected) < 0.05 * expected
    said(start("verify", page, "--ledger", ledger))
