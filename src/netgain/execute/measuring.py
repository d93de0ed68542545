"""Every task at every checkpoint of finished arms, each kept on disk as soon as it is measured."""

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace

import pyarrow.parquet as pq

from netgain.adapters._torch.packed import PackedStudent
from netgain.execute.engines import writer_of
from netgain.execute.events import Event
from netgain.execute.job import Job
from netgain.ledger.items import Item, read
from netgain.ledger.store import RunFolder
from netgain.measure.evaluate import Progress, evaluate, evaluate_arms

TIMES = "parts/seconds.json"

Checkpoints = Mapping[str, Callable[[], None]]
"""name -> how to put its tensors in place, in an order in which that works."""


def measure(
    jobs: Sequence[Job], arms: Sequence[int], checkpoints: Sequence[Checkpoints], crew: PackedStudent | None
) -> list[str]:
    """Measure jobs that share their tasks and the names of their checkpoints; the names of the parts, in order.

    `arms` are their places in the pack. A checkpoint that is the final one byte for byte is not measured twice.
    """
    parts: list[str] = []
    names = list(checkpoints[0])
    total = len(names) * len(jobs[0].run.tasks)
    for name in names:
        for own in checkpoints:
            own[name]()
        same = [name in ("best", "retained") and _same_adapter(job.folder, name) for job in jobs]
        for task in jobs[0].run.tasks:
            part = f"{name}-{task}"
            for job, copied in zip(jobs, same, strict=True):
                if copied and not job.folder.part(part).exists():
                    job.folder.write_part(part, _copied(job.folder, task, name))
            due = [k for k, job in enumerate(jobs) if not job.folder.part(part).exists()]
            if due:
                _part([jobs[k] for k in due], [arms[k] for k in due], crew, name, task, (len(parts), total))
            parts.append(part)
            for job in jobs:
                job.emit(Event(job.each.sig, "measure", len(parts) * 1000, total * 1000, text=f"measured {part}"))
    return parts


def _part(
    jobs: Sequence[Job], arms: Sequence[int], crew: PackedStudent | None, name: str, task: str, place: tuple[int, int]
) -> None:
    """One task at one checkpoint, for the jobs that lack it."""
    before, total = place

    def progress(done: int, of: int) -> None:
        now = before * 1000 + done * 1000 // max(of, 1)
        for job in jobs:
            job.emit(Event(job.each.sig, "measure", now, total * 1000, text=f"measuring {task}"))

    start = time.perf_counter()
    if crew is None:
        found = [list(evaluated(jobs[0], name, task, progress))]
    else:
        first = jobs[0]
        found = evaluate_arms(
            crew,
            arms,
            first.lm,
            {task: first.run.tasks[task]},
            template=first.template,
            checkpoint=name,
            folder=first.study_folder,
            batch=first.runtime.eval_batch,
            progress=progress,
        )
    seconds = (time.perf_counter() - start) / len(jobs)
    for job, items in zip(jobs, found, strict=True):
        job.folder.write_part(f"{name}-{task}", items)
        _note_time(job.folder, f"{name}-{task}", seconds)


def evaluated(job: Job, name: str, task: str, progress: Progress = lambda done, total: None) -> Iterator[Item]:
    """One task on the model as it is now."""
    return evaluate(
        job.lm,
        {task: job.run.tasks[task]},
        template=job.template,
        checkpoint=name,
        folder=job.study_folder,
        batch=job.runtime.eval_batch,
        progress=progress,
        writer=writer_of(job, name),
    )


def _same_adapter(folder: RunFolder, name: str) -> bool:
    final, other = folder.path / "adapter", folder.path / f"adapter-{name}"
    return other.is_dir() and all(
        (other / each.name).exists() and (other / each.name).read_bytes() == each.read_bytes()
        for each in sorted(final.iterdir())
    )


def _copied(folder: RunFolder, task: str, name: str) -> Iterator[Item]:
    for item in read(pq.read_table(folder.part(f"final-{task}"))):
        yield replace(item, checkpoint=name)


def _note_time(folder: RunFolder, part: str, seconds: float) -> None:
    folder.write(TIMES, {**times(folder), part: round(seconds, 3)})


def times(folder: RunFolder) -> dict[str, float]:
    """Seconds that each part took; a part that a pack measured counts its share."""
    path = folder.path / TIMES
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
