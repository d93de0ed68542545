"""What every fault is done to, how it is counted, and what must be the same after it."""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from netgain.ledger.store import Ledger

STUDY = """
name: chaos
question: What survives?
base:
  model: tiny-llama
  method: {kind: lora, r: 2, alpha: 4}
  data:
    sources: {reviews: {kind: embedded, suite: sentiment, n: 48, seed: 1}}
    dev: 8
  references: {teacher: {kind: few_shot, shots: 2}}
  objective:
    ce: ce
    kd: {term: {kind: kl, reference: teacher}, weight: 0.2}
  optim: {learning_rate: 5e-3, steps: 16, batch: 4}
  dev: {every: 4}
  tasks:
    sentiment: {kind: sentiment, source: {kind: embedded, suite: sentiment, n: 16, seed: 2}}
    english: {kind: ppl, source: {kind: embedded, suite: text, n: 6, seed: 3}}
seeds: [0, 1]
vary:
  arm:
    base: {method: none}
    sft: {}
    more: {objective.kd.weight: 1.0}
contrasts:
  - {arm: more, versus: sft, task: sentiment, metric: accuracy}
"""
RUNS = 5

Start = Callable[..., subprocess.Popen[str]]
TALLY: dict[str, tuple[int, int]] = {}
TALLYING = threading.Lock()


@contextmanager
def fault(kind: str) -> Iterator[None]:
    """Counts one fault, and whether what follows it held."""
    count(kind, 1, 0)
    yield
    count(kind, 0, 1)


def count(kind: str, tried: int, survived: int) -> None:
    with TALLYING:
        before = TALLY.get(kind, (0, 0))
        TALLY[kind] = before[0] + tried, before[1] + survived


def start(*arguments: str | Path, **environment: str) -> subprocess.Popen[str]:
    """netgain, in a process group of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "netgain", *map(str, arguments)],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True,
        env={**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "100", **environment},
    )  # fmt: skip


class Warm:
    """netgain in forks of a process that has imported it (see warm.py), for faults that come a hundred times."""

    def __init__(self, **environment: str) -> None:
        self._lock = threading.Lock()
        self._folder = tempfile.TemporaryDirectory(prefix="netgain-warm")
        self._server = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("warm.py"))],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True,
            env={**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "100", **environment},
        )  # fmt: skip

    def ask(self, **what: Any) -> Any:
        """What it answers to a line."""
        assert self._server.stdin is not None
        assert self._server.stdout is not None
        with self._lock:
            self._server.stdin.write(json.dumps(what) + "\n")
            self._server.stdin.flush()
            return json.loads(self._server.stdout.readline())

    def start(self, *arguments: str | Path, full: tuple[int, str] | None = None) -> "Forked":
        """As `start` above. With `full`, nothing can be written below a folder from that write on."""
        handle, out = tempfile.mkstemp(dir=self._folder.name)
        os.close(handle)
        return Forked(self, self.ask(start=[str(each) for each in arguments], out=out, full=full), Path(out))

    def close(self) -> None:
        self._server.kill()
        self._server.communicate()
        self._folder.cleanup()


class Forked:
    """One of its processes, as subprocess shows one."""

    def __init__(self, warm: Warm, pid: int, out: Path) -> None:
        self.pid, self.returncode = pid, None
        self._warm, self._out = warm, out

    def poll(self) -> int | None:
        if self.returncode is None:
            self.returncode = self._warm.ask(poll=self.pid)
        return self.returncode

    def send_signal(self, number: int) -> None:
        os.kill(self.pid, number)

    def communicate(self, timeout: float = 600) -> tuple[str, None]:
        """What it said, when it and all that it started are gone."""
        deadline = time.monotonic() + timeout
        while self.poll() is None or family(self.pid):
            assert time.monotonic() < deadline
            time.sleep(0.01)
        return self._out.read_text(errors="replace"), None


Process = subprocess.Popen[str] | Forked


def built(source: str, library: Path) -> Path:
    """A C library that stands between a process and its system."""
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("there is no C compiler to build this fault with")
    command = [compiler, "-shared", "-fPIC", "-x", "c", "-", "-o", str(library), "-ldl"]
    subprocess.run(command, input=source, text=True, check=True)
    return library


def said(process: Process, code: int = 0) -> str:
    out, _ = process.communicate(timeout=600)
    assert process.returncode == code, out[-3000:]
    return out


def kill(process: Process) -> None:
    """kill -9 of the process that was started, and of no other: those that it has started must end by themselves."""
    process.send_signal(signal.SIGKILL)
    try:
        process.communicate(timeout=60)  # until nobody has its output open
        assert not (left := family(process.pid)), left
    finally:
        for orphan in family(process.pid):
            os.kill(orphan, signal.SIGKILL)


def family(leader: int) -> list[int]:
    """The processes of the session that a process began."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = entry.read_text().rpartition(")")[2].split()
        except OSError:
            continue  # it has just ended
        if int(fields[3]) == leader and fields[0] != "Z":
            found.append(int(entry.parent.name))
    return found


def contents(ledger: Path) -> dict[str, tuple[int, bytes]]:
    """Every file of every run, and when it was written."""
    files = (file for file in (ledger / "runs").rglob("*") if file.is_file())
    return {str(file.relative_to(ledger)): (file.stat().st_mtime_ns, file.read_bytes()) for file in files}


def wait_for(ledger: Path, pattern: str, process: Process) -> Path:
    """The first file of this pattern that a process makes."""
    deadline = time.monotonic() + 300
    while not (found := sorted(ledger.glob(pattern))):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return found[0]


def items(ledger: Path) -> dict[str, list[dict[str, Any]]]:
    files = sorted((ledger / "runs").glob("*/items.parquet"))
    return {file.parent.name: pq.read_table(file).to_pylist() for file in files}


def same(ours: Path, theirs: Path) -> None:
    """The same items with the same answers; packs of another size round the likelihoods otherwise."""
    a, b = items(ours), items(theirs)
    assert a.keys() == b.keys()
    key = ("task", "metric", "item", "checkpoint", "sample", "output", "prediction")
    for sig in a:
        assert [[row[k] for k in key] for row in a[sig]] == [[row[k] for k in key] for row in b[sig]]
        assert [row["value"] for row in a[sig]] == pytest.approx([row["value"] for row in b[sig]], rel=1e-3, abs=1e-4)


def identical(ours: Path, theirs: Path) -> None:
    """The same results to the last bit: items, adapters, and what every step was."""
    same(ours, theirs)
    assert items(ours) == items(theirs)
    a, b = (
        {name: held for name, (_, held) in contents(each).items() if name.endswith(".safetensors")}
        for each in (ours, theirs)
    )
    assert a == b
    a, b = ([[_timeless(row) for row in run.metrics()] for run in Ledger(each).runs()] for each in (ours, theirs))
    assert a == b


def _timeless(row: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name != "seconds"}
