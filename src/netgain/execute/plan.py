"""The plan: every run with its state, what each contrast could detect, and what would never happen."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from netgain.errors import UserError, did_you_mean
from netgain.execute.disjoint import refuse_shared_problems
from netgain.execute.estimate import Estimate, estimate
from netgain.execute.plan_references import ReferencePlan, planned_references
from netgain.execute.prepare import reads_of
from netgain.ledger.store import Ledger, RunFolder
from netgain.objectives.sampling import TaskQuality, rollouts_of
from netgain.spec.identity import drift, stored
from netgain.spec.run import Run, Schedule
from netgain.spec.study import Contrast, Planned, Study, expand, planned, resolve
from netgain.tasks._base import read_source, tasks_of

CHARACTERS_PER_TOKEN = 4.0


@dataclass(frozen=True)
class RunPlan:
    """One run of the plan."""

    sig: str
    arm: str
    seed: int | None
    state: str
    steps: int
    tokens: int | None
    estimated: bool = False
    note: str = ""
    needs: tuple[str, ...] = ()
    """Sigs of the runs that are done first."""
    answers: int = 0
    """Sampled while learning, with `answer_tokens` at most."""
    answer_tokens: int = 0


@dataclass(frozen=True)
class Detectable:
    """The smallest effect that a declared contrast can find with the planned items and seeds."""

    arm: str
    versus: str
    task: str
    metric: str
    items: int
    seeds: int
    effect: float | None
    sentence: str


@dataclass(frozen=True)
class Plan:
    """What running a study means."""

    study: str
    runs: tuple[RunPlan, ...]
    detectable: tuple[Detectable, ...]
    warnings: tuple[str, ...]
    references: tuple[ReferencePlan, ...] = ()
    estimate: Estimate | None = None

    @property
    def missing(self) -> int:
        return sum(run.state != "done" for run in self.runs)

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "missing": self.missing}


def make(study: Study, ledger: Ledger) -> Plan:
    """The plan of a study against what its ledger already holds."""
    refuse_shared_problems(study)
    lengths: dict[str, float] = {}
    runs = tuple(
        replace(_run(each, ledger.run(each.sig), _tokens(each.run, study.folder, lengths)), needs=each.needs)
        for each in planned(study)
    )
    detectable, warnings = tuple(_detectable(study)), tuple(dict.fromkeys(_never(study)))
    references, left = tuple(planned_references(study, ledger)), estimate(planned(study), ledger)
    return Plan(study.key, runs, detectable, warnings, references, left)


def _run(each: Planned, folder: RunFolder, expected: int) -> RunPlan:
    steps = each.run.optim.steps if each.run.method.learns else 0
    state, note = folder.state(), ""
    sampled = [term.cost(steps) for term in rollouts_of(each.run.objective).values()] if steps else []
    answers, written = sum(a for a, _ in sampled), sum(t for _, t in sampled)
    if state == "done":
        changed = drifted(each, folder)
        state, note = ("drifted", changed) if changed else (state, "")
        record = folder.record()
        tokens, written = record.get("tokens") or 0, record.get("sampled_tokens") or 0
        return RunPlan(
            each.sig, each.arm, each.seed, state, steps, tokens, False, note, answers=answers, answer_tokens=written
        )
    if state == "failed":
        note = str(folder.json("failure.json")["reason"])
    return RunPlan(
        each.sig, each.arm, each.seed, state, steps, expected, True, note, answers=answers, answer_tokens=written
    )


def _tokens(run: Run, folder: Path | None, lengths: dict[str, float]) -> int:
    """steps * batch * the mean length of a row, at CHARACTERS_PER_TOKEN: no tokenizer is loaded for a plan."""
    if not run.method.learns:
        return 0
    key = run.data.model_dump_json()
    if key not in lengths:
        rows = [example for source in run.data.sources.values() for example in read_source(source, folder)]
        characters = [sum(len(turn.text) for turn in row.turns) + len(row.answer) for row in rows]
        lengths[key] = sum(min(c / CHARACTERS_PER_TOKEN, run.data.max_len) for c in characters) / max(len(rows), 1)
    return round(run.optim.steps * run.optim.batch * lengths[key])


def drifted(each: Planned, folder: RunFolder) -> str:
    """The first field of a finished run whose stored value means something else today, as words."""
    for path, old, new in drift(folder.json("spec.json")["run"], stored(each.run)):
        return f"{path} was {old!r}, is {new!r}"
    return ""


def refuse_drift(study: Study, ledger: Ledger) -> None:
    """Stop when a finished run is damaged, or no longer is what the study asks for."""
    for each in planned(study):
        folder = ledger.run(each.sig)
        if folder.state_on_disk() == "corrupt":
            folder.record()
        if folder.state_on_disk() == "done" and (changed := drifted(each, folder)):
            raise UserError(
                f"{folder.path}: {each.arm} was run under another meaning of its spec ({changed}); "
                f"run again with --redo {each.sig}, or restore the old default."
            )


def _detectable(study: Study) -> Iterator[Detectable]:
    arms = expand(study)
    for i, contrast in enumerate(study.contrasts):
        for arm, versus in resolve(contrast, arms, i):
            card = tasks_of(arm.run.tasks)[contrast.task].card(study.folder)
            if contrast.metric not in card.metrics:
                raise UserError(
                    f'contrast {i + 1}: task {contrast.task} has no metric "{contrast.metric}".'
                    f"{did_you_mean(contrast.metric, card.metrics)} It has {', '.join(card.metrics)}."
                )
            seeds = len(study.seeds) if arm.run.method.learns or arm.run.method.built else 1
            effect, sentence = _smallest(card.items, seeds, contrast.metric in card.binary)
            yield Detectable(arm.name, versus.name, contrast.task, contrast.metric, card.items, seeds, effect, sentence)


def _smallest(items: int, seeds: int, binary: bool) -> tuple[float | None, str]:
    """The smallest effect found 80 % of the time, under stated assumptions where no pilot says better."""
    from netgain.stats.power import mde_binary, mde_seeds, stated_spread

    if not binary:
        return None, f"n = {items}, {seeds} seeds; what can be found depends on a spread that only a pilot shows."
    found = mde_seeds(stated_spread(), seeds=seeds, n=items) if seeds > 1 else mde_binary(items, 0.10)
    return found.mde, found.sentence()


def _never(study: Study) -> Iterator[str]:
    """What is scheduled and will never happen."""
    arms = expand(study)
    for arm in arms:
        if arm.run.method.learns:
            for warning in _never_in(arm.run):
                yield f"{arm.name}: {warning}"
    for i, contrast in enumerate(study.contrasts):
        yield from _never_compared(contrast, i, arms)
    diverse = [arm.name for arm in arms if arm.run.method.learns and rollouts_of(arm.run.objective)]
    if diverse and not study.frontiers:
        yield (
            f"{', '.join(diverse)} sample answers, and no frontier measures the baseline at several temperatures: "
            "a higher temperature is diverse too, so declare `frontiers`"
        )
    used = {name for arm in arms for name in reads_of([arm.run])}
    for name in dict.fromkeys(name for arm in arms for name in arm.run.references):
        if name not in used:
            yield f"references.{name} is declared and no term compares with it"


def _never_in(run: Run) -> Iterator[str]:
    steps, optim, dev = run.optim.steps, run.optim, run.dev
    for name, term in rollouts_of(run.objective).items():
        if isinstance(term.quality, TaskQuality) and term.quality.task not in run.tasks:
            known = did_you_mean(term.quality.task, set(run.tasks))
            raise UserError(f'objective.{name}.quality.task: "{term.quality.task}" is no task of the run.{known}')
        if term.prompts > optim.batch:
            yield f"objective.{name} asks {term.prompts} rows a step, and a step has {optim.batch}"
    if optim.warmup >= steps:
        yield f"the warm-up of {optim.warmup} steps never ends within {steps} steps"
    if dev.every is not None and dev.every > steps:
        yield f"the dev loss is due every {dev.every} steps, so never within {steps}"
    if dev.patience is not None and dev.every is None:
        yield "patience is set but dev.every is not, so the stop rule is never evaluated"
    if dev.patience is not None and dev.every is not None and dev.every * dev.patience >= steps:
        yield f"patience {dev.patience} x every {dev.every} steps can never stop a run of {steps} steps"
    if dev.every is not None and run.data.dev == 0:
        yield "dev.every is set but data.dev holds nothing out"
    for name, weighted in run.objective.items():
        if isinstance(weighted.weight, Schedule) and weighted.weight.start * steps > steps - 1:
            yield f"objective.{name} starts at {weighted.weight.start:.0%}, after the last step"


def _never_compared(contrast: Contrast, index: int, arms: list[Any]) -> Iterator[str]:
    for arm, _ in resolve(contrast, arms, index):
        if contrast.checkpoint == "best" and arm.run.method.learns and arm.run.dev.every is None:
            yield f'contrast {index + 1}: "best" of {arm.name} is its final checkpoint, since dev.every is not set'
        if contrast.checkpoint == "best" and arm.run.method.learns and not arm.run.dev.best:
            yield f'contrast {index + 1}: "best" of {arm.name} is never measured, since dev.best is false'
