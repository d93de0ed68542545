"""The report of a study: what was asked, what is complete, what each contrast allows to say. From the ledger alone."""

from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from netgain.audit.engine import findings_for
from netgain.audit.finding import Finding, Severity
from netgain.errors import UserError
from netgain.ledger.files import write_bytes, write_json
from netgain.ledger.items import higher_is_better
from netgain.ledger.store import Ledger
from netgain.report.denoised import Denoised, read_denoised
from netgain.report.diversity import Diversity, read_diversity
from netgain.report.forgetting import Forgetting, read_forgetting
from netgain.report.frame import Frame, Matrix, is_share
from netgain.report.sweep import Sweep, read_sweep
from netgain.report.translation import Translated, read_translation
from netgain.spec.identity import stream
from netgain.spec.run import Run
from netgain.spec.study import Contrast, Study, expand, resolve
from netgain.stats.crossed import recipe_score
from netgain.stats.intervals import score
from netgain.stats.result import Estimate
from netgain.stats.retention import Overall, Retention, overall
from netgain.stats.verdict import Verdict, contrast


@dataclass(frozen=True)
class Completeness:
    """How much of an arm there is."""

    arm: str
    planned: int
    done: int
    failed: int
    reasons: tuple[str, ...]


@dataclass(frozen=True)
class Score:
    """One arm on one metric, with everything that a reader needs beside the mean."""

    arm: str
    task: str
    metric: str
    checkpoint: str
    estimate: Estimate
    seeds: int
    missing: int
    unparsed: float | None
    truncated: float | None
    chance: float | None
    majority: float | None


@dataclass(frozen=True)
class Judged:
    """One declared contrast between two arms, with its verdict."""

    arm: str
    versus: str
    task: str
    metric: str
    checkpoint: str
    margin: float | None
    family: int
    verdict: Verdict
    changed: tuple[str, ...]
    invalid: tuple[str, ...] = ()
    """Codes of the open errors in the evidence of either arm on this task."""

    @property
    def word(self) -> str:
        """The verdict's word, or that there is none because of what is wrong with the evidence."""
        return f"invalid: {', '.join(self.invalid)}" if self.invalid else self.verdict.word

    @property
    def question(self) -> str:
        return "forgotten?" if self.margin is not None else "gained?"

    def sentence(self) -> str:
        return f"{self.arm} against {self.versus} on {self.task}/{self.metric}: {self.told()}"

    def told(self) -> str:
        """The verdict in a sentence, after what makes it invalid."""
        found = self.verdict.sentence()
        return f"{self.word} (netgain audit says why); without that: {found}" if self.invalid else found


@dataclass(frozen=True)
class Report:
    """All of it; `markdown`, `to_json` and the terminal only say it."""

    study: Study
    ledger: str
    completeness: tuple[Completeness, ...]
    scores: tuple[Score, ...]
    judged: tuple[Judged, ...]
    retention: tuple[tuple[str, Overall], ...]
    findings: tuple[Finding, ...]
    """What the audit of the study's runs found and nobody silenced, worst first."""
    cost: dict[str, float]
    provenance: dict[str, Any]
    sweep: Sweep | None = None
    translation: Translated | None = None
    diversity: Diversity | None = None
    denoised: Denoised | None = None
    forgetting: Forgetting | None = None

    def answers(self) -> Iterator[str]:
        """The two questions, answered: what was gained, and what was forgotten."""
        for each in self.judged:
            if each.margin is None:
                yield f"Gained? {_answer(each)}"
        if self.diversity is not None:
            late = "" if self.diversity.declared else " by a table that was not declared when this ran"
            for found in self.diversity.decided:
                yield f"Decided{late}? {found.arm}: {found.say} ({found.why})"
        for arm, found in self.retention:
            single = [each for each in self.judged if each.margin is not None and each.arm == arm]
            if len(single) == 1:
                yield f"Forgotten? {_answer(single[0])}"
            else:
                codes = dict.fromkeys(code for each in single for code in each.invalid)
                mark = f"invalid: {', '.join(codes)}; without that: " if codes else ""
                yield f"Forgotten? {arm}: {mark}{found.sentence()}"

    def to_json(self) -> dict[str, Any]:
        return {
            "study": self.study.key,
            "question": self.study.question,
            "answers": list(self.answers()),
            "completeness": [asdict(each) for each in self.completeness],
            "scores": [asdict(each) for each in self.scores],
            "contrasts": [{**asdict(each), "word": each.word, "sentence": each.sentence()} for each in self.judged],
            "findings": [each.to_json() for each in self.findings],
            "retention": {arm: {**asdict(found), "sentence": found.sentence()} for arm, found in self.retention},
            "sweep": None if self.sweep is None else self.sweep.to_json(),
            "translation": None if self.translation is None else self.translation.to_json(),
            "diversity": None if self.diversity is None else self.diversity.to_json(),
            "denoised": None if self.denoised is None else self.denoised.to_json(),
            "forgetting": None if self.forgetting is None else self.forgetting.to_json(),
            "cost": self.cost,
            "provenance": self.provenance,
        }

    def write(self, folder: Path, an_hour: float | None = None) -> Path:
        """report.md, with money where an hour of the machine has a price, and report.json; the path of the first."""
        from netgain.report.markdown import markdown

        write_json(folder / "report.json", _plain(self.to_json()))
        write_bytes(folder / "report.md", markdown(self, an_hour).encode())
        return folder / "report.md"


def build(study: Study, ledger: Ledger) -> Report:
    """Everything that a study's sealed runs allow to say."""
    frame = Frame(study, ledger)
    if not any(frame.members.values()):
        raise UserError(f"{ledger.root}: no run of {study.key} is finished; netgain run does them.")
    findings = tuple(findings_for(ledger, study.key))
    judged = tuple(_checked(each, findings) for each in _judge(study, frame))
    return Report(
        study=study,
        ledger=str(ledger.root),
        completeness=tuple(_completeness(frame)),
        scores=tuple(_scores(study, frame)),
        judged=judged,
        retention=tuple(_retention(judged)),
        findings=findings,
        cost=_cost(frame),
        provenance=_provenance(frame),
        sweep=None if study.frontiers else read_sweep(study, frame),
        translation=read_translation(study, frame),
        diversity=read_diversity(study, frame, findings),
        denoised=read_denoised(study, frame),
        forgetting=read_forgetting(study, frame),
    )


def _completeness(frame: Frame) -> Iterator[Completeness]:
    for arm in frame.members:
        runs = [each for each in frame.planned if each.arm == arm]
        states = [frame.states[each.sig] for each in runs]
        failures = [frame.ledger.run(e.sig) for e in runs if frame.states[e.sig] == "failed"]
        reasons = tuple(str(folder.json("failure.json")["reason"]) for folder in failures)
        yield Completeness(arm, len(runs), states.count("done"), states.count("failed"), reasons)


def _scores(study: Study, frame: Frame) -> Iterator[Score]:
    """A metric is a share in every arm's score or in none, whatever values one arm happened to get."""
    found = list(_measured(study, frame))
    unbounded = {
        (task, card["metric"]) for _, task, card, _, matrix in found if not is_share(card["metric"], matrix.values)
    }
    for arm, task, card, checkpoint, matrix in found:
        yield _score(arm, task, card, checkpoint, matrix, share=(task, card["metric"]) not in unbounded)


def _measured(study: Study, frame: Frame) -> Iterator[tuple[str, str, dict[str, Any], str, Matrix]]:
    """(arm, task, the task's card, checkpoint, values of its metric) of all that was measured."""
    for arm in expand(study):
        for task in arm.run.tasks:
            card = frame.card(arm.name, task)
            if card is None:
                continue
            for checkpoint in _checkpoints(arm.run):
                matrix = frame.matrix(arm.name, task, card["metric"], checkpoint)
                if matrix is not None:
                    yield arm.name, task, card, checkpoint, matrix


def _checkpoints(run: Run) -> Iterator[str]:
    """What a run is measured at: best by dev loss, retained by a stop rule, and shares of the final adapter."""
    yield "final"
    if run.method.learns:
        yield from ("best",) if run.dev.every and run.dev.best else ()
        yield from ("retained",) if run.stop is not None else ()
        yield from (f"final@{share:g}" for share in run.adapter_scales)


def _score(arm: str, task: str, card: dict[str, Any], checkpoint: str, matrix: Matrix, share: bool) -> Score:
    complete = matrix.values[:, ~np.isnan(matrix.values).any(axis=0)]
    kept = ~np.isnan(matrix.values).any(axis=0)
    weights = None if matrix.weights is None else matrix.weights[kept]
    clusters = None if matrix.clusters is None else matrix.clusters[kept]
    found: Estimate | None = None
    if kept.any():
        found = recipe_score(complete, weights=weights, clusters=clusters, share=share)
    if found is None:
        found = score(matrix.values[0], weights=matrix.weights, clusters=matrix.clusters, share=share)
    if share:
        found = replace(found, scale="percent")
    return Score(
        arm=arm,
        task=task,
        metric=card["metric"],
        checkpoint=checkpoint,
        estimate=found,
        seeds=len(matrix.seeds),
        missing=int(np.isnan(matrix.values).sum()),
        unparsed=matrix.unparsed,
        truncated=matrix.truncated,
        chance=card["chance"],
        majority=card["majority"],
    )


def _judge(study: Study, frame: Frame) -> Iterator[Judged]:
    arms = expand(study)
    pairs = [(c, a.name, b.name) for i, c in enumerate(study.contrasts) for a, b in resolve(c, arms, i)]
    for asked, arm, versus in pairs:
        tuned = frame.matrix(arm, asked.task, asked.metric, asked.checkpoint)
        base = frame.matrix(versus, asked.task, asked.metric, asked.checkpoint)
        if tuned is not None and base is not None:
            yield _verdict(asked, arm, versus, tuned, base, frame, family=len(pairs))


def _verdict(asked: Contrast, arm: str, versus: str, tuned: Matrix, base: Matrix, frame: Frame, family: int) -> Judged:
    if tuned.items != base.items:
        raise UserError(
            f"{arm} and {versus} were measured on different items of {asked.task}; nothing can be compared."
        )
    _same_rendering(frame, arm, versus)
    binary = asked.metric in (frame.card(arm, asked.task) or {}).get("binary", ())
    found = contrast(
        tuned.values,
        base.values,
        item_weights=tuned.weights,
        clusters=tuned.clusters,
        binary=binary,
        margin=asked.retain,
        higher_is_better=higher_is_better(asked.metric),
        paired_seeds=tuned.seeds == base.seeds,
        rng=stream(0, f"report/{arm}/{versus}/{asked.task}/{asked.metric}"),
    )
    changed = tuple(np.array(tuned.items)[tuned.values.mean(axis=0) != base.values.mean(axis=0)]) if binary else ()
    return Judged(
        arm, versus, asked.task, asked.metric, asked.checkpoint, asked.retain, family, found, tuple(map(str, changed))
    )


def _checked(each: Judged, findings: Iterable[Finding]) -> Judged:
    """The verdict, marked with every open error that touches one of its two arms on its task."""
    errors = [f for f in findings if f.severity is Severity.ERROR]
    touching = [f.code for f in errors if any(f.concerns(arm, each.task) for arm in (each.arm, each.versus))]
    return replace(each, invalid=tuple(dict.fromkeys(touching)))


def _same_rendering(frame: Frame, arm: str, versus: str) -> None:
    """Baseline and tuned must have been asked with the same template."""
    prints = {m.record["template"]: name for name in (arm, versus) for m in frame.members[name]}
    if len(prints) > 1:
        raise UserError(f"{arm} and {versus} were asked with different templates; nothing can be compared.")


def _retention(judged: tuple[Judged, ...]) -> Iterator[tuple[str, Overall]]:
    for arm in dict.fromkeys(each.arm for each in judged if each.margin is not None):
        found: dict[str, Retention] = {
            f"{each.task}/{each.metric}": each.verdict.retention
            for each in judged
            if each.arm == arm and each.verdict.retention is not None
        }
        if found:
            yield arm, overall(found)


def _cost(frame: Frame) -> dict[str, float]:
    records = {m.folder.sig: m.record for members in frame.members.values() for m in members}
    return {
        name: float(sum(spent_on(record, name) for record in records.values()))
        for name in ("train_seconds", "measure_seconds", "tokens", "joules")
    }


def spent_on(record: dict[str, Any], name: str) -> float:
    """Seconds, tokens or joules of one run; 0 where the record does not know."""
    return float((record.get("energy") or {}).get("joules") or 0 if name == "joules" else record.get(name) or 0)


def _provenance(frame: Frame) -> dict[str, Any]:
    members = [m for arm in frame.members.values() for m in arm]
    env = members[0].folder.json("env.json")
    return {
        "packages": env["packages"],
        "device": env["device"],
        "processor": env["processor"],
        "commit": (env["code"] or {}).get("commit"),
        "runs": {m.folder.sig: {"seed": m.seed, "adapter": m.record.get("initial_adapter")} for m in members},
    }


def _answer(each: Judged) -> str:
    about = f" ({each.checkpoint} checkpoint)" if each.checkpoint != "final" else ""
    return f"{each.arm} against {each.versus}, {each.task}/{each.metric}{about}: {each.told()}"


def _plain(tree: Any) -> Any:
    """JSON has no infinities and no numpy: infinite ends are null."""
    if isinstance(tree, dict):
        return {str(key): _plain(value) for key, value in tree.items()}
    if isinstance(tree, (list, tuple)):
        return [_plain(value) for value in tree]
    if isinstance(tree, (float, np.floating)):
        return float(tree) if np.isfinite(tree) else None
    return tree.item() if isinstance(tree, np.generic) else tree
