"""One run, from its spec to its sealed folder: prepare, train, measure, record. Killed anywhere, it continues."""

import json
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import torch
from safetensors import SafetensorError

from netgain.adapters.method import Adapter, Method
from netgain.data.chat import Encoded, Template
from netgain.data.view import Autoregressive, View
from netgain.errors import UserError
from netgain.execute import env
from netgain.execute.events import Emit, Event
from netgain.execute.further import further, guarded
from netgain.execute.prepare import Prepared, order_of, prepare, template_of
from netgain.ledger.files import storage_error
from netgain.ledger.items import Item, read
from netgain.ledger.store import RunFolder
from netgain.measure.evaluate import Progress, check, evaluate
from netgain.models.lm import LM
from netgain.models.load import load
from netgain.objectives.objective import NoGradient
from netgain.spec.identity import FORMAT, stored, torch_stream
from netgain.spec.run import Run, Runtime
from netgain.spec.study import Planned
from netgain.tasks._base import tasks_of
from netgain.training import checkpoint
from netgain.training.arms import Arm, Solo, base_reference
from netgain.training.loop import Diverged, Training, train
from netgain.training.probes import probe
from netgain.training.stop import watch

STATE = "checkpoint/state.safetensors"
TIMES = "parts/seconds.json"


def device_of(runtime: Runtime) -> str:
    """The device that `auto` means here."""
    if runtime.device != "auto":
        return runtime.device
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


@dataclass
class Job:
    """A run at work: its base model, how it is rendered, where its files go, whom it tells."""

    each: Planned
    folder: RunFolder
    lm: LM
    template: Template
    runtime: Runtime
    study_folder: Path | None
    emit: Emit

    @property
    def run(self) -> Run:
        return self.each.run


class Bench:
    """One process's workplace: the base models that it has loaded, and the runs that it does on them."""

    def __init__(self, runtime: Runtime, study_folder: Path | None) -> None:
        self.runtime = runtime
        self.study_folder = study_folder
        self.models: dict[str, LM] = {}
        if runtime.threads:
            torch.set_num_threads(runtime.threads)

    def execute(self, each: Planned, folder: RunFolder, emit: Emit) -> None:
        """Do a run whose lock is held; a run that cannot succeed is recorded as failed."""
        if folder.state_on_disk() == "failed" and folder.json("failure.json").get("diverged"):
            emit(
                Event(each.sig, "failed", text=folder.json("failure.json")["reason"] + " (before; --redo tries again)")
            )
            return
        emit(Event(each.sig, "load", text="loading"))
        lm = self._model(each.run)
        job = Job(each, folder, lm, template_of(each.run.model, lm.tok), self.runtime, self.study_folder, emit)
        where = env.describe(device_of(self.runtime), torch.get_num_threads(), self.study_folder)
        folder.start({"format": FORMAT, "run": stored(each.run)}, where)
        try:
            said = perform(job)
        except Diverged as error:
            folder.fail(str(error), {"diverged": True, "step": error.step})
            emit(Event(each.sig, "failed", text=str(error)))
            return
        except NoGradient as error:
            folder.fail(str(error), {})
            raise
        except UserError:
            raise
        except OSError as error:
            raise storage_error(folder.path, error) from error
        except SafetensorError as error:
            raise UserError(f"{folder.path}: an adapter cannot be written or read: {error}.") from error
        except Exception as error:
            folder.fail(f"{type(error).__name__}: {error}", {"traceback": traceback.format_exc()})
            raise
        emit(Event(each.sig, "done", text=said))

    def _model(self, run: Run) -> LM:
        """The base model of a run; models of other runs make room for it."""
        key = run.model.model_dump_json()
        if key not in self.models:
            self.models.clear()
            self.models[key] = load(run.model, device_of(self.runtime))
        return self.models[key]


def perform(job: Job) -> str:
    """Train if the method learns, measure, seal; one line about how it went."""
    method = job.run.method
    assert isinstance(method, Method)
    check(job.run.tasks, job.template, job.study_folder)
    adapter = method.attach(job.lm, torch_stream(job.run.seed, "init"))
    try:
        if not method.learns:
            items, record = measure(job, {"base": lambda: None}), {"steps": 0}
        else:
            arm, training, summary = learn(job, adapter)
            record = _training_record(arm, training, adapter)
            job.folder.write("data.json", summary)
            adapter.save(job.folder.path / "adapter")
            items = measure(job, _checkpoints(job, adapter, arm, training))
    finally:
        adapter.remove()
    job.folder.seal_items(items)
    seconds = _times(job.folder)
    cards = {name: task.card(job.study_folder).to_json() for name, task in tasks_of(job.run.tasks).items()}
    job.folder.finish(
        {**record, "template": job.template.fingerprint, "tasks": cards, "measure_seconds": sum(seconds.values())}
    )
    if not method.learns:
        return f"measured in {sum(seconds.values()):.0f} s"
    return f"trained {record['steps']} steps in {record['train_seconds']:.0f} s, dev loss {_dev(record)}"


def learn(job: Job, adapter: Adapter) -> tuple[Arm, Training, dict[str, Any]]:
    """Take the steps that are left, writing metrics, the best adapter and checkpoints on the way."""
    run, folder = job.run, job.folder
    prepared = prepare(run, job.template, job.study_folder)
    adapter.fingerprint()
    arm = Arm(job.each.sig, adapter, run.objective, run.optim)
    student = Solo(adapter)
    dev = list(dev_views(run, prepared, job.lm))
    training = Training(
        student,
        [arm],
        views(run, prepared, job.lm),
        run.seed,
        job.runtime,
        references={"base": base_reference(student)},
        dev=dev,
    )
    state = folder.path / STATE
    if state.exists():
        checkpoint.load(training, state)
    folder.metrics_up_to(training.step)
    best = folder.path / "adapter-best"
    records = probe(train(training), training, job.runtime.probe_every)
    records = watch(records, training, dev, run.dev, lambda arm: arm.adapter.save(best))
    records = guarded(records, training, adapter, run, folder, lambda task: list(_evaluated(job, "look", task)))
    for record in checkpoint.keep(records, training, state, job.runtime.checkpoint_seconds):
        folder.append_metrics(record.rows())
        own = record.arms[0]
        rate = record.tokens / record.seconds if record.seconds else None
        loss = None if own is None else own.loss
        job.emit(Event(job.each.sig, "train", record.step, training.steps, loss, rate))
    return arm, training, prepared.summary


def views(run: Run, prepared: Prepared, lm: LM) -> Callable[[int], View]:
    """step k -> its View: rows by the stream "order", corruption by the stream "corruption" of that step."""
    learned = prepared.train.rows
    lengths = [len(row.ids) for row in learned]
    order = order_of(run, len(learned))
    family = Autoregressive()

    def view(k: int) -> View:
        chosen = order.step(k, lengths)
        rows = [learned[i] for i in chosen]
        return family.view(rows, lm.pad_id, torch_stream(run.seed, f"corruption/{k}"), chosen)

    return view


def dev_views(run: Run, prepared: Prepared, lm: LM) -> Iterator[View]:
    """The dev rows in batches of like length."""
    rows: list[Encoded] = sorted(prepared.dev, key=lambda row: len(row.ids))
    for start in range(0, len(rows), run.optim.batch):
        batch = rows[start : start + run.optim.batch]
        yield Autoregressive().view(batch, lm.pad_id, torch_stream(run.seed, f"dev/{start}"))


def _checkpoints(job: Job, adapter: Adapter, arm: Arm, training: Training) -> dict[str, Callable[[], None]]:
    """What is measured, and how to get there: the final tensors first, since they are in place."""
    found: dict[str, Callable[[], None]] = {"final": lambda: None}
    if job.run.dev.every is not None:
        final_is_best = arm.best.step == training.step
        found["best"] = (lambda: None) if final_is_best else lambda: adapter.load(job.folder.path / "adapter-best")
    return found | further(job.run, job.folder, adapter)


def measure(job: Job, checkpoints: dict[str, Callable[[], None]]) -> list[str]:
    """Every task at every checkpoint, each kept as soon as it is measured; the names of the parts, in order."""
    parts: list[str] = []
    total = len(checkpoints) * len(job.run.tasks)
    for name, go in checkpoints.items():
        go()
        same = name in ("best", "retained") and _same_adapter(job.folder, name)
        for task in job.run.tasks:
            part = f"{name}-{task}"
            if not job.folder.part(part).exists():
                start = time.perf_counter()
                items = _copied(job.folder, task, name) if same else _measured(job, name, task, len(parts), total)
                job.folder.write_part(part, items)
                _note_time(job.folder, part, time.perf_counter() - start)
            parts.append(part)
            job.emit(Event(job.each.sig, "measure", len(parts) * 1000, total * 1000, text=f"measured {part}"))
    return parts


def _measured(job: Job, name: str, task: str, before: int, total: int) -> list[Item]:
    def progress(done: int, of: int) -> None:
        job.emit(
            Event(
                job.each.sig,
                "measure",
                before * 1000 + done * 1000 // max(of, 1),
                total * 1000,
                text=f"measuring {task}",
            )
        )

    return list(_evaluated(job, name, task, progress))


def _evaluated(job: Job, name: str, task: str, progress: Progress = lambda done, total: None) -> Iterator[Item]:
    """One task on the model as it is now."""
    return evaluate(
        job.lm,
        {task: job.run.tasks[task]},
        template=job.template,
        checkpoint=name,
        folder=job.study_folder,
        batch=job.runtime.eval_batch,
        progress=progress,
    )


def _same_adapter(folder: RunFolder, name: str) -> bool:
    """Is that adapter the final one, byte for byte? Then nothing is measured twice."""
    final, other = folder.path / "adapter", folder.path / f"adapter-{name}"
    return other.is_dir() and all(
        (other / each.name).exists() and (other / each.name).read_bytes() == each.read_bytes()
        for each in sorted(final.iterdir())
    )


def _copied(folder: RunFolder, task: str, name: str) -> Iterator[Item]:
    for item in read(pq.read_table(folder.part(f"final-{task}"))):
        yield Item(**{**asdict(item), "checkpoint": name})


def _note_time(folder: RunFolder, part: str, seconds: float) -> None:
    folder.write(TIMES, {**_times(folder), part: round(seconds, 3)})


def _times(folder: RunFolder) -> dict[str, float]:
    path = folder.path / TIMES
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}


def _training_record(arm: Arm, training: Training, adapter: Adapter) -> dict[str, Any]:
    return {
        "steps": training.step,
        "stopped_early": arm.ended is not None,
        "tokens": training.tokens,
        "train_seconds": round(training.seconds, 3),
        "best_step": arm.best.step or None,
        "best_dev_loss": arm.best.loss if arm.best.step else None,
        "initial_adapter": adapter.fingerprint(),
        "trainable": adapter.count,
    }


def _dev(record: dict[str, Any]) -> str:
    loss = record["best_dev_loss"]
    return "not measured" if loss is None else f"{loss:.3f} at step {record['best_step']}"
