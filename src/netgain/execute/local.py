"""Execute a study on this machine: each process takes the runs that nobody holds, until none is missing."""

import gc
import multiprocessing as mp
import os
import queue
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from multiprocessing.queues import Queue
from pathlib import Path
from typing import TYPE_CHECKING, Any

from netgain.errors import UserError
from netgain.execute import ranks
from netgain.execute.cluster import HERE, Where, send_out
from netgain.execute.disjoint import refuse_shared_problems
from netgain.execute.events import Board, Emit, Event, Status
from netgain.execute.plan import refuse_drift
from netgain.execute.show import Live
from netgain.ledger.claims import Busy, Lost, Vigil
from netgain.ledger.store import Ledger
from netgain.spec.run import Run, Runtime
from netgain.spec.study import Planned, Study, planned

if TYPE_CHECKING:
    from netgain.execute.pack import Member
    from netgain.execute.run import Bench

POLL_SECONDS = 1.0


def execute(
    study: Study, ledger: Ledger, runtime: Runtime, *, jobs: int = 1, redo: Sequence[str] = (), where: Where = HERE
) -> int:
    """Run what is missing; the number of runs that failed."""
    ranks.refuse_sharing(jobs, where.on)
    if runtime.shard:
        left = [each for each in planned(study) if ledger.run(each.sig).state_on_disk() != "done"]
        ranks.refuse_unshardable(left, runtime)
    with ranks.joined(runtime) as own:
        if ranks.rank():
            from netgain.execute.run import Bench

            ranks.follow(planned(study), ledger, Bench(own, study.folder))
            return 0
        failed = _execute(study, ledger, own, jobs, redo, where)
        ranks.tell(None)  # not after an error: the others may stand in the middle of a step, and torchrun ends them
        return failed


def _execute(study: Study, ledger: Ledger, runtime: Runtime, jobs: int, redo: Sequence[str], where: Where) -> int:
    for prefix in redo:
        folder = ledger.find(prefix)
        try:
            with folder.claim():
                folder.forget()
        except Busy:
            raise UserError(f"--redo {prefix}: another process is at work on this run; end it first.") from None
    refuse_drift(study, ledger)
    refuse_shared_problems(study)
    wanted = planned(study)
    ledger.write_study(study.key, describe(study, wanted))
    todo = [each for each in _unique(wanted) if ledger.run(each.sig).state() != "done"]
    board = Board(
        {e.sig: Status(e.arm, e.seed, e.run.method.learns, Event(e.sig, "load")) for e in todo},
        finished_before=len(wanted) - len(todo),
    )
    with Live(board, study.key) as live:
        if where.on != HERE.on:
            send_out(todo, study, ledger, runtime, where, live.on)
        elif jobs == 1 or len(todo) <= 1:
            work(todo, ledger, runtime, study, live.on)
        else:
            _spread(todo, ledger, runtime, study, live.on, min(jobs, len(todo)))
    return board.count("failed")


def describe(study: Study, wanted: Sequence[Planned]) -> dict[str, Any]:
    """What the ledger notes of a study: its file's content and which run is which arm."""
    return {
        "name": study.name,
        "scale": study.scale,
        "question": study.question,
        "study": study.to_dict(),
        "runs": [{"sig": each.sig, "arm": each.arm, "seed": each.seed} for each in wanted],
    }


def work(todo: Sequence[Planned], ledger: Ledger, runtime: Runtime, study: Study, emit: Emit, workers: int = 1) -> None:
    """Take and execute runs, a pack at a time, until none is missing; runs that another process holds are waited for.

    A run begins when those that it needs are over; if one of them has no result, it is recorded as failed for that.
    With several workers a pack leaves the others their share of the runs that it could hold.
    """
    with lasting():
        from netgain.execute.pack import pack_key, rows_key
        from netgain.execute.run import Bench

    bench, vigil = Bench(runtime, study.folder), Vigil(runtime.claim_seconds)
    keys = {each.sig: pack_key(each.run) for each in todo}
    remaining = _together(todo, rows_key)
    while remaining:
        waiting = {each.sig for each in remaining}
        ready = [each for each in remaining if waiting.isdisjoint(each.needs)]
        later = [each for each in remaining if not waiting.isdisjoint(each.needs)]
        asked, elsewhere = len(ready), list[Planned]()
        while ready:
            mates = _mates(ready, keys, ledger)
            members = mates[: bench.room(mates[: -(-len(mates) // workers)])]
            taken = {each.sig for each in members}
            ready = [each for each in ready if each.sig not in taken]
            elsewhere += _take(members, ledger, bench, vigil, emit)
        remaining = [*elsewhere, *later]
        if len(elsewhere) == asked:
            time.sleep(POLL_SECONDS)


@contextmanager
def lasting() -> Iterator[None]:
    """Load modules that stay to the end, without looking for garbage among them: not now, not later, not at exit. The
    half million objects of a deep-learning stack are looked through a dozen times otherwise, for two seconds."""
    gc.disable()
    try:
        yield
    finally:
        if "duckdb" not in sys.modules:  # it says at exit that whatever is frozen has leaked
            gc.freeze()
        gc.enable()


def _together(todo: Sequence[Planned], key: Callable[[Run], str]) -> list[Planned]:
    """Runs of one key behind one another, in the order of their first."""
    found: dict[str, list[Planned]] = {}
    for each in todo:
        found.setdefault(key(each.run), []).append(each)
    return [each for group in found.values() for each in group]


def _mates(remaining: Sequence[Planned], keys: Mapping[str, str | None], ledger: Ledger) -> list[Planned]:
    """The first of the runs, and those that could go on with it."""
    from netgain.execute.pack import alike

    first = remaining[0]
    same = [each for each in remaining if each is first or (keys[each.sig] and keys[each.sig] == keys[first.sig])]
    return [each for each, _ in alike([(each, ledger.run(each.sig)) for each in same])[0]]


def _take(members: Sequence[Planned], ledger: Ledger, bench: "Bench", vigil: Vigil, emit: Emit) -> list[Planned]:
    """Do what can be held of these runs; those that another process holds, or has taken over meanwhile."""
    from netgain.execute.pack import alike

    elsewhere: list[Planned] = []
    held: list[Member] = []
    with ExitStack() as locks:
        for each in members:
            folder = ledger.run(each.sig)
            try:
                locks.enter_context(folder.claim(vigil))
            except Busy:
                emit(Event(each.sig, "elsewhere"))
                elsewhere.append(each)
                continue
            if folder.state_on_disk() == "done":
                emit(Event(each.sig, "done", text="done elsewhere"))
            elif lacking := _lacking(each, ledger):
                folder.fail(lacking)
                emit(Event(each.sig, "failed", text=lacking))
            else:
                held.append((each, folder))
        for pack in alike(held):
            try:
                bench.execute(pack, emit)
            except Lost:
                ranks.refuse_loss()
                for each, _ in pack:
                    emit(Event(each.sig, "elsewhere", text="taken over by another process"))
                    elsewhere.append(each)
    return elsewhere


def _lacking(each: Planned, ledger: Ledger) -> str:
    """Why a run cannot be done: the first of the runs that it needs which has no result. Empty when all have."""
    for need in each.needs:
        folder = ledger.run(need)
        state = folder.state_on_disk()
        if state != "done":
            why = f"failed ({folder.json('failure.json')['reason']})" if state == "failed" else f"is {state}"
            return f"skipped: it needs run {need[:8]}, which {why}"
    return ""


def _spread(todo: Sequence[Planned], ledger: Ledger, runtime: Runtime, study: Study, emit: Emit, jobs: int) -> None:
    """`jobs` processes on one ledger: its locks share out the runs."""
    context = mp.get_context("spawn")
    events: Queue[Event | str] = context.Queue()
    threads = runtime.threads or max(1, (os.cpu_count() or 1) // jobs)
    share = runtime.model_copy(update={"threads": threads})
    workers = [
        context.Process(
            target=_worker,
            args=(_rotated(todo, i * len(todo) // jobs), ledger.root, share, study, events, jobs),
            daemon=True,
        )
        for i in range(jobs)
    ]
    for worker in workers:
        worker.start()
    try:
        for message in _messages(events, workers):
            if isinstance(message, str):
                raise UserError(message)
            if message.kind != "elsewhere":
                emit(message)
    finally:
        for worker in workers:
            worker.terminate()
            worker.join()
    if any(worker.exitcode for worker in workers):
        raise UserError("a worker process ended early; run the same command to continue.")


def _worker(
    todo: Sequence[Planned], root: Path, runtime: Runtime, study: Study, events: "Queue[Event | str]", workers: int
) -> None:
    threading.Thread(target=_end_with_parent, daemon=True).start()
    try:
        work(todo, Ledger(root), runtime, study, events.put, workers)
    except UserError as error:
        events.put(str(error))
    finally:
        events.close()
        events.join_thread()


def _end_with_parent() -> None:
    """A launcher that is killed leaves nobody behind who works on without one."""
    parent = mp.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def _messages(events: "Queue[Event | str]", workers: Sequence[Any]) -> Iterator[Event | str]:
    while True:
        try:
            yield events.get(timeout=0.2)
        except queue.Empty:
            if not any(worker.is_alive() for worker in workers):
                return


def _rotated(todo: Sequence[Planned], by: int) -> list[Planned]:
    """Every worker sees all runs, each beginning at another one, so that they seldom meet."""
    return [*todo[by:], *todo[:by]]


def _unique(wanted: Sequence[Planned]) -> list[Planned]:
    return list({each.sig: each for each in wanted}.values())
