"""Execute a study on other machines: a driver hands bundles of runs to a pool of workers and watches the ledger.

A bundle is made of runs that can train as one pack, so that they share a base and a teacher; a worker does with it what
a process on this machine would. All that the driver knows of a run's progress it reads from the ledger, so that a
driver, too, can be killed and started again.
"""

import json
import tempfile
import time
from collections.abc import Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from hashlib import sha256
from pathlib import Path
from typing import Any, Protocol

from netgain.errors import UserError
from netgain.execute.events import Emit, Event
from netgain.ledger.mirror import Mirror
from netgain.ledger.store import Ledger, RunFolder
from netgain.spec.run import Runtime
from netgain.spec.study import Planned, Study

POLL_SECONDS = 0.5
TRIES = 3
"""How often a bundle is handed out again after its worker fell silent."""


@dataclass(frozen=True)
class Bundle:
    """Runs that one worker does, and where. With a mirror the worker has a ledger of its own and copies what it
    finishes there; without one it sees `root` as the driver does."""

    runs: tuple[Planned, ...]
    root: Path
    runtime: Runtime
    study: Study
    mirror: str | None = None


@dataclass(frozen=True)
class Where:
    """Which machines do the work: these never change what a run is."""

    on: str = "local"
    """`local`, `ray`, `ray://HOST:PORT`, `slurm` or `slurm:partition=gpu,minutes=240`."""
    mirror: str | None = None
    """A URL for finished runs, where the workers do not see the ledger's folder."""
    silence: float | None = 1800.0
    """Seconds without a sign of life after which a run is taken from its worker."""


HERE = Where()


class Pool(Protocol):
    """Somewhere that bundles can be done."""

    def slots(self) -> int:
        """How many bundles it does at a time."""
        ...

    def submit(self, bundles: Sequence[Bundle]) -> list[Any]:
        """Hand bundles over; a handle for each."""
        ...

    def ended(self, handles: Collection[Any]) -> list[tuple[Any, str]]:
        """Handles whose bundle is over, after a moment's wait, each with what `perform` returned or why it was lost."""
        ...

    def cancel(self, handle: Any) -> None:
        """Stop a bundle, by force."""
        ...

    def close(self) -> None:
        """Give the pool back."""
        ...


def send_out(todo: Sequence[Planned], study: Study, ledger: Ledger, runtime: Runtime, where: Where, emit: Emit) -> None:
    """Run what is missing on other machines."""
    whole = Bundle((), ledger.root.absolute(), runtime, study, where.mirror)
    drive(todo, whole, pool_of(where.on, runtime, ledger), emit, where.silence)


def pool_of(on: str, runtime: Runtime, ledger: Ledger) -> Pool:
    """`ray`, `ray://HOST:PORT`, or `slurm` with its options (`slurm:partition=gpu,minutes=240`)."""
    if on == "ray" or on.startswith("ray://"):
        from netgain.execute.ray import RayPool

        return RayPool(None if on == "ray" else on, runtime)
    kind, _, options = on.partition(":")
    if kind in ("slurm", "slurm-local"):
        from netgain.execute.slurm import SlurmPool

        return SlurmPool(kind, options, ledger.root / "slurm")
    raise UserError(f'--on takes local, ray, ray://HOST:PORT or slurm, not "{on}".')


def perform(bundle: Bundle) -> str:
    """What a worker does with a bundle; empty, or the sentence that says why it could not."""
    from netgain.execute.local import work

    if bundle.mirror is None:
        ledger, mirror = Ledger(bundle.root), None
    else:
        ledger, mirror = Ledger(_scratch(bundle.mirror)), Mirror(bundle.mirror)
        for sig in {*(need for each in bundle.runs for need in each.needs), *(each.sig for each in bundle.runs)}:
            mirror.pull(ledger.run(sig))
    try:
        work(bundle.runs, ledger, bundle.runtime, bundle.study, lambda _: None)
    except UserError as error:
        return str(error)
    finally:
        if mirror:
            for each in bundle.runs:
                mirror.push(ledger.run(each.sig))
    return ""


def _scratch(url: str) -> Path:
    """A worker's own ledger: the same one for all that it does under this mirror."""
    return Path(tempfile.gettempdir()) / f"netgain-{sha256(url.encode()).hexdigest()[:16]}"


def drive(todo: Sequence[Planned], whole: Bundle, pool: Pool, emit: Emit, silence: float | None = None) -> None:
    """Hand out what is missing as soon as what it needs is over, until nothing is missing.

    A bundle whose runs show no sign of life for `silence` seconds is taken from its worker and handed out again.
    """
    ledger = Ledger(whole.root)
    mirror = None if whole.mirror is None else Mirror(whole.mirror)
    watches = {each.sig: Watch(ledger.run(each.sig), each.run.optim.steps, emit) for each in todo}
    waiting, flying, tries = list(todo), dict[Any, Bundle](), dict[str, int]()
    try:
        while waiting or flying:
            unfinished = {each.sig for each in (*waiting, *(run for bundle in flying.values() for run in bundle.runs))}
            ready = [each for each in waiting if unfinished.isdisjoint(each.needs)]
            waiting = [each for each in waiting if not unfinished.isdisjoint(each.needs)]
            bundles = [replace(whole, runs=tuple(runs)) for runs in bundled(ready, pool.slots())]
            flying |= dict(zip(pool.submit(bundles), bundles, strict=True)) if bundles else {}
            for handle, trouble in pool.ended(flying):
                for each in flying.pop(handle).runs:
                    if mirror:
                        mirror.pull(ledger.run(each.sig))
                    watches[each.sig].look()
                if trouble:
                    raise UserError(trouble)
            for bundle in flying.values():
                for each in bundle.runs:
                    watches[each.sig].look()
            if silence is not None and mirror is None:
                waiting += _reclaimed(flying, watches, silence, pool, tries)
    finally:
        for handle in flying:
            pool.cancel(handle)
        pool.close()


def _reclaimed(
    flying: dict[Any, Bundle], watches: dict[str, "Watch"], silence: float, pool: Pool, tries: dict[str, int]
) -> list[Planned]:
    """The runs of bundles that fell silent, taken from their workers. One that waits for a worker is not silent."""
    back: list[Planned] = []
    for handle, bundle in list(flying.items()):
        own = [watches[each.sig] for each in bundle.runs]
        if not any(watch.held() for watch in own):
            for watch in own:
                watch.stir()
        if min(watch.quiet() for watch in own) < silence:
            continue
        first = bundle.runs[0].sig
        tries[first] = tries.get(first, 0) + 1
        if tries[first] > TRIES:
            raise UserError(
                f"run {first[:8]}: its worker fell silent {TRIES + 1} times; see its log.txt in the ledger."
            )
        pool.cancel(handle)
        del flying[handle]
        for watch in own:
            watch.stir()
        back += bundle.runs
    return back


def bundled(ready: Sequence[Planned], slots: int) -> list[list[Planned]]:
    """Runs that can train as one pack stay together, cut so that every slot has its share.

    size = ceil(n / slots) of a group of n; a run that trains alone is a bundle alone.
    """
    from netgain.execute.pack import LIMIT, pack_key

    groups: dict[str, list[Planned]] = {}
    for each in ready:
        groups.setdefault(pack_key(each.run) or each.sig, []).append(each)
    found: list[list[Planned]] = []
    for group in groups.values():
        size = min(LIMIT, -(-len(group) // max(1, slots)))
        found += [group[start : start + size] for start in range(0, len(group), size)]
    return found


@dataclass
class Watch:
    """One run's progress as its folder shows it."""

    folder: RunFolder
    steps: int
    emit: Emit
    seen: tuple[tuple[str, int], ...] = ()
    since: float = field(default_factory=time.monotonic)
    over: bool = False

    def look(self) -> None:
        """Tell what is new in the folder."""
        if self.over:
            return
        now = self._marks()
        if now != self.seen:
            self.seen, self.since = now, time.monotonic()
            self._tell()

    def held(self) -> bool:
        """Whether somebody is at work on the run, or was stopped at it."""
        return not self.over and self.folder.ledger.locked(self.folder.sig)

    def stir(self) -> None:
        """Count silence from now."""
        self.since = time.monotonic()

    def quiet(self) -> float:
        """Seconds since anything in the folder changed; 0 for a run that is over."""
        return 0.0 if self.over else time.monotonic() - self.since

    def _marks(self) -> tuple[tuple[str, int], ...]:
        marks: list[tuple[str, int]] = []
        with suppress(FileNotFoundError):  # a file may go between listing and looking
            marks = [(p.name, p.stat().st_mtime_ns) for p in sorted(self.folder.path.rglob("*"))]
        return tuple(marks)

    def _tell(self) -> None:
        sig, state = self.folder.sig, self.folder.state_on_disk()
        if state == "done":
            self.over = True
            record = self.folder.record()
            spent = record.get("train_seconds", 0.0) + record.get("measure_seconds", 0.0)
            self.emit(Event(sig, "done", text=f"done in {spent:.0f} s"))
        elif state == "failed":
            self.over = True
            self.emit(Event(sig, "failed", text=self.folder.json("failure.json")["reason"]))
        elif last := _last_step(self.folder):
            self.emit(Event(sig, "train", done=last["step"], total=self.steps, loss=last.get("loss")))
        else:
            self.emit(Event(sig, "load", text="begun"))


def _last_step(folder: RunFolder) -> dict[str, Any] | None:
    """The last whole row of the run's metrics that is a step."""
    path = folder.path / "metrics.jsonl"
    if not path.exists():
        return None
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - 65536))
        lines = file.read().splitlines(keepends=True)
    for line in reversed(lines):
        if line.endswith(b"\n"):
            with suppress(json.JSONDecodeError):  # the first line of the window may be cut
                row = json.loads(line)
                if "event" not in row:
                    return row
    return None
