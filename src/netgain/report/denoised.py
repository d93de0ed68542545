"""A study of methods on a masked-diffusion model, read from the ledger: what each arm learned, and what it costs.

The score of an arm is its macro accuracy by likelihood: the mean over tasks of the accuracy on each, whatever their
sizes. Beside it stand the best constant answer and the arms that see no input; token accuracy and what was written are
diagnostics. A run that failed is named, and is in no mean.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from netgain.report.frame import Frame, Matrix, Member
from netgain.spec.run import Run
from netgain.spec.study import Study, expand
from netgain.stats.crossed import recipe_score
from netgain.stats.intervals import score
from netgain.stats.result import Estimate
from netgain.stats.verdict import Verdict, contrast

COMMON = ("steps", "batch", "warmup", "clip", "schedule", "weight_decay", "learning_rate")
"""What a fair comparison holds equal, or says that it does not."""


@dataclass(frozen=True)
class Group:
    """One task as it is asked: by likelihood, in writing, token by token; the last two where the study asks so."""

    name: str
    written: str | None
    tokens: str | None


@dataclass(frozen=True)
class One:
    """One run: the macro accuracy of the checkpoint that dev rows chose and of the last, and the two diagnostics."""

    arm: str
    seed: int | None
    best: float | None
    final: float | None
    tokens: float | None
    written: float | None
    unparsed: float | None
    dead: str | None = None


@dataclass(frozen=True)
class Method:
    """One arm over its seeds. `scores` has accuracy, f1 and mcc of each task; `role` says what the arm is for."""

    arm: str
    role: str
    macro: Estimate
    best: Estimate | None
    scores: Mapping[str, Mapping[str, Estimate]]
    tokens: Estimate | None
    written: Estimate | None
    unparsed: float | None
    seeds: int
    dead: int
    trainable: int
    share: float | None
    flops: float | None
    slower: float | None
    against_control: Verdict | None
    against_first: Verdict | None


@dataclass(frozen=True)
class Interference:
    """A task measured after joint training and after training on one task alone, by one method."""

    task: str
    learned: str
    accuracy: Estimate


@dataclass(frozen=True)
class Strip:
    """What stood there after every round of writing one answer."""

    arm: str
    task: str
    item: str
    gold: str
    rounds: tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class Denoised:
    """All that such a study allows to say."""

    groups: tuple[Group, ...]
    majority: float
    runs: tuple[One, ...]
    methods: tuple[Method, ...]
    settings: tuple[tuple[str, tuple[str, ...]], ...]
    interference: tuple[Interference, ...]
    strips: tuple[Strip, ...]
    prompts: Mapping[str, str]
    first: str
    control: str | None

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def read_denoised(study: Study, frame: Frame) -> Denoised | None:
    """None unless the study's model is a denoiser and something is finished."""
    arms = {arm.name: arm.run for arm in expand(study)}
    done = [arm for arm in arms if frame.members.get(arm)]
    if study.base.model.denoise is None or not done:
        return None
    groups = _groups(frame, done)
    if not groups:
        return None
    control = next((arm for arm in done if _blind(frame, arm, groups)), None)
    read = _Read(frame, arms, groups, done[0], control)
    strips = tuple(_strips(frame, done))
    return Denoised(
        groups,
        float(np.mean([(frame.card(done[0], g.name) or {})["majority"] for g in groups])),
        tuple(one for arm in arms for one in read.runs(arm)),
        tuple(read.method(arm) for arm in done if read.macro(arm, "final") is not None),
        _settings(arms, [arm for arm in done if read.role(arm) in ("method", "control")]),
        tuple(_interference(read, done)),
        strips,
        _prompts(frame, done),
        done[0],
        control,
    )


def _groups(frame: Frame, done: Sequence[str]) -> tuple[Group, ...]:
    """Tasks asked by likelihood, and the tasks named after them that ask in other ways."""
    cards: dict[str, dict[str, Any]] = {}
    for arm in done:
        cards |= {name: card for name, card in frame.members[arm][0].record["tasks"].items() if name not in cards}
    found = [name for name, card in cards.items() if card["mode"] == "likelihood" and card["majority"] is not None]

    def named(name: str, mode: str) -> str | None:
        near = [each for each, card in cards.items() if card["mode"] == mode and each.startswith(name)]
        return near[0] if near else None

    return tuple(Group(name, named(name, "generate"), named(name, "denoise")) for name in found)


def _blind(frame: Frame, arm: str, groups: Sequence[Group]) -> bool:
    return all((frame.card(arm, group.name) or {}).get("blind", False) for group in groups)


class _Read:
    """The matrices of a study's arms, put together over tasks."""

    def __init__(
        self, frame: Frame, arms: Mapping[str, Run], groups: Sequence[Group], first: str, control: str | None
    ) -> None:
        self.frame, self.arms, self.groups = frame, arms, groups
        self.first, self.control = first, control

    def role(self, arm: str) -> str:
        """control, single task, composed, untuned or method."""
        run = self.arms[arm]
        if _blind(self.frame, arm, self.groups):
            return "control"
        if not run.method.learns:
            return "composed" if run.method.built else "untuned"
        if trained_on(run) is not None:
            return "single task"
        return "composed" if any(True for _ in getattr(run.method, "modules", ())) else "method"

    def macro(self, arm: str, checkpoint: str, metric: str = "accuracy") -> Matrix | None:
        """(S, n) over the items of all tasks, each task weighing as much as any other."""
        names = {"accuracy": [g.name for g in self.groups], "written": [g.written for g in self.groups]}
        names["token_accuracy"] = [g.tokens for g in self.groups]
        own = "accuracy" if metric == "written" else metric
        parts = [self.frame.matrix(arm, name, own, checkpoint) for name in names[metric] if name is not None]
        found = [part for part in parts if part is not None]
        if not found or len(found) < len(self.groups):
            return None
        clusters = [_clusters(part, str(i)) for i, part in enumerate(found)]
        known = [part.unparsed for part in found if part.unparsed is not None]
        return replace(
            found[0],
            values=np.hstack([part.values for part in found]),
            items=tuple(item for part in found for item in part.items),
            weights=np.concatenate([np.full(len(part.items), 1 / len(part.items)) for part in found]),
            clusters=np.concatenate(clusters),
            unparsed=float(np.mean(known)) if known else None,
        )

    def runs(self, arm: str) -> Iterator[One]:
        """Every planned run of an arm, dead ones with their reason."""
        tables = [self.macro(arm, "best"), self.macro(arm, "final")]
        tables += [self.macro(arm, "final", "token_accuracy"), self.macro(arm, "final", "written")]
        for member in self.frame.members[arm]:
            best, final, tokens, written = (_of_seed(table, member.seed) for table in tables)
            yield One(arm, member.seed, best, final, tokens, written, tables[3].unparsed if tables[3] else None)
        for each in self.frame.planned:
            if each.arm == arm and self.frame.states[each.sig] == "failed":
                why = str(self.frame.ledger.run(each.sig).json("failure.json")["reason"])
                yield One(arm, each.seed, None, None, None, None, None, why)

    def method(self, arm: str) -> Method:
        macro = self.macro(arm, "final")
        assert macro is not None
        best, tokens = self.macro(arm, "best"), self.macro(arm, "final", "token_accuracy")
        written, member = self.macro(arm, "final", "written"), self.frame.members[arm][0]
        planned = [each for each in self.frame.planned if each.arm == arm]
        flops, slower = _cost(member)
        trainable = int(member.record.get("trainable") or 0)
        whole = (member.record.get("cost") or {}).get("parameters")
        return Method(
            arm=arm,
            role=self.role(arm),
            macro=estimate(macro),
            best=None if best is None or not self.arms[arm].dev.every else estimate(best),
            scores={group.name: dict(self._scores(arm, group.name)) for group in self.groups},
            tokens=None if tokens is None else estimate(tokens),
            written=None if written is None else estimate(written),
            unparsed=None if written is None else written.unparsed,
            seeds=len(macro.seeds),
            dead=sum(self.frame.states[each.sig] == "failed" for each in planned),
            trainable=trainable,
            share=trainable / whole if whole else None,
            flops=flops,
            slower=slower,
            against_control=self._versus(macro, self.control, arm),
            against_first=self._versus(macro, self.first, arm),
        )

    def _scores(self, arm: str, task: str) -> Iterator[tuple[str, Estimate]]:
        for metric in ("accuracy", "f1", "mcc"):
            found = self.frame.matrix(arm, task, metric, "final")
            if found is not None and not np.isnan(found.values).all():
                yield metric, estimate(found, "raw" if metric == "mcc" else "percent")

    def _versus(self, macro: Matrix, other: str | None, arm: str) -> Verdict | None:
        base = None if other is None or other == arm else self.macro(other, "final")
        if base is None or base.items != macro.items:
            return None
        return contrast(
            macro.values,
            base.values,
            item_weights=macro.weights,
            clusters=macro.clusters,
            binary=False,
            paired_seeds=macro.seeds == base.seeds,
        )


def _clusters(part: Matrix, prefix: str) -> np.ndarray:
    names = part.items if part.clusters is None else part.clusters
    return np.array([f"{prefix}/{name}" for name in names], dtype=object)


def _of_seed(table: Matrix | None, seed: int | None) -> float | None:
    """The weighted mean of one seed's row; None when it has no value."""
    if table is None or seed not in table.seeds:
        return None
    row, weights = table.values[table.seeds.index(seed)], table.weights
    assert weights is not None
    seen = ~np.isnan(row)
    return float(np.average(row[seen], weights=weights[seen])) if seen.any() else None


def estimate(table: Matrix, scale: str = "percent") -> Estimate:
    """The mean with its interval by seeds x items, by items alone where there is one seed."""
    kept = ~np.isnan(table.values).any(axis=0)
    values = table.values[:, kept]
    weights = None if table.weights is None else table.weights[kept]
    clusters = None if table.clusters is None else table.clusters[kept]
    found: Estimate | None = recipe_score(values, weights=weights, clusters=clusters)
    if found is None:
        found = score(values[0], weights=weights, clusters=clusters)
    low, high = (max(found.low, 0.0), min(found.high, 1.0)) if scale == "percent" else (found.low, found.high)
    return replace(found, scale=scale, low=low, high=high)  # type: ignore[arg-type]


def trained_on(run: Run) -> str | None:
    """The one source that a run learns from, when its study has others."""
    given = {name: share for name, share in (run.data.mixture or {}).items() if share > 0}
    return next(iter(given)) if len(given) == 1 and len(run.data.sources) > 1 else None


def _cost(member: Member) -> tuple[float | None, float | None]:
    """(multiply-adds a token in a forward pass, seconds over the base's)"""
    found = member.record.get("cost")
    if not found:
        return None, None
    return float(found["flops"]["forward"]), float(found["seconds"]) / float(found["base_seconds"])


def _settings(arms: Mapping[str, Run], compared: Sequence[str]) -> tuple[tuple[str, tuple[str, ...]], ...]:
    """(what, its values over the compared arms): one value where all are alike."""
    runs = [arms[arm] for arm in compared]
    found = [(name, [f"{getattr(run.optim, name)}" for run in runs]) for name in COMMON]
    found.append(("training rows", [run.data.model_dump_json(exclude={"sources": True}) for run in runs]))
    found.append(("model and how it is asked", [run.model.model_dump_json() for run in runs]))
    return tuple((name, tuple(dict.fromkeys(values))) for name, values in found)


def _interference(read: _Read, done: Sequence[str]) -> Iterator[Interference]:
    """The arms that learned one task alone, and the joint arm of the same method."""
    alone = {arm: trained_on(read.arms[arm]) for arm in done if read.role(arm) == "single task"}
    methods = [read.arms[arm].method for arm in alone]
    joint = [arm for arm in done if read.role(arm) == "method" and read.arms[arm].method in methods]
    if not alone or not joint:
        return
    for arm, learned in {joint[0]: "all of them", **alone}.items():
        for group in read.groups:
            found = read.frame.matrix(arm, group.name, "accuracy", "final")
            if found is not None:
                yield Interference(group.name, f"{learned} ({arm})", estimate(found))


def _strips(frame: Frame, done: Sequence[str]) -> Iterator[Strip]:
    """The first sample that every arm wrote, by its first seed."""
    for arm in done:
        for each in (frame.members[arm][0].record.get("strips") or [])[:1]:
            rounds = tuple(tuple(map(str, tokens)) for tokens in each["rounds"])
            yield Strip(arm, each["task"], each["item"], each["gold"], rounds)


def _prompts(frame: Frame, done: Sequence[str]) -> dict[str, str]:
    """What was asked, by item; that of the first arm that saw it."""
    found: dict[str, str] = {}
    for arm in done:
        for each in frame.members[arm][0].record.get("strips") or []:
            found.setdefault(str(each["item"]), str(each["prompt"]))
    return found
