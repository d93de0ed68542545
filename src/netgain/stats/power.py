"""What could have been seen: smallest detectable effects and sample sizes, before spending and after.

MDE = (q_{1-alpha/2} + q_{power}) * SE with normal q for items only and t_df for seeds x items. Binary differences have
sd = sqrt(psi - delta^2) with psi the discordance (share of items on which the arms differ); the MDE uses its upper
bound sqrt(psi), so it never promises too much. Sample sizes solve for n with the effect's own variance.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from netgain.errors import UserError
from netgain.stats.distributions import normal_quantile, normal_tail, t_quantile
from netgain.stats.result import Components, Floats, Pivot, Scale, say, say_level

DISCORDANCE = (0.05, 0.10, 0.20)
"""What the share of changed items tends to be, when no pilot says: light, usual and heavy fine-tuning."""
SEED_SD = 0.015
"""Standard deviation between training seeds of an accuracy, when no pilot says."""


@dataclass(frozen=True, slots=True)
class Mde:
    """The smallest true difference that would be found with the given power."""

    mde: float
    n: int
    level: float
    power: float
    method: str
    scale: Scale
    seeds: int | None = None
    discordance: float | None = None

    @property
    def attainable(self) -> bool:
        """A binary difference cannot exceed the share of items that change at all."""
        most = 1.0 if self.discordance is None else self.discordance
        return self.scale != "points" or self.mde <= most

    def sentence(self) -> str:
        seeds = f" and {self.seeds} seeds" if self.seeds is not None else ""
        size = say(self.mde, self.scale).lstrip("+")
        text = f"With n = {self.n}{seeds} the smallest difference found {say_level(self.power)} of the time is {size}"
        if self.discordance is None:
            text += f" ({self.method})"
        else:
            text += f" when the arms differ on {say_level(self.discordance)} of the items"
        return f"{text}." if self.attainable else f"{text}: more than can differ, so nothing can be found at this n."


@dataclass(frozen=True, slots=True)
class SampleSize:
    """How many items it takes."""

    n: int
    effect: float
    level: float
    power: float
    method: str
    scale: Scale
    goal: str = "find a difference of"

    def sentence(self) -> str:
        size = say(self.effect, self.scale).lstrip("+")
        how = f"power {say_level(self.power)}, level {say_level(self.level)}; {self.method}"
        return f"To {self.goal} {size} takes n = {self.n} ({how})."


@dataclass(frozen=True, slots=True)
class Spread:
    """Standard deviations of a paired difference: between seeds, between items, and the rest, on the metric's scale."""

    seeds: float
    items: float
    residual: float

    def variance(self, seeds: int, n: int) -> float:
        """s^2/S + i^2/n + e^2/(S n)."""
        return self.seeds**2 / seeds + self.items**2 / n + self.residual**2 / (seeds * n)

    def df(self, seeds: int, n: int) -> float:
        """Satterthwaite's degrees of freedom at the expected mean squares."""
        if seeds < 2:
            return math.inf
        rest = self.residual**2 / (seeds * n)
        of_seeds, of_items = self.seeds**2 / seeds + rest, self.items**2 / n + rest
        below = of_seeds**2 / (seeds - 1) + of_items**2 / (n - 1) + rest**2 / ((seeds - 1) * (n - 1))
        return max(self.variance(seeds, n) ** 2 / below, 1.0) if below > 0 else math.inf


def spread_of(pilot: Pivot) -> Spread:
    """The three standard deviations behind a crossed pilot estimate."""
    if pilot.components is None or pilot.seeds is None:
        raise UserError("A pilot needs seeds x items: pass the answer of `recipe`, or state the spreads yourself.")
    parts: Components = pilot.components
    count = pilot.clusters or pilot.n
    return Spread(
        math.sqrt(parts.seeds * pilot.seeds),
        math.sqrt(parts.items * count),
        math.sqrt(parts.residual * count * pilot.seeds),
    )


def stated_spread(discordance: float = 0.10, seed_sd: float = SEED_SD, shared: float = 0.5) -> Spread:
    """Assumptions instead of a pilot: item variance psi, of which a `shared` part repeats from seed to seed."""
    return Spread(seed_sd, math.sqrt(shared * discordance), math.sqrt((1 - shared) * discordance))


def reach(level: float, power: float, df: float = math.inf) -> float:
    """q_{1-alpha/2} + q_{power}: how many standard errors away an effect must lie."""
    return t_quantile(0.5 + level / 2, df) + t_quantile(power, df)


def mde_binary(n: int, discordance: float, *, level: float = 0.95, power: float = 0.8) -> Mde:
    """(z_{1-alpha/2} + z_{power}) * sqrt(psi / n)."""
    size = reach(level, power) * math.sqrt(discordance / n)
    return Mde(size, n, level, power, "paired, binary", "points", discordance=discordance)


def mde_mean(n: int, sd: float, *, level: float = 0.95, power: float = 0.8, scale: Scale = "change") -> Mde:
    """(z_{1-alpha/2} + z_{power}) * sd(d) / sqrt(n)."""
    return Mde(reach(level, power) * sd / math.sqrt(n), n, level, power, f"paired, sd {sd:.3g}", scale)


def mde_seeds(
    spread: Spread, *, seeds: int, n: int, level: float = 0.95, power: float = 0.8, scale: Scale = "points"
) -> Mde:
    """(t_{1-alpha/2} + t_{power}) * sqrt(s^2/S + i^2/n + e^2/(S n)) at Satterthwaite's df."""
    size = reach(level, power, spread.df(seeds, n)) * math.sqrt(spread.variance(seeds, n))
    said = ", ".join(f"{name} sd {value:.3g}" for name, value in vars_of(spread).items())
    return Mde(size, n, level, power, f"seeds x items: {said}", scale, seeds=seeds)


def vars_of(spread: Spread) -> Mapping[str, float]:
    return {"seed": spread.seeds, "item": spread.items, "rest": spread.residual}


def mde_after(answer: Pivot, *, power: float = 0.8) -> Mde:
    """The MDE at the precision that was reached."""
    size = reach(answer.level, power, answer.df) * answer.se
    return Mde(
        size,
        answer.n,
        answer.level,
        power,
        f"at the standard error reached by {answer.method}",
        answer.scale,
        seeds=answer.seeds,
    )


def size_binary(effect: float, discordance: float, *, level: float = 0.95, power: float = 0.8) -> SampleSize:
    """n = ((z_{1-alpha/2} sqrt(psi) + z_{power} sqrt(psi - delta^2)) / delta)^2."""
    if not 0 < abs(effect) <= discordance:
        raise UserError(
            f"A difference of {100 * effect:g} points cannot come from {100 * discordance:g} % changed items; "
            "state an effect between 0 and the discordance."
        )
    top = normal_quantile(0.5 + level / 2) * math.sqrt(discordance)
    top += normal_quantile(power) * math.sqrt(discordance - effect**2)
    return SampleSize(math.ceil((top / effect) ** 2), effect, level, power, "paired, binary", "points")


def size_mean(effect: float, sd: float, *, level: float = 0.95, power: float = 0.8) -> SampleSize:
    """n = ((z_{1-alpha/2} + z_{power}) sd / delta)^2."""
    n = math.ceil((reach(level, power) * sd / effect) ** 2)
    return SampleSize(n, effect, level, power, f"paired, sd {sd:.3g}", "change")


def size_retention(
    margin: float, sd: float, *, true: float = 0.0, level: float = 0.95, power: float = 0.8, scale: Scale = "points"
) -> SampleSize:
    """n = (z_{level} + z_{power})^2 sd^2 / (margin + true)^2: items to show retention if the truth is `true`."""
    if margin + true <= 0:
        raise UserError("A loss as large as the margin can never be shown to be retained; widen the margin.")
    n = math.ceil(((normal_quantile(level) + normal_quantile(power)) * sd / (margin + true)) ** 2)
    return SampleSize(n, margin, level, power, f"sd {sd:.3g}", scale, "show retention within a margin of")


def mde_table(
    ns: Sequence[int], discordances: Sequence[float] = DISCORDANCE, *, level: float = 0.95, power: float = 0.8
) -> tuple[tuple[Mde, ...], ...]:
    """One row for each n, one column for each discordance."""
    return tuple(tuple(mde_binary(n, psi, level=level, power=power) for psi in discordances) for n in ns)


@dataclass(frozen=True, slots=True)
class Exaggeration:
    """What significance does to an estimate when power is low (Type M), and how often it errs in sign (Type S)."""

    factor: float
    wrong_sign: float
    power: float
    effect: float
    se: float
    level: float
    method: str = "Type M and S, normal"

    def sentence(self) -> str:
        return (
            f"If the truth were {self.effect:.3g} (standard error {self.se:.3g}), significance would be reached "
            f"{100 * self.power:.0f} % of the time, would show {self.factor:.1f} times the truth on average, "
            f"and would have the wrong sign in {100 * self.wrong_sign:.1f} % of those cases."
        )


def exaggeration(effect: float, se: float, *, level: float = 0.95) -> Exaggeration:
    """E[|X| : |X| > c] / |effect| for X ~ N(effect, se^2), c = z se, from the truncated normal's first moment."""
    size, z = abs(effect) / se, normal_quantile(0.5 + level / 2)
    right, wrong = normal_tail(z - size), normal_tail(z + size)
    bell = [math.exp(-0.5 * x * x) / math.sqrt(2 * math.pi) for x in (z - size, z + size)]
    first_moment = size * right + bell[0] - size * wrong + bell[1]
    power = right + wrong
    factor = first_moment / power / size if size > 0 else math.inf
    return Exaggeration(factor, wrong / power, power, effect, se, level)


@dataclass(frozen=True, slots=True)
class Generations:
    """How much of a score's noise is the model's own sampling, and how many generations an item are worth it."""

    item_variance: float
    prediction_variance: float
    best: float
    k: int
    n: int
    method: str = "one-way variance components"

    def sentence(self) -> str:
        total = self.item_variance + self.prediction_variance
        share = self.prediction_variance / total if total > 0 else 0.0
        return (
            f"Of the variance of one answer, {100 * share:.0f} % is sampling noise within items (n = {self.n}, "
            f"{self.k} generations each); {max(1, round(self.best))} generations an item spend the budget best."
        )


def generations(scores: Floats, *, cost_ratio: float = 1.0) -> Generations:
    """scores (n, K): sigma2_pred = MS_within, sigma2_item = (MS_between - MS_within)/K, K* = sqrt(cost * pred/item).

    `cost_ratio` is the cost of one more item over that of one more generation.
    """
    n, k = scores.shape
    if k < 2 or n < 2:
        raise UserError("Telling items from sampling noise takes at least two items with two generations each.")
    within = float(scores.var(axis=1, ddof=1).mean())
    between = max(float(scores.mean(axis=1).var(ddof=1)) - within / k, 0.0)
    best = math.sqrt(cost_ratio * within / between) if between > 0 else float(np.inf if within > 0 else 1.0)
    return Generations(between, within, min(best, float(n)), k, n)
