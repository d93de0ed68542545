"""A diversity study, read from the ledger: frontiers over temperatures, pass@k curves, what each term did, decisions.

Everything is compared with the frontier's `versus`, on prompts that every arm answered at every temperature. Decisions
were declared before anything ran, and are read off whole intervals. What an open error of the audit touches is shown
and decides nothing.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from netgain.audit.finding import Finding, Severity
from netgain.report.frame import UNTUNED, Frame, Member
from netgain.spec.frontier import Decision, Frontier
from netgain.spec.identity import stream
from netgain.spec.study import Study
from netgain.stats.frontier import Compared, Curve, best_difference, compare
from netgain.stats.intervals import mean
from netgain.stats.passk import PassK, over_problems, per_problem
from netgain.stats.resample import BootstrapEstimate
from netgain.stats.result import Floats, Pivot

EXAMPLES = 3
SHOWN = 4
"""Answers to each prompt that are shown side by side."""


@dataclass(frozen=True)
class Place:
    """One arm at one temperature."""

    arm: str
    temperature: float
    quality: Pivot
    diversity: Pivot


@dataclass(frozen=True)
class Read:
    """One frontier: its places, each arm against the baseline, and prompts left out because a value was missing."""

    name: str
    quality: str
    diversity: str
    versus: str
    places: tuple[Place, ...]
    compared: tuple[tuple[str, Compared], ...]
    dropped: int
    invalid: tuple[tuple[str, tuple[str, ...]], ...] = ()
    """Codes of the open errors in the evidence of an arm or of `versus`, for the arms that have any."""

    def word(self, arm: str) -> str:
        """What the frontier allows to say of an arm: the sign of its diversity at equal quality, when that is sure."""
        if codes := dict(self.invalid).get(arm):
            return f"invalid: {', '.join(codes)}"
        found = dict(self.compared)[arm].matched
        if found is None:
            return "no common quality"
        return "more diverse" if found.low > 0 else "less diverse" if found.high < 0 else "cannot tell"


@dataclass(frozen=True)
class Tries:
    """pass@k of one arm at one temperature, k = 1..n."""

    name: str
    arm: str
    temperature: float
    curve: tuple[PassK, ...]


@dataclass(frozen=True)
class Solved:
    """pass@k of an arm less that of the baseline, each at its own best temperature, paired by problem."""

    name: str
    arm: str
    versus: str
    k: int
    difference: BootstrapEstimate
    invalid: tuple[str, ...]

    @property
    def word(self) -> str:
        if self.invalid:
            return f"invalid: {', '.join(self.invalid)}"
        found = self.difference
        return "more solved" if found.low > 0 else "fewer solved" if found.high < 0 else "cannot tell"


@dataclass(frozen=True)
class Share:
    """What one term of an arm was of the loss and of the gradient, at probed steps (means over steps and seeds)."""

    arm: str
    term: str
    weight: float
    loss: float
    gradient: float


@dataclass(frozen=True)
class Cost:
    """Seconds of one run of an arm (mean over seeds): learning, sampling in it, measuring; and what it sampled."""

    arm: str
    training: float
    sampling: float
    measuring: float
    answers: int
    tokens: int


@dataclass(frozen=True)
class Decided:
    """What the declared table says of an arm, by which of its lines, and the interval that it was read off."""

    arm: str
    say: str
    line: int
    why: str
    invalid: tuple[str, ...] = ()
    """Codes of the open errors in the evidence that the table would have been read off."""


@dataclass(frozen=True)
class Example:
    """Answers of several arms to one prompt at one temperature."""

    item: str
    temperature: float
    answers: tuple[tuple[str, tuple[str, ...]], ...]


@dataclass(frozen=True)
class Diversity:
    """All that a study with frontiers allows to say."""

    frontiers: tuple[Read, ...]
    tries: tuple[Tries, ...]
    solved: tuple[Solved, ...]
    shares: tuple[Share, ...]
    cost: tuple[Cost, ...]
    decided: tuple[Decided, ...]
    examples: tuple[Example, ...]
    declared: bool
    """Whether the table of decisions is the one that the ledger noted when the study ran."""
    unread: tuple[str, ...] = ()
    """Frontiers of which no prompt has both values in every arm at every temperature."""

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def read_diversity(study: Study, frame: Frame, findings: Sequence[Finding] = ()) -> Diversity | None:
    """None when the study declares no frontier."""
    if not study.frontiers:
        return None
    done = [arm for arm, members in frame.members.items() if members]
    errors = {name: _errors(name, each, done, findings) for name, each in study.frontiers.items()}
    there = {name: each for name, each in study.frontiers.items() if each.versus in done}
    wanted = {name: _read(name, each, frame, done, errors[name]) for name, each in there.items() if each.quality}
    frontiers = {name: read for name, read in wanted.items() if read is not None}
    tries = {name: _Passes(name, each, frame, done) for name, each in there.items() if each.passes}
    arms = [arm for arm in done if study.decisions and arm not in _bases(study)]
    first = next(iter(study.frontiers.items()))
    return Diversity(
        tuple(frontiers.values()),
        tuple(each for found in tries.values() for each in found.curves()),
        tuple(each for name, found in tries.items() for each in found.solved(errors[name])),
        tuple(_shares(frame, done)),
        tuple(_cost(frame, done)),
        tuple(_decide(study, arm, frontiers, tries, errors) for arm in arms),
        tuple(_examples(*first, frame, done)),
        _declared(study, frame),
        tuple(name for name, read in wanted.items() if read is None),
    )


def _declared(study: Study, frame: Frame) -> bool:
    noted = frame.ledger.studies().get(study.key, {}).get("study", {})
    return tuple(Decision.model_validate(line) for line in noted.get("decisions", ())) == study.decisions


def _errors(
    name: str, frontier: Frontier, done: Sequence[str], findings: Sequence[Finding]
) -> dict[str, tuple[str, ...]]:
    """Each arm's open errors on the tasks of a frontier, those of its baseline included."""
    open_errors = [each for each in findings if each.severity is Severity.ERROR]
    tasks = frontier.at(name).values()
    found: dict[str, tuple[str, ...]] = {}
    for arm in done:
        pairs = [(who, task) for who in (arm, frontier.versus) for task in tasks]
        codes = (e.code for e in open_errors if any(e.concerns(who, task) for who, task in pairs))
        found[arm] = tuple(dict.fromkeys(codes))
    return found


def _bases(study: Study) -> set[str]:
    return {each.versus for each in study.frontiers.values()}


# ---- the frontier


def _table(frame: Frame, arm: str, tasks: Sequence[str], metric: str) -> tuple[Floats, tuple[str, ...], Any] | None:
    """(values (S, T, n), prompts, clusters) of an arm that was measured at every temperature."""
    found = [frame.matrix(arm, task, metric, "final") for task in tasks]
    if any(each is None for each in found):
        return None
    whole = [each for each in found if each is not None]
    return np.stack([each.values for each in whole], axis=1), whole[0].items, whole[0].clusters


def _read(
    name: str, frontier: Frontier, frame: Frame, done: Sequence[str], errors: Mapping[str, tuple[str, ...]]
) -> Read | None:
    tasks, axes = list(frontier.at(name).values()), (frontier.quality or "", frontier.diversity or "")
    both = {arm: tuple(_table(frame, arm, tasks, metric) for metric in axes) for arm in done}
    tables = {arm: (q, d) for arm, (q, d) in both.items() if q is not None and d is not None}
    if frontier.versus not in tables:
        return None
    prompts, clusters = tables[frontier.versus][0][1:]
    missing = np.zeros(len(prompts), dtype=bool)
    for q, d in tables.values():
        missing |= np.isnan(q[0]).any((0, 1)) | np.isnan(d[0]).any((0, 1))
    if missing.all():
        return None
    groups = None if clusters is None else clusters[~missing]
    curves = {arm: Curve(q[0][:, :, ~missing], d[0][:, :, ~missing]) for arm, (q, d) in tables.items()}
    base = curves[frontier.versus]
    compared = [
        (arm, compare(c, base, reference=frontier.reference, clusters=groups, rng=stream(0, f"frontier/{name}/{arm}")))
        for arm, c in curves.items()
        if arm != frontier.versus
    ]
    places = [
        Place(arm, t, _mean(c.quality[:, i], groups), _mean(c.diversity[:, i], groups))
        for arm, c in curves.items()
        for i, t in enumerate(frontier.temperatures)
    ]
    invalid = tuple((arm, codes) for arm, codes in errors.items() if codes)
    return Read(name, *axes, frontier.versus, tuple(places), tuple(compared), int(missing.sum()), invalid)


def _mean(values: Floats, clusters: Any) -> Pivot:
    """Over prompts, of each prompt's mean over seeds."""
    return mean(values.mean(axis=0), clusters=clusters)


# ---- pass@k


class _Passes:
    """Right answers of every arm to every problem at every temperature."""

    def __init__(self, name: str, frontier: Frontier, frame: Frame, done: Sequence[str]) -> None:
        self.name, self.frontier = name, frontier
        metric = frontier.passes or ""
        tasks = frontier.at(name).values()
        self.counts: dict[str, list[list[dict[str, tuple[int, int]]]]] = {}
        for arm in done:
            found = [[_counts(member, task, metric) for task in tasks] for member in frame.members[arm]]
            if all(each for run in found for each in run):
                self.counts[arm] = found
        drawn = [n for arm in self.counts.values() for run in arm for each in run for _, n in each.values()]
        self.samples = min(drawn, default=0)
        self.problems = sorted(next(iter(self.counts.values()))[0][0]) if self.counts else []

    def values(self, arm: str, k: int) -> Floats:
        """(S, T, n) unbiased pass@k of each problem."""
        return np.array([[self._of(each, k) for each in run] for run in self.counts[arm]])

    def _of(self, found: Mapping[str, tuple[int, int]], k: int) -> list[float]:
        return [float(per_problem([found[p][0]], found[p][1], k)[0]) for p in self.problems]

    def curves(self) -> Iterator[Tries]:
        for arm in self.counts:
            by_k = [self.values(arm, k).mean(axis=0) for k in range(1, self.samples + 1)]
            for i, t in enumerate(self.frontier.temperatures):
                made = [over_problems(v[i], k, self.samples) for k, v in enumerate(by_k, start=1)]
                yield Tries(self.name, arm, t, tuple(made))

    def solved(self, errors: Mapping[str, tuple[str, ...]]) -> Iterator[Solved]:
        """One try and as many as were drawn."""
        for arm in self.counts:
            for k in dict.fromkeys((1, self.samples)):
                found = self.difference(arm, k) if arm != self.frontier.versus else None
                if found is not None:
                    yield Solved(self.name, arm, self.frontier.versus, k, found, errors[arm])

    def difference(self, arm: str, k: int) -> BootstrapEstimate | None:
        """Both at their own best temperature; None where so many answers were not drawn."""
        if arm not in self.counts or k > self.samples:
            return None
        left, right = self.values(arm, k), self.values(self.frontier.versus, k)
        rng = stream(0, f"tries/{self.name}/{arm}/{k}")
        return best_difference(left, right, what=f"difference in pass@{k} at each arm's best temperature", rng=rng)


def _counts(member: Member, task: str, metric: str) -> dict[str, tuple[int, int]]:
    """problem -> (right, drawn); a sample without a value is none."""
    found: dict[str, list[int]] = defaultdict(lambda: [0, 0])
    for row in _rows(member, task, metric):
        if row["value"] is not None:
            found[row["item"]][0] += row["value"] == 1.0
            found[row["item"]][1] += 1
    return {problem: (right, drawn) for problem, (right, drawn) in found.items()}


def _rows(member: Member, task: str, metric: str) -> list[dict[str, Any]]:
    table = member.items.select(["task", "metric", "checkpoint", "item", "sample", "value", "output"])
    return [
        row
        for row in table.to_pylist()
        if row["task"] == task and row["metric"] == metric and row["checkpoint"] in ("final", UNTUNED)
    ]


# ---- what the terms did, and what they cost


def _shares(frame: Frame, done: Sequence[str]) -> Iterator[Share]:
    for arm in done:
        rows = [row["terms"] for m in frame.members[arm] for row in m.folder.metrics() if _probed(row)]
        for term in dict.fromkeys(name for row in rows for name in row if len(row) > 1):
            own = [row for row in rows if "grad_share" in row.get(term, {})]
            if own:
                loss = [_pushed(row[term]) / (sum(map(_pushed, row.values())) or 1.0) for row in own]
                gradient = [row[term]["grad_share"] for row in own]
                weight = float(np.mean([row[term]["weight"] for row in own]))
                yield Share(arm, term, weight, float(np.mean(loss)), float(np.mean(gradient)))


def _probed(row: Mapping[str, Any]) -> bool:
    return any("grad_share" in term for term in (row.get("terms") or {}).values())


def _pushed(term: Mapping[str, float]) -> float:
    return abs(term["raw"] * term["weight"])


def _cost(frame: Frame, done: Sequence[str]) -> Iterator[Cost]:
    for arm in done:
        records = [m.record for m in frame.members[arm] if m.record.get("steps")]
        if records:
            mean_of = {
                name: float(np.mean([record.get(name) or 0 for record in records]))
                for name in ("train_seconds", "sample_seconds", "measure_seconds", "sampled_answers", "sampled_tokens")
            }
            yield Cost(
                arm,
                mean_of["train_seconds"],
                mean_of["sample_seconds"],
                mean_of["measure_seconds"],
                round(mean_of["sampled_answers"]),
                round(mean_of["sampled_tokens"]),
            )


# ---- decisions and examples


def _decide(
    study: Study,
    arm: str,
    frontiers: Mapping[str, Read],
    tries: Mapping[str, _Passes],
    errors: Mapping[str, Mapping[str, tuple[str, ...]]],
) -> Decided:
    first = ""
    for i, line in enumerate(study.decisions, start=1):
        if line.above is None and line.below is None:
            return Decided(arm, line.say, i, f"no line above holds{first}")
        if codes := errors[line.frontier or ""].get(arm):
            why = f"line {i} reads {line.frontier}, whose evidence has an open error (netgain audit says why)"
            return Decided(arm, f"invalid: {', '.join(codes)}", 0, why, codes)
        found = _measured(line, arm, frontiers, tries)
        if found is not None:
            first = first or f"; {line.frontier}: {found.sentence()}"
        if found is not None and _holds(line, found):
            return Decided(arm, line.say, i, f"{line.frontier}: {found.sentence()}")
    return Decided(arm, "nothing that was declared", 0, "no line of the table holds")


def _measured(
    line: Decision, arm: str, frontiers: Mapping[str, Read], tries: Mapping[str, _Passes]
) -> BootstrapEstimate | None:
    name = line.frontier or ""
    if line.tries is not None:
        return tries[name].difference(arm, line.tries) if name in tries else None
    found = dict(frontiers[name].compared).get(arm) if name in frontiers else None
    if found is None:
        return None
    return found.matched if line.measure == "matched" else found.gain


def _holds(line: Decision, found: BootstrapEstimate) -> bool:
    """Whether the whole interval lies where the line wants it."""
    return (line.above is None or found.low > line.above) and (line.below is None or found.high < line.below)


def _examples(name: str, frontier: Frontier, frame: Frame, done: Sequence[str]) -> Iterator[Example]:
    """The first prompts by id, at the middle temperature, by the first seed of each arm."""
    t = frontier.temperatures[len(frontier.temperatures) // 2]
    task, metric = frontier.at(name)[t], frontier.quality or frontier.passes or ""
    arms = [frontier.versus, *(arm for arm in done if arm != frontier.versus)]
    written: dict[str, dict[str, list[str]]] = {}
    for arm in arms:
        if arm in done:
            texts: dict[str, list[str]] = defaultdict(list)
            for row in sorted(_rows(frame.members[arm][0], task, metric), key=lambda row: row["sample"]):
                texts[row["item"]].append(row["output"] or "")
            written[arm] = texts
    for item in sorted(next(iter(written.values()), {}))[:EXAMPLES]:
        yield Example(item, t, tuple((arm, tuple(texts[item][:SHOWN])) for arm, texts in written.items()))
