"""Execute a study on this machine: each process takes the runs that nobody holds, until none is missing."""

import multiprocessing as mp
import os
import queue
import time
from collections.abc import Iterator, Sequence
from multiprocessing.queues import Queue
from pathlib import Path
from typing import Any

from netgain.errors import UserError
from netgain.execute.events import Board, Emit, Event, Status
from netgain.execute.plan import refuse_drift
from netgain.execute.show import Live
from netgain.ledger.store import Busy, Ledger
from netgain.spec.run import Runtime
from netgain.spec.study import Planned, Study, planned

POLL_SECONDS = 1.0


def execute(study: Study, ledger: Ledger, runtime: Runtime, *, jobs: int = 1, redo: Sequence[str] = ()) -> int:
    """Run what is missing; the number of runs that failed."""
    for prefix in redo:
        folder = ledger.find(prefix)
        with folder.claim():
            folder.forget()
    refuse_drift(study, ledger)
    wanted = planned(study)
    ledger.write_study(study.key, describe(study, wanted))
    todo = [each for each in _unique(wanted) if ledger.run(each.sig).state() != "done"]
    board = Board(
        {e.sig: Status(e.arm, e.seed, e.run.method.learns, Event(e.sig, "load")) for e in todo},
        finished_before=len(wanted) - len(todo),
    )
    with Live(board, study.name) as live:
        if jobs == 1 or len(todo) <= 1:
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


def work(todo: Sequence[Planned], ledger: Ledger, runtime: Runtime, study: Study, emit: Emit) -> None:
    """Take and execute runs until none is missing; runs that another process holds are waited for."""
    from netgain.execute.run import Bench

    bench = Bench(runtime, study.folder)
    remaining = list(todo)
    while remaining:
        elsewhere: list[Planned] = []
        for each in remaining:
            folder = ledger.run(each.sig)
            try:
                with folder.claim():
                    if folder.state_on_disk() == "done":
                        emit(Event(each.sig, "done", text="done elsewhere"))
                    else:
                        bench.execute(each, folder, emit)
            except Busy:
                emit(Event(each.sig, "elsewhere"))
                elsewhere.append(each)
        remaining = elsewhere
        if remaining:
            time.sleep(POLL_SECONDS)


def _spread(todo: Sequence[Planned], ledger: Ledger, runtime: Runtime, study: Study, emit: Emit, jobs: int) -> None:
    """`jobs` processes on one ledger: its locks share out the runs."""
    context = mp.get_context("spawn")
    events: Queue[Event | str] = context.Queue()
    threads = runtime.threads or max(1, (os.cpu_count() or 1) // jobs)
    share = runtime.model_copy(update={"threads": threads})
    workers = [
        context.Process(target=_worker, args=(_rotated(todo, i), ledger.root, share, study, events), daemon=True)
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


def _worker(todo: Sequence[Planned], root: Path, runtime: Runtime, study: Study, events: "Queue[Event | str]") -> None:
    try:
        work(todo, Ledger(root), runtime, study, events.put)
    except UserError as error:
        events.put(str(error))
    finally:
        events.close()
        events.join_thread()


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
