"""What sampled answers are worth while a run learns: sets by the diversity metrics, answers by a task or a judge.

Every set score lies in 0..1 and rises with difference; what has no score (a lone text, texts without n-grams, an empty
text beside others) earns 0, so that writing nothing is never rewarded.
"""

import importlib
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

from netgain.data.source import Example
from netgain.errors import UserError, did_you_mean
from netgain.judges._base import Bench, Case, Judge, Rating, judges_of
from netgain.judges.reward import Reward
from netgain.measure import diversity, text
from netgain.measure.embedder import Embedder, embedder, unit
from netgain.measure.vendi import vendi
from netgain.models.load import cache_folder
from netgain.objectives.rollout import Floats, SetScore
from netgain.objectives.sampling import Answers, JudgeQuality, Rollout, SetScoreName, TaskQuality, rollouts_of
from netgain.spec.run import Run
from netgain.tasks._base import Generated, Task, tasks_of

Quality = Callable[[Example, Sequence[str]], Floats]
"""(training row, its answers) -> (n,) in 0..1."""


class Judging:
    """Judges the answers of one run's sampled terms; models and embedders are loaded once."""

    def __init__(self, run: Run, examples: Sequence[Example], bench: Bench) -> None:
        self.examples = examples
        self.of = {name: (term, _embedder(term), _quality(name, term, run, bench)) for name, term in _terms(run)}

    def __call__(self, term: Rollout, origin: int, texts: Sequence[str]) -> Answers:
        _, embed, quality = next(each for each in self.of.values() if each[0] == term)
        written = tuple(text.answer_part(each) or "" for each in texts)
        score: SetScore = (lambda members: 0.0) if term.set_score is None else set_score(term.set_score, written, embed)
        return Answers(written, score, None if quality is None else quality(self.examples[origin], texts))


def _terms(run: Run) -> list[tuple[str, Rollout]]:
    return list(rollouts_of(run.objective).items())


def judging(run: Run, examples: Sequence[Example], bench: Bench) -> Judging | None:
    """The judge of a run's sampled answers, if it has any."""
    return Judging(run, examples, bench) if rollouts_of(run.objective) else None


# ---- sets


def set_score(name: SetScoreName, texts: Sequence[str], embed: Embedder | None) -> SetScore:
    """The score of any subset of some texts, with what they share computed once."""
    if name in ("semantic_distance", "vendi"):
        assert embed is not None
        rows = embed(texts)
        return _distance(rows) if name == "semantic_distance" else _effective(rows)
    if name == "answer_clusters":
        answers = [text.normalise(each) for each in texts]
        return lambda members: len({answers[i] for i in members}) / len(members)
    tokens = [diversity.tokens(each) for each in texts]
    if name == "self_bleu":
        return lambda members: _unlike(tokens, members)
    order = 1 if name == "distinct1" else 2
    return lambda members: _or_nothing(diversity.distinct([tokens[i] for i in members], order))


def _distance(rows: Floats) -> SetScore:
    """Mean over pairs of 1 - cos, cut to 0..1; a pair with an empty text is 0 apart."""
    written = np.linalg.norm(rows, axis=1) > 0
    apart = np.clip(1.0 - rows @ rows.T, 0.0, 1.0) * np.outer(written, written)
    np.fill_diagonal(apart, 0.0)

    def score(members: Sequence[int]) -> float:
        count = len(members)
        return float(apart[np.ix_(members, members)].sum() / (count * (count - 1))) if count > 1 else 0.0

    return score


def _effective(rows: Floats) -> SetScore:
    """(Vendi - 1) / (n - 1), over the texts that are not empty."""
    written = np.linalg.norm(rows, axis=1) > 0

    def score(members: Sequence[int]) -> float:
        some = [i for i in members if written[i]]
        return (vendi(rows[some]) - 1.0) / (len(members) - 1.0) if len(some) > 1 else 0.0

    return score


def _unlike(tokens: Sequence[Sequence[str]], members: Sequence[int]) -> float:
    """Mean over members of 1 - BLEU against the other written ones; an empty text is like no other, and earns 0."""
    some = [tokens[i] for i in members if tokens[i]]
    alike = diversity.self_bleu(some)
    return 0.0 if isinstance(alike, diversity.Missing) else (1.0 - alike) * len(some) / len(members)


def _or_nothing(value: diversity.Value) -> float:
    return 0.0 if isinstance(value, diversity.Missing) else value


def _embedder(term: Rollout) -> Embedder | None:
    name = getattr(term, "embedder", None)
    if term.set_score not in ("semantic_distance", "vendi") or name is None:
        return None
    return _own_embedder(name) if ":" in name else embedder(name)


class _Own:
    """Somebody's function from texts to rows, as an embedder."""

    def __init__(self, name: str, rows: Callable[[Sequence[str]], Floats]) -> None:
        self.name, self.rows = name, rows

    def __call__(self, texts: Sequence[str]) -> Floats:
        return unit(np.asarray(self.rows(texts)))


def _own_embedder(name: str) -> Embedder:
    module, _, attribute = name.partition(":")
    try:
        return _Own(name, getattr(importlib.import_module(module), attribute))
    except (ImportError, AttributeError) as error:
        raise UserError(f'embedder "{name}" cannot be imported ({error}); name it package.module:function.') from None


# ---- answers


def _quality(name: str, term: Rollout, run: Run, bench: Bench) -> Quality | None:
    if isinstance(term.quality, TaskQuality):
        return _by_task(name, term.quality, tasks_of(run.tasks))
    if isinstance(term.quality, JudgeQuality):
        return _by_judge(judges_of({name: term.quality.judge})[name], bench)
    return None


def _by_task(name: str, quality: TaskQuality, tasks: Mapping[str, Task]) -> Quality:
    """What a task's own checker says of an answer to a training row."""
    if quality.task not in tasks:
        raise UserError(
            f'objective.{name}.quality.task: "{quality.task}" is no task of the run.'
            f"{did_you_mean(quality.task, set(tasks))}"
        )
    task = tasks[quality.task]
    metric = quality.metric or task.metrics[0]
    if metric not in task.metrics:
        raise UserError(
            f'objective.{name}.quality.metric: task {quality.task} has no "{metric}"; it has {", ".join(task.metrics)}.'
        )

    def of(example: Example, texts: Sequence[str]) -> Floats:
        outcomes = [Generated(each, 0, False) for each in texts]
        (found,) = task.score_all([example], [outcomes])
        values = [next((s.value for s in scores if s.metric == metric), None) for scores in found]
        return np.array([0.0 if value is None else value for value in values])

    return of


def _by_judge(judge: Judge, bench: Bench) -> Quality:
    """sigmoid(r(answer) - r(the row's own)); an answer that got no rating is worth nothing."""
    judge.ready(bench.folder)
    rate = _rater(judge, bench)

    def of(example: Example, texts: Sequence[str]) -> Floats:
        answers = (example.answer, *texts)
        known = (example.answer,)
        cases = [Case(f"{example.id}/{i}", example.turns, each, known) for i, each in enumerate(answers)]
        own, *others = rate(cases)
        if own.value is None:
            raise UserError(f'judge {judge.kind}: no rating of the answer of row "{example.id}" ({own.reason}).')
        gaps = [None if each.value is None else each.value - own.value for each in others]
        return np.array([0.0 if gap is None else 1.0 / (1.0 + math.exp(-gap)) for gap in gaps])

    return of


def _rater(judge: Judge, bench: Bench) -> Callable[[Sequence[Case]], list[Rating]]:
    """A reward model is loaded once for all steps; another judge keeps what it needs itself."""
    if not isinstance(judge, Reward):
        return lambda cases: [ratings[0] for ratings in judge.rate(cases, bench)]
    from netgain.judges._reward import RewardModel

    model = RewardModel.load(judge.place(bench.folder), judge.dtype, judge.revision, bench.device)
    return lambda cases: model.rate(cases, judge.max_len, judge.batch)


def bench_of(folder: Path | None, device: str) -> Bench:
    """Where the judges of a run work."""
    return Bench(folder, cache_folder() / "judges", device)
