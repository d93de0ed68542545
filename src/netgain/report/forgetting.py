"""What lies beneath the retention verdicts of a study: seed by seed, flip by flip, part by part of the adapter.

Read from sealed runs, for every study that declares something to be kept:

    seeds       each seed of an arm judged alone: a verdict over all seeds can rest on one of them
    flips       which items went from right to wrong, with what both models said
    judged      what judges say by category, and whose noise is in their scores
    executed    the weight of each term as it was, step by step, and the drift KL(base || tuned) on dev rows
    turned      the adapter turned down: gain against forgetting at a share of it
    warned      did the drift tell of forgetting, over the arms?
    drawn       rows planned and rows drawn, source by source
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from netgain.ledger.items import higher_is_better
from netgain.report import kept
from netgain.report.frame import Frame, Member
from netgain.spec.run import Run
from netgain.spec.study import Contrast, Study, expand, resolve
from netgain.stats.association import association
from netgain.stats.judged import Parts, parts
from netgain.stats.result import Estimate
from netgain.stats.retention import benefit
from netgain.stats.verdict import Verdict, contrast

PLAIN = "ce"
"""The term that every study has; its weight is no schedule to show when it stands alone."""


@dataclass(frozen=True, slots=True)
class SeedVerdict:
    """One seed's checkpoint on one benchmark; the interval is signed so that + is better."""

    seed: int | None
    word: str
    estimate: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class BySeed:
    """Each seed of an arm judged alone against the margin: about these checkpoints, not about the recipe."""

    arm: str
    versus: str
    task: str
    metric: str
    checkpoint: str
    margin: float
    level: float
    n: int
    seeds: tuple[SeedVerdict, ...]

    def tally(self) -> str:
        """`forgotten 5 of 6, cannot tell 1 of 6`."""
        counts: defaultdict[str, int] = defaultdict(int)
        for each in self.seeds:
            counts[each.word] += 1
        ranked = sorted(counts.items(), key=lambda entry: -entry[1])
        return ", ".join(f"{word} {count} of {len(self.seeds)}" for word, count in ranked)


@dataclass(frozen=True, slots=True)
class Noise:
    """Whose noise is in a judge's scores of an arm; None where each question was answered once."""

    arm: str
    task: str
    metric: str
    parts: Parts | None


@dataclass(frozen=True, slots=True)
class Line:
    """A number over the steps: (step, mean over seeds, smallest, largest)."""

    arm: str
    what: str
    points: tuple[tuple[float, float, float, float], ...]


@dataclass(frozen=True, slots=True)
class Turned:
    """An arm at a share of its adapter against the base; the answer is signed so that + is better."""

    arm: str
    versus: str
    share: float
    task: str
    metric: str
    margin: float | None
    answer: Estimate
    word: str


@dataclass(frozen=True, slots=True)
class Warned:
    """Does the drift at the last look go with what was lost? One point an arm, means over its seeds."""

    task: str
    metric: str
    points: tuple[tuple[str, float, float], ...]
    correlation: Estimate


@dataclass(frozen=True, slots=True)
class Drawn:
    """Rows of one source that an arm's first seed planned and drew."""

    arm: str
    source: str
    share: float
    planned: int
    drawn: int
    available: int


@dataclass(frozen=True, slots=True)
class Spent:
    """One run of an arm, mean over its seeds."""

    arm: str
    steps: float
    training: float
    measuring: float
    tokens: float
    stopped: int
    runs: int


@dataclass(frozen=True)
class Forgetting:
    """All of it."""

    seeds: tuple[BySeed, ...]
    flips: tuple[kept.Benchmark, ...]
    judged: tuple[kept.Judged, ...]
    noise: tuple[Noise, ...]
    executed: tuple[Line, ...]
    drift: tuple[Line, ...]
    turned: tuple[Turned, ...]
    warned: tuple[Warned, ...]
    drawn: tuple[Drawn, ...]
    spent: tuple[Spent, ...]

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


Pair = tuple[Contrast, str, str]


def read_forgetting(study: Study, frame: Frame) -> Forgetting | None:
    """None for a study that declares nothing to be kept."""
    arms = expand(study)
    pairs = [(c, a.name, b.name) for i, c in enumerate(study.contrasts) for a, b in resolve(c, arms, i)]
    keeps = [pair for pair in pairs if pair[0].retain is not None]
    if not keeps:
        return None
    runs = {arm.name: arm.run for arm in arms}
    learned = [name for name in runs if any(member.record.get("steps") for member in frame.members[name])]
    return Forgetting(
        seeds=tuple(each for pair in keeps if (each := _by_seed(frame, *pair)) is not None),
        flips=tuple(kept.benchmarks(study, frame)),
        judged=tuple(_judged(frame, pairs, runs)),
        noise=tuple(_noise(frame, pairs, runs)),
        executed=tuple(line for arm in learned for line in _executed(arm, frame.members[arm])),
        drift=tuple(line for arm in learned if (line := _drift(arm, frame.members[arm])) is not None),
        turned=tuple(_turned(frame, pairs, runs)),
        warned=tuple(each for asked in _questions(keeps) if (each := _warned(frame, keeps, *asked)) is not None),
        drawn=tuple(row for arm in learned for row in _drawn(arm, frame.members[arm][0])),
        spent=tuple(_spent(arm, frame.members[arm]) for arm in learned),
    )


def _verdict(
    frame: Frame, asked: Contrast, arm: str, versus: str, checkpoint: str, row: int | None = None
) -> Verdict | None:
    """The contrast at a checkpoint, of all seeds or of one."""
    tuned = frame.matrix(arm, asked.task, asked.metric, checkpoint)
    base = frame.matrix(versus, asked.task, asked.metric, checkpoint)
    if tuned is None or base is None or tuned.items != base.items:
        return None
    left, right = tuned.values, base.values
    if row is not None:
        left, right = left[row : row + 1], right[row : row + 1] if right.shape[0] == left.shape[0] else right[:1]
    return contrast(
        left,
        right,
        item_weights=tuned.weights,
        clusters=tuned.clusters,
        binary=asked.metric in (frame.card(arm, asked.task) or {}).get("binary", ()),
        margin=asked.retain,
        higher_is_better=higher_is_better(asked.metric),
        paired_seeds=tuned.seeds == base.seeds,
    )


def _by_seed(frame: Frame, asked: Contrast, arm: str, versus: str) -> BySeed | None:
    """None for an arm of one seed, whose verdict is the study's."""
    tuned = frame.matrix(arm, asked.task, asked.metric, asked.checkpoint)
    if tuned is None or len(tuned.seeds) < 2 or asked.retain is None:
        return None
    found: list[SeedVerdict] = []
    level, n = 0.0, 0
    for row, seed in enumerate(tuned.seeds):
        verdict = _verdict(frame, asked, arm, versus, asked.checkpoint, row)
        if verdict is None or verdict.retention is None:
            return None
        own = verdict.retention
        level, n = own.level, verdict.n
        found.append(SeedVerdict(seed, own.word, own.estimate, own.low, own.high))
    return BySeed(arm, versus, asked.task, asked.metric, asked.checkpoint, asked.retain, level, n, tuple(found))


def judges_of(run: Run, task: str) -> dict[str, Any]:
    """name -> judge plugin of a task; empty for tasks that nobody judges."""
    return dict(getattr(run.tasks[task], "judges", {}))


def _judged(frame: Frame, pairs: Sequence[Pair], runs: dict[str, Run]) -> Iterator[kept.Judged]:
    for asked, arm, versus in pairs:
        judge = judges_of(runs[arm], asked.task).get(asked.metric)
        if judge is not None:
            chances = judge.kind == "reward"
            found = kept.judged(frame, arm, versus, asked.task, asked.metric, asked.checkpoint, chances)
            if found is not None:
                yield found


def _noise(frame: Frame, pairs: Sequence[Pair], runs: dict[str, Run]) -> Iterator[Noise]:
    """Once for every arm that stands in a contrast on a judge's scores, the baseline among them."""
    wanted = dict.fromkeys(
        (arm, asked.task, asked.metric, asked.checkpoint)
        for asked, *both in pairs
        for arm in both
        if asked.metric in judges_of(runs[arm], asked.task)
    )
    for arm, task, metric, checkpoint in wanted:
        repeats = int(getattr(judges_of(runs[arm], task)[metric], "repeats", 1))
        if frame.members[arm]:
            yield Noise(arm, task, metric, _parts(frame.members[arm][0], task, metric, checkpoint, repeats))


def _parts(member: Member, task: str, metric: str, checkpoint: str, repeats: int) -> Parts | None:
    """From the first seed's samples; questions that lack an answer or a rating are left out."""
    ratings: defaultdict[str, list[tuple[int, float | None]]] = defaultdict(list)
    columns = ("task", "metric", "checkpoint", "item", "sample", "value")
    for row in member.items.select(columns).to_pylist():
        if row["task"] == task and row["metric"] == metric and row["checkpoint"] in (checkpoint, "base"):
            ratings[row["item"]].append((row["sample"], row["value"]))
    most = max(map(len, ratings.values()), default=0)
    whole = [
        [value for _, value in sorted(found)]
        for found in ratings.values()
        if len(found) == most and all(value is not None for _, value in found)
    ]
    if len(whole) < 2 or most < 2 * repeats:
        return None
    return parts(np.array(whole, dtype=np.float64).reshape(len(whole), most // repeats, repeats))


def _over_seeds(arm: str, what: str, points: Sequence[dict[float, float]]) -> Line | None:
    steps = sorted({step for found in points for step in found})
    values = [[found[step] for found in points if step in found] for step in steps]
    rows = [
        (step, sum(each) / len(each), min(each), max(each)) for step, each in zip(steps, values, strict=True) if each
    ]
    return Line(arm, what, tuple(rows)) if rows else None


def _executed(arm: str, members: Sequence[Member]) -> Iterator[Line]:
    """The weight of every term beside the plain one, as it was used at each step."""
    metrics = [[row for row in member.folder.metrics() if row.get("terms")] for member in members]
    for name in dict.fromkeys(name for rows in metrics for row in rows for name in row["terms"] if name != PLAIN):
        own = [[row for row in rows if name in row["terms"]] for rows in metrics]
        weights = [{float(row["step"]): float(row["terms"][name]["weight"]) for row in rows} for rows in own]
        found = _over_seeds(arm, name, weights)
        if found is not None:
            yield found


def _drift(arm: str, members: Sequence[Member]) -> Line | None:
    """KL(base || tuned) on the dev rows."""
    looks = [
        {float(r["step"]): float(r["kl_base"]) for r in member.folder.metrics() if r.get("kl_base") is not None}
        for member in members
    ]
    return _over_seeds(arm, "drift", looks)


def _turned(frame: Frame, pairs: Sequence[Pair], runs: dict[str, Run]) -> Iterator[Turned]:
    """Every declared question of the final checkpoint, asked again at each share of the adapter."""
    for asked, arm, versus in pairs:
        scales = runs[arm].adapter_scales if runs[arm].method.learns and asked.checkpoint == "final" else ()
        for share in sorted({*scales, 1.0}) if scales else ():
            found = _verdict(frame, asked, arm, versus, "final" if share == 1 else f"final@{share:g}")
            if found is not None and found.n:
                signed = benefit(found.answer, found.higher_is_better)
                yield Turned(arm, versus, share, asked.task, asked.metric, asked.retain, signed, found.word)


def _questions(keeps: Sequence[Pair]) -> list[tuple[str, str, str]]:
    return list(dict.fromkeys((asked.task, asked.metric, asked.checkpoint) for asked, _, _ in keeps))


def _warned(frame: Frame, keeps: Sequence[Pair], task: str, metric: str, checkpoint: str) -> Warned | None:
    """(drift at the last look, what was lost) of each arm that has both."""
    points: list[tuple[str, float, float]] = []
    for asked, arm, versus in keeps:
        drift = _drift(arm, frame.members[arm])
        if (asked.task, asked.metric, asked.checkpoint) != (task, metric, checkpoint) or drift is None:
            continue
        found = _verdict(frame, asked, arm, versus, checkpoint)
        if found is not None and found.retention is not None and found.n:
            points.append((arm, drift.points[-1][1], 0.0 - found.retention.estimate))
    if len(points) < 2:
        return None
    drifts, losses = (np.array([point[i] for point in points]) for i in (1, 2))
    return Warned(task, metric, tuple(points), association(drifts, losses, what="drift with loss"))


def _drawn(arm: str, member: Member) -> Iterator[Drawn]:
    """From data.json of the arm's first finished seed."""
    if not (member.folder.path / "data.json").exists():
        return
    mixture = member.folder.json("data.json")["mixture"]
    for source, share in mixture["share"].items():
        counts = (mixture[name][source] for name in ("planned", "drawn", "available"))
        yield Drawn(arm, source, share, *counts)


def _spent(arm: str, members: Sequence[Member]) -> Spent:
    records = [member.record for member in members]

    def mean(name: str) -> float:
        return sum(float(record.get(name) or 0) for record in records) / len(records)

    stopped = sum(bool(record.get("stopped_early")) for record in records)
    names = ("steps", "train_seconds", "measure_seconds", "tokens")
    return Spent(arm, *map(mean, names), stopped=stopped, runs=len(records))
