"""Killed at any moment: no finished run is lost or done twice, what resumes is what was begun, no process is left."""

import os
import random
import shutil
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest
from harm import RUNS, Process, Warm, fault, identical, kill, said, same, start

pytestmark = pytest.mark.chaos

KILLS = int(os.environ.get("NETGAIN_CHAOS_KILLS", "100"))
REPORTS = KILLS // 10
"""So many of them while a report is written."""
ALONE = ("--pack", "off")
MODES = {ALONE: 4, ("--pack", "auto"): 2, ("--pack", "2"): 2, ("--jobs", "2"): 1}
"""How often each way of running is chosen for a ledger: two workers cost two starts."""
DRAFTS = ("teachers/*/.*.part", "runs/*/checkpoint/.*.part", "runs/*/.*.part", "runs/*/parts/.*.part")
"""A kill in two comes while such a file is being written, if there is one; the others at any moment."""
LANES = 2
"""So many victims at a time, each with a ledger of its own."""
STARTING = 0.1
"""The part of the kills that may come before a run is begun: starting can break nothing."""


def sealed(ledger: Path) -> dict[str, int]:
    return {p.parent.name: p.stat().st_mtime_ns for p in (ledger / "runs").glob("*/record.json")}


def killed_and_resumed(study: Path, whole: Path, warm: Warm, root: Path, lane: int, took: float) -> None:
    """A lane's share of the kills; whenever a ledger is whole, the next one is begun. One `took` so long."""
    draw, kills, ledgers = random.Random(lane), 0, 0
    while kills < (KILLS - REPORTS) // LANES or ledgers == 0:
        ledger, ledgers = root / str(ledgers), ledgers + 1
        mode = draw.choices([*MODES], [*MODES.values()])[0]
        while len(sealed(ledger)) < RUNS:
            before = sealed(ledger)
            begin = start if "--jobs" in mode else warm.start  # its workers are started, not forked
            process = begin("run", study, "--ledger", ledger, *mode)
            if kills < (KILLS - REPORTS) // LANES:
                wait_for_a_moment(process, ledger, draw, took)
            if kills < (KILLS - REPORTS) // LANES and process.poll() is None:
                kills += 1
                with fault(f"kill -9 while {doing(ledger)}"):
                    kill(process)
                    assert before.items() <= sealed(ledger).items()
            else:
                said(process)
        (identical if mode == ALONE else same)(ledger, whole)
        shutil.rmtree(ledger)


def wait_for_a_moment(process: Process, ledger: Path, draw: random.Random, took: float) -> None:
    draft = draw.choice(DRAFTS) if draw.random() < 0.5 else None
    if draw.random() >= STARTING:
        wait_for_work(process, ledger)
    until = time.monotonic() + draw.uniform(0, took)
    while process.poll() is None and time.monotonic() < until and not (draft and any(ledger.glob(draft))):
        time.sleep(0.001 if draft else 0.01)


def doing(ledger: Path) -> str:
    """What was written last."""
    files: list[tuple[int, str]] = []
    for path in ledger.rglob("*"):
        with suppress(FileNotFoundError):
            if path.is_file() and path.name != "log.txt" and "locks" not in path.parts:
                files.append((path.stat().st_mtime_ns, str(path.relative_to(ledger))))
    last = max(files)[1] if files else ""
    places = {
        "teachers": "a teacher is asked",
        "checkpoint": "a checkpoint is written",
        "metrics": "it trains",
        "adapter-best": "it trains",
        "parts": "it is measured",
        "adapter": "it is measured",
        "items": "it is sealed",
        "record": "it is sealed",
    }
    return next((words for place, words in places.items() if place in last), "it begins")


def wait_for_work(process: Process, ledger: Path) -> None:
    """Until a run's log says something that it did not say before."""
    before = sum(file.stat().st_size for file in ledger.glob("runs/*/log.txt"))
    while process.poll() is None and sum(file.stat().st_size for file in ledger.glob("runs/*/log.txt")) == before:
        time.sleep(0.01)


def test_kill_nine_at_random_moments(study: Path, whole: Path, warm: Warm, tmp_path: Path) -> None:
    process = warm.start("run", study, "--ledger", tmp_path / "undisturbed", *ALONE)
    wait_for_work(process, tmp_path / "undisturbed")
    begun = time.monotonic()
    said(process)
    identical(tmp_path / "undisturbed", whole)
    took = time.monotonic() - begun
    with ThreadPoolExecutor(LANES) as lanes:
        roots = [(tmp_path / f"lane {k}", k, took) for k in range(LANES)]
        ends = [lanes.submit(killed_and_resumed, study, whole, warm, *each) for each in roots]
    for end in ends:
        end.result()


def test_kill_nine_while_a_report_is_written(study: Path, whole: Path, warm: Warm, tmp_path: Path) -> None:
    draw = random.Random(12)
    ledger = shutil.copytree(whole, tmp_path / "ledger")
    begun = time.monotonic()
    said(warm.start("report", study, "--ledger", ledger))
    took = time.monotonic() - begun
    (page,) = (ledger / "reports").rglob("report.html")
    expected = len(page.read_bytes())
    for _ in range(REPORTS):
        with fault("kill -9 while a report is written"):
            process = warm.start("report", study, "--ledger", ledger)
            time.sleep(draw.uniform(0.1, 1.0) * took)
            kill(process)
            text = page.read_bytes()
            assert text.rstrip().endswith(b"</html>")
            assert abs(len(text) - expected) < 0.05 * expected
    said(start("verify", page, "--ledger", ledger))
