"""The best of several arms, without the winner's curse: three answers, all printed.

    held-out      choose on one half of the items, measure on the other, over repeated splits
    simultaneous  max-T: one interval for each arm, all of which hold at once, by joint sign flips
    optimism      how far the winner's estimate overstates it: E*[d*_w - d_w] over bootstrap re-selections w
Arms share items and a baseline; d_l = tuned_l - base, signed so that larger is better.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from netgain.errors import UserError
from netgain.stats.crossed import checkpoint, recipe
from netgain.stats.resample import bootstrap_weights
from netgain.stats.result import Estimate, Floats, Pivot, Scale, ends, say, say_level, say_p, say_range
from netgain.stats.retention import benefit
from netgain.stats.signs import flipped_sums
from netgain.stats.units import is_binary, merged, units


@dataclass(frozen=True, slots=True)
class Field:
    """L arms on the same units: each arm's own answer, and seed-averaged totals (C, L) over sizes (C,)."""

    names: tuple[str, ...]
    answers: tuple[Pivot, ...]
    totals: Floats
    sizes: Floats
    level: float
    turned: bool
    """Lower was better, so every sign is turned."""

    @property
    def means(self) -> Floats:
        return self.totals.sum(axis=0) / self.sizes.sum()

    @property
    def scale(self) -> Scale:
        return self.answers[0].scale

    @property
    def winner(self) -> int:
        return int(self.means.argmax())


def line_up(
    tuned: Mapping[str, Floats],
    base: Floats,
    *,
    weights: Floats | None = None,
    clusters: Sequence[object] | np.ndarray | None = None,
    higher_is_better: bool = True,
    level: float = 0.95,
) -> Field:
    """Arms by name, each (n,) or (S, n), against base (n,) or (S, n); items that every arm has, NaN meaning missing."""
    if not tuned:
        raise UserError("No arm to choose from; name at least one.")
    arms = {name: np.atleast_2d(np.asarray(values, dtype=np.float64)) for name, values in tuned.items()}
    against = np.atleast_2d(np.asarray(base, dtype=np.float64))
    widths = {name: values.shape[1] for name, values in arms.items() if values.shape[1] != against.shape[1]}
    if widths:
        name, width = next(iter(widths.items()))
        raise UserError(f"Arm {name} has {width} items and the base {against.shape[1]}; align both on their item ids.")
    kept = ~np.isnan(np.concatenate([*arms.values(), against])).any(axis=0)
    if not kept.any():
        raise UserError(f"No item has a value in all {len(arms)} arms and the base, so none can be chosen.")
    against = against[:, kept]
    heavy = None if weights is None else np.asarray(weights, dtype=np.float64)[kept]
    groups = None if clusters is None else np.asarray(clusters, dtype=object)[kept]
    binary = is_binary(against, *[values[:, kept] for values in arms.values()])
    answers, totals, sizes = [], [], np.empty(0)
    for values in arms.values():
        here = values[:, kept]
        matched = here.shape[0] == against.shape[0] or against.shape[0] == 1
        of_arm = recipe(here, against, weights=heavy, clusters=groups, binary=binary, level=level)
        if of_arm is None:
            of_arm = checkpoint(here, against, weights=heavy, clusters=groups, binary=binary, level=level)
        answers.append(benefit(of_arm, higher_is_better))
        gaps = here - against if matched else here.mean(axis=0) - against.mean(axis=0)
        evidence = units(gaps, weights=heavy, clusters=groups)
        totals.append(evidence.totals.mean(axis=0) * (1 if higher_is_better else -1))
        sizes = evidence.sizes
    return Field(tuple(arms), tuple(answers), np.stack(totals, axis=1), sizes, level, not higher_is_better)


def smallest_p(totals: Floats, *, draws: int, rng: np.random.Generator) -> Floats:
    """(draws,) min over arms of the t test's p, were every unit's sign a coin's: the null of "no arm differs".

    A single unit could always have come out as extreme as this: zeros.

    T* = sum_g s_g U_g / sqrt(sum_g U_g^2) needs one matrix product a draw; t = T sqrt((C-1) / (C - T^2)) is the same
    test's usual form.
    """
    from scipy.special import stdtr

    totals = merged(totals, rng)
    count = totals.shape[0]
    norms = np.sqrt((totals * totals).sum(axis=0))
    moving = norms > 0
    if count < 2:
        return np.zeros(draws)
    if not moving.any():
        return np.ones(draws)
    sums = flipped_sums(totals[:, moving], rng=rng, draws=draws)
    highest = np.minimum(np.abs(sums / norms[moving]).max(axis=1), math.sqrt(count) * (1 - 1e-12))
    return 2 * stdtr(count - 1, -highest * np.sqrt((count - 1) / (count - highest**2)))


@dataclass(frozen=True, slots=True)
class Simultaneous:
    """One interval for each arm; with probability `level` all of them hold."""

    arms: Mapping[str, Estimate]
    p: Mapping[str, float]
    """Adjusted p of each arm: the chance that the best of this family looks so good when none differs."""
    best: str
    family: int
    level: float
    n: int
    method: str
    draws: int

    def sentence(self) -> str:
        won = self.arms[self.best]
        return (
            f"Best of {self.family} arms is {self.best}: {say(won.estimate, won.scale)} ({say_level(self.level)} "
            f"simultaneous interval {say_range(won.low, won.high, won.scale)}, adjusted {say_p(self.p[self.best])}; "
            f"{self.method}; {won.basis})."
        )


def simultaneous(field: Field, *, draws: int = 5_000, rng: np.random.Generator) -> Simultaneous:
    """p_adj(l) = (1 + #{min p* <= p_l}) / (B + 1); intervals at the level that leaves 1 - level of min p* outside.

    The p_l are the arms' own (Bonett-Price, t, or crossed with its df), so seeds enter through each arm's interval and
    the flips only carry how the arms depend on one another.
    """
    null = np.sort(smallest_p(field.totals, draws=draws, rng=rng))
    own = np.array([answer.p() for answer in field.answers])
    adjusted = (1 + np.searchsorted(null, own * (1 + 1e-9), side="right")) / (draws + 1)
    critical = float(np.quantile(null, 1 - field.level, method="lower"))
    at = 1 - max(min(critical, 1 - field.level), 1e-12)
    arms = {}
    for name, answer in zip(field.names, field.answers, strict=True):
        low, high = ends(answer.centre, answer.se, answer.df, at, answer.scale)
        arms[name] = replace(answer, low=low, high=high)
    return Simultaneous(
        arms=arms,
        p={name: float(p) for name, p in zip(field.names, adjusted, strict=True)},
        best=field.names[field.winner],
        family=len(field.names),
        level=field.level,
        n=field.answers[0].n,
        method=f"max-T, {draws} joint sign flips, {field.answers[0].method}",
        draws=draws,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldOut(Estimate):
    """What choosing the best arm on half of the items gained on the other half."""

    chosen: Mapping[str, float]
    """Share of splits that chose each arm."""
    splits: int

    def sentence(self) -> str:
        most = max(self.chosen, key=lambda name: self.chosen[name])
        return (
            f"Chosen on one half of the items and measured on the other, the best arm gains "
            f"{say(self.estimate, self.scale)} ({say_level(self.level)} interval "
            f"{say_range(self.low, self.high, self.scale)}; {self.method}; {self.basis}); "
            f"{most} was chosen in {100 * self.chosen[most]:.0f} % of splits."
        )


def held_out(field: Field, *, splits: int = 40, draws: int = 400, rng: np.random.Generator) -> HeldOut:
    """Mean over splits of the chosen arm's d on the half that did not choose it.

    Its standard error comes from reweighting units (Exp(1) multipliers) and repeating the whole procedure, choice
    included, on the same splits.
    """
    table = merged(np.column_stack([field.totals, field.sizes]), rng)
    totals, sizes = table[:, :-1], table[:, -1]
    count = sizes.size
    if count < 4:
        raise UserError(
            f"{count} units are too few to choose on one half and measure on the other; four are the least."
        )
    masks = (rng.permuted(np.tile(np.arange(count), (splits, 1)), axis=1) < count // 2).astype(np.float64)
    weights = np.concatenate([np.ones((1, count)), rng.exponential(size=(draws, count))])
    outcome, picks = np.zeros(draws + 1), np.zeros(len(field.names))
    for mask in masks:
        chosen = weights * mask
        sums, mass = chosen @ totals, chosen @ sizes
        pick = (sums / mass[:, None]).argmax(axis=1)
        rest, rest_mass = weights @ totals - sums, weights @ sizes - mass
        outcome += rest[np.arange(draws + 1), pick] / rest_mass / splits
        picks[pick[0]] += 1 / splits
    first = field.answers[0]
    seeds_se = max((answer.components.seeds for answer in field.answers if answer.components is not None), default=0.0)
    se = math.sqrt(outcome[1:].var(ddof=1) + seeds_se)
    df = min(answer.df for answer in field.answers) if seeds_se > 0 else count - 1.0
    low, high = ends(float(outcome[0]), se, df, field.level, field.scale)
    return HeldOut(
        "held-out gain",
        float(outcome[0]),
        low,
        high,
        field.level,
        f"{splits} random halves, whole procedure reweighted {draws} times",
        first.n,
        field.scale,
        first.clusters,
        first.seeds,
        chosen={name: float(p) for name, p in zip(field.names, picks, strict=True)},
        splits=splits,
    )


@dataclass(frozen=True, slots=True)
class Optimism:
    """How much of the winner's estimate is due to its having been picked as the winner."""

    best: str
    estimate: float
    bias: float
    corrected: float
    draws: int
    n: int
    scale: Scale
    method: str = "bootstrap re-selection"

    def sentence(self) -> str:
        return (
            f"Winner's curse {say(-self.bias, self.scale)}: {self.best} shows {say(self.estimate, self.scale)} and, "
            f"freed of its own selection, about {say(self.corrected, self.scale)} "
            f"({self.method}, {self.draws} draws; n = {self.n})."
        )


def optimism(field: Field, *, draws: int = 2_000, rng: np.random.Generator) -> Optimism:
    """bias = E*[d*_{w*} - d_{w*}], w* the winner of each bootstrap resample."""
    means = field.means
    over = []
    table = merged(np.column_stack([field.totals, field.sizes]), rng)
    for weights in bootstrap_weights(len(table), draws, rng):
        sums = weights @ table
        drawn = sums[:, :-1] / sums[:, -1:]
        pick = drawn.argmax(axis=1)
        over.append(drawn[np.arange(len(drawn)), pick] - means[pick])
    bias = float(np.concatenate(over).mean())
    best = float(means[field.winner])
    return Optimism(field.names[field.winner], best, bias, best - bias, draws, field.answers[0].n, field.scale)


@dataclass(frozen=True, slots=True)
class Selection:
    """The three answers to "how good is the best arm?"; a gain is claimed by the simultaneous interval."""

    best: str
    gain: bool
    simultaneous: Simultaneous
    held_out: HeldOut | None
    """None with fewer than four units."""
    optimism: Optimism
    turned: bool

    def sentence(self) -> str:
        claim = "gain" if self.gain else "cannot tell that any arm gains"
        parts = [f"{claim}:", self.simultaneous.sentence(), self.optimism.sentence()]
        if self.held_out is not None:
            parts.append(self.held_out.sentence())
        if self.turned:
            parts.append("Signs are turned so that + is better.")
        return " ".join(parts)


def select_best(field: Field, *, draws: int = 5_000, rng: np.random.Generator) -> Selection:
    """Hold the field to all three; `line_up` makes a field."""
    together = simultaneous(field, draws=draws, rng=rng)
    halves = held_out(field, rng=rng) if field.sizes.size >= 4 else None
    won = together.arms[together.best]
    return Selection(together.best, won.low > 0, together, halves, optimism(field, rng=rng), field.turned)
