"""Processes that stand still, and clocks that are wrong: nobody waits for the first, nobody believes the second."""

import os
import random
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from harm import RUNS, built, contents, fault, said, same, start, wait_for

from netgain.ledger.store import Ledger

pytestmark = pytest.mark.chaos
SILENCE = ("--silence", "12")


@pytest.mark.parametrize("moment", ["teachers/*/locks/*", "runs/*/metrics.jsonl"])
def test_what_a_stopped_process_held_is_done_by_another(moment: str, study: Path, whole: Path, tmp_path: Path) -> None:
    with fault("a process that hangs"):
        stopped = start("run", study, "--ledger", tmp_path, "--pack", "off")
        wait_for(tmp_path, moment, stopped)
        os.killpg(stopped.pid, signal.SIGSTOP)
        before = {run.sig: len(run.metrics()) for run in Ledger(tmp_path).runs()}
        said(start("run", study, "--ledger", tmp_path, "--pack", "off", *SILENCE))
        same(tmp_path, whole)
        assert all(len(run.metrics()) >= before.get(run.sig, 0) for run in Ledger(tmp_path).runs())
        left = contents(tmp_path)
        os.killpg(stopped.pid, signal.SIGCONT)
        said(stopped)
        assert contents(tmp_path) == left


WRONG = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/time.h>
#include <time.h>

static long wrong_by(void) {
    const char *path = getenv("WRONG_CLOCK");
    FILE *file = path ? fopen(path, "r") : NULL;
    long seconds = 0;
    if (file && fscanf(file, "%ld", &seconds) != 1) seconds = 0;
    if (file) fclose(file);
    return seconds;
}
int clock_gettime(clockid_t clock, struct timespec *now) {
    static int (*real)(clockid_t, struct timespec *);
    if (!real) real = (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
    int failed = real(clock, now);
    if (!failed && clock == CLOCK_REALTIME) now->tv_sec += wrong_by();
    return failed;
}
int gettimeofday(struct timeval *restrict now, void *restrict zone) {
    struct timespec exact;
    clock_gettime(CLOCK_REALTIME, &exact);
    now->tv_sec = exact.tv_sec;
    now->tv_usec = exact.tv_nsec / 1000;
    return 0;
}
time_t time(time_t *now) {
    struct timespec exact;
    clock_gettime(CLOCK_REALTIME, &exact);
    if (now) *now = exact.tv_sec;
    return exact.tv_sec;
}
"""
"""What a process is told the time is; its monotonic clock is the kernel's, as it is when somebody sets the clock."""


@pytest.fixture(scope="module")
def wrong(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A library that makes the wall clock of a process wrong by as many seconds as a file says at that moment."""
    return built(WRONG, tmp_path_factory.mktemp("clock") / "wrong.so")


@contextmanager
def jumping(library: Path, file: Path, seed: int) -> Iterator[dict[str, str]]:
    """A wall clock that goes hours forward and back, twice a second: the environment that makes a process read it."""
    draw, over = random.Random(seed), threading.Event()

    def turn() -> None:
        while True:
            draft = file.with_suffix(".new")
            draft.write_text(f"{draw.randint(-30, 30) * 3600}\n")
            draft.replace(file)
            if over.wait(0.5):
                return

    turning = threading.Thread(target=turn)
    turning.start()
    try:
        yield {"LD_PRELOAD": str(library), "WRONG_CLOCK": str(file)}
    finally:
        over.set()
        turning.join()


def test_clocks_that_jump_by_hours_change_nothing(study: Path, whole: Path, wrong: Path, tmp_path: Path) -> None:
    ledger = tmp_path / "ledger"
    clocks = jumping(wrong, tmp_path / "a", 1), jumping(wrong, tmp_path / "b", 2)
    with fault("clocks that jump"), clocks[0] as one, clocks[1] as other:
        pair = [start("run", study, "--ledger", ledger, "--pack", "off", *SILENCE, **each) for each in (one, other)]
        for process in pair:
            assert " h" not in said(process).splitlines()[-1]
        same(ledger, whole)
        runs = Ledger(ledger).runs()
        hours = {line[:13] for run in runs for line in (run.path / "log.txt").read_text().splitlines()}
        assert len(hours) > 3, "the clocks did not jump"
        assert [(run.path / "log.txt").read_text().count(" loading") for run in runs] == [1] * RUNS
        assert all(0 <= run.record().get("train_seconds", 0) < 600 for run in runs)
