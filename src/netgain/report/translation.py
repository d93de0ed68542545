"""What a study of translated adapters found, from sealed rows: the gate, what was recovered, what anchors are worth.

    gap recovered = sum_i (translated_i - base_i) / sum_i (oracle_i - base_i), over the items of a held-out problem,
    seeds averaged; pooled over all problems that pass the gate. Fieller's interval, undefined when the gap may be 0.

A held-out problem counts only if the oracle, trained on the problem itself, beats the base for certain. Baselines,
which know nothing of the source adapter, never stand among the methods.
"""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from netgain.ledger.items import higher_is_better
from netgain.report.frame import Frame, Matrix
from netgain.spec.identity import stream
from netgain.spec.study import Study
from netgain.spec.translation import BASELINES, COUNTED, NEAREST, Problem, Translation
from netgain.stats.ranking import BestOfK, best_of_k
from netgain.stats.ratios import Ratio, ratio_of_means
from netgain.stats.verdict import Verdict, contrast

POOLED = "all that count"


@dataclass(frozen=True)
class Gate:
    """Whether a held-out problem has a gap to recover: oracle - base, over these checkpoints' items."""

    problem: str
    domain: str
    metric: str
    base: float
    oracle: float
    gain: Verdict

    @property
    def open(self) -> bool:
        """The gain's interval lies on the better side of 0."""
        answer = self.gain.checkpoint
        return answer.low > 0 if self.gain.higher_is_better else answer.high < 0

    def sentence(self) -> str:
        counts = "counts" if self.open else "does not count, since its oracle may have gained nothing"
        return f"{self.problem} {counts}: oracle against base, {self.gain.checkpoint.sentence()}"


@dataclass(frozen=True)
class Cell:
    """One arm on one held-out problem, or on all that count: its mean score and the share of the gap it recovers."""

    problem: str
    how: str
    score: float | None
    recovered: Ratio | None
    missing: str = ""

    @property
    def share(self) -> tuple[float, float, float] | None:
        """Estimate and both ends of what is recovered, where it is defined."""
        found = self.recovered
        if found is None or found.estimate is None or found.low is None or found.high is None:
            return None
        return found.estimate, found.low, found.high

    def words(self) -> str:
        """The share with its interval, or why there is none."""
        if self.recovered is None:
            return self.missing
        if self.share is None:
            return "undefined, the denominator may be zero"
        estimate, low, high = self.share
        return f"{100 * estimate:.0f} % ({100 * low:.0f} to {100 * high:.0f} %)"


@dataclass(frozen=True)
class Against:
    """A method against the mean of the anchors over all problems that count, + being better."""

    how: str
    verdict: Verdict

    def sentence(self) -> str:
        """The answer; where there is none, what could have been found."""
        mde = self.verdict.mde
        more = f" {mde.sentence()}" if mde is not None and self.verdict.word == "cannot tell" else ""
        return f"{self.how} against mean: {self.verdict.word}: {self.verdict.checkpoint.sentence()}{more}"


@dataclass(frozen=True)
class Varied:
    """Experiment 2: what is recovered over all problems that count, by the number of anchors or by k."""

    what: str
    how: str
    points: tuple[tuple[int, Ratio], ...]
    best: BestOfK | None
    """Expected best score of k of these settings, when they are tried on one problem: the mean over problems."""


@dataclass(frozen=True)
class Translated:
    """The three experiments."""

    gates: tuple[Gate, ...]
    methods: tuple[Cell, ...]
    baselines: tuple[Cell, ...]
    against: tuple[Against, ...]
    varied: tuple[Varied, ...]
    pools: tuple[Cell, ...]
    selections: tuple[tuple[str, tuple[str, ...]], ...]

    def sentences(self) -> Iterator[str]:
        """The gate, then every claim."""
        yield from (gate.sentence() for gate in self.gates)
        if not any(gate.open for gate in self.gates):
            yield "No held-out problem counts, so nothing can be said of any method: train the oracles longer."
            return
        yield from (each.sentence() for each in self.against)
        if self.against and not any(each.verdict.word == "gain" for each in self.against):
            yield "No method is better than the mean of the anchors as far as this study can tell."
        yield from self._against_nothing()

    def _against_nothing(self) -> Iterator[str]:
        """Better than the mean may still be worse than no adapter: which methods recover anything, and which harm."""
        pooled = [(each.how, each.recovered) for each in self.methods if each.problem == POOLED]
        known = [(how, ratio) for how, ratio in pooled if ratio is not None and ratio.low is not None]
        harm = [how for how, ratio in known if ratio.high is not None and ratio.high < 0]
        if harm:
            yield f"Worse than the target without any adapter: {', '.join(harm)}."
        if known and not any(ratio.low is not None and ratio.low > 0 for _, ratio in known):
            yield "No method recovers any of the gap for certain: the translated adapters did not help the target."

    @property
    def answer(self) -> tuple[str, str] | None:
        """(word, sentence): what the method that recovers most of the gap recovers, over all and where it helps."""
        best = self._best(POOLED)
        if best is None or best.share is None:
            return None
        _, low, high = best.share
        ahead = any(each.how == best.how and each.verdict.word == "gain" for each in self.against)
        word = (
            "no, it harms" if high < 0 else "cannot tell" if low <= 0 else "yes" if ahead else "no more than the mean"
        )
        known = len({each.how for each in self.methods})
        said = [f"Of {known} methods {best.how} recovers most of the gap, {best.words()} over all problems that count"]
        for gate in self.gates:
            alone = self._best(gate.problem) if gate.open else None
            if alone is not None and alone.share is not None and alone.share[1] > 0:
                said.append(f"{alone.how} recovers {alone.words()} on {alone.problem} alone")
        return word, "; ".join(said) + "."

    def _best(self, problem: str) -> Cell | None:
        """The method that recovers most of one problem's gap."""
        cells = [each for each in self.methods if each.problem == problem and each.share is not None]
        return max(cells, key=lambda each: each.share or (0.0, 0.0, 0.0), default=None)

    def to_json(self) -> dict[str, Any]:
        """All numbers and every sentence."""
        gates = [{**asdict(each), "open": each.open} for each in self.gates]
        return {**asdict(self), "gates": gates, "sentences": list(self.sentences())}


@dataclass(frozen=True)
class Items:
    """Base, oracle and one arm on shared items (n,), seeds averaged and turned so that more is better."""

    problem: str
    base: NDArray[np.float64]
    oracle: NDArray[np.float64]
    arm: NDArray[np.float64]
    clusters: NDArray[np.object_]
    score: float


def read_translation(study: Study, frame: Frame) -> Translated | None:
    """None when the study translates nothing, or no held-out problem has both its base and its oracle yet."""
    asked = study.translation
    if asked is None:
        return None
    gates = tuple(gate for each in asked.held_out if (gate := _gate(each, frame)) is not None)
    if not gates:
        return None
    counted = [each for each in asked.held_out if any(g.problem == each.name and g.open for g in gates)]
    learned = [how for how in asked.methods if how not in BASELINES]
    return Translated(
        gates=gates,
        methods=tuple(_cells(asked.held_out, counted, learned, frame)),
        baselines=tuple(_cells(asked.held_out, counted, [how for how in asked.methods if how in BASELINES], frame)),
        against=tuple(found for how in learned if (found := _against(how, counted, frame)) is not None),
        varied=tuple(_varied(asked, counted, frame)),
        pools=tuple(
            _cell(each, f"{COUNTED} from {domain}", frame)
            for each in asked.held_out
            for domain in (asked.domains if asked.pools else ())
        ),
        selections=tuple(_selections(asked, frame)),
    )


def _gate(problem: Problem, frame: Frame) -> Gate | None:
    base, oracle = (frame.matrix(f"{problem.name} {arm}", *_asked(problem)) for arm in ("base", "oracle"))
    if base is None or oracle is None:
        return None
    found = _contrast(oracle.values, base.values, base, problem.measured, f"{problem.name}/gate")
    return Gate(
        problem.name,
        problem.domain,
        problem.measured,
        float(np.nanmean(base.values)),
        float(np.nanmean(oracle.values)),
        found,
    )


def _asked(problem: Problem) -> tuple[str, str, str]:
    return problem.name, problem.measured, "final"


def _contrast(tuned: NDArray[np.float64], base: NDArray[np.float64], about: Matrix, metric: str, key: str) -> Verdict:
    return contrast(
        tuned,
        base,
        item_weights=about.weights,
        clusters=about.clusters,
        binary=False,
        margin=None,
        higher_is_better=higher_is_better(metric),
        paired_seeds=False,
        rng=stream(0, f"report/translation/{key}"),
    )


def _items(problem: Problem, how: str, frame: Frame) -> Items | None:
    """None when one of the three is not there."""
    found = [frame.matrix(f"{problem.name} {arm}", *_asked(problem)) for arm in ("base", "oracle", how)]
    matrices = [each for each in found if each is not None]
    if len(matrices) < 3 or len({each.items for each in matrices}) > 1:
        return None
    base, oracle, arm = (each.values.mean(axis=0) for each in matrices)
    kept = ~np.isnan(base + oracle + arm)
    sign = 1.0 if higher_is_better(problem.measured) else -1.0
    clusters = matrices[0].clusters
    names = np.array(matrices[0].items, dtype=object) if clusters is None else clusters
    named = np.array([f"{problem.name}/{name}" for name in names[kept]], dtype=object)
    mean = float(arm[kept].mean()) if kept.any() else float("nan")
    return Items(problem.name, sign * base[kept], sign * oracle[kept], sign * arm[kept], named, mean)


def _ratio(parts: Sequence[Items]) -> Ratio | None:
    if not parts:
        return None
    base, oracle, arm = (np.concatenate([getattr(each, name) for each in parts]) for name in ("base", "oracle", "arm"))
    clusters = np.concatenate([each.clusters for each in parts])
    return ratio_of_means(arm - base, oracle - base, clusters=clusters, what="gap recovered")


def _cell(problem: Problem, how: str, frame: Frame) -> Cell:
    items = _items(problem, how, frame)
    if items is None:
        return Cell(problem.name, how, None, None, "not finished")
    return Cell(problem.name, how, items.score, _ratio([items]))


def _cells(
    held_out: Sequence[Problem], counted: Sequence[Problem], methods: Sequence[str], frame: Frame
) -> Iterator[Cell]:
    """Each method on each problem, and on all that count together."""
    for how in methods:
        for problem in held_out:
            yield _cell(problem, how, frame)
        parts = [_items(problem, how, frame) for problem in counted]
        whole = [each for each in parts if each is not None]
        complete = bool(whole) and len(whole) == len(parts)
        missing = "not finished" if counted else "no problem counts"
        yield Cell(POOLED, how, None, _ratio(whole) if complete else None, missing)


def _against(how: str, counted: Sequence[Problem], frame: Frame) -> Against | None:
    """Over the items of all problems that count, seeds averaged, + being better."""
    pairs = [(_items(problem, how, frame), _items(problem, "mean", frame)) for problem in counted]
    whole = [(ours, theirs) for ours, theirs in pairs if ours is not None and theirs is not None]
    whole = [(ours, theirs) for ours, theirs in whole if len(ours.arm) == len(theirs.arm)]
    if not whole or len(whole) < len(pairs):
        return None
    ours, theirs = (np.concatenate([pair[i].arm for pair in whole]) for i in (0, 1))
    found = contrast(
        ours[None],
        theirs[None],
        item_weights=None,
        clusters=np.concatenate([pair[0].clusters for pair in whole]),
        binary=False,
        margin=None,
        higher_is_better=True,
        paired_seeds=True,
        rng=stream(0, f"report/translation/{how}"),
    )
    return Against(how, found)


def _varied(asked: Translation, counted: Sequence[Problem], frame: Frame) -> Iterator[Varied]:
    settings = {
        "anchors": (COUNTED, [(n, f"{COUNTED} N={n}" if n < len(asked.anchors) else COUNTED) for n in asked.counts]),
        "k": (NEAREST, [(k, f"{NEAREST} k={k}") for k in asked.ks]),
    }
    for what, (how, arms) in settings.items():
        points: list[tuple[int, Ratio]] = []
        scores: list[float] = []
        for value, arm in sorted(arms):
            parts = [each for problem in counted if (each := _items(problem, arm, frame)) is not None]
            ratio = _ratio(parts) if len(parts) == len(counted) else None
            if ratio is not None:
                points.append((value, ratio))
                scores.append(float(np.mean([each.arm.mean() for each in parts])))
        if points:
            yield Varied(what, how, tuple(points), best_of_k(np.array(scores)) if len(scores) > 1 else None)


def _selections(asked: Translation, frame: Frame) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Which anchors a top-k method mixed, by arm, as its first finished run recorded it."""
    for arm, members in frame.members.items():
        made = members[0].record.get("built") if members else None
        if made and made.get("selected") is not None:
            yield arm, tuple(asked.anchors[i].name for i in made["selected"])
