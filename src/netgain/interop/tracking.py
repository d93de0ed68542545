"""Runs of a ledger shown in a tracker: W&B, MLflow, trackio, TensorBoard. The ledger stays what is true.

A tracker reads the ledger from a process of its own, while runs execute or afterwards. So no run waits for one, knows
of one, or fails with one; and what a tracker missed it is told the next time.
"""

import json
import os
import select
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from netgain.errors import UserError, did_you_mean
from netgain.ledger.files import write_json
from netgain.ledger.store import Ledger, RunFolder

POLL_SECONDS = 2.0
END_SECONDS = 120.0
PLAIN = ("loss", "lr", "grad_norm", "tokens", "seconds")
"""What each step of metrics.jsonl says by itself."""


@dataclass(frozen=True)
class Told:
    """A run as a tracker sees it. `settings` are the spec's leaves by their dotted names."""

    sig: str
    study: str
    arm: str
    seed: int | None
    settings: Mapping[str, Any]
    folder: Path

    @property
    def name(self) -> str:
        """How a person calls it."""
        return self.arm if self.seed is None else f"{self.arm}, seed {self.seed}"


class Line(Protocol):
    """One run inside a tracker."""

    def log(self, step: int, numbers: Mapping[str, float]) -> None:
        """What one step was."""
        ...

    def end(self, scores: Mapping[str, float], links: Mapping[str, str], failed: str | None) -> None:
        """What came out, and where it lies; or why nothing did."""
        ...


class Tracker(Protocol):
    """Where runs are shown. A run that was begun before is continued."""

    def begin(self, run: Told, after: int) -> Line:
        """`after` is the last step that it was told of."""
        ...


TRACKERS = ("tensorboard", "wandb", "mlflow", "trackio")


def tracker(kind: str, ledger: Path, place: str | None) -> Tracker:
    """A tracker by name; `place` is its folder, URI or project, and each has one of its own inside the ledger."""
    from netgain.interop import sinks

    if kind not in TRACKERS:
        raise UserError(f'"{kind}" is no tracker; there are {", ".join(TRACKERS)}.{did_you_mean(kind, TRACKERS)}')
    try:
        return sinks.KINDS[kind](ledger, place)
    except ModuleNotFoundError as error:
        raise UserError(f"--to {kind}: needs the package {error.name}; pip install {kind}.") from error


def track(
    ledger: Ledger, kind: str, place: str | None = None, going_on: Callable[[], bool] = lambda: False
) -> dict[str, int]:
    """Tell a tracker all that it does not know yet, again and again while `going_on`; sig -> steps told now.

    What was told is noted in LEDGER/tracked/<kind>.json.
    """
    desk = _Desk(ledger, kind, tracker(kind, ledger.root, place))
    while True:
        last = not going_on()
        desk.round()
        if last:
            return desk.told
        time.sleep(POLL_SECONDS)


def input_is_open() -> bool:
    """Whether whoever started this process still holds its standard input."""
    ready, _, _ = select.select([sys.stdin], [], [], 0)
    return not ready or bool(os.read(sys.stdin.fileno(), 1))


@contextmanager
def following(kind: str | None, ledger: Path, said: Callable[[str], object]) -> Iterator[None]:
    """Inside, a process beside this one tells a tracker of every run. Whatever becomes of it is said, and no more."""
    if kind is None:
        yield
        return
    log = ledger / "tracked" / f"{kind}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    asked = [sys.executable, "-m", "netgain", "track", str(ledger), "--to", kind, "--follow"]
    with log.open("wb") as out, subprocess.Popen(asked, stdin=subprocess.PIPE, stdout=out, stderr=out) as child:
        try:
            yield
        finally:
            assert child.stdin is not None
            child.stdin.close()
            if (why := _ended(child)) is not None:
                said(f"tracker {kind}: {why}; the runs are not affected, and {log} says more.")


def _ended(child: "subprocess.Popen[bytes]") -> str | None:
    """Why it did not end well, after time enough to tell what is left."""
    try:
        code = child.wait(END_SECONDS)
    except subprocess.TimeoutExpired:
        child.kill()
        return f"did not end within {END_SECONDS:.0f} s and was stopped"
    return None if code == 0 else f"failed with exit code {code}"


class _Desk:
    """What a tracker was told so far, and its open runs."""

    def __init__(self, ledger: Ledger, kind: str, to: Tracker) -> None:
        self.ledger, self.to = ledger, to
        self.notes = ledger.root / "tracked" / f"{kind}.json"
        self.known: dict[str, dict[str, Any]] = {}
        if self.notes.exists():
            self.known = json.loads(self.notes.read_text(encoding="utf-8"))
        self.lines: dict[str, Line] = {}
        self.told: dict[str, int] = {}

    def round(self) -> None:
        """One look at every run."""
        for run, folder in _runs(self.ledger):
            self._look(run, folder)

    def _look(self, run: Told, folder: RunFolder) -> None:
        state = folder.state_on_disk()
        known = self.known.get(run.sig, {"step": 0, "state": None})
        if known["state"] in ("done", "failed") and known["state"] == state:
            return
        line = self.lines.get(run.sig) or self.to.begin(run, known["step"])
        self.lines[run.sig] = line
        for step, numbers in _steps(folder, known["step"]):
            line.log(step, numbers)
            self.told[run.sig] = self.told.get(run.sig, 0) + 1
            known = {**known, "step": step}
        if state == "done":
            line.end(_scores(folder), _links(folder), None)
        elif state == "failed":
            line.end({}, _links(folder), str(folder.json("failure.json").get("reason")))
        if state in ("done", "failed"):
            del self.lines[run.sig]
            self.told.setdefault(run.sig, 0)
        self.known[run.sig] = {**known, "state": state}
        write_json(self.notes, self.known)


def _runs(ledger: Ledger) -> Iterator[tuple[Told, RunFolder]]:
    """Every run of a study that has begun, once."""
    seen: set[str] = set()
    for key, study in ledger.studies().items():
        for entry in study["runs"]:
            folder = ledger.run(entry["sig"])
            if entry["sig"] not in seen and (folder.path / "spec.json").exists():
                seen.add(entry["sig"])
                settings = dict(_leaves(folder.json("spec.json").get("run", {})))
                yield Told(entry["sig"], key, entry["arm"], entry["seed"], settings, folder.path.resolve()), folder


def _leaves(value: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        for key, item in value.items():
            yield from _leaves(item, f"{name}.{key}" if name else str(key))
    elif value is not None:
        yield name, value if isinstance(value, (str, int, float, bool)) else json.dumps(value)


def _steps(folder: RunFolder, after: int) -> Iterator[tuple[int, dict[str, float]]]:
    """The steps that were not told yet; a dev loss belongs to the step that it was measured after."""
    found: dict[int, dict[str, float]] = {}
    for row in folder.metrics():
        if row["step"] <= after:
            continue
        own = found.setdefault(row["step"], {})
        if row.get("event") == "dev":
            own |= {f"dev/{name}": row[name] for name in ("loss", "kl_base") if row.get(name) is not None}
            continue
        own |= {f"train/{name}": row[name] for name in PLAIN if row.get(name) is not None}
        for term, values in row.get("terms", {}).items():
            own |= {f"terms/{term}/{name}": v for name, v in values.items() if isinstance(v, (int, float))}
    yield from sorted(found.items())


def _scores(folder: RunFolder) -> dict[str, float]:
    """checkpoint/task/metric -> the mean over items, as weighted as they are."""
    table = folder.items().select(["checkpoint", "task", "metric", "value", "weight"])
    sums: dict[str, tuple[float, float]] = {}
    for *names, value, weight in zip(*(column.to_pylist() for column in table.columns), strict=True):
        if value is not None:
            total, count = sums.get("/".join(names), (0.0, 0.0))
            sums["/".join(names)] = total + weight * value, count + weight
    return {name: total / count for name, (total, count) in sums.items() if count}


def _links(folder: RunFolder) -> dict[str, str]:
    """What a run left, by name, as file URLs."""
    path = folder.path.resolve()
    wanted = ("adapter", "adapter-best", "items.parquet", "record.json", "failure.json")
    return {"folder": path.as_uri(), **{name: (path / name).as_uri() for name in wanted if (path / name).exists()}}
