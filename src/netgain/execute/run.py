"""Runs, from their specs to their sealed folders: prepare, train, measure, record. Killed anywhere, they continue.

Runs that differ only in objective and optimiser are done as one pack; each is still its own run, with its own folder.
"""

import json
import traceback
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError

from netgain.adapters._torch.packed import PackedStudent, Unpackable
from netgain.adapters.method import Adapter, Built, Method, Resting
from netgain.adapters.packed import pack
from netgain.data.view import View
from netgain.errors import UserError
from netgain.execute import env, ranks
from netgain.execute.built import built, dev_views
from netgain.execute.cost import cost
from netgain.execute.energy import Meter
from netgain.execute.events import Emit, Event, Logged
from netgain.execute.further import further, guarded
from netgain.execute.halved import halvings, noted, remembered
from netgain.execute.job import Job
from netgain.execute.measuring import Checkpoints, evaluated, measure, times
from netgain.execute.memory import Spent, arm_bytes, arms_that_fit
from netgain.execute.pack import LIMIT, Member, pack_key, rows_key
from netgain.execute.prepare import Prepared, order_of, prepare, template_of
from netgain.execute.prompts import kept
from netgain.execute.reach import reach
from netgain.execute.rollouts import bench_of, judging
from netgain.execute.saw import saw
from netgain.execute.strip import strips
from netgain.execute.teachers import references_for
from netgain.ledger.claims import Lost
from netgain.ledger.files import storage_error
from netgain.ledger.store import RunFolder
from netgain.measure.batches import free_memory, out_of_memory, unyielding
from netgain.measure.evaluate import check
from netgain.models.lm import LM
from netgain.objectives.objective import NoGradient, by_source
from netgain.spec.identity import FORMAT, stored, torch_stream
from netgain.spec.run import Run, Runtime
from netgain.spec.study import Planned
from netgain.tasks._base import tasks_of
from netgain.training import checkpoint
from netgain.training.arms import Arm, Reference, Solo, Student
from netgain.training.loop import Diverged, StepRecord, Training, train
from netgain.training.probes import probe
from netgain.training.stop import watch


def device_of(runtime: Runtime) -> str:
    """The device that `auto` means here."""
    if runtime.device != "auto":
        return runtime.device
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def gpu_of(device: str) -> str | None:
    """What nvidia-smi calls the device; None for one that it does not know."""
    if not device.startswith("cuda"):
        return None
    return f"GPU-{torch.cuda.get_device_properties(torch.device(device)).uuid}"


class Bench:
    """One process's workplace: the base model and the data that it has loaded, and the runs that it does on them."""

    def __init__(self, runtime: Runtime, study_folder: Path | None) -> None:
        self.runtime = runtime
        self.study_folder = study_folder
        self._models: dict[str, LM] = {}
        self._data: dict[str, Prepared] = {}
        self._arm_bytes: dict[str, int | None] = {}
        self._costs: dict[str, dict[str, Any]] = {}
        if runtime.threads:
            torch.set_num_threads(runtime.threads)

    def room(self, members: Sequence[Planned]) -> int:
        """How many of these runs, which could be one pack, to do at once."""
        asked, run = self.runtime.pack, members[0].run
        key = pack_key(run)
        if asked == "off" or key is None or len(members) == 1:
            return 1
        if asked != "auto":
            return min(asked, len(members))
        if key not in self._arm_bytes:
            self._arm_bytes[key] = self._probed(run)
        each = self._arm_bytes[key]
        return 1 if each is None else max(1, min(LIMIT, len(members), arms_that_fit(self._model(run), each)))

    def _probed(self, run: Run) -> int | None:
        """Bytes that an arm of this run takes; None where the network cannot keep arms apart."""
        lm = self._model(run)
        rows = sorted(self._prepared(run).train.rows, key=lambda row: -len(row.ids))
        batch = rows[: min(run.optim.batch, self.runtime.micro_batch or run.optim.batch)]
        try:
            view = lm.family.view(batch, lm.pad_id, torch.Generator())
            return arm_bytes(lm, run.method, view)
        except Unpackable:
            return None

    def execute(self, members: Sequence[Member], emit: Emit) -> None:
        """Do runs whose locks are held, as one pack; a run that cannot succeed is recorded as failed.

        A pack that memory does not hold is halved; one with a term that has no gradient is taken apart to find it.
        """
        spent = Spent(device=device_of(self.runtime))
        fresh = [(each, folder) for each, folder in members if not _failed_before(each, folder, emit)]
        if not fresh:
            return
        if self.runtime.shard:
            ranks.gathered([each.sig for each, _ in fresh])
        where = env.describe(device_of(self.runtime), torch.get_num_threads(), self.study_folder)
        jobs = [self._job(each, folder, where, emit) for each, folder in fresh]
        spent.runs = len(jobs)
        with Meter(gpu_of(device_of(self.runtime))) as meter:
            for job in jobs:
                job.energy = partial(meter.share, len(jobs))
                job.spent = spent
            parts = self._attempt(jobs)
        if parts > 1:
            free_memory()
            size = -(-len(jobs) // parts)
            for start in range(0, len(fresh), size):
                self.execute(fresh[start : start + size], emit)

    def _attempt(self, jobs: Sequence[Job]) -> int:
        """1 when the jobs are done, or the number of parts that they must be done in. The error is dropped here, since
        its traceback holds the tensors."""
        first = jobs[0]
        try:
            with unyielding(self.runtime.shard):
                self._perform(jobs)
        except NoGradient as error:
            if len(jobs) > 1:
                return len(jobs)
            first.folder.fail(str(error), {})
            raise
        except (UserError, Lost):
            raise
        except OSError as error:
            raise storage_error(first.folder.path, error) from error
        except SafetensorError as error:
            if "os error" in str(error):
                raise storage_error(first.folder.path, error) from error
            raise UserError(f"{first.folder.path}: an adapter cannot be written or read: {error}.") from error
        except Exception as error:
            short = isinstance(error, (RuntimeError, MemoryError)) and out_of_memory(error)
            if short and len(jobs) > 1:
                return 2
            for job in jobs:
                job.folder.fail(f"{type(error).__name__}: {error}", {"traceback": traceback.format_exc()})
            if short:
                words = "memory does not hold a single row of this run; lower data.max_len, or take a smaller model"
                raise UserError(f"{first.folder.path}: {words} ({type(error).__name__}).") from error
            raise
        return 1

    def _perform(self, jobs: Sequence[Job]) -> None:
        method = jobs[0].run.method
        assert isinstance(method, Method)
        check(jobs[0].run.tasks, jobs[0].template, self.study_folder)
        if isinstance(method, Built):
            _built(jobs[0], method, self._prepared)
            return
        if not method.learns:
            _untouched(jobs[0], method)
            return
        if not self.runtime.shard:
            ranks.tell([job.each.sig for job in jobs])
        perform(jobs, method, self._prepared(jobs[0].run))

    def go_along(self, members: Sequence[Member]) -> None:
        """Compute this process's part of runs that another process does: of their steps, of all where it is sharded."""
        if self.runtime.shard:
            self.execute(members, lambda _: None)
            return
        jobs = [self._job(each, folder, {}, lambda _: None) for each, folder in members]
        method = jobs[0].run.method
        assert isinstance(method, Method)
        student, adapters = _attached(jobs, method)
        try:
            learn(jobs, student, adapters, self._prepared(jobs[0].run))
        finally:
            adapters[0].remove()

    def _job(self, each: Planned, folder: RunFolder, where: dict[str, Any], emit: Emit) -> Job:
        folder.start({"format": FORMAT, "run": stored(each.run)}, where)
        emit = Logged(folder, emit)
        emit(Event(each.sig, "load", text="loading"))
        lm = self._model(each.run)
        template = template_of(each.run.model, lm.tok)
        return Job(each, folder, lm, template, self.runtime, self.study_folder, emit, self._costs)

    def _model(self, run: Run) -> LM:
        """The base model of a run; models of other runs make room for it."""
        key = run.model.model_dump_json()
        if key not in self._models:
            self._models.clear()
            self._models[key] = ranks.base(run.model, device_of(self.runtime), self.runtime.shard)
        return self._models[key]

    def _prepared(self, run: Run) -> Prepared:
        """The rows of a run; those of other runs make room for them."""
        key = rows_key(run)
        if key not in self._data:
            self._data.clear()
            self._data[key] = prepare(run, template_of(run.model, self._model(run).tok), self.study_folder)
        return self._data[key]


def _failed_before(each: Planned, folder: RunFolder, emit: Emit) -> bool:
    if folder.state_on_disk() == "failed" and folder.json("failure.json").get("diverged"):
        reason = folder.json("failure.json")["reason"]
        emit(Event(each.sig, "failed", text=f"{reason} (before; --redo tries again)"))
        return True
    return False


def _untouched(job: Job, method: Method) -> None:
    """Measure a run that learns nothing."""
    adapter = method.attach(job.lm, torch_stream(job.run.seed, "init"))
    parts = measure([job], [0], [{"base": lambda: None}], None)
    spent = cost(job.lm, adapter)
    adapter.remove()
    seconds = _seal(job, parts, {"steps": 0, "cost": spent})
    job.emit(Event(job.each.sig, "done", text=f"measured in {seconds:.0f} s"))


def _built(job: Job, method: Built, prepared: Callable[[Run], Prepared]) -> None:
    """Make the adapter of a run that takes no step, and measure it like one that was trained."""
    adapter, about = built(job, method, prepared)
    try:
        parts = measure([job], [0], [{"final": lambda: None}], None)
        config = json.dumps(adapter.config.to_dict(), sort_keys=True, default=sorted)
        spent = _once(job, config, lambda: cost(job.lm, adapter))
    finally:
        adapter.remove()
    seconds = _seal(job, parts, {"steps": 0, "trainable": 0, "built": about, "cost": spent})
    said = f"{about['how']} at scale {about['scale']:g}, measured in {seconds:.0f} s"
    job.emit(Event(job.each.sig, "done", text=said))


@dataclass(frozen=True)
class Learned:
    """Arms whose training is over, and what it was."""

    arms: list[Arm]
    training: Training
    references: dict[str, dict[str, Any]]


def perform(jobs: Sequence[Job], method: Method, prepared: Prepared) -> None:
    """Train, measure and seal runs that share a forward pass; those that diverge are recorded as failed."""
    spent = _cost(jobs[0], method)
    student, adapters = _attached(jobs, method)
    crew = student if isinstance(student, PackedStudent) else None
    try:
        learned = learn(jobs, student, adapters, prepared)
        left = [k for k, arm in enumerate(learned.arms) if arm.diverged is None]
        if crew is not None:
            for k in set(range(len(jobs))) - set(left):
                crew.silence(k)
        if not left:
            return
        records = {k: {**_record(jobs[k], learned, k), "cost": spent} for k in left}
        for k in left:
            jobs[k].folder.write("data.json", prepared.summary)
            jobs[k].save(adapters[k], "adapter")
            with nullcontext() if crew is None else crew.only(k):
                records[k]["saw"] = saw(learned.training, k, prepared.train.rows)
                records[k]["strips"] = strips(jobs[k])
                records[k]["reach"] = reach(jobs[k].lm, prepared.train.rows)
        checkpoints = [_checkpoints(jobs[k], adapters[k], learned.arms[k], records[k]["steps"]) for k in left]
        parts = measure([jobs[k] for k in left], left, checkpoints, crew)
    finally:
        adapters[0].remove()
    for k in left:
        _seal(jobs[k], parts, records[k])
        steps, took = records[k]["steps"], records[k]["train_seconds"]
        said = f"trained {steps} steps in {took:.0f} s, dev loss {_dev(records[k])}"
        jobs[k].emit(Event(jobs[k].each.sig, "done", text=said))


def _attached(jobs: Sequence[Job], method: Method) -> tuple[Student, Sequence[Adapter]]:
    lm, seeds = jobs[0].lm, [job.run.seed for job in jobs]
    if len(jobs) > 1:
        packed = pack(method, lm, seeds)
        return packed, packed.adapters
    adapter = _alone(jobs[0], method)
    return Solo(adapter), [adapter]


def _alone(job: Job, method: Method) -> Adapter:
    init = torch_stream(job.run.seed, "init")
    if isinstance(method, Resting):
        return method.attach_to(job.lm, init, job.finished)
    return method.attach(job.lm, init)


def _cost(job: Job, method: Method) -> dict[str, Any]:
    """What the method costs, alone and before it has learned."""

    def measured() -> dict[str, Any]:
        adapter = _alone(job, method)
        try:
            return cost(job.lm, adapter)
        finally:
            adapter.remove()

    return _once(job, job.run.model_dump_json(include={"method"}), measured)


def _once(job: Job, what: str, measured: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """What something costs on the run's model, measured once in a process: all seeds cost the same."""
    key = f"{job.run.model.model_dump_json()} {what}"
    if key not in job.costs:
        with job.spent.once():
            job.costs[key] = measured()
    return job.costs[key]


def learn(jobs: Sequence[Job], student: Student, adapters: Sequence[Adapter], prepared: Prepared) -> Learned:
    """Take the steps that are left, writing metrics, the best adapters and checkpoints on the way."""
    job = jobs[0]
    run, lm = job.run, job.lm
    objectives = [by_source(each.run.objective, each.run.data.sources) for each in jobs]
    arms = [Arm(j.each.sig, a, o, j.run.optim) for j, a, o in zip(jobs, adapters, objectives, strict=True)]
    dev = list(dev_views(run, prepared.dev, lm))
    training = Training(
        student,
        arms,
        views(run, prepared, lm),
        run.seed,
        job.runtime,
        dev=dev,
        sources=prepared.sources,
        judge=judging(run, prepared.examples, bench_of(job.study_folder, str(lm.device))),
    )
    states = [each.state for each in jobs]
    if states[0].exists():
        checkpoint.load(training, states)
    for each in jobs:
        each.folder.metrics_up_to(training.step)
    if len(jobs) == 1:
        training.runtime = remembered(training.runtime, job.folder)
    summary: dict[str, dict[str, Any]] = {}
    if not training.finished:
        training.references, summary = _references(jobs, student, prepared)
    own = {each.each.sig: each for each in jobs}
    records = probe(train(training), training, job.runtime.probe_every)
    records = watch(records, training, dev, run.dev, lambda arm: own[arm.name].save(arm.adapter, "adapter-best"))
    records = guarded(records, training, adapters[0], run, job.folder, lambda task: list(evaluated(job, "look", task)))
    records = noted(records, training, [each.folder for each in jobs])
    broken: set[int] = set()
    try:
        for record in checkpoint.keep(records, training, states, job.runtime.checkpoint_seconds, partial(_hold, jobs)):
            _note(jobs, record)
            broken |= _fail(jobs, arms, broken)
    except Diverged:
        pass  # the arms say so themselves
    _fail(jobs, arms, broken)
    return Learned(arms, training, summary)


def _references(
    jobs: Sequence[Job], student: Student, prepared: Prepared
) -> tuple[dict[str, Reference], dict[str, dict[str, Any]]]:
    """Who answers the runs' terms, computed once for all of them; and what the record says about each."""
    job = jobs[0]

    def progress(done: int, total: int, words: str) -> None:
        for each in jobs:
            each.emit(Event(each.each.sig, "load", done, total, text=words))

    with job.spent.once():
        found = references_for(
            [each.run for each in jobs],
            student,
            prepared,
            job.lm,
            job.template,
            job.study_folder,
            job.folder.ledger.root / "teachers",
            progress,
            job.runtime,
        )
    return found, found.summary


def _note(jobs: Sequence[Job], record: StepRecord) -> None:
    """Write one step into each arm's metrics, if it was one of the arm's, and show it."""
    rate = record.tokens / record.seconds if record.seconds else None
    for k, (job, own) in enumerate(zip(jobs, record.arms, strict=True)):
        if own is not None:
            job.folder.append_metrics(record.rows(k))
            drawn = sum(answers for _, answers, _, _ in own.sampled.values())
            said = f"train, {drawn} answers sampled" if drawn else ""
            job.emit(Event(job.each.sig, "train", record.step, job.run.optim.steps, own.loss, rate, said))


def _hold(jobs: Sequence[Job]) -> None:
    for job in jobs:
        job.folder.hold()


def _fail(jobs: Sequence[Job], arms: Sequence[Arm], before: set[int]) -> set[int]:
    """Record the arms that diverged, besides those of before."""
    found = {k for k, arm in enumerate(arms) if arm.diverged is not None} - before
    for k in found:
        jobs[k].fail(arms[k].diverged or 0)
    return found


def views(run: Run, prepared: Prepared, lm: LM) -> Callable[[int], View]:
    """step k -> its View: rows by the stream "order", corruption by the stream "corruption" of that step."""
    learned = prepared.train.rows
    lengths = [len(row.ids) for row in learned]
    order = order_of(run, len(learned))
    family = lm.family

    def view(k: int) -> View:
        chosen = order.step(k, lengths)
        rows = [learned[i] for i in chosen]
        return family.view(rows, lm.pad_id, torch_stream(run.seed, f"corruption/{k}"), chosen)

    return view


def _checkpoints(job: Job, adapter: Adapter, arm: Arm, steps: int) -> Checkpoints:
    """What is measured, and how to get there: the final tensors first, since they are in place."""
    found: dict[str, Callable[[], None]] = {"final": lambda: None}
    if job.run.dev.every is not None and job.run.dev.best:
        final_is_best = arm.best.step == steps
        best = partial(adapter.load, job.folder.path / "adapter-best")
        found["best"] = (lambda: None) if final_is_best else best
    return found | further(job.run, job.folder, adapter)


def _seal(job: Job, parts: Sequence[str], record: dict[str, Any]) -> float:
    """Finish the run; the seconds that measuring took (finishing deletes the parts that knew them)."""
    job.folder.seal_items(parts)
    cards = {name: task.card(job.study_folder).to_json() for name, task in tasks_of(job.run.tasks).items()}
    seconds = sum(times(job.folder).values())
    asked = kept(job.run.tasks, job.study_folder, job.folder.ledger)
    about = {"template": job.template.fingerprint, "tasks": cards, "prompts": asked, "measure_seconds": seconds}
    job.folder.finish({**record, **about, **job.spent(), "energy": job.energy()})
    return seconds


def _record(job: Job, learned: Learned, k: int) -> dict[str, Any]:
    """How far the arm came by its own metrics; seconds are its share of what its pack took."""
    arm, adapter = learned.arms[k], learned.arms[k].adapter
    rows = job.folder.metrics()
    steps = [row for row in rows if "event" not in row]
    last = steps[-1]
    needed = {name for each in job.run.objective.values() for name in each.term.needs}
    return {
        "steps": last["step"],
        "stopped_early": arm.ended is not None,
        "tokens": last["tokens"],
        "train_seconds": round(last["seconds"] / len(learned.arms), 3),
        "packed": len(learned.arms),
        **halvings(rows, job.run.optim.batch),
        **_sampled(steps),
        "best_step": arm.best.step or None,
        "best_dev_loss": arm.best.loss if arm.best.step else None,
        "initial_adapter": adapter.fingerprint(),
        "trainable": adapter.count,
        "references": {name: learned.references[name] for name in sorted(needed & learned.references.keys())},
    }


def _sampled(steps: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """What the sampled terms of a run cost, from its metrics; nothing for a run without."""
    drawn = [term for row in steps for term in row["terms"].values() if "answers" in term]
    if not drawn:
        return {}
    return {
        "sampled_answers": sum(term["answers"] for term in drawn),
        "sampled_tokens": sum(term["answer_tokens"] for term in drawn),
        "sample_seconds": round(sum(term["sample_seconds"] for term in drawn), 3),
    }


def _dev(record: dict[str, Any]) -> str:
    loss = record["best_dev_loss"]
    return "not measured" if loss is None else f"{loss:.3f} at step {record['best_step']}"
