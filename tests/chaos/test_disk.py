"""A disk that is full at any write of a run or a report: one sentence, nothing lost, the same results afterwards."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from harm import STUDY, Warm, built, contents, fault, identical, items, said, same, start

pytestmark = pytest.mark.chaos
STRIDE = int(os.environ.get("NETGAIN_CHAOS_STRIDE", "1"))
"""At every how many-th write the disk is full."""

FULL = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

static long from, count;
static char folder[PATH_MAX];

void full_from(long at, const char *below) { from = at; count = 0; strncpy(folder, below, PATH_MAX - 1); }
long writes_so_far(void) { return count; }

static int refused(const char *path) {
    if (!from || strncmp(path, folder, strlen(folder))) return 0;
    if (++count < from) return 0;
    errno = ENOSPC;
    return 1;
}
static int refused_file(int file) {
    char link[64], path[PATH_MAX];
    if (!from) return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", file);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length < 0) return 0;
    path[length] = 0;
    return refused(path);
}
#define REAL(name) __typeof__(&name) real = (__typeof__(&name))dlsym(RTLD_NEXT, #name)
ssize_t write(int f, const void *b, size_t n) { REAL(write); return refused_file(f) ? -1 : real(f, b, n); }
ssize_t pwrite(int f, const void *b, size_t n, off_t o) {
    REAL(pwrite);
    return refused_file(f) ? -1 : real(f, b, n, o);
}
ssize_t pwrite64(int f, const void *b, size_t n, off64_t o) {
    REAL(pwrite64);
    return refused_file(f) ? -1 : real(f, b, n, o);
}
ssize_t writev(int f, const struct iovec *v, int n) { REAL(writev); return refused_file(f) ? -1 : real(f, v, n); }
int fsync(int f) { REAL(fsync); return refused_file(f) ? -1 : real(f); }
int fdatasync(int f) { REAL(fdatasync); return refused_file(f) ? -1 : real(f); }
int mkdir(const char *p, mode_t m) { REAL(mkdir); return refused(p) ? -1 : real(p, m); }
#define OPENS(name)                                                                                        \
    int name(const char *path, int flags, ...) {                                                           \
        REAL(name);                                                                                        \
        va_list more;                                                                                      \
        va_start(more, flags);                                                                             \
        mode_t mode = flags & O_CREAT ? va_arg(more, mode_t) : 0;                                          \
        va_end(more);                                                                                      \
        if ((flags & O_CREAT) && access(path, F_OK) && refused(path)) return -1;                           \
        return real(path, flags, mode);                                                                    \
    }
OPENS(open)
OPENS(open64)
"""
"""A file system that has no space left from its n-th write, sync, new file or new folder on."""

SMALL = """
name: small
question: What survives?
base:
  model: tiny-llama
  method: {kind: lora, r: 2, alpha: 4}
  data: {sources: {reviews: {kind: embedded, suite: sentiment, n: 12, seed: 1}}, dev: 4}
  references: {teacher: {kind: few_shot, shots: 1}}
  objective: {ce: ce, kd: {term: {kind: kl, reference: teacher}, weight: 0.2}}
  optim: {learning_rate: 5e-3, steps: 2, batch: 4}
  dev: {every: 1}
  tasks: {sentiment: {kind: sentiment, source: {kind: embedded, suite: sentiment, n: 4, seed: 2}}}
vary: {arm: {sft: {}}}
"""


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Warm]:
    warm = Warm(LD_PRELOAD=str(built(FULL, tmp_path_factory.mktemp("disk") / "full.so")))
    yield warm
    warm.close()


def put(ledger: Path) -> dict[str, bytes]:
    """What stands in a ledger, but for what says when or who."""
    aside = ("log.txt", "env.json", "locks/", ".part", "seconds.json")
    return {name: held for name, (_, held) in contents(ledger).items() if not any(word in name for word in aside)}


def test_a_disk_that_is_full_from_any_write_on_costs_that_work_and_no_other(full: Warm, tmp_path: Path) -> None:
    study = tmp_path / "small.yaml"
    study.write_text(SMALL)
    said(full.start("run", study, "--ledger", tmp_path / "whole"))
    said(full.start("report", study, "--ledger", tmp_path / "whole"))
    resumed: dict[str, bytes] | None = None
    for kind, command in (("run", "run"), ("report", "report")):
        for at in range(1, 1000, STRIDE):
            ledger = tmp_path / f"{kind} {at}"
            if command == "report":
                shutil.copytree(tmp_path / "whole", ledger, ignore=shutil.ignore_patterns("reports"))
            process = full.start(command, study, "--ledger", ledger, full=(at, str(ledger)))
            out, _ = process.communicate()
            if process.returncode == 0 and int(out.rpartition("writes ")[2]) < at:
                break
            with fault(f"a disk that is full at a write of a {kind}"):
                assert "Traceback" not in out, out
                assert process.returncode in (0, 2), out
                assert "free some space" in out, out
                now = put(ledger)
                if now != resumed:
                    said(full.start(command, study, "--ledger", ledger))
                    identical(ledger, tmp_path / "whole")
                    resumed = now
            shutil.rmtree(ledger, ignore_errors=True)  # the first writes make it
        assert at > 10


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(folder)], check=False)
    if mounted.returncode:
        pytest.skip("this user may not mount a small disk")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_small_disk_that_is_made_larger_again_and_again_ends_with_the_whole_study(
    study: Path, whole: Path, small_disk: Path
) -> None:
    ledger, size = small_disk / "ledger", 64.0
    for _ in range(40):
        process = start("run", study, "--ledger", ledger, "--pack", "off")
        out, _ = process.communicate(timeout=600)
        if process.returncode == 0:
            break
        with fault("a small disk"):
            assert process.returncode == 2, out[-2000:]
            assert "free some space" in out
            assert "Traceback" not in out
            size *= 1.4
            subprocess.run(["mount", "-o", f"remount,size={int(size)}k", str(small_disk)], check=True)
    same(ledger, whole)


def test_a_ledger_that_may_only_be_read_can_be_reported_and_not_run(study: Path, whole: Path, tmp_path: Path) -> None:
    ledger = tmp_path / "ledger"
    shutil.copytree(whole, ledger)
    before = contents(ledger)
    mounted = subprocess.run(["mount", "--bind", "-o", "ro", str(ledger), str(ledger)], check=False)
    if mounted.returncode:
        pytest.skip("this user may not mount a folder that is only read")
    try:
        with fault("a ledger that may only be read"):
            said(start("report", study, "--ledger", ledger, "--out", tmp_path / "elsewhere"))
            out = said(start("report", study, "--ledger", ledger), code=2)
            assert "cannot be written" in out
            assert "Traceback" not in out
            more = tmp_path / "more.yaml"
            more.write_text(STUDY.replace("seeds: [0, 1]", "seeds: [0, 1, 2]"))
            out = said(start("run", more, "--ledger", ledger), code=2)
            assert "cannot be written" in out
            assert "Traceback" not in out
            assert contents(ledger) == before
            assert len(items(ledger)) == len(items(whole))
    finally:
        subprocess.run(["umount", str(ledger)], check=True)
